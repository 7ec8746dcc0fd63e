"""What can be asked of an OpenAPI document's operations, level by level; each recipe plays one kind of trace.

1 one call    2 two calls, the second with what the first gave    3 calls at once, then one that depends on them
4 an unknown id, a passing failure, a missing argument    5 a first request and a second one about its result
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from frontier_core.seeds import child_random
from generators.traces.document import Api, Operation
from generators.traces.stage import FIRST_ID, LAST_ID, Stage, lowered, spoken
from validators.services.base import Json, error_of
from validators.services.rest import noun_of
from validators.services.values import WORDS, value_of

MAX_SPACE = 100_000
_SCALARS = ("string", "integer", "number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A kind of trace: the operations it needs, in order, and a lower bound of the distinct requests it gives."""

    name: str
    level: int
    needs: tuple[Operation, ...]
    play: Callable[[Stage, tuple[Operation, ...]], None]
    num_problems: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A value that one operation gives and another needs: `argument` is what `find` makes of the result."""

    source: Operation
    target: Operation
    argument: str
    find: Callable[[Any], Any]


def recipes_of(api: Api) -> list[Recipe]:
    """Gives every recipe the document allows, in a fixed order."""
    return [*_single(api), *_stored(api), *_linked(api)]


def space_of(operation: Operation) -> int:
    """A lower bound of the distinct requests for one call, by its required arguments; at most MAX_SPACE."""
    if operation.plan["id_param"]:
        return LAST_ID - FIRST_ID
    schemas = operation.parameters["properties"]
    return min(MAX_SPACE, prod(_space(schemas[name]) for name in operation.parameters["required"]))


def _space(schema: Json) -> int:
    if "enum" in schema:
        return len(schema["enum"])
    if schema.get("type") == "string" and not schema.get("format") and schema.get("maxLength", 20) >= 20:
        return len(WORDS) ** 2 // 2
    if schema.get("type") == "object":
        return prod(_space(schema["properties"][name]) for name in schema.get("required", ()))
    return 1


def _single(api: Api) -> Iterator[Recipe]:
    for operation in api.operations:
        space = space_of(operation)
        one = (operation,)
        yield Recipe(name=f"{operation.kind}_{operation.name}", level=1, needs=one, play=_one_call, num_problems=space)
        yield Recipe(name=f"retry_{operation.name}", level=4, needs=one, play=_retry, num_problems=space)
        if _askable(operation):
            yield Recipe(name=f"ask_{operation.name}", level=4, needs=one, play=_missing, num_problems=space)


def _stored(api: Api) -> Iterator[Recipe]:
    many = LAST_ID - FIRST_ID
    for path in api.collections:
        of = {operation.kind: operation for operation in api.operations if operation.plan["collection"] == path}
        noun = noun_of(path)
        change = of.get("update") or of.get("replace")
        if "create" in of and "get" in of:
            needs = (of["create"], of["get"])
            space = space_of(of["create"])
            yield Recipe(name=f"create_get_{noun}", level=2, needs=needs, play=_create_get, num_problems=space)
            if change:
                three = (of["create"], change, of["get"])
                space = space_of(of["create"])
                name = f"create_change_{noun}"
                yield Recipe(name=name, level=5, needs=three, play=_create_change, num_problems=space)
        if "get" in of and change:
            needs = (of["get"], change)
            yield Recipe(name=f"get_change_{noun}", level=2, needs=needs, play=_get_change, num_problems=many)
            yield Recipe(name=f"compare_change_{noun}", level=3, needs=needs, play=_compare_change, num_problems=many)
        if "get" in of and "list" in of:
            needs = (of["get"], of["list"])
            yield Recipe(name=f"unknown_{noun}", level=4, needs=needs, play=_unknown, num_problems=many)
        if "get" in of and "delete" in of:
            needs = (of["get"], of["delete"])
            yield Recipe(name=f"get_delete_{noun}", level=5, needs=needs, play=_get_delete, num_problems=many)


def _linked(api: Api) -> Iterator[Recipe]:
    for link in links_of(api):
        space = min(MAX_SPACE, max(space_of(link.source), 1))
        needs = (link.source, link.target)
        name = f"{link.source.name}_{link.target.name}"

        def feed(stage: Stage, _needs: tuple[Operation, ...], link: Link = link) -> None:
            _feed(stage, link)

        def follow_up(stage: Stage, _needs: tuple[Operation, ...], link: Link = link) -> None:
            _follow_up(stage, link)

        def twice(stage: Stage, _needs: tuple[Operation, ...], link: Link = link) -> None:
            _twice(stage, link)

        yield Recipe(name=f"feed_{name}", level=2, needs=needs, play=feed, num_problems=space)
        yield Recipe(name=f"follow_{name}", level=5, needs=needs, play=follow_up, num_problems=space)
        if link.source.parameters["required"]:
            yield Recipe(name=f"twice_{name}", level=3, needs=needs, play=twice, num_problems=space)


def links_of(api: Api) -> list[Link]:
    """Gives where an answer holds what another operation needs: a property of the same name and type, or a list named
    after it (`list_ids` gives what `id` needs)."""
    found = []
    answers = [operation for operation in api.operations if operation.kind == "answer"]
    for source in answers:
        for target in answers:
            for name in target.parameters["required"]:
                kinds = _kinds(target.parameters["properties"][name])
                find = _finder(source, name, kinds)
                is_new = source is not target and name not in source.parameters["properties"]
                if is_new and kinds and find and _gives(source, find):
                    found.append(Link(source=source, target=target, argument=name, find=find))
    return found


def _gives(source: Operation, find: Callable[[Any], Any]) -> bool:
    """Whether answers hold what `find` looks for; a list whose items can't be drawn is empty."""
    try:
        find(value_of(source.plan["response"], child_random("openapi_trial", source.name)))
    except LookupError:
        return False
    return True


