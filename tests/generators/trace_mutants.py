"""Wrong traces in bulk: a right trace with one thing changed, for the tests that no judge takes one."""

import copy
from collections.abc import Iterator
from random import Random

import orjson

from frontier_core.profiles import dress, undress
from validators.services.facts import states


def calling(record):
    return [place for place, message in enumerate(record["messages"]) if message.get("tool_calls")]


def another(value, rng):
    """A value that differs: changed at one leaf."""
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        return {**value, key: another(value[key], rng)}
    if isinstance(value, list) and value:
        place = rng.randrange(len(value))
        return [*value[:place], another(value[place], rng), *value[place + 1 :]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + rng.choice((-1, 1, 10))
    if isinstance(value, str):
        return rng.choice((value + "x", value[:-1] if value else "y", "other"))
    return "something"


def change_argument(record, rng):
    function = rng.choice(record["messages"][rng.choice(calling(record))]["tool_calls"])["function"]
    arguments = orjson.loads(function["arguments"])
    if not arguments:
        return False
    function["arguments"] = orjson.dumps(another(arguments, rng)).decode()
    return True


def drop_argument(record, rng):
    function = rng.choice(record["messages"][rng.choice(calling(record))]["tool_calls"])["function"]
    arguments = orjson.loads(function["arguments"])
    if not arguments:
        return False
    arguments.pop(rng.choice(list(arguments)))
    function["arguments"] = orjson.dumps(arguments).decode()
    return True


def change_result(record, rng):
    message = rng.choice([message for message in record["messages"] if message["role"] == "tool"])
    message["content"] = orjson.dumps(another(orjson.loads(message["content"]), rng)).decode()
    return True


def block(record, place):
    return record["messages"][place : place + 1 + len(record["messages"][place]["tool_calls"])]


def drop_turn(record, rng):
    place = rng.choice(calling(record))
    del record["messages"][place : place + len(block(record, place))]
    return True


def drop_parallel_call(record, rng):
    places = [place for place in calling(record) if len(record["messages"][place]["tool_calls"]) > 1]
    if not places:
        return False
    place = rng.choice(places)
    number = rng.randrange(len(record["messages"][place]["tool_calls"]))
    del record["messages"][place]["tool_calls"][number]
    del record["messages"][place + 1 + number]
    return True


def swap_turns(record, rng):
    places = [p for p in calling(record) if p + len(block(record, p)) in calling(record)]
    if not places:
        return False
    place = rng.choice(places)
    first = block(record, place)
    second = block(record, place + len(first))
    asked = [[call["function"] for call in part[0]["tool_calls"]] for part in (first, second)]
    if asked[0] == asked[1]:
        return False  # a retry: the same call twice, whose order is the same either way
    record["messages"][place : place + len(first) + len(second)] = [*second, *first]
    return True


def repeat_turn(record, rng):
    place = rng.choice(calling(record))
    again = copy.deepcopy(block(record, place))
    for number, call in enumerate(again[0]["tool_calls"]):
        call["id"] = again[1 + number]["tool_call_id"] = f"again_{number}"
    record["messages"][place + len(again) : place + len(again)] = again
    return True


def rename_tool(record, rng):
    function = rng.choice(record["messages"][rng.choice(calling(record))]["tool_calls"])["function"]
    names = [tool["function"]["name"] for tool in record["tools"] if tool["function"]["name"] != function["name"]]
    function["name"] = rng.choice([*names, "no_such_tool"])
    return True


def break_id(record, rng):
    rng.choice([message for message in record["messages"] if message["role"] == "tool"])["tool_call_id"] = "call_0"
    return True


def misstate(record, rng):
    texts = [message for message in record["messages"] if message["role"] == "assistant" and message["content"]]
    number = rng.randrange(len(texts))
    facts = record["expect"]["replies"][number]["facts"]
    if not facts:
        return False
    words = rng.choice(facts)["text"]
    changed = undress(texts[number]["content"]).replace(words, str(another(words, rng)))
    texts[number]["content"] = dress(changed, "emoji_think")
    return not states(changed, words)


def change_digit(record, rng):
    """One digit of the last reply becomes another."""
    text = undress(record["messages"][-1]["content"])
    places = [place for place, char in enumerate(text) if char.isdecimal()]
    if not places:
        return False
    place = rng.choice(places)
    digit = rng.choice([digit for digit in "0123456789" if digit != text[place]])
    record["messages"][-1]["content"] = dress(text[:place] + digit + text[place + 1 :], "emoji_think")
    return True


def add_number(record, rng):
    text = undress(record["messages"][-1]["content"])
    record["messages"][-1]["content"] = dress(f"{text} That makes {rng.randint(10**6, 10**7)}.", "emoji_think")
    return True


def change_request(record, rng):
    turn = rng.choice([message for message in record["messages"] if message["role"] in ("system", "user")])
    turn["content"] += " Or not."
    return True


def stop_early(record, rng):
    del record["messages"][-1]
    return True


def call_forbidden(record, rng):
    forbidden = record["expect"].get("forbid")
    if not forbidden:
        return False
    call = {"id": "call_f", "type": "function", "function": {"name": rng.choice(forbidden), "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "call_f", "content": '{"error":{"code":"x","message":"x"}}'}
    record["messages"][-1:-1] = [{"role": "assistant", "content": None, "tool_calls": [call]}, result]
    return True


def comply(record, rng):
    if record["metadata"]["task_type"] != "refusal" or record["expect"]["replies"][-1]["kind"] != "refuse":
        return False
    record["messages"][-1]["content"] = dress("Sure, that is done.", "emoji_think")
    return True


def change_tool(record, rng):
    tool = rng.choice(record["tools"])["function"]
    tool["parameters"] = {"type": "object"}
    return True


MUTATIONS = [
    change_argument,
    drop_argument,
    change_result,
    drop_turn,
    drop_parallel_call,
    swap_turns,
    repeat_turn,
    rename_tool,
    break_id,
    misstate,
    change_digit,
    add_number,
    change_request,
    stop_early,
    call_forbidden,
    comply,
    change_tool,
]
NEEDS_CALLS = MUTATIONS[:9]


def trace_mutants(record: dict, rng: Random) -> Iterator[tuple[str, dict]]:
    """Yields, without end, traces that differ in one thing, each with the name of the mutation."""
    while True:
        mutation = rng.choice(MUTATIONS)
        if mutation in NEEDS_CALLS and not calling(record):
            continue
        mutant = copy.deepcopy(record)
        if mutation(mutant, rng):
            yield mutation.__name__, mutant
