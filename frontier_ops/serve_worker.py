"""The process that holds the model: JSON lines in on stdin, JSON lines out on stdout, ends when stdin closes.

In:  {"op": "generate", "id", ...GenerationRequest.job()}, {"op": "cancel", "id"}
Out: {"event": "ready", ...} once, or {"event": "failed", "message"}; then per request
     {"event": "text", "id", "text", "first"?, "ids"?, "tokens"?}, closed by {"event": "done", "id", "finish_reason",
     "prompt_tokens", "completion_tokens", "prompt_ids"?} or {"event": "error", "id", "code", "message"}

Requests are answered one at a time, in order; batching is not covered. This file and local_teacher_server.py are
the only ones of this package that import torch and transformers; both run in processes of their own, this one in a
fork of serve_fork.py's.
"""

# ruff: noqa: N803, N806 - tensors carry their shape in the name

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

from frontier_core.errors import DataError, FrontierError
from frontier_core.jsonl import dumps, loads
from frontier_core.records import Record
from frontier_ops.checkpoint_files import ADAPTER_CONFIG, BASE_FOLDER
from frontier_ops.serve_sampling import EmojiThink, Penalties, choose, token_record
from frontier_ops.serve_text import UNFINISHED, StopFilter, TokenText

# V vocab; B batch (always 1); T tokens


DEFAULT_MAX_TOKENS = 1024
"""Most tokens of an answer whose client set no limit; one request must not hold the only worker for ever."""

ONE_THREAD_PARAMETERS = 50_000_000
"""Models up to this size decode on one CPU thread: with two, waiting for each other cost 6 to 10 times the CPU
(0.6 M parameters, two busy cores: 3.5 ms a token with one thread, 20 ms with two)."""

Send = Callable[[Record], None]


class Engine:
    """A loaded model with its tokenizer, answering one conversation or text at a time.

    Args:
        folder: a model, or an adapter with its base model inside.
        profile: the answer profile whose logit penalties hold at serving.
    Raises:
        DataError: the folder's weights don't fill the model its config describes, or there is no chat template.
    """

    def __init__(self, folder: Path, profile: str = "plain") -> None:
        import torch
        from transformers import AutoTokenizer

        from frontier_core.profiles import profile_named
        from trainer.chat_template import apply_profile

        self.profile = profile_named(profile)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = _load(folder)
        apply_profile(self.tokenizer, self.profile)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.to(self.device).eval()
        self.context_tokens = int(getattr(self.model.config, "max_position_embeddings", 0) or 2**31)
        self.num_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")
        self.end_ids = self._end_ids()
        takes = inspect.signature(self.model.forward).parameters
        self.options = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def _end_ids(self) -> set[int]:
        configured = self.model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return {int(end) for end in (*ends, self.tokenizer.eos_token_id) if end is not None}

    def answer(self, request: Record, send: Send, is_cancelled: Callable[[], bool]) -> None:
        """Answers one request, sending text as it comes and a closing event."""
        try:
            ids = self._prompt_ids(request)
        except Exception as error:  # a template is a program of its own and may refuse with any exception
            send({"event": "error", "code": "chat_template", "message": f"the chat template refused: {error}"})
            return
        if max(ids, default=0) >= self.model.config.vocab_size:
            message = f"the prompt holds the token id {max(ids)}; ids end at {self.model.config.vocab_size - 1}"
            send({"event": "error", "code": "invalid_value", "message": message})
            return
        room = self.context_tokens - len(ids)
        if room < 1 or not ids:
            message = f"the prompt has {len(ids)} tokens; the model's context ends at {self.context_tokens}"
            send({"event": "error", "code": "context_length_exceeded", "message": message})
            return
        limit = min(request["max_tokens"] or DEFAULT_MAX_TOKENS, room)
        finish_reason, num_tokens = _Generation(self, request, ids, send).run(limit, is_cancelled)
        done: Record = {
            "event": "done",
            "finish_reason": finish_reason,
            "prompt_tokens": len(ids),
            "completion_tokens": num_tokens,
        }
        send(done | ({"prompt_ids": ids} if request.get("return_token_ids") else {}))

    def _prompt_ids(self, request: Record) -> list[int]:
        from trainer.chat_template import prompt_ids

        prompt = request.get("prompt")
        if prompt is None:
            return prompt_ids(self.tokenizer, request["messages"])
        return list(prompt) if isinstance(prompt, list) else list(self.encode(prompt))

    def encode(self, text: str) -> list[int]:
        """Gives the ids of a text as it stands."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: list[int]) -> str:
        """Gives the text of ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def name(self, token: int) -> str:
        """Gives one token's text, special tokens by their name."""
        return str(self.tokenizer.decode([token]))

    def scores(self, tokens_BT: Any, cache: Any) -> tuple[Any, Any]:
        """Gives the scores of the next token, shape V, and the grown cache."""
        out = self.model(input_ids=tokens_BT, past_key_values=cache, use_cache=True, **self.options)
        return out.logits[0, -1], out.past_key_values


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    model, loading = AutoModelForCausalLM.from_pretrained(
        folder / BASE_FOLDER if is_adapter else folder,
        local_files_only=True, use_safetensors=True, dtype="auto", output_loading_info=True,
    )  # fmt: skip
    # transformers fills what the file lacks with random numbers and only logs it.
    missing = sorted(loading["missing_keys"])
    if missing:
        raise DataError(f"the weights lack {len(missing)} tensors of the model, e.g. {missing[0]}", path=str(folder))
    if not is_adapter:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder).merge_and_unload()


