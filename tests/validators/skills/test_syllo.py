import copy
import json
from collections import Counter

import pytest

from validators.skills.lexicon import load_lexicon
from validators.skills.syllo import read_puzzle, verify

PROMPT = """Fill in the words from the tiles.
1. big cat with stripes ___ ___
2. long yellow fruit ___ ___ ___
3. sour yellow fruit ___ ___
4. loud noise in a storm ___ ___
Use every tile exactly once.
Tiles: lem | ti | nan | thun | a | on | ba | der | ger
Reply with JSON."""
WORDS = [("ti", "ger"), ("ba", "nan", "a"), ("lem", "on"), ("thun", "der")]
TILES = Counter(tile for word in WORDS for tile in word)
ANSWER = {
    "solutions": [
        {"ans_num": n, "syllables": list(word), "answer": "".join(word).upper()}
        for n, word in enumerate(WORDS, start=1)
    ],
    "inventory_check": {
        "total_tiles": 9,
        "usage": dict(TILES),
        "used": dict(TILES),
        "unused_tiles": [],
        "status": "ok",
    },
}


def asked(prompt=PROMPT):
    return {"messages": [{"role": "user", "content": prompt}]}


TEXT = json.dumps(ANSWER)


def test_the_right_answer_is_accepted_however_it_is_laid_out():
    assert verify(asked(), json.dumps(ANSWER)).ok
    assert verify(asked(), json.dumps(ANSWER, indent=2)).ok
    turned = {**ANSWER, "solutions": ANSWER["solutions"][::-1]}
    assert verify(asked(), json.dumps(turned)).ok


def change(path, value):
    def apply(document):
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return apply


def drop(*path):
    def apply(document):
        place = document
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return apply


FIRST = ("solutions", 0)
CHECK = "inventory_check"
MUTATIONS = {
    "another word": (change((*FIRST, "answer"), "LION"), "wrong_word"),
    "a letter lost": (change((*FIRST, "answer"), "TIGE"), "wrong_word"),
    "word of another clue": (change((*FIRST, "answer"), "LEMON"), "wrong_word"),
    "answer no text": (change((*FIRST, "answer"), 5), "wrong_shape"),
    "other syllables": (change((*FIRST, "syllables"), ["tig", "er"]), "wrong_tiles"),
    "syllables swapped": (change((*FIRST, "syllables"), ["ger", "ti"]), "wrong_tiles"),
    "a syllable lost": (change((*FIRST, "syllables"), ["ti"]), "wrong_tiles"),
    "syllables in capitals": (change((*FIRST, "syllables"), ["TI", "GER"]), "wrong_tiles"),
    "syllables no list": (change((*FIRST, "syllables"), "ti-ger"), "wrong_shape"),
    "a syllable no text": (change((*FIRST, "syllables"), ["ti", None]), "wrong_tiles"),
    "a number twice": (change((*FIRST, "ans_num"), 2), "wrong_count"),
    "numbered from zero": (change((*FIRST, "ans_num"), 0), "wrong_count"),
    "true for one": (change((*FIRST, "ans_num"), True), "wrong_shape"),
    "one point zero": (change((*FIRST, "ans_num"), 1.0), "wrong_shape"),
    "a solution lost": (drop("solutions", 3), "wrong_count"),
    "no solutions": (change(("solutions",), []), "wrong_count"),
    "solutions no list": (change(("solutions",), {}), "wrong_shape"),
    "extra key": (change(("analysis",), {}), "wrong_shape"),
    "extra key in a solution": (change((*FIRST, "note"), "x"), "wrong_shape"),
    "no inventory": (drop(CHECK), "wrong_shape"),
    "total too high": (change((CHECK, "total_tiles"), 10), "wrong_inventory"),
    "usage miscounted": (change((CHECK, "usage", "ti"), 2), "wrong_inventory"),
    "used miscounted": (change((CHECK, "used", "ti"), 0), "wrong_inventory"),
    "a tile unlisted": (drop(CHECK, "used", "ti"), "wrong_inventory"),
    "a tile invented": (change((CHECK, "usage", "zeb"), 1), "wrong_inventory"),
    "a tile invented, none of it": (change((CHECK, "usage", "zeb"), None), "wrong_inventory"),
    "true for a count": (change((CHECK, "usage", "ti"), True), "wrong_inventory"),
    "tiles left over": (change((CHECK, "unused_tiles"), ["ti"]), "wrong_inventory"),
    "status empty": (change((CHECK, "status"), " "), "wrong_inventory"),
    "status no text": (change((CHECK, "status"), True), "wrong_shape"),
}


@pytest.mark.parametrize(
    ("path", "value"),
    [((*FIRST, "answer"), "tiger"), ((*FIRST, "answer"), "Tiger"), ((CHECK, "status"), "all tiles used")],
)
def test_what_the_prompt_leaves_open_is_free(path, value):
    document = copy.deepcopy(ANSWER)
    change(path, value)(document)
    assert verify(asked(), json.dumps(document)).ok


def test_usage_may_count_the_bank_or_the_tiles_used():
    rule = "Use a tile at most once; 2 tiles are red herrings and stay unused."
    prompt = PROMPT.replace("Use every tile exactly once.", rule).replace("| der", "| qua | zeb | der")
    document = copy.deepcopy(ANSWER)
    document[CHECK] |= {"total_tiles": 11, "unused_tiles": ["qua", "zeb"]}
    assert verify(asked(prompt), json.dumps(document)).ok
    document[CHECK]["usage"] |= {"qua": 1}
    assert verify(asked(prompt), json.dumps(document)).code == "wrong_inventory"
    document[CHECK]["usage"] |= {"zeb": 1}
    assert verify(asked(prompt), json.dumps(document)).ok
    document[CHECK]["used"] |= {"qua": 1, "zeb": 1}
    assert verify(asked(prompt), json.dumps(document)).code == "wrong_inventory"


