"""The mixing bench: its model is Qwen3, its figures are what they say, and a finished run is never done again."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

pytestmark = [pytest.mark.torch]
FOLDER = Path(__file__).parent.parent.parent / "benchmarks" / "mixing"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The bench's front door; its modules are siblings by name, so they leave the path and the table again."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("mixing_bench", FOLDER / "__main__.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.model = sys.modules["model"]
        module.training = sys.modules["training"]
        module.suites = sys.modules["suites"]
        module.analysis = sys.modules["analysis"]
        yield module
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("model", "training", "suites", "analysis", "plots", "peers"):
            if name not in before:
                sys.modules.pop(name, None)


def test_the_model_gives_the_logits_of_transformers_qwen3(bench: ModuleType) -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = bench.model.ModelConfig(vocabulary=45)
    ours = bench.model.TinyQwen3(config, seed=3)
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=45,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.key_heads,
            head_dim=config.head_width,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=True,
            max_position_embeddings=64,
        )
    ).eval()
    theirs.load_state_dict({f"model.{name}": value for name, value in ours.state_dict().items()}, strict=False)
    theirs.tie_weights()
    ids = torch.randint(0, 45, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.full((9, 9), float("-inf")).triu(1)[None, None]
    with torch.no_grad():
        wanted = theirs(input_ids=ids).logits
        found = ours.logits(ours(ids, mask, torch.arange(18))).view(2, 9, 45)
    assert wanted.abs().max() > 0.1
    assert torch.allclose(found, wanted, atol=1e-5)


def test_examples_packed_into_rows_do_not_see_each_other(bench: ModuleType) -> None:
    import torch

    model = bench.model.TinyQwen3(bench.model.ModelConfig(vocabulary=len(bench.suites.VOCABULARY)), seed=1)
    random = Random(5)
    examples = [
        bench.training.encode(*domain.sample(random)) for domain in bench.suites.SUITES["main"]() for _ in range(2)
    ]
    with torch.no_grad():
        _, together, right = bench.model.score(model, bench.model.pack(examples))
        alone = [bench.model.score(model, bench.model.pack([example])) for example in examples]
    assert together.tolist() == pytest.approx([each.item() for _, each, _ in alone], abs=1e-5)
    assert right.tolist() == [flag.item() for _, _, flag in alone]


def test_every_domain_makes_examples_the_vocabulary_can_write(bench: ModuleType) -> None:
    for name, make in bench.suites.SUITES.items():
        domains = make()
        assert len({domain.tag for domain in domains}) == len(domains), name
        for domain in domains:
            ids, labels = bench.training.encode(*domain.sample(Random(1)))
            assert len(ids) == len(labels) <= 24
    sample = {domain.tag: domain.sample for domain in bench.suites.SUITES["main"]()}
    prompt, answer = sample["skill=add,level=2"](Random(3))
    a, b = prompt[1:-1].split("+")
    assert int(answer) == int(a) + int(b)


def _record(accuracies: list[float], eval_tokens: int = 0) -> dict:
    curve = [[i, 100 * i, eval_tokens * i, [value, 0.0]] for i, value in enumerate(accuracies, 1)]
    return {"curve": curve, "scored": [True, False]}


def test_tokens_to_a_target_are_read_off_a_straight_line_and_evaluation_is_paid_for(bench: ModuleType) -> None:
    read = bench.analysis
    assert read.final(_record([0.1, 0.4, 0.5, 0.6])) == pytest.approx(0.5)
    assert read.tokens_to(_record([0.1, 0.3, 0.5]), 0.4) == pytest.approx(250)
    assert read.tokens_to(_record([0.1, 0.3, 0.5], eval_tokens=30), 0.4) == pytest.approx(275)
    assert read.tokens_to(_record([0.1, 0.3, 0.5]), 0.6) is None
    assert read.token_ratio(_record([0.5, 0.5, 0.5]), _record([0.0, 0.5, 0.5, 0.5])) == (pytest.approx(0.5), True)
    ratio, reached = read.token_ratio(_record([0.1, 0.1, 0.1]), _record([0.5, 0.5, 0.5]))
    assert (ratio, reached) == (pytest.approx(3.0), False)  # never: its whole budget counts
    assert read.bootstrap([1.0, 2.0, 3.0], read.mean)[0] == 2.0


@pytest.mark.slow
def test_finished_runs_are_not_done_again_and_runs_repeat_bit_for_bit(bench: ModuleType, tmp_path: Path) -> None:
    from dataclasses import replace

    arms = [bench.ARMS[name] for name in ("uniform", "doremi", "frontier")]
    arms[2] = replace(arms[2], every=4)
    budget = bench.Budget(steps=12, tokens_per_step=128, test_every=6, test_items=4)
    first = bench.run_all(["main"], arms, [0], budget, tmp_path / "a", 1)
    path = tmp_path / "a" / "runs.jsonl"
    size = path.stat().st_size
    with path.open("a") as file:
        file.write('{"torn')
    again = bench.run_all(["main"], arms, [0], budget, tmp_path / "a", 1)
    assert again == first
    assert path.stat().st_size == size + 6
    other = bench.run_all(["main"], arms, [0], budget, tmp_path / "b", 1)
    clocks = ("cpu_s", "policy_s")
    assert [{**run, **dict.fromkeys(clocks)} for run in other] == [{**run, **dict.fromkeys(clocks)} for run in first]
    found = bench.summary(first, ["main"], arms)
    assert found["ratios"]["tokens_to_uniform"]["main"]["uniform"] == 1.0
    assert set(found["gain_over_uniform"]["main"]) == {"uniform", "doremi", "frontier"}
    json.dumps(found)
