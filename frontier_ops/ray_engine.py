"""Plans run by a pool of Ray actors, each with a sandbox of its own: the same judgement, on as many machines as it has.

Without an address a Ray of our own is started on this machine, quiet and without its dashboard, and ended with us. On a
cluster each node needs this package and a sandbox; nodes whose sandboxes differ are refused, for one file must have one
judge. LIMIT: a thread of this process waits for each plan under way, which is plenty up to some hundred actors; and
after `kill -9` a Ray started here ends by itself, but its folder of logs stays in the folder for temporary files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from frontier_core.errors import EnvironmentMissing, FrontierError, SandboxError
from frontier_core.records import Record
from frontier_ops.engines import Judging, same_sandbox
from frontier_ops.ray_session import RaySession
from validators.base import Verdict, reject
from validators.sandbox.contract import Json, Sandbox

MAX_DEATHS = 3
"""An actor that dies is replaced and its plan judged again, so often; then the plan stays unjudged."""
STOP_S = 10.0


class RayEngine:
    """Actors that judge plans, as many as threads ask at once, started when first needed. See engines.Engine."""

    def __init__(
        self, judging: Judging, *, workers: int, address: str = "", on_note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.num_slots = workers
        self._session: RaySession | None = None
        self._ray: Any = None
        self._judging = judging
        self._address = address
        self._on_note = on_note
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._actors: list[Any] = []
        self._description: Json = {}
        self._slots = threading.Semaphore(1)
        self._is_closed = False

    def start(self) -> Json:
        """Joins or starts Ray and the first actor, the first time; gives what its sandbox says of itself.

        Raises:
            ServiceUnavailable: nothing answers at the address.
            EnvironmentMissing: no sandbox works where the actor runs.
        """
        with self._lock:
            if self._is_closed:
                raise SandboxError("the engine was closed")
            if not self._description:
                self._connect()
                actor = self._actor()
                self._description, notes = self._ask(actor.start.remote())
                self._idle.append(actor)
                for text in [*notes, f"sandbox: {self._description['backend']}, on Ray"]:
                    self._on_note(text)
            return self._description

    def judge(self, record: Record) -> Verdict:
        """Judges one plan on an idle actor; one that dies is replaced and its plan judged again."""
        for _ in range(MAX_DEATHS):
            try:
                with self._slots:
                    actor = self._take()
                    verdict: Verdict = self._ask(actor.judge.remote(record))
                    with self._lock:
                        self._idle.append(actor)
                return verdict
            except self._ray.exceptions.RayError as error:
                if self._is_closed:
                    break
                self._on_note(f"an actor died and is replaced: {str(error).splitlines()[0]}")
        reason = "the engine was closed" if self._is_closed else f"{MAX_DEATHS} actors died of it"
        return reject("sandbox_error", f"not judged: {reason}", status="sandbox_error", failure="sandbox")

    def close(self) -> None:
        """Ends every actor, and Ray when it was started here."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            idle, actors = self._idle, self._actors
        if actors:
            with suppress(self._ray.exceptions.RayError):
                self._ray.get([actor.stop.remote() for actor in idle], timeout=STOP_S)
            for actor in actors:
                self._ray.kill(actor)
        if self._session is not None:
            self._session.close()

    def _connect(self) -> None:
        """Joins the cluster, or the Ray this process is in already, or starts one; then knows how many actors fit."""
        self._session = RaySession(address=self._address, num_cpus=self.num_slots)
        self._ray = self._session.ray
        # More actors than CPUs would wait for one without end.
        self._slots = threading.Semaphore(min(self.num_slots, self._session.num_cpus()))

    def _take(self) -> Any:
        """Gives an idle actor, or a new one: never more than there are threads that ask."""
        with self._lock:
            if self._is_closed:
                raise SandboxError("the engine was closed")
            if self._idle:
                return self._idle.pop()
            actor = self._actor()
        description, _ = self._ask(actor.start.remote())
        if same_sandbox(description) != same_sandbox(self._description):
            message = f"the nodes' sandboxes differ: {same_sandbox(self._description)} and {same_sandbox(description)}"
            raise EnvironmentMissing(message, hint="use the same image on each node, or name a backend with --sandbox")
        return actor

    def _actor(self) -> Any:
        actor = self._ray.remote(num_cpus=1, max_restarts=0)(_Worker).remote(self._judging)
        self._actors.append(actor)
        return actor

    def _ask(self, promise: Any) -> Any:
        """Waits for an actor's answer; an error of ours that it raised is raised here as it was."""
        try:
            return self._ray.get(promise)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, FrontierError):
                raise error.cause from None
            raise RuntimeError(f"an actor failed: {error}") from error


class _Worker:
    """What runs on a node: one sandbox, plans one after the other."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self._sandbox: Sandbox | None = None

    def start(self) -> tuple[Json, list[str]]:
        """Opens the sandbox; gives its description and the remarks made on the way."""
        notes: list[str] = []
        self._sandbox = self._judging.open(notes.append)
        return self._sandbox.describe(), notes

    def judge(self, record: Record) -> Verdict:
        """Judges one plan."""
        if self._sandbox is None:
            raise RuntimeError("the worker was not started")
        return self._judging.judge(record, self._sandbox)

    def stop(self) -> None:
        """Closes the sandbox; what it started is gone when this returns."""
        if self._sandbox is not None:
            self._sandbox.close()
