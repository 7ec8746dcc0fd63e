"""The forms a plan comes in, and the one they become."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from validators.plans import as_plan, is_plan, plan_commands, skill_of
from validators.schema_gate import SchemaGate

STEPS = [{"command": "mkdir -p a"}, {"command": "ls a"}]


@pytest.mark.parametrize(
    ("raw", "output"),
    [
        ({"intent": "i", "plan": "mkdir -p a\nls a"}, [{"command": "mkdir -p a\nls a"}]),
        ({"intent": "i", "plan": ["mkdir -p a", "ls a"]}, STEPS),
        ({"intent": "i", "plan": STEPS}, STEPS),
        ({"instruction": "i", "output": ["mkdir -p a", {"command": "ls a"}]}, STEPS),
        ({"intent": "i", "output": "ls a"}, [{"command": "ls a"}]),
        (
            {"intent": "i", "plan": [{"id": 1, "command": "x"}, {"id": 2, "command": "y", "depends_on": [1]}]},
            [{"id": "1", "command": "x"}, {"id": "2", "command": "y", "needs": ["1"]}],
        ),
    ],
)  # fmt: skip
def test_every_form_of_a_plan_becomes_steps(raw: dict[str, Any], output: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(raw)
    made = as_plan(raw)
    assert made == {"instruction": "i", "output": output, "metadata": {"skill": "shell"}}
    assert raw == before
    assert SchemaGate().check(made)[1] == ()


def test_candidate_keeps_all_it_said_in_its_metadata() -> None:
    raw = {"intent": "i", "plan": "ls", "domain": "File System", "model": "m-1", "metadata": {"level": 2}}
    assert as_plan(raw)["metadata"] == {
        "level": 2, "domain": "File System", "model": "m-1", "skill": "shell_file_system",
    }  # fmt: skip


def test_plan_record_is_given_back_as_it_is() -> None:
    record = {"instruction": "i", "output": STEPS, "fixture": {}, "expect": {}, "metadata": {"skill": "s"}}
    assert as_plan(record) is record


def test_fixture_and_expectation_of_a_candidate_stay_where_they_are() -> None:
    raw = {"intent": "i", "plan": "ls", "fixture": {"dirs": {"a": {}}}, "expect": {"stdout": "a\n"}}
    made = as_plan(raw)
    assert (made["fixture"], made["expect"]) == ({"dirs": {"a": {}}}, {"stdout": "a\n"})


@pytest.mark.parametrize("record", [{}, {"messages": []}, {"intent": "i"}, {"plan": "ls"}, {"text": "x"}])
def test_what_is_no_plan_is_left_for_the_schema_gate(record: dict[str, Any]) -> None:
    assert not is_plan(record)
    assert as_plan(record) is record


@pytest.mark.parametrize("plan", [3, None, {"command": "ls"}, [3], [{"run": "ls"}]])
def test_malformed_plan_is_refused_by_the_schema_and_breaks_nothing(plan: Any) -> None:
    made = as_plan({"intent": "i", "plan": plan})
    assert SchemaGate().check(made)[1] != ()


def test_graph_given_as_numbers_runs_in_its_order() -> None:
    steps = [{"id": 2, "command": "second", "depends_on": [1]}, {"id": 1, "command": "first"}]
    assert plan_commands(as_plan({"intent": "i", "plan": steps})) == ["first", "second"]


@pytest.mark.parametrize(
    ("domain", "skill"),
    [("Git", "shell_git"), ("File System", "shell_file_system"), ("", "shell"), (None, "shell"), (7, "shell")],
)
def test_skill_is_named_after_the_domain(domain: object, skill: str) -> None:
    assert skill_of(domain) == skill
