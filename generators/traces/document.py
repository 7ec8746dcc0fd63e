"""Reads an OpenAPI 3.0 or 3.1 document: which operations it has, and how a generic store can stand in for each.

`/pets` with `/pets/{petId}` beside it is a collection: GET lists, POST creates; on the item GET, PUT, PATCH and DELETE
do what they say. An operation on no resource is answered by a value of its response schema. Whatever can't be stood
in for is kept with the reason, never faked. Callbacks, links, cookies and security are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from frontier_core.errors import DataError, UsageError
from frontier_core.seeds import child_random
from generators.traces.schemas import Resolver, as_media
from validators.services.arguments import argument_problem
from validators.services.base import Json, canonical
from validators.services.rest import PAGE_KEYS, noun_of
from validators.services.values import Unsupported, value_of

METHODS = ("get", "post", "put", "patch", "delete")
MAX_NAME = 64
NUM_TRIALS = 5
_SKIPPED_HEADERS = ("authorization", "content-type", "accept")
_TOTALS = ("total", "count", "total_count", "totalCount", "num_items", "size")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W\d_]+")
_ITEM_KINDS = {"get": "get", "put": "replace", "patch": "update", "delete": "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation as a tool: its arguments' schema, and `plan`, what validators/services/rest.py runs it by."""

    name: str
    summary: str
    description: str
    parameters: Json
    plan: Json

    @property
    def kind(self) -> str:
        """create, get, list, update, replace, delete or answer."""
        return str(self.plan["kind"])

    @property
    def declaration(self) -> Json:
        """The tool as a chat request declares it."""
        about = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": about}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A document's operations; `collections` per path {id_key, id_kind, schema}; `unsupported` operation -> reason."""

    title: str
    sha256: str
    operations: tuple[Operation, ...]
    collections: dict[str, Json]
    unsupported: dict[str, str]


def read_api(path: str | Path) -> Api:
    """Reads a document, JSON or YAML.

    Raises:
        UsageError: no such file.
        DataError: neither JSON nor YAML, no OpenAPI 3 document, or a reference that leads nowhere.
    """
    document, digest = _load(Path(path))
    try:
        return _Reader(document).read(digest)
    except DataError as error:
        raise DataError(
            error.problem, path=str(path), pointer=error.pointer, hint=error.hint, code=error.code
        ) from error


def _load(path: Path) -> tuple[Json, str]:
    import yaml  # reads JSON too, but slowly; only tried when JSON fails

    from frontier_core.jsonl import loads

    try:
        raw = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"{path}: no such file", hint="give an OpenAPI 3 document, JSON or YAML") from error
    try:
        document = loads(raw)
    except ValueError:
        try:
            document = yaml.safe_load(raw)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 0
            raise DataError("neither JSON nor YAML", path=str(path), line=line, code="openapi") from error
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3."):
        hint = "Swagger 2.0 has to be converted first" if isinstance(document, dict) and "swagger" in document else ""
        raise DataError("no OpenAPI 3 document", path=str(path), hint=hint or "it needs `openapi: 3.x`", code="openapi")
    if not isinstance(document.get("paths"), dict):
        raise DataError("the document has no paths", path=str(path), pointer="/paths", code="openapi")
    return document, sha256(raw).hexdigest()


