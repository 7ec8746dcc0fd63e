"""Levels closed and opened by hand and by rule; pictures of a policy."""

from __future__ import annotations

from dataclasses import replace
from math import fsum
from pathlib import Path

import pytest

from curriculum.cells import CellStats
from curriculum.plot import html_page, png
from curriculum.policy import update
from curriculum.replay import replay
from curriculum.settings import PolicySettings
from curriculum.stages import ceilings, ready_levels, with_ceilings
from frontier_core.records import TagStats

DEFAULTS = PolicySettings()
TAGS = [f"skill=a,level={level}" for level in (1, 2, 3)] + ["skill=b,level=1"]
PRIOR = dict.fromkeys(TAGS, 1.0)


def seen(right: int, trials: int = 40) -> CellStats:
    return CellStats(accuracy=TagStats(n=trials, total=right, total_sq=right, successes=right, trials=trials))


STATS = {TAGS[0]: seen(39), TAGS[1]: seen(20), TAGS[2]: seen(1), TAGS[3]: seen(10)}


def test_closed_levels_stay_at_their_floor_until_opened() -> None:
    lines = update(PRIOR, STATS, None, settings=DEFAULTS)
    assert ceilings(lines) == {"a": 3, "b": 1}
    closed = with_ceilings(lines, {"a": 1}, settings=DEFAULTS, why={"a": "set by hand to level 1"})
    assert ceilings(closed) == {"a": 1, "b": 1}
    assert [round(line.weight, 9) for line in closed[1:3]] == [0.075, 0.075]
    assert fsum(line.weight for line in closed) == pytest.approx(1, abs=1e-9)
    assert closed[1].reason == "set by hand to level 1: level 2 closed"
    assert replay(closed) == []
    after = closed
    for _ in range(3):
        after = update(PRIOR, STATS, after, settings=DEFAULTS)
    assert [round(line.weight, 9) for line in after[1:3]] == [0.075, 0.075]
    assert after[1].limits == ("closed",)
    assert fsum(line.weight for line in after) == pytest.approx(1, abs=1e-9)
    opened = with_ceilings(after, {"a": 2}, settings=DEFAULTS, why={"a": "ready"})
    grown = update(PRIOR, STATS, opened, settings=DEFAULTS)
    assert grown[1].weight > 0.075 * 1.3
    assert grown[2].weight == pytest.approx(0.075)


def test_a_level_opens_by_interval_or_by_streak() -> None:
    lines = update(PRIOR, STATS, None, settings=DEFAULTS)
    lines = with_ceilings(lines, {"a": 1}, settings=DEFAULTS, why={"a": "-"})
    twelve = {0: {TAGS[0]: seen(10, 12)}}  # 10 of 12 is 83 %, but may well be 65 %
    assert ready_levels(lines, twelve, rule="interval") == {}
    found = ready_levels(lines, {0: {TAGS[0]: seen(33)}}, rule="interval")
    assert found == {"a": (2, "level 1 is at 74% or more with 90% confidence")}
    three = {turn: {TAGS[0]: seen(33)} for turn in range(3)}
    assert ready_levels(lines, three, rule="streak")["a"][0] == 2
    assert ready_levels(lines, three | {2: {TAGS[0]: seen(31)}}, rule="streak") == {}
    assert ready_levels(lines, {0: three[0], 1: three[1]}, rule="streak") == {}
    assert "b" not in found  # has no level above


def test_the_page_shows_every_cell_biggest_move_first(tmp_path: Path) -> None:
    first = update(PRIOR, STATS, None, settings=DEFAULTS)
    second = update(PRIOR, STATS, first, settings=DEFAULTS)
    page = html_page([second, first])
    assert "Sampling policy, round 2" in page
    moves = {line.tag: abs(line.weight - first[i].previous) for i, line in enumerate(second)}
    places = {tag: page.index(f"<td>{tag}</td>") for tag in TAGS}
    assert sorted(places, key=places.get) == sorted(moves, key=moves.get, reverse=True)
    assert page.count("<svg") == 4
    named = replace(second[0], reason="a < b & c")
    assert "a &lt; b &amp; c" in html_page([[named, *second[1:]]])
    pytest.importorskip("matplotlib")
    png([first, second], tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
