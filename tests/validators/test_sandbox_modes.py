"""Modes that nobody asked for are noticed; those a plan hands on by copying, moving and unpacking are right."""

# ruff: noqa: E501 (one case a line reads better than wrapped ones)
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.execution_gate import judge_plan
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Outcome, Sandbox


@pytest.fixture(scope="module", params=["native-ns", pytest.param("docker-ns", marks=pytest.mark.docker)])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        opened = open_sandbox(request.param)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


def run(sandbox: Sandbox, command: str, **job: Any) -> Outcome:
    return sandbox.run({"commands": [command], **job})


WORLD = {
    "files": {
        "a.txt": {"text": "a\n"}, "tool.sh": {"text": "#!/bin/sh\n", "mode": "755"}, "key": {"text": "k\n", "mode": "600"},
        "open": {"text": "o\n", "mode": "666"},
    },
    "dirs": {"closed": {"mode": "700"}, "team": {"mode": "2775"}, "wide": {"mode": "777"}},
    "setup": "mkdir p; echo x > p/run; echo y > p/doc; chmod 755 p/run; tar -cf p.tar p; rm -r p",
}  # fmt: skip
A = {"a.txt": {"text": "b\n"}}
D = {"d": {"dir": True}}
TOOL = {"text": "#!/bin/sh\n"}

