"""The process behind a local teacher: the front of `frontier serve` over a model that answers many at a time.

Prints {"url"} once the model answers, or {"failed"}, and ends when its stdin closes. Each answer is drawn with its own
seed, so that what others ask at the same time changes no choice (batches may differ in the last bits of a float).
"""

# ruff: noqa: N806 - tensors carry their shape in the name

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from frontier_core.errors import FrontierError
from frontier_core.jsonl import dumps
from frontier_core.records import Record
from frontier_core.version import __version__
from frontier_ops.releases import Release
from frontier_ops.serve_app import Front, RequestLog
from frontier_ops.serve_link import WorkerLink
from frontier_ops.serve_text import StopFilter, TokenText
from frontier_ops.serve_worker import DEFAULT_MAX_TOKENS, Engine, choose, limit_threads

# B rows still open, T tokens so far, V vocabulary

GATHER_S = 0.005
"""How long the first request of a batch waits for others."""


class Row:
    """One answer being made."""

    def __init__(self, engine: Engine, ids: list[int], limit: int, request: Record) -> None:
        import torch

        self.ids = ids
        self.limit = limit
        self.temperature, self.top_p = request["temperature"], request["top_p"]
        self.generator = torch.Generator(engine.device).manual_seed(request["seed"])
        self.pieces: list[str] = []
        self.num_tokens = 0
        self.finish = "length"
        self._stop = StopFilter(request["stop"])
        self._text = TokenText(lambda part: str(engine.tokenizer.decode(part, skip_special_tokens=True)))

    def take(self, token: int, end_ids: set[int]) -> bool:
        """Takes the next token; gives whether the answer goes on."""
        self.num_tokens += 1
        if token in end_ids:
            self.finish = "stop"
            return False
        self.pieces.append(self._stop.push(self._text.push(token)))
        if self._stop.is_stopped:
            self.finish = "stop"
            return False
        return self.num_tokens < self.limit

    def text(self) -> str:
        """Gives the whole text."""
        rest = self._stop.push(self._text.flush()) + self._stop.flush()
        return "".join(self.pieces) + rest


def answer_batch(engine: Engine, requests: list[Record]) -> list[list[Record]]:
    """Gives the events of each request: text and done, or an error of its own."""
    rows: list[Row | Record] = [_row(engine, request) for request in requests]
    open_rows = [row for row in rows if isinstance(row, Row)]
    try:
        if open_rows:
            _decode(engine, open_rows)
    except (ValueError, RuntimeError) as error:  # broken weights, out of memory
        failed = _error("generation_failed", (str(error).strip().splitlines() or [type(error).__name__])[0])
        return [[failed if isinstance(row, Row) else row] for row in rows]
    return [_events(row) if isinstance(row, Row) else [row] for row in rows]


def _row(engine: Engine, request: Record) -> Row | Record:
    from trainer.chat_template import prompt_ids

    try:
        ids = prompt_ids(engine.tokenizer, request["messages"])
    except Exception as error:  # a template is a program of its own and may refuse with any exception
        return _error("chat_template", f"the chat template refused: {error}")
    room = engine.context_tokens - len(ids)
    if room < 1:
        message = f"the prompt has {len(ids)} tokens; the model's context ends at {engine.context_tokens}"
        return _error("context_length_exceeded", message)
    return Row(engine, ids, min(request["max_tokens"] or DEFAULT_MAX_TOKENS, room), request)


def _error(code: str, message: str) -> Record:
    return {"event": "error", "code": code, "message": message}


def _events(row: Row) -> list[Record]:
    done = {"event": "done", "finish_reason": row.finish, "prompt_tokens": len(row.ids)}
    return [{"event": "text", "text": row.text()}, done | {"completion_tokens": row.num_tokens}]


