"""Judges answers to graph questions: writes the prompt again, computes the answer again, compares the last line.

Nothing is taken on trust: a prompt that is not what the record's facts and query read like is the record's fault.
"""

from __future__ import annotations

from frontier_core.records import Record
from validators.base import Verdict, reject
from validators.graphs import ANSWER_MARK, expected_answer, prompt_of, read_problem
from validators.skills.dialogue import PromptError, judge_text, only_question, read_dialogue, refuse_prompt, shown, tidy


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer`, one line `ANSWER: ...`, to the record's question.

    Codes: wrong_answer, not_an_answer, prompt_mismatch, not_unique, no_answer, bad_graph, bad_query,
    unparsable_prompt.
    """
    try:
        dialogue = read_dialogue(record)
        question = only_question(dialogue)
        problem = read_problem(record)
        if question != prompt_of(problem):
            raise PromptError("the prompt is not what the record's facts and query read like", "prompt_mismatch")
        expected = expected_answer(problem)
    except PromptError as error:
        return refuse_prompt(error)
    got = answer.strip()
    if not got.startswith(ANSWER_MARK) or "\n" in got:
        message = f"expected one line {ANSWER_MARK}..., got {shown(answer)}"
        return reject("not_an_answer", message, pointer=dialogue.answer_pointer)
    content = got.removeprefix(ANSWER_MARK).strip()
    # A label may end in a full stop of its own, so one is taken off only where the answer is not right as it stands.
    return judge_text(expected, content if content == expected else tidy(content), dialogue.answer_pointer)
