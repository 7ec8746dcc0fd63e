"""A world made from an OpenAPI document, and the words of a request to it: what recipes are cooked with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from frontier_core.jsonl import dumps
from generators.traces.document import Api, Operation
from generators.traces.play import Scene
from validators.services import rest
from validators.services.base import FAULTS, Json
from validators.services.people import draw_cast
from validators.services.values import value_of

NUM_ITEMS = 4
NUM_OTHERS = 3
"""Tools declared besides the ones that are needed."""
FIRST_ID, LAST_ID = 100, 9000
_PLAIN = 60
_WITH = (
    "Please {what} with {args}.",
    "{What}: {args}.",
    "I'd like you to {what}; use {args}.",
    "Can you {what} for {args}?",
)
_BARE = ("Please {what}.", "{What}, please.", "I'd like you to {what}.", "Can you {what}?")


class Stage:
    """One trace over a document: the scene, drawn arguments, and the words of requests and replies.

    Args:
        api: the document.
        needed: operations the trace uses; a few others are declared too.
        rng: decides everything.
        call_id: gives the id of the n-th call.
    """

    def __init__(self, api: Api, needed: Sequence[Operation], rng: Random, call_id: Callable[[int], str]) -> None:
        self.rng = rng
        others = [operation for operation in api.operations if operation not in needed]
        chosen = {*(o.name for o in needed), *(o.name for o in rng.sample(others, min(NUM_OTHERS, len(others))))}
        declared = [operation for operation in api.operations if operation.name in chosen]
        cast = draw_cast(rng)
        state: Json = {"now": cast.now, "user": cast.user, rest.KEY: _world(api, declared, rng)}
        self.scene = Scene(state, [operation.declaration for operation in declared], call_id)
        when = f"{cast.now[:10]}, {cast.now[11:]}"
        self.scene.system(f"You are an assistant with access to {api.title}. It is {when}.")

    def items(self, operation: Operation) -> list[Json]:
        """The items of an operation's collection as they are now."""
        items: list[Json] = self._collection(operation)["items"]
        return items

    def _collection(self, operation: Operation) -> Json:
        collection: Json = self.scene.state[rest.KEY]["collections"][operation.plan["collection"]]
        return collection

    def place(self, operation: Operation, item: Json) -> Json:
        """The path arguments that lead to an item."""
        return {**item["at"], operation.plan["id_param"]: item["id"]}

    def fault(self, operation: Operation) -> str:
        """Makes the next call of a tool fail in passing; gives the error's code. For the time before the first call."""
        code = self.rng.choice(list(FAULTS))
        self.scene.initial_state = {**self.scene.initial_state, "faults": {operation.name: [code]}}
        self.scene.state = self.scene.initial_state
        return code

    def arguments(self, operation: Operation, fixed: Mapping[str, Any] | None = None, *, some: float = 0.25) -> Json:
        """Draws arguments: the required ones, each optional one with chance `some`; `fixed` are taken as given."""
        given = dict(fixed or {})
        made: Json = {}
        left_out = operation.plan["query"] if operation.kind == "list" else ()
        for name, schema in operation.parameters["properties"].items():
            is_needed = name in operation.parameters["required"]
            if name in given:
                made[name] = given[name]
            elif is_needed or (name not in left_out and self.rng.random() < some and _is_easy(schema)):
                made[name] = value_of(schema, self.rng, name=name, depth=1)
        return made

    def changes(self, operation: Operation, item: Json) -> Json:
        """Draws arguments that change an item: one property at least, never its id."""
        place = self.place(operation, item)
        id_key = self._collection(operation)["id_key"]
        if id_key in operation.plan["sent"] and operation.plan["body"] == "flat":
            place[id_key] = item["id"]
        if operation.plan["body"] == "nested" or operation.kind == "replace":
            return self.arguments(operation, place)
        required = [name for name in operation.parameters["required"] if name not in place]
        free = [name for name in operation.plan["sent"] if name not in (*required, *place)]
        free = [name for name in free if _is_easy(operation.parameters["properties"][name])]
        extra = self.rng.sample(free, min(len(free), 0 if required else 1))
        schemas = operation.parameters["properties"]
        return place | {name: value_of(schemas[name], self.rng, name=name, depth=1) for name in (*required, *extra)}

    def ask_for(self, operation: Operation, arguments: Mapping[str, Any], tail: str = "") -> None:
        """Adds the user turn that asks for one call."""
        forms = _WITH if arguments else _BARE
        what = lowered(operation.summary)
        text = self.rng.choice(forms).format(what=what, What=operation.summary.rstrip("."), args=spoken(arguments))
        self.scene.user(f"{text} {tail}".strip())

    def call(self, operation: Operation, arguments: Json) -> tuple[str, Any]:
        """Makes one call; gives its id and result."""
        [made] = self.scene.call([(operation.name, arguments)])
        return made

    def reply(self, made: Iterable[tuple[str, Any]], lead: str = "Done") -> None:
        """Adds a reply that states what the calls gave."""
        facts, lines = [], []
        for call_id, result in made:
            found = facts_of(call_id, result)
            facts += [fact for _, fact in found]
            if found:
                line = "; ".join(_told(name, fact["text"], result) for name, fact in found)
                lines.append(line if line.endswith(".") else f"{line}.")
        told = f" {lines[0]}" if len(lines) == 1 else "".join(f"\n- {line}" for line in lines)
        self.scene.reply(f"{lead}:{told}" if told else f"{lead}.", facts)


