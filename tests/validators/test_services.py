"""The simulated services: pure, deterministic, with the errors a real API would give."""

from random import Random

import jsonschema_rs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier_core.errors import ConfigError
from validators.services.base import canonical, differences, digest, error_of
from validators.services.table import SERVICES, execute, known_tool, seed_world, tools_of
from validators.services.values import Unsupported, value_of

EVERY = sorted(SERVICES)
TOOLS = [tool for service in SERVICES.values() for tool in service.tools]


def world(*services, seed=1):
    return seed_world(Random(seed), services)[0]


def code(result):
    error = error_of(result)
    return error["code"] if error else "ok"


def test_there_are_nine_services_and_every_tool_has_a_name_of_its_own():
    assert EVERY == ["bank", "calendar", "contacts", "database", "files", "mail", "shop", "tickets", "weather"]
    assert len({tool.name for tool in TOOLS}) == len(TOOLS) == 55


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_tools_declare_their_arguments_as_closed_json_schemas(tool):
    jsonschema_rs.meta.validate(tool.parameters)
    assert tool.parameters["additionalProperties"] is False
    assert tool.declaration["function"]["description"].endswith(".") or ":" in tool.description
    assert known_tool(tool.name) is tool


def test_a_world_is_the_same_for_the_same_seed_and_another_for_another():
    assert digest(world(*EVERY, seed=5)) == digest(world(*EVERY, seed=5))
    assert digest(world(*EVERY, seed=5)) != digest(world(*EVERY, seed=6))
    state = world(*EVERY)
    assert orjson.loads(orjson.dumps(state)) == state


def draw_arguments(tool, state, rng):
    """Arguments that often name what is there, so that calls get beyond `not_found`."""
    keys = [
        key
        for part in state.values()
        if isinstance(part, dict)
        for inner in part.values()
        if isinstance(inner, dict)
        for key in inner
    ]
    made = {}
    for name, schema in tool.parameters["properties"].items():
        if name not in tool.parameters["required"] and rng.random() < 0.5:
            continue
        if schema.get("pattern", "").startswith("^\\d{4}"):
            made[name] = f"{state['now'][:10]}T{rng.randrange(8, 20):02}:30"
        elif schema.get("type") == "string" and "enum" not in schema and "format" not in schema and rng.random() < 0.8:
            made[name] = rng.choice(keys)
        else:
            try:
                made[name] = value_of(schema, rng, name=name)
            except Unsupported:
                made[name] = "+4912345678"
    return made


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_calls_never_change_the_state_they_are_given_and_errors_change_nothing(seed):
    rng = Random(seed)
    state = world(*EVERY, seed=seed)
    for _ in range(12):
        tool = rng.choice(TOOLS)
        arguments = draw_arguments(tool, state, rng)
        before = canonical(state)
        after, result = execute(state, tool.name, arguments)
        assert canonical(state) == before
        assert execute(state, tool.name, arguments) == (after, result)
        if error_of(result) or tool.is_read_only:
            assert after == state
        orjson.dumps(result)
        state = after


def test_bad_arguments_are_refused_as_an_api_would():
    state = world("calendar")
    for arguments, says in [
        ({}, '"date" is a required property'),
        ({"date": "tomorrow"}, 'date: "tomorrow" is not a "date"'),
        ({"date": "2025-01-01", "room": 1}, "Additional properties are not allowed ('room' was unexpected)"),
        ([], '[] is not of type "object"'),
    ]:
        after, result = execute(state, "calendar_list_events", arguments)
        assert result == {"error": {"code": "invalid_argument", "message": says}}
        assert after is state


def test_a_tool_of_a_service_that_is_not_there_is_unknown():
    assert code(execute(world("mail"), "bank_list_accounts", {})[1]) == "unknown_tool"
    assert code(execute(world("mail"), "mail_explode", {})[1]) == "unknown_tool"


def test_a_fault_answers_once_and_is_then_used_up():
    state = {**world("weather"), "faults": {"weather_search_cities": ["rate_limited", "timeout"]}}
    codes = []
    for _ in range(3):
        state, result = execute(state, "weather_search_cities", {"query": "a"})
        codes.append(code(result))
    assert codes == ["rate_limited", "timeout", "ok"]
    assert state["faults"] == {}


def test_unknown_service_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown service 'calender'") as caught:
        tools_of(["calender"])
    assert "calendar" in caught.value.hint


