from hypothesis import given
from hypothesis import strategies as st

from frontier_core.events import EventSink, Key, TelemetryLine
from frontier_core.jsonl import read_records
from frontier_core.records import TagStats, parse_tag, tag_of, wilson_interval

parts = st.builds(
    TagStats,
    n=st.integers(0, 9),
    total=st.integers(-9, 9).map(float),
    total_sq=st.integers(0, 99).map(float),
    tokens=st.integers(0, 9),
    successes=st.integers(0, 9),
    trials=st.integers(9, 18),
)


@given(st.lists(parts), st.randoms(use_true_random=False))
def test_sums_merge_in_any_order(values, random):
    shuffled = values[:]
    random.shuffle(shuffled)
    assert sum(values, TagStats()) == sum(shuffled, TagStats())


def test_mean_rate_and_standard_error():
    stats = TagStats(n=4, total=10.0, total_sq=30.0, successes=3, trials=4)
    assert (stats.mean, stats.rate) == (2.5, 0.75)
    assert abs(stats.standard_error - 0.6454972) < 1e-6


def test_wilson_interval_of_eight_in_ten():
    low, high = wilson_interval(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_a_tag_names_skill_and_level():
    assert tag_of({"skill": "binary", "level": 2}) == "skill=binary,level=2"
    assert tag_of({"skill": "chat"}) == "skill=chat"
    assert parse_tag("skill=binary,level=2") == {"skill": "binary", "level": "2"}


def test_events_are_telemetry_lines_that_read_back(tmp_path):
    line = TelemetryLine(
        key=Key("r", 0, 10, "skill=x,level=1", "loss"), stats=TagStats(n=2, total=3.0, total_sq=5.0, tokens=40), round=1
    )
    sink = EventSink(tmp_path / "events.jsonl")
    sink.write([line])
    sink.close()
    (record,) = read_records(tmp_path / "events.jsonl")
    assert record == {
        "run_id": "r",
        "step_from": 0,
        "step_to": 10,
        "tag": "skill=x,level=1",
        "metric": "loss",
        "n": 2,
        "sum": 3.0,
        "sum_sq": 5.0,
        "tokens": 40,
        "round": 1,
    }
    assert TelemetryLine.from_record(record) == line