def _told(name: str, words: str, result: Any) -> str:
    # What the store answers to a deletion: nothing but the id that is gone.
    is_deletion = isinstance(result, dict) and list(result) == ["deleted"] and result["deleted"] is not True
    return f"{words} is deleted" if is_deletion else f"{name} is {words}"


def _world(api: Api, declared: Sequence[Operation], rng: Random) -> Json:
    wanted = {operation.plan["collection"] for operation in declared} - {""}
    # A nested collection needs the one above it, so that its parents are real.
    wanted |= {path for path in api.collections if any(other.startswith(path + "/") for other in wanted)}
    collections: Json = {}
    for path in sorted(wanted, key=lambda path: (path.count("/"), path)):
        known = api.collections[path]
        made: list[Json] = []
        numbers = rng.sample(range(FIRST_ID, LAST_ID), NUM_ITEMS)
        for place, number in enumerate(numbers):
            at = _parents(path, collections, place, rng)
            item_id = rest.item_id(known["id_kind"], path, number)
            body = value_of(known["schema"], rng, name=rest.noun_of(path))
            made.append({"at": at, "id": item_id, "body": {**body, known["id_key"]: item_id}})
        collections[path] = {**known, "next_id": LAST_ID + rng.randrange(1000), "items": made}
    return {"operations": {operation.name: operation.plan for operation in declared}, "collections": collections}


def _parents(path: str, collections: Json, place: int, rng: Random) -> Json:
    """The parents of one new item: an item above where that collection is known, else an id of its own."""
    at: Json = {}
    parts = path.split("/")
    for number, part in enumerate(parts):
        if not part.startswith("{"):
            continue
        above = collections.get("/".join(parts[:number]))
        name = part.strip("{}")
        if above is None:
            at[name] = value_of({"type": "string"}, rng, name=f"{name}_id")
        else:
            item = above["items"][place // 2]
            at |= {**item["at"], name: item["id"]}
    return at


def _is_easy(schema: Json) -> bool:
    """Whether a person would say such a value in a sentence."""
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return bool({"string", "integer", "number", "boolean"} & set(kinds)) and "pattern" not in schema


def lowered(summary: str) -> str:
    """Gives a summary to go on a sentence with: `List pets.` -> `list pets`."""
    text = summary.rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() or len(text) == 1 else text


def spoken(arguments: Mapping[str, Any]) -> str:
    """Gives arguments as a person would say them: `id 12, name 'amber basil'`; objects as JSON."""
    parts = []
    for name, value in arguments.items():
        if isinstance(value, str):
            parts.append(f"{name} '{value}'")
        else:
            parts.append(f"{name} {dumps(value).decode()}")
    return ", ".join(parts)


def facts_of(call_id: str, result: Any, limit: int = 2) -> list[tuple[str, Json]]:
    """Gives up to `limit` facts of a result as (name, fact): scalars of an object, or how many items there are."""
    if isinstance(result, list):
        return [("the number of entries", _fact(str(len(result)), "count", f"{call_id}#"))]
    if not isinstance(result, dict):
        return [("the answer", _fact(_text(result), "value", f"{call_id}#"))] if _is_plain(result) else []
    found = []
    for name, value in result.items():
        pointer = f"{call_id}#/{name.replace('~', '~0').replace('/', '~1')}"
        if _is_plain(value):
            found.append((name, _fact(_text(value), "value", pointer)))
        elif isinstance(value, list):
            found.append((f"the number of {name}", _fact(str(len(value)), "count", pointer)))
    return found[:limit]


def _fact(text: str, op: str, source: str) -> Json:
    return {"text": text, "op": op, "of": [source], "form": "text"}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= _PLAIN and value == value.strip() and "\n" not in value
    return isinstance(value, (int, float))
