"""A run that reweights itself decides what `frontier reweight --every` decides afterwards, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from curriculum.reweight import reweight
from frontier_core.allocation import read_policy
from frontier_core.domains import Domain, prior_weights
from frontier_core.errors import ConfigError
from frontier_core.events import EventSink, Key, TelemetryLine
from frontier_core.jsonl import dumps
from frontier_core.records import TagStats
from frontier_ops.live import LiveReweighter

DOMAINS = [Domain(name="a", skill="add", levels=(1, 2)), Domain(name="s", skill="sort", levels=(1,))]
TAGS = list(prior_weights(DOMAINS))


def window(step: int) -> list[TelemetryLine]:
    """Five steps' lines: the loss of each cell, falling at its own pace, and of everything."""
    lines = []
    for index, tag in enumerate(TAGS):
        mean = 2.0 - 0.01 * step * index
        loss = TagStats(n=30, total=30 * mean, total_sq=30 * (mean**2 + 0.01), tokens=600)
        lines.append(TelemetryLine(key=Key("r", step - 4, step, tag, "loss"), stats=loss, round=3))
    return [TelemetryLine(key=Key("r", step - 4, step, "all", "loss"), stats=TagStats(n=1, total=2.0), round=3), *lines]


def test_in_run_reweighting_gives_the_bytes_of_the_offline_command(tmp_path: Path) -> None:
    policy = tmp_path / "policy.jsonl"
    live = LiveReweighter(policy, prior_weights(DOMAINS), every=10)
    live.start()
    assert [line.round for line in read_policy(policy)] == [0, 0, 0]
    sink = EventSink(tmp_path / "events.jsonl")
    seen = []
    for step in range(5, 61, 5):
        sink.write(window(step))
        live(window(step))
        seen.append(tuple(line.weight for line in read_policy(policy)))
    sink.close()
    offline = reweight(tmp_path / "events.jsonl", DOMAINS, every=10)
    assert policy.read_bytes() == b"".join(dumps(record) + b"\n" for record in offline)
    assert [line.round for line in read_policy(policy)] == [6, 6, 6]
    assert seen[0::2] == [seen[0], *seen[1:-1:2]]  # between rounds nothing moves
    assert len(set(seen)) == 7  # the priors and six decisions


def test_a_run_goes_on_from_the_policy_that_is_there(tmp_path: Path) -> None:
    policy = tmp_path / "policy.jsonl"
    first = LiveReweighter(policy, prior_weights(DOMAINS), every=5)
    first.start()
    for step in (5, 10, 15):
        first(window(step))
    whole = policy.read_bytes()
    for step in (10, 15):
        policy.unlink(missing_ok=True)
        again = LiveReweighter(policy, prior_weights(DOMAINS), every=5)
        again.start()
        for earlier in range(5, step + 1, 5):
            again(window(earlier))
        resumed = LiveReweighter(policy, prior_weights(DOMAINS), every=5)
        resumed.start()
        for later in range(step + 5, 16, 5):
            resumed(window(later))
        assert policy.read_bytes() == whole
    with pytest.raises(ConfigError):
        LiveReweighter(policy, prior_weights(DOMAINS), every=0)
