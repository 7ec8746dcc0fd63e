"""The model process's own parts, in this process: drawing tokens, ends, cancelling. Its life is in test_serve.py."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from frontier_core.errors import DataError  # noqa: E402
from frontier_ops.serve_sampling import choose  # noqa: E402
from frontier_ops.serve_worker import Engine  # noqa: E402

pytestmark = pytest.mark.torch

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()


def draws(num: int, **options: Any) -> Counter[int]:
    generator = torch.Generator().manual_seed(0)
    return Counter(
        choose(LOGITS, options.get("temperature", 1.0), options.get("top_p", 1.0), generator) for _ in range(num)
    )


def test_temperature_0_takes_the_likeliest_and_a_tiny_one_does_not_overflow() -> None:
    assert draws(5, temperature=0) == {0: 5}
    assert draws(5, temperature=1e-30) == {0: 5}


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    counts = draws(4000)

    # four standard errors: 4 * sqrt(4000 * 0.5 * 0.5) = 126
    assert abs(counts[0] - 2000) < 126
    assert abs(counts[3] - 200) < 56


def test_temperature_sharpens_by_the_softmax_rule() -> None:
    # at 0.5 the probabilities are squared and divided by their sum 0.365: 0.25 / 0.365 = 0.685
    assert abs(draws(4000, temperature=0.5)[0] - 2740) < 118


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    assert set(draws(300, top_p=0.79)) == {0, 1}
    assert set(draws(300, top_p=0.81)) == {0, 1, 2}
    assert set(draws(300, top_p=0.0)) == {0}


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        choose(torch.tensor([0.0, float("nan")]), 0, 1.0, torch.Generator())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of one layer whose end mark is token 3, with 60 tokens of context."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("engine")
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2, "</s>": 3, "d": 4}, unk_token="d"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", chat_template=template)
    config = Qwen3Config(
        vocab_size=5, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=60, tie_word_embeddings=True, eos_token_id=3,
        pad_token_id=None, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(folder)


def test_weights_that_do_not_fill_the_model_are_refused(tmp_path: Path, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "holed")
    weights = load_file(tmp_path / "holed" / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "holed" / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(DataError, match=r"lack 1 tensors of the model, e.g. model\.layers\.0\.mlp\.up_proj\.weight"):
        Engine(tmp_path / "holed")


def run(engine: Engine, *, is_cancelled: Any = lambda: False, **changes: Any) -> list[dict[str, Any]]:
    request = {"messages": [{"role": "user", "content": "a b"}], "max_tokens": None, "temperature": 1.0, "top_p": 1.0}
    events: list[dict[str, Any]] = []
    engine.answer({**request, "seed": 0, "stop": [], **changes}, events.append, is_cancelled)
    return events


def test_an_answer_ends_at_the_end_mark_which_is_counted_but_not_shown(engine: Engine) -> None:
    events = run(engine, seed=1)

    # the model is nearly uniform over 5 tokens, so 58 draws without an end mark are next to impossible
    assert events[-1]["finish_reason"] == "stop"
    text = "".join(event.get("text", "") for event in events)
    assert "</s>" not in text
    assert events[-1]["completion_tokens"] == len(text.split()) + 1


def test_an_answer_ends_where_the_context_ends(engine: Engine) -> None:
    engine.end_ids, kept = set(), engine.end_ids
    try:
        done = run(engine)[-1]
    finally:
        engine.end_ids = kept

    assert done == {"event": "done", "finish_reason": "length", "prompt_tokens": 2, "completion_tokens": 58}


def test_a_cancelled_request_ends_between_two_tokens(engine: Engine) -> None:
    engine.end_ids, kept = set(), engine.end_ids
    answers = iter([False, False, True])
    try:
        done = run(engine, is_cancelled=lambda: next(answers))[-1]
    finally:
        engine.end_ids = kept

    assert (done["finish_reason"], done["completion_tokens"]) == ("cancelled", 2)


def test_a_prompt_that_fills_the_context_and_a_template_that_refuses_are_errors_of_the_request(engine: Engine) -> None:
    assert run(engine, messages=[{"role": "user", "content": "a " * 60}])[0]["code"] == "context_length_exceeded"
    template, engine.tokenizer.chat_template = engine.tokenizer.chat_template, "{{ raise_exception('no system') }}"
    try:
        events = run(engine)
    finally:
        engine.tokenizer.chat_template = template
    assert events == [{"event": "error", "code": "chat_template", "message": "the chat template refused: no system"}]
