"""A bank: accounts of several people, of which the user sees only the own ones; amounts are whole cents."""

from __future__ import annotations

from random import Random

from validators.services.base import Cast, Json, Service, ToolError, day, found, new_id, text, tool, whole
from validators.services.people import add_days

SHOPS = ("Corner Bakery", "City Transit", "Green Grocer", "Book Barn", "Power Company", "Gym Nord", "Cinema Lux")
DAILY_LIMIT_CENTS = 200_000
NUM_MOVES = 6


def _seed(rng: Random, cast: Cast) -> Json:
    first = rng.randint(2000, 8000)
    kinds = ("checking", "savings", "travel")
    accounts: Json = {}
    for number, kind in enumerate(kinds):
        key = f"ACC-{first + number}"
        balance = rng.randrange(40_000, 600_000, 50)
        accounts[key] = {"id": key, "owner": cast.user["email"], "kind": kind, "balance_cents": balance}
    for number, person in enumerate(cast.people[:2], len(kinds)):
        key = f"ACC-{first + number}"
        balance = rng.randrange(40_000, 600_000, 50)
        accounts[key] = {"id": key, "owner": person["email"], "kind": "checking", "balance_cents": balance}
    checking = f"ACC-{first}"
    amounts = rng.sample(range(300, 15_000, 10), NUM_MOVES)  # distinct: the largest payment is one payment
    moves = [
        {
            "id": f"tx_{number}",
            "account_id": checking,
            "date": add_days(cast.now, -3 * (NUM_MOVES - number) - rng.randint(1, 3)),
            "amount_cents": -amount,
            "text": shop,
        }
        for number, (amount, shop) in enumerate(zip(amounts, rng.sample(SHOPS, NUM_MOVES), strict=True), 1)
    ]
    return {"accounts": accounts, "transactions": moves, "sent_today_cents": 0, "next_id": NUM_MOVES + 1}


def _list(own: Json, _given: Json, state: Json) -> Json:
    mine = [account for account in own["accounts"].values() if account["owner"] == state["user"]["email"]]
    return {"accounts": [{key: account[key] for key in ("id", "kind", "balance_cents")} for account in mine]}


def _mine(own: Json, account_id: str, state: Json) -> Json:
    account = found(own["accounts"], account_id, "account")
    if account["owner"] != state["user"]["email"]:
        raise ToolError("permission_denied", f"account {account_id} is not yours")
    return account


def _get(own: Json, given: Json, state: Json) -> Json:
    account = _mine(own, given["account_id"], state)
    return {key: account[key] for key in ("id", "kind", "balance_cents")}


def _moves(own: Json, given: Json, state: Json) -> Json:
    account = _mine(own, given["account_id"], state)
    since = given.get("since", "")
    rows = [row for row in own["transactions"] if row["account_id"] == account["id"] and row["date"] >= since]
    rows = [{key: row[key] for key in ("id", "date", "amount_cents", "text")} for row in rows]
    return {"transactions": sorted(rows, key=lambda row: (row["date"], row["id"]), reverse=True)}


def _transfer(own: Json, given: Json, state: Json) -> Json:
    source = _mine(own, given["from_account"], state)
    target = found(own["accounts"], given["to_account"], "account")
    amount = given["amount_cents"]
    if source is target:
        raise ToolError("invalid_argument", "from_account and to_account are the same")
    if amount > source["balance_cents"]:
        message = f"{source['id']} holds {source['balance_cents']} cents, {amount} are wanted"
        raise ToolError("insufficient_funds", message, balance_cents=source["balance_cents"])
    is_outgoing = target["owner"] != source["owner"]
    if is_outgoing and own["sent_today_cents"] + amount > DAILY_LIMIT_CENTS:
        left = DAILY_LIMIT_CENTS - own["sent_today_cents"]
        raise ToolError("limit_exceeded", f"{left} cents can still be sent to others today", remaining_cents=left)
    own["sent_today_cents"] += amount if is_outgoing else 0
    source["balance_cents"] -= amount
    target["balance_cents"] += amount
    key = new_id(own, "tx_")
    about = given.get("note") or f"transfer to {target['id']}"
    row = {"id": key, "date": state["now"][:10], "text": about}
    own["transactions"].append({**row, "account_id": source["id"], "amount_cents": -amount})
    own["transactions"].append({**row, "account_id": target["id"], "amount_cents": amount})
    return {"transaction_id": key, "amount_cents": amount, "balance_cents": source["balance_cents"]}


_ACCOUNT_ID = text("id of the account, e.g. ACC-4021")

SERVICE = Service(
    name="bank",
    about="the user's bank",
    seed=_seed,
    tools=(
        tool("bank_list_accounts", "List the user's accounts with balances in cents.", _list),
        tool("bank_get_balance", "Get the balance of an account in cents.", _get, required={"account_id": _ACCOUNT_ID}),
        tool(
            "bank_list_transactions",
            "List the payments of an account, the newest first.",
            _moves,
            required={"account_id": _ACCOUNT_ID},
            optional={"since": day("first day")},
        ),
        tool(
            "bank_transfer",
            "Send money from an own account to another.",
            _transfer,
            required={
                "from_account": _ACCOUNT_ID,
                "to_account": _ACCOUNT_ID,
                "amount_cents": whole("how much, in cents", 1, 10_000_000),
            },
            optional={"note": text("what it is for")},
            writes=True,
        ),
    ),
)
