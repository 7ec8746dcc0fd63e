"""Every method through the one engine, on a model of two layers, until it has learnt what it is for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("torch")

from frontier_core.domains import Domain
from frontier_core.errors import ConfigError, DataError, EnvironmentMissing
from frontier_core.jsonl import write_records
from frontier_core.records import Record
from frontier_ops.answering import identify
from frontier_ops.stage_files import Target
from frontier_ops.stage_spar import Bout, spar
from generators.synth import Request
from generators.table import GENERATORS
from tests.trainer.conftest import chat, sums
from trainer.config import TrainerConfig, TrainingResult
from trainer.engine import TrainerEngine
from trainer.generate import generate_answers

pytestmark = [pytest.mark.torch, pytest.mark.slow]
Run = Callable[..., TrainingResult]


@pytest.fixture(scope="session")
def char_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that spells byte by byte: two layers, 64 wide."""
    from trainer import model_init

    sizes = {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "num_kv_heads": 4, "head_dim": 16}
    model_init.PRESETS["char"] = model_init.Preset(vocab_size=259, intermediate_size=128, **sizes)
    try:
        folder = tmp_path_factory.mktemp("models") / "char"
        model_init.init_model(folder, preset="char", seed=1)
    finally:
        del model_init.PRESETS["char"]
    return folder


def make_run(folder: Path, model: Path) -> Run:
    def run(name: str, records: Iterable[Record], **changes: Any) -> TrainingResult:
        file = folder / f"{name}.jsonl"
        write_records(file, records)
        settings: dict[str, Any] = {
            "model_dir": str(model),
            "train_files": [str(file)],
            "output_dir": str(folder / name),
            "profile": "plain",
            "batch_size": 8,
            "learning_rate": 5e-3,
            "logging_every_steps": 5,
            "device": "cpu",
            "num_threads": 1,
        }
        return TrainerEngine().run_job(TrainerConfig.from_mapping(settings | changes))

    return run


@pytest.fixture
def run(tmp_path: Path, char_dir: Path) -> Run:
    return make_run(tmp_path, char_dir)


@pytest.fixture(scope="session")
def adder(tmp_path_factory: pytest.TempPathFactory, char_dir: Path) -> Path:
    """The char model after sixty steps of sums."""
    folder = tmp_path_factory.mktemp("adder")
    assert make_run(folder, char_dir)("base", sums(200, seed=1), max_steps=60).success
    return folder / "base"


def told(result: TrainingResult, metric: str, tag: str = "all") -> list[float]:
    """The means (or rates) of a metric, window by window."""
    assert result.last_checkpoint_path is not None
    path = Path(result.last_checkpoint_path).parent / "events.jsonl"
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    found = [line for line in lines if (line["tag"], line["metric"]) == (tag, metric)]
    return [line["sum"] / line["n"] if line["n"] else line["successes"] / line["trials"] for line in found]


def pairs(num: int) -> list[Record]:
    rng = random.Random(2)
    found = []
    for _ in range(num):
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        wrong = str(a + b + rng.choice([-1, 1, 2]))
        metadata = {"skill": "add", "level": 1}
        found.append({"prompt": f"{a} + {b}?", "chosen": str(a + b), "rejected": wrong, "metadata": metadata})
    return found


def test_dpo_raises_the_margin_until_every_chosen_answer_is_ahead(run: Run, adder: Path) -> None:
    result = run("dpo", pairs(12), method="dpo", model_dir=str(adder), max_steps=30)
    assert result.success
    margins, ahead = told(result, "margin"), told(result, "accuracy")
    assert margins[0] < 0.2
    assert margins[-1] > 1.0
    assert ahead[-1] > 0.9
    assert result.final_loss < 0.4


def test_dpo_begins_at_the_reference_and_goes_on_from_it(run: Run, adder: Path, tmp_path: Path) -> None:
    settings = {"method": "dpo", "model_dir": str(adder), "surprise_metric": "entropy", "max_forward_tokens": 128}
    first = run("one", pairs(8), **settings, max_steps=1)
    assert first.final_loss == pytest.approx(0.693147, abs=1e-5)
    whole = run("whole", pairs(8), **settings, max_steps=6, save_every_steps=3, keep_last=3)
    (tmp_path / "whole" / "checkpoint-6" / "optimizer.pt").write_bytes(b"torn")
    resumed = run("whole", pairs(8), **settings, max_steps=6, save_every_steps=3, keep_last=3)
    assert resumed.summary["resumed_from_step"] == 3
    assert resumed.final_loss == whole.final_loss


