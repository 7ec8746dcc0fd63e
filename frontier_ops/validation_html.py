"""The validation report as one self-contained HTML page: what passed, why the rest did not, and how the data lies.

Shapes are report_svg.py's, the style sheet is templates/report.html. Every text from a data file is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from typing import Any

from frontier_core.resources import shipped
from frontier_core.version import __version__
from frontier_ops.report_svg import bars, svg_columns

MAX_ROWS = 24


def page(report: dict[str, Any]) -> str:
    """Gives the whole page for a report of `validate --json`."""
    source = "standard input" if report["source"] == "-" else report["source"]
    accepted, total = report["num_accepted"], report["num_records"]
    headline = f"{accepted:,} of {total:,} records pass" if accepted < total else f"All {total:,} records pass"
    parts = [
        _top(report, source, headline),
        _chart("Why records were rejected", "Each rejected record counts once, by its first error.", report["rejects"]),
        _chart("Warnings", "Records with a warning pass; a record may have several.", report["warnings"]),
        _chart("Records per tag", "Accepted records by skill and level.", report["tags"]),
        _facts(report.get("facts") or {}),
        _findings(report),
    ]
    foot = f"<footer>frontier {__version__}. {escape(_validators(report))}</footer>"
    template = Template(shipped("templates/report.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(f"Validation: {headline}"), body="\n".join(filter(None, parts)) + foot)


def _validators(report: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in report["validators"].items())


def _top(report: dict[str, Any], source: str, headline: str) -> str:
    facts = [
        (f"{report['num_records']:,}", "records"),
        (f"{report['num_rejected']:,}", "rejected"),
        (f"{100 * report['num_rejected'] / max(1, report['num_records']):.2f}%", "of all"),
        (f"{sum(report['warnings'].values()):,}", "warnings"),
    ]
    shown = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for value, label in facts)
    told = f"Level {report['level']}, profile {report['profile']}, spec {report['spec']}."
    notes = "".join(f'<p class="note">{escape(item["message"])}</p>' for item in report["file_findings"])
    return (
        f'<p class="kicker">Validation &middot; {escape(source)}</p><h1>{headline}</h1>'
        f'<p class="lede">{escape(told)}</p><dl class="facts">{shown}</dl>{notes}'
    )


def _chart(title: str, note: str, counts: dict[str, int]) -> str:
    if not counts:
        return ""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown, rest = ranked[:MAX_ROWS], ranked[MAX_ROWS:]
    if rest:
        shown.append((f"{len(rest)} others", sum(count for _, count in rest)))
    return f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{bars(shown, title=title)}'


def _facts(facts: dict[str, Any]) -> str:
    """Gives a histogram for every fact that has one, and the other figures as tables."""
    parts = []
    for rule, values in facts.items():
        for name, value in values.items():
            title = f"{rule}: {name}".replace("_", " ")
            if isinstance(value, dict) and {"edges", "counts"} <= set(value):
                parts.append(f"<h2>{escape(title)}</h2>{svg_columns(value['edges'], value['counts'], title=title)}")
            elif isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
                parts.append(f"<h2>{escape(title)}</h2>{_table_of(value)}")
    return "".join(parts)


def _table_of(rows: dict[str, dict[str, Any]]) -> str:
    heads = list(dict.fromkeys(key for row in rows.values() for key in row))
    body = [[name, *(str(row.get(head, "")) for head in heads)] for name, row in list(rows.items())[:MAX_ROWS]]
    return _table(["", *(head.replace("_", " ") for head in heads)], body)


def _findings(report: dict[str, Any]) -> str:
    if not report["findings"]:
        return ""
    rows = [
        [str(item["line"]), item["code"], item.get("pointer", ""), _told(item), item["severity"]]
        for item in report["findings"]
    ]
    table = _table(["line", "code", "place", "what, and what to do", "severity"], rows)
    return f'<h2>Findings</h2><p class="note">The first {len(rows)}; the rejects file has all.</p>{table}'


def _told(item: dict[str, Any]) -> str:
    return f"{item['message']}: {item['remedy']}" if item.get("remedy") else str(item["message"])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    names = "".join(f'<th scope="col" class="text">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f'<td class="text reasons">{escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table class="why"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'
