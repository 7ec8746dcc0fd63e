"""`frontier eval`: held-out problems, greedy answers, and the verifiers that also judge training data.

Problems come from the evaluation split, which by content training never sees. Answers to skills are recomputed, plans
are run in the sandbox. One line an item, so that runs can be compared pair by pair and failures can be read. Answers
are kept in a journal until the output is whole, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from frontier_core.domains import Domain
from frontier_core.errors import FrontierError, UsageError
from frontier_core.profiles import ProfileName, undress
from frontier_core.records import Message, Record, TagStats, last_assistant, tag_of
from frontier_core.seeds import HELD_OUT_SHARE
from frontier_ops.answering import ANSWER_TOKENS, Model, answer_all
from generators import synth
from generators.synth import Request
from generators.table import GENERATORS
from generators.teachers.journal import Journal

if TYPE_CHECKING:
    from validators.base import Verdict
    from validators.sandbox.contract import Sandbox

SPEC = "eval_item"
JOURNAL_SUFFIX = ".answers"
MAX_SHOWN_CHARS = 2000
SPARE_TOKENS = 8
"""Tokens an answer may have beyond five quarters of the longest reference of its cell."""


def _cells(domains: Sequence[Domain], levels: Sequence[int]) -> list[tuple[Domain, int]]:
    cells = [(domain, level) for domain in domains for level in domain.levels if not levels or level in levels]
    if not cells:
        raise UsageError("nothing to evaluate: no domain has these levels", hint="check --skill and --level")
    return cells


def eval_requests(domains: Sequence[Domain], num: int, *, levels: Sequence[int] = ()) -> list[Request]:
    """Asks for `num` held-out problems of every cell, or as many as the cell surely has."""
    requests = []
    for domain, level in _cells(domains, levels):
        surely = GENERATORS.get(domain.skill).capacity(level) * HELD_OUT_SHARE // 100
        requests.append(Request(domain=domain, level=level, count=max(1, min(num, surely))))
    return requests


def asked(domains: Sequence[Domain], num: int, *, levels: Sequence[int], seed: int, profile: str, sandbox: str) -> str:
    """Gives what stands for all that is asked of a model: the problems and their makers, their form, their judge."""
    wanted = [Request(domain=domain, level=level, count=num) for domain, level in _cells(domains, levels)]
    return sha256(f"{synth.Plan(requests=wanted, seed=seed).digest()} {profile} {sandbox}".encode()).hexdigest()[:16]


def conversation(record: Record, profile: ProfileName) -> list[Message]:
    """Gives the turns a model must continue: everything before the last answer."""
    from generators.formats import convert

    chat = convert(record, "chat", profile=profile)
    messages: list[Message] = chat["messages"]
    return messages[:-1]


def evaluate(
    model: Model,
    requests: Sequence[Request],
    *,
    seed: int,
    profile: ProfileName = "emoji_think",
    sandbox: str = "auto",
    journal: Path | None = None,
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
        journal: where answers are kept as they come, None for nowhere.
        on_note: gets remarks for people.
        on_progress: told how many are answered, then how many are judged.
    Raises:
        SandboxError: plans can't be run at all; an evaluation is not allowed to guess.
    """
    records = list(synth.generate(requests, seed=seed, split="eval"))
    judged = ask_and_judge(
        model, records, profile=profile, sandbox=sandbox, journal=journal, on_note=on_note, on_progress=on_progress
    )
    for record, answer, verdict in judged:
        yield _item(model, record, answer, verdict, profile)


def _limits(model: Model, records: Sequence[Record], profile: ProfileName) -> list[int]:
    """Gives how long each answer may be: somewhat longer than the longest reference of its skill and level."""
    if model.folder is None:
        return [ANSWER_TOKENS] * len(records)
    from generators.formats import convert
    from trainer.generate import token_counts

    references = [last_assistant(convert(record, "chat", profile=profile)) for record in records]
    longest: dict[str, int] = {}
    for record, count in zip(records, token_counts(model.folder, references), strict=True):
        cell = tag_of(record["metadata"])
        longest[cell] = max(longest.get(cell, 0), count)
    return [longest[tag_of(record["metadata"])] * 5 // 4 + SPARE_TOKENS for record in records]


def ask_and_judge(
    model: Model,
    records: Sequence[Record],
    *,
    profile: ProfileName,
    sandbox: str = "auto",
    journal: Path | None = None,
    on_note: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[int, str], None] = lambda _count, _detail: None,
) -> Iterator[tuple[Record, str, Verdict]]:
    """Yields each record with the model's answer to its problem and the verdict on it, in order.

    Args:
        model: from `identify`.
        records: plans, or chats of skills with a verifier.
        profile: how assistant turns look to this model.
        sandbox: backend for plans; opened only when a plan must be run.
        journal: where answers are kept as they come, None for nowhere.
        on_note: gets remarks for people.
        on_progress: told how many are answered, then how many are judged.
    Raises:
        SandboxError: plans can't be run at all; nobody is allowed to guess.
    """
    from concurrent.futures import ThreadPoolExecutor

    from validators.answers import judge_answer, needs_sandbox
    from validators.sandbox.backend import open_sandbox

    with ExitStack() as stack:
        box: Sandbox | None = None
        if any(map(needs_sandbox, records)):
            box = open_sandbox(sandbox, on_note=on_note)
            on_note(f"sandbox: {box.name}")
            stack.callback(box.close)
        kept = stack.enter_context(Journal(journal))
        if kept.num_loaded:
            on_note(f"{journal}: {kept.num_loaded} answers from before")
        answers = answer_all(
            model,
            [conversation(record, profile) for record in records],
            _limits(model, records, profile),
            profile=profile,
            journal=kept,
            on_progress=lambda done: on_progress(done, "answering"),
        )
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count() or 1))
        verdicts = pool.map(lambda pair: judge_answer(pair[0], pair[1], box), zip(records, answers, strict=True))
        for done, (record, answer, verdict) in enumerate(zip(records, answers, verdicts, strict=True), 1):
            yield record, answer, verdict
            on_progress(done, "judging")


def _item(model: Model, record: Record, answer: str, verdict: Verdict, profile: ProfileName) -> Record:
    from generators.formats import convert

    metadata = record["metadata"]
    prompt = conversation(record, profile)
    reference = last_assistant(convert(record, "chat", profile=profile))
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


def tally_cells(items: Iterable[Record]) -> dict[str, TagStats]:
    """Gives successes and trials per skill and level, by tag, sorted."""
    stats: dict[str, TagStats] = {}
    for item in items:
        hit = TagStats(n=1, total=float(item["correct"]), successes=int(item["correct"]), trials=1)
        stats[str(item["tag"])] = stats.get(str(item["tag"]), TagStats()) + hit
    return dict(sorted(stats.items()))


def rates(stats: dict[str, TagStats]) -> Record:
    """Gives successes, trials and rate by name, for --json."""
    return {
        name: {"successes": value.successes, "trials": value.trials, "rate": value.rate}
        for name, value in stats.items()
    }


def journal_path(named: str, output: str) -> Path | None:
    """Gives where answers are kept: the file named, else one beside a file output, else nowhere."""
    if named:
        return Path(named)
    path = Path(output)
    if output == "-" or (path.exists() and not path.is_file()):
        return None
    return path.with_name(path.name + JOURNAL_SUFFIX)


def mean_accuracy(stats: dict[str, TagStats]) -> float:
    """Gives the mean over skills of their accuracy, each skill counting the same."""
    rates = [value.rate for name, value in stats.items() if name != "all"]
    return sum(rates) / len(rates)
