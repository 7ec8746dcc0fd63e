"""One training run under one policy: what a policy sees is what a trainer reports, and every token is counted.

The policy is called through `curriculum.policy`, as `frontier reweight` calls it. Its evidence of a round: loss and
exact match of each training example at its first pass (nobody has trained on it yet, so this is a held-out figure that
costs nothing), and, for arms that ask for it, answers to held-out problems, whose forward passes are paid for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from json import dumps
from math import cos, pi
from random import Random
from typing import Any

import torch
from model import Batch, ModelConfig, TinyQwen3, pack, score
from suites import SUITES, VOCABULARY, Domain
from torch import Tensor

from curriculum.cells import CellStats
from curriculum.policy import policy_named
from curriculum.settings import PolicySettings
from frontier_core.allocation import PolicyLine
from frontier_core.records import TagStats

TOKEN = {character: index for index, character in enumerate(VOCABULARY)}
EVAL_COST = 1 / 3
"""What a forward pass costs of a training step on the same tokens: 2 of 6 operations per parameter and token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A policy and what it is given.

    `every` steps there is a round; each round every cell is tested on `evals` held-out problems, every cell that had
    no first pass lately on `stale_evals`. `first_pass` says whether training reports exact match at the first pass.
    """

    name: str
    policy: str
    every: int = 25
    evals: int = 0
    stale_evals: int = 12
    first_pass: bool = True
    settings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long a run is, how it learns, and how often it is tested.

    Learning rate and `beta2` of AdamW are those at which uniform ends highest of the few that were tried.
    """

    steps: int = 2500
    tokens_per_step: int = 768
    test_every: int = 100
    test_items: int = 48
    learning_rate: float = 5e-3
    beta2: float = 0.95


def key_of(suite: str, arm: Arm, seed: int, budget: Budget, version: str) -> str:
    """Gives the digest a finished run is filed under: all that decides its outcome, `version` that of the policies."""
    values = {"suite": suite, "arm": {**asdict(arm), "name": ""}, "seed": seed, "budget": asdict(budget)}
    return sha256(dumps([values, version], sort_keys=True).encode()).hexdigest()[:16]


class _Sums:
    """Sums of one cell in one round."""

    def __init__(self) -> None:
        self.n = self.right = self.trials = self.tokens = self.first_right = self.first_trials = 0
        self.total = self.total_sq = 0.0

    def cell(self, reference: float | None) -> CellStats:
        known = TagStats() if reference is None else TagStats(n=1, total=reference, total_sq=reference**2)
        return CellStats(
            accuracy=_rate(self.right, self.trials),
            first_pass=_rate(self.first_right, self.first_trials),
            loss=TagStats(n=self.n, total=self.total, total_sq=self.total_sq, tokens=self.tokens),
            reference=known,
        )

    def row(self, weight: float) -> list[float]:
        """Gives a round's figures for the record: weight, right and tried answers, readings, mean and spread of loss.

        Policies can be studied on these without training anything.
        """
        right, trials = (self.right, self.trials) if self.trials else (self.first_right, self.first_trials)
        loss = TagStats(n=self.n, total=self.total, total_sq=self.total_sq)
        return [round(weight, 5), right, trials, self.n, round(loss.mean, 5), round(loss.standard_error, 5)]


def _rate(right: int, trials: int) -> TagStats:
    return TagStats(n=trials, total=float(right), total_sq=float(right), successes=right, trials=trials)


class _Source:
    """A domain's training examples: fresh ones without end, or a pool that is gone through again and again."""

    def __init__(self, domain: Domain, seed: int) -> None:
        self.domain = domain
        self.random = Random(f"train-{domain.tag}-{seed}")
        self.pool: list[tuple[list[int], list[int]]] = []
        self.drawn = 0

    def draw(self) -> tuple[list[int], list[int], bool]:
        """Gives ids, labels, and whether this is the example's first pass."""
        size = self.domain.pool
        at, self.drawn = self.drawn, self.drawn + 1
        if size and at >= size:
            return *self.pool[at % size], False
        prompt, answer = self.domain.sample(self.random)
        if self.domain.wrong_labels and self.random.random() < self.domain.wrong_labels:
            answer = self.domain.sample(self.random)[1]
        example = encode(prompt, answer)
        if size:
            self.pool.append(example)
        return *example, True