def test_calendar_refuses_overlaps_the_past_and_events_of_others():
    state = world("calendar")
    state = {**state, "now": "2025-03-03T09:00"}
    state["calendar"] = {"next_id": 1, "events": {}}
    new = {"title": "A", "start": "2025-03-04T10:00", "duration_min": 60}
    state, made = execute(state, "calendar_create_event", new)
    assert made["event"]["end"] == "2025-03-04T11:00"
    _, clash = execute(state, "calendar_create_event", {**new, "title": "B", "start": "2025-03-04T10:45"})
    assert clash["error"]["message"] == "2025-03-04T10:45 overlaps with 'A', which ends at 11:00"
    assert clash["error"]["conflicts_with"] == {
        "id": "evt_1",
        "title": "A",
        "start": "2025-03-04T10:00",
        "end": "2025-03-04T11:00",
    }
    touching, _ = execute(state, "calendar_create_event", {**new, "start": "2025-03-04T11:00"})
    assert len(touching["calendar"]["events"]) == 2
    past = execute(state, "calendar_move_event", {"event_id": "evt_1", "start": "2025-03-03T08:00"})[1]
    assert past["error"] == {
        "code": "invalid_argument",
        "message": "start: 2025-03-03T08:00 lies in the past, now is 2025-03-03T09:00",
    }
    no_day = execute(state, "calendar_create_event", {**new, "start": "2025-02-30T10:00"})[1]
    assert code(no_day) == "invalid_argument"
    free = execute(state, "calendar_find_free_slot", {"date": "2025-03-04", "duration_min": 90})[1]
    assert free == {"start": "2025-03-04T11:00", "end": "2025-03-04T12:30"}
    assert (
        code(execute(state, "calendar_find_free_slot", {"date": "2025-03-04", "duration_min": 480})[1]) == "not_found"
    )
    others = {**state, "user": {"name": "X", "email": "x@example.com"}}
    assert code(execute(others, "calendar_delete_event", {"event_id": "evt_1"})[1]) == "permission_denied"
    guest = {"event_id": "evt_1", "email": "a@example.com"}
    assert code(execute(state, "calendar_invite", {**guest, "event_id": "evt_9"})[1]) == "not_found"
    invited, _ = execute(state, "calendar_invite", guest)
    assert code(execute(invited, "calendar_invite", guest)[1]) == "conflict"


def test_files_keep_what_exists_and_what_belongs_to_others():
    state = world("files")
    state["files"] = {
        "files": {
            "/a/x.md": {
                "path": "/a/x.md",
                "owner": "o@example.com",
                "modified": "2025-01-01",
                "text": "one two",
                "shared_with": [],
            }
        }
    }
    assert execute(state, "files_read", {"path": "/a/x.md"})[1]["num_words"] == 2
    assert code(execute(state, "files_write", {"path": "/a/x.md", "text": "n"})[1]) == "conflict"
    assert (
        code(execute(state, "files_write", {"path": "/a/x.md", "text": "n", "overwrite": True})[1])
        == "permission_denied"
    )
    assert code(execute(state, "files_delete", {"path": "/a/x.md"})[1]) == "permission_denied"
    assert code(execute(state, "files_write", {"path": "/a/../x", "text": "n"})[1]) == "invalid_argument"
    after, made = execute(state, "files_write", {"path": "/a/y.md", "text": "n"})
    assert made == {"path": "/a/y.md", "owner": state["user"]["email"], "modified": state["now"][:10], "num_words": 1}
    after, _ = execute(after, "files_move", {"path": "/a/y.md", "to": "/b/z.md"})
    assert sorted(after["files"]["files"]) == ["/a/x.md", "/b/z.md"]
    assert code(execute(after, "files_move", {"path": "/b/z.md", "to": "/a/x.md"})[1]) == "conflict"
    assert code(execute(state, "files_list", {"folder": "/none"})[1]) == "not_found"
    assert [file["path"] for file in execute(state, "files_list", {"folder": "/a/"})[1]["files"]] == ["/a/x.md"]


def test_tickets_move_only_along_their_states():
    state = world("tickets")
    by_status = {ticket["status"]: key for key, ticket in list(state["tickets"]["tickets"].items())[:4]}
    refused = execute(state, "tickets_set_status", {"ticket_id": by_status["open"], "status": "closed"})[1]
    assert refused["error"]["allowed"] == ["in_progress"]
    state, made = execute(state, "tickets_set_status", {"ticket_id": by_status["in_progress"], "status": "resolved"})
    state, made = execute(state, "tickets_set_status", {"ticket_id": by_status["in_progress"], "status": "closed"})
    assert made["ticket"]["status"] == "closed"
    stranger = execute(state, "tickets_assign", {"ticket_id": by_status["open"], "assignee": "no@example.com"})[1]
    assert stranger["error"]["team"] == state["tickets"]["team"]
    title = state["tickets"]["tickets"][by_status["open"]]["title"]
    assert (
        execute(state, "tickets_create", {"title": title, "priority": "low"})[1]["error"]["ticket_id"]
        == by_status["open"]
    )


