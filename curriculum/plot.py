"""How a policy moved, as a picture: each cell's weight by round, with its rails, and the newest reason beside it.

One self-contained HTML page with inline SVG, or a PNG of the same lines by matplotlib where that is installed. Reading
the files is the command's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from frontier_core.allocation import PolicyLine, natural_order
from frontier_core.errors import EnvironmentMissing, UsageError

Policies = Sequence[Sequence[PolicyLine]]
WIDTH, HEIGHT, PAD = 300, 90, 6
STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 24px auto; max-width: 1100px; padding: 0 16px; color: #222; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: 6px 10px; border-top: 1px solid #ddd; text-align: left; vertical-align: top; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
svg { display: block; } .rail { stroke: #bbb; stroke-dasharray: 3 3; } .prior { stroke: #888; } .w { fill: none;
stroke: #b03a2e; stroke-width: 2; } .dot { fill: #b03a2e; } .up { color: #1e7b34; } .down { color: #b03a2e; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } td, th { border-color: #444; } }
"""


def history(policies: Policies) -> dict[str, list[PolicyLine]]:
    """Gives cell -> its lines by round, in natural order. Raises UsageError without a line."""
    found: dict[str, list[PolicyLine]] = {}
    for lines in sorted(policies, key=lambda lines: max((line.round for line in lines), default=0)):
        for line in lines:
            found.setdefault(line.tag, []).append(line)
    if not found:
        raise UsageError("no policy line to plot")
    return {tag: found[tag] for tag in sorted(found, key=natural_order)}


def html_page(policies: Policies) -> str:
    """Gives the page: a row a cell, biggest move first."""
    rows = sorted(history(policies).items(), key=lambda item: -abs(item[1][-1].weight - _start(item[1])))
    body = "".join(_row(tag, lines) for tag, lines in rows)
    last = max(line.round for lines in policies for line in lines)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sampling policy</title>'
        f"<style>{STYLE}</style></head><body><h1>Sampling policy, round {last}</h1>"
        "<p>Weight by round (red), prior (grey), floor and cap (dashed). The biggest move is first.</p>"
        "<table><tr><th>cell</th><th>weight</th><th>by round</th><th>why</th></tr>"
        f"{body}</table></body></html>\n"
    )


def _start(lines: Sequence[PolicyLine]) -> float:
    return lines[0].previous


def _row(tag: str, lines: Sequence[PolicyLine]) -> str:
    first, last = _start(lines), lines[-1]
    css = "up" if last.weight > first * 1.005 else "down" if last.weight < first / 1.005 else ""
    return (
        f'<tr><td>{escape(tag)}</td><td class="n {css}">{100 * first:.2f}% &rarr; {100 * last.weight:.2f}%</td>'
        f"<td>{_svg(tag, lines)}</td><td>{escape(last.reason)}</td></tr>"
    )


def _svg(tag: str, lines: Sequence[PolicyLine]) -> str:
    values = [_start(lines), *(line.weight for line in lines)]
    last = lines[-1]
    peak = max(*values, last.prior)
    top = 1.08 * (last.cap if last.cap <= 1.5 * peak else peak)

    def x(index: int) -> float:
        return PAD + (WIDTH - 2 * PAD) * index / max(1, len(values) - 1)

    def y(value: float) -> float:
        return HEIGHT - PAD - (HEIGHT - 2 * PAD) * value / top

    def level(value: float, css: str) -> str:
        at = y(value)
        return f'<line class="{css}" x1="{PAD}" x2="{WIDTH - PAD}" y1="{at:.1f}" y2="{at:.1f}"/>'

    points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(values))
    shapes = [level(last.prior, "prior"), level(last.floor, "rail")]
    shapes += [level(last.cap, "rail")] if last.cap <= top else []
    shapes += [f'<polyline class="w" points="{points}"/>']
    shapes += [f'<circle class="dot" cx="{x(len(values) - 1):.1f}" cy="{y(values[-1]):.1f}" r="3"/>']
    label = escape(f"{tag}: weight by round, {', '.join(f'{100 * value:.2f}%' for value in values)}", quote=True)
    return f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">{"".join(shapes)}</svg>'


def png(policies: Policies, path: Path) -> None:
    """Draws a panel a cell into a PNG file. Raises EnvironmentMissing without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise EnvironmentMissing("PNG needs matplotlib", hint="pip install matplotlib, or -o policy.html") from error
    matplotlib.use("agg")
    from matplotlib import pyplot

    cells = history(policies)
    columns = min(4, len(cells))
    rows = -(-len(cells) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 2.1 * rows), squeeze=False, layout="constrained"
    )
    panels = [axis for line in axes for axis in line]
    for axis, (tag, lines) in zip(panels, cells.items(), strict=False):
        values = [100 * value for value in (_start(lines), *(line.weight for line in lines))]
        axis.plot(range(len(values)), values, color="#b03a2e", linewidth=2)
        axis.axhline(100 * lines[-1].prior, color="#888888", linewidth=1)
        axis.axhline(100 * lines[-1].floor, color="#bbbbbb", linewidth=1, linestyle="--")
        axis.set_title(tag, fontsize=8)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
        axis.set_ylabel("% of records", fontsize=7)
    for axis in panels[len(cells) :]:
        axis.axis("off")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
