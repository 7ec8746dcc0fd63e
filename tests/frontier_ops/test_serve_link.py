"""What requests see of a model process that ends, without a model: the worker's side of the pipes is the test's."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import IO, Any

import pytest

from frontier_ops.serve_link import WorkerDown, WorkerLink
from frontier_ops.serve_nursery import WorkerProcess

WAIT_S = 240.0
JOB = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


class HandMade:
    """A nursery whose only worker is this object: it reads commands and says what it is told to say."""

    async def spawn(self, folder: Path, profile: str) -> WorkerProcess:
        pipes = [os.pipe() for _ in range(3)]
        self.commands: IO[bytes] = os.fdopen(pipes[0][0], "rb")
        self._out: IO[bytes] = os.fdopen(pipes[1][1], "wb", 0)
        self._errors: IO[bytes] = os.fdopen(pipes[2][1], "wb", 0)
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.say({"event": "ready"})
        ours = (os.fdopen(pipes[0][1], "wb", 0), os.fdopen(pipes[1][0], "rb", 0), os.fdopen(pipes[2][0], "rb", 0))
        return await WorkerProcess(0, self._ended).connect(*ours)

    async def close(self) -> None:
        pass

    def say(self, event: dict[str, Any]) -> None:
        self._out.write(json.dumps(event).encode() + b"\n")

    def end(self, status: int, *, last_words: bytes = b"") -> None:
        if not self._ended.done():
            self._errors.write(last_words)
            self._out.close()
            self._errors.close()
            self._ended.set_result(status)


def with_link(work: Callable[[WorkerLink, HandMade], Awaitable[None]]) -> list[str]:
    """Gives the remarks of a link with a hand-made worker."""
    notes: list[str] = []

    async def session() -> None:
        worker = HandMade()
        link = WorkerLink(Path("release"), max_waiting=1, on_note=notes.append, nursery=worker)  # type: ignore[arg-type]
        await link.start()
        try:
            await asyncio.wait_for(work(link, worker), WAIT_S)
        finally:
            worker.end(0)
            await link.close()
            worker.commands.close()

    asyncio.run(session())
    return notes


async def begun(link: WorkerLink, worker: HandMade) -> AsyncGenerator[dict[str, Any], None]:
    """An answer whose first text has come and is read."""
    answer = link.generate(JOB)
    first = asyncio.create_task(anext(answer))
    asked = json.loads(await asyncio.to_thread(worker.commands.readline))
    worker.say({"event": "text", "id": asked["id"], "text": "a"})
    assert (asked["op"], asked["messages"], (await first)["text"]) == ("generate", JOB["messages"], "a")
    return answer


def test_an_answer_comes_as_the_worker_gives_it_and_the_next_waits_for_its_turn() -> None:
    async def work(link: WorkerLink, worker: HandMade) -> None:
        answer = await begun(link, worker)
        waiting = asyncio.create_task(begun(link, worker))
        worker.say({"event": "done", "id": 1, "finish_reason": "stop"})
        assert [event["event"] async for event in answer] == ["done"]
        second = await waiting
        worker.say({"event": "done", "id": 2, "finish_reason": "length"})
        assert [event["finish_reason"] async for event in second] == ["length"]

    assert with_link(work) == []


def test_a_worker_that_ends_breaks_its_answer_and_its_last_words_are_told() -> None:
    async def work(link: WorkerLink, worker: HandMade) -> None:
        answer = await begun(link, worker)
        worker.end(-9, last_words=b"out of memory\n")
        with pytest.raises(WorkerDown):
            await anext(answer)
        assert link.ready is None

    assert with_link(work) == ["the model worker ended with status -9: out of memory; starting again in 0.2 s"]


def test_unloading_a_release_breaks_what_it_still_answers_and_what_waits_for_it() -> None:
    async def work(link: WorkerLink, worker: HandMade) -> None:
        answer = await begun(link, worker)
        waiting = asyncio.create_task(anext(link.generate(JOB)))
        await asyncio.sleep(0)
        worker.end(0)
        await link.close()
        for broken in (anext(answer), waiting):
            with pytest.raises(WorkerDown):
                await asyncio.wait_for(broken, WAIT_S)

    assert with_link(work) == []
