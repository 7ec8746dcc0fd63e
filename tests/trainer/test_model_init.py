"""Models made from nothing: ordinary folders, the same bytes for a seed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from frontier_core.atomic import sha256_file
from frontier_core.errors import ConfigError, UsageError
from trainer.model_init import init_model
from trainer.runtime import quiet

pytestmark = pytest.mark.torch
CORPUS = ["What is 12 + 7?", "Copy report.txt into the folder docs.", "\N{THINKING FACE}" * 4 + "\n19"] * 20


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def test_same_seed_same_bytes_another_seed_other_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        init_model(tmp_path / name, corpus=iter(CORPUS), seed=seed)
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert a == b
    assert a["model.safetensors"] != c["model.safetensors"]
    assert a["tokenizer.json"] == c["tokenizer.json"]


def test_folder_loads_through_the_auto_classes_and_speaks(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    report = init_model(tmp_path / "m", corpus=CORPUS, seed=1)
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m", local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "m", local_files_only=True)
    assert model.config.model_type == "qwen3"
    assert model.config.tie_word_embeddings
    assert report["num_parameters"] == sum(weight.numel() for weight in model.parameters())
    # Embedding (tied), two layers of four 192 x 192 and three 192 x 384 maps, head norms of 16, layer norms of 192.
    layer = 4 * 192 * 192 + 3 * 192 * 384 + 2 * 16 + 2 * 192
    assert report["num_parameters"] == report["vocab_size"] * 192 + 2 * layer + 192
    assert report["vocab_size"] == len(tokenizer) == model.config.vocab_size
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "What is 1984?"}], add_generation_prompt=True)[
        "input_ids"
    ]
    assert tokenizer.decode(ids) == "<|im_start|>user\nWhat is 1984?<|im_end|>\n<|im_start|>assistant\n"
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_every_digit_is_a_token_of_its_own_and_anything_can_be_spelt(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    init_model(tmp_path / "m", corpus=[*CORPUS, "1984 1984 1984"] * 5, seed=1)
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m", local_files_only=True)
    assert tokenizer.tokenize("1984") == ["1", "9", "8", "4"]
    assert len(tokenizer.encode("\N{THINKING FACE}" * 4)) == 1
    strange = "na\u00efve \u6f22 \x00\t\r\n  x\u0301"
    assert tokenizer.decode(tokenizer.encode(strange)) == strange


def test_no_corpus_gives_plain_bytes(tmp_path: Path) -> None:
    assert init_model(tmp_path / "m", seed=1)["vocab_size"] == 259


def test_existing_model_is_replaced_but_nothing_else_is(tmp_path: Path) -> None:
    init_model(tmp_path / "m", corpus=CORPUS, seed=1)
    before = digests(tmp_path / "m")
    init_model(tmp_path / "m", corpus=CORPUS, seed=2)
    assert digests(tmp_path / "m")["model.safetensors"] != before["model.safetensors"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is a folder that holds no model"):
        init_model(tmp_path / "notes", seed=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "notes"]


def test_unknown_preset_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        init_model(tmp_path / "m", preset="tiney")
    assert error.value.hint == "did you mean 'tiny'?"


def test_failing_corpus_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> object:
        yield "one"
        raise OSError("the pipe broke")

    with pytest.raises(OSError, match="the pipe broke"):
        init_model(tmp_path / "m", corpus=broken(), seed=1)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
