"""A person's decisions: kept as they are made, by the record's content, applied in the file's order."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import read_records, write_records
from frontier_ops import review
from frontier_ops.stage_files import Target

FRONTIER = str(Path(sys.executable).with_name("frontier"))


def record(asked: str, *, asks: bool = True) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": f"about {asked}"}]
    return {"messages": turns, "metadata": {"skill": "law", **({"review": "yes"} if asks else {})}}


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = str(tmp_path / "taught.jsonl")
    write_records(path, [record("one"), record("plain", asks=False), record("two"), record("three")])
    return path


def journal(source: str) -> review.Journal:
    return review.Journal(review.journal_of(source))


def prompts(path: Path) -> list[str]:
    return [line["messages"][0]["content"] for line in read_records(str(path))]


def test_only_records_that_ask_are_shown(source: str) -> None:
    assert [(item.line, item.record["messages"][0]["content"]) for item in review.items(source)] == [
        (1, "one"),
        (3, "two"),
        (4, "three"),
    ]
    assert len(list(review.items(source, everything=True))) == 4


def test_decisions_are_applied_in_the_files_order(source: str, tmp_path: Path) -> None:
    held = journal(source)
    one, two, three = review.items(source)
    held.add(three, "accept", reviewer="kim")
    held.add(one, "edit", reviewer="kim", record=record("one, better"))
    held.add(two, "reject", reviewer="kim", reason="wrong law")
    result = review.apply(source, Target(output=str(tmp_path / "out.jsonl")), journal(source))
    assert prompts(tmp_path / "out.jsonl") == ["one, better", "plain", "three"]
    assert (result.num_out, result.num_rejected, result.unverified) == (3, 1, {})
    kept = next(iter(read_records(str(tmp_path / "out.rejects.jsonl"))))
    assert (kept["line"], kept["code"], kept["message"]) == (
        3,
        "rejected_by_review",
        "rejected by kim: wrong law",
    )
    about = next(iter(read_records(str(tmp_path / "out.jsonl"))))["metadata"]["review"]
    assert (about["decision"], about["reviewer"], about["at"][-6:]) == ("edit", "kim", "+00:00")


def test_undecided_records_are_left_out_and_counted(source: str, tmp_path: Path) -> None:
    result = review.apply(source, Target(output=str(tmp_path / "out.jsonl")), journal(source))
    assert prompts(tmp_path / "out.jsonl") == ["plain"]
    assert result.unverified == {"waits for a review": 3}


def test_decision_taken_back_is_open_again(source: str) -> None:
    held = journal(source)
    item = next(review.items(source))
    held.add(item, "accept", reviewer="kim")
    held.forget(item)
    assert held[item.key] is None
    assert journal(source)[item.key] is None


def test_torn_last_decision_is_open_again(source: str) -> None:
    held = journal(source)
    first, second, _ = review.items(source)
    held.add(first, "accept", reviewer="kim")
    with open(held.path, "ab") as file:
        file.write(b'{"key": "' + second.key.encode()[:10])
    again = journal(source)
    again.add(second, "reject", reviewer="kim", reason="no")
    assert [d.decision for item in (first, second) if (d := journal(source)[item.key])] == ["accept", "reject"]


def test_rejection_without_a_reason_and_broken_edits_are_refused(source: str) -> None:
    held = journal(source)
    item = next(review.items(source))
    with pytest.raises(UsageError, match="needs a reason"):
        held.add(item, "reject", reviewer="kim", reason=" ")
    with pytest.raises(UsageError, match="who decides"):
        held.add(item, "accept", reviewer="")
    with pytest.raises(DataError):
        held.add(item, "edit", reviewer="kim", record={"messages": []})
    assert held[item.key] is None


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_sheet_filled_in_elsewhere_comes_back(source: str, tmp_path: Path, suffix: str) -> None:
    sheet = tmp_path / f"sheet.{suffix}"
    assert review.export(source, str(sheet), journal(source)) == 3
    text = sheet.read_bytes().decode()
    if suffix == "csv":
        lines = text.split("\r\n")
        lines[1] = lines[1].replace("about one,,,", "about one,accept,,")
        lines[3] = lines[3].replace("about three,,,", "about three,reject,too long,")
        text = "\r\n".join(lines)
    else:
        filled = [json.loads(line) for line in text.splitlines()]
        filled[0]["decision"] = "accept"
        filled[2] |= {"decision": "Reject", "reason": "too long"}
        text = "".join(json.dumps(line) + "\n" for line in filled)
    sheet.write_text(text, newline="")
    assert review.import_decisions(str(sheet), source, journal(source), reviewer="kim") == 2
    assert review.import_decisions(str(sheet), source, journal(source), reviewer="kim") == 0
    decided = [journal(source)[item.key] for item in review.items(source)]
    assert [(d.decision, d.reason, d.reviewer) if d else None for d in decided] == [
        ("accept", "", "kim"),
        None,
        ("reject", "too long", "kim"),
    ]


def test_sheet_of_a_spreadsheet_with_semicolons_is_read(source: str, tmp_path: Path) -> None:
    item = next(review.items(source))
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"key;line;decision;reason;reviewer;record\n{item.key};1;accept;;;\n")
    assert review.import_decisions(str(sheet), source, journal(source), reviewer="kim") == 1
    sheet.write_text("key;what\nx;y\n")
    with pytest.raises(DataError, match="lacks the column 'decision'"):
        review.import_decisions(str(sheet), source, journal(source), reviewer="kim")


def test_sheet_with_a_mistake_decides_nothing(source: str, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.jsonl"
    review.export(source, str(sheet), journal(source))
    lines = [json.loads(line) for line in sheet.read_text().splitlines()]
    lines[0]["decision"], lines[1]["decision"] = "accept", "acept"
    sheet.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match="unknown decision 'acept'") as caught:
        review.import_decisions(str(sheet), source, journal(source), reviewer="kim")
    assert (caught.value.line, caught.value.hint) == (2, "did you mean 'accept'?")
    assert all(journal(source)[item.key] is None for item in review.items(source))


class Terminal:
    """The command in a real terminal: what it shows, and keys to press."""

    def __init__(self, *arguments: str, editor: str = "false") -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"EDITOR": editor, "VISUAL": "", "TERM": "xterm"}
            os.execv(FRONTIER, [FRONTIER, *arguments])
        self.shown = ""

    def until(self, text: str) -> None:
        while text not in self.shown:
            ready, _, _ = select.select([self.fd], [], [], 30)
            assert ready, f"waited for {text!r}, saw {self.shown!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            assert data, f"ended before {text!r}: {self.shown!r}"
            self.shown += data.decode()
        self.shown = self.shown.partition(text)[2]

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def end(self) -> int:
        while True:
            try:
                if not os.read(self.fd, 4096):
                    break
            except OSError:
                break
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_keys_decide_in_a_terminal_and_a_stopped_review_goes_on(source: str, tmp_path: Path) -> None:
    first = Terminal("synth", "review", source, "--reviewer", "kim")
    first.until("-- 1 of 3, line 1  skill=law")
    first.until("[q]uit")
    first.press("a")
    first.until("-- 2 of 3")
    first.until("[q]uit")
    first.press("q")
    assert first.end() == 1

    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/about three/about 3/" "$1"\n')
    editor.chmod(0o755)
    again = Terminal(
        "synth", "review", source, "--reviewer", "kim", "-o", str(tmp_path / "o.jsonl"), editor=str(editor)
    )
    again.until("-- 2 of 3")
    again.until("[q]uit")
    again.press("r")
    again.until("reason: ")
    again.press("no such law\n")
    again.until("-- 3 of 3")
    again.until("[q]uit")
    again.press("e")
    assert again.end() == 0
    answers = [line["messages"][1]["content"] for line in read_records(str(tmp_path / "o.jsonl"))]
    assert answers == ["about one", "about plain", "about 3"]


def test_back_opens_the_last_decision_again(source: str) -> None:
    terminal = Terminal("synth", "review", source, "--reviewer", "kim")
    for key, place in (("a", "1 of 3"), ("b", "2 of 3"), ("a", "1 of 3"), ("q", "2 of 3")):
        terminal.until(f"-- {place}")
        terminal.until("[q]uit")
        terminal.press(key)
    assert terminal.end() == 1
    decisions = [line["decision"] for line in read_records(str(review.journal_of(source)))]
    assert decisions == ["accept", "undo", "accept"]


def test_without_a_terminal_the_way_out_is_a_sheet(source: str) -> None:
    done = subprocess.run(
        [FRONTIER, "synth", "review", source], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == ("error: a review needs a terminal\nhint: --export SHEET, fill it in, --import SHEET\n")
