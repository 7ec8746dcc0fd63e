"""Low-rank adapters: what is trained in place of the weights themselves, and how a checkpoint still serves as a model.

LoRA and DoRA come from peft, put into the model's own layers, so that whatever trains the model trains them. A
checkpoint holds the merged weights, an ordinary model folder, and beside them the adapter itself, from which a run
resumes. QLoRA needs CUDA and bitsandbytes and says so before anything is loaded.
LIMIT: while a checkpoint is written the model is there twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError, EnvironmentMissing
from trainer.config import TrainerConfig

ADAPTER_DIR = "adapter"


def check_adapter(config: TrainerConfig) -> None:
    """Raises EnvironmentMissing when the adapter can't be trained on this machine; loads no model."""
    if config.adapter == "none":
        return
    from importlib.util import find_spec

    if find_spec("peft") is None:
        hint = "pip install 'frontier-data-engine[train]'"
        raise EnvironmentMissing(f"adapter {config.adapter}: peft is not installed", hint=hint)
    if config.adapter != "qlora":
        return
    import torch

    hint = "adapter lora trains the same ranks on unquantised weights"
    if not torch.cuda.is_available() or config.device == "cpu":
        where = "this run is set to device cpu" if torch.cuda.is_available() else "this machine has none"
        raise EnvironmentMissing(f"adapter qlora: 4-bit weights need a CUDA GPU, and {where}", hint=hint)
    if find_spec("bitsandbytes") is None:
        raise EnvironmentMissing("adapter qlora: bitsandbytes is not installed", hint=f"pip install it; {hint}")


def loading_options(config: TrainerConfig) -> dict[str, Any]:
    """Gives what `from_pretrained` needs beside the folder: 4-bit weights for QLoRA, else nothing."""
    if config.adapter != "qlora":
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": quantised, "device_map": {"": 0}}


def add_adapter(model: Any, config: TrainerConfig, checkpoint: Path | None = None) -> Any:
    """Puts the run's adapter into a model, changed in place, and freezes everything else; gives the model.

    Args:
        model: freshly loaded from the run's base model.
        config: `adapter` "none" leaves the model as it is.
        checkpoint: a checkpoint to take the adapter's weights from; None begins a new one, seeded by the run.
    Raises:
        ConfigError: `lora_targets` names no layer of the model, or an output head that is also the embeddings.
    """
    if config.adapter == "none":
        return model
    from peft import LoraConfig

    targets: Any = config.lora_targets
    if targets != "all-linear":
        targets = [name.strip() for name in targets.split(",") if name.strip()]
        _refuse_tied_head(model, targets)
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        use_dora=config.adapter == "dora",
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        model.add_adapter(settings)
    except ValueError as error:
        names = sorted(
            {name.rpartition(".")[2] for name, part in model.named_modules() if hasattr(part, "in_features")}
        )
        raise ConfigError(
            f"lora_targets: {config.lora_targets} names no layer of the model", hint=f"layers: {', '.join(names)}"
        ) from error
    if checkpoint is not None:
        _load(model, checkpoint / ADAPTER_DIR)
    return model


def _refuse_tied_head(model: Any, targets: list[str]) -> None:
    """Merged into a head that is the embeddings too, an adapter would change what the model reads."""
    head = model.get_output_embeddings()
    names = [name for name, part in model.named_modules() if part is head]
    if head.weight is model.get_input_embeddings().weight and any(
        name.endswith(target) for name in names for target in targets
    ):
        raise ConfigError(
            f"lora_targets: {names[0]} is tied to the embeddings of this model",
            hint="train all weights (adapter none), or leave it out",
        )


def has_adapter(model: Any) -> bool:
    """Says whether `add_adapter` put one in."""
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def save_model(model: Any, folder: Path, state_dict: Any = None) -> None:
    """Writes a model as an ordinary folder; one with an adapter merged, and its adapter in `adapter/` beside.

    `state_dict` are the weights where the model's own are in pieces (FSDP); None takes them from the model.
    """
    if not has_adapter(model):
        model.save_pretrained(folder, state_dict=state_dict)
        return
    model.save_pretrained(folder / ADAPTER_DIR)
    _merged(model).save_pretrained(folder)


def _merged(model: Any) -> Any:
    """Gives a copy of the model with the adapter folded into the weights; the model itself stays bit for bit."""
    from copy import deepcopy

    from peft.tuners.tuners_utils import BaseTunerLayer

    copy = deepcopy(model)
    for part in copy.modules():
        if isinstance(part, BaseTunerLayer):
            part.merge()
    for name, part in list(copy.named_modules()):
        if isinstance(part, BaseTunerLayer):
            parent, _, attribute = name.rpartition(".")
            setattr(copy.get_submodule(parent), attribute, part.get_base_layer())
    copy._hf_peft_config_loaded = False
    copy.peft_config = {}
    return copy


def _load(model: Any, folder: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(folder / "adapter_model.safetensors")
    prefix = "base_model.model."
    set_peft_model_state_dict(model, {name.removeprefix(prefix): value for name, value in weights.items()})
