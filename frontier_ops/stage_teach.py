"""`synth teach`, end to end: tasks in, records by a teacher out; its estimate, and its batch files."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontier_core.errors import DataError, EnvironmentMissing, ServiceError, UsageError, place
from frontier_core.jsonl import Row, read_rows
from frontier_core.profiles import ProfileName
from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, silent
from generators.teachers.answers import Judge
from generators.teachers.client import Client, Request, Unanswered
from generators.teachers.gate import Gate
from generators.teachers.journal import Journal
from generators.teachers.ledger import Estimator, Ledger, Price, rough_tokens, tokenizer_counter
from generators.teachers.pace import Breaker, Pace
from generators.teachers.tasks import tasks_from_cells, tasks_from_rows
from generators.teachers.teach import Asker, Feed, Job, Outcome, Run, bad_line
from generators.teachers.wire import WIRES, OpenAIWire, Reply, Sampling, Teacher, Wire
from generators.templates import PromptTemplate

if TYPE_CHECKING:
    from generators.synth import Request as Cell
    from generators.teachers.batch import Offline

TICK_S = 0.5
GC_THRESHOLD = 20_000
"""Containers more than before at which rings are looked for: a run makes few, and asking at 700 took 4 % of its CPU."""
SYNC_TICKS = 10
"""The journal is made durable every so many ticks."""

Report = Callable[[int, str], None]
"""Gets how many tasks are done, and rate, cost and time left in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """What to ask whom, and how.

    `tasks` is a file, "-", or cells of domains with their counts. Limits of 0 are none. `key_env` names the variable
    that holds the key; without it a key is sent to the provider's own address only. `journal` is a path, "" for one
    beside a file output.
    """

    teacher: Teacher
    template: PromptTemplate
    tasks: str | Sequence[Cell]
    sampling: Sampling = field(default_factory=Sampling)
    profile: ProfileName = "emoji_think"
    seed: int = 0
    samples: int = 1
    is_structured: bool = True
    repairs: int = 2
    retries: int = 5
    timeout_s: float = 300.0
    concurrency: int = 16
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    price: Price | None = None
    budget_usd: float = 0.0
    max_tokens_total: int = 0
    key_env: str = ""
    tokenizer: str = ""
    journal: str = ""
    cool_s: float = 1.0
    stall_s: float = 600.0

    def journal_path(self, output: str) -> Path | None:
        """Gives where replies are kept, None when nowhere: no journal was named and the output is no file."""
        if self.journal:
            return Path(self.journal)
        if output == "-" or (Path(output).exists() and not Path(output).is_file()):
            return None
        name = Path(output).name
        for suffix in (".gz", ".zst", ".jsonl"):
            name = name.removesuffix(suffix)
        return Path(output).with_name(f"{name}.journal.jsonl")

    def num_tasks(self) -> int | None:
        """Gives how many tasks there are, None when only reading a pipe would tell."""
        if not isinstance(self.tasks, str):
            return sum(cell.count for cell in self.tasks)
        if _is_slow(self.tasks) or self.tasks == "-" or self.tasks.endswith((".gz", ".zst")):
            return None
        try:
            with open(self.tasks, "rb") as file:
                return self.samples * sum(bool(line.strip()) for line in file)
        except OSError:
            return None  # reading the tasks says it better

    def asker(self, estimator: Estimator, on_plain: Callable[[], None] = lambda: None) -> Asker:
        """Gives what turns tasks into requests and answers into records; see `Asker` for `on_plain`."""
        return Asker(
            self.teacher,
            self.template,
            self.sampling,
            judge=Judge(self.template, self.profile),
            estimator=estimator,
            schema=self.template.schema if self.is_structured else None,
            repairs=self.repairs,
            on_plain=on_plain,
        )

    def estimator(self) -> Estimator:
        """Gives a fresh estimator of tokens."""
        count = tokenizer_counter(self.tokenizer) if self.tokenizer else rough_tokens
        return Estimator(count, float(min(self.template.reply_tokens, self.sampling.max_tokens)))

    def jobs(self, asker: Asker) -> Iterator[Job]:
        """Yields the tasks with their requests."""
        if isinstance(self.tasks, str):
            rows = read_rows(self.tasks)
            return asker.jobs(tasks_from_rows(rows, self.template, seed=self.seed, samples=self.samples))
        return asker.jobs(tasks_from_cells(self.tasks, self.template, seed=self.seed))

    def about(self) -> dict[str, Any]:
        """Gives what the sidecar says about the stage."""
        front = self.template.front
        params: dict[str, Any] = {
            "teacher": self.teacher.name,
            "template": front.name,
            "template_digest": self.template.digest,
            "sampling": self.sampling.to_record(),
            "is_structured": self.is_structured,
            "profile": self.profile,
        }
        return {"seed": self.seed, "producer": f"teach_{front.name}@{self.template.digest[:12]}", "params": params}

    @property
    def source(self) -> str:
        """The file of tasks, "-" for a pipe and for cells."""
        return self.tasks if isinstance(self.tasks, str) else "-"


