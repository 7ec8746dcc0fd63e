"""A weather service: a week of forecasts for some cities. Nothing in it can be changed."""

from __future__ import annotations

from math import cos, pi
from random import Random

from validators.services.base import Cast, Json, Service, ToolError, day, found, text, tool
from validators.services.people import CITIES, add_days

SKIES = ("clear", "cloudy", "rain", "fog", "snow", "thunderstorm")
NUM_CITIES = 6
NUM_DAYS = 5


def _seed(rng: Random, cast: Cast) -> Json:
    cities: Json = {}
    season = 10 - 9 * cos((int(cast.now[5:7]) - 1) / 6 * pi)  # mean of a month in the north, degrees Celsius
    for city in rng.sample(CITIES, NUM_CITIES):
        base = round(season) + rng.randint(-4, 6)
        days = {}
        for number in range(NUM_DAYS):
            sky = rng.choice(SKIES[:4] if base > 3 else SKIES[1:5])
            days[add_days(cast.now, number)] = {
                "sky": sky,
                "high_c": base + rng.randint(1, 8),
                "low_c": base - rng.randint(0, 6),
                "rain_mm": rng.randint(1, 24) if sky in ("rain", "snow", "thunderstorm") else 0,
                "wind_kmh": rng.randint(3, 60),
            }
        cities[city] = days
    return {"cities": cities}


def _days(own: Json, city: str) -> Json:
    known = next((name for name in own["cities"] if name.lower() == city.lower()), city)
    return found(own["cities"], known, "city")


def _current(own: Json, given: Json, state: Json) -> Json:
    today = state["now"][:10]
    return {"city": given["city"], "date": today, **_days(own, given["city"])[today]}


def _forecast(own: Json, given: Json, _state: Json) -> Json:
    days = _days(own, given["city"])
    if given["date"] not in days:
        first, last = min(days), max(days)
        raise ToolError("invalid_argument", f"date: forecasts reach from {first} to {last}", first=first, last=last)
    return {"city": given["city"], "date": given["date"], **days[given["date"]]}


def _week(own: Json, given: Json, _state: Json) -> Json:
    return {
        "city": given["city"],
        "days": [{"date": date, **about} for date, about in _days(own, given["city"]).items()],
    }


def _cities(own: Json, given: Json, _state: Json) -> Json:
    words = given["query"].lower()
    return {"cities": sorted(city for city in own["cities"] if words in city.lower())}


_CITY = text("name of the city")

SERVICE = Service(
    name="weather",
    about="a weather service",
    seed=_seed,
    tools=(
        tool("weather_get_current", "Get today's weather of a city.", _current, required={"city": _CITY}),
        tool(
            "weather_get_forecast",
            "Get the forecast of a city for one day: Celsius, mm, km/h.",
            _forecast,
            required={"city": _CITY, "date": day("the day")},
        ),
        tool("weather_get_week", "Get all forecast days of a city.", _week, required={"city": _CITY}),
        tool(
            "weather_search_cities", "Find cities by part of their name.", _cities, required={"query": text("letters")}
        ),
    ),
)