def _kinds(schema: Json) -> frozenset[str]:
    options = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    kinds = [kind for option in options for kind in _listed(option.get("type"))]
    return frozenset(kind for kind in kinds if kind in _SCALARS)


def _listed(kind: Any) -> list[Any]:
    return kind if isinstance(kind, list) else [kind]


def _finder(source: Operation, name: str, kinds: frozenset[str]) -> Callable[[Any], Any] | None:
    schema = source.plan["response"]
    inside = schema.get("items") or {}
    if schema.get("type") == "array" and _kinds(inside) and _kinds(inside) <= kinds:
        parts = source.name.lower().split("_")
        return (lambda result: result[0]) if f"{name.lower()}s" in parts else None
    if _fits(inside, name, kinds):
        return lambda result: result[0][name]
    return (lambda result: result[name]) if _fits(schema, name, kinds) else None


def _fits(schema: Json, name: str, kinds: frozenset[str]) -> bool:
    inner = _kinds(schema.get("properties", {}).get(name, {}))
    return name in schema.get("required", ()) and bool(inner) and inner <= kinds


def _askable(operation: Operation) -> str:
    """A required argument that a person can be asked for; "" when there is none."""
    schemas = operation.parameters["properties"]
    names = [name for name in operation.parameters["required"] if _kinds(schemas[name])]
    return names[-1] if names else ""


def _start(stage: Stage, operation: Operation) -> Json:
    """Arguments of a call that will succeed."""
    if operation.kind in ("get", "delete"):
        return stage.place(operation, stage.rng.choice(stage.items(operation)))
    if operation.kind in ("update", "replace"):
        return stage.changes(operation, stage.rng.choice(stage.items(operation)))
    if operation.kind in ("create", "list"):
        item = stage.rng.choice(stage.items(operation))
        return stage.arguments(operation, item["at"], some=0.5)
    return stage.arguments(operation)


def _one_call(stage: Stage, needs: tuple[Operation, ...]) -> None:
    arguments = _start(stage, needs[0])
    stage.ask_for(needs[0], arguments)
    stage.reply([stage.call(needs[0], arguments)])


def _retry(stage: Stage, needs: tuple[Operation, ...]) -> None:
    code = stage.fault(needs[0])
    arguments = _start(stage, needs[0])
    stage.ask_for(needs[0], arguments, "Try again if it fails in passing.")
    stage.call(needs[0], arguments)
    stage.reply([stage.call(needs[0], arguments)], f"It answered {code} at first, then it worked")


def _missing(stage: Stage, needs: tuple[Operation, ...]) -> None:
    name = _askable(needs[0])
    arguments = _start(stage, needs[0])
    value = arguments[name]
    stage.ask_for(needs[0], {key: other for key, other in arguments.items() if key != name})
    stage.scene.reply(f"Which {name} shall I use?", kind="ask")
    stage.scene.user(stage.rng.choice(("{} {}.", "Take {} {}.", "The {} is {}.")).format(name, value))
    stage.reply([stage.call(needs[0], arguments)])


def _create_get(stage: Stage, needs: tuple[Operation, ...]) -> None:
    create, get = needs
    arguments = _start(stage, create)
    stage.ask_for(create, arguments, f"Then {lowered(get.summary)} to see that it is there.")
    _, made = stage.call(create, arguments)
    place = stage.place(get, _item(stage, create, made))
    stage.reply([stage.call(get, place)], "It is there")


def _item(stage: Stage, operation: Operation, body: Json) -> Json:
    """The stored item that a result shows."""
    return next(item for item in stage.items(operation) if item["body"] == body)


def _get_change(stage: Stage, needs: tuple[Operation, ...]) -> None:
    get, change = needs
    item = stage.rng.choice(stage.items(get))
    arguments = stage.changes(change, item)
    stage.ask_for(change, arguments, f"First {lowered(get.summary)} to see what it was.")
    before = stage.call(get, stage.place(get, item))
    stage.reply([before, stage.call(change, arguments)], "Before and after")


