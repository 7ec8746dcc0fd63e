"""The generic store behind an OpenAPI document, by worlds written by hand."""

from validators.services.rest import execute, item_id, noun_of

ITEM = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "made": {"type": "string", "format": "date"}},
}
PLAN = {
    "collection": "/cups",
    "parents": [],
    "id_param": "",
    "query": [],
    "body": "",
    "sent": [],
    "list_key": "",
    "totals": [],
}


def tool(name, **properties):
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


def world(**operations):
    items = [{"at": {}, "id": key, "body": {"id": key, "name": key.upper()}} for key in ("a", "b")]
    known = {"id_key": "id", "id_kind": "string", "schema": ITEM, "next_id": 3, "items": items}
    plans = {name: {**PLAN, **plan} for name, plan in operations.items()}
    return {"rest": {"operations": plans, "collections": {"/cups": known}}}, [tool(name) for name in operations]


def test_a_client_may_choose_the_id_once():
    state, tools = world(make={"kind": "create", "body": "flat", "sent": ["id", "name"]})
    state, made = execute(state, tools, "make", {"id": "c", "name": "C"})
    assert {"id": "c", "name": "C"}.items() <= made.items()
    assert execute(state, tools, "make", {"id": "c", "name": "D"})[1] == {
        "error": {"code": "conflict", "message": "there is a cup 'c' already"}
    }
    state, made = execute(state, tools, "make", {"name": "D"})
    assert made["id"] == "cup_3"
    assert state["rest"]["collections"]["/cups"]["next_id"] == 4


def test_a_body_may_be_one_argument():
    state, tools = world(put={"kind": "replace", "id_param": "cup", "body": "nested", "sent": ["name"]})
    state, made = execute(state, tools, "put", {"cup": "a", "body": {"name": "new"}})
    assert made == {"id": "a", "name": "new"}
    assert execute(state, tools, "put", {"cup": "z", "body": {}})[1]["error"]["message"] == "no cup 'z'"


def test_lists_filter_count_and_admit_what_they_do_not_know():
    plan = {"kind": "list", "query": ["name", "odd", "offset"], "list_key": "cups", "totals": ["total"]}
    state, tools = world(all=plan)
    assert execute(state, tools, "all", {"name": "B"})[1] == {"cups": [{"id": "b", "name": "B"}], "total": 1}
    assert execute(state, tools, "all", {"offset": 1})[1]["cups"] == [{"id": "b", "name": "B"}]
    assert execute(state, tools, "all", {"odd": 1})[1]["error"]["code"] == "not_simulated"


def test_answers_echo_only_arguments_that_fit():
    response = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "maximum": 9}}}
    state, tools = world(ask={"kind": "answer", "response": response})
    assert execute(state, tools, "ask", {"id": 7})[1] == {"id": 7}
    assert execute(state, tools, "ask", {"id": 70})[1]["id"] <= 9


def test_a_tool_must_be_declared_and_known():
    state, tools = world(ask={"kind": "answer", "response": {"type": "null"}})
    assert execute(state, [], "ask", {})[1]["error"]["code"] == "unknown_tool"
    assert execute(state, [*tools, tool("other")], "other", {})[1]["error"]["code"] == "unknown_tool"


def test_ids_and_nouns():
    assert [item_id(kind, "/cups", 7) for kind in ("integer", "string")] == [7, "cup_7"]
    assert item_id("uuid", "/cups", 7) == item_id("uuid", "/cups", 7) != item_id("uuid", "/cups", 8)
    assert [noun_of(path) for path in ("/users/{id}/orders", "/class", "/sheep/")] == ["order", "class", "sheep"]
