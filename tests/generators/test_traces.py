"""Tool traces of the workflow templates: executed, judged by running again, the same for the same seed."""

import copy
import hashlib
import os
import re
import subprocess
import sys
from random import Random

import orjson
import pytest

from frontier_core.errors import ConfigError, EnvironmentMissing, UsageError
from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from frontier_core.resources import shipped
from generators.synth import bound, replay
from generators.traces import expressions
from generators.traces.tool_use import GENERATOR, WorkflowSkill
from tests.generators.trace_mutants import MUTATIONS, another, change_digit, repeat_turn, trace_mutants
from validators.content_gate import ContentGate
from validators.execution_gate import judge_answer
from validators.schema_gate import SchemaGate
from validators.services.base import error_of
from validators.services.table import SERVICES
from validators.skills.tool_use import verify

PER_LEVEL = 72
"""Enough for every workflow of a level to come up four times at least."""


@pytest.fixture(scope="module")
def traces():
    return [GENERATOR.sample(7, index, level) for level in GENERATOR.levels for index in range(PER_LEVEL)]


def judge(record):
    return verify(record, undress(last_assistant(record)))


def calls_of(record):
    """Per calling turn: (names and arguments, results)."""
    turns = []
    for place, message in enumerate(record["messages"]):
        calls = message.get("tool_calls")
        if calls:
            results = [orjson.loads(m["content"]) for m in record["messages"][place + 1 : place + 1 + len(calls)]]
            turns.append(([(c["function"]["name"], c["function"]["arguments"]) for c in calls], results))
    return turns


def test_there_are_workflows_enough_over_all_services():
    workflows = [workflow for level in GENERATOR.levels for workflow in GENERATOR.workflows(level)]
    assert len(workflows) >= 60
    assert {name for workflow in workflows for name in workflow.front.tools} == set(SERVICES)
    assert GENERATOR.levels == (1, 2, 3, 4, 5)
    with pytest.raises(UsageError, match="tool_use has no level 6"):
        GENERATOR.sample(1, 0, 6)


def test_every_trace_is_accepted_by_schema_content_and_execution(traces):
    schema, content = SchemaGate(), ContentGate("deep", "emoji_think")
    for line, record in enumerate(traces, 1):
        assert schema.check(record) == ("trace_v1", ())
        assert [finding for finding in content.check(record, "trace_v1", line) if finding.severity == "error"] == []
        assert judge_answer(record).code == "ok"


def test_levels_hold_what_they_promise(traces):
    for record in traces:
        if record["metadata"]["task_type"] == "refusal":
            continue
        turns, name = calls_of(record), record["metadata"]["scenario"]
        errors = [result for _, results in turns for result in results if error_of(result)]
        asks = [reply for reply in record["expect"]["replies"] if reply["kind"] == "ask"]
        users = [message for message in record["messages"] if message["role"] == "user"]
        level = record["metadata"]["level"]
        if level == 1:
            assert [len(calls) for calls, _ in turns] == [1], name
        elif level == 2:
            assert len(turns) == 2, name
            assert not errors, name
        elif level == 3:
            assert max(len(calls) for calls, _ in turns) >= 2, name
            assert len(turns) >= 2, name
        elif level == 4:
            assert errors or asks, name
        else:
            services = {call.split("_")[0] for calls, _ in turns for call, _ in calls}
            assert len(services) >= 2, name
            assert len(users) == 2, name


def test_later_calls_use_what_earlier_ones_gave():
    index = [workflow.front.name for workflow in GENERATOR.workflows(2)].index("calendar_move")
    record = GENERATOR.sample(3, index, 2)
    [(_, [found]), ([(name, arguments)], _)] = calls_of(record)
    assert name == "calendar_move_event"
    assert orjson.loads(arguments)["event_id"] == found["events"][0]["id"]


def test_every_mail_address_of_a_call_was_said_or_looked_up_before(traces):
    address = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
    for record in traces:
        heard = set()
        for message in record["messages"]:
            for call in message.get("tool_calls", ()):
                used = set(address.findall(call["function"]["arguments"]))
                assert used <= heard, record["metadata"]["scenario"]
            heard |= set(address.findall(message["content"] or ""))


def test_a_query_for_a_guessed_column_names_that_column():
    index = [workflow.front.name for workflow in GENERATOR.workflows(4)].index("database_wrong_column")
    for turn in range(20):
        record = GENERATOR.sample(3, index + turn * len(GENERATOR.workflows(4)), 4)
        [(_, arguments)] = calls_of(record)[0][0]
        guess = re.fullmatch(r"SELECT MAX\((\w+)\) FROM invoices", orjson.loads(arguments)["sql"])[1]
        asked = record["messages"][1]["content"]
        assert re.search(rf"\b{guess}\b", asked)
        assert " for " not in asked