def teach(
    teaching: Teaching,
    target: Target,
    *,
    on_note: Note = silent,
    on_reject: Note = silent,
    on_progress: Report | None = None,
) -> StageResult:
    """Asks the teacher every task and writes what it made of them, in the order of the tasks, as it becomes ready.

    Returns:
        The counts; `report` holds tokens, dollars and failures, and `num_unasked` when the budget ended the run.
    Raises:
        ServiceError: the teacher is gone, refuses the key or every request; the journal keeps what was paid for.
        EnvironmentMissing: the provider's key is not set. UsageError, DataError: as the tasks and files have it.
    """
    key = _key(teaching)
    path = teaching.journal_path(target.output)
    with Journal(path) as journal, _started(teaching, on_note) as teaching, _writer(teaching, target) as writer:
        if path is None:
            on_note("no journal: a run that breaks off pays again; --journal FILE keeps every reply")
        elif journal.num_loaded:
            on_note(f"{path}: {journal.num_loaded} replies from before")
        try:
            with _rarely_collected(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(
                    _teach(
                        teaching, key, journal, writer, on_note=on_note, on_reject=on_reject, on_progress=on_progress
                    )
                )
        except ServiceError as error:
            kept = f"{len(journal)} replies are kept in {path}" if path else "--journal FILE would keep the replies"
            raise _with_hint(error, f"{error.hint}; {kept}".removeprefix("; ")) from error
        finally:
            journal.sync()
    return writer.result


@contextmanager
def _rarely_collected() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Gives the faster event loop where it is installed (extra `llm`), None for asyncio's own."""
    try:
        import uvloop
    except ImportError:  # not built for every platform
        return None
    return uvloop.new_event_loop


async def _teach(
    teaching: Teaching,
    key: str,
    journal: Journal,
    writer: StageWriter,
    *,
    on_note: Note,
    on_reject: Note,
    on_progress: Report | None,
) -> None:
    ledger = Ledger(
        price=teaching.price,
        budget_usd=teaching.budget_usd,
        max_tokens=teaching.max_tokens_total,
        tokens_in=journal.tokens_in,
        tokens_out=journal.tokens_out,
    )
    pace = Pace(
        teaching.concurrency,
        per_minute=teaching.requests_per_minute,
        tokens_per_minute=teaching.tokens_per_minute,
        now=asyncio.get_running_loop().time(),
    )
    gate = Gate(pace, Breaker(cool_s=teaching.cool_s), ledger, stall_s=teaching.stall_s)
    estimator = teaching.estimator()
    plain = "the teacher knows no JSON Schema (response_format): asked in words alone, as with --no-structured"
    asker = teaching.asker(estimator, on_plain=lambda: on_note(plain))
    feed = Feed(teaching.jobs(asker), is_slow=_is_slow(teaching.source))
    run = Run(asker, feed, teaching.concurrency, _emitter(writer, on_reject))
    client = Client(
        teaching.teacher.wire,
        key=key,
        journal=journal,
        gate=gate,
        estimator=estimator,
        timeout_s=teaching.timeout_s,
        retries=teaching.retries,
        on_sleep=run.add_worker,
    )
    ticker = asyncio.create_task(_tick(teaching.num_tasks(), run, gate, journal, on_progress))
    try:
        async with client:
            await run.run(client)
    finally:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker
    writer.result.report = ledger.report() | ({"num_unasked": run.num_unasked} if run.num_unasked else {})
    writer.about["params"]["usage"] = writer.result.report


async def _tick(total: int | None, run: Run, gate: Gate, journal: Journal, on_progress: Report | None) -> None:
    """Tells how it goes twice a second, and makes the journal durable now and then."""
    began = time.monotonic()
    ticks = 0
    while True:
        await asyncio.sleep(TICK_S)
        ticks += 1
        if ticks % SYNC_TICKS == 0:
            await asyncio.to_thread(journal.sync)
        if on_progress:
            on_progress(run.num_done, progress_text(run.num_done, total, time.monotonic() - began, gate))


def progress_text(done: int, total: int | None, seconds: float, gate: Gate) -> str:
    """Gives rate, requests in flight, cost and time left in a few words."""
    ledger = gate.ledger
    rate = done / seconds
    parts = [f"{rate:.3g}/s", f"{gate.in_flight} in flight", f"{ledger.tokens_in + ledger.tokens_out} tokens"]
    if ledger.usd is not None:
        parts.append(f"${ledger.usd:.4f}")
    if total and rate:
        left_s = int((total - done) / rate)
        parts.append(f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02} left")
    parts += [f"{count} x {what}" for what, count in sorted(ledger.failures.items())]
    return ", ".join(parts)


def estimate(teaching: Teaching, *, output: str = "-") -> dict[str, Any]:
    """Gives what a run would ask and cost, asking nobody.

    What the journal holds is free, and tells how long prompts and answers really are and how often answers need
    repair; without one the estimate rests on a rough count and the template's `reply_tokens`.

    Returns:
        num_tasks, num_cached, num_requests, tokens_in, tokens_out, usd (None without a price), num_measured (replies
        the estimate rests on), num_bad_tasks.
    """
    path = teaching.journal_path(output)
    has_journal = path is not None and path.is_file()
    teaching = _named(teaching)
    with Journal(path if has_journal else None, is_read_only=has_journal) as journal:
        found = asyncio.run(_estimate(teaching, journal))
        if len(journal) and not found["num_cached"] and teaching.is_structured:
            # A teacher that knows no schemas was asked without, so its replies are filed under such requests.
            plain = asyncio.run(_estimate(replace(teaching, is_structured=False), journal))
            return plain if plain["num_cached"] else found
        return found


async def _estimate(teaching: Teaching, journal: Journal) -> dict[str, Any]:
    estimator = teaching.estimator()
    asker = teaching.asker(estimator)
    misses: list[float] = []
    num_hits = 0

    async def ask(request: Request) -> Reply:
        nonlocal num_hits
        reply = journal.find(request.key)
        if reply is None:
            misses.append(request.guess_in)
            raise Unanswered("not_asked", "")
        num_hits += 1
        estimator.learn(request.guess_in, reply)
        return reply

    num_tasks = num_finished = num_bad = 0
    for job in teaching.jobs(asker):
        before = len(misses)
        await asker.outcome(job, ask)
        num_bad += job.request is None
        num_tasks += 1
        num_finished += len(misses) == before and job.request is not None
    num_first = len(misses)
    # A task still to come needs as many further requests as those that are done did.
    again = max(0.0, num_hits / num_finished - 1) if num_finished else 0.0
    tokens_in, tokens_out = sum(map(estimator.one_in, misses)), num_first * estimator.tokens(0.0)[1]
    if num_first:
        tokens_in += again * (tokens_in + tokens_out)
        tokens_out *= 1 + again
    price = teaching.price
    return {
        "num_tasks": num_tasks,
        "num_bad_tasks": num_bad,
        "num_cached": num_hits,
        "num_requests": round(num_first * (1 + again)),
        "tokens_in": round(tokens_in),
        "tokens_out": round(tokens_out),
        "usd": None if price is None else round(price.of(tokens_in, tokens_out), 6),
        "num_measured": estimator.num_replies,
    }


def batch(
    teaching: Teaching, target: Target, *, results: str = "", requests: str = "", on_reject: Note = silent
) -> StageResult:
    """Does the same as `teach` by way of a provider's batch API.

    Args:
        results: the file of results to take in, "" for none; its replies go to the journal.
        requests: the file to write what must (still) be asked to, "" for none.
    Returns:
        The counts; `report` has `num_requests`, written to the batch file.
    """
    from generators.teachers.batch import MAX_REQUESTS, BatchOutbox, Offline, read_results

    if teaching.teacher.folder:
        raise UsageError("a local teacher has no batch API", hint="leave --batch-out and --batch-in out")
    path = teaching.journal_path(target.output)
    if not results:
        # Nothing is answered yet, so there are no records to write.
        target = Target(output=os.devnull, rejects=target.rejects, pipe=target.pipe)
    with Journal(path) as journal, _writer(teaching, target) as writer:
        emit = _emitter(writer, on_reject)

        def on_bad(row: Row, problem: DataError) -> None:
            emit(Outcome(reject=bad_line(row, problem)))

        failures = read_results(results, teaching.teacher.wire, journal, on_bad) if results else {}
        ledger = Ledger(price=teaching.price, tokens_in=journal.tokens_in, tokens_out=journal.tokens_out)
        if requests:
            with BatchOutbox(requests, teaching.teacher.wire) as outbox:
                offline = Offline(journal, ledger, failures=failures, outbox=outbox)
                asyncio.run(_settle_all(teaching, offline, writer, on_reject))
                limit = MAX_REQUESTS[teaching.teacher.wire.kind]
                if outbox.num_requests > limit:
                    message = f"{outbox.num_requests} requests; the provider takes {limit} in a batch"
                    raise UsageError(message, hint="split the tasks (split -l) and write a batch file for each part")
            writer.result.report["num_requests"] = outbox.num_requests
        else:
            offline = Offline(journal, ledger, failures=failures, outbox=None)
            asyncio.run(_settle_all(teaching, offline, writer, on_reject))
    return writer.result


async def _settle_all(teaching: Teaching, offline: Offline, writer: StageWriter, on_reject: Note) -> None:
    asker = teaching.asker(teaching.estimator())
    emit = _emitter(writer, on_reject)
    for job in teaching.jobs(asker):
        outcome = await asker.outcome(job, offline.ask)
        is_waiting = outcome.reject is not None and outcome.reject["code"] == "batched"
        emit(Outcome() if is_waiting else outcome)


def _named(teaching: Teaching) -> Teaching:
    """Gives a local teacher the name of its weights, which requests are filed under."""
    from frontier_ops.local_teacher import model_name

    teacher = teaching.teacher
    if not teacher.folder:
        return teaching
    return replace(teaching, teacher=replace(teacher, model=model_name(Path(teacher.folder))))


@contextmanager
def _started(teaching: Teaching, on_note: Note) -> Iterator[Teaching]:
    """Gives the teaching with a teacher that answers: a local one is served as long as this lasts."""
    from frontier_ops.local_teacher import serving

    teaching = _named(teaching)
    teacher = teaching.teacher
    if not teacher.folder:
        yield teaching
        return
    on_note(f"loading {teacher.model}")
    with serving(Path(teacher.folder), batch_size=teaching.concurrency) as url:
        yield replace(teaching, teacher=replace(teacher, wire=OpenAIWire(url)))


def is_paid(teaching: Teaching) -> bool:
    """Says whether asking costs money, as far as one can tell: a provider's own address, or a price above 0."""
    price = teaching.price
    return _is_own(teaching.teacher.wire) or bool(price and price.of(1, 1))


def _is_own(wire: Wire) -> bool:
    return wire.url == WIRES[wire.kind]().url


def _writer(teaching: Teaching, target: Target) -> StageWriter:
    return StageWriter(target, "synth teach", [teaching.source], judges=True, **teaching.about())


def _emitter(writer: StageWriter, on_reject: Note) -> Callable[[Outcome], None]:
    def emit(outcome: Outcome) -> None:
        if outcome.record is not None:
            writer.accept(outcome.record)
        elif outcome.reject is not None:
            line = outcome.reject
            on_reject(f"{place(line['path'], line['line'], line['pointer'])}{line['message']} [{line['code']}]")
            writer.reject(line)
        else:
            return
        writer.result.num_in += 1

    return emit


def _key(teaching: Teaching) -> str:
    wire = teaching.teacher.wire
    name = teaching.key_env or (wire.key_env if _is_own(wire) else "")
    key = os.environ.get(name, "").strip() if name else ""
    if name and not key:
        hint = f"export {name}=..., or --key-env NAME for another variable"
        raise EnvironmentMissing(f"the teacher's key is not set: {name}", hint=hint)
    return key


def _is_slow(source: str) -> bool:
    """Says whether reading may wait for somebody: a pipe, a terminal, a FIFO."""
    try:
        mode = os.fstat(0).st_mode if source == "-" else os.stat(source).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode)


def _with_hint(error: ServiceError, hint: str) -> ServiceError:
    error.hint = hint
    return error
