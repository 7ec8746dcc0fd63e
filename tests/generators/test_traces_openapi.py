"""Traces over a user's OpenAPI document: operations as tools, a generic store behind them, the rest reported."""

import copy
import json
import pickle
import re
from pathlib import Path

import orjson
import pytest
import yaml

from frontier_core.errors import DataError, UsageError
from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from generators.synth import bound, replay
from generators.traces.openapi import openapi_generator
from validators.execution_gate import judge_answer
from validators.schema_gate import SchemaGate
from validators.services.arguments import argument_problem
from validators.services.base import error_of
from validators.services.table import execute
from validators.skills.tool_use import verify

HOTEL = Path(__file__).parents[1].joinpath("data", "hotel-openapi.yaml").read_text()


@pytest.fixture(scope="module")
def hotel(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "hotel.yaml"
    path.write_text(HOTEL)
    return path


@pytest.fixture(scope="module")
def generator(hotel):
    return openapi_generator(hotel)


@pytest.fixture(scope="module")
def traces(generator):
    return [generator.sample(3, index, level) for level in generator.levels for index in range(60)]


def operation(generator, name):
    return next(found for found in generator.api.operations if found.name == name)


def test_operations_are_recognised_by_method_and_path(generator):
    assert {found.name: (found.kind, found.plan["collection"]) for found in generator.api.operations} == {
        "listGuests": ("list", "/guests"),
        "createGuest": ("create", "/guests"),
        "getGuest": ("get", "/guests"),
        "updateGuest": ("update", "/guests"),
        "deleteGuest": ("delete", "/guests"),
        "listStays": ("list", "/guests/{guestId}/stays"),
        "createStay": ("create", "/guests/{guestId}/stays"),
        "getStay": ("get", "/guests/{guestId}/stays"),
        "replaceStay": ("replace", "/guests/{guestId}/stays"),
        "getPrice": ("answer", ""),
    }


def test_what_cannot_be_simulated_is_reported_with_the_reason(generator):
    assert generator.unsupported == {
        "POST /guests/{guestId}/bath": "it changes or finds a resource in a way that the document does not state",
        "GET /photo": "it answers image/png, not JSON",
    }


def test_parameters_are_resolved_json_schema(generator):
    new = operation(generator, "createGuest").parameters
    assert new["properties"]["species"] == {"type": "string", "enum": ["cat", "dog", "rabbit"]}
    assert new["properties"]["nickname"] == {"type": ["string", "null"]}
    assert new["required"] == ["name", "species"]
    weight = operation(generator, "updateGuest").parameters["properties"]["weight_kg"]
    assert weight == {"type": "number", "exclusiveMinimum": 0, "maximum": 90}
    assert list(operation(generator, "createStay").parameters["properties"]) == ["guestId", "nights", "first_night"]
    assert list(operation(generator, "getPrice").parameters["properties"]) == ["species", "X-Trace"]
    assert generator.api.collections["/guests"]["schema"]["required"] == ["name", "species", "id", "since"]


def test_every_trace_is_valid_and_runs_again_to_the_same_end(generator, traces):
    gate = SchemaGate()
    assert generator.levels == (1, 2, 3, 4, 5)
    for record in traces:
        assert gate.check(record) == ("trace_v1", ())
        assert judge_answer(record).code == "ok"
        assert record["metadata"]["openapi_sha256"] == generator.api.sha256


def test_every_recipe_comes_up(generator, traces):
    wanted = {recipe.name for level in generator.levels for recipe in generator.recipes(level)}
    assert {record["metadata"]["scenario"] for record in traces} == wanted


def test_results_are_what_the_document_promises(generator, traces):
    by_name = {found.name: found for found in generator.api.operations}
    checked = 0
    for record in traces:
        results = {m["tool_call_id"]: orjson.loads(m["content"]) for m in record["messages"] if m["role"] == "tool"}
        for message in record["messages"]:
            for call in message.get("tool_calls", ()):
                result, plan = results[call["id"]], by_name[call["function"]["name"]].plan
                if error_of(result) or plan["kind"] in ("list", "delete"):
                    continue
                schema = plan.get("response") or generator.api.collections[plan["collection"]]["schema"]
                assert argument_problem(schema, result) == ""
                checked += 1
    assert checked > 300


def test_replay_needs_the_same_document(tmp_path, hotel, generator, traces):
    for record in traces[::23]:
        again = replay(record["metadata"], source=bound(openapi_generator(hotel)))
        again["metadata"].pop("lineage")
        assert orjson.dumps(again) == orjson.dumps(record)
    other = tmp_path / "other.yaml"
    other.write_text(HOTEL.replace("Pet Hotel", "Pet Motel"))
    with pytest.raises(DataError, match="installed is openapi@"):
        replay(traces[0]["metadata"], source=bound(openapi_generator(other)))


def test_json_and_yaml_give_the_same_operations(tmp_path, generator):
    (tmp_path / "hotel.json").write_text(json.dumps(yaml.safe_load(HOTEL)))
    other = openapi_generator(tmp_path / "hotel.json")
    assert [found.plan for found in other.api.operations] == [found.plan for found in generator.api.operations]


def test_changed_arguments_and_results_are_refused(traces):
    refused = 0
    for record in traces[::3]:
        for place, message in enumerate(record["messages"]):
            if message["role"] != "tool" or "deleted" in message["content"]:
                continue
            mutant = copy.deepcopy(record)
            mutant["messages"][place]["content"] = '{"other":1}'
            assert not verify(mutant, undress(last_assistant(mutant))).ok
            mutant = copy.deepcopy(record)
            function = next(m for m in mutant["messages"] if m.get("tool_calls"))["tool_calls"][0]["function"]
            function["arguments"] = orjson.dumps({**orjson.loads(function["arguments"]), "extra": 1}).decode()
            assert not verify(mutant, undress(last_assistant(mutant))).ok
            refused += 2
    assert refused > 200


def world(generator, *names):
    record = next(
        record
        for level in generator.levels
        for record in (generator.sample(1, index, level) for index in range(80))
        if set(names) <= {tool["function"]["name"] for tool in record["tools"]}
    )
    return {**record["initial_state"], "faults": {}}, record["tools"]


def test_the_store_creates_gets_changes_lists_and_deletes(generator):
    state, tools = world(generator, "createGuest", "getGuest", "updateGuest", "deleteGuest")
    state, made = execute(state, "createGuest", {"name": "Rex", "species": "dog"}, tools=tools)
    place = {"guestId": made["id"]}
    assert execute(state, "getGuest", place, tools=tools)[1] == made
    state, changed = execute(state, "updateGuest", {**place, "weight_kg": 12.5}, tools=tools)
    assert changed == {**made, "weight_kg": 12.5}
    state, gone = execute(state, "deleteGuest", place, tools=tools)
    assert gone == {"deleted": made["id"]}
    assert execute(state, "getGuest", place, tools=tools)[1] == {
        "error": {"code": "not_found", "message": f"no guest {made['id']}"}
    }
    bad = execute(state, "createGuest", {"name": "Rex", "species": "fish"}, tools=tools)[1]
    assert bad["error"]["code"] == "invalid_argument"
    assert execute(state, "flyGuest", {}, tools=tools)[1]["error"]["code"] == "unknown_tool"


def test_lists_are_filtered_and_cut(generator):
    state, tools = world(generator, "listGuests")
    every = execute(state, "listGuests", {}, tools=tools)[1]
    cats = execute(state, "listGuests", {"species": "cat"}, tools=tools)[1]
    assert cats == [guest for guest in every if guest["species"] == "cat"]
    assert execute(state, "listGuests", {"limit": 2}, tools=tools)[1] == every[:2]


def test_a_nested_item_needs_its_parent(generator):
    state, tools = world(generator, "createStay", "listStays")
    guest = state["rest"]["collections"]["/guests"]["items"][0]["id"]
    listed = execute(state, "listStays", {"guestId": guest}, tools=tools)[1]
    assert listed["total"] == len(listed["stays"]) == 2
    state, _ = execute(state, "createStay", {"guestId": guest, "nights": 3}, tools=tools)
    assert execute(state, "listStays", {"guestId": guest}, tools=tools)[1]["total"] == 3
    orphan = execute(state, "createStay", {"guestId": 1, "nights": 3}, tools=tools)[1]
    assert orphan["error"]["message"] == "no guest 1"


def test_an_answer_is_the_same_for_the_same_question(generator):
    state, tools = world(generator, "getPrice")
    cat, dog = ({"species": name} for name in ("cat", "dog"))
    first = execute(state, "getPrice", cat, tools=tools)[1]
    assert first == execute(state, "getPrice", cat, tools=tools)[1]
    assert first["species"] == "cat"
    assert first["cents"] % 50 == 0
    assert execute(state, "getPrice", dog, tools=tools)[1]["species"] == "dog"


FUNCTIONS = {
    "openapi": "3.1.0",
    "info": {"title": "Lab", "version": "1"},
    "paths": {
        "/list_sets": {
            "get": {
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"type": "array", "items": {"type": "string"}}}}}
                }
            }
        },
        "/list_ids": {
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"type": "object", "required": ["set"], "properties": {"set": {"type": "string"}}}
                        }
                    },
                },
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "array",
                                    "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                                }
                            }
                        }
                    }
                },
            }
        },
        "/read": {
            "get": {
                "parameters": [
                    {
                        "name": "id",
                        "in": "query",
                        "required": True,
                        "schema": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                    }
                ],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["id"],
                                    "properties": {"id": {"type": ["integer", "string"]}, "text": {"type": "string"}},
                                }
                            }
                        }
                    }
                },
            }
        },
    },
}


