"""DEEP rules of the content gate that look at one record: leaked answers, contradicted system prompt, skill verifiers.

Records that hold a plan are re-run by `synth verify`, not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from frontier_core.profiles import undress
from frontier_core.records import Record, metadata_of
from validators.base import Check, Finding, Place
from validators.texts import answer_of, turns_of

MIN_LEAK_CHARS = 16
"""Shorter answers occur in prompts by right (a number, a letter)."""
_WANTS_THINK = r"(?i)\b(use|write|wrap|put|start with|emit)\b[^.\n]{0,40}</?think>"


class Answers(Check):
    """Answers that stand in the prompt, prompts that contradict the system prompt, answers that are wrong."""

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives what is wrong with the answer of one record."""
        answer = answer_of(record)
        turns = turns_of(record)
        prompts = [m["content"] for m in turns if m.get("role") == "user" and isinstance(m["content"], str)]
        for prompt in prompts:
            if self.settings.profile != "plain" and re.search(_WANTS_THINK, prompt):
                message = "the user turn asks for <think> blocks, which the enforced system prompt forbids"
                yield Finding(code="contradicts_system", message=message, pointer="/messages")
        if answer is None:
            return
        bare = undress(answer[1]).strip()
        if len(bare) >= MIN_LEAK_CHARS and any(bare in prompt for prompt in prompts):
            yield Finding(
                code="answer_leak", message="the answer stands in the prompt word for word", pointer=answer[0]
            )
        yield from _verified(record, at.spec, bare)


def _verified(record: Record, spec: str, answer: str) -> Iterator[Finding]:
    from validators.skills.table import VERIFIERS

    skill = metadata_of(record).get("skill")
    if spec in ("chat_sft_v1", "syllo_v1", "graph_v1", "trace_v1") and skill in VERIFIERS.names():
        yield from VERIFIERS.get(str(skill))(record, answer).findings
