"""A small SQL database, run by SQLite itself over the tables in the state, one fresh in-memory database a call.

Only what is deterministic and bounded is let through: no PRAGMA, ATTACH, random or clock functions, a limit on work.
The tables keep their columns; a statement may change rows, never the schema.
"""

from __future__ import annotations

from random import Random
from typing import Any

from validators.services.base import Cast, Json, Service, ToolError, found, text, tool
from validators.services.people import CITIES, COMPANIES, add_days

MAX_STEPS = 200_000
"""Virtual-machine instructions one statement may take, in steps of 1,000."""
MAX_ROWS = 50
MAX_CELL_BYTES = 100_000
_FORBIDDEN = (
    "random",
    "randomblob",
    "date",
    "time",
    "datetime",
    "julianday",
    "strftime",
    "unixepoch",
    "load_extension",
)
NUM_CUSTOMERS = 7
NUM_INVOICES = 10


def _seed(rng: Random, cast: Cast) -> Json:
    cities = rng.sample(CITIES, 3)
    people = [*rng.sample(cast.people, len(cast.people)), cast.user]
    customers = [
        [number, person["name"], rng.choice(cities), rng.choice(COMPANIES)] for number, person in enumerate(people, 1)
    ]
    amounts = rng.sample(range(40, 900), NUM_INVOICES)  # distinct: the largest invoice is one invoice
    invoices = [
        [
            500 + number,
            rng.randint(1, NUM_CUSTOMERS),
            amount * 100,
            ("due", "overdue", "paid")[number % 3] if number < 4 else rng.choice(("paid", "due", "overdue")),
            add_days(cast.now, -rng.randint(1, 90)),
        ]
        for number, amount in enumerate(amounts, 1)
    ]
    return {
        "tables": {
            "customers": {"columns": ["id", "name", "city", "company"], "rows": customers},
            "invoices": {"columns": ["id", "customer_id", "amount_cents", "status", "issued"], "rows": invoices},
        }
    }


def _list(own: Json, _given: Json, _state: Json) -> Json:
    return {"tables": sorted(own["tables"])}


def _describe(own: Json, given: Json, _state: Json) -> Json:
    table = found(own["tables"], given["table"], "table")
    return {"table": given["table"], "columns": table["columns"], "num_rows": len(table["rows"])}


def _open(own: Json) -> Any:
    import sqlite3

    base = sqlite3.connect(":memory:", isolation_level=None)
    for name, table in own["tables"].items():
        if not all(word.isidentifier() for word in (name, *table["columns"])):
            raise ValueError(f"table {name!r}: its name and columns must be plain words")
        columns = ["id INTEGER PRIMARY KEY" if column == "id" else column for column in table["columns"]]
        base.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        marks = ", ".join("?" * len(table["columns"]))
        try:
            base.executemany(f"INSERT INTO {name} VALUES ({marks})", table["rows"])
        except sqlite3.Error as error:
            raise ValueError(f"table {name!r}: {error}") from error
    return base


def _guard(base: Any, *, may_write: bool) -> None:
    import sqlite3

    allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
    if may_write:
        allowed |= {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}

    def decide(action: int, first: str | None, second: str | None, *_rest: object) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if (second or "").lower() in _FORBIDDEN else sqlite3.SQLITE_OK
        is_inner = (first or "").startswith("sqlite_") and action != sqlite3.SQLITE_SELECT
        return sqlite3.SQLITE_OK if action in allowed and not is_inner else sqlite3.SQLITE_DENY

    steps = iter(range(MAX_STEPS // 1000))
    base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL_BYTES)
    base.set_authorizer(decide)
    base.set_progress_handler(lambda: 0 if next(steps, None) is not None else 1, 1000)


def _run(own: Json, sql: str, *, may_write: bool) -> tuple[Any, Any]:
    """Gives the open database and the cursor after `sql`, or raises ToolError as a database server would word it."""
    import sqlite3

    base = _open(own)
    _guard(base, may_write=may_write)
    try:
        cursor = base.execute(sql)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:  # a Warning: two statements, up to Python 3.11
        base.close()
        raise _refusal(str(error)) from error
    return base, cursor


def _refusal(said: str) -> ToolError:
    if "not authorized" in said or "prohibited" in said:
        return ToolError("permission_denied", f"this statement is not allowed here: {said}")
    if said == "interrupted":
        return ToolError("timeout", "sql: the statement takes too long")
    return ToolError("conflict" if "constraint" in said else "invalid_argument", f"sql: {said}")


def _query(own: Json, given: Json, _state: Json) -> Json:
    import sqlite3

    base, cursor = _run(own, given["sql"], may_write=False)
    try:
        rows = cursor.fetchmany(MAX_ROWS + 1)
    except sqlite3.Error as error:
        raise _refusal(str(error)) from error
    finally:
        columns = [column[0] for column in cursor.description or ()]
        base.close()
    if any(isinstance(cell, bytes) for row in rows for cell in row):
        raise ToolError("invalid_argument", "sql: a column holds bytes, which JSON can't carry")
    kept = [list(row) for row in rows[:MAX_ROWS]]
    return {"columns": columns, "rows": kept, "num_rows": len(kept), "is_cut": len(rows) > MAX_ROWS}


def _execute(own: Json, given: Json, _state: Json) -> Json:
    base, cursor = _run(own, given["sql"], may_write=True)
    base.set_authorizer(None)
    for name, table in own["tables"].items():
        rows = base.execute(f"SELECT * FROM {name} ORDER BY id").fetchall()
        table["rows"] = [list(row) for row in rows]
    changed = max(cursor.rowcount, 0)
    base.close()
    if any(isinstance(cell, bytes) for table in own["tables"].values() for row in table["rows"] for cell in row):
        raise ToolError("invalid_argument", "sql: a column would hold bytes, which JSON can't carry")
    return {"num_changed": changed}


_SQL = text("one statement, SQLite's dialect")

SERVICE = Service(
    name="database",
    about="a customer database",
    seed=_seed,
    tools=(
        tool("database_list_tables", "List the tables.", _list),
        tool(
            "database_describe_table",
            "Show the columns of a table.",
            _describe,
            required={"table": text("name of the table")},
        ),
        tool("database_query", "Run a SELECT.", _query, required={"sql": _SQL}),
        tool("database_execute", "Run an INSERT, UPDATE or DELETE.", _execute, required={"sql": _SQL}, writes=True),
    ),
)
