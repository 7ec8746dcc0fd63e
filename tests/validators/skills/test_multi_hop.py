"""Multi-hop answers: each family solved by hand here, wrong answers and steps refused, open puzzles told apart."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from generators.procedural.multi_hop import GENERATOR
from validators.base import Verdict
from validators.skills.dialogue import PromptError
from validators.skills.multi_hop import BRIEF, STEPWISE, solve, verify


def asked(facts, question, form=BRIEF):
    return f"{facts}\n{question}\n{form}"


def record_of(prompt):
    return {"messages": [{"role": "user", "content": prompt}]}


CASES = [
    ("Ana is 4 years older than Bo. Bo is 3 times as old as Cy. Cy is 7 years old.", "How old is Ana?", "25", 2),
    ("Ana is 4 years younger than Bo. Bo is 30 years old.", "How old are Ana and Bo together?", "56", 2),
    ("Ana is 4 years younger than Bo. Bo is 30 years old.", "Who is older, Ana or Bo?", "Bo", 2),
    ("Ana has 3 shells. Bo has 2 times as many shells as Ana.", "How many shells does Bo have?", "6", 1),
    ("Ana has 3 shells. Bo has 2 fewer shells than Ana.", "How many shells do Bo and Ana have together?", "4", 2),
    ("Ana has 3 shells. Bo has 2 more shells than Ana.", "Who has more shells, Ana or Bo?", "Bo", 2),
    ("The lamp costs 9 coins. The fan costs 4 coins less than the lamp.", "How many coins does the fan cost?", "5", 1),
    (
        "The lamp costs 9 coins. The fan costs 2 times as much as the lamp.",
        "How many coins do the lamp and the fan cost together?",
        "27",
        2,
    ),
    ("It is 5 degrees in Ulm. It is 9 degrees colder in Bern than in Ulm.", "How many degrees is it in Bern?", "-4", 1),
    ("The fair is on a Friday. The race is 10 days after the fair.", "On which weekday is the race?", "Monday", 1),
    ("The fair is on a Friday. The race is 5 days before the fair.", "On which weekday is the race?", "Sunday", 1),
    (
        "Each of the crates holds 4 boxes. Each of the boxes holds 6 pins. Each of the boxes weighs 3 kg.",
        "How many pins are in 5 crates?",
        "120",
        2,
    ),
    ("One dal is worth 6 kess. One kess is worth 2 mit.", "How many dal are 36 mit worth?", "3", 2),
    (
        "Ana leaves Ulm at 08:50. The ride from Ulm to Bern takes 25 minutes. Ana waits 5 minutes in Bern.\n"
        "The ride from Bern to Rom takes 60 minutes. The ride from Bonn to Rom takes 9 minutes.",
        "At what time does Ana arrive in Rom?",
        "10:20",
        3,
    ),
    (
        "The press meeting starts at 09:45. The press meeting lasts 30 minutes.\n"
        "The sales meeting starts 15 minutes after the press meeting ends.",
        "At what time does the sales meeting start?",
        "10:30",
        2,
    ),
    (
        "The press meeting starts at 09:45. The press meeting lasts 30 minutes.",
        "At what time does the press meeting end?",
        "10:15",
        1,
    ),
    ("The key is in the tin. The tin is in the case. The case is in the hall.", "In which room is the key?", "hall", 3),
    ("The best friend of Ana is Bo. The aunt of Bo is Cy.", "Who is the aunt of the best friend of Ana?", "Cy", 2),
    (
        "Ana reports to Bo. Bo reports to Cy. Cy works in Ulm. Bo works in Bern.",
        "In which town does the manager 2 levels above Ana work?",
        "Ulm",
        3,
    ),
    (
        "| team | depot |\n| Red | Nord |\n| Blue | Sud |\n| worker | team |\n| Ana | Blue |\n| Bo | Red |",
        "Which depot goes with the worker Ana?",
        "Sud",
        2,
    ),
    (
        "Ana is taller than Bo. Bo is taller than Cy. Cy is older than Ana. Dan is taller than Ana.",
        "Who is the second tallest?",
        "Ana",
        3,
    ),
    (
        "The inn is 3 km north of the mill. The well is 5 km east of the inn. The barn is 1 km south of the well.",
        "How many km is the barn from the mill, north-south and east-west added up?",
        "7",
        3,
    ),
    (
        "Gift 2: Bo gives Ana half of the shells Bo has. At first Ana has 10 shells. Gift 1: Ana gives Bo 4 shells.\n"
        "At first Bo has 6 shells. At first Ana has 3 pins.",
        "How many shells does Ana have in the end?",
        "11",
        2,
    ),
    (
        "Each of the pears costs 5 cents. Each of the figs costs 7 cents. Ana buys 2 pears. Ana buys 3 figs.\n"
        "Bo buys 9 figs. Ana pays with 40 cents.",
        "How many cents does Ana get back?",
        "9",
        4,
    ),
    ("Each of the pears costs 5 cents. Ana buys 2 pears.", "How many cents does Ana pay in all?", "10", 1),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "question", "answer", "num_steps"), CASES)
def test_each_kind_of_problem_is_solved(facts, question, answer, num_steps):
    assert solve(asked(facts, question)) == (answer, num_steps)
    assert verify(record_of(asked(facts, question)), f"ANSWER: {answer}").ok


@pytest.mark.parametrize("gift", ["1 shell", "1 shells"])
def test_one_thing_may_be_written_either_way(gift):
    facts = f"At first Ana has 10 shells. At first Bo has 6 shells. Gift 1: Ana gives Bo {gift}."
    assert solve(asked(facts, "How many shells does Ana have in the end?")) == ("9", 1)


@pytest.mark.parametrize(("facts", "question", "answer", "num_steps"), CASES)
def test_the_order_of_sentences_does_not_count(facts, question, answer, num_steps):
    if not facts.startswith("|"):
        sentences = facts.replace("\n", " ").replace(". ", ".\n").split("\n")
        assert solve(asked("\n".join(reversed(sentences)), question)) == (answer, num_steps)


@pytest.mark.parametrize(
    ("facts", "question", "code"),
    [
        ("Ana is 4 years older than Bo.", "How old is Ana?", "no_answer"),
        ("Ana is 4 years older than Bo. Bo is 4 years younger than Ana.", "How old is Ana?", "no_answer"),
        ("Ana is 4 years old. Ana is 5 years old.", "How old is Ana?", "ambiguous_prompt"),
        ("Ana is 4 years old. Bo is 4 years old.", "Who is older, Ana or Bo?", "ambiguous_prompt"),
        ("Ana is taller than Bo. Ana is taller than Cy.", "Who is the second tallest?", "ambiguous_prompt"),
        ("Ana is taller than Bo. Bo is taller than Ana.", "Who is the tallest?", "ambiguous_prompt"),
        ("Ana is taller than Bo.", "Who is the third tallest?", "no_answer"),
        ("The key is in the tin. The tin is in the key.", "In which room is the key?", "no_answer"),
        ("The aunt of Ana is Bo. The aunt of Ana is Cy.", "Who is the aunt of Ana?", "ambiguous_prompt"),
        ("One dal is worth 6 kess.", "How many dal are 7 kess worth?", "no_answer"),
        ("One dal is worth 6 kess.", "How many mit are 7 kess worth?", "no_answer"),
        ("One dal is worth 0 kess.", "How many dal are 7 kess worth?", "ambiguous_prompt"),
        ("Ana leaves Ulm at 08:50.", "At what time does Ana arrive in Rom?", "no_answer"),
        ("The ride from Ulm to Rom takes 5 minutes.", "At what time does Ana arrive in Rom?", "no_answer"),
        (
            "At first Ana has 3 pins. Gift 1: Ana gives Bo 1 pins.",
            "How many pins does Ana have in the end?",
            "no_answer",
        ),
        (
            "At first Ana has 3 pins. At first Bo has 3 pins. Gift 1: Ana gives Bo 4 pins.",
            "How many pins does Ana have in the end?",
            "no_answer",
        ),
        ("Bo buys 2 pears.", "How many cents does Ana pay in all?", "no_answer"),
        ("| team | depot |\n| Red | Nord |", "Which worker goes with the team Red?", "no_answer"),
        ("Ana is fond of Bo.", "How old is Ana?", "unparsable_prompt"),
        ("Ana is 4 years old.", "Why is Ana old?", "unparsable_prompt"),
    ],
)
def test_problems_without_one_answer_are_the_prompts_fault(facts, question, code):
    with pytest.raises(PromptError) as error:
        solve(asked(facts, question))
    assert error.value.code == code
    assert verify(record_of(asked(facts, question)), "ANSWER: 4").code == code


def test_a_prompt_that_does_not_say_how_to_answer_is_refused():
    facts, question, answer, _ = CASES[0]
    assert verify(record_of(f"{facts}\n{question}"), f"ANSWER: {answer}").code == "unparsable_prompt"
    assert verify(record_of("How old is Ana?"), "ANSWER: 4").code == "unparsable_prompt"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("ANSWER: 25", "ok"), (" ANSWER: 25. ", "ok"), ("25", "not_an_answer"), ("ANSWER: 26", "wrong_answer"),
        ("ANSWER: 25 years", "wrong_answer"), ("ANSWER: 025", "wrong_answer"), ("answer: 25", "not_an_answer"),
        ("Bo: 7 * 3 = 21\nANSWER: 25", "not_an_answer"), ("ANSWER: 25\n25", "not_an_answer"), ("", "not_an_answer"),
    ],
)  # fmt: skip
def test_a_brief_answer_is_one_strict_line(answer, code):
    assert verify(record_of(asked(*CASES[0][:2])), answer).code == code


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ("Bo: 7 * 3 = 21\nAna: 21 + 4 = 25\n", "ok"),
        ("Cy is 7, so Bo is 21 and Ana 25.\n", "ok"),
        ("Let x = 7.\n", "ok"),
        ("", "no_steps"),
        ("\n \n", "no_steps"),
        ("Bo: 7 * 3 = 21\nANSWER: 24\n", "not_an_answer"),
        ("Bo: 7 * 3 = 21\nPerhaps answer: 24\n", "not_an_answer"),
        ("ANSWER: 25\n", "not_an_answer"),
        ("Bo: 7 * 3 = 22\n", "wrong_step"),
        ("Bo: 7 * 3 = 21 + 4 = 25\n", "wrong_step"),
        ("So (7 + 1) * 3 = 23, no.\n", "wrong_step"),
        ("Bo: 7 * 3 = 22 (years) - and so on\n", "wrong_step"),
        ("Bo: 7 * 3 = 21 (years) - and so on\n", "ok"),
    ],
)
def test_steps_are_free_but_their_equations_must_be_true(steps, code):
    assert verify(record_of(asked(*CASES[0][:2], STEPWISE)), f"{steps}ANSWER: 25").code == code


def test_a_line_too_long_for_a_sum_is_taken_for_prose():
    line = "1" * 200_000
    assert verify(record_of(asked(*CASES[0][:2], STEPWISE)), f"{line}\n{line} = {line}\nANSWER: 25").ok


def mutants_of(rng, record, answer):
    """Wrong answers near the right one, and right answers with a false sum before them."""
    *steps, last = answer.split("\n")
    content = last.removeprefix("ANSWER: ")
    words = [word.strip(".,?") for word in record["messages"][0]["content"].split() if word.strip(".,?") != content]
    lead = "".join(f"{step}\n" for step in steps)
    yield f"{lead}ANSWER: {rng.choice(words)}"
    yield f"{lead}ANSWER: {rng.choice(words)}"
    yield f"{lead}ANSWER: {content} {rng.choice(words)}"
    yield f"{lead}ANSWER: {content.swapcase() if content.isalpha() else content + '0'}"
    yield f"{lead}{content}"
    if content.lstrip("-").isdigit():
        yield f"{lead}ANSWER: {int(content) + rng.choice((-1, 1, 10))}"
    for place, step in enumerate(steps):
        if " = " in step:
            left, right = step.rsplit(" = ", 1)
            wrong = [*steps[:place], f"{left} = {int(right) + rng.choice((-1, 1, 10))}", *steps[place + 1 :]]
            yield "\n".join([*wrong, last])


def test_no_mutant_of_a_thousand_is_accepted():
    rng, num_mutants = Random(3), 0
    for index in range(50):
        for level in GENERATOR.levels:
            record = GENERATOR.sample(77, index, level)
            answer = undress(last_assistant(record)).strip()
            for mutant in mutants_of(rng, record, answer):
                assert not verify(record, mutant).ok, (mutant, answer)
                num_mutants += 1
    assert num_mutants >= 1000


_sentences = st.sampled_from([sentence for facts, *_ in CASES for sentence in facts.replace(". ", ".\n").split("\n")])


@given(st.lists(_sentences, max_size=8), st.sampled_from([question for _, question, *_ in CASES]), st.text(max_size=20))
def test_no_record_makes_the_verifier_raise(sentences, question, answer):
    verdict = verify(record_of(asked("\n".join(sentences), question)), answer)
    assert isinstance(verdict, Verdict)


@given(st.text(max_size=60), st.text(max_size=20))
def test_other_prompts_are_not_guessed_at(prompt, answer):
    assert verify(record_of(prompt), answer).code == "unparsable_prompt"