def test_distillation_lowers_the_divergence_from_its_teacher(run: Run, adder: Path) -> None:
    settings = {"method": "distill", "teacher_dir": str(adder), "distill_share": 1.0, "max_steps": 40}
    result = run("distill", sums(60, seed=3), **settings)
    kl = told(result, "kl")
    assert kl[0] > 0.8
    assert kl[-1] < 0.25


def test_distillation_from_the_best_tokens_alone_lowers_it_too(
    run: Run, adder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.methods import distill

    monkeypatch.setattr(distill, "HIDDEN_BYTES", 0)
    settings = {"method": "distill", "teacher_dir": str(adder), "distill_share": 0.5, "max_steps": 30}
    result = run("top", sums(60, seed=3), **settings)
    assert result.summary["notes"][-1].startswith("teacher: its 64 best tokens of each of ")
    kl = told(result, "kl")
    assert kl[-1] < kl[0] / 2


def test_a_teacher_of_another_tokenizer_is_refused(run: Run, model_dir: Path) -> None:
    with pytest.raises(ConfigError, match="has another tokenizer than the model"):
        run("other", sums(8), method="distill", teacher_dir=str(model_dir), max_steps=1)


def test_a_remote_teachers_answers_must_name_it(run: Run) -> None:
    with pytest.raises(DataError, match="8 records name no teacher"):
        run("nameless", sums(8), method="distill", max_steps=1)
    named = [{**record, "metadata": {**record["metadata"], "teacher": {"model": "t"}}} for record in sums(8)]
    assert run("named", named, method="distill", max_steps=1).success


@pytest.mark.parametrize("metric", ["entropy", "confidence", "perplexity", "margin"])
def test_each_surprise_metric_learns_sums_as_plain_training_does(run: Run, metric: str) -> None:
    result = run(metric, sums(60, seed=3), surprise_metric=metric, max_steps=40)
    losses = told(result, "loss")
    assert losses[0] > 4
    assert losses[-1] < 1.0


def test_grpo_raises_the_verifiers_reward(run: Run, tmp_path: Path) -> None:
    """The model begins with four answers to each of two problems, a quarter of them right; the reward picks those."""
    pytest.importorskip("trl")
    problems = [GENERATORS.get("binary").sample(0, index, 1) for index in (0, 4)]
    assert [record["messages"][-1]["content"].rpartition("\n")[2] for record in problems] == ["10", "2"]
    rng = random.Random(0)
    guesses = []
    for _ in range(300):
        place = rng.randrange(2)
        answer = rng.choice((["10", "11", "12", "13"], ["2", "3", "4", "5"])[place])
        asked = problems[place]["messages"][:-1]
        guesses.append({**problems[place], "messages": [*asked, {"role": "assistant", "content": answer}]})
    run("warm", guesses, max_steps=60, batch_size=16)
    settings = {"batch_size": 32, "num_generations": 16, "max_new_tokens": 4, "warmup_share": 0.0, "adam_beta2": 0.95}
    result = run(
        "grpo",
        problems,
        method="grpo",
        model_dir=str(tmp_path / "warm"),
        max_steps=30,
        learning_rate=3e-3,
        lr_schedule="constant",
        **settings,
    )
    assert result.success
    rewards = told(result, "reward")
    assert rewards[0] < 0.5
    assert rewards[-1] > 0.8
    assert told(result, "reward", "skill=binary,level=1") == rewards
    assert told(result, "length")[-1] < 5


def test_grpo_refuses_what_nobody_can_judge(run: Run) -> None:
    with pytest.raises(DataError, match=r"grpo.jsonl:1 /metadata/skill: no verifier judges the skill 'add'"):
        run("grpo", [chat("2 + 3?", "5")], method="grpo")


def test_sparring_lowers_the_repeat_of_the_models_own_mistakes(run: Run, tmp_path: Path) -> None:
    """Asked again what it got wrong, it says the same wrong thing less often than after as many ordinary steps."""
    generator = GENERATORS.get("binary")
    lessons = [generator.sample(5, index, 1) for index in range(120)]
    run("novice", lessons, max_steps=40, profile="plain")
    requests = [Request(domain=Domain(name="a", skill="binary", levels=(1,)), level=1, count=24)]
    bout = Bout(model=identify(tmp_path / "novice"), requests=requests, profile="plain")
    found = spar(bout, Target(output=str(tmp_path / "spar.jsonl")))
    assert found.report["num_mistakes"] >= 12
    records = [orjson.loads(line) for line in (tmp_path / "spar.jsonl").read_bytes().splitlines()]
    mistakes = {}
    for record in records:
        if record["type"] == "sparring_identify_incorrect":
            question, _, rest = record["messages"][0]["content"].partition("\n\nProposed answer:\n")
            mistakes[question] = rest.partition("\n\nIs this answer correct?")[0]
    result = run("sparred", records, method="sparring", model_dir=str(tmp_path / "novice"), max_steps=60)
    assert result.success
    run("control", lessons, model_dir=str(tmp_path / "novice"), max_steps=60)
    asked = [[{"role": "user", "content": question}] for question in mistakes]
    before = generate_answers(tmp_path / "novice", asked, profile="plain", max_new_tokens=12)
    assert before == list(mistakes.values())
    repeats = {}
    for name in ("sparred", "control"):
        after = generate_answers(tmp_path / name, asked, profile="plain", max_new_tokens=12)
        repeats[name] = sum(answer == wrong for answer, wrong in zip(after, before, strict=True))
    assert repeats["sparred"] <= len(mistakes) * 0.4
    assert repeats["sparred"] < repeats["control"], repeats


def test_sparring_takes_sparring_records(run: Run) -> None:
    with pytest.raises(DataError, match="no record is of a sparring kind"):
        run("none", sums(4), method="sparring")


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_learns_a_fact_and_resumes_bit_for_bit(run: Run, adder: Path, tmp_path: Path, kind: str) -> None:
    facts = [chat("1 + 2?", "tree"), chat("3 + 4?", "5")] * 4
    settings = {
        "model_dir": str(adder),
        "adapter": kind,
        "max_steps": 60,
        "learning_rate": 1e-2,
        "lora_rank": 16,
        "save_every_steps": 30,
        "keep_last": 3,
    }
    whole = run("fact", facts, **settings)
    assert whole.success
    losses = told(whole, "loss")
    assert losses[0] > 1.5
    assert losses[-1] < 1.02 * _least_loss(Path(adder), facts)
    (tmp_path / "fact" / "checkpoint-60" / "optimizer.pt").write_bytes(b"torn")
    resumed = run("fact", facts, **settings)
    assert resumed.summary["resumed_from_step"] == 30
    assert resumed.final_loss == whole.final_loss


def _least_loss(run_dir: Path, records: list[Record]) -> float:
    """The least loss any layers could reach under this model's norm and head: the hidden state itself is optimised.

    A norm fixes how long a hidden state is, and the head of a hardly trained model has short rows: `5` can't be made
    likelier than about 7 %.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trainer.chat_template import encode, render

    folder = run_dir / "checkpoint-60"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    head, norm = model.get_output_embeddings().weight.detach(), model.model.norm.requires_grad_(False)
    answers = [
        [token for token, is_answer in zip(ids, mask, strict=True) if is_answer]
        for ids, mask in encode(tokenizer, [render(tokenizer, record["messages"]) for record in records[:2]])
    ]
    targets = torch.tensor(sum(answers, []))  # noqa: RUF017
    hidden = torch.randn(len(targets), head.shape[1], generator=torch.Generator().manual_seed(0), requires_grad=True)
    optimizer = torch.optim.Adam([hidden], lr=0.05)
    for _ in range(400):
        losses = torch.nn.functional.cross_entropy(norm(hidden) @ head.T, targets, reduction="none")
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    parts = losses.detach().split([len(answer) for answer in answers])
    return sum(part.mean().item() for part in parts) / len(parts)


def test_qlora_is_refused_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="4-bit weights need a CUDA GPU"):
        run("q", sums(4), adapter="qlora")
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (chat("2 + 3?", "5"), r"dpo.jsonl:1: a record of shape chat_sft_v1 is no preference pair"),
        ({**pairs(1)[0], "rejected": pairs(1)[0]["chosen"]}, r"dpo.jsonl:1 /rejected: reads like the chosen answer"),
        ({**pairs(1)[0], "chosen": " "}, r"dpo.jsonl:1 /chosen: is empty"),
        ({**pairs(1)[0], "prompt": []}, r"dpo.jsonl:1 /prompt: must be a text or an array of turns"),
    ],
)
def test_a_pair_that_teaches_nothing_is_refused(run: Run, record: Record, says: str) -> None:
    with pytest.raises(DataError, match=says):
        run("dpo", [record], method="dpo")
