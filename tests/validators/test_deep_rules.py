"""`--level deep` over whole files: what was planted is found by line and kind, a clean file gives nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from frontier_core.errors import EnvironmentMissing, UsageError
from frontier_core.jsonl import dumps
from validators.base import GateSettings
from validators.sandbox import backend
from validators.sandbox.contract import Outcome
from validators.validation import Validation

WORDS = [f"word{number}" for number in range(4000)]


def prose(rng: random.Random, num: int) -> str:
    return " ".join(rng.choices(WORDS, k=num))


def chat(prompt: str, answer: str, **metadata: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "metadata": {"skill": "prose", **metadata}}


class Done(NamedTuple):
    """What came of a validation."""

    lines: list[tuple[int, str, str]]
    run: Validation


@pytest.fixture
def validate(tmp_path: Path) -> Callable[..., Done]:
    def validated(records: list[dict[str, Any]], held: list[dict[str, Any]] | None = None) -> Done:
        against = () if held is None else (tmp_path / "eval.jsonl",)
        for name, lines in (("train", records), ("eval", held or [])):
            (tmp_path / f"{name}.jsonl").write_bytes(b"".join(dumps(line) + b"\n" for line in lines))
        run = Validation(GateSettings(level="deep", profile="plain", against=against))
        judged = list(run.judge(tmp_path / "train.jsonl"))
        return Done(
            [(one.row.number, found.code, found.message) for one in judged for found in one.verdict.findings], run
        )

    return validated


def test_what_was_planted_is_found_and_nothing_else(validate: Any) -> None:
    rng = random.Random(1)
    held = [chat(prose(rng, 30), prose(rng, 30)) for _ in range(20)]
    records = [chat(prose(rng, 40), prose(rng, 40)) for _ in range(300)]
    records[10] = chat(f"{prose(rng, 9)} The answer is 17.", "17")
    records[20] = chat(f"Well: {held[3]['messages'][0]['content']} Or not?", prose(rng, 20))
    records[250] = chat(*(turn["content"].replace(" word1", " changed", 1) for turn in records[30]["messages"]))
    done = validate(records, held)
    assert [(line, code) for line, code, _ in done.lines] == [
        (11, "answer_leak"), (21, "contamination"), (251, "near_duplicate"),
    ]  # fmt: skip
    assert done.lines[1][2].startswith("100% of the prompt of ")
    assert done.lines[1][2].endswith("eval.jsonl:4 stands in it")
    assert done.lines[2][2].startswith("near-duplicate of line 31 (similarity 0.9")
    assert done.run.facts["contamination"] == {"held_out": 20, "held_out_found": 1, "found": {"ngram": 1}}
    assert (done.run.facts["near_duplicates"]["groups"], done.run.facts["near_duplicates"]["largest_groups"]) == (
        1,
        [2],
    )
    assert done.run.facts["leaks"] == {"found": {"answer_leak": 1}}


def test_a_clean_file_gives_nothing(validate: Any) -> None:
    rng = random.Random(2)
    records = [chat(prose(rng, 40), prose(rng, 40)) for _ in range(300)]
    assert validate(records, [chat(prose(rng, 40), prose(rng, 40)) for _ in range(50)]).lines == []


def test_alike_problems_of_a_skill_with_a_verifier_get_a_warning_only(validate: Any) -> None:
    asked = "A very long way of asking, word by word and once more, what one always asks at school: What is {} + 5?"
    records = [chat(asked.format(number), "12", skill="other") for number in (7, 8)]
    assert [(line, code) for line, code, _ in validate(records).lines] == [(2, "near_duplicate")]
    short = [chat(f"What is {number} + 5?", str(number + 5), skill="binary", level=2) for number in (17, 18, 17)]
    done = validate(short)
    assert [(line, code) for line, code, _ in done.lines] == [(3, "duplicate"), (3, "near_duplicate")]
    assert done.run.warnings == {"near_duplicate": 1}
    assert done.run.facts["answers"] == {"judged": {"binary": 3}, "refused": {}}


def test_a_wrong_answer_is_refused_by_its_verifier(validate: Any) -> None:
    done = validate([chat("What is 7 + 5?", "13", skill="binary", level=1)])
    assert [code for _, code, _ in done.lines] == ["wrong_answer"]
    assert done.run.facts["answers"] == {"judged": {"binary": 1}, "refused": {"binary": 1}}


def test_a_broken_evaluation_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eval.jsonl").write_text('{"messages": []}\n{"messages"\n')
    with pytest.raises(UsageError, match=r"--against: .*eval.jsonl:2: not valid JSON"):
        list(Validation(GateSettings(level="deep", against=(tmp_path / "eval.jsonl",))).judge(tmp_path / "none.jsonl"))


PLAN = {
    "instruction": "Make it.",
    "output": [{"command": "touch a"}],
    "expect": {"files": {"a": {"text": ""}}},
    "metadata": {"skill": "shell"},
}


class FakeSandbox:
    """Says of every plan with `touch` that it went well, of any other that it failed."""

    name = "fake"

    def run(self, job: dict[str, Any]) -> Outcome:
        good = job["commands"][0].startswith("touch")
        steps = ({"exit_code": 0 if good else 1},)
        return Outcome(
            status="ok" if good else "nonzero", backend="fake", image="", limits={}, exit_code=0 if good else 1,
            wall_s=0.0, cpu_s=0.0, stdout={}, stderr={}, steps=steps, changes=(), findings=(),
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def test_plans_are_run_again(validate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "open_sandbox", FakeSandbox)
    bad = {**PLAN, "output": [{"command": "mkdir a"}]}
    free = {**bad, "expect": {}, "instruction": "Demands nothing."}
    done = validate([PLAN, bad, free])
    assert [(line, code) for line, code, _ in done.lines if code != "near_duplicate"] == [(2, "nonzero")]
    assert done.run.facts["plans"] == {"plans": 2, "verdicts": {"nonzero": 1, "ok": 1}}


def test_without_a_sandbox_plans_are_left_alone_and_the_report_says_so(
    validate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise EnvironmentMissing("no sandbox here", hint="get one")

    monkeypatch.setattr(backend, "open_sandbox", absent)
    done = validate([PLAN])
    assert done.lines == []
    assert [finding.code for finding in done.run.whole_file] == ["plans_not_run"]
    assert done.run.facts["plans"] == {"plans": 1, "verdicts": {}, "not_run": "no sandbox here"}
