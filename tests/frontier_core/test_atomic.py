"""Files that appear whole or not at all."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from frontier_core import atomic
from frontier_core.atomic import AtomicFile, drop_unfinished, sweep_temps, write_bytes


def test_file_appears_at_the_commit(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "out") as file:
        file.write(b"half")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"half"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_equal_bytes_keep_the_old_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "out", b"same")
    before = (tmp_path / "out").stat()
    write_bytes(tmp_path / "out", b"same")
    after = (tmp_path / "out").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_file_interrupted_before_anything_holds_it_is_removed_at_the_end(tmp_path: Path) -> None:
    done = AtomicFile(tmp_path / "done")
    done.commit()
    lost = AtomicFile(tmp_path / "lost")  # a signal struck before its `with`
    drop_unfinished()
    assert [path.name for path in tmp_path.iterdir()] == ["done"]
    lost.abort()


def test_signal_while_the_file_is_opened_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def interrupted(path: Path, mode: str) -> None:
        real(path, mode).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.Path, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AtomicFile(tmp_path / "out")
    drop_unfinished()
    assert list(tmp_path.iterdir()) == []


def killed_writers_temp(folder: Path, name: str) -> Path:
    """A temp file as a process leaves it that is killed while it writes `name`."""
    program = (
        "import os, signal, sys; from pathlib import Path; from frontier_core.atomic import AtomicFile\n"
        "AtomicFile(Path(sys.argv[1])).write(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder / name)], check=False, timeout=60)
    (temp,) = folder.glob(f".{name}.*.tmp")
    return temp


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    temp = killed_writers_temp(tmp_path, "out.jsonl")
    other = killed_writers_temp(tmp_path, "out.jsonl.gz")  # another target's: none of our business
    write_bytes(tmp_path / "out.jsonl", b"new")
    assert not temp.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([other.name, "out.jsonl"])


def test_the_temp_file_of_a_living_writer_stays(tmp_path: Path) -> None:
    elsewhere = killed_writers_temp(tmp_path, "out")  # its pid is dead here; its lock says it lives on another machine
    (tmp_path / f".out.{os.getpid()}.tmp").write_bytes(b"at work")
    with elsewhere.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert sweep_temps(tmp_path / "out") == []
    assert sweep_temps(tmp_path / "out") == [elsewhere]
    assert [path.name for path in tmp_path.iterdir()] == [f".out.{os.getpid()}.tmp"]


def test_names_that_only_look_alike_are_left_alone(tmp_path: Path) -> None:
    for name in (".out.tmp", ".out.notes.tmp", ".out.12x.tmp", ".outer.999999999.tmp", "out.999999999.tmp"):
        (tmp_path / name).touch()
    (tmp_path / ".out.999999998.tmp").mkdir()
    assert sweep_temps(tmp_path / "out") == []


def test_a_folder_is_replaced_in_one_exchange_or_in_two_renames_where_that_is_not_offered(tmp_path, monkeypatch):
    for number, can_exchange in enumerate((True, False)):
        if not can_exchange:
            monkeypatch.setattr(atomic, "exchange", lambda *_: False)
        for name, text in (("target", "old"), (".temp", "new")):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "file").write_text(f"{text}{number}")
        atomic.commit_dir(tmp_path / ".temp", tmp_path / "target")
        assert (tmp_path / "target" / "file").read_text() == f"new{number}"
        assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_names_can_not_be_exchanged_where_one_is_missing_or_the_system_has_no_such_call(tmp_path, monkeypatch):
    import ctypes

    assert not atomic.exchange(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not atomic.exchange(tmp_path / "a", tmp_path / "b")
