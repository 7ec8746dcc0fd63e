"""A calendar: events that may not overlap, and that only their organizer may move or delete."""

from __future__ import annotations

from datetime import datetime
from random import Random

from validators.services.base import (
    Cast,
    Json,
    Service,
    ToolError,
    address,
    day,
    found,
    minute,
    new_id,
    text,
    tool,
    whole,
)
from validators.services.people import add_days, add_minutes, listed

TITLES = listed(
    "Budget review,Design workshop,Sprint planning,Hiring panel,Release check,Client call,Roadmap session,"
    "Security briefing,Team lunch,Vendor meeting,Data review,Onboarding,Press interview,Contract talk,Board prep,"
    "Support handover,Pricing workshop,Usability test,Quarterly outlook,Incident review"
)
ROOMS = ("Room Alder", "Room Birch", "Room Cedar", "Room Dogwood", "online")
OPENS, CLOSES = "09:00", "17:00"
NUM_EVENTS = 6


def _seed(rng: Random, cast: Cast) -> Json:
    events: Json = {}
    titles = rng.sample(TITLES, NUM_EVENTS)
    for number, title in enumerate(titles, 1):
        # Two a day, one before and one after noon: seeded events never overlap and every day keeps free time.
        date = add_days(cast.now, 1 + (number - 1) // 2)
        hour = rng.choice((9, 10, 11)) if number % 2 else rng.choice((13, 14, 15))
        start = f"{date}T{hour:02}:{rng.choice((0, 30)):02}"
        guests = [person["email"] for person in rng.sample(cast.people, rng.randint(1, 3))]
        organizer = cast.user["email"] if number <= 4 else guests[0]
        events[f"evt_{number}"] = {
            "id": f"evt_{number}",
            "title": title,
            "start": start,
            "end": add_minutes(start, rng.choice((30, 60))),
            "location": rng.choice(ROOMS),
            "organizer": organizer,
            "attendees": guests,
        }
    return {"events": events, "next_id": NUM_EVENTS + 1}


def _in_order(events: list[Json]) -> list[Json]:
    return sorted(events, key=lambda event: (event["start"], event["id"]))


def _list(own: Json, given: Json, _state: Json) -> Json:
    return {"events": _in_order([event for event in own["events"].values() if event["start"][:10] == given["date"]])}


def _search(own: Json, given: Json, _state: Json) -> Json:
    words = given["query"].lower()
    return {"events": _in_order([event for event in own["events"].values() if words in event["title"].lower()])}


def _get(own: Json, given: Json, _state: Json) -> Json:
    return {"event": found(own["events"], given["event_id"], "event")}


def _check_time(start: str, state: Json) -> None:
    try:
        datetime.fromisoformat(start)
    except ValueError:
        raise ToolError("invalid_argument", f"start: {start!r} is no time of any day") from None
    if start < state["now"]:
        raise ToolError("invalid_argument", f"start: {start} lies in the past, now is {state['now']}")


def _check_free(own: Json, start: str, end: str, *, besides: str = "") -> None:
    for event in _in_order(list(own["events"].values())):
        if event["id"] != besides and event["start"] < end and start < event["end"]:
            taken = {key: event[key] for key in ("id", "title", "start", "end")}
            message = f"{start} overlaps with {event['title']!r}, which ends at {event['end'][11:]}"
            raise ToolError("conflict", message, conflicts_with=taken)


def _create(own: Json, given: Json, state: Json) -> Json:
    _check_time(given["start"], state)
    end = add_minutes(given["start"], given["duration_min"])
    _check_free(own, given["start"], end)
    event_id = new_id(own, "evt_")
    own["events"][event_id] = {
        "id": event_id,
        "title": given["title"],
        "start": given["start"],
        "end": end,
        "location": given.get("location", "online"),
        "organizer": state["user"]["email"],
        "attendees": given.get("attendees", []),
    }
    return {"event": own["events"][event_id]}


def _own_event(own: Json, event_id: str, state: Json) -> Json:
    event = found(own["events"], event_id, "event")
    if event["organizer"] != state["user"]["email"]:
        message = f"only the organizer, {event['organizer']}, may change event {event_id!r}"
        raise ToolError("permission_denied", message)
    return event


def _move(own: Json, given: Json, state: Json) -> Json:
    event = _own_event(own, given["event_id"], state)
    _check_time(given["start"], state)
    length = datetime.fromisoformat(event["end"]) - datetime.fromisoformat(event["start"])
    end = add_minutes(given["start"], length.seconds // 60)
    _check_free(own, given["start"], end, besides=event["id"])
    event["start"], event["end"] = given["start"], end
    return {"event": event}


def _invite(own: Json, given: Json, state: Json) -> Json:
    event = _own_event(own, given["event_id"], state)
    if given["email"] in event["attendees"]:
        raise ToolError("conflict", f"{given['email']} is invited already")
    event["attendees"].append(given["email"])
    return {"event": event}


def _delete(own: Json, given: Json, state: Json) -> Json:
    event = _own_event(own, given["event_id"], state)
    del own["events"][event["id"]]
    return {"deleted": event["id"], "title": event["title"]}


def _free(own: Json, given: Json, _state: Json) -> Json:
    date, length = given["date"], given["duration_min"]
    start, closes = f"{date}T{OPENS}", f"{date}T{CLOSES}"
    for event in _in_order([event for event in own["events"].values() if event["start"][:10] == date]):
        if add_minutes(start, length) <= event["start"]:
            break
        start = max(start, event["end"])
    end = add_minutes(start, length)
    if end > closes:
        raise ToolError("not_found", f"no {length} minutes are free on {date} between {OPENS} and {CLOSES}")
    return {"start": start, "end": end}


_EVENT_ID = text("id of the event, e.g. evt_3")
_MINUTES = whole("length in minutes", 5, 480)

SERVICE = Service(
    name="calendar",
    about="the user's calendar",
    seed=_seed,
    tools=(
        tool("calendar_list_events", "List the events of one day.", _list, required={"date": day("the day")}),
        tool(
            "calendar_search_events",
            "Find events by words of their title.",
            _search,
            required={"query": text("part of the title")},
        ),
        tool("calendar_get_event", "Get one event.", _get, required={"event_id": _EVENT_ID}),
        tool(
            "calendar_create_event",
            "Create an event; fails if it overlaps with another.",
            _create,
            required={
                "title": text("what it is about"),
                "start": minute("local time, YYYY-MM-DDTHH:MM"),
                "duration_min": _MINUTES,
            },
            optional={
                "attendees": {"type": "array", "items": address("mail address"), "description": "who is invited"},
                "location": text("room, or online"),
            },
            writes=True,
        ),
        tool(
            "calendar_move_event",
            "Move an event to another time; its length stays.",
            _move,
            required={"event_id": _EVENT_ID, "start": minute("new local time, YYYY-MM-DDTHH:MM")},
            writes=True,
        ),
        tool(
            "calendar_invite",
            "Add a person to an event.",
            _invite,
            required={"event_id": _EVENT_ID, "email": address("whom to invite")},
            writes=True,
        ),
        tool("calendar_delete_event", "Delete an event.", _delete, required={"event_id": _EVENT_ID}, writes=True),
        tool(
            "calendar_find_free_slot",
            f"Find the first free time of a day between {OPENS} and {CLOSES}.",
            _free,
            required={"date": day("the day"), "duration_min": _MINUTES},
        ),
    ),
)
