"""Rows of other tools to records of our contract: every form sniffed, nothing lost, text cleaned by choice.

`dialects.py` holds the forms that go both ways; here are those that only come in (preference pairs, KTO, query and
response, lists of turns, content in parts) and what all imported rows need: roles by their many names, calls and tools
in one form, `<think>` blocks, keys our turns have no place for. Those go to metadata.extra, with labels and tools that
the record's spec can't hold. Which files rows come from is foreign_files.py.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Literal, get_args

from frontier_core.errors import ConfigError, DataError
from frontier_core.jsonl import dumps, loads
from frontier_core.nearest import did_you_mean
from frontier_core.records import Message, Record
from frontier_core.schemas import guess_spec
from generators import dialects

FormName = Literal[
    "contract", "openai", "sharegpt", "alpaca", "prompt-completion", "query-response", "preference", "kto",
    "tool-calls", "messages-list",
]  # fmt: skip
FORMS: tuple[FormName, ...] = get_args(FormName)
CONTAINERS = ("parquet", "hf-dataset-dir")
"""Names that `--from` takes too: they say what holds the rows, which is seen anyway."""
Think = Literal["strip", "keep"]

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "bot": "assistant", "model": "assistant", "ai": "assistant", "chatgpt": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip
_QUERIES = (
    ("query", "response"), ("question", "answer"), ("problem", "solution"), ("prompt", "response"),
    ("input", "output"), ("question", "response"), ("instruction", "response"), ("prompt", "answer"),
)  # fmt: skip
_TURN_KEYS = ("role", "content", "tool_calls", "tool_call_id")
_THINK = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>\s*", re.S)
_TOOL_PARTS = ("tool_call", "tool_use", "tool_result", "function_call", "function_result")


def form_named(name: str) -> FormName | None:
    """Gives the form of that name, None for "auto" and for a container; raises ConfigError naming the nearest."""
    if name in ("", "auto", *CONTAINERS):
        return None
    for form in FORMS:
        if name == form:
            return form
    raise ConfigError(f"unknown form {name!r}", hint=did_you_mean(name, ["auto", *FORMS, *CONTAINERS]))


def sniff(value: Any) -> FormName:
    """Gives the form that a row's shape declares.

    Raises:
        DataError: it declares none.
    """
    if isinstance(value, list):
        if value and all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in value):
            return "messages-list"
        raise DataError("the row is an array, but not of turns", code="not_an_object")
    if not isinstance(value, dict):
        raise DataError("the row is no object", code="not_an_object", hint="each row must be one record: an object")
    if any(key in value for key in ("chosen", "rejected", "chosen_messages", "rejected_messages", "rejected_response")):
        return "preference"
    if isinstance(value.get("label"), bool) and "prompt" in value and ("completion" in value or "response" in value):
        return "kto"
    if isinstance(value.get("messages"), list):
        return _sniff_chat(value)
    if "conversations" in value or "conversation" in value:
        return "sharegpt"
    if guess_spec(value) is not None and not isinstance(value.get("output"), str):
        return "contract"
    if "prompt" in value and "completion" in value:
        return "prompt-completion"
    if isinstance(value.get("instruction"), str) and "output" in value:
        return "alpaca"
    if any(left in value and right in value for left, right in _QUERIES):
        return "query-response"
    keys = ", ".join(list(value)[:8]) or "none"
    raise DataError(f"no known form has the keys {keys}", code="unknown_form", hint="name it with --from")


def _sniff_chat(row: Record) -> FormName:
    if "tools" in row or "functions" in row or any(_uses_tools(turn) for turn in row["messages"]):
        return "tool-calls"
    metadata = row.get("metadata")
    is_ours = isinstance(metadata, dict) and "skill" in metadata and guess_spec(row) is not None
    return "contract" if is_ours else "openai"


def _uses_tools(turn: Any) -> bool:
    if not isinstance(turn, dict):
        return False
    parts = turn.get("content")
    has_parts = isinstance(parts, list) and any(
        isinstance(part, dict) and part.get("type") in _TOOL_PARTS for part in parts
    )
    return has_parts or any(key in turn for key in ("tool_calls", "tool_call_id", "function_call"))


class Importer:
    """Takes rows one after another; `think` counts the turns whose `<think>` block was taken out.

    Args:
        form: the form of every row; None tells it from each row.
        think: what becomes of `<think>` blocks.
        defaults: metadata of rows that say nothing of their own (skill, source, ...).
    """

    def __init__(self, form: FormName | None = None, *, think: Think = "strip", defaults: Record | None = None) -> None:
        self.form = form
        self.think: Think = think
        self.defaults = {"skill": "imported", **(defaults or {})}
        self.num_stripped = 0

    def take(self, value: Any, *, source: str = "", split: str = "") -> tuple[FormName, Record]:
        """Gives the form of a row and its record.

        Args:
            value: the row as it was read.
            source: metadata.source of rows that name none.
            split: the split of the dataset it comes from; kept in metadata.split.
        Raises:
            DataError: the row is not in the form, or can't be a record; says why.
        """
        form = self.form or sniff(value)
        record = self._read(value, form)
        extra: Record = {}
        for key in ("messages", "prompt", "chosen", "rejected"):
            if isinstance(record.get(key), list):
                record[key] = self._turns(record[key], key, extra)
            elif key != "prompt" and isinstance(record.get(key), str):
                record[key] = self._thought(record[key])
        if "tools" in record and "messages" in record:
            record["tools"] = _tools(record["tools"])
        if guess_spec(record) in ("preference_v1", "reward_v1"):
            _flatten(record, extra)
        if isinstance(record.get("response"), str):
            record["response"] = self._thought(record["response"])
        metadata = {key: item for key, item in self.defaults.items() if key not in record["metadata"]}
        metadata |= record["metadata"]
        metadata |= {"source": source} if source and "source" not in metadata else {}
        metadata |= {"split": split} if split and "split" not in metadata else {}
        if extra:
            metadata["extra"] = {**metadata.get("extra", {}), **extra}
        record["metadata"] = metadata
        return form, record

    def _read(self, value: Any, form: FormName) -> Record:
        if form == "messages-list":
            value = {"messages": value}
        if not isinstance(value, dict):
            raise DataError(f"a row of the form {form} is an object", code="not_an_object")
        readers: dict[FormName, Any] = {"preference": _preference, "kto": _kto, "query-response": _query_response}
        row = readers.get(form, dict)(dict(value))
        for key in ("messages", "conversations", "conversation"):
            if isinstance(row.get(key), str):
                row[key] = _json_list(row[key], key)
        row = _turns_named_conversations(row)
        known: dict[FormName, dialects.DialectName] = {
            "sharegpt": "sharegpt", "alpaca": "alpaca", "query-response": "alpaca", "prompt-completion": "trl",
        }  # fmt: skip
        dialect = known.get(form, "contract")
        if form == "sharegpt" and "messages" in row:
            dialect = "contract"
        if "functions" in row and "tools" not in row:
            row["tools"] = row.pop("functions")
        record = dialects.from_dialect(row, dialect)
        if "skill" not in _given_metadata(row):
            record["metadata"].pop("skill", None)
        return record

    def _turns(self, turns: list[Any], key: str, extra: Record) -> list[Message]:
        out: list[Message] = []
        kept: list[Record] = []
        for place, turn in enumerate(turns):
            where = f"/{key}/{place}"
            if not isinstance(turn, dict):
                raise DataError("the turn is no object", pointer=where, code="wrong_type")
            for message in _messages_in(turn, where, place):
                rest = {name: item for name, item in message.items() if name not in _TURN_KEYS and item is not None}
                if rest:
                    kept.append({"turn": len(out), **rest})
                message = {name: message[name] for name in _TURN_KEYS if name in message}
                if message["role"] == "assistant" and isinstance(message.get("content"), str):
                    message["content"] = self._thought(message["content"], rest)
                out.append(message)
        if kept:
            extra["turns" if key == "messages" else f"{key}_turns"] = kept
        return _answered(out)

    def _thought(self, text: str, rest: Record | None = None) -> str:
        """Gives an answer with its thoughts as chosen; thoughts beside the text (reasoning_content) are kept apart."""
        if self.think == "keep":
            beside = (rest or {}).get("reasoning_content")
            return (
                f"<think>\n{beside}\n</think>\n\n{text}" if isinstance(beside, str) and "<think>" not in text else text
            )
        bare = _THINK.sub("", text)
        if "</think>" in bare and "<think>" not in bare:  # the opening tag was part of the prompt
            bare = bare.rpartition("</think>")[2].lstrip()
        self.num_stripped += bare != text
        return bare


def _given_metadata(row: Record) -> Record:
    metadata = row.get("metadata")
    if isinstance(metadata, str):
        try:
            metadata = loads(metadata)
        except ValueError:
            return {}
    return metadata if isinstance(metadata, dict) else {}


def _json_list(text: str, key: str) -> list[Any]:
    try:
        value = loads(text)
    except ValueError as error:
        raise DataError(f"{key} is text, but no JSON: {error}", pointer=f"/{key}", code="bad_json") from error
    if not isinstance(value, list):
        raise DataError(f"{key} is no list", pointer=f"/{key}", code="wrong_type")
    return value


def _turns_named_conversations(row: Record) -> Record:
    """Gives a row whose `conversations` are turns with roles the name that such turns have."""
    for key in ("conversations", "conversation"):
        turns = row.get(key)
        if isinstance(turns, list) and turns and isinstance(turns[0], dict) and "role" in turns[0]:
            row["messages"] = row.pop(key)
            if isinstance(row.get("system"), str) and row["system"]:
                row["messages"] = [{"role": "system", "content": row.pop("system")}, *row["messages"]]
    return row


def _messages_in(turn: Message, where: str, place: int) -> list[Message]:
    """Gives a turn in our form: one message, or several when its content is parts with calls and results."""
    name = turn.get("role", turn.get("from"))
    role = _ROLES.get(str(name).lower())
    if role is None:
        hint = did_you_mean(str(name), list(_ROLES))
        raise DataError(f"unknown role {name!r}", pointer=f"{where}/role", code="unknown_role", hint=hint)
    message = {**{key: item for key, item in turn.items() if key not in ("from", "value")}, "role": role}
    if "content" not in message and "value" in turn:
        message["content"] = turn["value"]
    legacy = message.pop("function_call", None)
    if isinstance(legacy, dict):
        message["tool_calls"] = [{"function": legacy}]
    if not message.get("tool_calls"):
        message.pop("tool_calls", None)
    else:
        message["tool_calls"] = [
            _call(call, f"{where}/tool_calls", place, n) for n, call in enumerate(message["tool_calls"])
        ]
        message.setdefault("content", None)
    if isinstance(message.get("content"), list):
        return _from_parts(message, where, place)
    if not isinstance(message.get("content"), str) and not message.get("tool_calls"):
        raise DataError("the turn has no text", pointer=f"{where}/content", code="no_text")
    return [message]


def _call(call: Any, where: str, place: int, number: int) -> Message:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise DataError("the call has no name", pointer=f"{where}/{number}", code="missing_key")
    arguments = function.get("arguments", function.get("input", {}))
    text = arguments if isinstance(arguments, str) else dumps(arguments).decode()
    identity = str(call.get("id") or f"call_{place}_{number}")
    return {"id": identity, "type": "function", "function": {"name": function["name"], "arguments": text}}


def _from_parts(message: Message, where: str, place: int) -> list[Message]:
    """Gives the messages that a list of parts stands for: text, calls, what they gave, text."""
    out: list[Message] = []
    current: Message = {**message, "content": ""}
    number = 0
    for index, part in enumerate(message["content"]):
        at = f"{where}/content/{index}"
        part = {"type": "text", "text": part} if isinstance(part, str) else part
        if not isinstance(part, dict):
            raise DataError("the part is no object", pointer=at, code="wrong_type")
        kind = part.get("type", "text")
        if kind in ("tool_call", "tool_use", "function_call"):
            named = {**part, "name": part.get("tool_name") or part.get("name")}
            current.setdefault("tool_calls", []).append(_call(named, at, place, number))
            number += 1
        elif kind in ("tool_result", "function_result"):
            calls = current.get("tool_calls", [])
            if calls:
                out.append({**current, "content": current["content"] or None})
                current = {"role": message["role"], "content": ""}
            given = part.get("output", part.get("content", ""))
            text = given if isinstance(given, str) else dumps(given).decode()
            answered = part.get("tool_use_id") or part.get("id") or (calls[-1]["id"] if calls else "")
            out.append({"role": "tool", "tool_call_id": str(answered), "content": text})
        else:
            words = next((part[key] for key in ("text", "value", "content") if isinstance(part.get(key), str)), None)
            if words is None or kind not in ("text", "input_text", "output_text", "thinking", "reasoning"):
                raise DataError(f"a part of type {kind!r} has no text form", pointer=at, code="media")
            current["content"] += f"<think>{words}</think>" if kind in ("thinking", "reasoning") else words
    if current.get("tool_calls"):
        current["content"] = current["content"] or None
    if current["content"] or current.get("tool_calls") or not out:
        out.append(current)
    return out


def _answered(turns: list[Message]) -> list[Message]:
    """Gives tool turns that name no call the id of the oldest call without an answer."""
    waiting: list[str] = []
    for turn in turns:
        waiting += [call["id"] for call in turn.get("tool_calls") or ()]
        if turn["role"] == "tool":
            identity = turn.get("tool_call_id") or (waiting[0] if waiting else "")
            turn["tool_call_id"] = identity
            if identity in waiting:
                waiting.remove(identity)
    return turns


def _tools(tools: Any) -> Any:
    if isinstance(tools, str):
        tools = _json_list(tools, "tools")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise DataError("tools is no list of objects", pointer="/tools", code="wrong_type")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]


# ---- forms that only come in ----
def _query_response(row: Record) -> Record:
    pair = next((pair for pair in _QUERIES if pair[0] in row and pair[1] in row), None)
    if pair is None:
        raise DataError("there is neither query and response nor question and answer", code="missing_key")
    renamed = {pair[0]: "instruction", pair[1]: "output"}
    return {renamed.get(key, key): item for key, item in row.items()}


def _kto(row: Record) -> Record:
    """One answer with a thumb up or down: a rewarded answer, its label kept."""
    label = row.pop("label", None)
    if not isinstance(label, bool):
        raise DataError("label is neither true nor false", pointer="/label", code="wrong_type")
    key = "completion" if "completion" in row else "response"
    answer, prompt = row.pop(key, None), row.pop("prompt", None)
    if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], dict):
        answer = answer[0].get("content")
    if not isinstance(answer, str) or not isinstance(prompt, (str, list)):
        raise DataError("prompt and completion are no texts or turns", code="wrong_type")
    metadata = {**_given_metadata(row), "label": label}
    return {**row, "prompt": prompt, "response": answer, "reward": 1.0 if label else 0.0, "metadata": metadata}


def _preference(row: Record) -> Record:
    """A better and a worse answer, in the many ways to say so."""
    for key in ("chosen", "rejected"):
        if f"{key}_messages" in row:
            row[key] = row.pop(f"{key}_messages")
        if isinstance(row.get(key), list):
            row[key] = [_plain_turn(turn, f"/{key}/{n}") for n, turn in enumerate(row[key])]
    if "rejected_response" in row and isinstance(row.get("messages"), list) and row["messages"]:
        *prompt, last = row.pop("messages")
        row |= {"prompt": prompt, "chosen": [last], "rejected": row.pop("rejected_response")}
    if "conversations" in row:
        record = dialects.from_dialect(row, "sharegpt")
        if "skill" not in _given_metadata(row):
            record["metadata"].pop("skill", None)
        return record
    if "prompt" not in row and isinstance(row.get("chosen"), str):
        row = _spoken(row)
    chosen, rejected = row.get("chosen"), row.get("rejected")
    prompt = row.get("prompt")
    if chosen is None or rejected is None:
        raise DataError("there is no pair of chosen and rejected", code="missing_key")
    if isinstance(prompt, str) and _repeats(chosen, prompt) and _repeats(rejected, prompt):
        row.pop("prompt")  # it stands in both answers
    return row


def _plain_turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, dict):
        raise DataError("the turn is no object", pointer=where, code="wrong_type")
    messages = _messages_in(turn, where, 0)
    return messages[0] if len(messages) == 1 else turn


def _repeats(answer: Any, prompt: str) -> bool:
    return isinstance(answer, list) and any(
        turn.get("role") == "user" and turn.get("content") == prompt for turn in answer[:-1]
    )


def _spoken(row: Record) -> Record:
    """Parts two transcripts ("Human: ... Assistant: ...") into the talk they share and their last answers."""
    for key in ("question", "query", "instruction", "input"):
        if isinstance(row.get(key), str):
            return {"prompt": row[key], **{name: item for name, item in row.items() if name != key}}
    turns = {
        key: re.split(r"\n\n(?=(?:Human|Assistant): ?)", f"\n\n{row[key].strip()}")[1:]
        for key in ("chosen", "rejected")
    }
    if not all(len(parts) > 1 and parts[-1].startswith("Assistant:") for parts in turns.values()):
        raise DataError("the pair has no prompt", pointer="/prompt", code="missing_key")
    roles = {"Human": "user", "Assistant": "assistant"}
    spoken = {
        key: [{"role": roles[part.partition(":")[0]], "content": part.partition(":")[2].strip()} for part in parts]
        for key, parts in turns.items()
    }
    return {**row, **spoken}


def _flatten(record: Record, extra: Record) -> None:
    """Puts what a pair's or a rewarded answer's turns can't hold into words, and keeps the turns as they were."""
    used: Counter[str] = Counter()
    for key in ("prompt", "chosen", "rejected"):
        turns = record.get(key)
        if not isinstance(turns, list) or all("tool_calls" not in t and t["role"] != "tool" for t in turns):
            continue
        extra[f"{key}_as_given"] = turns
        used[key] += 1
        record[key] = [_worded(turn) for turn in turns]
    if "tools" in record:
        extra["tools"] = _tools(record.pop("tools"))


def _worded(turn: Message) -> Message:
    """Gives a turn without calls: a call as its JSON, a result as said by the user."""
    calls = [
        dumps({"name": call["function"]["name"], "arguments": _arguments(call)}).decode()
        for call in turn.get("tool_calls") or ()
    ]
    role = "user" if turn["role"] == "tool" else turn["role"]
    return {"role": role, "content": "\n".join([*filter(None, [turn.get("content")]), *calls])}


def _arguments(call: Message) -> Any:
    try:
        return loads(call["function"]["arguments"])
    except ValueError:
        return call["function"]["arguments"]
