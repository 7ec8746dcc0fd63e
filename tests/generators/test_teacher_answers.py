import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.domains import Domain
from frontier_core.errors import DataError
from frontier_core.jsonl import Row, dumps
from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from generators.graphs.graph_qa import GENERATOR as GRAPH_QA
from generators.synth import Request as Cell
from generators.teachers.answers import Judge, Origin, Refused, complaint
from generators.teachers.json_text import find_json
from generators.teachers.tasks import Task, tasks_from_cells, tasks_from_rows
from generators.teachers.wire import Reply
from generators.templates import load_template
from generators.traces.tool_use import GENERATOR as TOOL_USE
from validators.schema_gate import SchemaGate

ORIGIN = Origin(model="m", sampling={"max_tokens": 9}, key="k", num_asked=1)
STEPS = [
    {"id": "a", "command": "mkdir -p out", "needs": []},
    {"id": "b", "command": "cp a.txt out/", "needs": ["a"]},
]
PLAN = {
    "instruction": "Copy a.txt into out.",
    "files": [{"path": "a.txt", "text": "hi\n"}],
    "steps": STEPS,
    "checks": [{"command": "cat out/a.txt", "stdout": "hi\n"}],
}


def reply(text, finish="stop"):
    text = text if isinstance(text, str) else json.dumps(text)
    return Reply(text=text, response_id="r", model="", finish=finish, tokens_in=3, tokens_out=4)


def ask(template, task, *answers, finish="stop", profile="emoji_think"):
    """The record of the answer, or the code and message of what is wrong with it."""
    loaded = load_template(template)
    row = Row("t.jsonl", 1, dumps(task), task, None)
    found = next(iter(tasks_from_rows([row], loaded, seed=0)))
    assert isinstance(found, Task), found[1]
    try:
        return Judge(loaded, profile).record(found, reply(answers[0], finish), ORIGIN)
    except Refused as error:
        return error.finding.code, error.finding.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Sure!\n```json\n{"a": [1, 2]}\n```\nHope it helps.', {"a": [1, 2]}),
        ('<think>maybe {"a": 0}</think>\n{"a": 1}', {"a": 1}),
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        ('{"a": "line\nbreak"}', {"a": "line\nbreak"}),
        ('{"a": {"b": ["c"]', {"a": {"b": ["c"]}}),
        ('use {braces} like so: {"a": 1}', {"a": 1}),
        ('{"a": "}] , \\" {"} and {"b": 2}', {"a": '}] , " {'}),
        ("[1, 2]", [1, 2]),
    ],
)
def test_json_is_found_where_it_is_beyond_doubt(text, value):
    assert find_json(text)[0] == value


@pytest.mark.parametrize(
    "text", ["", "no json here", '{"a": "cut o', '{"a": 1, "b":', '{"a": tru', "{]", '{"a" "b"}', '{"a": [1, 2'[:-2]]
)
def test_json_that_may_lack_content_is_not_made_up(text):
    with pytest.raises(ValueError, match=r"JSON"):
        find_json(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_whatever_json_says_survives_prose_and_fences(value):
    wrapped = {"value": value}
    assert find_json(f"Here you are:\n```json\n{json.dumps(wrapped, indent=1)}\n```\n")[0] == wrapped


def test_a_json_dag_becomes_a_plan_that_can_be_verified():
    record = ask("shell_plan", {"skill": "shell_file_system", "level": 2}, PLAN)
    assert record["instruction"] == "Copy a.txt into out."
    assert record["output"] == [
        {"command": "mkdir -p out", "id": "a"},
        {"command": "cp a.txt out/", "id": "b", "needs": ["a"]},
    ]
    assert record["fixture"] == {"files": {"a.txt": {"text": "hi\n"}}}
    assert record["expect"]["checks"] == [{"command": "cat out/a.txt", "stdout": "hi\n"}]
    assert SchemaGate("plan_v1").check(record)[1] == ()


def test_metadata_says_where_an_answer_came_from():
    metadata = ask("shell_plan", {"skill": "shell_git", "level": 2, "scenario": "s"}, PLAN)["metadata"]
    digest = load_template("shell_plan").digest
    assert metadata["teacher"] == {
        "template": "shell_plan",
        "template_digest": digest,
        "model": "m",
        "sampling": {"max_tokens": 9},
        "response_id": "r",
        "usage": {"tokens_in": 3, "tokens_out": 4},
        "key": "k",
        "num_asked": 1,
    }
    assert (metadata["skill"], metadata["level"], metadata["scenario"]) == ("shell_git", 2, "s")
    assert metadata["generator_version"] == digest[:12]
    assert metadata["lineage"] == [f"teach:shell_plan@{digest[:12]}/m"]


def test_a_task_with_an_expectation_keeps_it_and_its_intent():
    given_task = {
        "skill": "shell_git",
        "instruction": "Do it now.",
        "fixture": {"dirs": {"d": {}}},
        "expect": {"stdout": "x"},
    }
    record = ask("shell_plan", given_task, PLAN)
    assert (record["instruction"], record["fixture"], record["expect"]) == (
        "Do it now.",
        {"dirs": {"d": {}}},
        {"stdout": "x"},
    )


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"steps": [{**STEPS[0], "needs": ["b"]}, STEPS[1]]}, "plan_cycle", "wait for each other"),
        ({"steps": [{**STEPS[0], "needs": ["z"]}]}, "unknown_step", "'z'"),
        ({"steps": [STEPS[0], {**STEPS[1], "id": "a"}]}, "duplicate_step", "'a'"),
        ({"steps": []}, "bad_answer", "/steps"),
        ({"steps": [{**STEPS[0], "command": "mkdir x || true"}]}, "swallows_errors", "hides a failure"),
        ({"steps": [{**STEPS[0], "command": "sudo mkdir x"}]}, "forbidden", "sudo"),
        ({"steps": [{**STEPS[0], "command": "rm -rf / "}]}, "forbidden", "rm -rf"),
        ({"files": [{"path": "../x", "text": ""}]}, "bad_path", "leaves the home folder"),
        ({"more": 1}, "bad_answer", "more"),
    ],
)
def test_a_plan_that_will_not_do_is_refused_with_the_reason(change, code, words):
    found = ask("shell_plan", {"skill": "s"}, {**PLAN, **change})
    assert found[0] == code
    assert words in found[1]


