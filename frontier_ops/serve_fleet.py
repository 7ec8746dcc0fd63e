"""Which release answers: a new one is loaded beside the old, probed, and takes over in one assignment.

The old one finishes what it began and stays loaded, so that going back costs no loading. A release that can't be
loaded, is not what its manifest says, does not reproduce its golden probe, or dies within its soak time is rejected:
the old one serves on (or again), and `current` is put back. Knows releases and backends, no HTTP.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from frontier_core.errors import DataError, FrontierError
from frontier_core.records import Record
from frontier_ops.deploy import append_audit, point_back
from frontier_ops.probe import Backend, check_probe
from frontier_ops.releases import CURRENT, Release, current_id, require_whole
from frontier_ops.serve_link import WorkerDown

POLL_S = 0.1
RETIRE_S = 600.0
"""How long a release that was taken out may go on with what it began: as long as clients wait by default."""
SOAK_S = 30.0
PUT_BACK_TRIES, PUT_BACK_WAIT_S = 50, 0.2
LOAD_S, HANG_S = 900.0, 120.0
"""How long a release may take until it is loaded and probed, and be silent while it answers on trial: then it hangs."""
HOLD_S = 10.0
"""How long a release on trial keeps an answer to itself: while nothing of it was sent, another can give it instead."""

Open = Callable[[Release], Backend]


@dataclass(eq=False, slots=True)
class Slot:
    """A loaded release and how many requests it is answering."""

    release: Release
    backend: Backend
    num_running: int = 0
    heard_at: float = 0.0

    @property
    def names(self) -> tuple[str, str, str]:
        """Names it answers to. The bare one follows whatever is deployed; the others pin this very content."""
        return (self.release.model_id, self.release.name, self.release.id)


@dataclass(eq=False, slots=True)
class Lease:
    """One request with the release that answers it; its first events are here already."""

    slot: Slot
    first: list[Record]
    rest: AsyncGenerator[Record, None]
    is_closed: bool = False

    async def events(self) -> AsyncGenerator[Record, None]:
        """Yields all events, the first ones included; closing it frees the release."""
        try:
            for event in self.first:
                yield event
            async for event in self.rest:
                yield event
        finally:
            await self.close()

    async def close(self) -> None:
        """Gives the release back; twice is once."""
        if not self.is_closed:
            self.is_closed = True
            self.slot.num_running -= 1
            await self.rest.aclose()


class Fleet:
    """The active release, the one before it, and the watch over `current`.

    Args:
        target: where `frontier deploy` puts releases.
        open_backend: gives the backend of a release, not yet started.
        soak_s: how long a new release is on trial: if it dies in that time the old one takes over.
        keep_warm: keep the old one loaded after the soak; it costs its memory and makes going back instant.
        use_probe: ask every release its golden probe before it serves.
        load_s, hang_s: how long a new release may load and be probed; how long one on trial may be silent to all.
        on_note: gets remarks for people.
    """

    def __init__(
        self,
        target: Path,
        open_backend: Open,
        *,
        soak_s: float = SOAK_S,
        load_s: float = LOAD_S,
        hang_s: float = HANG_S,
        keep_warm: bool = True,
        use_probe: bool = True,
        on_note: Callable[[str], None],
    ) -> None:
        self.target = target
        self.active: Slot | None = None
        self.warm: Slot | None = None
        self.rejected: dict[str, str] = {}
        self.num_swaps = 0
        self.num_rejected = 0
        self.loading = ""
        self.last_load_s = 0.0
        self._open = open_backend
        self._soak_s = soak_s
        self._load_s = load_s
        self._hang_s = hang_s
        self._keep_warm = keep_warm
        self._use_probe = use_probe
        self._on_note = on_note
        self._soak_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: tuple[str, int] = ("", 0)

    async def start(self, release: Release) -> Record:
        """Loads and probes the first release and gives what its backend says of itself.

        Raises:
            DataError: it can't be loaded or does not reproduce its golden probe.
            ServiceError: the model process died.
        """
        slot = Slot(release, self._open(release))
        self.active = slot
        ready = await slot.backend.start()
        await self._probe(slot)
        self._adopt(slot)
        self.last_load_s = float(ready.get("load_s", 0.0))
        return ready

    def slots(self) -> list[Slot]:
        """Gives the loaded releases, the active one first."""
        return [slot for slot in (self.active, self.warm) if slot is not None]

    def find(self, name: str) -> Slot | None:
        """Gives the loaded release that answers to a name; of a shared one the active."""
        return next((slot for slot in self.slots() if name in slot.names), None)

    async def begin(self, name: str, job: Record) -> Lease:
        """Starts answering and returns when the first text is here, the answer is over, or an error came.

        A release on trial that dies or fails on the request hands it to the one before; the client never knows. That
        holds for streams too: within the soak the whole answer, or HOLD_S of it, is here before any of it is sent.

        Raises:
            QueueFull, WorkerDown: as the backend's `generate`.
        """
        while True:
            slot = self.find(name)
            if slot is None:  # a release that was named by its id, and was rejected meanwhile
                raise WorkerDown(1)
            lease = Lease(slot, [], slot.backend.generate(job))
            slot.num_running += 1
            try:
                failure = await self._first_events(lease)
            except WorkerDown as error:
                failure = str(error)
                if not self.gives_up(slot, failure):
                    await lease.close()
                    raise
            except TimeoutError:
                failure = f"it hangs: {self._hang_s:g} s without a word"
                if slot is self.active:  # what began within the soak is judged by it
                    self._soak_until = time.monotonic() + self._soak_s
            except BaseException:
                await lease.close()
                raise
            if not failure or not self.gives_up(slot, failure):
                return lease
            await lease.close()

    async def _first_events(self, lease: Lease) -> str:
        is_on_trial = self._is_on_trial(lease.slot)
        until = time.monotonic() + HOLD_S if is_on_trial else 0.0
        while (event := await (self._heard(lease) if is_on_trial else anext(lease.rest, None))) is not None:
            lease.first.append(event)
            if event["event"] == "error":
                return str(event["message"]) if event["code"] == "generation_failed" else ""
            if event["event"] == "done" or (event["text"] and time.monotonic() >= until):
                return ""
        return ""

    async def _heard(self, lease: Lease) -> Record | None:
        """Gives the next event of a release on trial; TimeoutError when it is silent to all who ask for too long."""
        slot = lease.slot
        since = time.monotonic()
        coming = asyncio.ensure_future(anext(lease.rest, None))
        try:
            while True:
                left_s = max(since, slot.heard_at) + self._hang_s - time.monotonic()
                if (await asyncio.wait({coming}, timeout=max(0.0, left_s)))[0]:
                    slot.heard_at = time.monotonic()
                    return coming.result()
                if left_s > 0.0:  # look again: another request may have heard it meanwhile
                    continue
                has_other = slot is self.active and self.warm is not None and self.warm.backend.ready is not None
                if has_other or slot.release.id in self.rejected:
                    raise TimeoutError
                since = time.monotonic()
        finally:
            if not coming.done():
                coming.cancel()
                with suppress(asyncio.CancelledError):
                    await coming

    def gives_up(self, slot: Slot, reason: str) -> bool:
        """Says whether a request that failed on `slot` should be asked again: its release was on trial, or unloaded.

        Side effects: puts the release before in the place of one on trial.
        """
        if slot not in self.slots():
            return self.active is not None
        if self._is_on_trial(slot):
            self._fall_back(reason)
            return True
        return False

    def _is_on_trial(self, slot: Slot) -> bool:
        """Says whether a release is in its soak with the one before ready to take over."""
        is_soaking = slot is self.active and time.monotonic() < self._soak_until
        return is_soaking and self.warm is not None and self.warm.backend.ready is not None

    def _fall_back(self, reason: str) -> None:
        bad, good = self.active, self.warm
        assert bad is not None
        assert good is not None
        self.active, self.warm, self._soak_until = good, None, 0.0
        self._reject(bad.release.id, f"failed within its soak: {reason}", state="rolled_back")
        self._spawn(self._retire(bad))

    def _adopt(self, slot: Slot) -> None:
        def died(reason: str) -> None:
            if self._is_on_trial(slot):
                self._fall_back(reason)
            elif slot is self.warm:
                self.warm = None
                self._spawn(self._retire(slot))

        slot.backend.on_death = died

    async def watch(self) -> None:
        """Follows `current` for ever: whatever it points at is loaded, probed and put into service, or rejected."""
        while True:
            await asyncio.sleep(POLL_S)
            identity = current_id(self.target)
            assert self.active is not None
            if not identity or identity == self.active.release.id:
                continue
            seen = (identity, _mark(self.target / CURRENT))
            if seen != self._seen:
                self._seen = seen
                await self.swap(identity)

    async def swap(self, identity: str) -> bool:
        """Puts a release of the target into service; False when it was rejected and the old one serves on."""
        started = time.monotonic()
        self.loading = identity
        try:
            slot = await self._prepared(identity)
        except FrontierError as error:
            self._reject(identity, error.message)
            return False
        finally:
            self.loading = ""
        old, spare = self.active, self.warm
        assert old is not None
        self.active, self.warm = slot, old
        self._soak_until = time.monotonic() + self._soak_s
        self.num_swaps += 1
        self.last_load_s = time.monotonic() - started
        self.rejected.pop(identity, None)
        self._record("serving", identity, previous=old.release.id, seconds=round(self.last_load_s, 3))
        self._on_note(f"serving {slot.release.model_id} now; {old.release.model_id} stays ready")
        if spare is not None and spare is not slot:
            self._spawn(self._retire(spare))
        self._spawn(self._after_soak(slot))
        return True

    async def _prepared(self, identity: str) -> Slot:
        if self.warm is not None and self.warm.release.id == identity and self.warm.backend.ready is not None:
            return self.warm
        release = await asyncio.to_thread(require_whole, self.target, identity)
        slot = Slot(release, self._open(release))
        try:
            async with asyncio.timeout(self._load_s):
                await slot.backend.start()
                await self._probe(slot)
        except TimeoutError:
            await slot.backend.close()
            raise DataError(f"it hangs: not loaded and probed within {self._load_s:g} s", code="load") from None
        except BaseException:
            await slot.backend.close()
            raise
        self._adopt(slot)
        return slot

    async def _probe(self, slot: Slot) -> None:
        probe = slot.release.probe
        if probe is None or not self._use_probe:
            return
        dtype = str((slot.backend.ready or {}).get("dtype", ""))
        try:
            problems = await check_probe(slot.backend.generate, probe, dtype=dtype)
        except WorkerDown as error:
            raise DataError(f"the model died when it was asked its golden probe: {error}", code="probe") from error
        if problems:
            raise DataError(f"does not reproduce its golden probe: {problems[0]}", code="probe")

    async def _after_soak(self, slot: Slot) -> None:
        await asyncio.sleep(self._soak_s)
        if slot is not self.active:
            return
        self._record("kept", slot.release.id)
        if not self._keep_warm and self.warm is not None:
            warm, self.warm = self.warm, None
            await self._retire(warm)

    def _reject(self, identity: str, reason: str, *, state: str = "rejected") -> None:
        assert self.active is not None
        good = self.active.release.id
        self.rejected[identity] = reason
        self.num_rejected += 1
        self._record(state, identity, reason=reason, serving=good)
        self._on_note(f"release {identity} rejected: {reason}; {self.active.release.model_id} serves on")
        self._spawn(self._put_back(identity, good, reason))

    async def _put_back(self, bad: str, good: str, reason: str) -> None:
        for _ in range(PUT_BACK_TRIES):
            try:
                await asyncio.to_thread(point_back, self.target, bad, good, reason)
                return
            except FrontierError as error:  # somebody deploys right now, or the folder is not ours to write
                problem = error.message
            await asyncio.sleep(PUT_BACK_WAIT_S)
        self._on_note(f"current still points at the rejected release {bad}: {problem}")

    def _record(self, state: str, identity: str, **more: object) -> None:
        try:
            append_audit(self.target, {"action": "serve", "state": state, "release": identity, **more})
        except OSError as error:
            self._on_note(f"the audit can't be written: {error.strerror}")

    async def _retire(self, slot: Slot) -> None:
        """Lets a release finish what it began, then ends its process."""
        deadline = time.monotonic() + RETIRE_S
        try:
            while slot.num_running and time.monotonic() < deadline:
                await asyncio.sleep(POLL_S)
        finally:
            await slot.backend.close()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends every backend."""
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError, FrontierError, OSError):
                await task
        for slot in self.slots():
            await slot.backend.close()


def _mark(link: Path) -> int:
    """Tells one pointing of a symlink from the next, also when it points at the same release again."""
    try:
        return os.lstat(link).st_mtime_ns
    except OSError:
        return 0
