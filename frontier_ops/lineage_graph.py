"""A lineage as a graph: text, DOT, Mermaid, SVG or a page. What holds and what not is frontier_core/lineage.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal, get_args

from frontier_core.errors import ConfigError
from frontier_core.lineage import Link, chain
from frontier_core.nearest import did_you_mean

GraphForm = Literal["text", "dot", "mermaid", "svg", "html"]
GRAPH_FORMS: tuple[GraphForm, ...] = get_args(GraphForm)

_WIDE, _HIGH, _GAP_X, _GAP_Y, _PAD = 236, 62, 34, 46, 24
_COLORS = {"ok": "#2f7d4f", "source": "#4a6a94"}
_WRONG = "#b3372f"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;"
    "background:#fff;color:#1c1f24}"
    "svg{max-width:100%;height:auto}code{font-size:.9em}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One file of the graph: its key, the lines written in it, and whether it is as it should be."""

    key: str
    title: str
    lines: tuple[str, ...]
    status: str
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Files and which was made from which, as (input, output) keys."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


def form_named(name: str) -> GraphForm:
    """Gives the form of that name, or raises ConfigError naming the nearest."""
    for form in GRAPH_FORMS:
        if name == form:
            return form
    raise ConfigError(f"unknown form {name!r}", hint=did_you_mean(name, GRAPH_FORMS))


def graph_of(files: Iterable[Path]) -> Graph:
    """Gives everything some files were made from, each file once.

    Raises:
        UsageError: one of them has neither data nor a sidecar.
    """
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], None] = {}
    for file in files:
        for link in chain(file):
            key = str(link.path.resolve())
            nodes.setdefault(key, _node(key, link))
            for entry in (link.meta or {}).get("inputs", ()):
                edges[str((link.path.parent / entry["path"]).resolve()), key] = None
    ranks = _ranks(list(nodes), list(edges))
    return Graph(
        nodes=tuple(
            Node(key=node.key, title=node.title, lines=node.lines, status=node.status, depth=ranks[node.key])
            for node in nodes.values()
        ),
        edges=tuple(edges),
    )


def _node(key: str, link: Link) -> Node:
    meta = link.meta or {}
    made = str(meta.get("stage", ""))
    made += f" by {meta['producer']}" if meta.get("producer") else ""
    data = meta.get("data", {})
    size = f"{data['num_records']:,} records" if "num_records" in data else ""
    size += f", {rejected:,} rejected" if (rejected := sum(meta.get("rejects", {}).values())) else ""
    size += f", seed {meta['seed']}" if meta.get("seed") is not None else ""
    lines = tuple(filter(None, [made or link.status, size.strip(", ")]))
    return Node(key=key, title=str(link.path), lines=lines, status=link.status, depth=link.depth)


def _ranks(keys: list[str], edges: list[tuple[str, str]]) -> dict[str, int]:
    """Gives each file's row: below everything it was made from."""
    rank = dict.fromkeys(keys, 0)
    for _ in keys:  # a chain is no longer than the number of files
        changed = False
        for source, made in edges:
            if source in rank and made in rank and rank[made] <= rank[source] < len(keys):
                rank[made] = rank[source] + 1
                changed = True
        if not changed:
            break
    return rank


def draw(graph: Graph, form: GraphForm, title: str = "Lineage") -> str:
    """Gives the graph as text in one of the forms, without a newline at the end."""
    if form == "dot":
        return _dot(graph)
    if form == "mermaid":
        return _mermaid(graph)
    if form == "svg":
        return _svg(graph)
    if form == "html":
        return _page(graph, title)
    return _text(graph)


def _wrong(node: Node) -> bool:
    return node.status not in _COLORS


def _text(graph: Graph) -> str:
    """An indented tree from what was made last down to the sources; a file met again is only named."""
    named = {node.key: node for node in graph.nodes}
    inputs: dict[str, list[str]] = {}
    for source, made in graph.edges:
        inputs.setdefault(made, []).append(source)
    is_input = {source for source, _ in graph.edges}
    lines: list[str] = []
    told: set[str] = set()
    stack = [(node.key, "", "") for node in reversed(graph.nodes) if node.key not in is_input]
    while stack:
        key, lead, under = stack.pop()
        node = named[key]
        about = "; ".join(node.lines) if key not in told else "see above"
        lines.append(f"{lead}{node.title}  [{about}]" + (f"  <-- {node.status}" if _wrong(node) else ""))
        if key in told:
            continue
        told.add(key)
        below = inputs.get(key, [])
        for place, source in reversed(list(enumerate(below))):
            is_last = place == len(below) - 1
            stack.append((source, under + ("`- " if is_last else "|- "), under + ("   " if is_last else "|  ")))
    return "\n".join(lines)


