"""What the doctor finds, and what a run is worth by it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from frontier_core.errors import ConfigError, UsageError
from frontier_core.lineage import write_sidecar
from frontier_ops.daemon import control
from frontier_ops.doctor import GROUPS, Scope, examine
from frontier_ops.doctor_run import Check, quality_of, run_verdict, word_for
from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import JobStore
from frontier_ops.promotion import objections
from trainer.checkpoints import begin_checkpoint, commit_checkpoint


def check(group: str, status: str) -> Check:
    return Check(id="x", group=group, status=status, details="")


@pytest.mark.parametrize(
    ("findings", "factor", "word"),
    [
        ([("quick", "ok"), ("forge", "skip")], 1.0, "blessed"),
        ([("quick", "warn")], 0.9, "blessed"),
        ([("quick", "warn")] * 2, 0.8, "blessed"),
        ([("quick", "warn")] * 9, 0.7, "partial"),
        ([("scribe", "fail"), ("quick", "warn")], 0.7, "partial"),
        ([("scribe", "fail")] * 2, 0.4, "partial"),
        ([("scribe", "fail")] * 5, 0.3, "partial"),
        ([("champion", "fail"), ("quick", "ok")], 0.0, "cursed"),
        ([("oracle", "fail")], 0.0, "cursed"),
        ([("forge", "fail")], 0.0, "cursed"),
    ],
)
def test_the_quality_factor_follows_the_rule(findings: list[tuple[str, str]], factor: float, word: str) -> None:
    assert quality_of([check(*finding) for finding in findings]) == factor
    assert word_for(factor) == word


def make_run(folder: Path, losses: tuple[float, ...] = (3.0, 2.0, 1.0), *, success: bool = True) -> Path:
    folder.mkdir()
    temp = begin_checkpoint(folder, 30)
    (temp / "config.json").write_text("{}")
    (temp / "model.safetensors").write_bytes(b"x")
    commit_checkpoint(temp, folder, 30, run_id="r")
    lines = [
        {"run_id": "r", "step_from": 10 * i, "step_to": 10 * i + 10, "tag": "all", "metric": "loss", "n": 2,
         "sum": 2 * loss, "sum_sq": 2 * loss * loss}
        for i, loss in enumerate(losses)
    ]  # fmt: skip
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = {"success": success, "global_step": 30, "error_message": None if success else "the loss is nan"}
    summary = {"num_dropped_too_long": 0, "num_examples": 20}
    (folder / "result.json").write_text(json.dumps(result | {"summary": summary}))
    (folder / "config.resolved.json").write_text("{}")
    write_sidecar(folder, stage="train")
    return folder


def test_effort_is_the_loss_above_the_floor_summed_over_steps(tmp_path: Path) -> None:
    verdict = run_verdict(make_run(tmp_path / "run"))

    # the floor is the lowest window, 1.0: 10 * (3 - 1) + 10 * (2 - 1) + 0
    assert (verdict.floor, verdict.num_steps, verdict.effort) == (1.0, 30, 30.0)
    assert (verdict.verdict, verdict.quality_factor, verdict.experience) == ("blessed", 1.0, 30.0)
    assert run_verdict(tmp_path / "run", floor=0.5).effort == 45.0


def test_a_torn_checkpoint_or_a_failed_run_is_cursed_and_not_promoted(tmp_path: Path) -> None:
    torn = make_run(tmp_path / "torn")
    (torn / "checkpoint-30" / "model.safetensors").write_bytes(b"y")
    failed = make_run(tmp_path / "failed", success=False)

    for run in (torn, failed):
        verdict = run_verdict(run)
        assert (verdict.verdict, verdict.quality_factor, verdict.experience) == ("cursed", 0.0, 0.0)
    assert objections(failed / "checkpoint-30") == [
        "the run's verdict is cursed: result: the run failed: the loss is nan"
    ]
    assert objections(make_run(tmp_path / "good") / "checkpoint-30") == []


def test_a_loss_that_rose_and_a_folder_that_changed_are_warnings(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", (1.0, 2.0))
    (run / "notes.txt").write_text("x")

    verdict = run_verdict(run)

    assert (verdict.quality_factor, verdict.verdict) == (0.8, "blessed")
    assert verdict.reasons == (
        "loss: the loss went from 1 to 2",
        "lineage: the run's folder was changed after its sidecar was written",
    )


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such run folder"):
        run_verdict(tmp_path / "nope")
    with pytest.raises(UsageError, match="holds no run"):
        run_verdict(tmp_path)


def test_each_group_says_something_and_every_bad_finding_has_a_remedy(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / ".checkpoint-9.4194305.tmp").mkdir()
    data = tmp_path / "data.jsonl"
    data.write_text("{}\n")
    scope = Scope(run=run, target=tmp_path / "target", data=(str(data), "nope.jsonl"))

    found = list(examine(scope, ("quick", "forge", "weaver", "champion", "oracle", "scribe")))

    assert {check.group for check in found} == {"quick", "forge", "weaver", "champion", "oracle", "scribe"}
    assert all(check.remedy for check in found if check.status in ("warn", "fail"))
    by_id = {check.id: check for check in found}
    assert by_id["leftovers"].status == "warn"
    assert (by_id["checkpoint"].status, by_id["release"].status) == ("ok", "fail")
    assert [check.status for check in found if check.group == "scribe"] == ["warn", "fail"]


def test_an_unknown_group_names_the_nearest() -> None:
    assert len(GROUPS) == 9
    with pytest.raises(ConfigError, match="unknown group 'forg'"):
        list(examine(Scope(), ("forg",)))


def test_every_skill_makes_records_its_verifier_accepts_and_a_queue_is_told(tmp_path: Path) -> None:
    found = list(examine(Scope(home=tmp_path), ("guild",)))

    assert [(check.id, check.status) for check in found] == [("skills", "ok"), ("verifiers", "ok"), ("jobs", "skip")]


def test_jobs_that_wait_for_long_are_a_warning_and_those_of_dead_workers_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontier_ops.doctor._skills", list)
    store = JobStore(tmp_path)
    (job,) = store.submit([JobSpec(type=JobType.REPORT, argv=("true",))])

    def jobs() -> tuple[str, str]:
        (found,) = examine(Scope(home=tmp_path), ("guild",))
        return found.status, found.details

    assert jobs() == ("ok", "jobs: 1 queued")
    monkeypatch.setattr(
        "frontier_ops.jobs.warnings.job_warnings.__kwdefaults__", {"pending_s": -1.0, "running_s": 0.0, "at": None}
    )
    assert jobs() == ("warn", f"1 wait, e.g. {job.id}")
    monkeypatch.setattr(JobStore, "is_alive", lambda *_: False)
    store.claim("w")
    store.close()
    assert jobs() == ("fail", f"1 were left by dead workers, e.g. {job.id}")


def test_a_daemon_that_died_is_told_from_one_that_lives_was_stopped_or_never_was(tmp_path: Path) -> None:
    def daemon() -> tuple[str, str]:
        found = next(check for check in examine(Scope(home=tmp_path), ("weaver",)) if check.id == "daemon")
        return found.status, found.details

    assert daemon()[0] == "skip"
    held = control.hold(tmp_path)
    (tmp_path / control.STATE).write_text('{"state": "training"}')
    assert daemon() == ("ok", f"the daemon lives (pid {os.getpid()})")
    os.close(held)
    assert daemon() == ("warn", "the daemon died; it last said 'training'")
    (tmp_path / control.STATE).write_text('{"state": "stopped"}')
    assert daemon() == ("ok", "the daemon was stopped")


def test_the_doctor_shows_its_key_to_the_server_and_to_nobody_else() -> None:
    assert "secret" not in repr(Scope(url="http://127.0.0.1:9", api_key="secret"))
