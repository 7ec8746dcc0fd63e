"""A store of resources that behaves as an OpenAPI document says, without knowing what the resources mean.

A world made from a document carries, under the key "rest", its operations and its collections:

    operations: {tool: {kind, collection, parents, id_param, query, body, sent, list_key, totals,
                         response}}
    collections: {path: {id_key, id_kind (integer, uuid or string), schema, next_id, items: [{at, id, body}]}}

`kind` is create, get, list, update, replace, delete, or answer: an operation on no resource, whose result is a value of
its response schema drawn by tool and arguments, so that the same call always gets the same answer. Arguments are held
against the tool's own schema, which is in the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from frontier_core.seeds import child_random
from validators.services.arguments import argument_problem
from validators.services.base import Json, ToolError, canonical
from validators.services.values import value_of

KEY = "rest"
PAGE_KEYS = ("limit", "offset")


def execute(state: Json, tools: Sequence[Json], name: str, arguments: Any) -> tuple[Json, Any]:
    """Runs one call on such a world: the new state and the result. The given state stays as it is.

    Args:
        state: holds `rest`.
        tools: the declarations of the record.
        name: of the tool.
        arguments: of the call.
    """
    operation = state[KEY]["operations"].get(name)
    declared = next((entry["function"] for entry in tools if entry["function"]["name"] == name), None)
    if operation is None or declared is None:
        return state, {"error": {"code": "unknown_tool", "message": f"there is no tool {name!r}"}}
    problem = argument_problem(declared.get("parameters", {}), arguments)
    if problem:
        return state, {"error": {"code": "invalid_argument", "message": problem}}
    if operation["kind"] == "answer":
        return state, answer_of(operation, name, arguments)
    own = orjson.loads(orjson.dumps(state[KEY]))
    try:
        result = _RUN[operation["kind"]](own["collections"], operation, arguments)
    except ToolError as error:
        return state, {"error": error.body}
    changed = operation["kind"] not in ("get", "list")
    return ({**state, KEY: own} if changed else state), result


def answer_of(operation: Json, name: str, arguments: Json) -> Any:
    """Gives what an operation without a resource answers: the same value for the same call, true to its schema."""
    schema = operation["response"]
    made = value_of(schema, child_random("rest_answer", name, canonical(arguments).decode()))
    for key, inner in schema.get("properties", {}).items():
        # Who asks for id 7 is answered id 7.
        if key in made and key in arguments and not argument_problem(inner, arguments[key]):
            made[key] = arguments[key]
    return made


def item_id(kind: str, path: str, number: int) -> int | str:
    """Gives the id of the item of that number: the number itself, a UUID that hangs on it, or `pet_12`."""
    if kind == "integer":
        return number
    if kind == "uuid":
        return str(UUID(int=child_random("rest_id", path, number).getrandbits(128), version=4))
    return f"{noun_of(path)}_{number}"


def noun_of(path: str) -> str:
    """Gives what one item of a collection is called: `/users/{id}/orders` -> `order`."""
    last = path.rstrip("/").rsplit("/", 1)[-1]
    return last[:-1] if last.endswith("s") and not last.endswith("ss") else last


def _place(collections: Json, operation: Json, given: Json) -> tuple[Json, Json]:
    """The collection and the parents' ids, each of which must exist when its own collection is known."""
    at = {key: given[key] for key in operation["parents"]}
    path = operation["collection"]
    for key in operation["parents"]:
        above = path.split("/{" + key + "}")[0]
        known = collections.get(above)
        if known is not None and all(item["id"] != given[key] for item in known["items"]):
            raise ToolError("not_found", f"no {noun_of(above)} {given[key]!r}")
    return collections[path], at


def _find(collections: Json, operation: Json, given: Json) -> tuple[Json, Json]:
    collection, at = _place(collections, operation, given)
    wanted = given[operation["id_param"]]
    for item in collection["items"]:
        if item["at"] == at and item["id"] == wanted:
            return collection, item
    raise ToolError("not_found", f"no {noun_of(operation['collection'])} {wanted!r}")


def _body(operation: Json, given: Json) -> Json:
    if operation["body"] == "nested":
        nested: Json = given.get("body", {})
        return dict(nested)
    outside = {*operation["parents"], operation["id_param"], *operation["query"]}
    return {key: value for key, value in given.items() if key not in outside}


def _create(collections: Json, operation: Json, given: Json) -> Json:
    collection, at = _place(collections, operation, given)
    body = _body(operation, given)
    id_key = collection["id_key"]
    key = body.get(id_key)
    if key is None:
        key = item_id(collection["id_kind"], operation["collection"], collection["next_id"])
        collection["next_id"] += 1
    if any(item["at"] == at and item["id"] == key for item in collection["items"]):
        raise ToolError("conflict", f"there is a {noun_of(operation['collection'])} {key!r} already")
    # What the server adds itself (times of creation, states) is drawn by the id: the same on every run.
    rng = child_random("rest_item", operation["collection"], key)
    made = value_of(collection["schema"], rng)
    kept = {name: value for name, value in made.items() if name not in operation["sent"]}
    stored: Json = {**kept, **body, id_key: key}
    collection["items"].append({"at": at, "id": key, "body": stored})
    return stored


def _get(collections: Json, operation: Json, given: Json) -> Json:
    body: Json = _find(collections, operation, given)[1]["body"]
    return body


def _list(collections: Json, operation: Json, given: Json) -> Json | list[Json]:
    collection, at = _place(collections, operation, given)
    bodies = [item["body"] for item in collection["items"] if item["at"] == at]
    for key in operation["query"]:
        if key not in given or key in PAGE_KEYS:
            continue
        if key not in collection["schema"].get("properties", {}):
            raise ToolError("not_simulated", f"{key}: what this parameter does is not known from the document")
        bodies = [body for body in bodies if body.get(key) == given[key]]
    first = given.get("offset", 0)
    bodies = bodies[first : first + given["limit"]] if "limit" in given else bodies[first:]
    if not operation["list_key"]:
        return bodies
    return {operation["list_key"]: bodies} | dict.fromkeys(operation["totals"], len(bodies))


def _update(collections: Json, operation: Json, given: Json) -> Json:
    collection, item = _find(collections, operation, given)
    item["body"] = {**item["body"], **_body(operation, given), collection["id_key"]: item["id"]}
    return dict(item["body"])


def _replace(collections: Json, operation: Json, given: Json) -> Json:
    collection, item = _find(collections, operation, given)
    kept = {name: value for name, value in item["body"].items() if name not in operation["sent"]}
    item["body"] = {**kept, **_body(operation, given), collection["id_key"]: item["id"]}
    return dict(item["body"])


def _delete(collections: Json, operation: Json, given: Json) -> Json:
    collection, item = _find(collections, operation, given)
    collection["items"].remove(item)
    return {"deleted": item["id"]}


_RUN = {
    "create": _create,
    "get": _get,
    "list": _list,
    "update": _update,
    "replace": _replace,
    "delete": _delete,
}