def _dot(graph: Graph) -> str:
    names = {node.key: f"n{place}" for place, node in enumerate(graph.nodes)}
    lines = ["digraph lineage {", '  rankdir=TB; node [shape=box, style=rounded, fontname="sans-serif"];']
    for node in graph.nodes:
        label = "\\n".join(_quoted(text) for text in (node.title, *node.lines))
        color = _COLORS.get(node.status, _WRONG)
        status = f"\\n{node.status}" if _wrong(node) else ""
        lines.append(f'  {names[node.key]} [label="{label}{status}", color="{color}"];')
    lines += [f"  {names[source]} -> {names[made]};" for source, made in graph.edges]
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _mermaid(graph: Graph) -> str:
    names = {node.key: f"n{place}" for place, node in enumerate(graph.nodes)}
    lines = ["flowchart TD"]
    for node in graph.nodes:
        words = [node.title, *node.lines, *([node.status] if _wrong(node) else [])]
        label = "<br/>".join(escape(word).replace("&", "#").replace("#quot;", "#quot;") for word in words)
        lines.append(f'  {names[node.key]}["{label}"]')
    lines += [f"  {names[source]} --> {names[made]}" for source, made in graph.edges]
    wrong = [names[node.key] for node in graph.nodes if _wrong(node)]
    if wrong:
        lines += [f"  classDef wrong stroke:{_WRONG},stroke-width:3px", f"  class {','.join(wrong)} wrong"]
    return "\n".join(lines)


def _svg(graph: Graph) -> str:
    places = _places(graph)
    right = max((x for x, _ in places.values()), default=0) + _WIDE + _PAD
    bottom = max((y for _, y in places.values()), default=0) + _HIGH + _PAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}" width="{right}" height="{bottom}" '
        'role="img" font-family="system-ui, sans-serif">',
        f'<rect width="{right}" height="{bottom}" fill="#fff"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#6b7280"/></marker></defs>',
    ]
    for source, made in graph.edges:
        (x1, y1), (x2, y2) = places[source], places[made]
        x1, y1, x2 = x1 + _WIDE // 2, y1 + _HIGH, x2 + _WIDE // 2
        bend = max(24, (y2 - y1) // 2)
        parts.append(
            f'<path d="M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2 - 1}" fill="none" stroke="#6b7280" '
            'stroke-width="1.4" marker-end="url(#tip)"/>'
        )
    for node in graph.nodes:
        parts += _box(node, *places[node.key])
    return "\n".join([*parts, "</svg>"])


def _places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Gives each box its corner: a row a rank, each near the middle of what it was made from."""
    rows: dict[int, list[str]] = {}
    for node in graph.nodes:
        rows.setdefault(node.depth, []).append(node.key)
    inputs: dict[str, list[str]] = {}
    for source, made in graph.edges:
        inputs.setdefault(made, []).append(source)
    widest = max(map(len, rows.values()), default=1)
    places: dict[str, tuple[int, int]] = {}
    for rank in sorted(rows):
        row = rows[rank]
        near = {key: _middle([places[one][0] for one in inputs.get(key, ()) if one in places]) for key in row}
        row.sort(key=lambda key, near=near: near[key])  # type: ignore[misc]
        start = _PAD + (widest - len(row)) * (_WIDE + _GAP_X) // 2
        for column, key in enumerate(row):
            places[key] = (start + column * (_WIDE + _GAP_X), _PAD + rank * (_HIGH + _GAP_Y))
    return places


def _middle(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _box(node: Node, x: int, y: int) -> list[str]:
    color = _COLORS.get(node.status, _WRONG)
    words = [node.title, *node.lines]
    if _wrong(node):
        words[1:2] = [f"{node.status}: {words[1]}" if len(words) > 1 else node.status]
    parts = [
        f"<g><title>{escape(' | '.join([node.title, *node.lines, node.status]))}</title>",
        f'<rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="7" fill="{color}12" stroke="{color}" '
        f'stroke-width="{2.5 if _wrong(node) else 1.4}"/>',
    ]
    for number, word in enumerate(words[:3]):
        weight, size, room = ("600", 13, 31) if number == 0 else ("400", 11.5, 37)
        shown = word if len(word) <= room else f"...{word[-room + 3 :]}" if number == 0 else f"{word[: room - 3]}..."
        fill = _WRONG if _wrong(node) and number == 1 else "#1c1f24" if number == 0 else "#4b5563"
        parts.append(
            f'<text x="{x + 11}" y="{y + 20 + number * 16}" font-size="{size}" font-weight="{weight}" '
            f'fill="{fill}">{escape(shown)}</text>'
        )
    return [*parts, "</g>"]


def _page(graph: Graph, title: str) -> str:
    wrong = [node for node in graph.nodes if _wrong(node)]
    told = (
        f"{len(graph.nodes)} files, {len(wrong)} that do not hold" if wrong else f"{len(graph.nodes)} files, all hold"
    )
    items = "".join(f"<li><code>{escape(node.title)}</code>: {node.status}</li>" for node in wrong)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1><p>{told}</p><ul>{items}</ul>"
        f"{_svg(graph)}</body></html>"
    )
