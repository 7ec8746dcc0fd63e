"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from frontier_core import atomic
from frontier_core.atomic import AtomicFile, drop_unfinished, write_bytes


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
