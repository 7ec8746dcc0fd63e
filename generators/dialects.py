"""The forms other tools read and write, to and from ours: OpenAI, ShareGPT, Alpaca, TRL, Delta and Echo.

    contract  {messages, tools?, metadata}, {instruction, output, metadata}, {prompt, chosen, rejected, metadata}
    openai    {messages, tools?}: the contract's own form of a chat
    sharegpt  {conversations: [{from, value}]}; tool calls as function_call and observation turns, tools as JSON text
    alpaca    {instruction, input, output, system?, history?}
    trl       {prompt: [...], completion: [...]}, or {prompt, chosen, rejected}
    delta, echo, chat   see formats.py

There and back gives the same record: metadata rides along, a plan's fixture and expectation wait in metadata.plan, keys
of a foreign row that our specs do not know in metadata.extra, and what a form can't hold is an error, never dropped.
Parquet, folders of other tools and `<think>` blocks are not covered here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Literal, get_args

from frontier_core.errors import ConfigError, DataError
from frontier_core.jsonl import dumps, loads
from frontier_core.nearest import did_you_mean
from frontier_core.profiles import ProfileName, dress, undress
from frontier_core.records import Message, Record, metadata_of
from frontier_core.schemas import RECORD_SPECS, guess_spec, load_schema
from generators import formats
from validators.plans import PLAN_MARKER, plan_in

DialectName = Literal["contract", "openai", "sharegpt", "alpaca", "trl", "delta", "echo", "chat"]
DIALECTS: tuple[DialectName, ...] = get_args(DialectName)

_TO_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
_FROM_SHAREGPT = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "observation": "tool", "tool": "tool",
}  # fmt: skip


def dialect_named(name: str) -> DialectName:
    """Gives the dialect of that name, or raises ConfigError naming the nearest."""
    for dialect in DIALECTS:
        if name == dialect:
            return dialect
    raise ConfigError(f"unknown form {name!r}", hint=did_you_mean(name, DIALECTS))


def sniff(row: Record) -> DialectName:
    """Gives the dialect that a row's keys belong to; "contract" for our own.

    Raises:
        DataError: the keys belong to none.
    """
    if "conversations" in row or "conversation" in row:
        return "sharegpt"
    if guess_spec(row) is not None and not _is_alpaca(row):
        return "contract"
    if "completion" in row and "prompt" in row:
        return "trl"
    if _is_alpaca(row):
        return "alpaca"
    keys = ", ".join(list(row)[:8]) or "none"
    raise DataError(f"no known form has the keys {keys}", code="unknown_form", hint="name it with --from")


def _is_alpaca(row: Record) -> bool:
    return isinstance(row.get("instruction"), str) and isinstance(row.get("output"), str)


def from_dialect(row: Record, dialect: DialectName, *, skill: str = "imported") -> Record:
    """Gives the record of our contract for a row of another tool.

    Args:
        row: as it was read.
        dialect: the form it is in.
        skill: goes into metadata.skill when the row names none.
    Raises:
        DataError: the row is not in that form; names the key.
    """
    readers: dict[str, Callable[[Record], Record]] = {
        "sharegpt": _from_sharegpt, "alpaca": _from_alpaca, "trl": _from_trl, "echo": _from_echo, "chat": _from_echo,
    }  # fmt: skip
    record = readers.get(dialect, dict)(row)
    if "messages" in record:
        _turns(record, "messages")
    metadata = _metadata_in(record)
    spec = guess_spec(record)
    if spec == "preference_v1" and "prompt" not in record:
        record = _with_prompt(record)
    known = load_schema(spec)["properties"] if spec else record
    extra = {key: record.pop(key) for key in list(record) if key not in known and key != "metadata"}
    if extra:
        metadata["extra"] = {**metadata.get("extra", {}), **extra}
    record["metadata"] = metadata if "skill" in metadata else {"skill": skill, **metadata}
    return _plan_again(record)


def _plan_again(record: Record) -> Record:
    """Gives the plan a row carries: its steps from the text, the rest from metadata.plan; else the row as it is."""
    kept = record["metadata"].get("plan")
    if not isinstance(kept, dict):
        return record
    plan = _from_echo(record) if "messages" in record else record
    if "instruction" not in plan:
        return record  # the text was edited into something else; what it was stays in the metadata
    metadata = _rest(record["metadata"], "plan")
    return {"instruction": plan["instruction"], "output": plan["output"], **kept, "metadata": metadata}


def _metadata_in(record: Record) -> Record:
    """Gives a copy of the metadata, which some tools write as the text of an object."""
    metadata = record.get("metadata", {})
    if isinstance(metadata, str):
        with suppress(ValueError):
            metadata = loads(metadata)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("extra", {}), dict):
        raise DataError("metadata is no object", pointer="/metadata", code="wrong_type")
    return dict(metadata)


def to_dialect(record: Record, dialect: DialectName) -> Record:
    """Gives a record of our contract in another form.

    Raises:
        DataError: the form can't hold it; says why.
    """
    if dialect == "contract":
        return record
    spec = guess_spec(record)
    if spec == "plan_v1":
        kept = _rest(record, "instruction", "output", "metadata")
        carried = {"plan": kept} if kept or dialect != "delta" else {}
        record = {**record, "metadata": {**metadata_of(record), **carried}}
    if dialect in ("delta", "echo", "chat"):
        return formats.convert(record, dialect, profile=None)
    if spec == "plan_v1":
        record = formats.convert(record, "chat", profile=None)
    record = _with_own_keys(record)
    if spec == "preference_v1":
        if dialect != "trl":
            raise DataError(f"a preference pair has no {dialect} form", hint="--to trl")
        return _trl_pair(record)
    _turns(record, "messages")
    writers: dict[str, Callable[[Record], Record]] = {
        "sharegpt": _to_sharegpt, "alpaca": _to_alpaca, "trl": _to_trl,
    }  # fmt: skip
    return writers.get(dialect, dict)(record)


def _with_own_keys(record: Record) -> Record:
    """Puts a foreign row's own keys back where they stood, but for those that mean something else in some form."""
    extra = metadata_of(record).get("extra")
    if not isinstance(extra, dict):
        return record
    back = {key: value for key, value in extra.items() if key not in _reserved() and key not in record}
    left = _rest(extra, *back)
    metadata = {**_rest(record["metadata"], "extra"), **({"extra": left} if left else {})}
    return {**record, **back, "metadata": metadata}


