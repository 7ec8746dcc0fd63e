"""The loop's figures in Prometheus text form, for a scraper; made anew for each request, nothing is kept."""

from __future__ import annotations

from pathlib import Path

from frontier_ops.jobs.job import State
from frontier_ops.monitor import rounds, views


def prometheus_text(home: Path) -> str:
    """Gives the metrics of a home folder."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()

    def gauge(name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"frontier_{name}", help_text, labels, registry=registry)

    state = views.status(home)
    gauge("daemon_up", "1 while a daemon turns the loop").set(1 if state["pid"] else 0)
    gauge("round", "number of the round under way, 0 when none").set(state["round"] or 0)
    gauge("inbox_datasets", "datasets that wait in the inbox").set(len(state["inbox"]))
    jobs = gauge("jobs", "jobs by state", "state")
    for name in State:
        jobs.labels(state=str(name)).set(state["jobs"].get(str(name), 0))
    summary = views.warnings(home)["summary"]
    stuck = gauge("job_warnings", "jobs that are stuck, by severity", "severity")
    for severity in ("critical", "warning"):
        stuck.labels(severity=severity).set(summary[severity])
    accuracy = gauge("skill_accuracy_ratio", "accuracy on held-out problems after the last round", "skill")
    for entry in rounds.skills(home):
        accuracy.labels(skill=entry["skill"]).set(entry["rounds"][-1]["value"])
    weight = gauge("weight_ratio", "sampling weight in the last policy", "tag")
    for line in rounds.curriculum(home):
        weight.labels(tag=line["tag"]).set(line["weight"])
    return str(generate_latest(registry).decode())
