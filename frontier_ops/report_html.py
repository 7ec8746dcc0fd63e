"""The report page: one self-contained HTML file for people, in light and dark, on paper, phone and desk.

Every text from a data file is escaped. Each chart has its figures as a table beside it or inside a fold. Figures are
computed in report.py, shapes drawn in report_svg.py, the style sheet is templates/report.html.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from os.path import relpath
from string import Template

from curriculum.cells import skill_and_level
from frontier_core.allocation import PolicyLine, natural_order
from frontier_core.lineage import Link, digest_of
from frontier_core.records import Record
from frontier_core.resources import shipped
from frontier_core.version import __version__
from frontier_ops.report_data import LoopSummary, Round, Share, biggest_moves, skill_weights
from frontier_ops.report_svg import accuracy_chart, dumbbell, weight_line


def page(summary: LoopSummary) -> str:
    """Gives the whole page."""
    first, last = summary.first.mean(), summary.last.mean()
    title = f"Loop report: mean held-out accuracy {_pct(first.value)} to {_pct(last.value)}"
    sections = (_top, _skills, _heat, _weights, _failures, _lineage)
    body = "\n".join(part for part in (section(summary) for section in sections) if part)
    foot = f"<footer>frontier {__version__}. Intervals are 95%: Wilson for one rate, normal for the mean.</footer>"
    template = Template(shipped("templates/report.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body=body + foot)


def _pct(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}%"


def _breakable(name: str) -> str:
    """Gives a name as HTML that may wrap after its underscores, never inside a word."""
    return escape(name).replace("_", "_<wbr>")


def _points(change: float) -> str:
    return f"{100 * change:+.1f}".replace("-", "\N{MINUS SIGN}") + " pt"


def _trend(change: float) -> str:
    return "up" if change > 0.0005 else "down" if change < -0.0005 else "flat"


def _names(rounds: Sequence[Round]) -> list[str]:
    few = len(rounds) <= 6  # more of them stand closer than the word is wide
    return [f"round {part.number}" if few else str(part.number) for part in rounds]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, css: str = "", last_is_total: bool = False) -> str:
    """Gives a table of ready HTML cells; the first of each row is its header."""
    lines = list(rows)
    parts = [f'<div class="scroll"><table class="{css}"><thead><tr>']
    parts += [name if name.startswith("<th") else f'<th scope="col">{name}</th>' for name in head]
    parts.append("</tr></thead><tbody>")
    for index, row in enumerate(lines):
        is_total = last_is_total and index == len(lines) - 1
        parts.append(f'<tr{" class=total" if is_total else ""}><th scope="row">{row[0]}</th>')
        parts += [cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row[1:]]
        parts.append("</tr>")
    return "".join(parts) + "</tbody></table></div>"


def _fold(label: str, content: str) -> str:
    return f"<details><summary>{escape(label)}</summary>{content}</details>"


def _top(summary: LoopSummary) -> str:
    means = [part.mean() for part in summary.rounds]
    first, last = means[0], means[-1]
    change = last.value - first.value
    if len(means) == 1:
        headline = f"Mean held-out accuracy is {_pct(last.value)} after round {summary.last.number}"
    else:
        verb = {"up": "rose", "down": "fell", "flat": "stayed"}[_trend(change)]
        span = f"from {_pct(first.value)} to {_pct(last.value)}" if verb != "stayed" else f"at {_pct(last.value)}"
        headline = f"Mean held-out accuracy {verb} {span}"
    facts = [(f"{len(summary.rounds)}", "rounds evaluated"), (f"{len(summary.skills)}", "skills"),
             (f"{last.trials:,}", "questions asked")]  # fmt: skip
    shared, right, wrong = summary.paired()
    lede = f"{_pct(last.low)} to {_pct(last.high)} is the 95% interval after round {summary.last.number}."
    if len(means) > 1:
        facts.insert(0, (f'<span class="{_trend(change)}">{_points(change)}</span>', "first to last round"))
        if shared:
            lede += f" Of {shared:,} questions asked in both the first and the last round, {right:,} turned right"
            lede += f" and {wrong:,} turned wrong."
    chart = accuracy_chart(
        means, _names(summary.rounds), height=280, title=f"{headline}; figures in the table below", is_large=True
    )
    shown = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for value, label in facts)
    return (
        f'<p class="kicker">Loop report &middot; {escape(summary.folder.name or str(summary.folder))}</p>'
        f'<div class="top"><div><h1>{headline}</h1><p class="lede">{lede}</p><dl class="facts">{shown}</dl></div>'
        f'<figure style="margin:0">{chart}</figure></div>'
    )


def _skills(summary: LoopSummary) -> str:
    cards = []
    for skill in summary.skills:
        series = [part.accuracy(skill) for part in summary.rounds]
        known = [share for share in series if share is not None]
        change = known[-1].value - known[0].value
        told = ", ".join(
            f"{name} {_pct(share.value)}" for name, share in zip(_names(summary.rounds), series, strict=True) if share
        )
        chart = accuracy_chart(series, _names(summary.rounds), height=128, title=f"{skill}: {told}")
        delta = f'<span class="delta {_trend(change)}">{_points(change)}</span>' if len(known) > 1 else ""
        cards.append(
            f'<div class="card"><h3>{_breakable(skill)}</h3><div class="head"><span class="dim">'
            f"{_pct(known[-1].value)} (n={known[-1].trials})</span>{delta}</div>{chart}</div>"
        )
    return (
        "<h2>Accuracy by skill</h2>"
        '<p class="note">Held-out questions, greedy answers, judged by recomputing or by running the plan. Each panel'
        " runs from 0 to 100%; the soft bar is the 95% interval.</p>"
        f'<div class="multiples">{"".join(cards)}</div>' + _fold("The same as a table", _accuracy_table(summary))
    )


def _accuracy_table(summary: LoopSummary) -> str:
    def cell(share: Share | None) -> str:
        if share is None:
            return '<td class="dim">&ndash;</td>'
        low, high = _pct(share.low, 0).rstrip("%"), _pct(share.high, 0).rstrip("%")
        return f'<td>{_pct(share.value)} <span class="dim">{low}&ndash;{high}</span></td>'

    rows = []
    for skill in summary.skills:
        found = [part.accuracy(skill) for part in summary.rounds]
        rows.append([escape(skill), *map(cell, found), str(found[-1].trials if found[-1] else 0)])
    means = [part.mean() for part in summary.rounds]
    rows.append(["mean over skills", *map(cell, means), f"{means[-1].trials}"])
    return _table(["skill", *_names(summary.rounds), "n"], rows, last_is_total=True)


def _heat(summary: LoopSummary) -> str:
    levels = sorted({level for tag in summary.last.cells if (level := skill_and_level(tag)[1]) is not None})
    if not levels:
        return ""
    rows = []
    for skill in summary.last.skills:
        status = summary.levels.get(skill)
        cells = [_heat_cell(summary, skill, level) for level in levels]
        mastered = ", ".join(map(str, status.mastered)) if status and status.mastered else "&ndash;"
        current = f"level {status.current}" if status else "&ndash;"
        rows.append([escape(skill), *cells, f'<td class="plain">{current}</td>', f'<td class="plain">{mastered}</td>'])
    head = ["skill", *(f"level {level}" for level in levels), "working on", "mastered"]
    return (
        f"<h2>Levels after round {summary.last.number}</h2>"
        '<p class="note">Share of right answers per level, and its change since the first round in points. A level'
        " counts as mastered when the lower end of its one-sided 90% interval reaches 85%.</p>"
        + _table(head, rows, css="heat")
    )


def _heat_cell(summary: LoopSummary, skill: str, level: int) -> str:
    share, before = summary.last.accuracy(skill, level), summary.first.accuracy(skill, level)
    if share is None:
        return "<td></td>"
    change = ""
    if before is not None and len(summary.rounds) > 1:
        points = f"{100 * (share.value - before.value):+.0f}".replace("-", "\N{MINUS SIGN}")
        change = f"<small>{points}</small>"
    hint = f"{share.trials} questions, 95% interval {_pct(share.low, 0)} to {_pct(share.high, 0)}"
    return f'<td style="--a:{0.06 + 0.5 * share.value:.2f}" title="{hint}">{_pct(share.value, 0)}{change}</td>'


def _weights(summary: LoopSummary) -> str:
    rounds = summary.weight_rounds()
    if not rounds:
        return ""
    tables = {number: summary.weights(number) for number in rounds}
    moves = "".join(_move(line, factor) for line, factor in biggest_moves(summary))
    return (
        "<h2>What the policy did</h2>"
        f'<p class="note">Share of the training data by round: from round {rounds[0]} (open dot) to round {rounds[-1]}'
        " (full dot). A weight stays between 0.2 and 4 times its prior by default and moves by a bounded step a"
        " round.</p>"
        f'<div class="pair"><div><h3>Share of data by skill</h3>{_dumbbells(tables, rounds)}</div>'
        f'<div><h3>Moved most since round {rounds[0]}</h3><ol class="moves">{moves}</ol></div></div>'
        f"{_multipliers(summary, rounds)}{_reasons(summary, rounds, tables)}"
    )


def _dumbbells(tables: dict[int, dict[str, float]], rounds: Sequence[int]) -> str:
    first, last = skill_weights(tables[rounds[0]]), skill_weights(tables[rounds[-1]])
    scale = max(*first.values(), *last.values())
    rows = []
    for skill in sorted(last, key=lambda name: (-last[name], name)):
        start, end = first.get(skill, 0.0), last[skill]
        title = f"{skill}: {_pct(start)} of the data in round {rounds[0]}, {_pct(end)} in round {rounds[-1]}"
        rows.append(
            f'<span class="name">{_breakable(skill)}</span>{dumbbell(start, end, scale, title=title)}'
            f'<span class="num"><span class="dim">{_pct(start)}</span> &rarr; {_pct(end)}</span>'
        )
    return f'<div class="rows" style="margin-top:12px">{"".join(rows)}</div>'


def _move(line: PolicyLine, factor: float) -> str:
    return (
        f'<li><span class="times {_trend(factor - 1)}">&times;{factor:.2f}</span>'
        f'<div><strong>{escape(_cell_name(line.tag))}</strong><div class="why">{escape(line.reason)}</div></div></li>'
    )


def _cell_name(tag: str) -> str:
    skill, level = skill_and_level(tag)
    return skill if level is None else f"{skill} level {level}"


def _multipliers(summary: LoopSummary, rounds: Sequence[int]) -> str:
    """Gives the heat table of weight over prior, in the colours of more and less."""
    lines = {line.tag: line for line in summary.policies[rounds[-1]] if line.prior > 0}
    levels = sorted({level for tag in lines if (level := skill_and_level(tag)[1]) is not None})
    if not levels:
        return ""
    rows = []
    for skill in sorted({skill_and_level(tag)[0] for tag in lines}):
        cells = []
        for level in levels:
            line = lines.get(f"skill={skill},level={level}")
            if line is None:
                cells.append("<td></td>")
                continue
            ratio = line.weight / line.prior
            # The strength is the distance on a log scale; a factor of 4 is the full colour.
            strength = min(1.0, abs(_log4(ratio)))
            colour = "up" if ratio >= 1 else "down"
            style = f"--heat:var(--{colour}-rgb);--a:{0.03 + 0.5 * strength:.2f}"
            cells.append(f'<td style="{style}" title="{escape(line.reason, quote=True)}">&times;{ratio:.2f}</td>')
        rows.append([escape(skill), *cells])
    table = _table(["skill", *(f"level {level}" for level in levels)], rows, css="heat")
    return f'<h3 style="margin:32px 0 8px">Weight of round {rounds[-1]} as a multiple of the prior</h3>{table}'


def _log4(ratio: float) -> float:
    from math import log

    return log(max(ratio, 1e-6)) / log(4)


def _reasons(summary: LoopSummary, rounds: Sequence[int], tables: dict[int, dict[str, float]]) -> str:
    """Gives every cell's weights by round with the reason of each round, folded by skill."""
    by_tag: dict[str, list[tuple[int, PolicyLine]]] = {}
    for number, policy in summary.policies.items():
        for line in policy:
            by_tag.setdefault(line.tag, []).append((number, line))
    scale = max(max(table.values()) for table in tables.values())
    groups: dict[str, list[list[str]]] = {}
    for tag in sorted(by_tag, key=natural_order):
        values = [tables[number].get(tag, 0.0) for number in rounds]
        told = "".join(f"<p><b>Round {number}.</b> {escape(line.reason)}</p>" for number, line in by_tag[tag])
        chart = weight_line(values, scale, title=f"{tag}: " + ", ".join(map(_pct, values)))
        level = skill_and_level(tag)[1]
        row = [f"level {level}" if level is not None else "all", f'<td style="min-width:72px">{chart}</td>']
        row += [_pct(value, 2) for value in values] + [f'<td class="text reasons">{told}</td>']
        groups.setdefault(skill_and_level(tag)[0], []).append(row)
    head = ["cell", "by round", *(f"round {number}" for number in rounds), '<th scope="col" class="text">why</th>']
    folds = []
    for skill, rows in groups.items():
        title = f'{escape(skill)}<span class="dim">{len(rows)} {"cell" if len(rows) == 1 else "cells"}</span>'
        folds.append(f'<details class="group"><summary>{title}</summary>{_table(head, rows, css="why")}</details>')
    return f'<h3 style="margin:36px 0 8px">Every weight and its reason</h3>{"".join(folds)}'


