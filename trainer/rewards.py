"""Rewards of answers in training: 1 for an answer that its verifier accepts and that keeps its profile, else 0.

The verdicts are those of `synth verify` and `eval`: skills are recomputed, plans run in the sandbox. Nothing here
rewards the look of an answer, so there is nothing else to learn than being right.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from frontier_core.profiles import ProfileName, violation
from trainer.methods.problems import Problem
from validators.answers import judge_answer, needs_sandbox
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What an answer earned, and why: `ok` or the code of what is wrong with it."""

    value: float
    code: str


class Judge:
    """Gives rewards to many answers at a time; use as a context manager, which opens a sandbox when plans need one.

    Args:
        profile: what an answer must look like.
        sandbox: backend for plans.
        on_note: gets remarks for people.
    """

    def __init__(self, profile: ProfileName, *, sandbox: str = "auto", on_note: Callable[[str], None]) -> None:
        self.profile = profile
        self._sandbox = sandbox
        self._on_note = on_note
        self._box: Sandbox | None = None
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None

    def open(self, problems: Sequence[Problem]) -> Judge:
        """Opens the sandbox when one of the problems needs it. Raises EnvironmentMissing when there is none."""
        if any(needs_sandbox(problem.record) for problem in problems):
            self._box = open_sandbox(self._sandbox, on_note=self._on_note)
            self._on_note(f"rewards: plans run in {self._box.name}")
            self._stack.callback(self._box.close)
            self._pool = self._stack.enter_context(ThreadPoolExecutor(os.cpu_count() or 1))
        return self

    def close(self) -> None:
        """Closes the sandbox."""
        self._stack.close()

    def rewards(self, problems: Sequence[Problem], answers: Sequence[str]) -> list[Reward]:
        """Gives the reward of each answer, in order.

        Raises:
            SandboxError: the sandbox failed, which says nothing about the answer.
        """
        pairs = list(zip(problems, answers, strict=True))
        if self._pool is None:
            return [self._one(pair) for pair in pairs]
        return list(self._pool.map(self._one, pairs))

    def _one(self, pair: tuple[Problem, str]) -> Reward:
        problem, answer = pair
        broken = violation(answer, self.profile)
        if broken is not None:
            return Reward(value=0.0, code=broken[0])
        verdict = judge_answer(problem.record, answer, self._box)
        return Reward(value=float(verdict.ok), code="ok" if verdict.ok else verdict.code)
