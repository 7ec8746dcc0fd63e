"""The forms a verified record leaves the pipeline in: Delta (planner), Echo (conversation), chat (one turn).

    delta   {instruction, output: [{command}], metadata}
    echo    user: the intent -> assistant: what it will do, shall it? -> user: yes -> assistant: EXECUTING_PLAN: [...]
    chat    user: the intent -> assistant: EXECUTING_PLAN: [...]

Fixture and expectation stay behind: they are for the verifier. Chat records of skills pass through echo and chat
unchanged and have no Delta form. Source: synthetic data pipeline document, "Data Formats".
"""

from __future__ import annotations

from typing import Literal, get_args

from frontier_core.errors import ConfigError, DataError
from frontier_core.jsonl import dumps
from frontier_core.nearest import did_you_mean
from frontier_core.profiles import ProfileName, dress
from frontier_core.records import Message, Record
from frontier_core.seeds import child_random
from validators.plans import PLAN_MARKER

FormName = Literal["delta", "echo", "chat"]
FORMS: tuple[FormName, ...] = get_args(FormName)

_OFFERS = (
    "I can help with that. I'll run {steps}. Shall I proceed?",
    "Sure. My plan is {steps}. Is that all right?",
    "I would do this with {steps}. Should I go ahead?",
    "That takes {steps}. Shall I run it?",
)
_CONSENTS = ("Yes, please.", "Go ahead.", "Yes, do it.", "Please proceed.")


def form_named(name: str) -> FormName:
    """Gives the form of that name, or raises ConfigError naming the nearest."""
    for form in FORMS:
        if name == form:
            return form
    raise ConfigError(f"unknown form {name!r}", hint=did_you_mean(name, FORMS))


def convert(record: Record, form: FormName, *, profile: ProfileName | None = "emoji_think") -> Record:
    """Gives a record in another form; the metadata goes along.

    Args:
        record: a plan or a chat.
        form: delta, echo or chat.
        profile: what assistant texts are dressed in; None leaves them as they are.
    Raises:
        DataError: the record has no such form (a chat record as Delta, or neither a plan nor a chat).
    """
    if "messages" in record:
        if form == "delta":
            raise DataError("a chat record has no Delta form", pointer="/messages", hint="--skill shell makes plans")
        return {**record, "messages": [_dressed(turn, profile) for turn in record["messages"]]}
    if not isinstance(record.get("output"), list) or not isinstance(record.get("instruction"), str):
        raise DataError("neither a plan nor a chat record", hint="format takes the output of synth verify")
    if form == "delta":
        return {"instruction": record["instruction"], "output": record["output"], "metadata": record["metadata"]}
    turns = [] if form == "chat" else _consent(record)
    messages = [
        {"role": "user", "content": record["instruction"]},
        *turns,
        {"role": "assistant", "content": PLAN_MARKER + dumps(record["output"]).decode()},
    ]
    return {"messages": [_dressed(turn, profile) for turn in messages], "metadata": record["metadata"]}


def _dressed(turn: Message, profile: ProfileName | None) -> Message:
    has_text = turn.get("role") == "assistant" and isinstance(turn.get("content"), str)  # a turn of tool calls has none
    return {**turn, "content": dress(turn["content"], profile)} if profile and has_text else turn


def _consent(record: Record) -> list[Message]:
    """The two turns between intent and plan; the wording is drawn from the record's own content."""
    random = child_random("echo", record["instruction"])
    commands = [str(step["command"]).strip().splitlines()[0].split()[0] for step in record["output"]]
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(commands))
    count = len(commands)
    steps = f"one step with {names}" if count == 1 else f"{count} steps with {names}"
    return [
        {"role": "assistant", "content": random.choice(_OFFERS).format(steps=steps)},
        {"role": "user", "content": random.choice(_CONSENTS)},
    ]
