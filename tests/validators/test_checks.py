import pytest

from frontier_core.jsonl import dumps
from validators import checks
from validators.base import Check, Finding, GateSettings
from validators.checks import Rule, rules_of
from validators.validation import Validation

MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


class Pairs(Check):
    """Rejects the first of two records with one seed, which only the second shows."""

    def __init__(self, settings):
        super().__init__(settings)
        self.lines = {}

    def see(self, record, at):
        self.lines.setdefault(record["metadata"]["seed"], []).append(at.line)
        return ()

    def finish(self):
        for lines in self.lines.values():
            if len(lines) > 1:
                yield lines[0], Finding(code="pair", message=f"as line {lines[1]}")
        yield 0, Finding(code="noted", message="about the file", severity="warning")

    def facts(self):
        return {"num_seeds": len(self.lines)}


@pytest.fixture
def plugged(monkeypatch):
    rule = Rule("pairs", "deep", f"{__name__}:Pairs", is_late=True)
    monkeypatch.setattr(checks, "RULES", (rule,))


def write(path, seeds):
    lines = [dumps({"messages": MESSAGES, "metadata": {"skill": "x", "seed": seed}}) for seed in seeds]
    path.write_bytes(b"\n".join(lines) + b"\n")


def test_a_late_rule_rejects_a_line_that_stood_before_its_reason(plugged, tmp_path):
    write(tmp_path / "in.jsonl", [1, 2, 1, 3])
    run = Validation(GateSettings(level="deep", profile="plain"))
    judged = list(run.judge(tmp_path / "in.jsonl"))
    assert [(line.row.number, line.verdict.code) for line in judged] == [(1, "pair"), (2, "ok"), (3, "ok"), (4, "ok")]
    report = run.report("in.jsonl")
    assert (report["num_accepted"], report["rejects"]) == (3, {"pair": 1})
    assert report["facts"] == {"pairs": {"num_seeds": 3}}
    assert [finding["code"] for finding in report["file_findings"]] == ["noted"]


def test_a_level_holds_its_own_rules_and_those_before_it():
    quick, standard, deep = ([rule.name for rule in rules_of(level)] for level in ("quick", "standard", "deep"))
    assert quick == standard[: len(quick)] == ["conversation"]
    assert standard == deep[: len(standard)]
    assert len(quick) < len(standard) < len(deep)
