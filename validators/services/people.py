"""Names, firms and places that seeded worlds are peopled with; addresses end in example.com, which is reserved."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from validators.services.base import Cast, Json


def listed(text: str) -> tuple[str, ...]:
    """Gives the items of a list written with commas."""
    return tuple(item.strip() for item in text.split(","))


FIRST_NAMES = listed(
    "Ada,Ben,Chloe,Daniel,Elena,Farid,Grace,Hugo,Ines,Jonas,Keiko,Liam,Maya,Nadia,Oscar,Priya,Quentin,Rosa,Samir,Tessa,"
    "Umar,Vera,Wei,Ximena,Yusuf,Zoe"
)
LAST_NAMES = listed(
    "Abbott,Berg,Castillo,Dubois,Eriksen,Fischer,Gupta,Haddad,Ivanova,Jensen,Kowalski,Lopez,Moreau,Nakamura,Okafor,"
    "Petrov,Quinn,Rossi,Silva,Tanaka,Usman,Varga,Weber,Young,Zhang"
)
COMPANIES = ("Northwind", "Bluepeak", "Cedar & Co", "Lumen Works", "Harborline", "Atlas Foods", "Quillsoft", "Verdant")
CITIES = listed(
    "Lisbon,Oslo,Vienna,Dublin,Prague,Athens,Madrid,Berlin,Helsinki,Warsaw,Porto,Zurich,Geneva,Lyon,Turin,Krakow,"
    "Bergen,Seville,Ghent,Graz,Malmo,Tartu,Split,Cork"
)
NUM_PEOPLE = 6
FIRST_DAY = datetime(2025, 1, 6, 8, 0)
NUM_DAYS = 360


def draw_cast(rng: Random) -> Cast:
    """Draws a user, six people with distinct first names and a working-day morning in 2025."""
    first = rng.sample(FIRST_NAMES, NUM_PEOPLE + 1)
    last = rng.sample(LAST_NAMES, NUM_PEOPLE + 1)
    user, *people = [_person(a, b) for a, b in zip(first, last, strict=True)]
    moment = FIRST_DAY + timedelta(days=rng.randrange(NUM_DAYS), minutes=15 * rng.randrange(4))
    if moment.weekday() >= 5:
        moment -= timedelta(days=2)
    return Cast(user, people, moment.isoformat(timespec="minutes"))


def _person(first: str, last: str) -> Json:
    return {"name": f"{first} {last}", "email": f"{first.lower()}.{last.lower()}@example.com"}


def add_days(date: str, days: int) -> str:
    """Gives the date that many days after `date` (YYYY-MM-DD or longer): `2025-03-03`, 1 -> `2025-03-04`."""
    return (datetime.fromisoformat(date[:10]) + timedelta(days=days)).date().isoformat()


def add_minutes(moment: str, minutes: int) -> str:
    """Gives the local time that many minutes after `moment` (YYYY-MM-DDTHH:MM)."""
    return (datetime.fromisoformat(moment) + timedelta(minutes=minutes)).isoformat(timespec="minutes")
