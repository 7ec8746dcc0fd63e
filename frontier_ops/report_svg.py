"""Charts of the report page as inline SVG: x in percent and y in pixels, so that text never scales with the page.

Colours come from the page's style sheet by class name. Every chart carries a title for screen readers; the tables that
hold the same figures are report_html.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from frontier_ops.report_data import Share

Series = Sequence[Share | None]


def svg(body: str, *, height: int, title: str, css: str = "") -> str:
    """Wraps shapes as one accessible image of full width and `height` pixels."""
    label = escape(title, quote=True)
    return (
        f'<svg class="{css}" width="100%" height="{height}" role="img" aria-label="{label}">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def accuracy_chart(series: Series, names: Sequence[str], *, height: int, title: str, is_large: bool = False) -> str:
    """Draws a rate by round: a dot per round with its 95 % interval, joined by a line, on an axis from 0 to 1.

    Args:
        series: one rate per round; None leaves a gap.
        names: what stands under each round.
        height: of the whole chart in pixels.
        title: read out instead of the picture.
        is_large: labels on the axis and a value at each dot; otherwise only the ends are labelled.
    """
    top, bottom = 22 if is_large else 8, height - 20
    left, right = (15.0, 94.0) if is_large else (7.0, 93.0)

    def x_of(index: int) -> float:
        return (left + right) / 2 if len(series) == 1 else left + (right - left) * index / (len(series) - 1)

    def y_of(rate: float) -> float:
        return bottom - (bottom - top) * rate

    parts = [_grid((0, 0.25, 0.5, 0.75, 1) if is_large else (0, 0.5, 1), y_of, is_large)]
    shown = [(index, share) for index, share in enumerate(series) if share is not None]
    for (a, one), (b, other) in pairwise(shown):
        parts.append(_line(x_of(a), y_of(one.value), x_of(b), y_of(other.value), "trend"))
    for index, share in shown:
        x = x_of(index)
        parts.append(_line(x, y_of(share.low), x, y_of(share.high), "interval"))
        parts.append(f'<circle class="dot" cx="{x:.2f}%" cy="{y_of(share.value):.1f}" r="{5 if is_large else 3.5}"/>')
        if is_large and (len(shown) <= 6 or index in (shown[0][0], shown[-1][0])):
            above = y_of(share.high) - 8
            parts.append(_text(x, above, f"{100 * share.value:.1f}%", "value", "middle"))
    every = max(1, -(-len(names) // (12 if is_large else 2)))
    for index, name in enumerate(names):
        if index % every == 0 or index == len(names) - 1:
            ends = {0: "start", len(names) - 1: "end"} if not is_large and len(names) > 1 else {}
            x = {"start": 0.0, "end": 100.0}.get(ends.get(index, ""), x_of(index))
            parts.append(_text(x, height - 4, name, "axis", ends.get(index, "middle")))
    return svg("".join(parts), height=height, title=title, css="chart")


def _grid(rates: Sequence[float], y_of: object, is_large: bool) -> str:
    assert callable(y_of)
    lines = []
    for rate in rates:
        css = "base" if rate == 0 else "grid"
        lines.append(_line(8.0 if is_large else 0, y_of(rate), 100, y_of(rate), css))
        if is_large:
            lines.append(_text(0, y_of(rate) + 4, f"{100 * rate:.0f}%", "axis", "start"))
    return "".join(lines)


def dumbbell(first: float, last: float, scale: float, *, title: str) -> str:
    """Draws how a share moved: an open dot where it began, a full one where it ended, on an axis from 0 to `scale`."""
    a, b = (2 + 96 * min(value / scale, 1.0) for value in (first, last))
    css = "flat" if abs(last - first) < 0.001 else "up" if last > first else "down"
    body = (
        _line(2, 12, 98, 12, "grid")
        + _line(a, 12, b, 12, f"move {css}")
        + f'<circle class="open" cx="{a:.2f}%" cy="12" r="4"/><circle class="full {css}" cx="{b:.2f}%" cy="12" r="5"/>'
    )
    return svg(body, height=24, title=title, css="track")


def weight_line(values: Sequence[float], scale: float, *, title: str) -> str:
    """Draws a share by round as bars on a common scale, for a table's cell."""
    width = 100 / len(values)
    bars = [
        f'<rect class="bar" x="{index * width + width * 0.15:.2f}%" width="{width * 0.7:.2f}%" '
        f'y="{22 - 20 * value / scale:.1f}" height="{20 * value / scale:.1f}"/>'
        for index, value in enumerate(values)
    ]
    return svg("".join(bars), height=22, title=title, css="bars")


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, css: str, anchor: str) -> str:
    return f'<text class="{css}" x="{x:.2f}%" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def bars(counts: Sequence[tuple[str, int]], *, title: str) -> str:
    """Draws counts as horizontal bars, names above them, so that a long name never meets a bar."""
    row, most = 36, max(count for _, count in counts)
    parts = []
    for index, (name, count) in enumerate(counts):
        y = row * index
        parts.append(_text(0, y + 12, name, "axis", "start"))
        parts.append(_text(100, y + 12, f"{count:,}", "value", "end"))
        parts.append(f'<rect class="bar" x="0" width="{100 * count / most:.2f}%" y="{y + 17}" height="10"/>')
    told = ", ".join(f"{name} {count:,}" for name, count in counts)
    return svg("".join(parts), height=row * len(counts), title=f"{title}: {told}", css="chart")


def svg_columns(edges: Sequence[float], counts: Sequence[int], *, title: str) -> str:
    """Draws a histogram: a column per bin on a common base line, bin edges below."""
    width, most, floor = 100 / max(1, len(counts)), max([1, *counts]), 120
    parts = [_line(0, floor, 100, floor, "base")]
    for index, count in enumerate(counts):
        height = 100 * count / most
        parts.append(
            f'<rect class="bar" x="{index * width + 0.1:.2f}%" width="{width - 0.2:.2f}%" '
            f'y="{floor - height:.1f}" height="{height:.1f}"/>'
        )
    for index in sorted({0, len(edges) // 2, len(edges) - 1}):
        anchor = {0: "start", len(edges) - 1: "end"}.get(index, "middle")
        parts.append(_text(index * width, floor + 16, f"{edges[index]:,.0f}", "axis", anchor))
    return svg("".join(parts), height=floor + 20, title=title, css="chart")
