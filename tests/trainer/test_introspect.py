"""Layer statistics and drift against numbers worked out by hand."""

from __future__ import annotations

from math import sqrt

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import torch
from safetensors.torch import save_file

from frontier_core.errors import ConfigError
from trainer.introspect import layer_drift, layer_of, layer_stats, table

pytestmark = pytest.mark.torch
WEIGHTS = {
    "model.embed_tokens.weight": torch.tensor([[0.0, 2.0], [0.0, -2.0]]),
    "model.layers.0.mlp.up_proj.weight": torch.tensor([[3.0, 4.0]]),
    "model.layers.10.mlp.up_proj.weight": torch.tensor([[1.0, 1.0]]),
    "model.layers.2.mlp.up_proj.weight": torch.tensor([[1.0, 0.0]]),
}


@pytest.fixture
def model(tmp_path):
    def make(name="a", **changes):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        save_file({**WEIGHTS, **changes}, folder / "model.safetensors")
        return folder

    return make


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.mlp.up_proj.weight", "layers.3"),
        ("transformer.h.7.attn.weight", "layers.7"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("lm_head.weight", "lm_head"),
    ],
)
def test_a_weight_belongs_to_a_layer(name, layer):
    assert layer_of(name) == layer


def test_statistics_of_a_weight_are_those_of_its_numbers(model):
    lines = list(layer_stats(model()))
    (embedding,) = [line for line in lines if line.get("weight") == "model.embed_tokens.weight"]
    assert embedding == {
        "kind": "layer_stats",
        "scope": "weight",
        "layer": "embed_tokens",
        "weight": "model.embed_tokens.weight",
        "shape": [2, 2],
        "dtype": "float32",
        "num_params": 4,
        "mean": 0.0,
        "std": sqrt(2.0),
        "norm": sqrt(8.0),
        "max_abs": 2.0,
        "zero_share": 0.5,
    }


def test_layers_come_in_their_order_and_the_model_sums_them_up(model):
    lines = [line for line in layer_stats(model()) if line["scope"] != "weight"]
    assert [line["layer"] for line in lines] == ["layers.0", "layers.2", "layers.10", "embed_tokens", "all"]
    assert lines[-1]["num_params"] == 10
    assert lines[-1]["norm"] == pytest.approx(sqrt(8 + 25 + 2 + 1))
    assert table(lines, ("num_params",))[1].split() == ["layers.0", "2"]


def test_drift_is_the_norm_of_the_change(model):
    name = "model.layers.0.mlp.up_proj.weight"
    lines = list(layer_drift(model("a"), model("b", **{name: torch.tensor([[3.0, 4.5]])})))
    (moved,) = [line for line in lines if line.get("weight") == name]
    assert (moved["drift"], moved["relative"], moved["moved_share"], moved["is_moved"]) == (0.5, 0.1, 0.5, True)
    assert moved["cosine"] == pytest.approx((9 + 18) / (5 * sqrt(9 + 4.5**2)))
    still = [line for line in lines if line["scope"] == "layer" and line["layer"] != "layers.0"]
    assert {(line["drift"], line["cosine"], line["is_moved"]) for line in still} == {(0.0, 1.0, False)}
    assert lines[-1]["scope"] == "model"
    assert lines[-1]["drift"] == 0.5


def test_models_of_another_make_are_refused(model):
    with pytest.raises(ConfigError, match=r"only one has model.layers.11.mlp.up_proj.weight"):
        list(layer_drift(model("a"), model("b", **{"model.layers.11.mlp.up_proj.weight": torch.ones(1)})))
    with pytest.raises(ConfigError, match=r"model.embed_tokens.weight has shapes \[2, 2\] and \[1, 2\]"):
        list(layer_drift(model("c"), model("d", **{"model.embed_tokens.weight": torch.ones(1, 2)})))