class _Reader:
    def __init__(self, document: Json) -> None:
        self._document = document
        self._resolver = Resolver(document)
        self._names: set[str] = set()
        self._collections: dict[str, Json] = {}
        self._unsupported: dict[str, str] = {}

    def read(self, digest: str) -> Api:
        entries = list(self._entries())
        self._find_collections(entries)
        operations: list[Operation] = []
        for method, path, item, entry in entries:
            name = self._name(method, path, entry)
            try:
                operations.append(self._operation(name, method, path, item, entry))
            except Unsupported as error:
                self._unsupported[f"{method.upper()} {path}"] = str(error)
        return Api(
            title=str((self._document.get("info") or {}).get("title", "")) or "an API",
            sha256=digest,
            operations=tuple(operations),
            collections=self._collections,
            unsupported=self._unsupported,
        )

    def _entries(self) -> Iterator[tuple[str, str, Json, Json]]:
        for raw_path, raw in self._document["paths"].items():
            path, item = raw_path.rstrip("/") or "/", self._resolver.resolve(raw)
            for method in METHODS:
                entry = item.get(method)
                if isinstance(entry, dict):
                    yield method, path, item, entry

    def _name(self, method: str, path: str, entry: Json) -> str:
        raw = str(entry.get("operationId") or f"{method}_{path.strip('/')}")
        name = base = re.sub(r"[^A-Za-z0-9_-]+", "_", raw).strip("_")[:MAX_NAME] or method
        number = 2
        while name in self._names:
            name = f"{base[: MAX_NAME - 4]}_{number}"
            number += 1
        self._names.add(name)
        return name

    def _find_collections(self, entries: list[tuple[str, str, Json, Json]]) -> None:
        for method, path, _item, entry in entries:
            above, id_param = _split_item(path)
            if not id_param or method != "get" or above in self._collections:
                continue
            with suppress(Unsupported):  # its own operation says why
                found = _collection(above, id_param, self._response(entry) or {})
                if found:
                    self._collections[above] = found

    def _operation(self, name: str, method: str, path: str, item: Json, entry: Json) -> Operation:
        plan = self._plan(method, path, entry)
        parameters, plan = self._arguments(item, entry, plan)
        if plan["kind"] == "list":
            self._check_filters(plan)
        _check_values(name, parameters, plan)
        words = str(entry.get("summary") or "").strip() or _in_words(name)
        return Operation(
            name=name,
            summary=words,
            description=str(entry.get("description") or words).strip(),
            parameters=parameters,
            plan=plan,
        )

    def _plan(self, method: str, path: str, entry: Json) -> Json:
        plan: Json = {"kind": "answer", "collection": "", "parents": re.findall(r"{([^{}]+)}", path), "id_param": ""}
        above, id_param = _split_item(path)
        response = self._response(entry, may_be_empty=method in ("delete", "put", "patch", "post"))
        if id_param and above in self._collections:
            parents = plan["parents"][:-1]
            return plan | {"kind": _ITEM_KINDS[method], "collection": above, "parents": parents, "id_param": id_param}
        if path in self._collections and method == "post":
            return plan | {"kind": "create", "collection": path}
        listed = self._listed(response) if method == "get" else None
        if listed:
            return plan | listed
        if response is None:
            raise Unsupported("its success response has no JSON body to answer with")
        if any(canonical(response) == canonical(known["schema"]) for known in self._collections.values()):
            raise Unsupported("it changes or finds a resource in a way that the document does not state")
        return plan | {"response": response}

    def _listed(self, response: Json | None) -> Json | None:
        """The plan of an operation that lists a collection's items, None when it does not."""
        list_key, items, totals = "", (response or {}).get("items"), []
        for key, inner in (response or {}).get("properties", {}).items():
            if inner.get("type") == "array":
                list_key, items = key, inner.get("items")
            elif key in _TOTALS and inner.get("type") == "integer":
                totals.append(key)
        for path, known in self._collections.items():
            if isinstance(items, dict) and canonical(items) == canonical(known["schema"]):
                others = set((response or {}).get("required", ())) - {list_key, *totals}
                if others:
                    raise Unsupported(
                        f"it must answer {', '.join(sorted(others))}, which the document does not explain"
                    )
                return {"kind": "list", "collection": path, "list_key": list_key, "totals": totals}
        return None

    def _check_filters(self, plan: Json) -> None:
        properties = self._collections[plan["collection"]]["schema"].get("properties", {})
        unknown = [key for key in plan["query"] if key not in properties and key not in PAGE_KEYS]
        if unknown:
            raise Unsupported(f"what its parameter {unknown[0]!r} does is not known from the document")

    def _response(self, entry: Json, *, may_be_empty: bool = True) -> Json | None:
        """The schema of the first 2xx response with a JSON body, None when it has none."""
        for status, raw in sorted((entry.get("responses") or {}).items()):
            if not str(status).startswith("2"):
                continue
            content = self._resolver.resolve(raw).get("content")
            if not content:
                continue
            schema = as_media(content)
            if schema is None:
                raise Unsupported(f"it answers {next(iter(content))}, not JSON")
            resolved = self._resolver.schema(schema, drop="writeOnly")
            if not resolved or (resolved.get("type") == "object" and not resolved.get("properties")):
                raise Unsupported("the schema of its response says nothing")
            return resolved
        if not may_be_empty:
            raise Unsupported("it has no success response with a JSON body")
        return None

    def _arguments(self, item: Json, entry: Json, plan: Json) -> tuple[Json, Json]:
        properties: Json = {}
        required: list[str] = []
        query: list[str] = []
        for raw in [*(item.get("parameters") or ()), *(entry.get("parameters") or ())]:
            parameter = self._resolver.resolve(raw)
            name, place = str(parameter.get("name")), parameter.get("in")
            if place == "cookie" or (place == "header" and name.lower() in _SKIPPED_HEADERS):
                continue
            schema = self._resolver.schema(parameter.get("schema") or as_media(parameter.get("content")) or {})
            if parameter.get("description"):
                schema = {**schema, "description": parameter["description"]}
            properties[name] = schema
            if (parameter.get("required") or place == "path") and name not in required:
                required.append(name)
            if place != "path" and name not in query:
                query.append(name)
        body, sent = self._body(entry, properties, required)
        if body == "nested" and plan["kind"] != "answer" and not sent:
            raise Unsupported("its body is no object with properties")
        parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return parameters, plan | {"query": query, "body": body, "sent": sent}

    def _body(self, entry: Json, properties: Json, required: list[str]) -> tuple[str, list[str]]:
        raw = self._resolver.resolve(entry.get("requestBody") or {})
        if not raw.get("content"):
            return "", []
        schema = as_media(raw["content"])
        if schema is None:
            raise Unsupported(f"its body is {next(iter(raw['content']))}, not JSON")
        body = self._resolver.schema(schema, drop="readOnly")
        inner = body.get("properties", {})
        if inner and not set(inner) & set(properties):
            properties.update(inner)
            required += [key for key in body.get("required", ()) if raw.get("required", True)]
            return "flat", list(inner)
        properties["body"] = body
        if raw.get("required"):
            required.append("body")
        return "nested", list(inner)


