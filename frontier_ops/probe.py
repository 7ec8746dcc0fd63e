"""The golden probe: what a model says to a few fixed prompts, so that a served one can be known to be the same one.

Made where the checkpoint is exported, kept in the release's manifest, asked again wherever the release is loaded. A
server that holds stale weights, another tokenizer or another chat template answers with other token ids or other
log-probabilities. Greedy ids must be the same except where the two likeliest tokens were closer than the tolerance;
log-probabilities must agree within it. Knows backends only by their `generate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from frontier_core.errors import DataError
from frontier_core.records import Message, Record
from frontier_ops.probe_files import SCHEMA, template_digest
from frontier_ops.serve_api import GenerationRequest

if TYPE_CHECKING:
    from frontier_ops.serve_nursery import Nursery

MAX_TOKENS = 16
PROMPTS: tuple[tuple[Message, ...], ...] = (
    ({"role": "user", "content": "What is 7 + 5?"},),
    (
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "Name a colour; na\u00efve or \u8d64, as you like \U0001f914"},
    ),
    (
        {"role": "user", "content": "Say a."},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "Move every .log file\n\tinto logs/ and count them."},
    ),
)
"""Short and unlike: digits, a system turn, characters of several bytes, an earlier answer, white space."""

TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest difference of a log-probability (natural) that rounding explains, by the coarser of the two number types."""
OTHER_TOLERANCE = 2e-1
"""For quantised weights and servers that don't say what they compute in."""

Generate = Callable[[Record], AsyncGenerator[Record, None]]


class Backend(Protocol):
    """What answers requests: the embedded worker, or another server behind HTTP."""

    ready: Record | None
    on_death: Callable[[str], None]

    @property
    def pid(self) -> int | None:
        """The process id of the model process, None when it is not ours."""
        ...

    async def start(self) -> Record:
        """Gets it ready and gives what it says of itself; raises FrontierError when it can't be."""
        ...

    async def close(self) -> None:
        """Ends it."""
        ...

    def generate(self, request: Record) -> AsyncGenerator[Record, None]:
        """Yields the events of one request (see serve_worker.py)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A greedy answer with what identifies it; ids are [] where the server tells none."""

    text: str
    prompt_tokens: int
    prompt_ids: list[int]
    ids: list[int]
    tokens: list[str]
    logprobs: list[float]
    margins: list[float]
    """By how much each token was likelier than the next one (natural log)."""


async def answer(generate: Generate, messages: Sequence[Message], max_tokens: int = MAX_TOKENS) -> Answer:
    """Asks one prompt greedily. Raises DataError with the model's own words when it can't answer."""
    asked = GenerationRequest(
        messages=list(messages), max_tokens=max_tokens, temperature=0.0, top_p=1.0, stop=(), seed=0, stream=False,
        include_usage=False, top_logprobs=2, return_token_ids=True,
    )  # fmt: skip
    texts: list[str] = []
    ids: list[int] = []
    tokens: list[Record] = []
    done: Record = {}
    async for event in generate(asked.job(0)):
        if event["event"] == "error":
            raise DataError(f"the model could not answer a probe: {event['message']}", code="probe")
        if event["event"] == "done":
            done = event
            continue
        texts.append(event["text"])
        ids += event.get("ids", [])
        tokens += event.get("tokens", [])
    return Answer(
        text="".join(texts),
        prompt_tokens=int(done.get("prompt_tokens", 0)),
        prompt_ids=list(done.get("prompt_ids") or []),
        ids=ids,
        tokens=[str(token["token"]) for token in tokens],
        logprobs=[float(token["logprob"]) for token in tokens],
        margins=[_margin(token) for token in tokens],
    )


def _margin(token: Record) -> float:
    tops = sorted((top["logprob"] for top in token["top"]), reverse=True)
    return round(tops[0] - tops[1], 6) if len(tops) > 1 else 0.0


async def make_probe(generate: Generate, *, dtype: str) -> Record:
    """Gives the probe of a model that is loaded now."""
    cases = []
    for messages in PROMPTS:
        said = await answer(generate, messages)
        cases.append(
            {
                "messages": list(messages),
                "max_tokens": MAX_TOKENS,
                "prompt_ids": said.prompt_ids,
                "ids": said.ids,
                "text": said.text,
                "tokens": said.tokens,
                "logprobs": said.logprobs,
                "margins": said.margins,
            }
        )
    return {"schema": SCHEMA, "dtype": dtype, "cases": cases}


async def check_probe(generate: Generate, probe: Record, *, dtype: str) -> list[str]:
    """Asks the probe's prompts again and gives what is different, in words; [] when it is the same model.

    Args:
        generate: the model that is loaded now.
        probe: from `make_probe`, of the model it should be.
        dtype: what it computes in; "" when nobody knows.
    """
    tolerance = max(TOLERANCE.get(name, OTHER_TOLERANCE) for name in (str(probe["dtype"]), dtype))
    problems: list[str] = []
    for number, case in enumerate(probe["cases"], 1):
        said = await answer(generate, case["messages"], int(case["max_tokens"]))
        problem = compare_answers(case, said, tolerance)
        if problem:
            problems.append(f"probe {number}: {problem}")
    return problems


def compare_answers(case: Record, said: Answer, tolerance: float) -> str:
    """Says how an answer differs from the one that was recorded, "" when it does not."""
    if said.prompt_ids and said.prompt_ids != case["prompt_ids"]:
        return "the prompt becomes other token ids: another tokenizer or chat template"
    if said.prompt_tokens != len(case["prompt_ids"]):
        return f"the prompt has {said.prompt_tokens} tokens, not {len(case['prompt_ids'])}: another chat template"
    wanted, got = (case["ids"], said.ids) if said.ids else (case["tokens"], said.tokens)
    if not got:
        return "" if said.text == case["text"] else "the answer is another text: other weights"
    for place, logprob in enumerate(case["logprobs"]):
        if place >= len(got) or got[place] != wanted[place]:
            if case["margins"][place] <= 2 * tolerance:
                return ""  # rounding may decide between two that are this close; what follows is another answer
            return f"token {place + 1} is another one: other weights"
        if place < len(said.logprobs) and abs(said.logprobs[place] - logprob) > tolerance:
            off = abs(said.logprobs[place] - logprob)
            return (
                f"the log-probability of token {place + 1} is off by {off:.4f} (tolerance {tolerance:g}): other weights"
            )
    if len(got) > len(wanted):
        return "the answer goes on where it should end: other weights"
    return ""


async def probe_of(folder: Path, *, profile: str = "plain", nursery: Nursery | None = None) -> Record:
    """Loads a model folder in a process of its own, out of the nursery where one is given, and gives its probe.

    Raises:
        DataError: it can't be loaded, or can't answer.
        ServiceError: the model process died.
    """
    from frontier_ops.serve_link import WorkerLink

    link = WorkerLink(folder, max_waiting=1, on_note=lambda _: None, profile=profile, nursery=nursery)
    try:
        ready = await link.start()
        probe = await make_probe(link.generate, dtype=str(ready["dtype"]))
        return probe | {"template_sha256": template_digest(folder)}
    finally:
        await link.close()


def probe_folder(folder: Path, *, profile: str = "plain") -> Record:
    """Gives a model folder's probe; see `probe_of`."""
    return asyncio.run(probe_of(folder, profile=profile))
