"""What a run would do, told without torch in under a second: tokens, steps, memory, and the config it would run with.

Sizes come from the model's config.json and the headers of its weight files, tokens from the tokenizer alone. Of a large
data set a spread of records is encoded and the rest estimated, and the plan says so. Methods that make their data while
they train are counted by their prompts.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from typing import Any

from frontier_core.errors import DataError
from frontier_core.profiles import profile_named
from trainer.chat_template import apply_profile
from trainer.checkpoints import resolve_model
from trainer.config import TrainerConfig
from trainer.light_tokenizer import LightTokenizer
from trainer.memory import ModelShape, memory_estimate
from trainer.recipes import recipe_for, units_per_step
from trainer.sources import pinned

EXACT_RECORDS = 1000
"""Records that are all encoded; of more, this many are, evenly spread."""

WHOLE = ("dpo", "grpo")
"""Methods whose records are all encoded: what they draw is more than one sample, or lies beside the samples."""


def plan_run(config: TrainerConfig, origins: dict[str, str] | None = None) -> dict[str, Any]:
    """Gives the plan of a run as a JSON object; nothing is written and no training library is loaded.

    Args:
        config: the run.
        origins: where each setting came from.
    Returns:
        `config` (each setting's value and origin), `model` (parameters), `data` (records, tokens, supervised_share,
        ...), `num_steps`, `memory_bytes` (weights, optimizer, activations, peak) and `notes`.
    Raises:
        DataError: a record is unfit, or nothing in it is supervised.
        UsageError, ConfigError: no model there, or settings that contradict each other.
    """
    notes: list[str] = []
    config = replace(config, train_files=pinned(config.train_files, Path(config.output_dir)))
    folder = resolve_model(config.model_dir, notes)
    shape = model_shape(folder)
    recipe = recipe_for(config)
    data = recipe.read(config)
    notes += data.notes
    tokenizer = LightTokenizer(folder)
    is_replaced = apply_profile(tokenizer, profile_named(config.profile))
    total = len(data.samples)
    if total > EXACT_RECORDS and config.method not in WHOLE:
        picked = [data.samples[index * total // EXACT_RECORDS] for index in range(EXACT_RECORDS)]
        data = type(data)(samples=picked, sha=data.sha, notes=data.notes)
        notes.append(f"tokens estimated from {EXACT_RECORDS} of {total} records")
    units, num_dropped = recipe.units(tokenizer, data, config)
    scale = total / max(len(data.samples), 1)
    tokens = sum(len(example.ids) for unit in units for example in unit)
    supervised = sum(example.num_supervised for unit in units for example in unit)
    if not supervised:
        raise DataError("no token to learn from", path=str(config.train_files[0]), code="nothing_supervised")
    num_units = round(len(units) * scale)
    num_steps = config.max_steps or max(1, ceil(config.num_epochs * num_units / units_per_step(config)))
    return {
        "config": {
            key: {"value": value, "origin": (origins or {}).get(key, "default")}
            for key, value in config.to_mapping().items()
        },
        "model": {"num_parameters": shape.num_parameters, "num_layers": shape.num_layers, "path": str(folder)},
        "data": {
            "num_records": total,
            "num_examples": num_units,
            "num_dropped_too_long": round(num_dropped * scale),
            "num_tokens": round(tokens * scale),
            "num_supervised_tokens": round(supervised * scale),
            "supervised_share": round(supervised / tokens, 4),
            "is_estimated": scale != 1,
            "is_template_replaced": is_replaced,
        },
        "num_steps": num_steps,
        "tokens_per_step": round(tokens / len(units) * config.batch_size),
        "memory_bytes": memory_estimate(shape, units, config, num_steps),
        "notes": notes,
    }


def model_shape(folder: Path) -> ModelShape:
    """Reads a model's sizes from its config and weight headers; weights without headers are counted from the config."""
    config = json.loads((folder / "config.json").read_bytes())
    config = config.get("text_config") or config
    hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
    heads = int(config.get("num_attention_heads") or config.get("n_head") or 1)
    width = int(config.get("head_dim") or hidden // heads)
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 0)
    forward = int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden)
    key = width * int(config.get("num_key_value_heads") or heads)
    vocabulary = int(config.get("vocab_size") or 0)
    ties = 1 if config.get("tie_word_embeddings", True) else 2
    counted = ties * vocabulary * hidden + layers * hidden * (2 * width * heads + 2 * key + 3 * forward)
    return ModelShape(
        num_parameters=_num_weights(folder) or counted,
        num_layers=layers,
        hidden=hidden,
        feed_forward=forward,
        query=width * heads,
        key=key,
        num_heads=heads,
        vocabulary=vocabulary,
        has_norm_of_heads="qwen3" in str(config.get("model_type")),
    )


def _num_weights(folder: Path) -> int:
    """Gives the weights in a folder's safetensors files, from their headers alone; 0 when there are none."""
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
        total += sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return total
