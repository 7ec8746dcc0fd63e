"""Locked settings travel with a model and can't be changed by a later run."""

import json

import pytest

from frontier_core.errors import ConfigError
from trainer.config import TrainerConfig
from trainer.locks import check_locks, locks_of, write_locks


@pytest.fixture
def model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Qwen3ForCausalLM"]}))
    return tmp_path


def config(**changes):
    settings = {"model_dir": "m", "train_files": ("t.jsonl",), "output_dir": "r"}
    return TrainerConfig(**settings | changes)


def test_a_run_adds_locks_to_those_of_its_model(model):
    write_locks(model, {"profile": "emoji_think", "base_model": "b"})
    assert check_locks(config(locked={"max_length_tokens": 1024}), model) == {
        "profile": "emoji_think",
        "base_model": "b",
        "max_length_tokens": 1024,
    }


def test_a_model_without_locks_leaves_no_file(model):
    write_locks(model, {})
    assert locks_of(model) == {}
    assert not (model / "locked.json").exists()


@pytest.mark.parametrize(
    ("inherited", "changes", "says"),
    [
        (
            {"profile": "emoji_think"},
            {"profile": "plain"},
            "profile: is locked to 'emoji_think' by {model}, and is 'plain' here",
        ),
        (
            {},
            {"locked": {"profile": "plain"}},
            "profile: is locked to 'plain' by this run's config, and is 'emoji_think' here",
        ),
        (
            {},
            {"locked": {"model_architecture": "Llama"}},
            "model_architecture: is locked to 'Llama' by this run's config, and is 'Qwen3ForCausalLM' here",
        ),
        (
            {"base_model": "a"},
            {"locked": {"base_model": "b"}},
            "locked: base_model is locked to 'a' by {model}, not to 'b'",
        ),
        ({}, {"locked": {"profil": "plain"}}, "locked: no setting 'profil'"),
    ],
)
def test_what_is_locked_can_not_change(model, inherited, changes, says):
    write_locks(model, inherited)
    with pytest.raises(ConfigError) as caught:
        check_locks(config(**changes), model)
    assert caught.value.message == says.format(model=model)
    assert caught.value.hint
