"""The report says what the loop's files say, in one page that needs nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest

from curriculum.ingest import ingest
from curriculum.reweight import reweight
from frontier_core.domains import Domain
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import write_records
from frontier_core.lineage import write_sidecar
from frontier_core.records import wilson_interval
from frontier_ops.report import align, collect, render_html, summary_rows
from frontier_ops.report_data import biggest_moves

DOMAINS = [Domain(name="a", skill="binary", levels=(1, 2)), Domain(name="s", skill="syllo", levels=(1,), weight=2.0)]
NASTY = '<script>alert("x")</script> & $body ${title}'
# hits of 20 per round and cell
HITS = {"skill=binary,level=1": (10, 15, 20), "skill=binary,level=2": (0, 5, 10), "skill=syllo,level=1": (2, 2, 2)}


def items(number: int) -> list[dict[str, Any]]:
    made = []
    for tag, hits in HITS.items():
        skill, level = tag.removeprefix("skill=").split(",level=")
        for index in range(20):
            is_right = index < hits[number]
            code = "ok" if is_right else ("bad_json", "wrong_answer", "wrong_answer")[index % 3]
            made.append(
                {"kind": "eval_item", "run_id": f"r{number}", "step": 9, "round": number, "tag": tag, "skill": skill,
                 "level": int(level), "item_id": f"{tag}/{index}", "correct": is_right, "code": code, "prompt": NASTY,
                 "answer": NASTY, "expected": "12", "message": "" if is_right else "expected <12>"}
            )  # fmt: skip
    return made


def events(number: int) -> list[dict[str, Any]]:
    key = {"run_id": f"r{number}", "step_from": 1, "step_to": 9, "metric": "loss", "n": 10, "round": number}
    return [key | {"tag": tag, "sum": 20.0 - 5 * number, "sum_sq": 41.0 - 18 * number, "tokens": 500} for tag in HITS]


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """Two reweighted rounds, with sidecars from the last evaluation back to the first data."""
    folder = tmp_path / "out"
    previous = telemetry = None
    for number in range(3):
        here = folder / f"round{number}"
        (here / "run").mkdir(parents=True)
        inputs = []
        if telemetry is not None:
            policy = here / "policy.jsonl"
            write_records(policy, reweight(telemetry, DOMAINS, previous))
            write_sidecar(policy, stage="reweight", inputs=[telemetry], argv=[])
            previous, inputs = policy, [policy]
        write_records(here / "data.jsonl", [{"n": number}])
        write_sidecar(here / "data.jsonl", stage="synth gen", inputs=inputs, seed=7, argv=[])
        write_records(here / "run" / "events.jsonl", events(number))
        write_sidecar(here / "run", stage="train", inputs=[here / "data.jsonl"], argv=[])
        write_records(here / "eval.jsonl", items(number))
        write_sidecar(here / "eval.jsonl", stage="eval", inputs=[here / "run"], argv=[])
        telemetry = here / "telemetry.jsonl"
        lines = ingest([here / "run", here / "eval.jsonl"], on_note=lambda _: None)
        write_records(telemetry, (line.to_record() for line in lines))
        write_sidecar(telemetry, stage="telemetry ingest", inputs=[here / "run", here / "eval.jsonl"], argv=[])
    return folder


def test_the_figures_are_those_of_the_files(loop: Path) -> None:
    summary = collect(loop)
    assert [part.number for part in summary.rounds] == [0, 1, 2]
    assert [part.accuracy("binary")[0] for part in summary.rounds] == [0.25, 0.5, 0.75]
    assert summary.last.accuracy("binary", 2)[1:3] == wilson_interval(10, 20)
    assert [round(part.mean().value, 3) for part in summary.rounds] == [0.175, 0.3, 0.425]
    assert summary.paired() == (60, 20, 0)
    assert [part.loss["skill=syllo,level=1"].mean for part in summary.rounds] == [2.0, 1.5, 1.0]
    assert (summary.levels["binary"].mastered, summary.levels["binary"].current) == ((1,), 2)
    assert summary.weight_rounds() == [0, 1, 2]
    assert summary.weights(0) == {
        "skill=binary,level=1": 1 / 6,
        "skill=binary,level=2": 1 / 6,
        "skill=syllo,level=1": 2 / 3,
    }


def test_the_terminal_table_has_a_row_per_skill_and_the_mean(loop: Path) -> None:
    rows = summary_rows(collect(loop))
    assert rows[0] == ["skill", "round 0", "round 1", "round 2", "n", "data 0", "data 1", "data 2"]
    assert [row[0] for row in rows[1:]] == ["binary", "syllo", "mean over skills"]
    assert rows[1][1:5] == [" 25.0% (14-40)", " 50.0% (35-65)", " 75.0% (60-86)", "40"]
    lines = align(rows)
    assert {len(line) for line in lines[:3]} == {len(lines[0])}


def test_the_biggest_moves_come_first(loop: Path) -> None:
    moves = biggest_moves(collect(loop))
    sizes = [max(factor, 1 / factor) for _, factor in moves]
    assert sizes == sorted(sizes, reverse=True)
    assert all(line.reason for line, _ in moves)


def test_failures_show_each_error_pattern_before_a_second_of_one(loop: Path) -> None:
    shown = [(item["skill"], item["code"]) for item in collect(loop).failures]
    assert shown == [
        ("binary", "wrong_answer"),
        ("binary", "bad_json"),
        ("binary", "wrong_answer"),
        ("syllo", "wrong_answer"),
        ("syllo", "bad_json"),
        ("syllo", "wrong_answer"),
    ]


class Balance(HTMLParser):
    """Checks that every element that is opened is closed, in order."""

    void = ("meta", "wbr", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_nothing_of_the_outside(loop: Path) -> None:
    page = render_html(collect(loop))
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert not {"script", "link", "img", "iframe"} & set(parser.seen)
    assert not re.search(r"https?://|url\(|@import|\bon\w+=|\bsrc=", page)
    assert "prefers-color-scheme: dark" in page


def test_the_page_escapes_what_the_files_hold(loop: Path) -> None:
    page = render_html(collect(loop))
    assert "<script>" not in page
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; $body ${title}" in page
    assert "expected &lt;12&gt;" in page


def test_the_page_names_the_change_every_reason_and_every_chart(loop: Path) -> None:
    summary = collect(loop)
    page = render_html(summary)
    assert "Mean held-out accuracy rose from 17.5% to 42.5%" in page
    assert "Of 60 questions asked in both the first and the last round, 20 turned right and 0 turned wrong." in page
    for policy in summary.policies.values():
        assert all(line.reason in page for line in policy)
    assert page.count("<svg") == page.count("<title>") - 1 == page.count('role="img"')


def test_lineage_goes_back_to_the_first_data_and_shows_what_changed(loop: Path) -> None:
    assert "All hashes agree." in render_html(collect(loop))
    with (loop / "round0" / "data.jsonl").open("a") as file:
        file.write("{}\n")
    summary = collect(loop)
    assert {str(link.path.relative_to(loop)): link.status for link in summary.lineage}["round0/data.jsonl"] == "changed"
    page = render_html(summary)
    assert "1 changed: this page" in page
    digest = orjson.loads((loop / "round2" / "eval.jsonl.meta.json").read_bytes())["data"]["sha256"]
    assert digest[:12] in page


def test_the_same_files_give_the_same_page(loop: Path) -> None:
    assert render_html(collect(loop)) == render_html(collect(loop))


def test_one_evaluation_alone_is_enough(tmp_path: Path) -> None:
    write_records(tmp_path / "eval.jsonl", items(1))
    (tmp_path / "loop" / "round0").mkdir(parents=True)
    (tmp_path / "eval.jsonl").rename(tmp_path / "loop" / "round0" / "eval.jsonl")
    summary = collect(tmp_path / "loop")
    assert "Mean held-out accuracy is 30.0% after round 0" in render_html(summary)
    assert summary_rows(summary)[0] == ["skill", "round 0", "n"]


def test_a_folder_without_rounds_and_a_bad_line_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        collect(tmp_path / "none")
    with pytest.raises(UsageError, match=r"holds no round\*/eval.jsonl"):
        collect(tmp_path)
    (tmp_path / "round0").mkdir()
    write_records(tmp_path / "round0" / "eval.jsonl", [*items(0), {"kind": "eval_item"}])
    with pytest.raises(DataError, match=r"eval.jsonl:61 /correct: is missing"):
        collect(tmp_path)
    write_records(tmp_path / "round0" / "eval.jsonl", events(0))
    with pytest.raises(DataError, match=r"eval.jsonl:1: is no evaluation item"):
        collect(tmp_path)
