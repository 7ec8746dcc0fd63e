"""A mailbox: an inbox, sent mail, an archive and a bin; only mail in the bin can be deleted for good."""

from __future__ import annotations

from random import Random

from validators.services.base import Cast, Json, Service, ToolError, address, found, new_id, one_of, text, tool
from validators.services.people import add_days, listed

SUBJECTS = listed(
    "Offer for the spring campaign,Questions on the contract,Photos of the event,Invoice attached,Meeting notes,"
    "New office keys,Feedback on the draft,Change of address,Travel plans,Reminder: survey,Test results,"
    "Welcome to the project,Delivery delayed,Lunch on Friday,Access request,Updated price list"
)
BODIES = (
    "Could you have a look and tell me what you think?",
    "Please find the details below. Let me know if something is missing.",
    "Thanks for the quick reply, that helps a lot.",
    "We need an answer by the end of the week.",
    "This is just for your information.",
)
FOLDERS = ("inbox", "sent", "archive", "bin")
NUM_MESSAGES = 6


def _seed(rng: Random, cast: Cast) -> Json:
    messages: Json = {}
    for number, subject in enumerate(rng.sample(SUBJECTS, NUM_MESSAGES), 1):
        sender = cast.people[(number - 1) % len(cast.people)]
        messages[f"msg_{number}"] = {
            "id": f"msg_{number}",
            "folder": "archive" if number == NUM_MESSAGES else "inbox",
            "from": sender["email"],
            "to": [cast.user["email"]],
            "subject": subject,
            "date": add_days(cast.now, -rng.randint(0, 20)),
            "body": rng.choice(BODIES),
            "is_unread": number in (1, 3, 5),
        }
    return {"messages": messages, "next_id": NUM_MESSAGES + 1}


def _search(own: Json, given: Json, _state: Json) -> Json:
    words = given.get("query", "").lower()
    hits = [
        {key: message[key] for key in ("id", "folder", "from", "subject", "date", "is_unread")}
        for message in own["messages"].values()
        if words in f"{message['subject']}\n{message['body']}".lower()
        and given.get("sender", message["from"]) == message["from"]
        and given.get("folder", message["folder"]) == message["folder"]
        and given.get("is_unread", message["is_unread"]) == message["is_unread"]
    ]
    return {"messages": sorted(hits, key=lambda message: (str(message["date"]), str(message["id"])), reverse=True)}


def _read(own: Json, given: Json, _state: Json) -> Json:
    message = found(own["messages"], given["message_id"], "message")
    message["is_unread"] = False
    return {"message": message}


def _sent(own: Json, state: Json, to: list[str], subject: str, body: str) -> Json:
    key = new_id(own, "msg_")
    own["messages"][key] = {
        "id": key,
        "folder": "sent",
        "from": state["user"]["email"],
        "to": to,
        "subject": subject,
        "date": state["now"][:10],
        "body": body,
        "is_unread": False,
    }
    return {"message_id": key, "to": to, "subject": subject}


def _send(own: Json, given: Json, state: Json) -> Json:
    return _sent(own, state, given["to"], given["subject"], given["body"])


def _reply(own: Json, given: Json, state: Json) -> Json:
    message = found(own["messages"], given["message_id"], "message")
    if message["from"] == state["user"]["email"]:
        raise ToolError("invalid_argument", f"{message['id']} is your own message")
    subject = message["subject"] if message["subject"].startswith("Re: ") else f"Re: {message['subject']}"
    return _sent(own, state, [message["from"]], subject, given["body"])


def _forward(own: Json, given: Json, state: Json) -> Json:
    message = found(own["messages"], given["message_id"], "message")
    return _sent(own, state, given["to"], f"Fwd: {message['subject']}", message["body"])


def _move(own: Json, given: Json, _state: Json) -> Json:
    message = found(own["messages"], given["message_id"], "message")
    if message["folder"] == given["folder"]:
        raise ToolError("conflict", f"{message['id']} is in {given['folder']} already")
    message["folder"] = given["folder"]
    return {"message_id": message["id"], "subject": message["subject"], "folder": message["folder"]}


def _delete(own: Json, given: Json, _state: Json) -> Json:
    message = found(own["messages"], given["message_id"], "message")
    if message["folder"] != "bin":
        raise ToolError("conflict", f"{message['id']} is in {message['folder']}, move it to the bin first")
    del own["messages"][message["id"]]
    return {"deleted": message["id"]}


_MESSAGE_ID = text("id of the message, e.g. msg_2")
_TO = {"type": "array", "minItems": 1, "items": address("mail address"), "description": "who gets it"}
_BODY = text("the text")

SERVICE = Service(
    name="mail",
    about="the user's mailbox",
    seed=_seed,
    tools=(
        tool(
            "mail_search",
            "Find messages, the newest first; all given conditions hold.",
            _search,
            optional={
                "query": text("part of subject or text"),
                "sender": address("who wrote it"),
                "folder": one_of("where it lies", *FOLDERS),
                "is_unread": {"type": "boolean", "description": "only unread, or only read ones"},
            },
        ),
        tool(
            "mail_read", "Open a message; it counts as read.", _read, required={"message_id": _MESSAGE_ID}, writes=True
        ),
        tool(
            "mail_send",
            "Send a message.",
            _send,
            required={"to": _TO, "subject": text("subject line"), "body": _BODY},
            writes=True,
        ),
        tool(
            "mail_reply",
            "Answer a message.",
            _reply,
            required={"message_id": _MESSAGE_ID, "body": _BODY},
            writes=True,
        ),
        tool(
            "mail_forward",
            "Send a message on to others.",
            _forward,
            required={"message_id": _MESSAGE_ID, "to": _TO},
            writes=True,
        ),
        tool(
            "mail_move",
            "Move a message to another folder.",
            _move,
            required={"message_id": _MESSAGE_ID, "folder": one_of("where to", "inbox", "archive", "bin")},
            writes=True,
        ),
        tool(
            "mail_delete",
            "Delete a message in the bin for good.",
            _delete,
            required={"message_id": _MESSAGE_ID},
            writes=True,
        ),
    ),
)