def written(tmp_path, document):
    path = tmp_path / "api.json"
    path.write_text(json.dumps(document))
    return path


def test_functions_are_chained_by_what_one_gives_and_the_other_needs(tmp_path):
    lab = openapi_generator(written(tmp_path, FUNCTIONS))
    names = {recipe.name for level in lab.levels for recipe in lab.recipes(level)}
    assert {
        "feed_get_list_sets_post_list_ids",
        "twice_post_list_ids_get_read",
        "follow_post_list_ids_get_read",
    } <= names
    for level in lab.levels:
        for index in range(30):
            assert judge_answer(lab.sample(2, index, level)).code == "ok"


def with_response(schema):
    return {
        **FUNCTIONS,
        "paths": {"/x": {"get": {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}}}},
    }


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({}, "the schema of its response says nothing"),
        ({"type": "string", "pattern": "^[A-Z]{3}$"}, "pattern is not supported"),
        ({"type": "object", "required": ["x"], "properties": {"y": {"type": "string"}}}, "required 'x' has no schema"),
        ({"$ref": "#/components/schemas/Loop"}, "must hold itself"),
    ],
)
def test_a_document_without_anything_to_simulate_is_refused_with_a_reason(tmp_path, schema, reason):
    document = with_response(schema)
    loop = {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Loop"}}}
    document["components"] = {"schemas": {"Loop": loop}}
    with pytest.raises(DataError, match="none of its operations can be simulated") as caught:
        openapi_generator(written(tmp_path, document))
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "neither JSON nor YAML"),
        ("a: 1", "no OpenAPI 3 document"),
        ('{"swagger": "2.0"}', "no OpenAPI 3 document"),
        ('{"openapi": "3.0.0"}', "the document has no paths"),
        (json.dumps(with_response({"$ref": "#/components/nothing"})), "leads nowhere"),
        (json.dumps(with_response({"$ref": "other.json"})), "references to other files are not followed"),
    ],
)
def test_documents_that_cannot_be_read_are_named(tmp_path, text, says):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        openapi_generator(path)
    assert str(path) in caught.value.message