@cache
def _reserved() -> frozenset[str]:
    """Gives every key that some spec or form reads."""
    known = {key for spec in RECORD_SPECS for key in load_schema(spec)["properties"]}
    return frozenset(known | {"conversations", "conversation", "system", "history", "input", "completion", "label"})


def _turns(record: Record, key: str) -> list[Message]:
    """Gives a list of turns; raises DataError when it is empty, or one is no object with a role."""
    turns = record.get(key)
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{key} holds no turns", pointer=f"/{key}", code="missing_key")
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise DataError("the turn has no role", pointer=f"/{key}/{number}", code="missing_key")
    return turns


def _text(turn: Message, number: int, *keys: str, form: str) -> str:
    """Gives a turn's text; raises DataError when it is none, or has keys but these that the form has no place for."""
    where = f"/messages/{number}"
    if not isinstance(turn.get("content"), str):
        raise DataError(f"a turn whose content is no text has no {form} form", pointer=f"{where}/content")
    for key in turn.keys() - {"role", "content", *keys}:
        raise DataError(f"{form} has no place for {key!r}", pointer=f"{where}/{key}", code="unknown_key")
    return str(turn["content"])


def with_profile(record: Record, profile: ProfileName) -> Record:
    """Gives the record with every assistant text in a profile; turns without text stay as they are."""
    bare = {key: [_dressed(turn, profile) for turn in turns] for key, turns in _turn_lists(record)}
    texts = {key: dress(record[key], profile) for key in ("chosen", "rejected") if isinstance(record.get(key), str)}
    return {**record, **bare, **texts}


def _turn_lists(record: Record) -> list[tuple[str, list[Message]]]:
    keys = ("messages", "chosen", "rejected", "completion")
    return [(key, record[key]) for key in keys if isinstance(record.get(key), list)]


def _dressed(turn: Message, profile: ProfileName) -> Message:
    text = turn.get("content")
    if turn.get("role") != "assistant" or not isinstance(text, str) or not undress(text):
        return turn
    return {**turn, "content": dress(text, profile)}


def _rest(record: Record, *taken: str) -> Record:
    return {key: value for key, value in record.items() if key not in taken}


def _key(row: Record, key: str, kind: type | tuple[type, ...], *, where: str = "") -> Any:
    value = row.get(key)
    if not isinstance(value, kind):
        problem = "is missing" if key not in row else f"is a {type(value).__name__}"
        raise DataError(f"{key!r} {problem}", pointer=f"{where}/{key}", code="wrong_type")
    return value


