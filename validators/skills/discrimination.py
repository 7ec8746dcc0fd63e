"""Judges "is this answer right?": solves the quoted question again and compares the proposal with the solution.

A record has one question turn and its verdict, or two more turns that ask for and give the right answer; then the
last answer is judged in its context, and the verdict before it too. Knows the questions of `binary` and
`sequence_predict`, and those of `math_mc` that stand without their options.
"""

from __future__ import annotations

import re

from frontier_core.profiles import undress
from frontier_core.records import Record
from validators.base import ACCEPTED, Verdict, reject
from validators.skills import binary, math_mc, sequence_predict
from validators.skills.dialogue import (
    Dialogue,
    PromptError,
    judge_text,
    read_dialogue,
    refuse_prompt,
    shown,
    tidy,
)

FOLLOW_UP = "What is the right answer?"
RIGHT, WRONG = "CORRECT", "INCORRECT"
_PROMPT = re.compile(r"Question: (.+)\nProposed answer: (.+)\nIs it right\? Reply CORRECT or INCORRECT\.")


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer`, a verdict word, or the right answer when the record asks for it in a second question.

    Codes: wrong_answer, not_a_verdict, needless_correction (the second question follows a right proposal),
    unparsable_prompt, and the codes of a record whose quoted question can't be solved.
    """
    try:
        dialogue = read_dialogue(record)
        question, proposal = read_claim(dialogue)
        solution = solve(question)
    except PromptError as error:
        return refuse_prompt(error)
    expected = RIGHT if proposal == solution else WRONG
    if len(dialogue.turns) == 1:
        return _judge_word(expected, answer, dialogue.answer_pointer)
    first = dialogue.turns[1]
    verdict = _judge_word(expected, undress(first.content), first.pointer)
    if not verdict.ok:
        return verdict
    if expected == RIGHT:
        message = "the proposed answer is right: there is nothing to correct"
        return reject("needless_correction", message, pointer=dialogue.turns[2].pointer)
    return judge_text(solution, tidy(answer), dialogue.answer_pointer)


def read_claim(dialogue: Dialogue) -> tuple[str, str]:
    """Gives the quoted question and the proposed answer; the turns must be one question, or it, a verdict, a second.

    Raises:
        PromptError: any other number of turns, or other words.
    """
    turns = dialogue.turns
    if len(turns) not in (1, 3):
        raise PromptError(f"expected one or two questions, found {len(turns) // 2 + 1}")
    match = _PROMPT.fullmatch(turns[0].content.strip())
    if match is None:
        raise PromptError(f"not a question about a proposed answer: {shown(turns[0].content)}")
    if len(turns) == 3 and turns[2].content.strip() != FOLLOW_UP:
        raise PromptError(f"expected {FOLLOW_UP!r}, got {shown(turns[2].content)}")
    return match[1], match[2]


def solve(question: str) -> str:
    """Gives the answer to a quoted question of another skill, or raises PromptError when none knows it."""
    if question.startswith("What comes next?"):
        return sequence_predict.solve(question)
    try:
        return binary.solve(question)
    except PromptError:
        return str(math_mc.value_of(question))  # a whole number, or nothing that a proposal is written like


def _judge_word(expected: str, answer: str, pointer: str) -> Verdict:
    got = tidy(answer)
    if got == expected:
        return ACCEPTED
    if got not in (RIGHT, WRONG):
        return reject("not_a_verdict", f"expected CORRECT or INCORRECT, got {shown(answer)}", pointer=pointer)
    return judge_text(expected, got, pointer)
