"""Which simulated services there are, their seeded worlds, and the one function that runs a call."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from validators.services import bank, calendar, contacts, database, files, mail, rest, shop, tickets, weather
from validators.services.arguments import argument_problem
from validators.services.base import Json, Service, Tool, call_tool, take_fault
from validators.services.people import draw_cast

_MODULES = (bank, calendar, contacts, database, files, mail, shop, tickets, weather)
SERVICES: dict[str, Service] = {module.SERVICE.name: module.SERVICE for module in _MODULES}
_OWNERS: dict[str, Service] = {tool.name: service for service in SERVICES.values() for tool in service.tools}


def service_named(name: str) -> Service:
    """Gives the service of that name, or raises ConfigError naming the nearest."""
    if name not in SERVICES:
        raise ConfigError(f"unknown service {name!r}", hint=did_you_mean(name, sorted(SERVICES)))
    return SERVICES[name]


def seed_world(rng: Random, services: Sequence[str]) -> tuple[Json, list[Json]]:
    """Draws the state of a world with these services, in their order, and the people in it besides the user."""
    cast = draw_cast(rng)
    state: Json = {"now": cast.now, "user": cast.user}
    for name in services:
        state[name] = service_named(name).seed(rng, cast)
    return state, cast.people


def tools_of(services: Sequence[str]) -> list[Json]:
    """Gives the declarations of these services' tools, as a chat request lists them."""
    return [tool.declaration for name in services for tool in service_named(name).tools]


def execute(state: Json, name: str, arguments: Any, *, tools: Sequence[Json] = ()) -> tuple[Json, Any]:
    """Runs one call: the new state and the result, `{"error": {...}}` when the service refuses it.

    The given state stays as it is. Arguments are held against the tool's JSON Schema first, as an API would.

    Args:
        state: the world.
        name: of the tool.
        arguments: of the call, normally an object.
        tools: the declarations, needed for worlds made from an OpenAPI document; built-in tools know their own.
    """
    state, error = take_fault(state, name)
    if error is not None:
        return state, error
    if rest.KEY in state:
        return rest.execute(state, tools, name, arguments)
    service = _OWNERS.get(name)
    if service is None or service.name not in state:
        return state, {"error": {"code": "unknown_tool", "message": f"there is no tool {name!r}"}}
    known = service.by_name[name]
    problem = argument_problem(known.parameters, arguments)
    if problem:
        return state, {"error": {"code": "invalid_argument", "message": problem}}
    return call_tool(known, service.name, state, arguments)


def known_tool(name: str) -> Tool | None:
    """Gives a built-in tool, None when there is none of that name."""
    return _OWNERS[name].by_name[name] if name in _OWNERS else None
