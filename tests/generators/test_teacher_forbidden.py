"""Forbidden patterns: found as `re` finds them, and never longer than the deadline."""

import re
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generators.teachers.forbidden import Forbidden, PatternTimeout

PATTERNS = (re.compile(r"\bsudo\b"), re.compile(r"^rm\b.*", re.MULTILINE | re.IGNORECASE))
SEARCH = Forbidden(PATTERNS)


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["ls\n", "RM -r x", "sudo", "su do", "\U0001f914", "\ud800", "\x00"]), max_size=4))
def test_the_process_finds_what_searching_here_finds(texts):
    found = [match[0] for each in PATTERNS for text in texts if (match := each.search(text))]
    assert SEARCH.find(texts) == (found[0] if found else None)


def test_without_patterns_no_process_is_started(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    assert Forbidden(()).find(["x"]) is None


def test_a_pattern_out_of_time_is_named_and_the_next_search_works(monkeypatch):
    monkeypatch.setattr("generators.teachers.forbidden.DEADLINE_S", 0.2)
    search = Forbidden((re.compile("x"), re.compile("(a+)+b")))
    for _ in range(2):
        with pytest.raises(PatternTimeout, match=r"'\(a\+\)\+b' took more than 0\.2 s"):
            search.find(["a" * 40 + "!"])
        assert search.find(["ab"]) == "ab"


_HANGS = """
import re
from generators.teachers import forbidden
forbidden.DEADLINE_S = 30.0
search = forbidden.Forbidden((re.compile("x"), re.compile("(a+)+b")))
search.find(["y"])
print("ready", flush=True)
search.find(["a" * 40 + "!"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_search(number):
    process = subprocess.Popen(
        [sys.executable, "-c", _HANGS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(timeout=10) == -number