class _Generation:
    """One answer while it is made."""

    def __init__(self, engine: Engine, request: Record, ids: list[int], send: Send) -> None:
        self._engine = engine
        self._request = request
        self._ids = ids
        self._send = send
        self._penalties = Penalties(request, ids)
        is_emoji = engine.profile == "emoji_think"
        self._profile = EmojiThink(engine.encode, engine.end_ids) if is_emoji else None
        self._text = TokenText(engine.decode)
        self._stop = StopFilter(request["stop"])
        self._made: list[int] = []
        self._untold: list[Record] = []
        self._num_told = 0

    def run(self, limit: int, is_cancelled: Callable[[], bool]) -> tuple[str, int]:
        """Returns (finish_reason, tokens made, end mark included)."""
        import torch

        engine = self._engine
        generator = torch.Generator(engine.device).manual_seed(self._request["seed"])
        tokens_BT = torch.tensor([self._ids], device=engine.device)
        cache: Any = None
        finish_reason = "length"
        self._send({"event": "text", "text": "", "first": True})
        with torch.inference_mode():
            # LIMIT: reading the prompt is one step; a cancelled request is noticed only after it.
            while len(self._made) < limit:
                if is_cancelled():
                    return "cancelled", len(self._made)
                logits_V, cache = engine.scores(tokens_BT, cache)
                token = self._next(logits_V, generator)
                self._made.append(token)
                if token in engine.end_ids:
                    finish_reason = "stop"
                    break
                self._tell(self._stop.push(self._text.push(token)))
                if self._stop.is_stopped:
                    return "stop", len(self._made)
                tokens_BT = torch.tensor([[token]], device=engine.device)
        self._tell(self._stop.push(self._text.flush()) + self._stop.flush(), is_last=True)
        return ("stop" if self._stop.is_stopped else finish_reason), len(self._made)

    def _next(self, logits_V: Any, generator: Any) -> int:
        request = self._request
        scores_V = logits_V
        if self._penalties.is_needed or self._profile is not None:
            scores_V = logits_V.float().clone()
            self._penalties.apply(scores_V)
            if self._profile is not None:
                text = self._engine.decode(self._made)
                self._profile.apply(scores_V, text, is_mid_character=text.endswith(UNFINISHED))
        token = choose(
            scores_V, request["temperature"], request["top_p"], generator,
            top_k=request.get("top_k", 0), min_p=request.get("min_p", 0.0),
        )  # fmt: skip
        if self._penalties.is_needed:
            self._penalties.saw(token)
        if request.get("top_logprobs") is not None:
            logprobs_V = logits_V.float().log_softmax(-1)
            self._untold.append(token_record(token, logprobs_V, request["top_logprobs"], self._engine.name))
        return token

    def _tell(self, piece: str, *, is_last: bool = False) -> None:
        """Sends text, and with it the tokens that made it; a token that is no text yet waits for its character."""
        wants_ids, wants_tokens = self._request.get("return_token_ids"), self._request.get("top_logprobs") is not None
        has_news = len(self._made) > self._num_told and (wants_ids or wants_tokens)
        if not piece and not (is_last and has_news):
            return
        event: Record = {"event": "text", "text": piece}
        if wants_ids:
            event["ids"] = self._made[self._num_told :]
        if wants_tokens:
            event["tokens"], self._untold = self._untold, []
        self._num_told = len(self._made)
        self._send(event)


def main(folder: str, profile: str = "plain") -> int:
    """Serves one model over stdin and stdout until stdin closes; returns the exit status."""
    # A library's print must not land between our lines.
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    commands = os.fdopen(0, "rb", closefd=False)
    inbox: SimpleQueue[Record] = SimpleQueue()
    cancelled: set[int] = set()
    # Listening begins before loading: a front that dies while a large model loads takes the worker with it.
    Thread(target=_listen, args=(commands, inbox, cancelled), daemon=True).start()

    def send(event: Record) -> None:
        events.write(dumps(event) + b"\n")

    started = time.monotonic()
    try:
        from trainer.runtime import quiet

        with quiet():
            engine = Engine(Path(folder), profile)
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
            "dtype": engine.dtype,
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