def _collection(path: str, id_param: str, schema: Json) -> Json | None:
    """How items of a collection look, None when they carry no id. Raises Unsupported when none can be drawn."""
    properties = schema.get("properties", {})
    noun = noun_of(path)
    id_key = next((key for key in (id_param, "id", f"{noun}Id", f"{noun}_id") if key in properties), None)
    if id_key is None:
        return None
    value_of(schema, child_random("openapi_trial", path))
    about = properties[id_key]
    kind = "uuid" if about.get("format") == "uuid" else "integer" if about.get("type") == "integer" else "string"
    return {"id_key": id_key, "id_kind": kind, "schema": schema}


def _check_values(name: str, parameters: Json, plan: Json) -> None:
    """Raises Unsupported unless arguments and answers can be drawn, and are what their schemas say."""
    schemas = {"its arguments": parameters, "its answer": plan.get("response")}
    for what, schema in schemas.items():
        for number in range(NUM_TRIALS):
            if schema is None:
                break
            value = value_of(schema, child_random("openapi_trial", name, number))
            problem = argument_problem(schema, value)
            if problem:
                raise Unsupported(f"{what}: a drawn value does not fit the schema: {problem}")


def _in_words(name: str) -> str:
    """`getBookByISBN`, `get_book_by_ISBN` -> `get book by ISBN`: how an operation without a summary is asked for."""
    words = _WORDS.findall(name)
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words) or name


def _split_item(path: str) -> tuple[str, str]:
    """`/pets/{petId}` -> (`/pets`, `petId`); ("", "") for a path that does not end in a parameter."""
    match = re.fullmatch(r"(.*[^/}])/{([^{}]+)}", path)
    return (match[1], match[2]) if match else ("", "")
