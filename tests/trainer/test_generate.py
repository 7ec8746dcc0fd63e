"""Batched greedy answers equal the plain one-by-one loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from frontier_core.errors import ConfigError, UsageError
from tests.trainer.conftest import sums
from trainer.checkpoints import latest_checkpoint
from trainer.generate import generate_answers
from trainer.runtime import quiet, seeded

pytestmark = pytest.mark.torch
TALKS: list[list[Any]] = [
    [{"role": "user", "content": "word " * (length % 7) + str(length)}] for length in range(9)
] + [[*record["messages"], {"role": "user", "content": "again"}] for record in sums(3)]


def one_by_one(model_dir: Path, talks: list[list[Any]], max_new_tokens: int) -> list[str]:
    """No cache, no batch, no padding: the definition of greedy decoding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    answers = []
    with quiet(), seeded(0, 1), torch.inference_mode():
        tokenizer = AutoTokenizer.from_pretrained(model_dir)
        model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        for turns in talks:
            ids = tokenizer(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))[
                "input_ids"
            ]
            start = len(ids)
            while len(ids) < start + max_new_tokens:
                token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
                if token == end:
                    break
                ids.append(token)
            answers.append(str(tokenizer.decode(ids[start:], skip_special_tokens=True)))
    return answers


def test_batched_answers_are_those_of_plain_greedy_decoding_in_order(trained_dir: Path) -> None:
    seen: list[tuple[int, int]] = []
    answers = generate_answers(
        trained_dir,
        TALKS,
        profile="emoji_think",
        max_new_tokens=12,
        batch_size=5,
        on_progress=lambda *a: seen.append(a),
    )
    assert answers == one_by_one(latest_checkpoint(trained_dir), TALKS, 12)
    assert len(set(answers)) > 3
    assert seen == [(5, 12), (10, 12), (12, 12)]


def test_no_conversations_no_answers(model_dir: Path) -> None:
    assert generate_answers(model_dir, [], profile="plain", max_new_tokens=5) == []


def test_wrong_calls_are_refused(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_new_tokens"):
        generate_answers(model_dir, TALKS, profile="plain", max_new_tokens=0)
    with pytest.raises(UsageError, match="no such folder"):
        generate_answers(tmp_path / "absent", TALKS, profile="plain", max_new_tokens=5)
