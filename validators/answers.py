"""Judges what a model answered to a record's problem: an evaluation, a reward, a mistake to learn from.

Answers to skills are recomputed, plans are run in the sandbox. The record brings the problem; its own answer is not
looked at. Does not cover how the model was asked.
"""

from __future__ import annotations

from frontier_core.errors import SandboxError
from frontier_core.profiles import undress
from frontier_core.records import Record
from validators.base import Verdict, reject
from validators.execution_gate import judge_plan
from validators.plans import plan_in
from validators.sandbox.contract import Sandbox
from validators.skills.table import VERIFIERS


def needs_sandbox(record: Record) -> bool:
    """Says whether an answer to the record is a plan that must be run."""
    return "output" in record


def judge_answer(record: Record, answer: str, box: Sandbox | None) -> Verdict:
    """Judges one assistant text, its profile still on, against the record's problem.

    Args:
        record: a plan_v1 record, or a chat record of a skill that has a verifier.
        answer: what the model wrote.
        box: where plans run; None when no record needs one.
    Raises:
        SandboxError: the sandbox failed, which says nothing about the answer.
        ConfigError: no verifier judges the record's skill.
    """
    bare = undress(answer).strip()
    if not needs_sandbox(record):
        verifier = VERIFIERS.get(record["metadata"]["skill"])
        verdict: Verdict = verifier(_with_answer(record, answer), bare)
        return verdict
    commands = plan_in(bare)
    if commands is None:
        return reject("no_plan", "the answer holds no well-formed plan")
    assert box is not None
    verdict = judge_plan(record, box, commands=commands)
    if verdict.code == "sandbox_error":
        raise SandboxError(f"a plan could not be run: {verdict.message}", hint="leave the shell skills out")
    return verdict


def _with_answer(record: Record, answer: str) -> Record:
    """The record with the model's answer in place of the reference, for verifiers that read the whole conversation."""
    messages = [*record["messages"][:-1], {"role": "assistant", "content": answer}]
    return {**record, "messages": messages}
