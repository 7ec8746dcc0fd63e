"""The config.json of the documents: groups, names and numbers become ours; typos are named at any depth."""

import pytest

from frontier_core.errors import ConfigError
from trainer.run_file import AutoGenerate, read_run_settings

SEED = {
    "model_name": "qwen3_0.6b",
    "model_path": "models/Qwen3-0.6B",
    "profile": {"name": "emoji_think"},
    "hyperparams": {
        "fp_precision": "bf16",
        "max_length": 2048,
        "batch_size": 1,
        "gradient_accumulation": 16,
        "learning_rate": 0.0004,
    },
    "auto_generate": {"enabled": True, "host": "localhost", "port": 8080},
    "locked": {"base_model": "Qwen/Qwen3-0.6B", "model_architecture": "Qwen3ForCausalLM"},
}


def test_the_documents_config_becomes_our_settings():
    found = read_run_settings(SEED, "config.json")
    assert found.settings == {
        "model_name": "qwen3_0.6b",
        "model_dir": "models/Qwen3-0.6B",
        "profile": "emoji_think",
        "precision": "bf16",
        "max_length_tokens": 2048,
        "batch_size": 16,
        "learning_rate": 0.0004,
        "locked": {"base_model": "Qwen/Qwen3-0.6B", "model_architecture": "Qwen3ForCausalLM"},
    }
    assert found.auto_generate == AutoGenerate(enabled=True, host="localhost", port=8080, count=100, cooldown_s=60)


def test_each_setting_says_where_in_the_file_it_stands():
    origins = read_run_settings(SEED, "config.json").origins
    assert origins["learning_rate"] == "config.json hyperparams.learning_rate"
    assert origins["batch_size"] == "config.json hyperparams.batch_size x gradient_accumulation"
    assert read_run_settings({"seed": 3}, "c.json").origins == {"seed": "c.json"}


def test_groups_of_methods_and_their_old_names():
    found = read_run_settings(
        {
            "method": "Judge",
            "dpo": {"beta": 0.2},
            "lora": {"r": 4},
            "fortune_teller": {"metric": "entropy", "temperature": 2.0},
        },
        "c.json",
    )
    assert found.settings == {
        "method": "dpo",
        "dpo_beta": 0.2,
        "lora_rank": 4,
        "surprise_metric": "entropy",
        "surprise_temperature": 2.0,
    }


@pytest.mark.parametrize(
    ("values", "says", "hint"),
    [
        ({"hyperparms": {}}, "c.json: unknown key 'hyperparms'", "did you mean 'hyperparams'?"),
        (
            {"hyperparams": {"learnin_rate": 1}},
            "c.json: unknown key 'hyperparams.learnin_rate'",
            "did you mean 'hyperparams.learning_rate'?",
        ),
        (
            {"fortune_teller": {"metrik": "entropy"}},
            "c.json: unknown key 'fortune_teller.metrik'",
            "did you mean 'fortune_teller.metric'?",
        ),
        (
            {"auto_generate": {"prot": 1}},
            "c.json: unknown key 'auto_generate.prot'",
            "did you mean 'auto_generate.port'?",
        ),
        ({"auto_generate": {"port": "x"}}, "c.json: auto_generate.port: must be of type int, got 'x'", ""),
        ({"lora": 3}, "c.json: lora: must be an object of key: value, got 3", ""),
        (
            {"learning_rate": 1.0, "hyperparams": {"learning_rate": 2.0}},
            "c.json: hyperparams.learning_rate and learning_rate both set learning_rate",
            "keep one of them",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(values, says, hint):
    with pytest.raises(ConfigError) as caught:
        read_run_settings(values, "c.json")
    assert (caught.value.message, caught.value.hint) == (says, hint)
