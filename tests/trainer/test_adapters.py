"""Adapters: what is trained, what a checkpoint holds, and what can't be trained here."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch

from frontier_core.errors import ConfigError, EnvironmentMissing
from trainer.adapters import ADAPTER_DIR, add_adapter, check_adapter, save_model
from trainer.config import TrainerConfig
from trainer.runtime import quiet, seeded

pytestmark = pytest.mark.torch


def config(model_dir, **changes):
    return TrainerConfig(model_dir=str(model_dir), train_files=("t",), output_dir="r", **changes)


def load(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32")


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_checkpoint_is_an_ordinary_model_and_the_adapter_goes_on_bit_for_bit(model_dir, tmp_path, kind):
    ids = torch.arange(12)[None]
    with quiet(), seeded(0, 1), torch.inference_mode():
        model = add_adapter(load(model_dir), config(model_dir, adapter=kind))
        trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
        assert all("lora_" in name for name in trained)
        assert len(trained) == 2 * 7 * (3 if kind == "dora" else 2)
        for name, weight in model.named_parameters():
            if name in trained:
                weight += torch.randn_like(weight) * 0.05
        expected = model(ids).logits
        save_model(model, tmp_path)
        assert torch.equal(model(ids).logits, expected)
        merged = load(tmp_path)
        assert type(merged).__name__ == "Qwen3ForCausalLM"
        torch.testing.assert_close(merged(ids).logits, expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(merged(ids).logits, load(model_dir)(ids).logits, atol=1e-3)
        again = add_adapter(load(model_dir), config(model_dir, adapter=kind), tmp_path)
        assert torch.equal(again(ids).logits, expected)
    assert (tmp_path / ADAPTER_DIR / "adapter_config.json").is_file()


def test_unknown_targets_are_named_with_those_there_are(model_dir):
    with quiet(), pytest.raises(ConfigError, match="names no layer of the model") as caught:
        add_adapter(load(model_dir), config(model_dir, adapter="lora", lora_targets="qproj"))
    assert "q_proj" in caught.value.hint


def test_a_head_that_is_the_embeddings_too_gets_no_adapter(model_dir):
    with quiet(), pytest.raises(ConfigError, match="lora_targets: lm_head is tied to the embeddings"):
        add_adapter(load(model_dir), config(model_dir, adapter="lora", lora_targets="q_proj,lm_head"))


def test_qlora_without_a_gpu_is_refused_with_the_way_out(model_dir):
    with pytest.raises(EnvironmentMissing, match="adapter qlora: 4-bit weights need a CUDA GPU") as caught:
        check_adapter(config(model_dir, adapter="qlora", device="cpu"))
    assert "adapter lora" in caught.value.hint
