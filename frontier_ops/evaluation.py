"""`frontier eval`: held-out problems, greedy answers, and the verifiers that also judge training data.

Problems come from the evaluation split, which by content training never sees. Answers to skills are recomputed, plans
are run in the sandbox. One line an item, so that runs can be compared pair by pair and failures can be read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from frontier_core.domains import Domain
from frontier_core.errors import FrontierError, SandboxError, UsageError
from frontier_core.profiles import ProfileName, undress
from frontier_core.records import Message, Record, TagStats, last_assistant, tag_of
from frontier_core.seeds import HELD_OUT_SHARE
from generators import formats, synth
from generators.synth import Request
from generators.table import GENERATORS
from trainer.checkpoints import MANIFEST, resolve_model
from validators.base import Verdict, reject
from validators.execution_gate import judge_plan
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Sandbox
from validators.skills.table import VERIFIERS

SPEC = "eval_item"
MAX_SHOWN_CHARS = 2000
SPARE_TOKENS = 8
"""Tokens an answer may have beyond five quarters of the longest reference of its cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model under evaluation: its folder, and what its run says about it."""

    folder: Path
    run_id: str
    step: int
    round: int


def identify(path: str | Path, *, on_note: Callable[[str], None] = lambda _: None) -> Model:
    """Finds the model behind a run, checkpoint or model folder; a bare model folder has step 0 and its own name."""
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


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = orjson.loads(path.read_bytes())
    return value if isinstance(value, dict) else {}


def eval_requests(domains: Sequence[Domain], num: int, *, levels: Sequence[int] = ()) -> list[Request]:
    """Asks for `num` held-out problems of every cell, or as many as the cell surely has."""
    cells = [(domain, level) for domain in domains for level in domain.levels if not levels or level in levels]
    if not cells:
        raise UsageError("nothing to evaluate: no domain has these levels", hint="check --skill and --level")
    requests = []
    for domain, level in cells:
        surely = GENERATORS.get(domain.skill).capacity(level) * HELD_OUT_SHARE // 100
        requests.append(Request(domain=domain, level=level, count=max(1, min(num, surely))))
    return requests


def conversation(record: Record, profile: ProfileName) -> list[Message]:
    """Gives the turns a model must continue: everything before the last answer."""
    chat = formats.convert(record, "chat", profile=profile)
    messages: list[Message] = chat["messages"]
    return messages[:-1]


def evaluate(
    model: Model,
    requests: Sequence[Request],
    *,
    seed: int,
    profile: ProfileName = "emoji_think",
    sandbox: str = "auto",
    on_note: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[int, str], None] = lambda _count, _detail: None,
) -> Iterator[Record]:
    """Yields one line per item.

    Args:
        model: from `identify`.
        requests: from `eval_requests`.
        seed: of the problems; the same seed asks the same questions.
        profile: how assistant turns look to this model.
        sandbox: backend for plans; opened only when a plan must be run.
    Raises:
        SandboxError: plans can't be run at all; an evaluation is not allowed to guess.
    """
    records = list(synth.generate(requests, seed=seed, split="eval"))
    answers = _answers(model.folder, records, profile, on_progress)
    with ExitStack() as stack:
        box: Sandbox | None = None
        if any("output" in record for record in records):
            box = open_sandbox(sandbox, on_note=on_note)
            on_note(f"sandbox: {box.name}")
            stack.callback(box.close)
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count() or 1))
        verdicts = pool.map(lambda pair: judge_answer(pair[0], pair[1], box), zip(records, answers, strict=True))
        for done, (record, answer, verdict) in enumerate(zip(records, answers, verdicts, strict=True), 1):
            yield _item(model, record, answer, verdict, profile)
            on_progress(done, "judging")


def _answers(
    folder: Path, records: Sequence[Record], profile: ProfileName, on_progress: Callable[[int, str], None]
) -> list[str]:
    """Gives the model's answers; one may be somewhat longer than the longest reference of its skill and level."""
    from trainer.generate import generate_answers, token_counts

    references = [last_assistant(formats.convert(record, "chat", profile=profile)) for record in records]
    longest: dict[str, int] = {}
    for record, count in zip(records, token_counts(folder, references), strict=True):
        cell = tag_of(record["metadata"])
        longest[cell] = max(longest.get(cell, 0), count)
    return generate_answers(
        folder,
        [conversation(record, profile) for record in records],
        profile=profile,
        max_new_tokens=[longest[tag_of(record["metadata"])] * 5 // 4 + SPARE_TOKENS for record in records],
        on_progress=lambda done, _total: on_progress(done, "answering"),
    )


def judge_answer(record: Record, answer: str, box: Sandbox | None) -> Verdict:
    """Judges one assistant text against the record's problem.

    Raises:
        SandboxError: the sandbox failed, which says nothing about the answer.
    """
    bare = undress(answer).strip()
    if "output" not in record:
        verifier = VERIFIERS.get(record["metadata"]["skill"])
        verdict: Verdict = verifier(_with_answer(record, answer), bare)
        return verdict
    commands = formats.plan_in(bare)
    if commands is None:
        return reject("no_plan", "the answer holds no well-formed plan")
    assert box is not None
    verdict = judge_plan(record, box, commands=commands)
    if verdict.code == "sandbox_error":
        raise SandboxError(
            f"a plan could not be run: {verdict.message}", hint="frontier eval --skill leaves skills out"
        )
    return verdict


def _with_answer(record: Record, answer: str) -> Record:
    """The record with the model's answer in place of the reference, for verifiers that read the whole conversation."""
    messages = [*record["messages"][:-1], {"role": "assistant", "content": answer}]
    return {**record, "messages": messages}


def _item(model: Model, record: Record, answer: str, verdict: Verdict, profile: ProfileName) -> Record:
    metadata = record["metadata"]
    prompt = conversation(record, profile)
    reference = last_assistant(formats.convert(record, "chat", profile=profile))
    return {
        "kind": SPEC,
        "run_id": model.run_id,
        "step": model.step,
        "round": model.round,
        "tag": tag_of(metadata),
        "skill": metadata["skill"],
        "level": metadata["level"],
        "item_id": f"{metadata['skill']}/{metadata['level']}/{metadata['seed']}/{metadata['index']}",
        "correct": verdict.ok,
        "code": verdict.code,
        "message": verdict.message,
        "prompt": "\n".join(str(turn["content"]) for turn in prompt)[:MAX_SHOWN_CHARS],
        "answer": answer[:MAX_SHOWN_CHARS],
        "expected": undress(reference)[:MAX_SHOWN_CHARS],
        "metadata": {"skill": metadata["skill"], "level": metadata["level"]},
    }


def tally_items(items: Iterable[Record]) -> dict[str, TagStats]:
    """Gives successes and trials per skill, then their sum under "all"; an empty evaluation is an error."""
    stats: dict[str, TagStats] = {}
    for item in items:
        hit = TagStats(n=1, total=float(item["correct"]), successes=int(item["correct"]), trials=1)
        for name in (str(item["skill"]), "all"):
            stats[name] = stats.get(name, TagStats()) + hit
    if not stats:
        raise FrontierError("no item was evaluated", hint="check --skill and --level")
    whole = stats.pop("all")
    return {**dict(sorted(stats.items())), "all": whole}


def mean_accuracy(stats: dict[str, TagStats]) -> float:
    """Gives the mean over skills of their accuracy, each skill counting the same."""
    rates = [value.rate for name, value in stats.items() if name != "all"]
    return sum(rates) / len(rates)
