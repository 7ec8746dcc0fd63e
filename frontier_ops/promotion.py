"""What stands between a checkpoint and service: the run's verdict, the comparison with what serves, the server's word.

Gates answer in words; a forced promotion takes them along into the audit. Shipping is deploy.py and remote.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from frontier_core.records import Record
from frontier_ops.comparison import regressions
from frontier_ops.doctor_run import run_verdict
from frontier_ops.releases import status
from frontier_ops.remote import Place, RemoteTarget
from trainer.checkpoints import step_of

POLL_S = 0.2
REMOTE_POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a server made of a release: `serving`, `rejected`, `rolled_back`, or "" when none said anything in time."""

    state: str
    reason: str
    seconds: float


def objections(checkpoint: Path, *, evaluation: str = "", baseline: str = "") -> list[str]:
    """Gives why a checkpoint should not be promoted, in words; [] when nothing speaks against it.

    Args:
        checkpoint: the folder that would be shipped; its run is judged when it belongs to one.
        evaluation: its answers to held-out problems.
        baseline: the answers of what is in service to the same problems.
    """
    found = []
    run = checkpoint.parent if step_of(checkpoint) >= 0 else checkpoint
    if (run / "config.resolved.json").is_file():
        verdict = run_verdict(run)
        if verdict.quality_factor == 0:
            found.append(f"the run's verdict is {verdict.verdict}: {verdict.reasons[0]}")
    if evaluation and baseline:
        found += [change.words for change in regressions(evaluation, baseline)]
    return found


def wait_for_server(
    target: Path | Place, release: str, *, since: str, timeout_s: float, sleep: Callable[[float], None] = time.sleep
) -> Outcome:
    """Waits until a server that follows the target has taken a release into service or rejected it.

    Args:
        target: a local folder or another machine's.
        release: the id.
        since: only what the audit tells after this time (ISO 8601) counts.
        timeout_s: how long to wait.
        sleep: waits, in seconds; for tests.
    """
    started = time.monotonic()
    while True:
        for entry in reversed(_audit(target)):
            if entry.get("action") == "serve" and entry.get("release") == release and str(entry["time"]) >= since:
                state = str(entry.get("state"))
                if state in ("serving", "rejected", "rolled_back"):
                    return Outcome(state=state, reason=str(entry.get("reason", "")), seconds=time.monotonic() - started)
        if time.monotonic() - started >= timeout_s:
            return Outcome(state="", reason="", seconds=time.monotonic() - started)
        sleep(REMOTE_POLL_S if isinstance(target, Place) else POLL_S)


def _audit(target: Path | Place) -> tuple[Record, ...]:
    if isinstance(target, Place):
        with RemoteTarget(target) as remote:
            return remote.status(num_audit=20).audit
    return status(target, num_audit=20).audit
