"""Levels and error patterns from pooled counts."""

from __future__ import annotations

from curriculum.cells import CellStats, cells_by_round, pooled, prerequisite_of
from curriculum.focus import focus_lines
from curriculum.levels import OPENS_AT, level_status, lower_bound
from frontier_core.events import Key, TelemetryLine
from frontier_core.records import TagStats


def cell(successes: int, trials: int, **errors: int) -> CellStats:
    return CellStats(accuracy=TagStats(n=trials, successes=successes, trials=trials), errors=errors)


def test_the_next_level_opens_at_the_published_counts() -> None:
    for trials, needed in ((12, 11), (20, 17), (40, 32), (100, 76)):
        assert lower_bound(needed, trials) >= OPENS_AT > lower_bound(needed - 1, trials)


def test_a_skill_stands_at_its_lowest_level_not_mastered() -> None:
    status = level_status(
        {
            "skill=add,level=1": cell(99, 100),
            "skill=add,level=2": cell(80, 100),
            "skill=add,level=10": cell(0, 100),
            "skill=sort,level=1": cell(5, 5),
            "skill=done,level=1": cell(100, 100),
            "all": cell(50, 100),
        }
    )
    assert list(status) == ["add", "done", "sort"]
    assert (status["add"].current, status["add"].mastered, status["add"].opens_next) == (2, (1,), True)
    assert (status["sort"].current, status["sort"].mastered, status["sort"].opens_next) == (1, (), True)
    assert (status["done"].current, status["done"].mastered) == (1, (1,))


def test_the_most_frequent_error_patterns_come_first() -> None:
    lines = focus_lines({"skill=b": cell(0, 9, wrong_answer=6, bad_json=3), "skill=a": cell(3, 9, wrong_answer=6)})
    assert [(line.tag, line.code, line.num_failures) for line in lines] == [
        ("skill=a", "wrong_answer", 6),
        ("skill=b", "wrong_answer", 6),
        ("skill=b", "bad_json", 3),
    ]
    assert [line.share for line in lines] == [1.0, 0.65, 0.35]
    assert len(focus_lines({"skill=b": cell(0, 9, x=1, y=2)}, limit=1)) == 1


def test_lines_without_a_round_join_the_latest_one() -> None:
    def line(number: int | None, trials: int) -> TelemetryLine:
        stats = TagStats(n=trials, trials=trials)
        return TelemetryLine(key=Key("r", 0, 0, "skill=a", "accuracy"), stats=stats, round=number)

    cells = cells_by_round([line(None, 1), line(1, 2), line(0, 4)])
    assert {number: tags["skill=a"].accuracy.trials for number, tags in cells.items()} == {0: 4, 1: 3}
    assert pooled(cells.values())["skill=a"].accuracy.trials == 7


def test_the_prerequisite_is_one_level_below() -> None:
    assert prerequisite_of("skill=a,level=3") == "skill=a,level=2"
    assert prerequisite_of("skill=a,level=1") is None
    assert prerequisite_of("skill=a") is None
