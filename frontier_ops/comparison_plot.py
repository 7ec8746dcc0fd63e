"""The picture of a comparison: accuracy per skill and checkpoint with its interval, as an SVG that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any


def plot(records: Sequence[dict[str, Any]]) -> bytes:
    """Gives a standalone SVG of ranked entries: a dot per skill and checkpoint with its Wilson interval.

    Args:
        records: from `Ranked.to_record`, best first.
    """
    names = list(dict.fromkeys(name for record in records for name in record["skills"]))
    left, width, row = 190, 520, 18
    height = 40 + sum(row * (len(records) + 1) for _ in names)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" role="img">',
        "<title>accuracy per skill, with 95 % Wilson intervals</title>",
        "<style>text{font:12px sans-serif;fill:#222}line{stroke:#999}",
        ".best{stroke:#0a6;fill:#0a6}.dot{fill:#555}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for share in range(0, 101, 25):
        x = left + width * share / 100
        lines.append(f'<line x1="{x}" y1="20" x2="{x}" y2="{height - 8}" stroke-dasharray="2 4"/>')
        lines.append(f'<text x="{x}" y="14" text-anchor="middle">{share} %</text>')
    y = 34.0
    for name in names:
        lines.append(f'<text x="4" y="{y + 4}" font-weight="bold">{escape(name)}</text>')
        y += row
        for record in records:
            rate = record["skills"].get(name)
            low, high = record["intervals"].get(name, (0.0, 1.0))
            css = "best" if record["place"] == 1 else "dot"
            label = f"{record['place']}. {record['run_id']} step {record['step']}"
            lines.append(f'<text x="14" y="{y + 4}">{escape(label)}</text>')
            if rate is not None:
                ends = f'x1="{left + width * low:.1f}" x2="{left + width * high:.1f}"'
                lines.append(f'<line class="{css}" {ends} y1="{y}" y2="{y}"/>')
                lines.append(f'<circle class="{css}" cx="{left + width * rate:.1f}" cy="{y}" r="4"/>')
                lines.append(f'<text x="{left + width + 8}" y="{y + 4}">{rate:.1%}</text>')
            y += row
    return ("\n".join([*lines, "</svg>"]) + "\n").encode()
