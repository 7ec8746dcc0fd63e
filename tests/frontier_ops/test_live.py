"""A run that reweights itself decides what `frontier reweight --every` decides afterwards, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from curriculum.reweight import reweight
from frontier_core.allocation import read_policy
from frontier_core.domains import Domain, load_domains, prior_weights
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
    live = LiveReweighter(tmp_path, prior_weights(DOMAINS), every=10)
    live.begin(is_fresh=True)
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


@pytest.mark.parametrize("stopped", [5, 10, 25])
def test_a_run_that_goes_on_reads_its_windows_again(tmp_path: Path, stopped: int) -> None:
    def follow(name: str, first: int, last: int, lost: int = 0) -> list[bytes]:
        """Takes the windows of some steps; those of the last `lost` are in no file when the run goes on."""
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        live = LiveReweighter(folder, prior_weights(DOMAINS), every=10)
        live.begin(is_fresh=first == 5)
        found = []
        for step in range(first, last + 1, 5):
            if step <= last - lost:
                sink = EventSink(folder / "events.jsonl")
                sink.write(window(step))
                sink.close()
            live(window(step))
            found.append((folder / "policy.jsonl").read_bytes())
        return found

    expected = follow("whole", 5, 40)
    begun = follow("cut", 5, stopped + 10, lost=10)
    resumed = follow("cut", stopped + 5, 40)
    assert begun + resumed[2:] == expected


def test_a_run_may_begin_at_a_policy_of_before(tmp_path: Path) -> None:
    before = LiveReweighter(tmp_path, prior_weights(DOMAINS), every=5)
    before.begin(is_fresh=True)
    before(window(5))
    (tmp_path / "policy.jsonl").rename(tmp_path / "given.jsonl")
    live = LiveReweighter(tmp_path, prior_weights(DOMAINS), every=5, initial=tmp_path / "given.jsonl")
    live.begin(is_fresh=True)
    given, begun = read_policy(tmp_path / "given.jsonl"), read_policy(tmp_path / "policy.jsonl")
    assert [line.weight for line in begun] == [line.weight for line in given]
    assert [line.round for line in begun] == [0, 0, 0]
    with pytest.raises(ConfigError):
        LiveReweighter(tmp_path, prior_weights(DOMAINS), every=0)


@pytest.mark.torch
@pytest.mark.parametrize("killed_at", [7, 13])
def test_a_run_that_reweights_itself_is_resumed_to_the_same_bytes(
    tmp_path: Path, tiny_model: Path, killed_at: int
) -> None:
    from frontier_core.jsonl import write_records
    from frontier_ops import training
    from tests.trainer.conftest import sums

    write_records(tmp_path / "data.jsonl", sums(300))
    (tmp_path / "domains.yaml").write_text(
        "domains:\n- {name: a, skill: add, levels: [1]}\n- {name: s, skill: say, levels: [2]}\n"
    )

    def run(name: str, stop_at: int = 0) -> Path:
        def stop(step: int, *_: object) -> None:
            if step == stop_at:
                raise RuntimeError("killed")

        config, origins = training.resolve_config(
            files=[str(tmp_path / "data.jsonl")],
            model=str(tiny_model),
            output=str(tmp_path / name),
            overrides={
                "reweight_every": 4, "reweight_domains": str(tmp_path / "domains.yaml"), "logging_every_steps": 2,
                "save_every_steps": 3, "max_steps": 24, "batch_size": 80, "learning_rate": 1e-2, "device": "cpu",
                "profile": "plain", "num_threads": 1, "run_id": "r",
            },
        )  # fmt: skip
        training.train(config, origins=origins, on_status=stop)
        return tmp_path / name

    whole = run("whole")
    with pytest.raises(RuntimeError, match="killed"):
        run("cut", killed_at)
    cut = run("cut")
    for name in ("policy.jsonl", "weights.jsonl", "checkpoint-24/model.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    offline = reweight(whole / "events.jsonl", load_domains(tmp_path / "domains.yaml"), every=4)
    assert (whole / "policy.jsonl").read_bytes() == b"".join(dumps(record) + b"\n" for record in offline)
    assert [line.round for line in read_policy(whole / "policy.jsonl")] == [6, 6]
    assert len((whole / "weights.jsonl").read_text().splitlines()) == 3  # by size, the priors, and a block later