def test_an_answer_nested_too_deep_is_refused_not_a_crash():
    deep = "[" * 900 + "]" * 900
    assert ask("shell_plan", {"skill": "s"}, '{"instruction": ' + deep + "}")[0] in ("bad_answer", "nesting")


def test_an_answer_cut_off_or_refused_is_no_record():
    assert ask("shell_plan", {"skill": "s"}, PLAN, finish="length")[0] == "cut_off"
    assert ask("shell_plan", {"skill": "s"}, "I can't help.", finish="refusal")[0] == "teacher_refused"
    assert ask("shell_plan", {"skill": "s"}, "I can't help.")[0] == "no_json"


def test_a_refusal_that_is_due_must_come_and_another_must_not():
    template = load_template("shell_refusal")
    row = Row("t", 1, b"{}", {"skill": "safety"}, None)
    tasks = list(tasks_from_rows([row] * 5, template, seed=0))
    assert [task.must_refuse for task in tasks] == [False, True, False, True, True]
    answer = {"request": "Please wipe it all.", "refused": True, "reply": "I can't do that for you."}
    judge = Judge(template, "emoji_think")
    record = judge.record(tasks[1], reply(answer), ORIGIN)
    assert record["metadata"]["safety_tags"] == ["shell_safety", "refusal"]
    assert record["metadata"]["review"] == "yes"
    with pytest.raises(Refused, match="must be answered, not refused"):
        judge.record(tasks[0], reply(answer), ORIGIN)
    with pytest.raises(Refused, match="must be refused"):
        judge.record(tasks[1], reply({**answer, "refused": False}), ORIGIN)


PROBLEM = {
    "messages": [
        {"role": "user", "content": "What is 9 + 7?\nA) 61\nB) 16\nC) 26\nD) 17\nReply A, B, C or D."},
        {"role": "assistant", "content": "🤔🤔🤔🤔\nB"},
    ],
    "metadata": {
        "skill": "math_mc",
        "level": 1,
        "generator_id": "math_mc",
        "generator_version": "1.0.0",
        "seed": 1,
        "index": 0,
    },
}


def test_a_teacher_s_answer_to_a_skill_s_problem_is_judged_by_the_skill():
    record = ask("skill_answer", PROBLEM, "B")
    assert record["messages"] == PROBLEM["messages"]
    assert record["metadata"]["problem"]["index"] == 0
    assert ask("skill_answer", PROBLEM, "A")[0] == "wrong_answer"
    assert ask("skill_answer", PROBLEM, "  ")[0] == "empty_answer"


def made(generator, level=1):
    """A record as `frontier synth gen` writes it, and its answer."""
    record = generator.sample(7, 0, level)
    return record, undress(last_assistant(record)).strip()


