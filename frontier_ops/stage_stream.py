"""`frontier stream`, end to end: a stream's lines to a pipe or a file with its sidecar."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from glob import glob
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import dumps
from frontier_core.lake import Lake
from frontier_core.lineage import digest_of, read_sidecar
from frontier_core.stream_counts import BLOCK
from frontier_core.stream_profile import load_profile, profile_path
from frontier_ops.stage_files import StageResult, StageWriter, Target, earlier

if TYPE_CHECKING:
    from frontier_core.stream import Stream

DEFAULT_PROFILE = "frontier_core_v0"


def parse_weights(text: str) -> dict[str, float]:
    """Reads `web=0.4;code=0.6`: names may hold `=` and `,`, so the last `=` counts and `;` parts.

    Raises:
        UsageError: a part without a number.
    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, sign, number = part.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise UsageError(f"--weights: {part!r} is no NAME=NUMBER", hint="--weights 'web=0.4;code=0.6'")
    return found


def named_files(files: Sequence[str]) -> dict[str, str]:
    """Gives domain -> file: a file's name without `.jsonl`, its whole path where two are called alike.

    Raises:
        UsageError: a file is named twice.
    """
    short = [Path(file).name.removesuffix(".jsonl") for file in files]
    named = {(name if short.count(name) == 1 else file): file for name, file in zip(short, files, strict=True)}
    if len(named) < len(files):
        twice = next(file for file in files if list(files).count(file) > 1)
        raise UsageError(f"{twice}: is named twice", hint="--weights says how often its records come")
    return named


def asked(
    files: Sequence[str],
    *,
    profile: str = "",
    lake: str = "",
    policy: str = "",
    weights: str = "",
    num: int | None = None,
    start: int = 0,
) -> str:
    """Gives what stands for all that a draw was asked for but its seed and the bytes of what it draws from.

    Arguments are those of the command. Nothing is opened: of a lake the state counts, of patterns the names they match.
    """
    told: list[Any] = [weights, num, start]
    followed, patterns, place = policy, list(files), lake
    if profile or not files:
        file = profile_path(profile or DEFAULT_PROFILE)
        chosen = load_profile(file)
        told.append(digest_of(file))
        followed = policy or chosen.policy
        patterns = patterns or list(chosen.files)
        place = lake or ("" if patterns else chosen.lake or os.environ.get("FRONTIER_LAKE") or "lake")
        patterns += [pattern for spec in chosen.selection.domains for pattern in spec.files or ()]
    told.append([[pattern, sorted(glob(pattern, recursive=True))] for pattern in patterns])
    if place:
        told.append([place, Lake.open(place).generation if Path(place.rpartition("@")[0] or place).is_dir() else 0])
    told.append([followed, digest_of(Path(followed)) if followed and Path(followed).is_file() else ""])
    return sha256(dumps(told)).hexdigest()[:16]


def earlier_draw(target: Target, asking: str, seed: int) -> StageResult | None:
    """Gives the result of an earlier draw that was asked for the same, of files that are the same, else None."""
    try:
        meta = (read_sidecar(Path(target.output)) if target.output != "-" else None) or {}
    except DataError:
        return None
    params = meta.get("params", {})
    if params.get("asked") != asking:
        return None
    base = Path(target.output).parent
    sources = [str(base / entry["path"]) for entry in meta["inputs"]]
    return earlier(target, "stream", sources, seed=seed, params=params)


def stream_lines(
    stream: Stream,
    target: Target,
    *,
    num: int,
    start: int = 0,
    asking: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Writes samples `start` to `start + num` of a stream, each line as it stands in its file.

    Args:
        stream: what to draw.
        target: where to.
        num: how many; fewer where the data ends.
        start: global position of the first.
        asking: what stands for what was asked, from `asked`, for the sidecar; "" for none.
        on_progress: told how many are written.
    Returns:
        How many came from each domain.
    """
    sources = [part.name for part in stream.corpus.parts]
    params = {"stream": stream.describe(), "start": start, "num": num} | ({"asked": asking} if asking else {})
    about: dict[str, Any] = {"seed": stream.seed, "params": params}
    with StageWriter(target, "stream", sources, **about) as writer:
        stop = start + num
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            lines = stream.lines(first, last)
            if not all(map(_is_record, lines)):
                stream.records(first, last)  # says which line is none, before it is passed on
            for line in lines:
                writer.output.write_raw(line)
            writer.result.tally.tags.update(stream.domains(first, last))
            if on_progress:
                on_progress(first - start + len(lines))
            if len(lines) < last - first:
                break
    return writer.result


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except ValueError:
        return False


def describe_stream(stream: Stream, num: int) -> dict[str, Any]:
    """Gives what a stream is made of: domains, sizes, weights and what the first `num` samples would hold."""
    weights, counts = stream.weights(), stream.counts(num)
    return {
        "seed": stream.seed,
        "corpus": stream.corpus.digest,
        "num_records": stream.corpus.num,
        "num_files": len(stream.corpus.parts),
        "weight_log": stream.weight_log()[-1]["digest"],
        "domains": [
            {
                "name": name,
                "num": size,
                "weight": weights[name],
                "of_first": counts[name],
                "epochs": counts[name] / size,
            }
            for name, size in stream.sizes.items()
        ],
    }
