"""Two runs of a plan: what may differ, and what may not."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.determinism import difference, finding, masked
from validators.sandbox.contract import Outcome


def ended(stdout: str = "", status: str = "ok", changes: tuple[dict[str, Any], ...] = (), **more: Any) -> Outcome:
    stream = {"text": stdout, "sha256": sha256(stdout.encode()).hexdigest()}
    return Outcome(status=status, backend="x", stdout=stream, changes=changes, num_changes=len(changes), **more)


def changed(path: str, sha: str = "a", mode: str = "0644", kind: str = "file") -> dict[str, Any]:
    return {"path": path, "change": "added", "kind": kind, "mode": mode, "size": len(sha), "sha256": sha, "target": ""}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("made 2024-05-06T07:08:09.123Z", "made <date>"),
        ("made 2024-05-06 07:08:09 +0000", "made <date>"),
        ("Fri Nov 20 19:29:38 UTC 2026", "<date> <time> UTC 2026"),
        ("-rw-r--r-- 1 user user 6 Nov 20 19:29 f", "-rw-r--r-- 1 user user 6 <date> <time> f"),
        ("real\t0m0.003s", "real\t<span>"),
        ("took 1.25 ms", "took <span>"),
        ("epoch 1700000000", "epoch <time>"),
        ("[1] 4711", "[1] <pid>"),
        ("pid 4711", "pid <pid>"),
        ("/tmp/tmp.aB3dE6fG9h", "<tmp>"),
        ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "commit <hex>"),
        ("123e4567-e89b-12d3-a456-426614174000", "<hex>"),
    ],
)
def test_what_differs_between_honest_runs_is_masked(text: str, same: str) -> None:
    assert masked(text) == same


@pytest.mark.parametrize("text", ["42", "3 files", "version 1.2.3", "sum 1234567", "decade", "10.0.0.1", "a-b_c.txt"])
def test_results_are_not_masked(text: str) -> None:
    assert masked(text) == text


@given(st.text(max_size=80))
def test_masking_a_masked_text_changes_nothing(text: str) -> None:
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (ended("a\n"), ended("a\n"), ""),
        (ended("at 10:00:01\n"), ended("at 10:00:02\n"), ""),
        (ended("a\nb\n"), ended("b\na\n"), "line 1 of stdout is 'a', then 'b'"),
        (ended("a\n"), ended("a\nb\n"), "stdout has 1 lines, then 2"),
        (ended(), ended(status="nonzero", exit_code=1), "ended ok (0), then nonzero (1)"),
        (ended(changes=(changed("a.tgz", "1"),)), ended(changes=(changed("a.tgz", "2"),)), ""),
        (ended(changes=(changed("a.txt", "1"),)), ended(changes=(changed("a.txt", "2"),)),
         "a.txt ended with another content"),
        (ended(changes=(changed("a", mode="0600"),)), ended(changes=(changed("a"),)), "a ended with another mode"),
        (ended(changes=(changed("a"),)), ended(), "a changed in one run only"),
        (ended(changes=(changed("tmp.aaaaaaaaaa"),)), ended(changes=(changed("tmp.bbbbbbbbbb"),)), ""),
        (ended(changes=(changed("r/.git/index", "1"),)), ended(changes=(changed("r/.git/index", "2"),)), ""),
    ],
)  # fmt: skip
def test_difference_of_two_runs_is_told_in_words(first: Outcome, second: Outcome, words: str) -> None:
    assert difference(first, second) == words


def test_finding_is_named_and_says_what_to_do() -> None:
    [found] = finding(ended("1\n"), ended("2\n"))
    assert (found.code, found.severity) == ("nondeterministic", "error")
    assert found.message == "two runs differ: line 1 of stdout is '1', then '2'"
    assert finding(ended("1\n"), ended("1\n")) == []
