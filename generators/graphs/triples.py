"""Reads a user's triples: CSV and TSV (with or without a header), JSON and JSONL, N-Triples, and Turtle by rdflib.

Every problem names its line. The format goes by the file's suffix, before which `.gz` may stand behind. What relations
read like comes from a phrases file or, without one, from their names.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from frontier_core.errors import DataError, EnvironmentMissing, UsageError
from frontier_core.jsonl import loads, read_rows
from generators.graphs.graph import NO_TIMES, Graph, Naming, Triple
from generators.graphs.wording import labels_of, name_relations, read_phrases
from validators.graphs import date_range

HEAD = ("head", "subject", "source", "src", "from", "start", "s", "h")
RELATION = ("relation", "predicate", "rel", "property", "edge", "label", "type", "p", "r")
TAIL = ("tail", "object", "target", "dst", "to", "end", "o", "t")
TIMES = (
    ("time", "date", "year", "timestamp"),
    ("valid_from", "start_time", "start_date", "since"),
    ("valid_to", "end_time", "end_date", "until"),
)
TYPES = (("head_type", "subject_type", "source_type"), ("tail_type", "object_type", "target_type"))
"""Column and key names, best first; the first one that is there counts."""

RDF_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
RDFS_LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
_RDFLIB_FORMATS = {
    ".ttl": "turtle",
    ".turtle": "turtle",
    ".rdf": "xml",
    ".xml": "xml",
    ".n3": "n3",
    ".jsonld": "json-ld",
}
_IRI = r"<([^<>\"{}|^`\\\s]*)>"
_NODE = rf"(?:{_IRI}|(_:[^\s<>\"]+?))"
_LITERAL = r'"((?:[^"\\\n]|\\.)*)"(?:\^\^<[^>]*>|@[A-Za-z0-9-]+)?'
_STATEMENT = re.compile(rf"\s*{_NODE}\s*{_IRI}\s*(?:{_NODE}|{_LITERAL})\s*\.\s*(?:#.*)?")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f"}


class LoadedGraph(NamedTuple):
    """A graph, the sha256 of its file, and a digest of all that decides what questions it gives (phrases too)."""

    graph: Graph
    sha256: str
    digest: str


class _Reading:
    """What a reader gathers beside the triples."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels: dict[str, str] = {}
        self.types: dict[str, str] = {}

    def refuse(self, message: str, line: int, *, hint: str = "", code: str = "bad_triple") -> DataError:
        return DataError(message, path=str(self.path), line=line, hint=hint, code=code)

    def triple(self, parts: Sequence[Any], line: int, times: Sequence[Any] = NO_TIMES) -> Triple:
        """Checks one statement; errors name the line."""
        for part, name in zip(parts, ("head", "relation", "tail"), strict=True):
            if isinstance(part, bool) or not isinstance(part, (str, int, float)) or not str(part).strip():
                raise self.refuse(f"the {name} is empty or no text: {part!r}", line)
        head, relation, tail = (" ".join(str(part).split()) for part in parts)
        dates = tuple("" if text is None else str(text).strip() for text in times)
        for text in dates:
            if text and date_range(text) is None:
                hint = "write 1990, 1990-05 or 1990-05-17, or leave it empty"
                raise self.refuse(f"{text!r} is no year or ISO date", line, hint=hint, code="bad_time")
        return Triple(head, relation, tail, (dates[0], dates[1], dates[2]))