def _failures(summary: LoopSummary) -> str:
    if not summary.failures:
        return ""
    counts = "".join(
        f"<tr><th scope=row>{escape(_cell_name(line.tag))}</th><td class=text><code>{escape(line.code)}</code></td>"
        f"<td>{line.num_failures} of {line.num_trials}</td></tr>"
        for line in summary.focus[:10]
    )
    frequent = (
        '<div class="scroll"><table style="max-width:640px"><thead><tr><th scope=col>cell</th>'
        "<th scope=col class=text>error</th><th scope=col>answers</th></tr></thead>"
        f"<tbody>{counts}</tbody></table></div>"
    )
    groups: dict[str, list[str]] = {}
    for item in summary.failures:
        groups.setdefault(str(item.get("skill") or "?"), []).append(_sample(item))
    folds = []
    for index, (skill, cards) in enumerate(groups.items()):
        title = f'{escape(skill)}<span class="dim">{len(cards)} shown</span>'
        content = f'<div class="samples">{"".join(cards)}</div>'
        folds.append(
            f'<details class="group"{" open" if index == 0 else ""}><summary>{title}</summary>{content}</details>'
        )
    return (
        f"<h2>What still fails after round {summary.last.number}</h2>"
        '<p class="note">The most frequent errors, then a few answers of each skill as the model gave them.</p>'
        f'{frequent}<h3 style="margin:32px 0 8px">Samples</h3>{"".join(folds)}'
    )