def test_shop_sells_what_it_has_and_gives_money_back_until_it_ships():
    state = world("shop")
    product = next(iter(state["shop"]["products"].values()))
    short = execute(state, "shop_add_to_cart", {"sku": product["sku"], "quantity": product["stock"] + 1})[1]
    assert short["error"]["available"] == product["stock"]
    assert code(execute(state, "shop_checkout", {})[1]) == "conflict"
    state, cart = execute(state, "shop_add_to_cart", {"sku": product["sku"], "quantity": 2})
    assert cart["total_cents"] == 2 * product["price_cents"]
    state, done = execute(state, "shop_checkout", {})
    assert state["shop"]["products"][product["sku"]]["stock"] == product["stock"] - 2
    state, gone = execute(state, "shop_cancel_order", {"order_id": done["order"]["id"]})
    assert gone["refund_cents"] == 2 * product["price_cents"]
    assert state["shop"]["products"][product["sku"]]["stock"] == product["stock"]
    assert execute(state, "shop_cancel_order", {"order_id": done["order"]["id"]})[1]["error"]["status"] == "cancelled"


def test_bank_guards_accounts_balances_and_the_daily_limit():
    state = world("bank")
    mine = [key for key, account in state["bank"]["accounts"].items() if account["owner"] == state["user"]["email"]]
    theirs = [key for key in state["bank"]["accounts"] if key not in mine]
    state["bank"]["accounts"][mine[0]]["balance_cents"] = 450_000
    give = {"from_account": mine[0], "to_account": theirs[0], "amount_cents": 150_000}
    assert code(execute(state, "bank_get_balance", {"account_id": theirs[0]})[1]) == "permission_denied"
    assert (
        code(execute(state, "bank_transfer", {**give, "from_account": theirs[0], "to_account": mine[0]})[1])
        == "permission_denied"
    )
    assert code(execute(state, "bank_transfer", {**give, "to_account": mine[0]})[1]) == "invalid_argument"
    after, sent = execute(state, "bank_transfer", give)
    assert sent["balance_cents"] == 300_000
    assert execute(after, "bank_transfer", give)[1]["error"]["remaining_cents"] == 50_000
    own, _ = execute(after, "bank_transfer", {**give, "to_account": mine[1]})
    poor = execute(own, "bank_transfer", {**give, "to_account": mine[1], "amount_cents": 150_001})[1]
    assert poor["error"] == {
        "code": "insufficient_funds",
        "message": f"{mine[0]} holds 150000 cents, 150001 are wanted",
        "balance_cents": 150_000,
    }
    total = sum(account["balance_cents"] for account in state["bank"]["accounts"].values())
    assert sum(account["balance_cents"] for account in own["bank"]["accounts"].values()) == total


def test_mail_is_deleted_only_from_the_bin():
    state = world("mail")
    assert code(execute(state, "mail_delete", {"message_id": "msg_1"})[1]) == "conflict"
    state, _ = execute(state, "mail_move", {"message_id": "msg_1", "folder": "bin"})
    state, _ = execute(state, "mail_delete", {"message_id": "msg_1"})
    assert "msg_1" not in state["mail"]["messages"]
    state, sent = execute(state, "mail_reply", {"message_id": "msg_2", "body": "Yes."})
    assert sent["subject"] == "Re: " + state["mail"]["messages"]["msg_2"]["subject"]
    assert (
        code(execute(state, "mail_reply", {"message_id": sent["message_id"], "body": "Yes."})[1]) == "invalid_argument"
    )
    assert code(execute(state, "mail_send", {"to": ["nobody"], "subject": "s", "body": "b"})[1]) == "invalid_argument"


def test_an_address_stands_in_the_address_book_once():
    state = world("contacts")
    first = state["contacts"]["contacts"]["ct_1"]
    twice = execute(state, "contacts_create", {"name": "N", "email": first["email"]})[1]
    assert twice["error"]["contact_id"] == "ct_1"
    assert code(execute(state, "contacts_update", {"contact_id": "ct_2", "email": first["email"]})[1]) == "conflict"
    assert code(execute(state, "contacts_update", {"contact_id": "ct_2"})[1]) == "invalid_argument"
    assert code(execute(state, "contacts_update", {"contact_id": "ct_2", "phone": "12"})[1]) == "invalid_argument"


