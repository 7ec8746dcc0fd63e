"""The forms a plan comes in, and the one they become."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from validators.execution_gate import LazySandbox, judge_record
from validators.plans import as_plan, is_plan, plan_commands, pointer_as_written, skill_of
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


def test_unknown_keys_of_steps_move_to_the_metadata() -> None:
    raw = {"intent": "i", "plan": [{"command": "ls", "why": "look"}, "pwd", {"command": "id", "why": "who", "n": 1}]}
    made = as_plan(raw)
    assert made["output"] == [{"command": "ls"}, {"command": "pwd"}, {"command": "id"}]
    assert made["metadata"] == {"skill": "shell", "steps": [{"why": "look"}, {}, {"why": "who", "n": 1}]}
    assert SchemaGate().check(made)[1] == ()
    assert as_plan(made) is made


@pytest.mark.parametrize("needs", ["1", 1, ["1"], [1]])
@pytest.mark.parametrize("key", ["needs", "depends_on"])
def test_one_need_may_be_written_without_a_list(key: str, needs: Any) -> None:
    made = as_plan({"intent": "i", "plan": [{"id": 2, "command": "b", key: needs}, {"id": "1", "command": "a"}]})
    assert made["output"][0] == {"id": "2", "command": "b", "needs": ["1"]}


def test_candidate_with_both_names_loses_nothing_and_the_specs_name_wins() -> None:
    raw = {
        "instruction": "i", "intent": "j", "output": ["ls"], "plan": ["pwd"], "model": "new", "model_2": 2,
        "metadata": {"model": "old", "plan": "older", "skill": "s", "steps": "kept"},
    }  # fmt: skip
    made = as_plan({**raw, "output": [{"command": "ls", "why": "look"}]})
    assert (made["instruction"], made["output"]) == ("i", [{"command": "ls"}])
    assert made["metadata"] == {
        "model": "old", "plan": "older", "skill": "s", "steps": "kept",
        "intent": "j", "plan_2": ["pwd"], "model_2": "new", "model_2_2": 2, "steps_2": [{"why": "look"}],
    }  # fmt: skip


def test_keys_of_a_candidate_whose_metadata_is_no_object_stay_for_the_schema_to_refuse() -> None:
    made = as_plan({"intent": "i", "plan": [{"command": "ls", "why": "look"}], "model": "m", "metadata": "text"})
    assert (made["model"], made["metadata"], made["output"]) == ("m", "text", [{"command": "ls", "why": "look"}])
    assert SchemaGate().check(made)[1] != ()


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ({"plan": ["ls"], "domain": "Git"}, "intent"),
        ({"output": ["ls"], "domain": "Git"}, "intent"),
        ({"intent": "list", "domain": "Git"}, "plan"),
    ],
)
def test_candidate_that_lacks_a_half_is_told_which(record: dict[str, Any], key: str) -> None:
    [finding] = SchemaGate().check(record)[1]
    assert (finding.code, f"needs `{key}`" in finding.message) == ("missing_key", True)
    assert judge_record(record, LazySandbox(lambda: pytest.fail("no sandbox is needed"))).findings == (finding,)


@pytest.mark.parametrize(
    ("raw", "pointer", "written"),
    [
        ({"intent": "i", "plan": "ls"}, "/output/0/command", "/plan"),
        ({"intent": "i", "plan": ["ls", "pwd"]}, "/output/1/command", "/plan/1"),
        ({"intent": "i", "plan": [{"command": "ls"}]}, "/output/0/command", "/plan/0/command"),
        (
            {"intent": "i", "plan": [{"command": "ls", "depends_on": ["x"]}]},
            "/output/0/needs/0",
            "/plan/0/depends_on/0",
        ),
        ({"intent": "i", "plan": [{"command": "ls", "depends_on": "x"}]}, "/output/0/needs/0", "/plan/0/depends_on"),
        ({"intent": "", "plan": "ls"}, "/instruction", "/intent"),
        ({"intent": "i", "plan": "ls"}, "/output", "/plan"),
        ({"intent": "i", "plan": "ls"}, "", ""),
        ({"intent": "i", "plan": "ls", "expect": {}}, "/expect", "/expect"),
        ({"instruction": "i", "output": [{"command": "ls"}]}, "/output/0/command", "/output/0/command"),
        ({"messages": []}, "/messages/0", "/messages/0"),
    ],
)
def test_pointer_names_the_key_the_user_wrote(raw: dict[str, Any], pointer: str, written: str) -> None:
    assert pointer_as_written(raw, pointer) == written


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
