"""What a stage may write over: never what it reads, never one file twice, never a file that is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from frontier_core.errors import UsageError
from frontier_core.jsonl import write_records
from frontier_core.rejects import reject_record
from frontier_ops.stage_files import StageWriter, Target

RECORD = {"messages": [{"role": "user", "content": "a"}], "metadata": {"skill": "x"}}


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = str(tmp_path / "in.jsonl")
    write_records(path, [RECORD])
    return path


def run(source: str, target: Target, *, rejects: bool = False) -> None:
    with StageWriter(target, "test", [source], judges=True) as writer:
        writer.accept(RECORD)
        if rejects:
            writer.reject(reject_record(b"{}", path=source, line=1, code="bad", message="is bad"))


@pytest.mark.parametrize(("output", "rejects"), [("in.jsonl", ""), ("out.jsonl", "in.jsonl"), ("o.jsonl", "o.jsonl")])
def test_a_file_named_twice_is_refused_before_anything_is_written(
    tmp_path: Path, source: str, output: str, rejects: str
) -> None:
    before = Path(source).read_bytes()
    target = Target(output=str(tmp_path / output), rejects=str(tmp_path / rejects) if rejects else "")
    with pytest.raises(UsageError, match="is used twice"):
        run(source, target)
    assert Path(source).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_rejects_of_an_earlier_run_go_when_there_are_none_now(tmp_path: Path, source: str) -> None:
    target = Target(output=str(tmp_path / "out.jsonl"))
    run(source, target, rejects=True)
    assert (tmp_path / "out.rejects.jsonl").exists()
    run(source, target)
    assert not (tmp_path / "out.rejects.jsonl").exists()


def test_a_file_that_holds_no_rejects_is_not_removed(tmp_path: Path, source: str) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine\n")
    run(source, Target(output=str(tmp_path / "out.jsonl"), rejects=str(precious)))
    assert precious.read_text() == "mine\n"


def test_rejects_in_a_folder_that_is_not_there_are_refused_at_once(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError, match="the folder does not exist"):
        run(source, Target(output=str(tmp_path / "out.jsonl"), rejects=str(tmp_path / "no" / "r.jsonl")))


def test_a_device_may_be_named_twice(source: str) -> None:
    run(source, Target(output="/dev/null", rejects="/dev/null"), rejects=True)
