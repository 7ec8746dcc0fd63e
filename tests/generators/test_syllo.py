from collections import Counter
from random import Random

import orjson
import pytest

from frontier_core.profiles import undress
from generators.procedural.syllo import GENERATOR, choose_words
from validators.skills.lexicon import load_lexicon


@pytest.mark.parametrize(("level", "num_words"), [(1, 4), (2, 5), (3, 6), (4, 7), (5, 8)])
def test_a_level_has_its_number_of_words(level, num_words):
    answer = orjson.loads(undress(GENERATOR.sample(1, 0, level)["messages"][1]["content"]))
    assert [solution["ans_num"] for solution in answer["solutions"]] == list(range(1, num_words + 1))
    assert answer["inventory_check"]["unused_tiles"] == []
    assert answer["inventory_check"]["status"] == "ok"
    assert answer["inventory_check"]["usage"] == answer["inventory_check"]["used"]


def test_the_prompt_shows_clues_slots_rule_bank_and_contract():
    record = GENERATOR.sample(1, 0, 1)
    lines = record["messages"][0]["content"].split("\n")
    assert lines[0] == "Fill in the words from the tiles."
    assert [line.split(".")[0] for line in lines[1:5]] == ["1", "2", "3", "4"]
    assert all(line.endswith(" ___ ___") for line in lines[1:5])
    assert lines[5] == "Use every tile exactly once."
    assert lines[6].startswith("Tiles: ")
    assert lines[6].count(" | ") == 7
    assert lines[7].startswith('Reply with JSON: {"solutions":[')


@pytest.mark.parametrize("level", [1, 3, 5])
def test_no_other_word_of_the_lexicon_can_be_spelled(level):
    for seed in range(60):
        words = choose_words(Random(seed), level)
        bank = Counter(tile for entry in words for tile in entry.syllables)
        spelled = [entry for entry in load_lexicon() if Counter(entry.syllables) <= bank]
        assert sorted(spelled) == sorted(words)


def test_the_same_words_in_another_order_are_the_same_problem():
    record = GENERATOR.sample(1, 0, 1)
    lines = record["messages"][0]["content"].split("\n")
    clues = [line.split(". ", 1)[1] for line in lines[1:5]]
    turned = [f"{n}. {clue}" for n, clue in enumerate(reversed(clues), start=1)]
    other = {"messages": [{"role": "user", "content": "\n".join([lines[0], *turned, *lines[5:]])}]}
    assert GENERATOR.problem(other) == GENERATOR.problem(record)


def test_the_answer_is_compact_json_with_upper_case_words():
    text = undress(GENERATOR.sample(2, 0, 1)["messages"][1]["content"])
    document = orjson.loads(text)
    assert orjson.dumps(document).decode() == text
    assert all(s["answer"] == "".join(s["syllables"]).upper() for s in document["solutions"])
