"""A ticket desk: a ticket moves open -> in_progress -> resolved -> closed; a closed one can only be opened again."""

from __future__ import annotations

from random import Random

from validators.services.base import Cast, Json, Service, ToolError, address, found, new_id, one_of, text, tool
from validators.services.people import listed

TITLES = listed(
    "Login page shows a blank screen,Export to CSV drops the last row,Invoice PDF has the wrong date,"
    "Password reset mail arrives late,Search ignores umlauts,Mobile app crashes on start,Dark mode hides the buttons,"
    "Report totals are off by one,Upload stops at 2 GB,Calendar sync is slow,Printer queue is stuck,"
    "VPN drops every hour,Wiki links are broken,Backup job failed,Badge reader rejects new cards,"
    "Webhook is sent twice"
)
STATUSES = ("open", "in_progress", "resolved", "closed")
PRIORITIES = ("low", "normal", "high", "urgent")
NEXT = {
    "open": ("in_progress",),
    "in_progress": ("open", "resolved"),
    "resolved": ("closed", "open"),
    "closed": ("open",),
}
NUM_TICKETS = 6


def _seed(rng: Random, cast: Cast) -> Json:
    tickets: Json = {}
    first = rng.randint(100, 900)
    team = [person["email"] for person in cast.people[:4]]
    for number, title in enumerate(rng.sample(TITLES, NUM_TICKETS)):
        key = f"TCK-{first + number}"
        # The first four are one in each state, so that every move of the state machine has a ticket to start from.
        status = STATUSES[number] if number < 4 else rng.choice(STATUSES[:2])
        tickets[key] = {
            "id": key,
            "title": title,
            "status": status,
            "priority": rng.choice(PRIORITIES),
            "assignee": rng.choice(team),
            "reporter": rng.choice(cast.people)["email"],
            "comments": [],
        }
    return {"tickets": tickets, "team": team, "next_id": first + NUM_TICKETS}


def _search(own: Json, given: Json, _state: Json) -> Json:
    words = given.get("query", "").lower()
    exact = [(key, given[key]) for key in ("status", "priority", "assignee") if key in given]
    hits = [
        {key: ticket[key] for key in ("id", "title", "status", "priority", "assignee")}
        for ticket in own["tickets"].values()
        if words in ticket["title"].lower() and all(ticket[key] == value for key, value in exact)
    ]
    return {"tickets": sorted(hits, key=lambda ticket: str(ticket["id"]))}


def _get(own: Json, given: Json, _state: Json) -> Json:
    return {"ticket": found(own["tickets"], given["ticket_id"], "ticket")}


def _create(own: Json, given: Json, state: Json) -> Json:
    twin = next((t for t in own["tickets"].values() if t["title"] == given["title"] and t["status"] != "closed"), None)
    if twin:
        raise ToolError("conflict", f"{twin['id']} reports the same and is not closed", ticket_id=twin["id"])
    key = new_id(own, "TCK-")
    own["tickets"][key] = {
        "id": key,
        "title": given["title"],
        "status": "open",
        "priority": given["priority"],
        "assignee": None,
        "reporter": state["user"]["email"],
        "comments": [],
    }
    return {"ticket": own["tickets"][key]}


def _set_status(own: Json, given: Json, _state: Json) -> Json:
    ticket = found(own["tickets"], given["ticket_id"], "ticket")
    allowed = NEXT[ticket["status"]]
    if given["status"] not in allowed:
        message = f"{ticket['id']} is {ticket['status']} and can only become {' or '.join(allowed)}"
        raise ToolError("conflict", message, status=ticket["status"], allowed=list(allowed))
    ticket["status"] = given["status"]
    return {"ticket": ticket}


def _set_priority(own: Json, given: Json, _state: Json) -> Json:
    ticket = found(own["tickets"], given["ticket_id"], "ticket")
    ticket["priority"] = given["priority"]
    return {"ticket": ticket}


def _assign(own: Json, given: Json, _state: Json) -> Json:
    ticket = found(own["tickets"], given["ticket_id"], "ticket")
    if given["assignee"] not in own["team"]:
        raise ToolError("invalid_argument", f"assignee: {given['assignee']} is not in the team", team=own["team"])
    ticket["assignee"] = given["assignee"]
    return {"ticket": ticket}


def _comment(own: Json, given: Json, state: Json) -> Json:
    ticket = found(own["tickets"], given["ticket_id"], "ticket")
    ticket["comments"].append({"author": state["user"]["email"], "text": given["text"]})
    return {"ticket_id": ticket["id"], "num_comments": len(ticket["comments"])}


_TICKET_ID = text("id of the ticket, e.g. TCK-204")
_PRIORITY = one_of("how urgent it is", *PRIORITIES)

SERVICE = Service(
    name="tickets",
    about="the ticket desk",
    seed=_seed,
    tools=(
        tool(
            "tickets_search",
            "Find tickets; all given conditions hold.",
            _search,
            optional={
                "query": text("part of the title"),
                "status": one_of("state of the ticket", *STATUSES),
                "priority": _PRIORITY,
                "assignee": address("who works on it"),
            },
        ),
        tool("tickets_get", "Get one ticket with its comments.", _get, required={"ticket_id": _TICKET_ID}),
        tool(
            "tickets_create",
            "Report a new problem.",
            _create,
            required={"title": text("the problem in one line"), "priority": _PRIORITY},
            writes=True,
        ),
        tool(
            "tickets_set_status",
            "Move a ticket to another state.",
            _set_status,
            required={"ticket_id": _TICKET_ID, "status": one_of("the new state", *STATUSES)},
            writes=True,
        ),
        tool(
            "tickets_set_priority",
            "Change how urgent a ticket is.",
            _set_priority,
            required={"ticket_id": _TICKET_ID, "priority": _PRIORITY},
            writes=True,
        ),
        tool(
            "tickets_assign",
            "Give a ticket to a member of the team.",
            _assign,
            required={"ticket_id": _TICKET_ID, "assignee": address("mail address of the member")},
            writes=True,
        ),
        tool(
            "tickets_comment",
            "Add a comment to a ticket.",
            _comment,
            required={"ticket_id": _TICKET_ID, "text": text("the comment")},
            writes=True,
        ),
    ),
)
