"""The loop at a glance in a terminal: state, accuracy and weight per skill, the queue, this machine. Text only.

Drawing is rich's; this module lays out what views.py gives. Off a terminal `frontier top` prints it once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frontier_ops.monitor import rounds, views

BAR_WIDTH = 10


def snapshot(home: Path) -> dict[str, Any]:
    """Gives all that is shown, as JSON values."""
    return {
        "status": views.status(home),
        "skills": rounds.skills(home),
        "curriculum": rounds.curriculum(home),
        "jobs": views.jobs(home),
        "warnings": views.warnings(home)["summary"],
        "models": rounds.models(home),
        "machine": views.machine(home),
    }


def lines(seen: dict[str, Any], *, width: int, height: int) -> list[str]:
    """Gives the picture as lines of at most `width` characters, at most `height` of them.

    Args:
        seen: what `snapshot` gave.
        width, height: of the terminal, in characters.
    """
    status, machine = seen["status"], seen["machine"]
    jobs = ", ".join(f"{count} {state}" for state, count in status["jobs"].items() if count) or "no jobs"
    where = f"round {status['round']}" if status["round"] else "between rounds"
    head = [
        f"frontier  {status['state']}  {where}  {jobs}",
        f"load {machine['load_1min']} on {machine['cores']} cores, {machine['memory_free_mb']} MB free, "
        f"{machine['disk_free_gb']} GB disk" + _trouble(seen["warnings"]),
        "",
    ]
    skills = _skills(seen["skills"], _weights(seen["curriculum"]))
    queue = [_job(job) for job in seen["jobs"]]
    room = max(0, height - len(head) - 4)
    for_queue = min(len(queue), max(4, room - len(skills)))
    body = ["skill                 accuracy                weight", *skills[: max(0, room - for_queue)], ""]
    body += ["job              state      what", *queue[:for_queue]]
    return [line[:width].rstrip() for line in (head + body)[:height]]


def _trouble(summary: dict[str, int]) -> str:
    return f"   {summary['critical']} orphaned, {summary['warning']} stuck" if summary["total"] else ""


def _weights(curriculum: list[dict[str, Any]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for entry in curriculum:
        skill = dict(part.split("=", 1) for part in entry["tag"].split(",") if "=" in part).get("skill", "")
        sums[skill] = sums.get(skill, 0.0) + entry["weight"]
    return sums


def _skills(skills: list[dict[str, Any]], weights: dict[str, float]) -> list[str]:
    found = []
    for entry in skills:
        last = entry["rounds"][-1]
        before = entry["rounds"][-2]["value"] if len(entry["rounds"]) > 1 else last["value"]
        moved = "=" if last["value"] == before else "+" if last["value"] > before else "-"
        filled = round(BAR_WIDTH * last["value"])
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        weight = f"{100 * weights[entry['skill']]:5.1f}%" if entry["skill"] in weights else "    -"
        found.append(f"{entry['skill'][:21]:21} {bar} {100 * last['value']:5.1f}% {moved}    {weight}")
    return found or ["no evaluation yet"]


def _job(job: dict[str, Any]) -> str:
    return f"{job['id'][:16]:16} {job['state']:10} {job['command']}"