def _compare_change(stage: Stage, needs: tuple[Operation, ...]) -> None:
    get, change = needs
    first, second = stage.rng.sample(stage.items(get), 2)
    arguments = stage.changes(change, first)
    other = ", ".join(f"{key} {value}" for key, value in stage.place(get, second).items())
    stage.ask_for(change, arguments, f"Before that, {lowered(get.summary)} both for it and for {other}.")
    both = stage.scene.call([(get.name, stage.place(get, item)) for item in (first, second)])
    stage.reply([*both, stage.call(change, arguments)])


def _unknown(stage: Stage, needs: tuple[Operation, ...]) -> None:
    get, listing = needs
    item = stage.rng.choice(stage.items(get))
    place = stage.place(get, item)
    name = get.plan["id_param"]
    wrong = place | {name: place[name] + LAST_ID if isinstance(place[name], int) else _other_id(str(place[name]))}
    stage.ask_for(get, wrong, f"If there is none, {lowered(listing.summary)} and tell me how many there are.")
    _, result = stage.call(get, wrong)
    if error_of(result) is None:
        raise ValueError(f"{get.name} finds what should not be there")
    listed = stage.call(listing, item["at"])
    stage.reply([listed], f"There is no {wrong[name]}")


def _other_id(item_id: str) -> str:
    """An id of the same form that no item has: items' numbers have no leading zero, UUIDs no eight zeros."""
    head, _, tail = item_id.rpartition("_")
    return f"{head}_0{tail}" if head else f"00000000{item_id[8:]}"


def _create_change(stage: Stage, needs: tuple[Operation, ...]) -> None:
    create, change, get = needs
    arguments = _start(stage, create)
    stage.ask_for(create, arguments)
    call_id, made = stage.call(create, arguments)
    stage.reply([(call_id, made)])
    item = _item(stage, create, made)
    second = stage.changes(change, item)
    stage.ask_for(change, second, f"Then {lowered(get.summary)} once more.")
    stage.call(change, second)
    stage.reply([stage.call(get, stage.place(get, item))], "It is changed")


def _get_delete(stage: Stage, needs: tuple[Operation, ...]) -> None:
    get, delete = needs
    item = stage.rng.choice(stage.items(get))
    place = stage.place(get, item)
    stage.ask_for(get, place)
    stage.reply([stage.call(get, place)])
    stage.ask_for(delete, place, "I don't need it any more.")
    stage.call(delete, stage.place(delete, item))
    _, gone = stage.call(get, place)
    if error_of(gone) is None:
        raise ValueError(f"{delete.name} leaves the item there")
    said = str(place[get.plan["id_param"]])
    stage.scene.reply(f"{said} is gone.", [{"text": said, "op": "said", "of": [], "form": "text"}])


def _target_arguments(stage: Stage, link: Link, given: Json, value: Any) -> Json:
    """The second call's arguments: what both calls need stays the same."""
    shared = {name: given[name] for name in link.target.parameters["required"] if name in given}
    return stage.arguments(link.target, {**shared, link.argument: value})


def _feed(stage: Stage, link: Link) -> None:
    given = stage.arguments(link.source)
    draft = {
        name: value for name, value in _target_arguments(stage, link, given, None).items() if name != link.argument
    }
    own = {name: value for name, value in draft.items() if name not in given}
    tail = f"Then {lowered(link.target.summary)} with the first {link.argument} it gives"
    stage.ask_for(link.source, given, f"{tail} and {spoken(own)}." if own else f"{tail}.")
    call_id, result = stage.call(link.source, given)
    second = stage.call(link.target, {**draft, link.argument: link.find(result)})
    stage.reply([(call_id, result), second])


def _follow_up(stage: Stage, link: Link) -> None:
    given = stage.arguments(link.source)
    stage.ask_for(link.source, given)
    call_id, result = stage.call(link.source, given)
    stage.reply([(call_id, result)])
    arguments = _target_arguments(stage, link, given, link.find(result))
    shown = {name: value for name, value in arguments.items() if name != link.argument}
    stage.ask_for(link.target, shown, f"Take the first {link.argument} from before.")
    stage.reply([stage.call(link.target, arguments)])


def _twice(stage: Stage, link: Link) -> None:
    first, second = stage.arguments(link.source), stage.arguments(link.source)
    draft = {
        name: value for name, value in _target_arguments(stage, link, first, None).items() if name != link.argument
    }
    own = {name: value for name, value in draft.items() if name not in first}
    more = f" and {spoken(own)}" if own else ""
    tail = (
        f"Do the same with {spoken(second)}. Then {lowered(link.target.summary)} with the first {link.argument} of the"
    )
    stage.ask_for(link.source, first, f"{tail} former{more}.")
    made = stage.scene.call([(link.source.name, first), (link.source.name, second)])
    third = stage.call(link.target, {**draft, link.argument: link.find(made[0][1])})
    stage.reply([*made, third])
