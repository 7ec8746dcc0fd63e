"""Judges tool traces by running every call again from the recorded initial state.

A trace is accepted when each assistant turn calls what is expected with arguments the tools accept, every recorded
result is what the services answer, the world ends as expected, nothing forbidden was called and every reply states its
facts. What a record expects stands in its `expect`:

    final_state  {sha256, changes}: digest of the state at the end, and how it differs from the first
    calls        [[{name, arguments}, ...], ...]: the calls of each calling turn, in order; those of one turn in any
    replies      [{kind: answer | ask | refuse, facts: [...]}]: one per assistant text, in order
    forbid       [name, ...]: tools that must not be called
    request_sha256  digest of the system and user turns: a trace over another request is another trace

Without `calls` any way to the end state and the facts will do. Each fact needs a place of its own in its reply, and
every number, id, date, time, amount or mail address there must be a fact's or have been said, sent or answered before.
LIMIT: texts are not understood. A reply that states its facts and denies them, or uses a number that came up for
something else, is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import orjson

from frontier_core.profiles import undress
from frontier_core.records import Message, Record
from validators.base import ACCEPTED, Finding, Verdict, reject
from validators.services import rest
from validators.services.base import Json, canonical, differences, digest
from validators.services.facts import NoFact, backed, claims, fact_text, unstated
from validators.services.table import execute, known_tool

REFUSALS = ("can't", "cannot", "can not", "won't", "not able to", "not allowed", "unable to", "may not", "must not")
KINDS = ("answer", "ask", "refuse")


class _Refused(Exception):
    def __init__(self, code: str, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.finding = Finding(code=code, message=message, pointer=pointer)


def verify(record: Record, answer: str) -> Verdict:
    """Judges a trace; `answer` takes the place of its last assistant text.

    Codes: bad_trace, unknown_tool, tool_changed, bad_arguments, bad_call_id, wrong_result, unexpected_call,
    missing_call, forbidden_call, wrong_state, wrong_reply, missing_fact, unsupported_claim, not_refused, not_asked,
    request_changed.
    """
    try:
        _judge(record, answer)
    except _Refused as refused:
        return Verdict(findings=(refused.finding,))
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        # A world or an expectation of the wrong shape: the services take theirs as given.
        return reject("bad_trace", f"the trace can't be run: {type(error).__name__}: {error}"[:200])
    return ACCEPTED


def request_digest(messages: Sequence[Message]) -> str:
    """Gives the SHA-256 of what was asked: role and text of the system and user turns, in order."""
    asked = [[turn["role"], turn["content"]] for turn in messages if turn.get("role") in ("system", "user")]
    return sha256(canonical(asked)).hexdigest()


def _judge(record: Record, answer: str) -> None:
    state, expect, tools = record.get("initial_state"), record.get("expect"), record.get("tools")
    messages = record.get("messages")
    if not isinstance(state, dict) or not isinstance(expect, dict) or not isinstance(expect.get("final_state"), dict):
        raise _Refused("bad_trace", "a trace needs initial_state and expect.final_state to be judged by")
    if not isinstance(messages, list) or not isinstance(tools, list):
        raise _Refused("bad_trace", "a trace needs messages and tools")
    _check_tools(state, tools)
    replay = _Replay(state, tools, set(expect.get("forbid", ())))
    turns = list(_turns(messages))
    texts: list[tuple[int, str]] = []
    calls: list[tuple[int, list[Json]]] = []
    for place, message, results in turns:
        if message.get("tool_calls"):
            calls.append((place, replay.run(place, message["tool_calls"], results)))
        else:
            texts.append((place, undress(str(message.get("content") or ""))))
    if not texts or texts[-1][0] != len(messages) - 1:
        raise _Refused("wrong_reply", "the trace does not end in a reply", f"/messages/{len(messages) - 1}")
    texts[-1] = (texts[-1][0], answer)
    if expect.get("request_sha256", "") not in ("", request_digest(messages)):
        raise _Refused("request_changed", "the system or user turns are not those the trace was made for", "/messages")
    if isinstance(expect.get("calls"), list):
        _check_calls(calls, expect["calls"], len(messages))
    _check_state(state, replay.state, expect["final_state"])
    _check_replies(texts, expect.get("replies", []), replay.results, messages)


def _check_tools(state: Json, tools: Sequence[Json]) -> None:
    """Built-in tools must be declared as they are; those of a document are what the record says."""
    for place, entry in enumerate(tools):
        function = entry.get("function") if isinstance(entry, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise _Refused("bad_trace", "a tool has no name", f"/tools/{place}")
        if rest.KEY in state:
            continue
        known = known_tool(name)
        if known is None:
            raise _Refused("unknown_tool", f"there is no tool {name!r}", f"/tools/{place}/function/name")
        if canonical(entry) != canonical(known.declaration):
            raise _Refused("tool_changed", f"{name} is declared otherwise than it works", f"/tools/{place}")


def _turns(messages: Sequence[Message]) -> Iterator[tuple[int, Message, list[Message]]]:
    """Yields each assistant turn with its place and the tool turns right behind it; others must be in order."""
    last = ""
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role == "assistant":
            if last not in ("user", "tool"):
                raise _Refused(
                    "bad_trace", f"an assistant turn follows a {last or 'missing'} turn", f"/messages/{place}"
                )
            behind: list[Message] = []
            for other in messages[place + 1 :]:
                if not isinstance(other, dict) or other.get("role") != "tool":
                    break
                behind.append(other)
            yield place, message, behind
        elif role == "tool" and (last not in ("assistant", "tool")):
            raise _Refused("bad_trace", "a result that no call asked for", f"/messages/{place}")
        elif role == "user" and last not in ("", "system", "assistant"):
            raise _Refused("bad_trace", f"a user turn follows a {last} turn", f"/messages/{place}")
        elif role not in ("system", "user", "tool", "assistant") or (role == "system" and place):
            raise _Refused("bad_trace", f"a {role} turn has no place here", f"/messages/{place}")
        last = str(role)


class _Replay:
    """The world while a trace is run again."""

    def __init__(self, state: Json, tools: Sequence[Json], forbid: set[str]) -> None:
        self.state = state
        self.results: dict[str, Any] = {}
        self._tools = tools
        self._names = {entry["function"]["name"] for entry in tools}
        self._forbid = forbid

    def run(self, place: int, calls: Any, answers: Sequence[Message]) -> list[Json]:
        """Runs the calls of one turn and compares their recorded results; gives name and arguments of each."""
        made = []
        if not isinstance(calls, list) or len(calls) != len(answers):
            message = f"{len(calls)} calls, {len(answers)} results"
            raise _Refused("bad_trace", message, f"/messages/{place}/tool_calls")
        for number, (call, answer) in enumerate(zip(calls, answers, strict=True)):
            pointer = f"/messages/{place}/tool_calls/{number}"
            name, arguments = self._read(call, pointer)
            if answer.get("tool_call_id") != call["id"] or call["id"] in self.results:
                raise _Refused("bad_call_id", f"{call['id']} has no result of its own, in order", f"{pointer}/id")
            self.state, result = execute(self.state, name, arguments, tools=self._tools)
            self.results[call["id"]] = result
            if not _same(answer.get("content"), result):
                pointer = f"/messages/{place + 1 + number}/content"
                raise _Refused("wrong_result", f"{name} answers otherwise: {_short(result)}", pointer)
            made.append({"name": name, "arguments": arguments})
        return made

    def _read(self, call: Any, pointer: str) -> tuple[str, Json]:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str):
            raise _Refused("bad_trace", "a call has no id and function", pointer)
        name = str(function.get("name"))
        if name not in self._names:
            raise _Refused("unknown_tool", f"{name!r} is not among the record's tools", f"{pointer}/function/name")
        if name in self._forbid:
            raise _Refused("forbidden_call", f"{name} must not be called here", f"{pointer}/function/name")
        try:
            arguments = orjson.loads(function.get("arguments", ""))
        except (ValueError, TypeError):
            arguments = None
        if not isinstance(arguments, dict):
            raise _Refused("bad_arguments", "arguments are no JSON object", f"{pointer}/function/arguments")
        return name, arguments


def _same(content: Any, result: Any) -> bool:
    try:
        return canonical(orjson.loads(content)) == canonical(result)
    except (ValueError, TypeError):
        return False


def _short(value: Any, limit: int = 100) -> str:
    text = canonical(value).decode()
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _check_calls(made: list[tuple[int, list[Json]]], expected: list[Any], num_messages: int) -> None:
    for (place, calls), wanted in zip(made, expected, strict=False):
        if sorted(map(canonical, calls)) != sorted(map(canonical, wanted)):
            names = ", ".join(str(call.get("name")) for call in wanted)
            raise _Refused(
                "unexpected_call", f"expected here: {names}, with other arguments or names", f"/messages/{place}"
            )
    if len(made) > len(expected):
        raise _Refused("unexpected_call", "a call more than expected", f"/messages/{made[len(expected)][0]}")
    if len(made) < len(expected):
        names = ", ".join(str(call.get("name")) for call in expected[len(made)])
        raise _Refused("missing_call", f"never called: {names}", f"/messages/{num_messages - 1}")


def _check_state(before: Json, after: Json, expected: Json) -> None:
    changes = differences(before, after)
    if digest(after) == expected.get("sha256") and canonical(changes) == canonical(expected.get("changes")):
        return
    wanted = {change["path"]: change for change in expected.get("changes") or ()}
    made = {change["path"]: change for change in changes}
    paths = sorted({*wanted, *made})
    first = next((path for path in paths if wanted.get(path) != made.get(path)), "")
    raise _Refused("wrong_state", f"the world ends otherwise than expected at {first or '/'}", "/expect/final_state")


def _check_replies(
    texts: list[tuple[int, str]], expected: list[Json], results: dict[str, Any], messages: Sequence[Message]
) -> None:
    if len(texts) != len(expected):
        message = f"{len(texts)} replies, {len(expected)} are expected"
        raise _Refused("wrong_reply", message, f"/messages/{texts[-1][0]}")
    for number, ((place, text), reply) in enumerate(zip(texts, expected, strict=True)):
        pointer = f"/messages/{place}/content"
        if reply["kind"] == "refuse" and not any(words in text.lower() for words in REFUSALS):
            raise _Refused("not_refused", "the reply does not refuse", pointer)
        if reply["kind"] == "ask" and "?" not in text:
            raise _Refused("not_asked", "the reply asks nothing", pointer)
        facts = _fact_words(reply.get("facts", ()), results, f"/expect/replies/{number}/facts")
        absent = unstated(text, facts)
        if absent:
            raise _Refused("missing_fact", f"the reply does not state {absent!r}", pointer)
        _check_claims(text, [*facts, *_said_before(messages[:place])], pointer)


def _fact_words(facts: Sequence[Json], results: dict[str, Any], where: str) -> list[str]:
    """Works the facts of a reply out again."""
    found = []
    for position, fact in enumerate(facts):
        source = f"{where}/{position}"
        try:
            words = fact["text"] if fact["op"] == "said" else fact_text(fact, results)
        except (NoFact, KeyError) as error:
            raise _Refused("bad_trace", f"the fact does not follow from the results: {error}", source) from error
        if words != fact["text"]:
            raise _Refused("bad_trace", f"the results give {words!r}, not {fact['text']!r}", source)
        found.append(words)
    return found


def _said_before(messages: Sequence[Message]) -> Iterator[str]:
    """Yields what a reply may take its figures from: earlier requests, arguments of calls, and results."""
    for message in messages:
        if message["role"] != "assistant":
            yield str(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            yield call["function"]["arguments"]


def _check_claims(text: str, sources: Sequence[str], pointer: str) -> None:
    made = claims(text)
    if not made:
        return
    unknown = made.difference(*map(backed, sources))
    if unknown:
        first = min(unknown, key=lambda claim: (text.find(claim), claim))
        raise _Refused("unsupported_claim", f"nothing that was said, sent or answered gives {first!r}", pointer)
