"""Verdicts on disk: found again, whole or not at all, one owner or many."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontier_core.errors import DataError, EnvironmentMissing, UsageError
from frontier_ops.verify_journal import VerdictFile, verdict_key
from validators.base import ACCEPTED, Finding, Verdict, reject

KEY = "00112233445566778899aabbccddeeff"
OTHER = "ff112233445566778899aabbccddeeff"
REFUSED = Verdict(
    findings=(Finding(code="wrong_file", message="out is 'é\\n'", pointer="/expect/files/out", remedy="mend it"),),
    details={"status": "ok", "exit_code": 0, "stdout": "\u0000\n\ufffd", "steps": [{"step": 0}], "wall_s": 0.25},
)


def kept(path: Path, *, is_shared: bool = False) -> VerdictFile:
    return VerdictFile(path, is_shared=is_shared)


def test_a_verdict_comes_back_as_it_was(tmp_path):
    file = kept(tmp_path / "j")
    file.add(KEY, REFUSED)
    file.add(OTHER, ACCEPTED)
    assert (file.find(KEY), file.find(OTHER), file.find("0" * 32)) == (REFUSED, ACCEPTED, None)
    file.close()
    again = kept(tmp_path / "j")
    assert (len(again), again.find(KEY), again.find(OTHER)) == (2, REFUSED, ACCEPTED)
    again.close()


def test_each_line_is_the_key_and_the_whole_verdict(tmp_path):
    file = kept(tmp_path / "j")
    file.add(KEY, reject("nonzero", "step 1 failed", pointer="/output/0", remedy="run it", status="nonzero"))
    file.close()
    assert (tmp_path / "j").read_bytes() == (
        b'{"key":"00112233445566778899aabbccddeeff","verdict":{"findings":[{"code":"nonzero","message":"step 1 failed",'
        b'"pointer":"/output/0","severity":"error","remedy":"run it"}],"details":{"status":"nonzero"}}}\n'
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_goes_on(tmp_path, cut):
    path = tmp_path / "j"
    path.unlink(missing_ok=True)
    file = kept(path)
    file.add(KEY, ACCEPTED)
    first = path.stat().st_size
    file.add(OTHER, REFUSED)
    file.close()
    os.truncate(path, min(cut, path.stat().st_size))
    is_first_whole = path.stat().st_size >= first
    file = kept(path)
    assert file.find(KEY) == (ACCEPTED if is_first_whole else None)
    file.add(OTHER, REFUSED)
    assert file.find(OTHER) == REFUSED
    file.close()
    for line in path.read_text().splitlines():
        assert set(json.loads(line)) == {"key", "verdict"}


def test_a_line_another_process_tore_costs_only_itself(tmp_path):
    path = tmp_path / "cache"
    mine = kept(path, is_shared=True)
    with path.open("ab") as torn:
        torn.write(b'{"key":"' + OTHER.encode() + b'","verdict":{"find')
    mine.add(KEY, REFUSED)  # closes the torn line first
    mine.close()
    again = kept(path, is_shared=True)
    assert (again.find(KEY), again.find(OTHER)) == (REFUSED, None)
    again.close()


@pytest.mark.parametrize("text", [b'{"messages":[]}\n', b"notes without a newline", b"\n\n"])
@pytest.mark.parametrize("is_shared", [True, False])
def test_a_file_that_is_something_else_is_refused_and_left_alone(tmp_path, text, is_shared):
    (tmp_path / "mine").write_bytes(text)
    with pytest.raises(DataError, match="mine: is no file of verdicts"):
        kept(tmp_path / "mine", is_shared=is_shared)
    assert (tmp_path / "mine").read_bytes() == text


def test_a_second_owner_is_refused_until_the_first_is_gone(tmp_path):
    first = kept(tmp_path / "out.jsonl.journal")
    with pytest.raises(EnvironmentMissing, match=r"out\.jsonl: another run writes it$"):
        kept(tmp_path / "out.jsonl.journal")
    first.remove()
    assert list(tmp_path.iterdir()) == []
    kept(tmp_path / "out.jsonl.journal").close()


def test_a_journal_of_nothing_leaves_no_file(tmp_path):
    kept(tmp_path / "j").close()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owner_holds_nothing(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from frontier_ops.verify_journal import VerdictFile\n"
        "from validators.base import ACCEPTED\n"
        "VerdictFile(Path(sys.argv[1]), is_shared=False).add(sys.argv[2], ACCEPTED)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "j"), KEY], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    file = kept(tmp_path / "j")
    assert file.find(KEY) == ACCEPTED
    file.close()


def _append_many(path: str, start: int) -> None:
    file = VerdictFile(Path(path), is_shared=True)
    for number in range(start, start + 200):
        file.add(f"{number:032x}", reject("nonzero", "x" * (number % 700)))
    file.close()


def test_processes_append_to_one_cache_at_once_and_no_line_is_torn(tmp_path):
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "cache"
    workers = [context.Process(target=_append_many, args=(str(path), start)) for start in (0, 1000, 2000)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(path.read_text().splitlines()) == 600
    cache = kept(path, is_shared=True)
    assert len(cache) == 600
    assert cache.find(f"{1199:032x}").message == "x" * (1199 % 700)
    cache.close()


def test_threads_append_at_once_and_find_their_own(tmp_path):
    file = kept(tmp_path / "j")

    def work(start):
        for number in range(start, start + 100):
            file.add(f"{number:032x}", reject("code", str(number)))
            assert file.find(f"{number:032x}").message == str(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file) == 300
    file.close()


def test_a_full_disk_is_said_and_leaves_no_half_line(tmp_path):
    program = (
        "import resource, signal, sys; from pathlib import Path; from frontier_ops.verify_journal import VerdictFile\n"
        "from frontier_core.errors import FrontierError; from validators.base import reject\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "file = VerdictFile(Path(sys.argv[1]), is_shared=False)\n"
        "file.add('00' * 16, reject('a', 'x' * 700))\n"
        "try: file.add('11' * 16, reject('b', 'x' * 700))\n"
        "except FrontierError as error: print(error.exit_code, error.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "j"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("3 j: File too large\n", "")
    assert (tmp_path / "j").read_bytes().count(b"\n") == 1
    assert (tmp_path / "j").read_bytes().endswith(b"}\n")


def test_a_device_is_no_cache():
    with pytest.raises(UsageError, match="/dev/full: is no regular file"):
        kept(Path("/dev/full"), is_shared=True)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="the folder does not exist"):
        kept(tmp_path / "missing" / "cache")


PLAN = {
    "instruction": "do it",
    "output": [{"command": "ls"}],
    "fixture": {"files": {"a": {"text": "1"}}},
    "metadata": {"skill": "shell_test", "tool_set": ["git"], "seed": 1, "index": 2, "lineage": ["gen:x@1"]},
}


def test_a_key_hangs_on_what_is_judged_and_on_the_judge():
    key = verdict_key(PLAN, b"judge")
    assert len(key) == 32
    same = PLAN | {"metadata": PLAN["metadata"] | {"seed": 9, "index": 9, "notes": "other", "lineage": []}}
    assert verdict_key(same, b"judge") == key
    others = [
        PLAN | {"output": [{"command": "ls -a"}]},
        PLAN | {"fixture": {"files": {"a": {"text": "2"}}}},
        PLAN | {"expect": {"exit_code": 1}},
        PLAN | {"metadata": PLAN["metadata"] | {"tool_set": []}},
        PLAN | {"metadata": PLAN["metadata"] | {"domain": "git"}},
    ]
    assert len({key, verdict_key(PLAN, b"another"), *(verdict_key(other, b"judge") for other in others)}) == 7