@pytest.mark.parametrize("kind", MUTATIONS)
def test_mutations_of_the_right_answer_are_refused(kind):
    mutate, code = MUTATIONS[kind]
    document = copy.deepcopy(ANSWER)
    mutate(document)
    verdict = verify(asked(), json.dumps(document))
    assert verdict.code == code
    assert verdict.findings[0].pointer == "/messages/1/content"


@pytest.mark.parametrize(
    "text",
    [
        "", "TIGER", "null", "[]", "[" * 100_000, TEXT[:-1], TEXT + ".", "```json\n" + TEXT + "\n```",
        "Here it is: " + TEXT, TEXT * 2, TEXT.replace("9", "NaN"), TEXT.replace('"status"', '"status": "ok", "status"'),
    ],
)  # fmt: skip
def test_text_that_is_not_one_json_object_is_refused(text):
    assert verify(asked(), text).code in ("bad_json", "wrong_shape")


def test_a_refusal_says_what_was_expected():
    document = copy.deepcopy(ANSWER)
    document["solutions"][0]["answer"] = "LION"
    assert verify(asked(), json.dumps(document)).message == "solution 1: expected TIGER, got 'LION'"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("big cat with stripes", "big dog with stripes", "unknown_clue"),
        ("stripes ___ ___", "stripes ___", "unknown_clue"),
        ("big cat with stripes ___ ___", "sour yellow fruit ___ ___", "unparsable_prompt"),
        ("2. long", "3. long", "unparsable_prompt"),
        ("Use every tile exactly once.", "Use some tiles.", "unparsable_prompt"),
        ("Tiles: ", "Bank: ", "unparsable_prompt"),
        ("thun | ", "", "wrong_bank"),
        ("thun | ", "thun | thun | ", "wrong_bank"),
    ],
)
def test_a_puzzle_that_is_itself_at_fault_is_not_blamed_on_the_answer(old, new, code):
    assert old in PROMPT
    verdict = verify(asked(PROMPT.replace(old, new)), json.dumps(ANSWER))
    assert verdict.code == code
    assert verdict.findings[0].pointer == "/messages"


def test_tiles_that_spell_a_further_word_make_the_puzzle_ambiguous():
    prompt = (
        "1. glass opening in a wall ___ ___\n2. yellow spread made from cream ___ ___\n"
        "Use every tile exactly once.\nTiles: win | dow | but | ter"
    )
    verdict = verify(asked(prompt), "{}")
    assert verdict.code == "ambiguous_prompt"
    assert verdict.message == "the tiles spell winter too"


def test_reading_a_puzzle_gives_its_words_in_order():
    assert [entry.word for entry in read_puzzle(PROMPT).words] == ["tiger", "banana", "lemon", "thunder"]
    assert set(read_puzzle(PROMPT).words) <= set(load_lexicon())


HERRINGS = (
    PROMPT.replace("Use every tile exactly once.", "Use a tile at most once; 2 tiles are red herrings and stay unused.")
    .replace("Tiles: lem", "Tiles: zle | lem | nog")
)  # fmt: skip


def with_herrings(unused):
    inventory = {**ANSWER[CHECK], "total_tiles": 11, "usage": {**TILES, "zle": 1, "nog": 1}, "unused_tiles": unused}
    return json.dumps({**ANSWER, CHECK: inventory})


def test_red_herrings_stay_unused_and_are_listed_in_any_order():
    assert sorted(read_puzzle(HERRINGS).herrings) == ["nog", "zle"]
    assert verify(asked(HERRINGS), with_herrings(["zle", "nog"])).ok
    assert verify(asked(HERRINGS), with_herrings(["nog", "zle"])).ok


@pytest.mark.parametrize(
    "unused", [[], ["zle"], ["zle", "zle"], ["zle", "nog", "ti"], ["zle", "nog", "nog"], ["zle", 1]]
)
def test_other_lists_of_unused_tiles_are_refused(unused):
    assert verify(asked(HERRINGS), with_herrings(unused)).code == "wrong_inventory"


def test_the_rule_must_say_how_many_tiles_stay():
    verdict = verify(asked(HERRINGS.replace("2 tiles", "3 tiles")), "{}")
    assert (verdict.code, verdict.message) == (
        "wrong_bank",
        "2 tiles belong to no word, which is not what the rule says",
    )


def test_a_clue_that_admits_two_spelled_words_is_ambiguous():
    prompt = "1. another word for lawyer ___ ___ ___\nUse every tile exactly once.\nTiles: at | tor | ney"
    assert [entry.word for entry in read_puzzle(prompt).words] == ["attorney"]
    prompt = prompt.replace("at | tor", "at | law | yer | tor")
    assert verify(asked(prompt), "{}").code == "ambiguous_prompt"


def test_a_word_that_tiles_spell_in_two_ways_is_ambiguous():
    prompt = "1. big cat with stripes ___ ___\nUse a tile at most once; 2 tiles are red herrings and stay unused."
    assert read_puzzle(f"{prompt}\nTiles: ti | ger | zle | nog").herrings == ("zle", "nog")
    verdict = verify(asked(f"{prompt}\nTiles: ti | ger | tig | er"), "{}")
    assert (verdict.code, verdict.message) == ("ambiguous_prompt", "the tiles spell tiger in two ways")