def encode(prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Gives ids without the last token, and next-token labels that are -1 within the prompt."""
    ids = [TOKEN[character] for character in f"{prompt}{answer}\n"]
    return ids[:-1], [-1] * (len(prompt) - 1) + ids[len(prompt) :]


class Run:
    """One run; `train()` gives its record."""

    def __init__(self, suite: str, arm: Arm, seed: int, budget: Budget, references: dict[str, float]) -> None:
        torch.set_num_threads(1)
        self.suite, self.arm, self.seed, self.budget = suite, arm, seed, budget
        self.domains = SUITES[suite]()
        self.tags = [domain.tag for domain in self.domains]
        self.references = references
        self.model = TinyQwen3(ModelConfig(vocabulary=len(VOCABULARY)), seed=seed)
        self.sources = [_Source(domain, seed) for domain in self.domains]
        tests = [self._held_out(domain, f"test-{domain.tag}", budget.test_items) for domain in self.domains]
        self.test = pack([example for examples in tests for example in examples])
        self.prior = {domain.tag: domain.prior for domain in self.domains}
        self.policy = policy_named(arm.policy)
        self.settings = PolicySettings.from_mapping(arm.settings)
        self.lines: Sequence[PolicyLine] = self.policy(self.prior, {}, None, settings=self.settings, round_number=0)
        self.sums = [_Sums() for _ in self.domains]
        self.last_fresh = [0] * len(self.domains)
        self.train_tokens = self.eval_tokens = 0
        self.domain_tokens = [0] * len(self.domains)
        self.policy_s = 0.0
        self.trace: list[list[list[float]]] = []

    @staticmethod
    def _held_out(domain: Domain, seed: str, num: int) -> list[tuple[list[int], list[int]]]:
        random = Random(seed)
        return [encode(*domain.sample(random)) for _ in range(num)]

    def train(self) -> dict[str, Any]:
        """Trains, and gives the curve of test accuracy per domain against tokens paid, and what was spent on what."""
        start = time.process_time()
        budget, random = self.budget, Random(f"mix-{self.seed}")
        betas = (0.9, budget.beta2)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=budget.learning_rate, betas=betas, fused=True)
        curve = []
        for step in range(1, budget.steps + 1):
            rate = budget.learning_rate * min(1.0, step / 20) * 0.5 * (1 + cos(pi * step / budget.steps)) + 1e-5
            for group in optimizer.param_groups:
                group["lr"] = rate
            self._step(optimizer, random, step)
            if step % self.arm.every == 0:
                self._round(step)
            if step % budget.test_every == 0:
                curve.append([step, self.train_tokens, self.eval_tokens, self._test()])
        return {
            "suite": self.suite,
            "arm": self.arm.name,
            "seed": self.seed,
            "tags": self.tags,
            "scored": [domain.is_scored for domain in self.domains],
            "curve": curve,
            "domain_tokens": self.domain_tokens,
            "losses": self._last_losses(),
            "trace": self.trace,
            "policy_s": round(self.policy_s, 4),
            "rounds": max(1, budget.steps // self.arm.every),
            "cpu_s": round(time.process_time() - start, 2),
        }

    def _step(self, optimizer: torch.optim.Optimizer, random: Random, step: int) -> None:
        weights = {line.tag: line.weight for line in self.lines}
        shares = [weights[tag] for tag in self.tags]
        drawn: list[int] = []
        examples: list[tuple[list[int], list[int]]] = []
        fresh: list[bool] = []
        left = self.budget.tokens_per_step
        while left > 0:
            for index in random.choices(range(len(shares)), shares, k=8):
                ids, labels, is_first = self.sources[index].draw()
                drawn.append(index)
                examples.append((ids, labels))
                fresh.append(is_first)
                left -= len(ids)
                self.train_tokens += len(ids)
                self.domain_tokens[index] += len(ids)
                if left <= 0:
                    break
        loss, losses_b, right_b = score(self.model, pack(examples))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for index, is_first, value, right, (_, labels) in zip(
            drawn, fresh, losses_b.tolist(), right_b.tolist(), examples, strict=True
        ):
            if not is_first:
                continue
            sums = self.sums[index]
            self.last_fresh[index] = step
            sums.n += 1
            sums.total += value
            sums.total_sq += value * value
            sums.tokens += sum(label >= 0 for label in labels)
            if self.arm.first_pass:
                sums.first_trials += 1
                sums.first_right += right

    def _round(self, step: int) -> None:
        """Tests what the arm wants tested, then asks the policy."""
        for index, domain in enumerate(self.domains):
            is_stale = step - self.last_fresh[index] >= self.arm.every
            if self.arm.evals or (self.arm.stale_evals and is_stale):
                num = self.arm.evals or self.arm.stale_evals
                items = self._held_out(domain, f"eval-{self.seed}-{step}-{domain.tag}", num)
                self.eval_tokens += sum(len(ids) for ids, _ in items)
                losses_b, right_b = self._answers(pack(items))
                sums = self.sums[index]
                sums.trials += num
                sums.right += int(right_b.sum())
                if is_stale:  # no first pass: the held-out loss stands in
                    sums.n += num
                    sums.total += float(losses_b.sum())
                    sums.total_sq += float((losses_b**2).sum())
                    sums.tokens += sum(label >= 0 for _, labels in items for label in labels)
        stats = {tag: sums.cell(self.references.get(tag)) for tag, sums in zip(self.tags, self.sums, strict=True)}
        weights = {line.tag: line.weight for line in self.lines}
        self.trace.append([sums.row(weights[tag]) for tag, sums in zip(self.tags, self.sums, strict=True)])
        start = time.process_time()
        self.lines = self.policy(
            self.prior, stats, self.lines, settings=self.settings, round_number=step // self.arm.every
        )
        self.policy_s += time.process_time() - start
        self.sums = [_Sums() for _ in self.domains]

    @torch.inference_mode()
    def _answers(self, batch: Batch) -> tuple[Tensor, Tensor]:
        _, losses_b, right_b = score(self.model, batch)
        return losses_b, right_b

    def _test(self) -> list[float]:
        right = self._answers(self.test)[1].float().view(len(self.domains), -1).mean(1)
        return [round(value, 4) for value in right.tolist()]

    def _last_losses(self) -> dict[str, float]:
        losses = self._answers(self.test)[0].view(len(self.domains), -1).mean(1)
        return {tag: round(value, 5) for tag, value in zip(self.tags, losses.tolist(), strict=True)}