def test_the_database_runs_sql_but_nothing_that_reaches_beyond_its_rows():
    state = world("database")
    rows = state["database"]["tables"]["invoices"]["rows"]
    got = execute(state, "database_query", {"sql": "SELECT SUM(amount_cents) FROM invoices"})[1]
    assert got == {
        "columns": ["SUM(amount_cents)"],
        "rows": [[sum(row[2] for row in rows)]],
        "num_rows": 1,
        "is_cut": False,
    }
    after, changed = execute(state, "database_execute", {"sql": "DELETE FROM invoices WHERE id > 503"})
    assert changed == {"num_changed": 7}
    assert [row[0] for row in after["database"]["tables"]["invoices"]["rows"]] == [501, 502, 503]
    for sql, expected in [
        ("SELECT nothing FROM invoices", "invalid_argument"),
        ("SELECT 1; SELECT 2", "invalid_argument"),
        ("DELETE FROM invoices", "permission_denied"),
        ("SELECT random()", "permission_denied"),
        ("SELECT date('now')", "permission_denied"),
        ("PRAGMA user_version", "permission_denied"),
        ("ATTACH '/tmp/x' AS x", "permission_denied"),
        ("SELECT * FROM sqlite_master", "permission_denied"),
        ("SELECT CAST('a' AS BLOB)", "invalid_argument"),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c WHERE x = 1 OR x > 1e9",
            "timeout",
        ),
        ("SELECT 1 UNION ALL SELECT abs(-9223372036854775808)", "invalid_argument"),
        ("SELECT '\x00'", "invalid_argument"),
        ("SELECT hex(zeroblob(100000000))", "invalid_argument"),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT COUNT(*) FROM c", "timeout"),
    ]:
        assert code(execute(state, "database_query", {"sql": sql})[1]) == expected, sql
    for sql, expected in [
        ("DROP TABLE invoices", "permission_denied"),
        ("INSERT INTO invoices VALUES (501, 1, 1, 'due', '')", "conflict"),
        ("UPDATE invoices SET status = x'00'", "invalid_argument"),
    ]:
        after, result = execute(state, "database_execute", {"sql": sql})
        assert code(result) == expected, sql
        assert after == state


def test_forecasts_end_and_say_where():
    state = world("weather")
    city = next(iter(state["weather"]["cities"]))
    days = list(state["weather"]["cities"][city])
    assert execute(state, "weather_get_current", {"city": city.lower()})[1]["date"] == days[0]
    far = execute(state, "weather_get_forecast", {"city": city, "date": "2030-01-01"})[1]
    assert (far["error"]["first"], far["error"]["last"]) == (days[0], days[-1])
    assert code(execute(state, "weather_get_week", {"city": "Atlantis"})[1]) == "not_found"


def test_differences_name_what_came_what_went_and_what_changed():
    before = {"a": {"x": 1, "y/z": [1]}, "b": 1}
    after = {"a": {"x": 2, "n~": {"q": 1}}, "b": 1}
    assert differences(before, after) == [
        {"path": "/a/n~0", "value": {"q": 1}},
        {"path": "/a/x", "value": 2},
        {"path": "/a/y~1z", "gone": True},
    ]
    assert differences(before, before) == []


def test_a_handler_never_sees_arguments_that_do_not_fit_its_schema():
    deep = {"title": "A", "start": "soon", "duration_min": 30, "attendees": ["a@example.com", "nobody"]}
    after, result = execute(world("calendar"), "calendar_create_event", deep)
    assert result["error"]["message"] == 'attendees.1: "nobody" is not a "email"'
    long = execute(world("calendar"), "calendar_create_event", {**deep, "attendees": [], "start": "x" * 300})[1]
    assert len(long["error"]["message"]) <= 140
    assert "calendar" in after


@pytest.mark.parametrize(
    "tables",
    [
        {"x AS SELECT 1 --": {"columns": ["id"], "rows": []}},
        {"x": {"columns": ["id", "a b"], "rows": []}},
        {"x": {"columns": ["id"], "rows": [[1], [1]]}},
        {"x": {"columns": ["id"], "rows": [[1, 2]]}},
    ],
)
def test_a_database_state_that_is_no_table_is_refused(tables):
    state = {**world("database"), "database": {"tables": tables}}
    with pytest.raises(ValueError, match="table '"):
        execute(state, "database_query", {"sql": "SELECT 1"})
