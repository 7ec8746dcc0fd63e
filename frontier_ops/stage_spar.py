"""`frontier synth spar`: a model answers problems, its mistakes come out as records to learn from.

Problems are those of the training split; the verifiers of `synth verify` judge, plans run in the sandbox. Each wrong
answer makes three sparring records or one preference pair. They hold the checkpoint's name and the time: what a model
gets wrong is true of that checkpoint only, so train on it soon.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from frontier_core.lineage import mark
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from frontier_ops.answering import Model
from frontier_ops.evaluation import ask_and_judge, journal_path
from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, silent
from generators import pairs, synth
from generators.pairs import Answered, Failures, PairForm
from generators.synth import Request
from validators.base import Verdict

GENERATOR_ID, GENERATOR_VERSION = "sparring", "1.0.0"
PRIORITY = "high"
"""Sparring records go before others in any queue: they are stale when the next checkpoint is there."""

_REPLAY = ("generator_id", "generator_version", "seed", "index")
"""What a record is made again from; of a sparring record that is its problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bout:
    """Who spars over what: three records a mistake, or one preference pair."""

    model: Model
    requests: Sequence[Request]
    seed: int = 0
    form: PairForm = "sparring"
    profile: ProfileName = "emoji_think"
    sandbox: str = "auto"


def spar(
    bout: Bout,
    target: Target,
    *,
    on_note: Note = silent,
    on_progress: Callable[[int, str], None] = lambda _count, _detail: None,
) -> StageResult:
    """Writes what the model's mistakes teach.

    Returns:
        The counts: `num_in` problems; `report` holds num_mistakes and, by code, what was wrong.
    Raises:
        SandboxError: plans can't be run at all. ServiceError: an endpoint fails; answers so far are kept.
    """
    journal = journal_path("", target.output)
    problems = list(synth.generate(bout.requests, seed=bout.seed, split="train"))
    codes: Counter[str] = Counter()
    now = session_time()
    about: dict[str, Any] = {
        "seed": bout.seed,
        "producer": f"{GENERATOR_ID}@{GENERATOR_VERSION}",
        "params": {"model": bout.model.place, "run_id": bout.model.run_id, "step": bout.model.step, "form": bout.form},
    }
    sources = [] if bout.model.folder is None else [str(bout.model.folder)]
    with StageWriter(target, "synth spar", sources, **about) as writer:
        judged = ask_and_judge(
            bout.model,
            problems,
            profile=bout.profile,
            sandbox=bout.sandbox,
            journal=journal,
            on_note=on_note,
            on_progress=on_progress,
        )
        for record in _lessons(bout, judged, problems[-1:], codes):
            record["metadata"] = _about(record["metadata"], bout.model, now)
            writer.accept(mark(record, f"spar:{GENERATOR_ID}@{GENERATOR_VERSION}"))
        writer.result.num_in = len(problems)
        writer.result.report = {"num_mistakes": codes.total(), "mistakes": dict(codes.most_common())}
        writer.about["params"]["mistakes"] = writer.result.report["mistakes"]
    if journal is not None:
        with suppress(OSError):
            journal.unlink(missing_ok=True)
    return writer.result


def session_checkpoint(model: Model) -> str:
    """Gives the name a session's records carry: run and step, `run0/checkpoint-400`, or the model's own name."""
    return f"{model.run_id}/checkpoint-{model.step}" if model.step else model.run_id


def session_time() -> str:
    """Gives the time of a session in UTC; SOURCE_DATE_EPOCH, where set, makes the bytes repeatable."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return when.isoformat(timespec="seconds")


def _about(metadata: Record, model: Model, now: str) -> Record:
    """The metadata of a record: whose mistake it is and when; what made the problem goes to `problem`."""
    kept = {key: value for key, value in metadata.items() if key not in (*_REPLAY, "lineage")}
    return {
        **kept,
        "source": "sparring",
        "task_type": "sparring",
        "generator_id": GENERATOR_ID,
        "generator_version": GENERATOR_VERSION,
        "problem": {key: metadata[key] for key in _REPLAY if key in metadata},
        "session_checkpoint": session_checkpoint(model),
        "session_timestamp": now,
        "priority": PRIORITY,
    }


def _lessons(
    bout: Bout, judged: Iterator[tuple[Record, str, Verdict]], first: Sequence[Record], codes: Counter[str]
) -> Iterator[Record]:
    """The records of each mistake, in the order of the problems; counts what was wrong.

    `first` gives the first mistake its fresh right pair; each other one has the problem before it.
    """
    make = pairs.sparring if bout.form == "sparring" else pairs.preferences
    failures = Failures()

    def problems() -> Iterator[Answered]:
        yield from map(pairs.answered, first)
        for record, answer, verdict in judged:
            right = pairs.answered(record)
            if not verdict.ok:
                codes[verdict.code] += 1
                failures.add_answer(right, answer, code=verdict.code)
            yield right

    yield from make(problems(), failures, profile=bout.profile)
