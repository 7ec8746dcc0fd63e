"""What was made from a shard: the sidecars, runs and streams under some folders that name it, and all made from those.

A stream's description and a sidecar's inputs name shards by sha256, and so do the shards name the files they were added
from. Whoever retires a bad shard learns here which data and which checkpoints are to be made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from frontier_core.lake_shard import Shard

MAX_BYTES = 1 << 26
"""JSON files larger than this are data, not descriptions."""


def made_from(shard: Shard, roots: Sequence[Path]) -> list[dict[str, Any]]:
    """Finds what names a shard, and what was made from that, and so on.

    Args:
        shard: the shard; the files it was added from count as it.
        roots: folders that are looked through.
    Returns:
        {path, via} of each data file, run or checkpoint, sorted by path; `via` is the digest it was found by.
    """
    documents = [(path, data) for path, data in _documents(roots)]
    tainted = {shard.sha256, *(source["sha256"] for source in shard.sources if source.get("sha256"))}
    found: dict[str, str] = {}
    grows = True
    while grows:
        grows = False
        for path, data in documents:
            name, own = _subject(path, data)
            if name in found:
                continue
            via = next((digest for digest in sorted(tainted) if digest.encode() in data and digest not in own), "")
            if via:
                found[name] = via
                tainted |= own
                grows = True
    for name in list(found):
        for checkpoint in sorted(Path(name).glob("checkpoint-*")):
            found.setdefault(str(checkpoint), found[name])
    return [{"path": path, "via": via} for path, via in sorted(found.items())]


def _documents(roots: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    seen: set[Path] = set()
    for root in roots:
        for path in sorted(root.rglob("*.json") if root.is_dir() else [root] if root.is_file() else []):
            if "manifests" in path.parts or path.resolve() in seen or not path.is_file():
                continue  # a lake's own manifests say what it holds, not what was made from it
            seen.add(path.resolve())
            if path.stat().st_size <= MAX_BYTES:
                yield path, path.read_bytes()


def _subject(path: Path, data: bytes) -> tuple[str, set[str]]:
    """What a document describes, and the digests that stand for it: a sidecar's data, else the folder it lies in."""
    if not path.name.endswith(".meta.json"):
        return str(path.parent), set()
    name = str(path.with_name(path.name.removesuffix(".meta.json")))
    try:
        return name, {str(orjson.loads(data)["data"]["sha256"])}
    except (ValueError, KeyError, TypeError):
        return name, set()
