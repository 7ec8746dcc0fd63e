"""A record whose own words are wrong is not judged, and is told what to mend in a record's words."""

# ruff: noqa: E501 (one case a line reads better than wrapped ones)
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.execution_gate import judge_plan
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Sandbox
from validators.schema_gate import SchemaGate


@pytest.fixture(scope="module", params=["native-ns", pytest.param("docker-ns", marks=pytest.mark.docker)])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        opened = open_sandbox(request.param)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


WEB = {"name": "web", "argv": ["sleep", "60"]}

FIXTURES: dict[str, tuple[dict[str, Any], str]] = {
    "file above a file": ({"files": {"a": {"text": ""}, "a/b": {"text": ""}}}, "a/b: a is a file, so it can hold nothing"),
    "file above a folder": ({"files": {"a": {}}, "dirs": {"a/b/c": {}}}, "a/b/c: a is a file, so it can hold nothing"),
    "folder that is a file": ({"files": {"a": {}}, "dirs": {"a": {}}}, "a: a is a file, so it can hold nothing"),
    "file that is a folder": ({"files": {"a/b": {}, "a": {}}}, "a: a folder is there already, so it can't be a file"),
    "link onto a file": ({"files": {"a": {}}, "symlinks": {"a": "b"}}, "a: something is there already, so it can't be a link"),
    "base64": ({"files": {"a": {"base64": "?"}}}, "a: this is no base64"),
    "size": ({"files": {"a": {"size": 10**12}}}, "a: size is beyond the disk limit of 67108864 bytes"),
    "sizes together": ({"files": {"a": {"size": 60 << 20}, "b": {"size": 60 << 20}}}, "b: this is beyond the disk limit"),
    "long name": ({"files": {"a" * 300: {}}}, "a" * 300 + ": the name is too long"),
    "setup": ({"setup": "echo broken >&2; exit 4"}, "setup ended with 4: broken"),
    "no such program": ({"processes": [{"name": "p", "argv": ["/no/such"]}]}, "process 'p': /no/such: it is not there"),
    "process that dies at once": ({"processes": [WEB, {"name": "p", "argv": ["false"]}]}, "process 'p' ended at once, with 1"),
    "two processes of one name": ({"processes": [WEB, WEB]}, "process 'web': the name is taken"),
    "two services on one port": ({"services": [{"port": 8000, "pages": {}}] * 2}, "service on port 8000: the port is taken"),
    "repository": ({"repos": {"r": {"commits": [{"message": "m", "files": {"a": {"base64": "?"}}}]}}}, "repository r: this is no base64"),
}  # fmt: skip

EXPECTATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown process": ({"processes": {"wbe": "gone"}}, "processes: the fixture has no process 'wbe', only: 'web'"),
    "counts": ({"counts": {"*": {"min": 3, "max": 2}}}, "counts: *: min 3 is more than max 2"),
    "sizes": ({"files": {"a": {"min_size": 3, "max_size": 2}}}, "files: a: min_size 3 is more than max_size 2"),
    "pattern": ({"stdout_regex": "("}, "stdout_regex: '(' is no pattern: missing ), unterminated subpattern at position 0"),
    "pattern of a check": ({"checks": [{"command": ":", "stdout_regex": "*"}]}, "checks: 0: stdout_regex: '*' is no pattern: nothing to repeat at position 0"),
}  # fmt: skip


def judged(sandbox: Sandbox, command: str, **keys: Any) -> tuple[str, str, str, str, str]:
    record = {"instruction": "-", "output": [{"command": command}], "metadata": {"skill": "s"}} | keys
    verdict = judge_plan(record, sandbox)
    first = verdict.findings[0]
    return first.code, verdict.details.get("failure", ""), first.message, first.pointer, first.remedy


MEND = "the plan was not judged; mend the record and verify again"


@pytest.mark.parametrize("name", FIXTURES)
def test_world_that_can_not_be_made_is_said_in_words(sandbox: Sandbox, name: str) -> None:
    fixture, words = FIXTURES[name]
    found = judged(sandbox, "ls", fixture=fixture)
    assert found == ("sandbox_error", "bad_fixture", f"not judged: {words}", "/fixture", MEND)


@pytest.mark.parametrize("name", EXPECTATIONS)
@pytest.mark.parametrize("command", ["pwd", "cat missing"])
def test_expectation_that_means_nothing_rejects_no_plan(sandbox: Sandbox, name: str, command: str) -> None:
    expect, words = EXPECTATIONS[name]
    found = judged(sandbox, command, fixture={"processes": [WEB]}, expect=expect)
    assert found == ("sandbox_error", "bad_expect", f"not judged: {words}", "/expect", MEND)


SHAPES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "absent with more": ({"expect": {"files": {"a": {"absent": True, "text": ""}}}}, "contradiction", "/expect/files/a", "`absent` stands alone: what is gone has no content"),
    "two demands on stdout": ({"expect": {"stdout": "a", "stdout_regex": "a"}}, "contradiction", "/expect/stdout_regex", "stdout_regex can't stand beside another demand on the same output"),
    "two demands on a check": ({"expect": {"checks": [{"command": "ls", "stdout": "a", "stdout_regex": "a"}]}}, "contradiction", "/expect/checks/0/stdout_regex", "stdout_regex can't stand beside another demand on the same output"),
    "fact beside text": ({"expect": {"stdout": "a", "stdout_fact": "user"}}, "contradiction", "/expect/stdout_fact", "stdout_fact can't stand beside another demand on the same output"),
    "page": ({"fixture": {"services": [{"port": 8000, "pages": {"v": ""}}]}}, "bad_page", "/fixture/services/0/pages", "a page's path must begin with a slash: \"v\" does not match \"^/\""),
    "variable": ({"fixture": {"env": {"A-B": ""}}}, "bad_name", "/fixture/env", "no name of a variable: \"A-B\" does not match \"^[A-Za-z_][A-Za-z0-9_]*$\""),
    "mode": ({"expect": {"files": {"a": {"mode": "all"}}}}, "bad_form", "/expect/files/a/mode", "\"all\" does not match \"^(0?[0-7]{3,4}|any)$\""),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_contradiction_that_the_form_shows_is_the_schema_s_to_say(name: str) -> None:
    keys, code, pointer, message = SHAPES[name]
    record = {"instruction": "-", "output": [{"command": "ls"}], "metadata": {"skill": "s"}} | keys
    first = SchemaGate("plan_v1").check(record)[1][0]
    assert (first.code, first.pointer, first.message) == (code, pointer, message)


def test_any_mode_is_a_mode() -> None:
    record = {"instruction": "-", "output": [{"command": "ls"}], "metadata": {"skill": "s"}}
    assert SchemaGate("plan_v1").check(record | {"expect": {"files": {"a": {"mode": "any"}}}})[1] == ()
