from collections import Counter
from random import Random

import orjson
import pytest

from frontier_core.profiles import undress
from generators.procedural.syllo import GENERATOR, LEVELS, choose_words, is_single
from validators.skills.lexicon import load_lexicon


@pytest.mark.parametrize(("level", "num_words"), [(1, 4), (2, 5), (3, 6), (4, 7), (5, 8)])
def test_a_level_has_its_number_of_words(level, num_words):
    answer = orjson.loads(undress(GENERATOR.sample(1, 0, level)["messages"][1]["content"]))
    assert [solution["ans_num"] for solution in answer["solutions"]] == list(range(1, num_words + 1))
    inventory = answer["inventory_check"]
    assert len(inventory["unused_tiles"]) == {4: 2, 5: 4}.get(level, 0)
    assert inventory["status"] == "ok"
    assert inventory["total_tiles"] == sum(inventory["usage"].values())
    left = Counter(inventory["usage"]) - Counter(inventory["used"])
    assert sorted(left.elements()) == sorted(inventory["unused_tiles"])


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


@pytest.mark.parametrize("level", [1, 3, 4, 5])
def test_no_other_word_of_the_lexicon_can_be_spelled(level):
    for seed in range(30):
        words, herrings = choose_words(Random(seed), level)
        bank = Counter([tile for entry in words for tile in entry.syllables] + herrings)
        tiles = set(bank)
        spelled = [e for e in load_lexicon() if tiles.issuperset(e.syllables) and Counter(e.syllables) <= bank]
        assert sorted(spelled) == sorted(words)


def test_a_bank_with_a_further_word_or_a_second_way_is_not_single():
    entries = {entry.word: entry for entry in load_lexicon()}
    window, butter = entries["window"], entries["butter"]
    tiles = Counter(window.syllables + butter.syllables)
    assert is_single(Counter(window.syllables), [window])
    assert not is_single(tiles, [window, butter])  # winter
    assert not is_single(Counter({**tiles, "wi": 1, "ndow": 1}), [window])
    assert not is_single(Counter({"win": 1, "dow": 1, "wi": 1, "ndow": 1}), [window])


@pytest.mark.parametrize(("level", "num_herrings"), [(4, 2), (5, 4)])
def test_high_levels_tell_of_their_red_herrings_and_share_tiles(level, num_herrings):
    for index in range(20):
        record = GENERATOR.sample(3, index, level)
        rule = f"Use a tile at most once; {num_herrings} tiles are red herrings and stay unused."
        assert rule in record["messages"][0]["content"].split("\n")
        inventory = orjson.loads(undress(record["messages"][1]["content"]))["inventory_check"]
        assert not set(inventory["unused_tiles"]) & set(inventory["used"])
        assert max(inventory["used"].values()) >= 2


def test_words_get_rarer_and_longer_with_the_level():
    def mean(level, value):
        words = [entry for seed in range(40) for entry in choose_words(Random(seed), level)[0]]
        return sum(map(value, words)) / len(words)

    bands = [mean(level, lambda entry: entry.band) for level in LEVELS]
    lengths = [mean(level, lambda entry: len(entry.word)) for level in LEVELS]
    assert bands == sorted(bands)
    assert lengths == sorted(lengths)
    assert bands[0] == bands[1] == 0


def test_every_kind_of_clue_is_asked_and_names_its_source():
    kinds = {clue.text: clue.kind for entry in load_lexicon() for clue in entry.clues}
    seen = set()
    for index in range(150):
        record = GENERATOR.sample(6, index, 4)
        assert record["metadata"]["source_license"] == "WordNet-3.0"
        seen |= {kinds[clue] for clue in GENERATOR.problem(record).split("\n")}
    assert seen == {"definition", "synonym", "example", "masked"}
    assert GENERATOR.sample(6, 0, 1)["metadata"]["source_license"] == "CC0-1.0"


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