def _sample(item: Record) -> str:
    entries = [("question", item.get("prompt")), ("answer", item.get("answer")), ("expected", item.get("expected"))]
    shown = "".join(
        f"<dt>{label}</dt><dd><pre>{escape(str(text))}</pre></dd>" for label, text in entries if text not in (None, "")
    )
    why = f"<dt>why</dt><dd>{escape(str(item['message']))}</dd>" if item.get("message") else ""
    level = f"level {escape(str(item['level']))}" if item.get("level") is not None else ""
    return (
        f'<article class="card sample"><span class="chip fail">{escape(str(item.get("code")))}</span>'
        f' <span class="dim" style="font-size:.82rem">{level} &middot; {escape(str(item.get("item_id", "")))}</span>'
        f"<dl>{shown}{why}</dl></article>"
    )


def _lineage(summary: LoopSummary) -> str:
    counts = Counter(link.status for link in summary.lineage if not link.holds)
    wrong = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    verdict = f"{wrong}: this page's figures can't be traced through those files." if wrong else "All hashes agree."
    rows = "".join(_link(link, summary) for link in summary.lineage)
    return (
        "<h2>Lineage</h2>"
        '<p class="note">From the last evaluation back to the seeds; each file under what was made from it.'
        f" {verdict}</p>"
        f'<div class="scroll"><ul class="tree">{rows}</ul></div>'
    )


def _link(link: Link, summary: LoopSummary) -> str:
    meta = link.meta or {}
    # A source has no sidecar that names its digest, so it is taken from the file.
    digest = str(meta.get("data", {}).get("sha256") or (digest_of(link.path) if link.status == "source" else ""))[:12]
    name = relpath(link.path, summary.folder)
    stage = str(meta.get("stage", ""))
    seed = f' <span class="dim">seed {meta["seed"]}</span>' if meta.get("seed") is not None else ""
    return (
        f'<li><span class="file" style="--depth:{link.depth}">{escape(name)}{seed}</span>'
        f'<span class="dim">{escape(stage)}</span><code class="dim">{escape(digest)}</code>'
        f'<span class="chip {link.status}">{link.status}</span></li>'
    )
