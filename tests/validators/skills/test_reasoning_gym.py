import pytest

from validators.skills.dialogue import PromptError
from validators.skills.reasoning_gym import SOLVERS, solve, verify
from validators.skills.table import GYM_TASKS

ISLANDS = "You are given the following 3 x 3 binary matrix grid:\n1 1 0\n0 0 1\n0 1 1\n\nAn island is a group of 1's"
COURSES = (
    "There are a total of {} courses you have to take, labeled from 0.\n\nYou are given the following list of "
    "prerequisites, where prerequisites[i] = (a_i, b_i) indicates that you must first take course b_i if you want to "
    "take course a_i:\n{}\n\nReturn True if you can finish all courses."
)


@pytest.mark.parametrize(
    ("task", "question", "answer"),
    [
        ("chain_sum", "State the final answer to the following arithmetic problem: 205 - 838 + 505 =", "-128"),
        ("products", "Solve the following multiplication: 205 * 838. Give only the result.", "171790"),
        ("basic_arithmetic", "Calculate (3 + -2) * 8 - 5.", "3"),
        ("base_conversion", "Now, convert the base-6 number 1041 to base-3", "22221"),
        ("base_conversion", "Now, convert the binary number 11111111 to hexadecimal", "ff"),
        ("gcd", "Find the Greatest Common Divisor (GCD) of these numbers: 69, 21. Give only the GCD.", "3"),
        ("lcm", "Find the Least Common Multiple (LCM) of these numbers: 62, 20", "620"),
        ("count_bits", "How many 1 bits are there in the binary representation of the number 13?", "3"),
        ("count_primes", "Count how many prime numbers there are between 2 and 11 (inclusive) ?", "5"),
        ("prime_factorization", "Find the prime factorization of 84. Write the factors", "2 × 2 × 3 × 7"),
        ("prime_factorization", "Find the prime factorization of 97. Write the factors", "97"),
        ("fraction_simplification", "Simplify the fraction 3388/4354 to its lowest terms.", "242/311"),
        ("letter_counting", 'How many times does the letter "t" appear in the text: "That cat"?', "3"),
        ("spell_backward", "Spell this word backward (example: sun -> nus): Brodiaea", "aeaidorB"),
        ("word_sequence_reversal", "Reverse this list of words: the, by, as, of", "of, as, by, the"),
        ("word_sorting", "sort these words in descending order (using ASCII/Unicode ordering) and: a, Z, b", "b, a, Z"),
        (
            "number_filtering",
            "Remove all numbers larger than -3.5 in this list: ['-4', '-3.50', '9']",
            "['-4', '-3.50']",
        ),
        ("number_filtering", "Keep all numbers larger than 2 in this list: ['2', '2.01', '9']", "['2.01', '9']"),
        ("course_schedule", COURSES.format(3, "[(1, 0), (2, 1)]"), "True"),
        ("course_schedule", COURSES.format(3, "[(1, 0), (2, 1), (0, 2)]"), "False"),
        ("spiral_matrix", "what is the list of elements in spiral order?\n1 2 3\n8 9 4\n7 6 5", "1 2 3 4 5 6 7 8 9"),
        ("rotate_matrix", "Rotate the matrix below by 90 degrees clockwise:\n1 2\n3 4", "3 1\n4 2"),
        ("rotate_matrix", "Rotate the matrix below by 450 degrees clockwise:\n1 2\n3 4", "3 1\n4 2"),
        ("binary_matrix", "in the matrix below:\n0 1 1\n1 1 1\n1 1 1", "0 1 2\n1 2 3\n2 3 4"),
        ("largest_island", ISLANDS, "3"),
        ("largest_island", ISLANDS.replace("1", "0"), "0"),
    ],
)
def test_each_task_is_solved_from_its_question(task, question, answer):
    assert solve(task, question) == answer
    record = {"messages": [{"role": "user", "content": question}], "metadata": {"skill": f"rg_{task}"}}
    assert verify(record, answer).ok
    assert verify(record, f"{answer}0").code == "wrong_answer"
    assert verify(record, answer[:-1]).code == "wrong_answer"


def test_integers_are_held_to_exactness():
    question = "Solve the following multiplication: 10 * 100. Give only the result."
    record = {"messages": [{"role": "user", "content": question}], "metadata": {"skill": "rg_products"}}
    assert verify(record, "1000").ok
    for answer in ("1009", "1000.0", "1e3", "The answer is 1000"):
        assert verify(record, answer).code == "wrong_answer"


def test_every_task_of_the_list_has_a_solver():
    assert set(SOLVERS) == set(GYM_TASKS)


@pytest.mark.parametrize(("task", "question"), [("gcd", "What is love?"), ("syllogism", "All cats are dogs.")])
def test_other_questions_are_not_guessed_at(task, question):
    with pytest.raises(PromptError):
        solve(task, question)
    record = {"messages": [{"role": "user", "content": question}], "metadata": {"skill": f"rg_{task}"}}
    assert verify(record, "1").code == "unparsable_prompt"


def test_a_matrix_without_a_zero_is_the_records_fault():
    with pytest.raises(PromptError, match="holds no 0"):
        solve("binary_matrix", "in the matrix below:\n1 1\n1 1")