# ---- ShareGPT ----
def _to_sharegpt(record: Record) -> Record:
    turns: list[Message] = []
    for number, message in enumerate(record["messages"]):
        calls = message.get("tool_calls")
        if calls and message.get("content"):
            raise DataError(
                "a ShareGPT turn holds either text or tool calls, not both", pointer=f"/messages/{number}/tool_calls"
            )
        if calls:
            listed = [_flat_call(call) for call in calls]
            turns.append({"from": "function_call", "value": dumps(listed).decode()})
            continue
        if message["role"] not in _TO_SHAREGPT:
            raise DataError(
                f"ShareGPT has no speaker for the role {message['role']!r}", pointer=f"/messages/{number}/role"
            )
        extra = _rest(message, "role", "content")
        turns.append(
            {"from": _TO_SHAREGPT[message["role"]], "value": _text(message, number, *extra, form="ShareGPT"), **extra}
        )
    tools = {"tools": dumps(record["tools"]).decode()} if "tools" in record else {}
    return {"conversations": turns, **tools, **_rest(record, "messages", "tools")}


def _flat_call(call: Message) -> Message:
    """{name, arguments, id}: arguments as an object where that spells the same text, as the text otherwise."""
    function = call["function"]
    text = function["arguments"]
    try:
        arguments = loads(text)
    except ValueError:
        arguments = text
    if dumps(arguments).decode() != text:
        arguments = text
    return {"name": function["name"], "arguments": arguments, "id": call["id"]}


def _from_sharegpt(row: Record) -> Record:
    key = "conversations" if "conversations" in row else "conversation"
    messages: list[Message] = []
    if isinstance(row.get("system"), str) and row["system"]:
        messages.append({"role": "system", "content": row["system"]})
    pending: list[str] = []  # ids of the calls that observations answer, in order
    for number, turn in enumerate(_key(row, key, list)):
        where = f"/{key}/{number}"
        if not isinstance(turn, dict):
            raise DataError("the turn is no object", pointer=where, code="wrong_type")
        if "human" in turn:  # one exchange a turn: {human, assistant}
            messages.append({"role": "user", "content": _key(turn, "human", str, where=where)})
            messages.append({"role": "assistant", "content": _key(turn, "assistant", str, where=where)})
            continue
        speaker, text = _key(turn, "from", str, where=where), _key(turn, "value", str, where=where)
        if speaker == "function_call":
            calls = _calls_in(text, number, where)
            pending += [call["id"] for call in calls]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            continue
        if speaker not in _FROM_SHAREGPT:
            hint = did_you_mean(speaker, [*_FROM_SHAREGPT, "function_call"])
            raise DataError(f"unknown speaker {speaker!r}", pointer=f"{where}/from", code="unknown_role", hint=hint)
        message = {"role": _FROM_SHAREGPT[speaker], "content": text, **_rest(turn, "from", "value")}
        if message["role"] == "tool" and "tool_call_id" not in message:
            message["tool_call_id"] = pending[0] if pending else ""
        if message["role"] == "tool" and message["tool_call_id"] in pending:
            pending.remove(message["tool_call_id"])
        messages.append(message)
    rest = {**_tools_in(row), **_rest(row, key, "system", "tools", "chosen", "rejected")}
    if "chosen" in row or "rejected" in row:
        return {
            "prompt": messages,
            "chosen": _answer_in(row, "chosen"),
            "rejected": _answer_in(row, "rejected"),
            **rest,
        }
    return {"messages": messages, **rest}


def _answer_in(row: Record, key: str) -> str:
    answer = _key(row, key, (str, dict))
    return answer if isinstance(answer, str) else str(_key(answer, "value", str, where=f"/{key}"))


def _calls_in(text: str, number: int, where: str) -> list[Message]:
    try:
        listed = loads(text)
    except ValueError as error:
        raise DataError(f"the function call is no JSON: {error}", pointer=f"{where}/value", code="bad_json") from error
    calls: list[Message] = []
    for position, call in enumerate(listed if isinstance(listed, list) else [listed]):
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise DataError("the function call has no name", pointer=f"{where}/value", code="missing_key")
        arguments = call.get("arguments", {})
        text_of = arguments if isinstance(arguments, str) else dumps(arguments).decode()
        identity = call.get("id") or f"call_{number}_{position}"
        calls.append({"id": identity, "type": "function", "function": {"name": call["name"], "arguments": text_of}})
    return calls


