"""The process that holds the model: JSON lines in on stdin, JSON lines out on stdout, ends when stdin closes.

In:  {"op": "generate", "id", "messages", "max_tokens", "temperature", "top_p", "seed", "stop"}, {"op": "cancel", "id"}
Out: {"event": "ready", ...} once, or {"event": "failed", "message"}; then per request
     {"event": "text", "id", "text", "first"?}, closed by {"event": "done", "id", "finish_reason", "prompt_tokens",
     "completion_tokens"} or {"event": "error", "id", "code", "message"}

Requests are answered one at a time, in order; batching is not covered. This file and local_teacher_server.py are
the only ones of this package that import torch and transformers; both run in processes of their own.
"""

# ruff: noqa: N803, N806 - tensors carry their shape in the name

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

from frontier_core.errors import DataError, FrontierError
from frontier_core.jsonl import dumps, loads
from frontier_core.records import Record
from frontier_ops.serve_text import StopFilter, TokenText

# V vocab; B batch (always 1); T tokens

DEFAULT_MAX_TOKENS = 1024
"""Most tokens of an answer whose client set no limit; one request must not hold the only worker for ever."""

ONE_THREAD_PARAMETERS = 50_000_000
"""Models up to this size decode on one CPU thread: with two, waiting for each other cost 6 to 10 times the CPU
(0.6 M parameters, two busy cores: 3.5 ms a token with one thread, 20 ms with two)."""

Send = Callable[[Record], None]