def load_graph(path: str | Path, phrases: str | Path | None = None) -> LoadedGraph:
    """Reads a file of triples.

    Args:
        path: .csv, .tsv, .txt (tabs), .json, .jsonl, .ndjson, .nt, or with rdflib .ttl, .rdf, .xml, .n3.
        phrases: YAML, relation -> "X is the capital of Y"; without it relations are worded by their names.
    Raises:
        UsageError: no such file, or a suffix that says nothing.
        DataError: a line that is no triple; names it.
        EnvironmentMissing: Turtle or RDF/XML without rdflib.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{file}: {'is a folder' if file.is_dir() else 'no such file'}", hint="name a file of triples")
    reading = _Reading(file)
    graph = Graph(_reader(file)(reading))
    if not len(graph):
        raise reading.refuse("holds no triples", 0, code="empty")
    worded = read_phrases(Path(phrases), graph.relations) if phrases else {}
    graph.naming = Naming(
        labels=labels_of(graph.nodes, reading.labels),
        types=reading.types,
        relations=name_relations(graph.relations, worded),
    )
    digest = _sha256(file)
    both = sha256((digest + (_sha256(Path(phrases)) if phrases else "")).encode()).hexdigest()
    return LoadedGraph(graph, digest, both)


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _reader(file: Path) -> Callable[[_Reading], Iterator[Triple]]:
    suffix = Path(file.stem).suffix if file.suffix == ".gz" else file.suffix
    readers: dict[str, Callable[[_Reading], Iterator[Triple]]] = {
        ".csv": _read_table, ".tsv": _read_table, ".txt": _read_table,
        ".json": _read_json, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".nt": _read_ntriples,
    }  # fmt: skip
    readers |= dict.fromkeys(_RDFLIB_FORMATS, _read_rdf)
    if suffix.lower() not in readers:
        raise UsageError(f"{file}: can't tell the format of triples by its name", hint=f"known: {' '.join(readers)}")
    return readers[suffix.lower()]


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


# Tables


def _read_table(reading: _Reading) -> Iterator[Triple]:
    with _open_text(reading.path) as stream:
        delimiter = "\t" if ".csv" not in reading.path.suffixes else None
        try:
            first = stream.readline()
            if delimiter is None:
                delimiter = max(",;\t|", key=first.count) if first else ","
            stream.seek(0)
            rows = csv.reader(stream, delimiter=delimiter, strict=True)
            yield from _rows(reading, rows)
        except csv.Error as error:
            line = rows.line_num
            raise reading.refuse(f"not valid CSV: {error}", line, hint='quote fields as "a ""b"" c"') from error
        except UnicodeDecodeError as error:
            raise reading.refuse("not UTF-8", 0, code="invalid_utf8", hint="iconv -t UTF-8") from error
        except (EOFError, gzip.BadGzipFile) as error:
            raise reading.refuse(f"the compressed stream is broken: {error}", 0, code="broken_stream") from error


def _rows(reading: _Reading, rows: Any) -> Iterator[Triple]:
    columns: dict[str, int] | None = None
    width = 0
    for row in rows:
        if not any(field.strip() for field in row) or row[0].startswith("#"):
            continue
        if columns is None:
            columns, is_header = _columns([field.strip().lower() for field in row])
            width = len(row)
            if width < 3:
                hint = "a triple has head, relation and tail; .csv splits at commas, .tsv at tabs"
                raise reading.refuse(f"needs at least 3 columns, has {width}", rows.line_num, hint=hint)
            if is_header:
                continue
        if len(row) != width:
            raise reading.refuse(f"has {len(row)} columns, the first row has {width}", rows.line_num)
        parts = [row[columns[key]] for key in ("head", "relation", "tail")]
        times = [row[columns[key]] if key in columns else "" for key in ("time", "valid_from", "valid_to")]
        triple = reading.triple(parts, rows.line_num, times)
        for key, node in (("head_type", triple.head), ("tail_type", triple.tail)):
            if key in columns and row[columns[key]].strip():
                reading.types[node] = row[columns[key]].strip()
        yield triple


def _columns(names: Sequence[str]) -> tuple[dict[str, int], bool]:
    """Where each part stands, and whether the row is a header: it is when head, relation and tail are all named."""
    wanted = {"head": HEAD, "relation": RELATION, "tail": TAIL}
    wanted |= dict(zip(("time", "valid_from", "valid_to"), TIMES, strict=True))
    wanted |= dict(zip(("head_type", "tail_type"), TYPES, strict=True))
    found: dict[str, int] = {}
    for key, aliases in wanted.items():
        place = next((names.index(alias) for alias in aliases if alias in names), None)
        if place is not None and place not in found.values():
            found[key] = place
    if {"head", "relation", "tail"} <= set(found):
        return found, True
    fallback = {"head": 0, "relation": 1, "tail": 2}
    if len(names) == 4:
        fallback["time"] = 3
    elif len(names) >= 5:
        fallback |= {"valid_from": 3, "valid_to": 4}
    return fallback, False


# JSON


def _read_jsonl(reading: _Reading) -> Iterator[Triple]:
    for row in read_rows(reading.path):
        if row.problem is not None:
            raise row.problem
        yield _from_object(reading, row.record, row.number)


def _read_json(reading: _Reading) -> Iterator[Triple]:
    with _open_text(reading.path) as stream:
        text = stream.read()
    try:
        document = loads(text)
    except ValueError as error:
        hint = "one triple a line? name it .jsonl"
        line = getattr(error, "lineno", 0)
        raise reading.refuse(f"not valid JSON: {error}", line, code="invalid_json", hint=hint) from error
    if isinstance(document, dict):
        document = next((document[key] for key in ("triples", "edges", "links", "facts") if key in document), None)
    if not isinstance(document, list):
        raise reading.refuse("needs a list of triples, or an object with `triples`", 0)
    for place, item in enumerate(document):
        try:
            if isinstance(item, list):
                if not 3 <= len(item) <= 4:
                    raise reading.refuse(f"a triple has 3 parts or 4 with a time, this has {len(item)}", 0)
                yield reading.triple(item[:3], 0, [*item[3:], "", "", ""][:3])
            else:
                yield _from_object(reading, item, 0)
        except DataError as error:
            raise DataError(
                error.problem, path=error.path, pointer=f"/{place}", hint=error.hint, code=error.code
            ) from None


def _from_object(reading: _Reading, item: Any, line: int) -> Triple:
    if not isinstance(item, dict):
        raise reading.refuse("a triple is an object {head, relation, tail} or a list of three", line)

    def value(aliases: Sequence[str]) -> Any:
        return next((item[alias] for alias in aliases if alias in item), None)

    for key, aliases in (("head", HEAD), ("relation", RELATION), ("tail", TAIL)):
        if value(aliases) is None:
            raise reading.refuse(f"{key!r} is missing", line, hint=f"also read: {', '.join(aliases[1:])}")
    triple = reading.triple([value(HEAD), value(RELATION), value(TAIL)], line, [value(names) for names in TIMES])
    for names, node in zip(TYPES, (triple.head, triple.tail), strict=True):
        if value(names):
            reading.types[node] = str(value(names))
    return triple


# RDF


def _read_ntriples(reading: _Reading) -> Iterator[Triple]:
    with _open_text(reading.path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _STATEMENT.fullmatch(line.rstrip("\r\n"))
            if match is None:
                raise reading.refuse(
                    "is no N-Triples statement", number, hint="<s> <p> <o> . with one statement a line"
                )
            iri, blank, relation, other, other_blank, literal = match.groups()
            tail = other or other_blank or _unescaped(literal)
            yield from _statement(reading, iri or blank, relation, tail, number)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _ESCAPED.get(match[3], match[3])

    return _ESCAPE.sub(plain, text)


def _statement(reading: _Reading, head: str, relation: str, tail: str, line: int) -> Iterator[Triple]:
    """Turns a statement into a triple; labels and types name their node instead of becoming facts."""
    if relation == RDFS_LABEL:
        reading.labels.setdefault(head, " ".join(tail.split()))
    elif relation == RDF_TYPE:
        reading.types.setdefault(head, tail)
    else:
        yield reading.triple((head, relation, tail), line)


def _read_rdf(reading: _Reading) -> Iterator[Triple]:
    try:
        import rdflib
    except ImportError as error:
        raise EnvironmentMissing(
            f"{reading.path}: reading this format needs rdflib", hint="pip install 'frontier-data-engine[graphs]'"
        ) from error
    suffixes = [suffix for suffix in reading.path.suffixes if suffix != ".gz"]
    graph = rdflib.Graph()
    try:
        with _open_text(reading.path) as stream:
            graph.parse(data=stream.read(), format=_RDFLIB_FORMATS[suffixes[-1].lower()])
    except Exception as error:  # rdflib's parsers raise whatever their format's own do
        line = getattr(error, "lines", None) or getattr(error, "getLineNumber", int)()
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise reading.refuse(f"can't be parsed: {said[0]}", int(line or 0), code="rdf") from error
    # rdflib keeps no order of its own; sorted, the same file gives the same graph everywhere.
    for head, relation, tail in sorted(_statements_of(graph)):
        yield from _statement(reading, head, relation, tail, 0)


def _statements_of(graph: Any) -> list[tuple[str, str, str]]:
    """The statements as text; blank nodes are called _:b1, _:b2, ... by what is said of them.

    rdflib draws a blank node's id anew in each process. Its canonical ids hang on the graph alone.
    """
    from rdflib import BNode
    from rdflib.compare import to_canonical_graph

    if any(isinstance(node, BNode) for s, _, o in graph for node in (s, o)):
        graph = to_canonical_graph(graph)
    blanks = sorted({str(node) for s, _, o in graph for node in (s, o) if isinstance(node, BNode)})
    names = {blank: f"_:b{number}" for number, blank in enumerate(blanks, start=1)}

    def text(node: Any) -> str:
        return names[str(node)] if isinstance(node, BNode) else str(node)

    return [(text(s), str(p), text(o)) for s, p, o in graph]
