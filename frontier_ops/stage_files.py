"""The files of a data stage: records out, rejects beside them, the sidecar last.

Every stage streams; a file output appears whole or not at all. What a stage does is in stage_generate.py,
stage_verify.py and stage_validate.py.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from frontier_core.errors import UsageError
from frontier_core.jsonl import Output, dumps, loads
from frontier_core.lineage import UNKNOWN, Tally, generator_of, is_current, read_sidecar, sidecar_path, write_sidecar
from frontier_core.lineage_tracker import TRACKER, run_of, track
from frontier_core.records import Record, metadata_of

Note = Callable[[str], None]


def silent(_: str) -> None:
    """Says nothing: the default listener."""


@dataclass(slots=True, kw_only=True)
class Target:
    """Where a stage writes: records, and the lines it holds back.

    `rejects` is a path; left out, a file output keeps them beside itself (`OUT.rejects.jsonl`) and a pipe only counts.
    """

    output: str = "-"
    rejects: str = ""
    pipe: BinaryIO | None = None

    @property
    def rejects_path(self) -> Path | None:
        """The rejects file, None when rejects are only counted."""
        if self.rejects:
            return Path(self.rejects)
        if self.output == "-" or not _is_plain(Path(self.output)):
            return None
        name = Path(self.output).name
        for suffix in (".gz", ".zst"):
            name = name.removesuffix(suffix)
        return Path(self.output).with_name(f"{name.removesuffix('.jsonl')}.rejects.jsonl")


def _is_plain(path: Path) -> bool:
    return not path.exists() or path.is_file()


@dataclass(slots=True, kw_only=True)
class StageResult:
    """What a stage did: records in and out, rejects by reason, and lines that could not be judged at all."""

    num_in: int = 0
    num_out: int = 0
    tally: Tally = field(default_factory=Tally)
    unverified: dict[str, int] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def num_rejected(self) -> int:
        """Lines held back."""
        return self.tally.num_rejected


class StageWriter:
    """The outputs of one stage: opened together, committed together, sidecar last."""

    def __init__(
        self, target: Target, stage: str, sources: Iterable[str], *, judges: bool = False, **about: Any
    ) -> None:
        self.judges = judges
        self.target = target
        self.stage = stage
        self.sources = list(sources)
        self.about = about
        self.result = StageResult()
        self._stack = ExitStack()
        self._rejects: Output | None = None

    def __enter__(self) -> StageWriter:
        refuse_clash(self.sources, self.target)
        self.output = self._stack.enter_context(Output(self.target.output, pipe=self.target.pipe))
        return self

    def accept(self, record: Record) -> None:
        """Writes a record on and counts it."""
        self.output.write(record)
        self.result.tally.add(record)

    def accept_line(self, line: bytes, *, tag: str, mark: str) -> None:
        """Writes on a line whose tag and whose one mark of lineage are known, and counts it."""
        self.output.write_raw(line)
        self.result.tally.tags[tag] += 1
        self.result.tally.marks[mark] += 1

    def reject(self, line: Record) -> None:
        """Counts a line as rejected, by its code, and keeps it."""
        self.result.tally.reject(line["code"], _generator_in(line))
        self.keep(line)

    def keep(self, line: Record) -> None:
        """Writes a line to the rejects file, if there is one, without counting it as rejected."""
        self.keep_block(dumps(line) + b"\n", 1)

    def keep_block(self, block: bytes, num_lines: int) -> None:
        """As `keep`, for that many lines as they will stand there."""
        path = self.target.rejects_path
        if self._rejects is None and path is not None:
            self._rejects = self._stack.enter_context(Output(path))
        if self._rejects is not None:
            self._rejects.write_block(block, num_lines)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is not None:
            return
        self.result.num_out = self.output.num_records
        rejects = self.target.rejects_path
        if self.judges and rejects is not None and self._rejects is None and _holds_rejects(rejects):
            rejects.unlink()  # from an earlier run that had some
        if self.output.path is not None:
            write_sidecar(
                self.output.path,
                stage=self.stage,
                inputs=self.sources,
                tally=self.result.tally,
                output=self.output,
                byproducts=[rejects] if rejects is not None and self._rejects is not None and rejects.is_file() else [],
                judges=self.judges,
                **self.about,
            )
            if self.judges and TRACKER.parent.is_dir():
                track_files([self.output.path])


def track_files(files: Iterable[Path], tracker: Path = TRACKER) -> dict[str, Any]:
    """Puts what became of judged files into the tracker, by their sidecars; gives what it then holds."""
    runs = {}
    for file in files:
        run = run_of(read_sidecar(file) or {})
        if run is not None:
            runs[os.path.relpath(file)] = run
    return track(runs, tracker)


def _generator_in(reject: Record) -> str:
    """Gives what made a rejected record, as far as its line can be read."""
    try:
        record = loads(reject.get("raw", ""))
    except ValueError:
        return UNKNOWN
    return generator_of(metadata_of(record)) if isinstance(record, dict) else UNKNOWN


def earlier(
    target: Target, stage: str, sources: Sequence[str], *, producer: str = "", **about: Any
) -> StageResult | None:
    """Gives the result of an earlier run that would come out the same byte for byte, None when there is none.

    Inputs, parameters, producer and version must be the same and the outputs untouched. To run a stage again all the
    same, remove the sidecar of its output.

    Args:
        target: where the stage writes.
        stage: its name.
        sources: its inputs.
        producer: as its sidecar says.
        about: `params`, `seed` and `outcomes` as `is_current` takes them.
    """
    if target.output == "-" or target.rejects == "-":
        return None
    meta = is_current(Path(target.output), stage=stage, inputs=sources, producer=producer, **about)
    rejects = target.rejects_path
    kept = [entry["path"] for entry in (meta or {}).get("byproducts", ())]
    if meta is None or (meta["rejects"] and (rejects is None or rejects.name not in kept)):
        return None
    os.utime(sidecar_path(Path(target.output)))  # what `make` looks at
    tally = Tally(tags=Counter(meta["counts"]), marks=Counter(meta["lineage"]), rejects=Counter(meta["rejects"]))
    tally.specs = Counter(meta["specs"])
    num_out = meta["data"]["num_records"]
    report = {"up_to_date": True, "params": meta["params"]}
    return StageResult(num_in=num_out + tally.num_rejected, num_out=num_out, tally=tally, report=report)


def refuse_clash(sources: Iterable[str], target: Target, **others: str) -> None:
    """Raises UsageError when a stage would write over what it reads, or twice to one file, or has no place for rejects.

    Args:
        sources: what is read.
        target: where records and rejects go.
        others: further files that are written, by the name of their option.
    """
    taken = {Path(source).resolve(): source for source in sources if source != "-"}
    rejects = target.rejects_path
    named = {"output": target.output, "rejects": str(rejects or ""), **others}
    for option, name in named.items():
        place = Path(name).resolve()
        if name in ("", "-") or (place.exists() and not place.is_file()):
            continue
        if place in taken:
            raise UsageError(f"{name}: is used twice", hint=f"give --{option} a file of its own")
        taken[place] = name
    if rejects is not None and not rejects.parent.is_dir():
        raise UsageError(f"{rejects}: the folder does not exist", hint=f"mkdir -p {rejects.parent}")


def _holds_rejects(path: Path) -> bool:
    """Says whether a file is one of rejects; another one under that name is not ours to remove."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline(1 << 20)
    return line.startswith(b'{"path":') and b'"code":' in line


def write_lines(
    records: Iterable[Record], target: Target, *, stage: str, sources: Sequence[str], **about: Any
) -> StageResult:
    """Writes what a library function computed, with its sidecar: telemetry, policies, evaluations."""
    with StageWriter(target, stage, sources, **about) as writer:
        for record in records:
            writer.accept(record)
            writer.result.num_in += 1
    return writer.result
