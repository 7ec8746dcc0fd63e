"""Where plans are run: in sandboxes of this process, or on a Ray cluster (ray_engine.py). The verdicts are the same.

An engine starts when it is first asked what it is, so that a file without plans needs no sandbox.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from frontier_core.errors import ConfigError, SandboxError
from frontier_core.nearest import did_you_mean
from frontier_core.records import Record
from frontier_ops.spread import ENGINES
from validators.base import Verdict
from validators.fixtures import Fixtures
from validators.heuristics import Rules
from validators.sandbox.contract import Json, Limits, Sandbox

SAME_SANDBOX = ("backend", "image", "runtime", "missing_tools", "tools_digest")
"""What of a sandbox's description a verdict depends on; kernel and engine versions it must not."""


def same_sandbox(description: Json) -> Json:
    """Gives what two sandboxes must have in common to be one judge."""
    return {key: description[key] for key in SAME_SANDBOX if key in description}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How plans are judged, wherever that happens: the sandbox and what holds in it.

    `sandbox` is a backend's name or "auto"; `runtime` the container runtime of `docker-run`, "" for the engine's own;
    `repeat` how often each plan is run; `fixtures` worlds for records that bring none.
    """

    sandbox: str = "auto"
    runtime: str = ""
    limits: Limits = field(default_factory=Limits)
    rules: Rules = field(default_factory=Rules)
    repeat: int = 1
    fixtures: Fixtures = field(default_factory=Fixtures)

    def open(self, on_note: Callable[[str], None]) -> Sandbox:
        """Gives a sandbox that has just proved itself; raises as `open_sandbox` does."""
        from validators.sandbox.backend import open_sandbox

        return open_sandbox(self.sandbox, limits=self.limits, runtime=self.runtime, on_note=on_note)

    def judge(self, record: Record, sandbox: Sandbox) -> Verdict:
        """Judges one plan."""
        from validators.execution_gate import judge_plan

        return judge_plan(record, sandbox, rules=self.rules, repeat=self.repeat, fixtures=self.fixtures)


class Engine(Protocol):
    """Judges plans, several at once. Safe to call from many threads."""

    num_slots: int
    """Plans it runs at once."""

    def start(self) -> Json:
        """Starts it, the first time, and gives what the sandboxes say of themselves (Sandbox.describe).

        Raises:
            EnvironmentMissing: no sandbox works here, or an extra is missing.
        """
        ...

    def judge(self, record: Record) -> Verdict:
        """Judges one plan; `start` came before."""
        ...

    def close(self) -> None:
        """Ends every plan that still runs and everything that was started; `judge` then answers sandbox_error."""
        ...


def open_engine(
    name: str, judging: Judging, *, workers: int, address: str = "", on_note: Callable[[str], None]
) -> Engine:
    """Gives an engine, not yet started.

    Args:
        name: one of ENGINES.
        judging: how plans are judged.
        workers: plans run at once.
        address: of a Ray cluster; "" starts one on this machine.
        on_note: gets remarks for people (which sandbox was taken, and why).
    Raises:
        ConfigError: there is no such engine; names the nearest.
        EnvironmentMissing: Ray is asked for and not installed.
    """
    if name not in ENGINES:
        raise ConfigError(f"unknown engine {name!r}", hint=did_you_mean(name, ENGINES))
    if name == "ray":
        from frontier_ops.ray_engine import RayEngine

        return RayEngine(judging, workers=workers, address=address, on_note=on_note)
    return LocalEngine(judging, workers=workers, on_note=on_note)


class LocalEngine:
    """One sandbox of this process; it runs as many plans at once as threads ask."""

    def __init__(self, judging: Judging, *, workers: int, on_note: Callable[[str], None]) -> None:
        self.num_slots = workers
        self._judging = judging
        self._on_note = on_note
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._is_closed = False
        self._description: dict[str, Any] = {}

    def start(self) -> Json:
        """Opens the sandbox, the first time; see Engine."""
        with self._lock:
            if self._is_closed:
                raise SandboxError("the sandbox was closed")
            if self._sandbox is None:
                self._sandbox = self._judging.open(self._on_note)
                self._on_note(f"sandbox: {self._sandbox.name}")
                self._description = self._sandbox.describe()
            return self._description

    def judge(self, record: Record) -> Verdict:
        """Judges one plan; see Engine."""
        if self._sandbox is None:
            raise RuntimeError("the engine was not started")
        return self._judging.judge(record, self._sandbox)

    def close(self) -> None:
        """Closes the sandbox; see Engine."""
        with self._lock:
            self._is_closed = True
            sandbox = self._sandbox
        if sandbox is not None:
            sandbox.close()
