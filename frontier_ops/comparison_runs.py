"""`frontier compare RUN...`: the evaluations behind a comparison, made where they are not there yet.

Every whole checkpoint of a run answers the same held-out problems. Evaluations are kept beside the run, under a name
that is the digest of what was asked and of whom, so that a second comparison evaluates only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from frontier_core.atomic import sha256_file
from frontier_core.domains import Domain
from frontier_core.errors import UsageError
from frontier_core.profiles import ProfileName
from frontier_ops.answering import identify
from frontier_ops.evaluation import eval_requests, evaluate, mean_accuracy, tally_items
from frontier_ops.stage_files import Target, write_lines
from trainer.checkpoints import MANIFEST, damage, folders, resolve_model, step_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """What every checkpoint is asked: `num` problems per skill and level of these domains, by seed."""

    domains: Sequence[Domain]
    num: int
    seed: int
    profile: ProfileName
    sandbox: str = "auto"

    def digest(self) -> str:
        """Gives 12 hex digits that stand for these settings."""
        settings = {"domains": [asdict(domain) for domain in self.domains], "num": self.num, "seed": self.seed}
        return sha256(repr((settings, self.profile)).encode()).hexdigest()[:12]


def evaluations(
    places: Sequence[str], exam: Exam, *, on_note: Callable[[str], None] = lambda _: None
) -> list[str]:  # fmt: skip
    """Gives one evaluation file per checkpoint; files among `places` are taken as they are.

    Args:
        places: evaluation files, runs (all their whole checkpoints), checkpoints, model folders.
        exam: what is asked where an evaluation is missing.
        on_note: told what is evaluated now, and what was skipped.
    Raises:
        UsageError: a place that is not there, or a run without a whole checkpoint.
    """
    found: list[str] = []
    for place in places:
        path = Path(place)
        if not path.is_dir():
            found.append(place)
            continue
        found += [_evaluation(folder, exam, on_note) for folder in _models(path, on_note)]
    return found


def _models(path: Path, on_note: Callable[[str], None]) -> list[Path]:
    checkpoints = folders(path)
    if not checkpoints:
        return [resolve_model(path)]
    whole = []
    for checkpoint in reversed(checkpoints):
        problem = damage(checkpoint)
        if problem:
            on_note(f"{checkpoint} skipped: it {problem}")
        else:
            whole.append(checkpoint)
    if not whole:
        raise UsageError(f"{path}: holds no whole checkpoint", hint="run frontier train again: it resumes")
    return whole


def _evaluation(folder: Path, exam: Exam, on_note: Callable[[str], None]) -> str:
    run = folder.parent if step_of(folder) >= 0 else folder
    mark = folder / MANIFEST if (folder / MANIFEST).is_file() else folder / "config.json"
    identity = sha256(f"{exam.digest()} {sha256_file(mark)}".encode()).hexdigest()[:12]
    output = run.resolve().with_name(f"{run.resolve().name}-evals") / f"{folder.name}-{identity}.jsonl"
    if output.is_file():
        return str(output)
    on_note(f"evaluating {folder}")
    output.parent.mkdir(exist_ok=True)
    model = identify(folder, on_note=on_note)
    requests = eval_requests(exam.domains, exam.num)
    items = list(
        evaluate(model, requests, seed=exam.seed, profile=exam.profile, sandbox=exam.sandbox, on_note=on_note)
    )  # fmt: skip
    mean = mean_accuracy(tally_items(items))
    params = {"run_id": model.run_id, "step": model.step, "round": model.round, "mean_accuracy": mean}
    write_lines(
        items, Target(output=str(output)), stage="eval", sources=[str(folder)], seed=exam.seed, params=params
    )  # fmt: skip
    return str(output)
