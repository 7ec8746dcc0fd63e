"""What the files of a loop tell of its rounds: accuracy per skill, weights with their reasons, loss, models, data.

Reads both layouts, the daemon's (`rounds/0003/`) and the Makefile's (`round3/`). Files that are not there yet, or are
being written, are no error: a monitor shows what there is. Finished files are read once and kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from frontier_core.allocation import read_policy
from frontier_core.errors import FrontierError
from frontier_core.jsonl import loads
from frontier_core.lineage import read_sidecar
from frontier_core.records import wilson_interval

_NUMBER = re.compile(r"(?:round)?(\d+)$")
MAX_LOSS_POINTS = 400


def round_folders(home: Path) -> Iterator[tuple[int, Path]]:
    """Yields (number, folder) of the rounds, ascending."""
    found = {}
    for path in (*(home / "rounds").glob("*"), *home.glob("round*")):
        match = _NUMBER.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match[1])] = path
    yield from sorted(found.items())


def skills(home: Path) -> list[dict[str, Any]]:
    """Gives accuracy by round and skill, with 95 % intervals: [{skill, rounds: [{round, value, low, high, n}]}]."""
    series: dict[str, list[dict[str, Any]]] = {}
    for number, folder in round_folders(home):
        for skill, (hits, trials) in _of(folder / "eval.jsonl", _accuracy, {}).items():
            low, high = wilson_interval(hits, trials)
            entry = {"round": number, "value": hits / trials, "low": low, "high": high, "n": trials}
            series.setdefault(skill, []).append(entry)
    return [{"skill": skill, "rounds": entries} for skill, entries in sorted(series.items())]


def curriculum(home: Path) -> list[dict[str, Any]]:
    """Gives each tag's weight by round, why it last changed, and its state: [{tag, weight, reason, rounds, ...}]."""
    tags: dict[str, dict[str, Any]] = {}
    for number, folder in round_folders(home):
        for line in _of(folder / "policy.jsonl", read_policy, []):
            entry = tags.setdefault(line.tag, {"tag": line.tag, "rounds": []})
            point = {"round": number, "weight": line.weight, "previous": line.previous, "reason": line.reason}
            entry["rounds"].append(point)
            entry |= {"weight": line.weight, "previous": line.previous, "reason": line.reason, "floor": line.floor}
            entry |= {"cap": line.cap, "limits": list(line.limits)}
    return [tags[tag] for tag in sorted(tags)]


def losses(home: Path) -> list[dict[str, Any]]:
    """Gives the training loss of each round's run: [{round, points: [[step, loss], ...]}], thinned to 400 points."""
    return [
        {"round": number, "points": points}
        for number, folder in round_folders(home)
        if (points := _of(folder / "run/events.jsonl", _loss_points, []))
    ]


def models(home: Path) -> list[dict[str, Any]]:
    """Gives the trained models, best first: {model, round, accuracy (mean over skills), step, finished}."""
    found = []
    for number, folder in round_folders(home):
        run = folder / "run"
        if not run.is_dir():
            continue
        cells: dict[str, tuple[int, int]] = _of(folder / "eval.jsonl", _accuracy, {})
        rates = [hits / trials for hits, trials in cells.values()]
        result: dict[str, Any] = _of(run / "result.json", _json, {})
        steps = [int(path.name.rpartition("-")[2]) for path in run.glob("checkpoint-*") if path.name[11:].isdecimal()]
        found.append(
            {
                "model": str(run.relative_to(home)),
                "round": number,
                "accuracy": sum(rates) / len(rates) if rates else None,
                "step": result.get("global_step") or max(steps, default=None),
                "loss": result.get("final_loss"),
                "finished": bool(result.get("success")),
            }
        )
    return sorted(found, key=lambda model: (model["accuracy"] is None, -(model["accuracy"] or 0), -model["round"]))


def data(home: Path) -> list[dict[str, Any]]:
    """Gives each round's data files with what their sidecars say: {file, round, num_records, sha256, rejects}."""
    found = []
    for number, folder in round_folders(home):
        for path in sorted(folder.glob("*.jsonl")):
            meta = _of(path, read_sidecar, None)
            if meta is not None:
                found.append(
                    {
                        "file": str(path.relative_to(home)),
                        "round": number,
                        "num_records": meta["data"].get("num_records"),
                        "bytes": meta["data"]["bytes"],
                        "sha256": meta["data"]["sha256"],
                        "rejects": meta.get("rejects", {}),
                    }
                )
    return found


def lineage(home: Path) -> dict[str, Any]:
    """Gives the graph of the loop's files from their sidecars: {nodes: [{id, round}], edges: [[from, to]]}."""
    nodes, edges = {}, set()
    for number, folder in round_folders(home):
        for side in sorted(folder.glob("*.meta.json")):
            path = side.with_name(side.name.removesuffix(".meta.json"))
            meta = _of(path, read_sidecar, None)
            if meta is None:
                continue
            name = _relative(path, home)
            nodes[name] = {"id": name, "round": number, "stage": meta.get("stage") or meta.get("command", "")}
            for entry in meta.get("inputs", []):
                source = _relative(path.parent / entry["path"], home)
                nodes.setdefault(source, {"id": source, "round": None, "stage": ""})
                edges.add((source, name))
    return {"nodes": list(nodes.values()), "edges": sorted(map(list, edges))}


def _relative(path: Path, home: Path) -> str:
    resolved = path.resolve()
    return str(resolved.relative_to(home.resolve())) if resolved.is_relative_to(home.resolve()) else str(path.name)


def _of(path: Path, read: Callable[[Path], Any], otherwise: Any) -> Any:
    """Reads a file, once as long as it does not change; `otherwise` when it is absent or not whole."""
    try:
        status = path.stat()
        return _kept(path, read, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError, KeyError, TypeError, FrontierError):
        return otherwise


@lru_cache(maxsize=4096)
def _kept(path: Path, read: Callable[[Path], Any], mtime_ns: int, size: int) -> Any:  # noqa: ARG001 - the key
    return read(path)


def _json(path: Path) -> dict[str, Any]:
    value = loads(path.read_bytes())
    return value if isinstance(value, dict) else {}


def _accuracy(path: Path) -> dict[str, tuple[int, int]]:
    cells: dict[str, tuple[int, int]] = {}
    for line in path.read_bytes().splitlines():
        item = loads(line)
        if "correct" in item:
            hits, trials = cells.get(item["skill"], (0, 0))
            cells[item["skill"]] = (hits + bool(item["correct"]), trials + 1)
    return cells


def _loss_points(path: Path) -> list[list[float]]:
    points = []
    for line in path.read_bytes().splitlines():
        if b'"metric":"loss"' in line and b'"tag":"all"' in line:
            event = loads(line)
            if event.get("n"):
                points.append([event["step_to"], event["sum"] / event["n"]])
    step = -(-len(points) // MAX_LOSS_POINTS) or 1
    return points[::step]
