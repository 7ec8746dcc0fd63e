"""Judges multi-hop word problems: reads the facts out of the prompt, follows them, and compares the last line.

Sentences of no known form make the prompt unreadable: an answer is never judged by half of the facts. Where the prompt
asks for steps, at least one stands before the answer line; its words are free, but an equation in it must be true and
no second answer may stand there. LIMIT: whether a step is needed, or is about the right thing, is not judged.
"""

from __future__ import annotations

import re
from itertools import pairwise

from frontier_core.records import Record
from validators.base import ACCEPTED, Verdict, reject
from validators.skills.dialogue import (
    PromptError,
    judge_text,
    only_question,
    read_dialogue,
    refuse_prompt,
    shown,
    tidy,
)
from validators.skills.expression import MAX_CHARS, evaluate
from validators.skills.multi_hop_facts import read_facts
from validators.skills.multi_hop_questions import Solution, answer_question

ANSWER_MARK = "ANSWER: "
BRIEF = "Reply with one line: ANSWER: <answer>"
STEPWISE = "Write one step a line, then end with the line ANSWER: <answer>"
_SECOND_ANSWER = re.compile(r"\banswer\s{0,9}:", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=\.)\s+")
_SUM_AT_END = re.compile(r"[0-9+*^() -]+\Z")
_SUM_AT_START = re.compile(r"[0-9+*^() -]+")
_NUMBER_AT_START = re.compile(r" ?-?[0-9]{1,30}(?![0-9])")


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer`, whose last line is `ANSWER: ...`, to the record's problem.

    Codes: wrong_answer, wrong_step, no_steps, not_an_answer, no_answer, ambiguous_prompt, unparsable_prompt.
    """
    try:
        dialogue = read_dialogue(record)
        question = only_question(dialogue)
        expected = solve(question).answer
    except PromptError as error:
        return refuse_prompt(error)
    pointer = dialogue.answer_pointer
    *steps, last = answer.strip().split("\n")
    if not last.startswith(ANSWER_MARK) or (steps and question.endswith(BRIEF)):
        message = (
            f"expected {'a last' if question.endswith(STEPWISE) else 'one'} line {ANSWER_MARK}..., got {shown(last)}"
        )
        return reject("not_an_answer", message, pointer=pointer)
    second = next((line for line in steps if _SECOND_ANSWER.search(line)), None)
    if second is not None:
        return reject("not_an_answer", f"more than one answer: {shown(second)} and {shown(last)}", pointer=pointer)
    verdict = judge_text(expected, tidy(last.removeprefix(ANSWER_MARK)), pointer)
    if verdict.ok and question.endswith(STEPWISE) and not any(map(str.strip, steps)):
        return reject("no_steps", "expected a step a line before the answer", pointer=pointer)
    return _judge_steps(steps, pointer) if verdict.ok else verdict


def solve(prompt: str) -> Solution:
    """Gives the answer to a whole prompt and how many steps it takes.

    Raises:
        PromptError: a sentence or the question has no known form, a fact is missing (`no_answer`), or facts contradict
            each other (`ambiguous_prompt`).
    """
    *body, question, form = prompt.strip().split("\n") if prompt.count("\n") > 1 else ["", "", ""]
    if form not in (BRIEF, STEPWISE):
        raise PromptError("the prompt does not say how to answer")
    rows = [line for line in body if line.startswith("|")]
    text = "\n".join(line for line in body if not line.startswith("|"))
    return answer_question(read_facts([part for part in _SENTENCE_END.split(text) if part], rows), question)


def _judge_steps(steps: list[str], pointer: str) -> Verdict:
    """Refuses a step that holds an equation which is not true; words around it are no part of it."""
    for line in steps:
        sides = line.split("=")
        for before, after in pairwise(sides):
            left, right = _SUM_AT_END.search(before[-MAX_CHARS:]), _SUM_AT_START.match(after[:MAX_CHARS])
            values = [_evaluated(side[0]) for side in (left, right) if side]
            if right and values[-1] is None and (number := _NUMBER_AT_START.match(after)):
                values[-1] = int(number[0])
            if len(values) == 2 and None not in values and values[0] != values[1]:
                return reject("wrong_step", f"the step {shown(line)} is not true", pointer=pointer)
    return ACCEPTED


def _evaluated(text: str) -> int | None:
    try:
        return evaluate(text)
    except PromptError:
        return None  # nothing to compute, as on the left of "x = 4"
