"""The little language of workflow templates: texts with Jinja2 in them, and values that begin with `=`.

    "Move it to {{ start | time }}"     a text
    "=found.events[0].id"               the value itself: a number stays a number, a list a list
    {title: "=topic", people: [...]}    objects and lists are filled inside

Both run in Jinja2's sandbox; an unknown name is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from frontier_core.errors import ConfigError, EnvironmentMissing
from validators.services.people import add_days, add_minutes


def evaluate(raw: Any, scope: Mapping[str, Any]) -> Any:
    """Gives a template's value filled with the names of `scope`.

    Raises:
        ConfigError: it can't be parsed, a name is unknown, or the expression fails; says which.
    """
    if isinstance(raw, str):
        if raw.startswith("="):
            return _run(_expression, raw[1:], scope)
        return _run(_text, raw, scope) if "{" in raw else raw
    if isinstance(raw, dict):
        return {key: evaluate(value, scope) for key, value in raw.items()}
    if isinstance(raw, list):
        return [evaluate(value, scope) for value in raw]
    return raw


def check_syntax(raw: Any) -> None:
    """Raises ConfigError when a template's value can't be parsed; runs nothing."""
    if isinstance(raw, str) and (raw.startswith("=") or "{" in raw):
        environment = _environment()
        from jinja2 import TemplateSyntaxError

        try:
            environment.parse(f"{{{{ ({raw[1:]}) }}}}" if raw.startswith("=") else raw)
        except TemplateSyntaxError as error:
            raise ConfigError(f"{raw!r} can't be parsed: {error.message}") from error
    elif isinstance(raw, (dict, list)):
        for value in raw.values() if isinstance(raw, dict) else raw:
            check_syntax(value)


def _run(compiled: Any, source: str, scope: Mapping[str, Any]) -> Any:
    from jinja2 import TemplateError, Undefined

    try:
        value = compiled(source)(scope)
        if isinstance(value, Undefined):
            str(value)  # StrictUndefined says here which name is missing
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise ConfigError(f"{source!r}: {error}") from error
    return value


@cache
def _environment() -> Any:
    try:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        hint = "pip install 'frontier-data-engine[llm]'"
        raise EnvironmentMissing("workflow templates need jinja2, which is not installed", hint=hint) from error
    # Texts are for a model, not markup for a browser: nothing may be escaped.
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    # Nothing that draws numbers of its own may be at hand: the same seed must give the same bytes.
    environment.globals.clear()
    del environment.filters["random"]
    environment.filters.update(
        plus_days=add_days,
        plus_minutes=add_minutes,
        date=lambda moment: moment[:10],
        time=lambda moment: moment[11:16],
        spoken=_spoken,
        money=lambda cents: f"{cents // 100}.{cents % 100:02}",
        first_name=lambda name: name.split()[0],
    )
    return environment


def _spoken(date: str) -> str:
    moment = datetime.fromisoformat(date[:10])
    return f"{moment:%A} {moment.day} {moment:%B}"


@cache
def _expression(source: str) -> Any:
    return _environment().compile_expression(source, undefined_to_none=False)


@cache
def _text(source: str) -> Any:
    return _environment().from_string(source).render
