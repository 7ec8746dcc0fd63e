"""What follows from telemetry beside weights: records to generate, context lengths, quotas; and synth gen obeys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema_rs

from curriculum.cells import CellStats
from curriculum.levels import is_mastered
from curriculum.needs import needs
from curriculum.policy import update
from curriculum.settings import PolicySettings
from frontier_core.allocation import NeedLine, generation_weights, read_needs, read_policy
from frontier_core.domains import Domain
from frontier_core.jsonl import dumps
from frontier_core.records import TagStats
from frontier_core.schemas import load_schema
from frontier_ops.stage_generate import choose_requests

DEFAULTS = PolicySettings()
ADD1, ADD2, SORT = "skill=binary,level=1", "skill=binary,level=2", "skill=syllo,level=1"
PRIOR = {ADD1: 1.0, ADD2: 1.0, SORT: 1.0}


def rate(right: int, trials: int) -> TagStats:
    return TagStats(n=trials, total=right, total_sq=right, successes=right, trials=trials)


def found(stats: dict[str, CellStats], num: int = 120) -> dict[tuple[str, str], NeedLine]:
    lines = update(PRIOR, stats, None, settings=DEFAULTS)
    return {(need.kind, need.tag): need for need in needs(lines, stats, num=num, settings=DEFAULTS)}


STATS = {
    ADD1: CellStats(accuracy=rate(34, 40)),
    ADD2: CellStats(accuracy=rate(8, 40), errors={"carry": 24, "format": 7}),
    SORT: CellStats(accuracy=rate(20, 40), verified=rate(50, 100)),
}


def test_focus_splits_a_round_by_need_pass_rate_level_and_error() -> None:
    all_needs = found(STATS)
    assert sum(need.num for need in all_needs.values()) == 120
    sort, hard = all_needs["focus", SORT], all_needs["focus", ADD2]
    assert sort.reason.endswith("44% of candidates pass")  # the lower end of 50 of 100
    assert hard.detail["errors"] == {"carry": round(hard.num * 24.5 / 32), "format": round(hard.num * 7.5 / 32)}
    plain = found({**STATS, ADD1: CellStats(accuracy=rate(20, 40))})
    assert hard.num / all_needs["focus", ADD1].num > plain["focus", ADD2].num / plain["focus", ADD1].num


def test_what_is_mastered_or_stalled_is_not_generated() -> None:
    lines = update(PRIOR, STATS | {ADD1: CellStats(accuracy=rate(99, 100))}, None, settings=DEFAULTS)
    least = {"stall": DEFAULTS.stall_least}
    stalled = [replace(line, factors=line.factors | least) if line.tag == SORT else line for line in lines]
    assert {need.tag for need in needs(stalled, STATS, num=50, settings=DEFAULTS)} == {ADD2}


def test_mastery_has_hysteresis() -> None:
    assert is_mastered(95, 100, was=False)
    assert not is_mastered(86, 100, was=False)
    assert is_mastered(86, 100, was=True)
    assert is_mastered(82, 100, was=True)
    assert not is_mastered(78, 100, was=True)


def test_lengths_follow_the_same_rule_and_grow_when_examples_are_cut() -> None:
    loss = TagStats(n=40, total=40.0, total_sq=41.0, tokens=4000)
    buckets = {
        "length=256": CellStats(accuracy=rate(38, 40), loss=loss),
        "length=1024": CellStats(accuracy=rate(10, 40), loss=loss, truncated=rate(6, 100)),
    }
    shares = {need.tag: need.detail["share"] for key, need in found(buckets).items() if key[0] == "length"}
    assert list(shares) == ["length=256", "length=1024", "length=2048"]
    assert shares["length=1024"] > shares["length=256"]
    assert found(buckets)["length", "length=2048"].reason == "6 of 100 examples of the longest bucket were cut"


def test_quotas_answer_violations_and_refusals_and_tools_their_failures() -> None:
    stats = STATS | {
        SORT: replace(STATS[SORT], violations=rate(5, 50), refusals=rate(0, 50)),
        "tool=search+read": CellStats(tools=rate(10, 30)),
        "tool=read": CellStats(tools=rate(40, 40)),
    }
    all_needs = found(stats)
    quota = all_needs["quota", SORT]
    assert (quota.detail["aim"], quota.reason) == ("safety", "5 of 50 answers break a safety rule")
    assert 0 < quota.num <= 12
    assert all_needs["focus", "tool=search+read"].reason == "20 of 30 calls failed"
    assert ("focus", "tool=read") not in all_needs


def test_synth_gen_makes_what_the_file_asks_for(tmp_path: Path) -> None:
    lines = update(PRIOR, STATS, None, settings=DEFAULTS)
    wanted = needs(lines, STATS, num=120, settings=DEFAULTS)
    validator = jsonschema_rs.validator_for(load_schema("need_v1"))
    assert all(validator.is_valid(need.to_record()) for need in wanted)
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"".join(dumps(line.to_record()) + b"\n" for line in [*lines, *wanted]))
    assert read_policy(path) == lines
    assert read_needs(path) == wanted
    domains = [
        Domain(name="a", skill="binary", levels=(1, 2)),
        Domain(name="s", skill="syllo", levels=(1,)),
    ]
    requests = choose_requests(domains, 120, policy=str(path))
    made = {f"skill={r.domain.skill},level={r.level}": r.count for r in requests}
    assert made == {need.tag: need.num for need in wanted}
    assert generation_weights(path) == made
