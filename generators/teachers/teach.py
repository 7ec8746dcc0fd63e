"""A run: tasks in, outcomes out in the order of the tasks, as many requests at a time as the gate lets through.

Workers take a task each and see it through: ask, judge, ask again with what was wrong. A worker that waits for a retry
is replaced meanwhile, so that a slow row holds up nobody. Replies are in the journal before anything is made of them;
the same tasks, seed and journal give the same bytes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from frontier_core.errors import DataError
from frontier_core.jsonl import Row
from frontier_core.records import Message, Record
from frontier_core.rejects import reject_record
from generators.teachers.answers import FINAL, Judge, Origin, Refused, complaint
from generators.teachers.client import Client, Request, SchemaRefused, Unanswered
from generators.teachers.gate import BudgetReached
from generators.teachers.journal import body_digest, request_key
from generators.teachers.ledger import Estimator
from generators.teachers.tasks import Task
from generators.teachers.wire import Reply, Sampling, Teacher
from generators.templates import PromptTemplate
from validators.base import Finding

LOOK_AHEAD = 10_000
"""Tasks that may be done while an earlier one is not; bounds what is held back for the sake of order."""
READ_AHEAD = 256
"""Jobs made ready while a pipe is read."""
DRAIN_S = 10.0
"""How long the end of a run waits for replies that are on their way and will be paid for."""

_REMEDIES = {"http_4": "check the task, --max-tokens and --param"}


class Job(NamedTuple):
    """A task with its first request, or a line that could not become one; `is_structured`: the request has a schema."""

    task: Task | None
    messages: list[Message]
    request: Request | None
    sample: int = 0
    reject: Record | None = None
    is_structured: bool = False


class Outcome(NamedTuple):
    """What became of a task: a record, a line for the rejects, or neither when it was not asked any more."""

    record: Record | None = None
    reject: Record | None = None


class Asker:
    """Turns tasks into requests, and answers into records.

    Args:
        teacher: who is asked.
        template: what is asked.
        sampling: how answers are drawn.
        judge: makes records of answers.
        estimator: counts tokens.
        schema: sent with each request, None to ask for it in words only.
        repairs: how often an answer that can't be used is asked for again.
        on_plain: called once when the service knows no schemas and goes on being asked without.
    """

    def __init__(
        self,
        teacher: Teacher,
        template: PromptTemplate,
        sampling: Sampling,
        *,
        judge: Judge,
        estimator: Estimator,
        schema: dict[str, Any] | None,
        repairs: int,
        on_plain: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_plain = on_plain
        self.teacher = teacher
        self.template = template
        self._sampling = sampling
        self._judge = judge
        self._estimator = estimator
        self._schema = schema
        self._schema_tokens = 0 if schema is None else estimator.count(orjson.dumps(schema).decode())
        self._repairs = repairs
        self._samples: Counter[bytes] = Counter()
        self._asked = sampling.to_record()

    def jobs(self, tasks: Iterable[Task | tuple[Row, DataError]]) -> Iterator[Job]:
        """Yields each task with its request; equal requests get samples 0, 1, 2, ... in the order of the tasks.

        LIMIT: remembers 16 bytes of each distinct request (about 100 MB per million).
        """
        for task in tasks:
            if not isinstance(task, Task):
                row, problem = task
                yield Job(None, [], None, reject=bad_line(row, problem))
                continue
            finding = self._judge.problem(task)
            messages: list[Message] = []
            try:
                messages = self.template.prompt(task.values)
            except DataError as error:
                finding = finding or Finding(code=error.code, message=error.problem, remedy=error.hint)
            if finding is not None:
                yield Job(None, [], None, reject=_bad_answer(task, finding))
                continue
            body = self.body(messages)
            digest = body_digest(body)
            name = digest.digest()
            sample = self._samples[name]
            self._samples[name] += 1
            request = self._request(body, messages, digest, sample)
            yield Job(task, messages, request, sample, is_structured=self._schema is not None)

    def body(self, messages: list[Message]) -> dict[str, Any]:
        """Gives the request body for some turns."""
        return self.teacher.wire.body(self.teacher.model, messages, self._sampling, self._schema)

    def _request(self, body: dict[str, Any], messages: list[Message], digest: blake2b, sample: int) -> Request:
        guess = self._estimator.guess_in(messages) + self._schema_tokens
        return Request(orjson.dumps(body), request_key(digest, sample), guess)

    def _again(self, messages: list[Message], sample: int) -> Request:
        body = self.body(messages)
        return self._request(body, messages, body_digest(body), sample)

    def _ask_plainly(self) -> None:
        """Leaves the schema out from now on, for the service knows none; what is asked for, prompts say too."""
        if self._schema is not None:
            self._schema, self._schema_tokens = None, 0
            self._on_plain()

    async def outcome(self, job: Job, ask: Callable[[Request], Awaitable[Reply]]) -> Outcome:
        """Asks until an answer makes a record or the repairs are used up.

        Args:
            job: what to ask.
            ask: `Client.ask`, or what else gives a reply to a request.
        Raises:
            BudgetReached, FrontierError: as `ask` does.
        """
        task, request = job.task, job.request
        if task is None or request is None:
            return Outcome(reject=job.reject)
        messages = job.messages
        if job.is_structured and self._schema is None:
            request = self._again(messages, job.sample)
        for num_asked in range(1, self._repairs + 2):
            try:
                try:
                    reply = await ask(request)
                except SchemaRefused:
                    self._ask_plainly()
                    request = self._again(messages, job.sample)
                    reply = await ask(request)
            except Unanswered as error:
                remedy = _REMEDIES.get(error.code[:6], "the same command asks again")
                return Outcome(reject=_bad_answer(task, Finding(code=error.code, message=error.message, remedy=remedy)))
            origin = Origin(model=self.teacher.model, sampling=self._asked, key=request.key, num_asked=num_asked)
            try:
                return Outcome(record=self._judge.record(task, reply, origin))
            except Refused as refused:
                finding = refused.finding
            if finding.code in FINAL or num_asked > self._repairs:
                break
            said: Message = {"role": "assistant", "content": reply.text or "(nothing)"}
            messages = [*messages, said, {"role": "user", "content": complaint(finding)}]
            request = self._again(messages, job.sample)
        return Outcome(reject=_bad_answer(task, finding, answer=reply.text, num_asked=num_asked))


class Run:
    """One run over some jobs: call `run` once, then read the counts.

    `num_done` outcomes were handed on; `num_unasked` tasks were left when the budget was reached.

    Args:
        asker: turns jobs into outcomes.
        feed: gives the next job, None at the end.
        concurrency: workers that are not waiting for a retry.
        emit: gets the outcomes in the order of the jobs.
    """

    def __init__(
        self, asker: Asker, feed: Callable[[], Awaitable[Job | None]], concurrency: int, emit: Callable[[Outcome], None]
    ) -> None:
        self.num_done = self.num_unasked = 0
        self._asker = asker
        self._feed = feed
        self._concurrency = concurrency
        self._emit = emit
        self._client: Client | None = None
        self._num_started = 0
        self._is_stopped = False
        self._error: BaseException | None = None
        self._outcomes: dict[int, Outcome] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()

    async def run(self, client: Client) -> None:
        """Sees every job through. Raises what ended the run early, after the replies on their way came in."""
        self._client = client
        self.add_worker()
        try:
            while self._workers and self._error is None:
                await asyncio.wait(self._workers, return_when=asyncio.FIRST_COMPLETED)
            if self._workers:
                await asyncio.wait(self._workers, timeout=DRAIN_S)
        finally:
            for worker in self._workers:
                worker.cancel()
        if self._error is not None:
            raise self._error

    def add_worker(self) -> None:
        """Starts another worker when there is work and room for one."""
        if not self._is_stopped and self._num_busy() < self._concurrency:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def _num_busy(self) -> int:
        return len(self._workers) - (self._client.num_sleeping if self._client else 0)

    async def _work(self) -> None:
        assert self._client is not None
        ask = self._client.ask
        try:
            while not self._is_stopped and self._num_busy() <= self._concurrency:
                while self._num_started - self.num_done > LOOK_AHEAD and not self._is_stopped:
                    self._room.clear()
                    await self._room.wait()
                job = await self._feed()
                if job is None:
                    self._is_stopped = True
                    return
                number = self._num_started
                self._num_started += 1
                self.add_worker()
                try:
                    outcome = await self._asker.outcome(job, ask)
                except BudgetReached:
                    self.num_unasked += 1
                    self._is_stopped = True
                    outcome = Outcome()
                self._settle(number, outcome)
        except BaseException as error:
            self._is_stopped = True
            self._error = self._error or error
            self._room.set()

    def _settle(self, number: int, outcome: Outcome) -> None:
        """Hands on whatever is next in order."""
        self._outcomes[number] = outcome
        while (ready := self._outcomes.pop(self.num_done, None)) is not None:
            self.num_done += 1
            self._emit(ready)
        self._room.set()


class Feed:
    """Gives the jobs of an iterator one by one; a slow one (a pipe) is read by a thread, so that nothing waits for it.

    Args:
        jobs: read only as far as needed.
        is_slow: whether the next job may take long to come.
    """

    def __init__(self, jobs: Iterator[Job], *, is_slow: bool) -> None:
        self._jobs = jobs
        self._ready: deque[Job | BaseException | None] = deque()
        self._is_waiting = False
        self._arrived = asyncio.Event()
        self._resume = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._is_slow = is_slow
        if is_slow:
            threading.Thread(target=self._read, name="teach-reader", daemon=True).start()

    async def __call__(self) -> Job | None:
        """Gives the next job, None at the end. Raises what the iterator raises."""
        if not self._is_slow:
            return next(self._jobs, None)
        while not self._ready:
            self._arrived.clear()
            self._is_waiting = True
            if not self._ready:
                await self._arrived.wait()
        job = self._ready[0]
        if job is None:
            return None
        if isinstance(job, BaseException):
            raise job
        self._ready.popleft()
        if len(self._ready) < READ_AHEAD // 2:
            self._resume.set()
        return job

    def _read(self) -> None:
        """Runs in a thread. A daemon, because a read from a silent pipe can't be interrupted."""
        try:
            for job in self._jobs:
                self._put(job)
                if len(self._ready) >= READ_AHEAD:
                    self._resume.clear()
                    if len(self._ready) >= READ_AHEAD:
                        self._resume.wait()
            self._put(None)
        except BaseException as error:  # whatever it is, it belongs to whoever takes the jobs
            self._put(error)

    def _put(self, job: Job | BaseException | None) -> None:
        self._ready.append(job)
        if self._is_waiting:
            self._is_waiting = False
            with suppress(RuntimeError):  # the loop is closed: the run is over
                self._loop.call_soon_threadsafe(self._arrived.set)


def bad_line(row: Row, problem: DataError) -> Record:
    """Gives the rejects line of a line that could not be used."""
    return reject_record(
        row.raw, path=row.path, line=row.number, code=problem.code, message=problem.problem,
        pointer=problem.pointer, remedy=problem.hint,
    )  # fmt: skip


def _bad_answer(task: Task, finding: Finding, *, answer: str = "", num_asked: int = 0) -> Record:
    return reject_record(
        task.original(), path=task.path, line=task.line, code=finding.code, message=finding.message,
        pointer=finding.pointer, remedy=finding.remedy, answer=answer, num_asked=num_asked or None,
    )  # fmt: skip