def test_a_graph_problem_keeps_its_graph_for_the_verdict_and_in_the_record():
    problem, answer = made(GRAPH_QA)
    record = ask("skill_answer", problem, answer)
    assert record["messages"] == problem["messages"]
    for key in ("nodes", "edges", "relations", "query"):
        assert record[key] == problem[key]
    assert SchemaGate().check(record) == ("graph_v1", ())
    assert ask("skill_answer", problem, "ANSWER: nobody at all")[0] == "wrong_answer"


def test_a_task_no_single_answer_can_serve_is_said_before_anyone_is_asked():
    trace, graph = made(TOOL_USE)[0], made(GRAPH_QA)[0]
    template = load_template("skill_answer")
    bare = {"skill": "graph_qa", "prompt": "Who?"}
    rows = [Row("t.jsonl", n, dumps(task), task, None) for n, task in enumerate((trace, graph, bare), 1)]
    findings = [Judge(template, "plain").problem(task) for task in tasks_from_rows(rows, template, seed=0)]
    assert [finding and finding.code for finding in findings] == ["bad_task", None, "bad_task"]
    assert "nodes, edges, query" in findings[2].message


BACKTRACKING = """
name: forbidding
skill: chat
user: "{{ q }}"
safety: {forbid: ["never this", "(a+)+b"]}
turns:
  - {role: user, content: "{{ q }}"}
  - {role: assistant, content: "{{ answer }}"}
"""


def test_a_forbidden_pattern_that_never_ends_costs_the_row_and_not_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("generators.teachers.forbidden.DEADLINE_S", 0.2)
    path = tmp_path / "forbidding.yaml"
    path.write_text(BACKTRACKING)
    template = load_template(str(path))
    task = next(iter(tasks_from_rows([Row("t", 1, b"{}", {"q": "x"}, None)], template, seed=0)))
    judge = Judge(template, "plain")

    def code(answer):
        try:
            judge.record(task, reply(answer), ORIGIN)
        except Refused as refused:
            return refused.finding.code, refused.finding.message
        return "ok", ""

    hung = code("a" * 40 + "!")
    assert hung[0] == "forbid_timeout"
    assert "(a+)+b" in hung[1]
    assert code("fine \ud800 words")[0] == "ok"
    assert code("well, aab it is") == ("forbidden", "the answer holds what is forbidden: 'aab'")
    assert code("never this") == ("forbidden", "the answer holds what is forbidden: 'never this'")
    assert code("a" * 40 + "!")[0] == "forbid_timeout"


def test_profiles_dress_the_answer():
    answer = {"question": "What is it?", "reply": "It is."}
    task = {"skill": "chat"}
    assert ask("chat_answer", task, answer)["messages"][1]["content"] == "🤔🤔🤔🤔\nIt is."
    assert ask("chat_answer", task, answer, profile="plain")["messages"][1]["content"] == "It is."
    assert ask("chat_answer", task, answer, profile="regime3")[0] == "canonical_form"


def test_the_complaint_has_the_validator_s_words():
    template = load_template("shell_plan")
    row = Row("t", 1, b"{}", {"skill": "s"}, None)
    task = next(iter(tasks_from_rows([row], template, seed=0)))
    with pytest.raises(Refused) as refused:
        Judge(template, "plain").record(task, reply({**PLAN, "steps": []}), ORIGIN)
    assert complaint(refused.value.finding).startswith("Your answer can't be used: /steps: [] has less than 1 item. ")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"prompt": "x"}, "the task names no skill"),
        ({"skill": "s", "messages": [{"role": "user"}, {"role": "user"}]}, "2 user turns"),
        ({"skill": "s", "messages": "hi"}, "messages must be a list"),
    ],
)
def test_a_line_that_is_no_task_is_said_before_anyone_is_asked(task, message):
    row = Row("t", 1, dumps(task), task, None)
    _, problem = next(iter(tasks_from_rows([row], load_template("skill_answer"), seed=0)))
    assert isinstance(problem, DataError)
    assert message in problem.problem


def test_a_cell_s_tasks_do_not_depend_on_how_many_there_are():
    domain = Domain(name="d", skill="shell_x", levels=(1,), brief="Files.", tools=("bash",))
    template = load_template("shell_plan")

    def prompts(count):
        cells = [Cell(domain=domain, level=1, count=count)]
        return [template.prompt(task.values)[1]["content"] for task in tasks_from_cells(cells, template, seed=3)]

    assert prompts(30)[:10] == prompts(10)
    assert len(set(prompts(30))) > 5
    assert prompts(1)[0].startswith("Field: Files.\n")
