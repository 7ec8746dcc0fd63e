"""What a stream draws from: files or shards cut into domains, every line of them reachable by a number.

Files are known by their content, so neither their names nor the order they are given in shows in a stream. A domain is
a range of lines, or a list of line numbers (4 bytes each) where a filter or a key cuts through files. Reading a line
costs a look into mapped memory; nothing is loaded ahead. Which line comes when is stream_order.py's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from frontier_core.allocation import natural_order
from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.index import Columns, LineIndex, line_number, map_bytes, open_columns, open_index
from frontier_core.index_where import Where
from frontier_core.jsonl import loads, parse_line
from frontier_core.records import metadata_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Text(Protocol):
    """Something lines can be cut from: mapped memory, or a compressed shard that unpacks what is asked for."""

    def __getitem__(self, place: slice, /) -> bytes: ...


class Part(Protocol):
    """One file or shard of a corpus."""

    name: str
    digest: str
    is_exact: bool
    starts: NDArray[Any]
    lengths: NDArray[Any]

    def text(self) -> Text:
        """Gives what the lines are cut from."""

    def columns(self) -> Columns:
        """Gives the metadata of every line."""

    def place(self, row: int) -> tuple[str, int]:
        """Gives file and line number of a row, for messages."""


class FilePart:
    """A JSON Lines file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self._index: LineIndex = open_index(path)
        self.digest = self._index.digest
        self.is_exact = self._index.is_exact
        self.starts = self._index.starts
        self.lengths = self._index.lengths

    def text(self) -> Text:
        """Maps the file."""
        return map_bytes(self.path)

    def columns(self) -> Columns:
        """Opens or makes the file's columns."""
        return open_columns(self._index)

    def place(self, row: int) -> tuple[str, int]:
        """Counts the lines before a row."""
        return self.name, line_number(self.path, int(self.starts[row]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One part of a mix: `rows` are line numbers of the corpus, a range or an array; `limit` is in samples."""

    name: str
    rows: range | NDArray[Any]
    limit: int | None = None

    @property
    def num(self) -> int:
        """Samples in one epoch."""
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec:
    """How a domain is described: which files (all when None), which records of them, how many epochs at most."""

    name: str
    files: tuple[str, ...] | None = None
    where: str = ""
    epochs: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """How a corpus is cut: a filter over all, then domains by their description, or one for each value of `by`."""

    where: str = ""
    by: tuple[str, ...] = ()
    domains: tuple[DomainSpec, ...] = ()
    epochs: float | None = None
    length_edges: tuple[int, ...] = ()
    """Upper ends in bytes of the length buckets but the last; each domain is cut into one domain a bucket."""


@dataclass(slots=True)
class Corpus:
    """Files cut into domains.

    `digest` stands for contents and cuts: two corpora of the same digest give the same streams. `empty` names the
    described domains without a sample.
    """

    parts: list[Part]
    domains: list[Domain]
    digest: str
    empty: list[str] = field(default_factory=list)
    _bases: NDArray[Any] | None = None
    _texts: dict[int, Text] = field(default_factory=dict)

    @property
    def num(self) -> int:
        """Samples in all domains together."""
        return sum(domain.num for domain in self.domains)

    def bases(self) -> NDArray[Any]:
        """Gives the number of the first line of each part, and behind them the number of all lines."""
        import numpy as np

        if self._bases is None:
            self._bases = np.cumsum([0, *(part.starts.size for part in self.parts)])
        return self._bases

    def locate(self, rows: NDArray[Any]) -> tuple[list[int], list[int], list[int]]:
        """Gives part, first byte and end of each line, by its number in the corpus."""
        import numpy as np

        bases = self.bases()
        parts = np.searchsorted(bases, rows, side="right") - 1
        starts, stops = np.empty(rows.size, np.int64), np.empty(rows.size, np.int64)
        for number in np.unique(parts).tolist():
            chosen = np.flatnonzero(parts == number)
            part, within = self.parts[number], rows[chosen] - bases[number]
            starts[chosen] = part.starts[within]
            stops[chosen] = starts[chosen] + part.lengths[within]
        return parts.tolist(), starts.tolist(), stops.tolist()

    def text(self, number: int) -> Text:
        """Gives the text of a part, opened once."""
        found = self._texts.get(number)
        if found is None:
            found = self._texts[number] = self.parts[number].text()
        return found

    def parse(self, number: int, start: int, stop: int) -> dict[str, Any]:
        """Reads one record, by part and place. Raises DataError when the line is none; names file:line."""
        import numpy as np

        part, text = self.parts[number], self.text(number)
        row = int(np.searchsorted(part.starts, start))
        try:
            record = loads(text[start:stop])
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            path, line = part.place(row)
            is_torn = row == part.starts.size - 1 and not text[stop : stop + 1]
            problem = parse_line(text[start:stop], path=path, number=line, is_torn=is_torn).problem
            raise problem or DataError("the row is not a JSON object", path=path, line=line)
        return record


def file_parts(patterns: Iterable[str | Path]) -> list[FilePart]:
    """Opens the files that names and glob patterns stand for, each once.

    Raises:
        UsageError: a name without a file, a pattern that matches none, or a file named twice.
    """
    paths: dict[Path, Path] = {}
    for pattern in patterns:
        text = str(pattern)
        found = [Path(text)] if Path(text).exists() else sorted(map(Path, glob(text, recursive=True)))
        if not found:
            raise UsageError(f"{text}: no such file", hint="check the path; patterns go in quotes")
        for path in found:
            if path.resolve() in paths:
                raise UsageError(f"{path}: is named twice", hint="a weight says how often samples come")
            paths[path.resolve()] = path
    return [FilePart(path) for path in paths.values()]


def build_corpus(parts: Sequence[Part], selection: Selection, owners: Mapping[str, set[str]] | None = None) -> Corpus:
    """Cuts parts into domains.

    Args:
        parts: files or shards, in any order.
        selection: the cuts.
        owners: domain name -> digests of the parts that belong to it, for descriptions that name files.
    Raises:
        ConfigError: a filter can't be read.
        DataError: nothing is left.
    """
    ordered = sorted(parts, key=lambda part: (part.digest, part.name))
    corpus = Corpus(ordered, [], _digest(ordered, selection, owners or {}))
    names, pieces = _cut(ordered, selection, owners or {})
    limits = {spec.name: spec.epochs for spec in selection.domains}
    for name in names:
        rows = _joined(pieces.get(name, []), corpus)
        if len(rows) == 0:
            corpus.empty.append(name)
            continue
        for label, chosen in _buckets(name, rows, corpus, selection.length_edges):
            epochs = limits.get(name) or selection.epochs
            limit = None if epochs is None else max(1, round(epochs * len(chosen)))
            corpus.domains.append(Domain(name=label, rows=chosen, limit=limit))
    if not corpus.domains:
        where = f" pass the filter {selection.where!r}" if selection.where else ""
        raise DataError(f"no records{where}", path=", ".join(part.name for part in ordered[:3]), code="empty")
    return corpus


def _digest(parts: Sequence[Part], selection: Selection, owners: Mapping[str, set[str]]) -> str:
    cuts = {
        "where": selection.where,
        "by": selection.by,
        "domains": [
            [spec.name, spec.where, spec.epochs, sorted(owners.get(spec.name, ()))] for spec in selection.domains
        ],
        "epochs": selection.epochs,
        "lengths": selection.length_edges,
        "parts": [[part.digest, part.starts.size] for part in parts],
    }
    return blake2b(orjson.dumps(cuts, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


Piece = tuple[int, "NDArray[Any] | None"]
"""Part and the rows of it that are meant; None for all."""


def _cut(
    parts: Sequence[Part], selection: Selection, owners: Mapping[str, set[str]]
) -> tuple[list[str], dict[str, list[Piece]]]:
    """Finds which rows of which part belong to which domain; a record belongs to the first that describes it."""
    import numpy as np

    everywhere = Where(selection.where)
    wheres = [(spec, Where(spec.where)) for spec in selection.domains]
    pieces: dict[str, list[Piece]] = {}
    for number, part in enumerate(parts):
        is_free = _mask(part, everywhere)
        if selection.by:
            for name, rows in _groups(part, selection.by, is_free):
                pieces.setdefault(name, []).append((number, rows))
            continue
        for spec, where in wheres:
            if spec.files is not None and part.digest not in owners.get(spec.name, ()):
                continue
            found = _mask(part, where)
            chosen = is_free if found is None else found if is_free is None else found & is_free
            pieces.setdefault(spec.name, []).append((number, None if chosen is None else np.flatnonzero(chosen)))
            if chosen is None:
                is_free = np.zeros(part.starts.size, bool)
                break
            is_free = ~chosen if is_free is None else is_free & ~chosen
    names = sorted(pieces, key=natural_order) if selection.by else [spec.name for spec in selection.domains]
    return sorted(names, key=natural_order), pieces


def _mask(part: Part, where: Where) -> NDArray[Any] | None:
    if not where.keys():
        return None
    return where.mask(part.columns(), part.lengths, _fetcher(part))


def _fetcher(part: Part) -> Callable[[Any], list[dict[str, Any]]]:
    def fetch(rows: Any) -> list[dict[str, Any]]:
        text = part.text()
        spans = zip(part.starts[rows].tolist(), part.lengths[rows].tolist(), strict=True)
        return [metadata_of(loads(text[start : start + length])) for start, length in spans]

    return fetch


def _groups(part: Part, keys: Sequence[str], is_free: NDArray[Any] | None) -> list[tuple[str, NDArray[Any]]]:
    """Groups the rows of a part by the values of some keys: `skill=binary,level=2`; a missing key is left out."""
    import numpy as np

    columns = part.columns()
    codes = np.zeros(columns.num, np.int64)
    tables: list[tuple[str, list[Any]]] = []
    for key in keys:
        if key in columns.wide:
            hint = "mix by a key with fewer values"
            raise ConfigError(f"by: {key!r} has more than 65,536 values in {part.name}", hint=hint)
        column = columns.columns.get(key)
        values = column.values if column is not None else []
        tables.append((key, values))
        codes = codes * (len(values) + 1) + (0 if column is None else column.codes.astype(np.int64) + 1)
    found = []
    rows = np.arange(columns.num) if is_free is None else np.flatnonzero(is_free)
    order = rows[np.argsort(codes[rows], kind="stable")]
    distinct, firsts = np.unique(codes[order], return_index=True)
    for code, start, stop in zip(distinct.tolist(), firsts.tolist(), [*firsts[1:].tolist(), order.size], strict=False):
        labels = []
        for key, values in reversed(tables):
            code, place = divmod(code, len(values) + 1)
            if place:
                labels.append(f"{key}={_shown(values[place - 1])}")
        found.append((",".join(reversed(labels)) or f"{keys[0]}=unknown", order[start:stop]))
    return found


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _joined(pieces: Sequence[Piece], corpus: Corpus) -> range | NDArray[Any]:
    """Line numbers of the corpus for the pieces of one domain; a range where they are one stretch."""
    import numpy as np

    bases = corpus.bases().tolist()
    if all(rows is None for _, rows in pieces):
        numbers = [number for number, _ in pieces]
        if numbers and numbers == list(range(numbers[0], numbers[-1] + 1)):
            return range(bases[numbers[0]], bases[numbers[-1] + 1])
    kind = np.uint32 if bases[-1] < 1 << 32 else np.uint64
    arrays = [
        np.arange(bases[number], bases[number + 1], dtype=kind) if rows is None else (rows + bases[number]).astype(kind)
        for number, rows in pieces
    ]
    return np.concatenate(arrays) if arrays else range(0)


def _buckets(
    name: str, rows: range | NDArray[Any], corpus: Corpus, edges: Sequence[int]
) -> list[tuple[str, range | NDArray[Any]]]:
    """Cuts a domain by the length of its lines: `NAME|<=512`, ..., `NAME|>2048`; without edges it stays whole."""
    import numpy as np

    if not edges:
        return [(name, rows)]
    numbers = np.arange(rows.start, rows.stop) if isinstance(rows, range) else rows
    lengths = np.concatenate([part.lengths for part in corpus.parts])[numbers]
    buckets = np.searchsorted(np.array(edges), lengths, side="left")
    labels = [bucket_label(name, place, edges) for place in range(len(edges) + 1)]
    found = [(label, numbers[buckets == place]) for place, label in enumerate(labels)]
    return [(label, chosen) for label, chosen in found if len(chosen)]


def bucket_label(name: str, place: int, edges: Sequence[int]) -> str:
    """Gives the name of one length bucket of a domain."""
    return f"{name}|<={edges[place]}" if place < len(edges) else f"{name}|>{edges[-1]}"


def base_name(name: str, edges: Sequence[int]) -> str:
    """Gives the domain that a length bucket belongs to; without edges the name itself."""
    return name.rpartition("|")[0] if edges else name
