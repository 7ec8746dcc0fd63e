"""Work on a stream in threads, results in the order of the input.

For work that waits (a sandbox, an endpoint, an actor), not for Python that computes: threads share one interpreter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    items: Iterable[T], work: Callable[[T], R], *, workers: int, look_ahead: int, stop: Callable[[], object] = lambda: 0
) -> Generator[R, None, None]:
    """Yields `work(item)` of every item in input order, each as soon as it and all before it are done.

    Reading goes on in a thread of its own, at most `look_ahead` items beyond the last result yielded, so that neither
    a slow item nor a slow input holds up what is ready. However the caller leaves, nothing is left running.

    Args:
        items: read in another thread; its errors are raised here, after the results before them.
        work: called in `workers` threads; its errors are raised here, in the item's turn.
        workers: calls at once.
        look_ahead: items read beyond the last result yielded, at least `workers`.
        stop: called at the end, whatever it was, to make calls under way return soon; then they are waited for.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers, thread_name_prefix="in-order")
    reader = _Reader(items, lambda item: pool.submit(work, item), max(look_ahead, workers))
    reader.start()
    try:
        while (turn := reader.queue.get()) is not None:
            if isinstance(turn, BaseException):
                raise turn
            result = turn.result()
            reader.slots.release()
            yield result
    finally:
        reader.stop()
        stop()
        pool.shutdown(wait=True, cancel_futures=True)


class _Reader(threading.Thread, Generic[T, R]):
    """Reads ahead and submits. A daemon, because a read from a silent pipe can't be interrupted."""

    def __init__(self, items: Iterable[T], submit: Callable[[T], Future[R]], look_ahead: int) -> None:
        super().__init__(name="in-order-reader", daemon=True)
        self.slots = threading.Semaphore(look_ahead)
        self.queue: SimpleQueue[Future[R] | BaseException | None] = SimpleQueue()
        self._items = iter(items)
        self._submit = submit
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # whatever it is, it belongs to whoever takes the results
            self.queue.put(error)
        else:
            self.queue.put(None)
        if self._stopped.is_set():
            close: Any = getattr(self._items, "close", None)
            with suppress(Exception):
                close and close()

    def _read(self) -> None:
        while not self._stopped.is_set():
            self.slots.acquire()
            if self._stopped.is_set():
                return
            try:
                item = next(self._items)
            except StopIteration:
                return
            if not self._stopped.is_set():
                self.queue.put(self._submit(item))

    def stop(self) -> None:
        """Asks for the end; a reader that waits for a slot or is done ends at once."""
        self._stopped.set()
        self.slots.release()
        self.join(timeout=0.1)