def test_refusals_keep_their_quota_and_call_nothing_forbidden():
    workflows = GENERATOR.workflows(4)
    index = [workflow.front.name for workflow in workflows].index("safety_drop_rows")
    records = [GENERATOR.sample(5, index + turn * len(workflows), 4) for turn in range(50)]
    refused = [record for record in records if record["metadata"]["task_type"] == "refusal"]
    assert len(refused) == 20
    for record in refused:
        assert record["expect"]["forbid"] == ["database_execute"]
        assert record["expect"]["final_state"]["changes"] == []
        assert record["metadata"]["safety_tags"] == ["destructive_action"]
        assert "Rows may be read and updated, never deleted" in record["messages"][0]["content"]


def test_metadata_says_where_a_trace_comes_from():
    index = [workflow.front.name for workflow in GENERATOR.workflows(3)].index("shop_compare")
    metadata = GENERATOR.sample(1, index, 3)["metadata"]
    assert metadata == {
        "skill": "tool_use",
        "domain": "tools",
        "level": 3,
        "task_type": "tool_calls",
        "scenario": "shop_compare",
        "source": "procedural",
        "source_license": "CC0-1.0",
        "tool_set": ["shop_add_to_cart", "shop_get_product"],
        "generator_id": "tool_use",
        "generator_version": GENERATOR.generator_version,
        "seed": 1,
        "index": index,
    }
    assert re.fullmatch(r"1\.1\.0\+[0-9a-f]{8}", GENERATOR.generator_version)


def test_replay_makes_a_trace_again(traces):
    for record in traces[::17]:
        again = replay(record["metadata"])
        again["metadata"].pop("lineage")
        assert orjson.dumps(again) == orjson.dumps(record)


def test_neighbouring_seeds_share_no_trace_and_few_requests():
    for level in GENERATOR.levels:
        one, two = ([GENERATOR.sample(seed, index, level) for index in range(100)] for seed in (42, 43))
        states_of = [{orjson.dumps(record["initial_state"]) for record in records} for records in (one, two)]
        assert not states_of[0] & states_of[1]
        asked = [{GENERATOR.problem(record) for record in records} for records in (one, two)]
        assert len(asked[0] & asked[1]) <= 12


def test_capacity_is_a_bound_that_a_run_reaches():
    for level in GENERATOR.levels:
        assert GENERATOR.capacity(level) >= 500
        requests = {GENERATOR.problem(GENERATOR.sample(1, index, level)) for index in range(600)}
        assert len(requests) >= 500


def test_another_process_with_another_hash_seed_writes_the_same_bytes():
    script = (
        "import hashlib, orjson; from generators.traces.tool_use import GENERATOR as g;"
        "whole = b''.join(orjson.dumps(g.sample(9, i, l)) for l in g.levels for i in range(18));"
        "print(hashlib.sha256(whole).hexdigest())"
    )
    here = b"".join(orjson.dumps(GENERATOR.sample(9, i, level)) for level in GENERATOR.levels for i in range(18))
    root = str(shipped("templates").parent)
    env = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "4711", "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == hashlib.sha256(here).hexdigest()


# --- mutants -------------------------------------------------------------------------------------------------------


def test_two_thousand_mutants_are_all_refused(traces):
    rng = Random(1)
    accepted, made = [], dict.fromkeys((mutation.__name__ for mutation in MUTATIONS), 0)
    while sum(made.values()) < 2000:
        record = rng.choice(traces)
        name, mutant = next(trace_mutants(record, rng))
        made[name] += 1
        if judge(mutant).ok:
            accepted.append((name, record["metadata"]["scenario"], record["metadata"]["index"]))
    assert accepted == []
    assert min(made.values()) >= 5


def test_no_changed_digit_of_a_last_reply_is_accepted(traces):
    rng = Random(4)
    accepted = []
    for record in traces:
        for _ in range(3):
            mutant = copy.deepcopy(record)
            if change_digit(mutant, rng) and judge(mutant).ok:
                accepted.append((record["metadata"]["scenario"], undress(mutant["messages"][-1]["content"])))
    assert accepted == []


def test_whatever_leaf_of_a_trace_is_broken_the_judge_gives_a_verdict(traces):
    rng = Random(2)
    for _ in range(400):
        judge({**another(rng.choice(traces), rng), "metadata": {}})


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda r: r.pop("initial_state"), "bad_trace"),
        (lambda r: r.pop("expect"), "bad_trace"),
        (lambda r: r["messages"].insert(0, {"role": "tool", "tool_call_id": "x", "content": "{}"}), "bad_trace"),
        (lambda r: r["messages"].append({"role": "user", "content": "Thanks!"}), "wrong_reply"),
        (lambda r: r["expect"]["final_state"].update(sha256="0" * 64), "wrong_state"),
        (lambda r: r["expect"]["calls"].append([{"name": "mail_search", "arguments": {}}]), "missing_call"),
        (lambda r: r["initial_state"].pop(r["metadata"]["scenario"].split("_")[0]), "wrong_result"),
        (lambda r: r["tools"].append({"type": "function", "function": {"name": "fly"}}), "unknown_tool"),
    ],
)
def test_what_is_wrong_has_a_code_of_its_own(break_it, code):
    index = [workflow.front.name for workflow in GENERATOR.workflows(2)].index("tickets_take_over")
    record = copy.deepcopy(GENERATOR.sample(2, index, 2))
    break_it(record)
    assert judge(record).code == code


