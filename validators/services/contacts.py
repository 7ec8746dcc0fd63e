"""An address book: one entry a mail address."""

from __future__ import annotations

from random import Random

from validators.services.base import Cast, Json, Service, ToolError, address, found, new_id, text, tool
from validators.services.people import CITIES, COMPANIES

_PHONE_RULE = r"^\+[0-9]{8,14}$"


def _seed(rng: Random, cast: Cast) -> Json:
    contacts = {
        f"ct_{number}": {
            "id": f"ct_{number}",
            "name": person["name"],
            "email": person["email"],
            "phone": f"+{rng.randint(31, 49)}{rng.randrange(10**8, 10**9)}",
            "company": rng.choice(COMPANIES),
            "city": rng.choice(CITIES),
        }
        for number, person in enumerate(cast.people, 1)
    }
    return {"contacts": contacts, "next_id": len(contacts) + 1}


def _search(own: Json, given: Json, _state: Json) -> Json:
    words = given["query"].lower()
    hits = [
        contact
        for contact in own["contacts"].values()
        if any(words in contact[key].lower() for key in ("name", "email", "company", "city"))
    ]
    return {"contacts": sorted(hits, key=lambda contact: str(contact["name"]))}


def _get(own: Json, given: Json, _state: Json) -> Json:
    return {"contact": found(own["contacts"], given["contact_id"], "contact")}


def _check_email(own: Json, email: str, besides: str = "") -> None:
    for contact in own["contacts"].values():
        if contact["email"] == email and contact["id"] != besides:
            raise ToolError("conflict", f"{contact['name']} has the address {email} already", contact_id=contact["id"])


def _create(own: Json, given: Json, _state: Json) -> Json:
    _check_email(own, given["email"])
    key = new_id(own, "ct_")
    blank = {"phone": "", "company": "", "city": ""}
    own["contacts"][key] = {"id": key, **blank, **given}
    return {"contact": own["contacts"][key]}


def _update(own: Json, given: Json, _state: Json) -> Json:
    contact = found(own["contacts"], given["contact_id"], "contact")
    changes = {key: value for key, value in given.items() if key != "contact_id"}
    if not changes:
        raise ToolError("invalid_argument", "nothing to change: give email, phone, company or city")
    if "email" in changes:
        _check_email(own, changes["email"], contact["id"])
    contact.update(changes)
    return {"contact": contact}


def _delete(own: Json, given: Json, _state: Json) -> Json:
    contact = found(own["contacts"], given["contact_id"], "contact")
    del own["contacts"][contact["id"]]
    return {"deleted": contact["id"], "name": contact["name"]}


_CONTACT_ID = text("id of the contact, e.g. ct_4")
_PHONE = text("with country code, digits only: +4912345678", pattern=_PHONE_RULE)
_DETAILS = {"phone": _PHONE, "company": text("employer"), "city": text("city")}

SERVICE = Service(
    name="contacts",
    about="the user's address book",
    seed=_seed,
    tools=(
        tool(
            "contacts_search",
            "Find people by name, address, company or city.",
            _search,
            required={"query": text("part of it")},
        ),
        tool("contacts_get", "Get one contact.", _get, required={"contact_id": _CONTACT_ID}),
        tool(
            "contacts_create",
            "Add a person.",
            _create,
            required={"name": text("full name"), "email": address("mail address")},
            optional=_DETAILS,
            writes=True,
        ),
        tool(
            "contacts_update",
            "Change details of a person.",
            _update,
            required={"contact_id": _CONTACT_ID},
            optional={"email": address("mail address"), **_DETAILS},
            writes=True,
        ),
        tool("contacts_delete", "Remove a person.", _delete, required={"contact_id": _CONTACT_ID}, writes=True),
    ),
)