def test_worker_processes_can_be_sent_the_generator(generator, traces):
    sent = pickle.loads(pickle.dumps(generator))
    metadata = traces[-1]["metadata"]
    assert orjson.dumps(sent.sample(3, metadata["index"], metadata["level"])) == orjson.dumps(traces[-1])


def test_optional_arguments_count_for_capacity(tmp_path):
    response = {"200": {"content": {"application/json": {"schema": {"type": "boolean"}}}}}
    wish = {"name": "wish", "in": "query", "schema": {"type": "string"}}
    document = {**FUNCTIONS, "paths": {"/ask": {"get": {"parameters": [wish], "responses": response}}}}
    assert openapi_generator(written(tmp_path, document)).capacity(1) >= 40


def test_a_missing_file_and_an_absent_level_are_usage_errors(tmp_path, generator):
    with pytest.raises(UsageError, match="no such file"):
        openapi_generator(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="allows no level 9"):
        generator.sample(1, 0, 9)
    assert generator.domain.levels == generator.levels


def test_an_operation_without_a_summary_is_asked_for_in_words(tmp_path):
    lab = openapi_generator(written(tmp_path, FUNCTIONS))
    assert {found.summary for found in lab.api.operations} == {"get list sets", "post list ids", "get read"}
    document = copy.deepcopy(FUNCTIONS)
    document["paths"]["/read"]["get"]["operationId"] = "getBookByISBN"
    named = openapi_generator(written(tmp_path, document))
    assert "get book by ISBN" in {found.summary for found in named.api.operations}


def test_a_deletion_is_told_as_one_and_several_results_stand_on_lines_of_their_own(traces):
    deleted = [r for r in traces if r["metadata"]["scenario"] == "delete_deleteGuest"]
    assert deleted
    for record in deleted:
        assert re.fullmatch(r"Done: \S+ is deleted\.", undress(last_assistant(record)))
    compared = [r for r in traces if r["metadata"]["scenario"].startswith("compare_change")]
    assert compared
    for record in compared:
        assert re.fullmatch(r"Done:(\n- .+\.){3}", undress(last_assistant(record)))