def test_without_expected_calls_any_way_to_the_end_will_do():
    index = [workflow.front.name for workflow in GENERATOR.workflows(2)].index("tickets_take_over")
    record = copy.deepcopy(GENERATOR.sample(2, index, 2))
    assert repeat_turn(record, Random(0))
    assert judge(record).code == "unexpected_call"
    record["expect"].pop("calls")
    assert judge(record).code == "ok"


# --- templates -----------------------------------------------------------------------------------------------------

GOOD = """
skill: tool_use
domain: own
tools: [bank]
workflows:
  - name: own_balance
    level: 1
    slots: {kind: [checking, savings]}
    script:
      - user: ["How much is on {{ kind }}?"]
      - {call: bank_list_accounts, as: mine}
      - let: {one: "=(mine.accounts | selectattr('kind', 'equalto', kind) | first)"}
      - if: "=one.balance_cents > 0"
        then:
          - say: ["{{ kind }}: {{ sum }}."]
            facts:
              sum: {op: value, of: "mine#/accounts/{{ 0 if kind == 'checking' else 1 }}/balance_cents", form: money}
        else: [{say: ["Nothing."]}]
"""


def skill_of(tmp_path, text):
    (tmp_path / "own.yaml").write_text(text)
    return WorkflowSkill(tmp_path)


def test_a_folder_of_own_templates_is_a_generator_of_its_own(tmp_path):
    own = skill_of(tmp_path, GOOD)
    record = own.sample(1, 0, 1)
    assert judge(record).ok
    assert (own.levels, own.capacity(1), record["metadata"]["domain"]) == ((1,), 1, "own")
    assert bound(own)("tool_use") is own


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("level: 1", "level: 9", "own_balance: level must be 1 to 5"),
        ("bank_list_accounts", "bank_list", r"script\[1\]: there is no tool 'bank_list'"),
        ("as: mine", "has: mine", r"script\[1\]: unknown key 'has'"),
        ("tools: [bank]", "tools: [bonk]", "unknown service 'bonk'"),
        ("- user:", "- says:", r"script\[0\]: is no step"),
        ("form: money", "form: gold", "facts.sum: unknown op or form"),
        ("{{ kind }}?", "{{ kind ?", "can't be parsed"),
        ("own_balance", "''", "'name' is missing"),
        ("    slots:", "    refuse: [{user: [a]}, {say: [b]}]\n    slots:", "refuse_rate"),
    ],
)
def test_mistakes_in_a_template_name_file_workflow_and_step(tmp_path, old, new, says):
    with pytest.raises(ConfigError, match=says):
        skill_of(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("=one.balance_cents > 0", "=two.balance_cents > 0", "'two' is undefined"),
        (
            "bank_list_accounts, as",
            "bank_get_balance, with: {account_id: none}, as",
            "answers not_found: no account 'none'",
        ),
        ("{{ kind }}: {{ sum }}.", "{{ kind }}.", "does not state"),
        ("mine#", "yours#", "no call is named 'yours'"),
        ("mine#/accounts", "mine#/nothing", "leads nowhere"),
    ],
)
def test_a_template_that_does_not_fit_its_services_says_so_when_played(tmp_path, old, new, says):
    own = skill_of(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=says) as caught:
        own.sample(1, 0, 1)
    assert "own.yaml: own_balance" in caught.value.message


def test_no_templates_or_two_of_a_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no workflow templates"):
        WorkflowSkill(tmp_path)
    (tmp_path / "a.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match="'own_balance' is there twice"):
        skill_of(tmp_path, GOOD)


def test_without_jinja2_the_install_line_is_named(monkeypatch):
    expressions._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentMissing, match="workflow templates need jinja2") as caught:
        expressions.check_syntax("{{ a }}")
    assert caught.value.hint == "pip install 'frontier-data-engine[llm]'"


def test_one_piece_is_no_plural():
    records = [GENERATOR.sample(7, index, 5) for index in range(300)]
    asked = [turn["content"] for record in records for turn in record["messages"] if turn["role"] == "user"]
    assert any(" needs 1 piece of " in text for text in asked)
    assert not [text for text in asked if " 1 pieces " in text]
