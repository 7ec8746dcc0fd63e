"""What a monitor shows, as named views: each a function of the home folder that gives plain JSON values.

A further view is a plug-in: a function (home: Path) -> JSON value under the entry point group `frontier.monitor_views`.
A view that fails answers with its error instead of taking the others down.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frontier_core.errors import FrontierError
from frontier_core.jsonl import loads
from frontier_core.registry import Registry
from frontier_ops.daemon import control
from frontier_ops.daemon.inbox import datasets
from frontier_ops.jobs.store import DATABASE, JobStore
from frontier_ops.jobs.warnings import job_warnings
from frontier_ops.monitor import rounds

View = Callable[[Path], Any]
MAX_JOBS = 100

VIEWS = Registry(
    "view",
    group="frontier.monitor_views",
    builtin={
        "status": "frontier_ops.monitor.views:status",
        "jobs": "frontier_ops.monitor.views:jobs",
        "warnings": "frontier_ops.monitor.views:warnings",
        "skills": "frontier_ops.monitor.rounds:skills",
        "curriculum": "frontier_ops.monitor.rounds:curriculum",
        "losses": "frontier_ops.monitor.rounds:losses",
        "models": "frontier_ops.monitor.rounds:models",
        "data": "frontier_ops.monitor.rounds:data",
        "lineage": "frontier_ops.monitor.views:lineage",
        "tracker": "frontier_ops.monitor.views:tracker",
        "releases": "frontier_ops.monitor.views:releases",
        "machine": "frontier_ops.monitor.views:machine",
    },
)
"""Name -> view."""


def view(name: str, home: Path) -> Any:
    """Gives what a view shows; a plug-in's failure becomes {"error": ...}.

    Raises:
        ConfigError: no such view.
    """
    look: View = VIEWS.get(name)
    try:
        return look(home)
    except FrontierError as error:
        return {"error": error.message, "hint": error.hint}
    except Exception as error:  # a plug-in of somebody else's
        return {"error": f"{type(error).__name__}: {error}", "hint": f"the view {name} failed"}


def status(home: Path) -> dict[str, Any]:
    """Gives the loop's state: {state, pid, round, since, inbox, jobs: {state: count}}."""
    pid = control.holder(home)
    state = control.read_state(home) if pid else {"state": "not running"}
    waiting = [str(path.relative_to(home)) for path in datasets(home)]
    return {"round": None, "since": None, **state, "pid": pid, "inbox": waiting, "jobs": counts(home)}


def counts(home: Path) -> dict[str, int]:
    """Gives how many jobs are in each state; empty where there never was a queue."""
    store = _store(home)
    if store is None:
        return {}
    try:
        return {str(state): count for state, count in store.counts().items()}
    finally:
        store.close()


def jobs(home: Path) -> list[dict[str, Any]]:
    """Gives the last jobs, newest first."""
    store = _store(home)
    if store is None:
        return []
    try:
        last = [job.to_mapping() | {"command": job.spec.command} for job in store.last(MAX_JOBS)]
    finally:
        store.close()
    return last


def warnings(home: Path) -> dict[str, Any]:
    """Gives jobs that are stuck, see jobs/warnings.py."""
    store = _store(home)
    if store is None:
        return {
            "stuck_pending": [], "stuck_running": [], "orphaned_jobs": [],
            "summary": {"total": 0, "critical": 0, "warning": 0},
        }  # fmt: skip
    try:
        return job_warnings(store)
    finally:
        store.close()


def lineage(home: Path) -> dict[str, Any]:
    """Gives the graph of the loop's files and what the gates made of them: {nodes, edges, summary, generators}."""
    told = tracker(home)
    nothing = {"total": 0, "passed": 0, "failed": 0, "fail_rate": 0.0, "top_reasons": {}}
    about = {"summary": told.get("summary", nothing), "generators": told.get("generators", {})}
    return rounds.lineage(home) | about


def tracker(home: Path) -> dict[str, Any]:
    """Gives `status/data_lineage.json`, the tally of what the gates refused; empty before the first."""
    try:
        found = loads((home / "status/data_lineage.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def releases(home: Path) -> list[dict[str, Any]]:
    """Gives the audit of the deploy target `release`, newest first."""
    try:
        lines = (home / "release/audit.jsonl").read_bytes().splitlines()
    except OSError:
        return []
    return [loads(line) for line in reversed(lines[-MAX_JOBS:])]


def machine(home: Path) -> dict[str, Any]:
    """Gives load, memory and disk of this machine: {cores, load_1min, memory_free_mb, disk_free_gb}."""
    space = os.statvfs(home)
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "memory_free_mb": int(memory["MemAvailable"].split()[0]) // 1024,
        "disk_free_gb": round(space.f_bavail * space.f_frsize / 1e9, 1),
    }


def _store(home: Path) -> JobStore | None:
    return JobStore(home) if (home / DATABASE).exists() else None
