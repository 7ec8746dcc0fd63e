"""What the trace verifier says of a small trace written by hand, one fault at a time."""

import copy
from random import Random

import orjson
import pytest

from validators.services.base import differences, digest
from validators.services.table import execute, seed_world, tools_of
from validators.skills.tool_use import request_digest, verify


def hand_made():
    """Looks up an account, asks, then moves money: two calls, two replies."""
    state, _ = seed_world(Random(3), ["bank"])
    accounts = [account for account in state["bank"]["accounts"].values() if account["owner"] == state["user"]["email"]]
    first, second = accounts[0]["id"], accounts[1]["id"]
    asked = [("bank_get_balance", {"account_id": first})]
    moved = [("bank_transfer", {"from_account": first, "to_account": second, "amount_cents": 1500})]
    world, turns, calls = state, [], []
    for number, [(name, arguments)] in enumerate((asked, moved)):
        world, result = execute(world, name, arguments)
        function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
        call = {"id": f"c{number}", "type": "function", "function": function}
        answer = {"role": "tool", "tool_call_id": f"c{number}", "content": orjson.dumps(result).decode()}
        turns.append([{"role": "assistant", "content": None, "tool_calls": [call]}, answer])
        calls.append([{"name": name, "arguments": arguments}])
    fact = {"text": "15.00", "op": "value", "of": ["c1#/amount_cents"], "form": "money"}
    return {
        "messages": [
            {"role": "user", "content": "Move 15.00 to my savings."},
            *turns[0],
            {"role": "assistant", "content": "Shall I really?"},
            {"role": "user", "content": "Yes."},
            *turns[1],
            {"role": "assistant", "content": "I moved 15.00."},
        ],
        "tools": tools_of(["bank"]),
        "initial_state": state,
        "expect": {
            "final_state": {"sha256": digest(world), "changes": differences(state, world)},
            "calls": calls,
            "replies": [{"kind": "ask", "facts": []}, {"kind": "answer", "facts": [fact]}],
        },
        "metadata": {"skill": "tool_use"},
    }


def function(record):
    return record["messages"][1]["tool_calls"][0]["function"]


def test_the_trace_as_it_is_is_accepted():
    assert verify(hand_made(), "I moved 15.00.").ok


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Done, 15.00.", "ok"),
        ("I moved 115.00.", "missing_fact"),
        ("", "missing_fact"),
        ("I moved 15.00, the fee was 3.", "unsupported_claim"),
        ("I moved 15.00 on 2031-02-03.", "unsupported_claim"),
        ("I moved 15.00 and told boss@nowhere.example.", "unsupported_claim"),
    ],
)
def test_another_answer_is_judged_by_its_facts(answer, code):
    assert verify(hand_made(), answer).code == code


def test_one_occurrence_does_not_state_two_facts():
    record = hand_made()
    facts = record["expect"]["replies"][1]["facts"]
    facts.append(dict(facts[0]))
    assert verify(record, "I moved 15.00.").code == "missing_fact"
    assert verify(record, "I moved 15.00, the amount is 15.00.").ok


def test_a_request_that_is_bound_may_not_change():
    record = hand_made()
    record["expect"]["request_sha256"] = request_digest(record["messages"])
    assert verify(record, "I moved 15.00.").ok
    record["messages"][0]["content"] = "Move 15.00 to my checking."
    assert verify(record, "I moved 15.00.").code == "request_changed"


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        (lambda r: r.pop("tools"), "bad_trace", ""),
        (lambda r: r["tools"].append("x"), "bad_trace", "/tools/4"),
        (lambda r: r["tools"][0]["function"].update(description="Other."), "tool_changed", "/tools/0"),
        (lambda r: r["messages"].insert(1, {"role": "user", "content": "Hm."}), "bad_trace", "/messages/1"),
        (lambda r: r["messages"].insert(1, {"role": "system", "content": "Hm."}), "bad_trace", "/messages/1"),
        (lambda r: r["messages"].insert(4, {"role": "assistant", "content": "Hm."}), "bad_trace", "/messages/4"),
        (lambda r: r["messages"].insert(1, {"role": "poet", "content": "Hm."}), "bad_trace", "/messages/1"),
        (lambda r: r["messages"].pop(2), "bad_trace", "/messages/2"),
        (lambda r: r["initial_state"]["bank"].pop("accounts"), "bad_trace", ""),
        (lambda r: r["expect"]["replies"][0].pop("kind"), "bad_trace", ""),
        (lambda r: r["messages"][1]["tool_calls"].append({}), "bad_trace", "/messages/1/tool_calls"),
        (lambda r: r["messages"][1]["tool_calls"][0].pop("id"), "bad_trace", "/messages/1/tool_calls/0"),
        (lambda r: function(r).update(arguments="{"), "bad_arguments", "/messages/1/tool_calls/0/function/arguments"),
        (lambda r: function(r).update(arguments="[]"), "bad_arguments", "/messages/1/tool_calls/0/function/arguments"),
        (lambda r: function(r).update(name="fly"), "unknown_tool", "/messages/1/tool_calls/0/function/name"),
        (lambda r: r["messages"][2].update(tool_call_id="c9"), "bad_call_id", "/messages/1/tool_calls/0/id"),
        (lambda r: r["messages"][2].update(content="no json"), "wrong_result", "/messages/2/content"),
        (
            lambda r: r["expect"].update(forbid=["bank_get_balance"]),
            "forbidden_call",
            "/messages/1/tool_calls/0/function/name",
        ),
        (lambda r: r["expect"]["calls"].pop(), "unexpected_call", "/messages/5"),
        (lambda r: r["expect"]["final_state"]["changes"].pop(), "wrong_state", "/expect/final_state"),
        (lambda r: r["messages"][3].update(content="I shall."), "not_asked", "/messages/3/content"),
        (lambda r: r["expect"]["replies"][0].update(kind="refuse"), "not_refused", "/messages/3/content"),
        (lambda r: r["expect"]["replies"].pop(), "wrong_reply", "/messages/7"),
        (
            lambda r: r["expect"]["replies"][1]["facts"][0].update(text="16.00"),
            "bad_trace",
            "/expect/replies/1/facts/0",
        ),
        (lambda r: r["expect"]["replies"][1]["facts"][0].update(of=["c7#"]), "bad_trace", "/expect/replies/1/facts/0"),
    ],
)
def test_each_fault_has_its_code_and_its_place(change, code, pointer):
    record = copy.deepcopy(hand_made())
    change(record)
    verdict = verify(record, "I moved 15.00.")
    assert (verdict.code, verdict.findings[0].pointer) == (code, pointer)