class Engine:
    """A loaded model with its tokenizer, answering one conversation at a time.

    Raises:
        DataError: the folder's weights don't fill the model its config describes, or there is no chat template.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from trainer.chat_template import apply_profile

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model, loading = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype="auto", output_loading_info=True
        )
        # transformers fills what the file lacks with random numbers and only logs it.
        missing = sorted(loading["missing_keys"])
        if missing:
            raise DataError(
                f"the weights lack {len(missing)} tensors of the model, e.g. {missing[0]}", path=str(folder)
            )
        apply_profile(self.tokenizer, "plain")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.to(self.device).eval()
        self.context_tokens = int(getattr(self.model.config, "max_position_embeddings", 0) or 2**31)
        self.num_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.end_ids = self._end_ids()
        takes = inspect.signature(self.model.forward).parameters
        self.options = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def _end_ids(self) -> set[int]:
        configured = self.model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return {int(end) for end in (*ends, self.tokenizer.eos_token_id) if end is not None}

    def answer(self, request: Record, send: Send, is_cancelled: Callable[[], bool]) -> None:
        """Answers one request, sending text as it comes and a closing event."""
        from trainer.chat_template import prompt_ids

        try:
            ids = prompt_ids(self.tokenizer, request["messages"])
        except Exception as error:  # a template is a program of its own and may refuse with any exception
            send({"event": "error", "code": "chat_template", "message": f"the chat template refused: {error}"})
            return
        room = self.context_tokens - len(ids)
        if room < 1:
            message = f"the prompt has {len(ids)} tokens; the model's context ends at {self.context_tokens}"
            send({"event": "error", "code": "context_length_exceeded", "message": message})
            return
        limit = min(request["max_tokens"] or DEFAULT_MAX_TOKENS, room)
        finish_reason, num_tokens = self._generate(ids, limit, request, send, is_cancelled)
        send(
            {
                "event": "done",
                "finish_reason": finish_reason,
                "prompt_tokens": len(ids),
                "completion_tokens": num_tokens,
            }
        )

    def _generate(
        self, ids: list[int], limit: int, request: Record, send: Send, is_cancelled: Callable[[], bool]
    ) -> tuple[str, int]:
        """Returns (finish_reason, tokens made, end mark included)."""
        import torch

        text = TokenText(lambda part: str(self.tokenizer.decode(part, skip_special_tokens=True)))
        stop = StopFilter(request["stop"])
        generator = torch.Generator(self.device).manual_seed(request["seed"])
        tokens_BT = torch.tensor([ids], device=self.device)
        cache: Any = None
        finish_reason, num_tokens = "length", 0
        send({"event": "text", "text": "", "first": True})
        with torch.inference_mode():
            # LIMIT: reading the prompt is one step; a cancelled request is noticed only after it.
            while num_tokens < limit:
                if is_cancelled():
                    return "cancelled", num_tokens
                out = self.model(input_ids=tokens_BT, past_key_values=cache, use_cache=True, **self.options)
                cache = out.past_key_values
                token = choose(out.logits[0, -1], request["temperature"], request["top_p"], generator)
                num_tokens += 1
                if token in self.end_ids:
                    finish_reason = "stop"
                    break
                piece = stop.push(text.push(token))
                if piece:
                    send({"event": "text", "text": piece})
                if stop.is_stopped:
                    return "stop", num_tokens
                tokens_BT = torch.tensor([[token]], device=self.device)
        rest = stop.push(text.flush()) + stop.flush()
        if rest:
            send({"event": "text", "text": rest})
        return ("stop" if stop.is_stopped else finish_reason), num_tokens


def choose(logits_V: Any, temperature: float, top_p: float, generator: Any) -> int:
    """Gives the next token: the likeliest at temperature 0, else drawn from the smallest set whose mass reaches top_p.

    Args:
        logits_V: scores of the vocabulary, any float type.
        temperature: 0 or above; below 1 sharpens.
        top_p: in [0, 1]; the likeliest token is always in the set.
        generator: a seeded torch generator on the same device.
    Raises:
        ValueError: the scores are not finite: the weights are broken.
    Source: Holtzman et al. (2020), "The curious case of neural text degeneration", section 3.1 (nucleus sampling).
    """
    import torch

    scores_V = logits_V.float()
    best = scores_V.max()
    if not torch.isfinite(best):
        raise ValueError("the model's scores are not finite")
    if temperature == 0:
        return int(scores_V.argmax())
    # The largest score is taken off first, so that a tiny temperature can't overflow.
    probabilities_V = ((scores_V - best) / temperature).softmax(-1)
    if top_p < 1:
        sorted_V, order_V = probabilities_V.sort(descending=True)
        is_outside_V = sorted_V.cumsum(-1) - sorted_V >= top_p
        is_outside_V[0] = False
        probabilities_V[order_V[is_outside_V]] = 0
    return int(torch.multinomial(probabilities_V, 1, generator=generator))


def main(folder: str) -> int:
    """Serves one model over stdin and stdout until stdin closes; returns the exit status."""
    # A library's print must not land between our lines.
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    inbox: SimpleQueue[Record] = SimpleQueue()
    cancelled: set[int] = set()
    # Listening begins before loading: a front that dies while a large model loads takes the worker with it.
    Thread(target=_listen, args=(sys.stdin.buffer, inbox, cancelled), daemon=True).start()

    def send(event: Record) -> None:
        events.write(dumps(event) + b"\n")

    started = time.monotonic()
    try:
        from trainer.runtime import quiet

        with quiet():
            engine = Engine(Path(folder))
    except FrontierError as error:
        send({"event": "failed", "message": error.message, "hint": error.hint})
        return error.exit_code
    except Exception as error:  # whatever a library says about a model it can't load, the front shall hear it
        send({"event": "failed", "message": f"{folder}: the model can't be loaded: {_first_line(error)}", "hint": ""})
        return DataError.exit_code
    limit_threads(engine)
    send(
        {
            "event": "ready",
            "load_s": round(time.monotonic() - started, 3),
            "context_tokens": engine.context_tokens,
            "num_parameters": engine.num_parameters,
            "device": engine.device,
        }
    )
    while True:
        _answer_one(engine, inbox.get(), send, cancelled)


def limit_threads(engine: Engine) -> None:
    """Decodes a small model on one CPU thread."""
    import torch

    if engine.device == "cpu" and engine.num_parameters <= ONE_THREAD_PARAMETERS:
        torch.set_num_threads(1)


def _answer_one(engine: Engine, request: Record, send: Send, cancelled: set[int]) -> None:
    identity = request["id"]
    try:
        engine.answer(request, lambda event: send({**event, "id": identity}), lambda: identity in cancelled)
    except (ValueError, RuntimeError) as error:  # broken weights, out of memory: this request fails, not the worker
        send({"event": "error", "id": identity, "code": "generation_failed", "message": _first_line(error)})
    finally:
        cancelled.discard(identity)


def _listen(commands: BinaryIO, inbox: SimpleQueue[Record], cancelled: set[int]) -> None:
    for line in commands:
        command: Record = loads(line)
        if command["op"] == "cancel":
            cancelled.add(command["id"])
        else:
            inbox.put(command)
    # Nobody is left to answer; not even a running step is worth finishing.
    os._exit(0)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
