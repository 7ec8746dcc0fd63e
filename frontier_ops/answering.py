"""Puts the same conversations to a model folder or to an endpoint, and never twice: answers are kept in a journal.

A local model answers in batches with a KV cache, an endpoint many requests at a time with the teachers' pace, retries
and breaker. What breaks off goes on with the answers it has: the journal's key is the model's bytes (or the endpoint
and its model's name), the turns and the limit. Judging answers is not covered here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from frontier_core.errors import EnvironmentMissing, ServiceError
from frontier_core.lineage import digest_of
from frontier_core.profiles import ProfileName
from frontier_core.records import Message
from generators.teachers.journal import Journal
from generators.teachers.wire import Reply, Teacher, parse_teacher
from trainer.checkpoints import MANIFEST, resolve_model

if TYPE_CHECKING:
    from generators.teachers.client import Client

ENDPOINTS = ("openai:", "anthropic:", "http://", "https://")
ANSWER_TOKENS = 1024
"""Longest answer of an endpoint, whose tokens nobody here can count."""
FLUSH_EVERY = 32
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Who answers: a model folder or an endpoint, and what its run says about it."""

    run_id: str
    step: int = 0
    round: int = 0
    folder: Path | None = None
    endpoint: Teacher | None = None
    key_env: str = ""
    concurrency: int = 16

    @property
    def place(self) -> str:
        """The folder, or the address of the endpoint."""
        if self.endpoint is not None:
            return self.endpoint.wire.url
        return str(self.folder)


def is_endpoint(text: str) -> bool:
    """Says whether a model is named as an endpoint: openai:MODEL@URL, anthropic:MODEL@URL or a server's address."""
    return text.startswith(ENDPOINTS)


def identify(path: str | Path, *, on_note: Callable[[str], None] = lambda _: None, **asking: Any) -> Model:
    """Finds the model behind a run, checkpoint, model folder or endpoint.

    A bare model folder has step 0 and its own name; an address alone stands for the first model its server lists.

    Args:
        path: what to find.
        on_note: gets remarks, such as a torn checkpoint that was passed over.
        asking: `key_env` and `concurrency` of an endpoint.
    """
    if is_endpoint(str(path)):
        text = str(path)
        if text.startswith("http"):
            from frontier_ops.ask import first_model

            key = os.environ.get(str(asking.get("key_env") or ""), "").strip()
            text = f"openai:{first_model(text, api_key=key)}@{text}"
        teacher = parse_teacher(text)
        return Model(run_id=teacher.model, endpoint=teacher, **asking)
    notes: list[str] = []
    folder = resolve_model(path, notes)
    for text in notes:
        on_note(text)
    manifest, resolved = _json(folder / MANIFEST), _json(folder.parent / "config.resolved.json")
    return Model(
        folder=folder,
        run_id=str(manifest.get("run_id") or folder.resolve().name),
        step=int(manifest.get("step") or 0),
        round=int(resolved.get("config", {}).get("round") or 0) if manifest else 0,
    )


def answer_all(
    model: Model,
    conversations: Sequence[list[Message]],
    limits: Sequence[int],
    *,
    profile: ProfileName,
    journal: Journal,
    on_progress: Progress = lambda _: None,
) -> list[str]:
    """Gives the greedy answer to each conversation, in order, asking only for what the journal does not hold.

    Args:
        model: from `identify`.
        conversations: turns up to where the assistant is to speak.
        limits: longest answer of each, in tokens.
        profile: of a local model's chat template.
        journal: answers from before; new ones are added as they come.
        on_progress: told how many are answered.
    Raises:
        ServiceError: the endpoint is gone, refuses the key, or leaves a request unanswered; answers so far are kept.
    """
    identity = _identity(model)
    keys = [
        _digest({"who": identity, "turns": turns, "max": limit})
        for turns, limit in zip(conversations, limits, strict=True)
    ]
    open_rows = [row for row, key in enumerate(keys) if journal.find(key) is None]
    done = len(keys) - len(open_rows)

    def keep(row: int, text: str, finish: str = "stop") -> None:
        nonlocal done
        journal.add(
            keys[row], Reply(text=text, response_id="", model=model.run_id, finish=finish, tokens_in=0, tokens_out=0)
        )
        done += 1
        if done % FLUSH_EVERY == 0:
            journal.flush()
        on_progress(done)

    on_progress(done)
    if open_rows:
        ask = _ask_folder if model.endpoint is None else _ask_endpoint
        try:
            ask(model, [(row, conversations[row], limits[row]) for row in open_rows], profile, keep)
        finally:
            journal.flush()
            journal.sync()
    found = [journal.find(key) for key in keys]
    return [reply.text if reply is not None else "" for reply in found]