def _decode(engine: Engine, rows: list[Row]) -> None:
    """Decodes rows side by side, prompts padded on the left; a row that is done leaves the batch, cache and all."""
    import torch
    from transformers import DynamicCache

    device = engine.device
    width = max(len(row.ids) for row in rows)
    ids_BT = torch.zeros(len(rows), width, dtype=torch.long, device=device)
    mask_BT = torch.zeros(len(rows), width, dtype=torch.long, device=device)
    for number, row in enumerate(rows):
        ids_BT[number, width - len(row.ids) :] = torch.tensor(row.ids, device=device)
        mask_BT[number, width - len(row.ids) :] = 1
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    cache: Any = DynamicCache(config=engine.model.config)
    with torch.inference_mode():
        while rows:
            out = engine.model(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                position_ids=positions_BT,
                past_key_values=cache,
                use_cache=True,
                **engine.options,
            )
            last_BV = out.logits[:, -1]
            tokens = [
                choose(last_V, row.temperature, row.top_p, row.generator)
                for row, last_V in zip(rows, last_BV, strict=True)
            ]
            kept = [n for n, row in enumerate(rows) if row.take(tokens[n], engine.end_ids)]
            if len(kept) < len(rows):
                rows = [rows[n] for n in kept]
                if not rows:
                    return
                kept_B = torch.tensor(kept, device=device)
                cache.batch_select_indices(kept_B)
                mask_BT, positions_BT = mask_BT[kept_B], positions_BT[kept_B]
            ids_BT = torch.tensor([[tokens[n]] for n in kept], device=device)
            mask_BT = torch.cat((mask_BT, mask_BT.new_ones(len(rows), 1)), dim=1)
            positions_BT = positions_BT[:, -1:] + 1


class BatchLink(WorkerLink):
    """Stands where the front expects its worker, and answers in batches in a thread of this process.

    Args:
        engine: the model.
        batch_size: most requests decoded together.
    """

    def __init__(self, engine: Engine, batch_size: int) -> None:
        super().__init__(Path(), max_waiting=0, on_note=lambda _: None)
        self.ready = {
            "context_tokens": engine.context_tokens,
            "num_parameters": engine.num_parameters,
            "device": engine.device,
        }
        self._engine = engine
        self._batch_size = batch_size
        self._inbox: asyncio.Queue[tuple[Record, asyncio.Future[list[Record]]]] = asyncio.Queue()

    async def generate(self, request: Record) -> AsyncGenerator[Record, None]:
        """Yields the events of one request, once its batch is through."""
        answered: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()
        await self._inbox.put((request, answered))
        for event in await answered:
            yield event

    async def run(self) -> None:
        """Answers batch after batch, for ever."""
        while True:
            batch = [await self._inbox.get()]
            await asyncio.sleep(GATHER_S)
            while len(batch) < self._batch_size and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            batch = [pair for pair in batch if not pair[1].done()]  # its client went away
            if not batch:
                continue
            found = await asyncio.to_thread(answer_batch, self._engine, [request for request, _ in batch])
            for (_, answered), events in zip(batch, found, strict=True):
                if not answered.done():
                    answered.set_result(events)


def main(folder: str, name: str, batch_size: int) -> int:
    """Serves a model until stdin closes; returns the exit status."""
    # A library's print must not land between our lines.
    said = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    # Listening begins before loading: a run that dies while a large model loads takes the server with it.
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        from trainer.runtime import quiet

        with quiet():
            engine = Engine(Path(folder))
    except FrontierError as error:
        said.write(dumps({"failed": error.message}) + b"\n")
        return error.exit_code
    except Exception as error:  # whatever a library says about a model it can't load, the user shall hear it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        said.write(dumps({"failed": f"{folder}: the model can't be loaded: {reason}"}) + b"\n")
        return 4
    limit_threads(engine)
    asyncio.run(_serve(engine, Path(folder), name, batch_size, said))
    return 0


async def _serve(engine: Engine, folder: Path, model: str, batch_size: int, said: Any) -> None:
    import uvicorn

    link = BatchLink(engine, batch_size)
    name, _, digest = model.rpartition("@")
    release = Release(
        id=digest, name=name, path=folder, files={}, source={"folder": str(folder)},
        created_at=datetime.now(UTC).isoformat(), code_version=__version__,
    )  # fmt: skip
    app = Front(release, link, RequestLog(None, lambda _: None)).app()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=3600,
    )  # fmt: skip
    server = uvicorn.Server(config)
    answering = asyncio.create_task(link.run())
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    said.write(dumps({"url": f"http://127.0.0.1:{port}"}) + b"\n")
    await asyncio.wait((answering, serving), return_when=asyncio.FIRST_COMPLETED)


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    # Nobody is left to answer; not even a running step is worth finishing.
    os._exit(0)