WRONG = {
    "set-uid on a file": ("echo b > a.txt; chmod 4777 a.txt", {"files": A}),
    "open to the world": ("sed -i s/a/b/ a.txt; chmod 777 a.txt", {"files": A}),
    "closed": ("sed -i s/a/b/ a.txt; chmod 600 a.txt", {"files": A}),
    "new file": ("echo b > n; chmod 777 n", {"files": {"n": {"text": "b\n"}}}),
    "new folder": ("mkdir d; chmod 777 d", {"files": D}),
    "folder with a sticky bit": ("mkdir d; chmod +t d", {"files": D}),
    "folder above a listed file": ("mkdir -p e/f; echo b > e/f/g; chmod 777 e", {"files": {"e/f/g": {"text": "b\n"}}}),
    "beside a listed change of nothing": ("chmod 777 a.txt", {"files": {"a.txt": {}}}),
    "other changes allowed": ("echo b > a.txt; chmod 777 a.txt", {"files": A, "allow_other_changes": True}),
    "copy with more": ("cp tool.sh n.sh; chmod 777 n.sh", {"files": {"n.sh": TOOL}}),
    "copy with set-uid": ("cp tool.sh n.sh; chmod u+s n.sh", {"files": {"n.sh": TOOL}}),
    "program lost its mode": ("sed s/sh/bash/ tool.sh > t; cp t u; rm tool.sh t; mv u tool.sh", {"files": {"tool.sh": {"text": "#!/bin/bash\n"}}}),
    "unpacked, then opened": ("tar -xf p.tar; chmod 777 p/run", {"files": {"p": {"dir": True}, "p/run": {"text": "x\n"}, "p/doc": {"text": "y\n"}}}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_mode_that_nobody_asked_for_is_refused(sandbox: Sandbox, name: str) -> None:
    command, expect = WRONG[name]
    outcome = run(sandbox, command, fixture=WORLD, expect=expect)
    assert [found["code"] for found in outcome.findings] == ["wrong_mode"], (outcome.stderr, outcome.findings)


def test_new_program_is_refused_where_nothing_can_have_brought_it(sandbox: Sandbox) -> None:
    expect = {"files": {"n": {"text": "b\n"}}}
    plain = {"files": {"a.txt": {"text": "a\n"}}}
    assert [
        found["code"] for found in run(sandbox, "echo b > n; chmod +x n", fixture=plain, expect=expect).findings
    ] == ["wrong_mode"]
    packed = {"setup": "echo b > n; chmod +x n; tar -cf p.tar n; rm n"}
    assert run(sandbox, "tar -xf p.tar", fixture=packed, expect=expect).findings == ()


RIGHT = {
    "edited in place": ("sed -i s/a/b/ a.txt", {"files": A}),
    "new": ("echo b > n; mkdir d", {"files": {"n": {"text": "b\n"}, **D}}),
    "closed file stays closed": ("echo l > key", {"files": {"key": {"text": "l\n"}}}),
    "copy of a program": ("cp tool.sh copy", {"files": {"copy": TOOL}}),
    "copy of a closed file, packed": ("gzip -k key; cp key key.bak", {"files": {"key.gz": {"gzip": "k\n"}, "key.bak": {"text": "k\n"}}}),
    "copy of an open file loses what umask takes": ("cp open other", {"files": {"other": {"text": "o\n"}}}),
    "changed copy of a program": ("cp tool.sh new.sh; echo : >> new.sh", {"files": {"new.sh": {"contains": ":"}}}),
    "moved as it is": ("mv open other; mv wide broad", {"files": {"other": {"text": "o\n"}, "open": {"absent": True}, "broad": {"dir": True}, "wide": {"absent": True}}}),
    "moved onto another": ("mv tool.sh a.txt", {"files": {"a.txt": TOOL, "tool.sh": {"absent": True}}}),
    "unpacked program": ("tar -xf p.tar", {"files": {"p": {"dir": True}, "p/run": {"text": "x\n"}, "p/doc": {"text": "y\n"}}}),
    "folder in a set-group folder": ("mkdir team/d", {"files": {"team/d": {"dir": True}}}),
    "copied folder": ("cp -r closed closed2", {"files": {"closed2": {"dir": True}}}),
    "any": ("echo b > a.txt; chmod 4777 a.txt", {"files": {"a.txt": {"text": "b\n", "mode": "any"}}}),
    "asked for": ("echo b > a.txt; chmod 777 a.txt", {"files": {"a.txt": {"text": "b\n", "mode": "777"}}}),
    "ignored": ("mkdir d; chmod 777 d", {"files": D, "ignore": ["d/**"]}),
    "link": ("ln -s a.txt l", {"files": {"l": {"symlink": "a.txt"}}}),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_mode_that_a_plan_hands_on_or_was_asked_for_is_right(sandbox: Sandbox, name: str) -> None:
    command, expect = RIGHT[name]
    outcome = run(sandbox, command, fixture=WORLD, expect=expect)
    assert (outcome.status, outcome.findings) == ("ok", ()), outcome.stderr


def test_message_says_both_modes_and_how_to_allow_it(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "mkdir d; chmod 1777 d", expect={"files": D})
    assert outcome.findings == (
        {
            "code": "wrong_mode",
            "message": "d: mode 1777, should be 0755 as nothing asks for another",
            "pointer": "/expect/files/d",
            "remedy": 'say the mode the task asks for in expect.files, or "mode": "any" where it does not matter',
        },
    )


HOME: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "opened": ("echo 6 > sum.txt; chmod 777 .", {"files": {"sum.txt": {"text": "6\n"}}}, ["unexpected_change"]),
    "closed to its owner": ("echo 6 > sum.txt; chmod 0 .", {"files": {"sum.txt": {"text": "6\n"}}}, ["unexpected_change"]),
    "asked for": ("chmod 700 .", {"files": {".": {"dir": True, "mode": "700"}}}, []),
    "asked for and not done": ("true", {"files": {".": {"dir": True, "mode": "700"}}}, ["wrong_mode"]),
    "ignored": ("chmod 700 .", {"ignore": ["."]}, []),
    "no name in the home folder": ("touch a; chmod 700 .", {"must_change": ["*"]}, ["unexpected_change"]),
    "not counted": ("touch a b; chmod 700 .", {"counts": {"**": 2}}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", HOME)
def test_home_folder_s_own_mode_is_part_of_the_world(sandbox: Sandbox, name: str) -> None:
    command, expect, codes = HOME[name]
    assert [found["code"] for found in run(sandbox, command, expect=expect).findings] == codes


def test_plan_that_touches_nothing_of_the_home_folder_has_no_change(sandbox: Sandbox) -> None:
    assert run(sandbox, "touch a; rm a", expect={}).changes == ()


EFFECTS = {
    "touch a.txt": "ok",
    "touch -d 2001-01-01 a.txt": "ok",
    "touch -h l": "ok",
    "chmod 700 ~": "ok",
    "test -e a.txt": "no_effect",
    "touch x; rm x": "no_effect",
}


@pytest.mark.parametrize("command", EFFECTS)
def test_new_time_and_a_new_mode_of_the_home_folder_are_effects(sandbox: Sandbox, command: str) -> None:
    fixture = {"files": {"a.txt": {"text": "a\n"}}, "symlinks": {"l": "a.txt"}}
    record = {"instruction": "-", "output": [{"command": command}], "fixture": fixture, "metadata": {"skill": "s"}}
    assert judge_plan(record, sandbox).code == EFFECTS[command]


def test_checks_see_the_repository_s_own_history(sandbox: Sandbox) -> None:
    fixture = {"repos": {"r": {"commits": [{"message": "bad", "files": {"a": "1\n"}}]}}}
    forge = "cd r; h=$(git rev-parse HEAD); new=$(git commit-tree -m good HEAD^{tree}); git replace $h $new; git log -1 --format=%s"
    expect = {"ignore": ["r/.git/**"], "checks": [{"command": "git -C r log -1 --format=%s", "stdout": "good\n"}]}
    outcome = run(sandbox, forge, fixture=fixture, expect=expect)
    assert (outcome.stdout["text"], outcome.findings[0]["code"]) == ("good\n", "check_failed")


def test_checks_read_the_global_settings_only_when_they_ask_for_them(sandbox: Sandbox) -> None:
    command = "git config --global core.editor vi; git config --global log.date unix"
    said = {"command": "git config --global core.editor", "stdout": "vi\n"}
    bent = {"command": "git config log.date", "exit_code": 1}
    outcome = run(sandbox, command, expect={"ignore": [".gitconfig"], "checks": [said, bent]})
    assert outcome.findings == ()