Task = tuple[int, list[Message], int]
Keep = Callable[..., None]


def _digest(document: dict[str, Any]) -> str:
    """Gives the 32 hex digits an answer is filed under."""
    return blake2b(orjson.dumps(document, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _identity(model: Model) -> str:
    if model.endpoint is not None:
        return f"{model.endpoint.wire.url} {model.endpoint.model}"
    assert model.folder is not None
    return digest_of(model.folder)


def _ask_folder(model: Model, tasks: Sequence[Task], profile: ProfileName, keep: Keep) -> None:
    from trainer.generate import generate_answers

    assert model.folder is not None
    generate_answers(
        model.folder,
        [turns for _, turns, _ in tasks],
        profile=profile,
        max_new_tokens=[limit for _, _, limit in tasks],
        on_answer=lambda index, text: keep(tasks[index][0], text),
    )


def _ask_endpoint(model: Model, tasks: Sequence[Task], _profile: ProfileName, keep: Keep) -> None:
    import asyncio

    asyncio.run(_ask_all(model, tasks, keep))


async def _ask_all(model: Model, tasks: Sequence[Task], keep: Keep) -> None:
    import asyncio

    from generators.teachers.client import Client
    from generators.teachers.gate import Gate
    from generators.teachers.ledger import Estimator, Ledger, rough_tokens
    from generators.teachers.pace import Breaker, Pace

    assert model.endpoint is not None
    pace = Pace(model.concurrency, now=asyncio.get_running_loop().time())
    gate = Gate(pace, Breaker(cool_s=1.0), Ledger(price=None), stall_s=300.0)
    estimator = Estimator(rough_tokens, 64.0)
    client = Client(
        model.endpoint.wire,
        key=_key(model),
        journal=Journal(None),
        gate=gate,
        estimator=estimator,
        timeout_s=300.0,
        retries=5,
        on_sleep=lambda: None,
    )
    queue = iter(tasks)
    async with client:
        workers = [
            asyncio.create_task(_work(client, model.endpoint, queue, estimator, keep)) for _ in range(model.concurrency)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*workers, return_exceptions=True)


async def _work(client: Client, endpoint: Teacher, queue: Any, estimator: Any, keep: Keep) -> None:
    from generators.teachers.client import Request, Unanswered
    from generators.teachers.wire import Sampling

    for row, turns, limit in queue:
        body = endpoint.wire.body(endpoint.model, turns, Sampling(max_tokens=limit, temperature=0.0), None)
        request = Request(orjson.dumps(body), _digest({"row": row, **body}), estimator.guess_in(turns))
        try:
            reply = await client.ask(request)
        except Unanswered as error:
            raise ServiceError(
                f"{endpoint.wire.url}: a question stays unanswered: {error.message}",
                hint="the answers so far are kept; the same command goes on",
            ) from error
        keep(row, reply.text, reply.finish)


def _key(model: Model) -> str:
    """The credential: of the named variable, else the provider's own variable where there is one."""
    assert model.endpoint is not None
    if not model.key_env:
        return (
            os.environ.get(model.endpoint.wire.key_env, "").strip() if "https://api." in model.endpoint.wire.url else ""
        )
    key = os.environ.get(model.key_env, "").strip()
    if not key:
        raise EnvironmentMissing(f"the endpoint's key is not set: {model.key_env}", hint=f"export {model.key_env}=...")
    return key


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = orjson.loads(path.read_bytes())
    return value if isinstance(value, dict) else {}
