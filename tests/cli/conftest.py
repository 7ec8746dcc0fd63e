"""Runs commands in process: exit code, stdout and stderr apart, from a folder of the test's own."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

import pytest

from frontier_cli.main import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        return next((line for line in self.err.splitlines() if line.startswith("error: ")), "")


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    """`run("synth gen -n 3", stdin="...")` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    def call(line: str | list[str], stdin: str | bytes = b"") -> Done:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
        capfd.readouterr()
        code = main(line.split() if isinstance(line, str) else line)
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return call
