"""Name -> factory tables that import nothing until a name is asked for.

A table lists what ships as `name -> "module:attribute"`; other distributions add names through entry points of the
same group, so a new skill or verifier is one file and one line. Does not cover the command table (frontier_cli).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean


class Registry:
    """Names of one kind of thing, each resolved at first use.

    Args:
        kind: what the names stand for, for messages ("skill").
        group: entry-point group other distributions register under.
        builtin: name -> "module:attribute" of what ships.
    """

    def __init__(self, kind: str, *, group: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)
        self._loaded: dict[str, Any] = {}
        self._points: dict[str, Any] | None = None

    def names(self) -> list[str]:
        """Gives every registered name: what ships in its order, then plug-ins sorted."""
        return [*self._builtin, *sorted(set(self._plugins()) - set(self._builtin))]

    def get(self, name: str) -> Any:
        """Gives the object of that name, or raises ConfigError with the nearest known name."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        target = self._builtin.get(name)
        if target is None:
            plugins = self._plugins()
            if name not in plugins:
                raise ConfigError(f"unknown {self.kind} {name!r}", hint=did_you_mean(name, self.names()))
            return plugins[name].load()
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)

    def _plugins(self) -> dict[str, Any]:
        if self._points is None:
            from importlib.metadata import entry_points  # slow to import and to read; built-in names never need it

            self._points = {point.name: point for point in entry_points(group=self.group)}
        return self._points