def _tools_in(row: Record) -> Record:
    """Gives {tools} with each tool as {type, function}, from a list or its JSON text; {} when there are none."""
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = loads(tools) if tools.strip() else None
        except ValueError as error:
            raise DataError(f"tools is no JSON: {error}", pointer="/tools", code="bad_json") from error
    if tools is None:
        return {}
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise DataError("tools is no list of objects", pointer="/tools", code="wrong_type")
    return {"tools": [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]}


# ---- Alpaca ----
def _to_alpaca(record: Record) -> Record:
    messages = list(record["messages"])
    system = {"system": _text(messages.pop(0), 0, form="Alpaca")} if messages[0]["role"] == "system" else {}
    roles = [message["role"] for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) or not roles or "tools" in record:
        raise DataError(
            "an Alpaca row is user and assistant in turn, without tools", pointer="/messages", hint="--to sharegpt"
        )
    texts = [_text(message, number, form="Alpaca") for number, message in enumerate(messages)]
    history = [[texts[n], texts[n + 1]] for n in range(0, len(texts) - 2, 2)]
    row: Record = {"instruction": texts[-2], "input": "", "output": texts[-1], **system}
    return {**row, **({"history": history} if history else {}), **_rest(record, "messages")}


def _from_alpaca(row: Record) -> Record:
    messages: list[Message] = []
    if row.get("system"):
        messages.append({"role": "system", "content": _key(row, "system", str)})
    for number, pair in enumerate(row.get("history") or []):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise DataError("is no pair of texts", pointer=f"/history/{number}", code="wrong_type")
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    asked = _key(row, "instruction", str)
    given = row.get("input") or ""
    messages.append({"role": "user", "content": f"{asked}\n{given}" if given else asked})
    messages.append({"role": "assistant", "content": _key(row, "output", str)})
    return {"messages": messages, **_rest(row, "instruction", "input", "output", "system", "history")}


# ---- TRL ----
def _to_trl(record: Record) -> Record:
    *prompt, last = record["messages"]
    if last["role"] != "assistant" or not prompt:
        raise DataError("does not end in an answer to a prompt", pointer="/messages", code="no_answer")
    return {"prompt": prompt, "completion": [last], **_rest(record, "messages")}


def _trl_pair(record: Record) -> Record:
    """All three as texts or all three as turns: what TRL can tell apart."""
    keys = ("prompt", "chosen", "rejected")
    if all(isinstance(record[key], str) for key in keys):
        return record
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    return {**record, **{key: _as_turns(record[key], role) for key, role in roles.items()}}


def _with_prompt(record: Record) -> Record:
    """Takes the turns that both answers begin with for their prompt."""
    chosen, rejected = _turns(record, "chosen"), _turns(record, "rejected")
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    if not same:
        raise DataError("the answers have no prompt in common", pointer="/chosen", code="missing_key")
    return {"prompt": chosen[:same], **record, "chosen": chosen[same:], "rejected": rejected[same:]}


def _as_turns(value: str | list[Message], role: str) -> list[Message]:
    return [{"role": role, "content": value}] if isinstance(value, str) else value


def _from_trl(row: Record) -> Record:
    if ("chosen" in row and "rejected" in row) or "messages" in row:
        return dict(row)
    if row.get("label") is False:
        raise DataError(
            "label false: an answer not to be learned", pointer="/label", code="undesirable",
            hint="keep the rows with label true, or pair both kinds as chosen and rejected",
        )  # fmt: skip
    prompt, completion = _key(row, "prompt", (str, list)), _key(row, "completion", (str, list))
    messages = [*_as_turns(prompt, "user"), *_as_turns(completion, "assistant")]
    return {"messages": messages, **_tools_in(row), **_rest(row, "prompt", "completion", "tools")}


# ---- Echo ----
def _from_echo(row: Record) -> Record:
    """A plan announced by its marker becomes a plan again; any other chat stays a chat."""
    messages = _key(row, "messages", list)
    last = messages[-1] if messages else {}
    text = undress(last.get("content") or "") if isinstance(last, dict) else ""
    commands = plan_in(text)
    if commands is None or not isinstance(messages[0], dict) or messages[0].get("role") != "user":
        return dict(row)
    output = loads(text.partition(PLAN_MARKER.strip())[2].strip())
    return {"instruction": messages[0]["content"], "output": output, "metadata": metadata_of(row)}
