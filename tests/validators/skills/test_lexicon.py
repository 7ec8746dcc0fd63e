import re

import pytest

from frontier_core.errors import DataError
from validators.skills.lexicon import PATH, entries_by_clue, load_lexicon, parse_lexicon


def test_there_are_at_least_four_hundred_words_of_two_to_four_syllables():
    counts = [len(entry.syllables) for entry in load_lexicon()]
    assert len(counts) >= 400
    assert {2, 3, 4} == set(counts)


def test_every_line_is_well_formed():
    for entry in load_lexicon():
        assert re.fullmatch(r"[a-z]{4,14}", entry.word), entry
        assert "".join(entry.syllables) == entry.word
        assert all(entry.syllables)
        assert re.fullmatch(r"[a-z][a-z ,'-]+[a-z]", entry.clue), entry
        assert 2 <= len(entry.clue.split()) <= 6, entry


def test_no_clue_holds_its_word():
    assert [entry for entry in load_lexicon() if entry.word in entry.clue] == []


def test_words_clues_and_sets_of_tiles_are_unique_and_sorted():
    entries = load_lexicon()
    words = [entry.word for entry in entries]
    assert words == sorted(set(words))
    assert len({entry.clue for entry in entries}) == len(entries) == len(entries_by_clue())
    assert len({tuple(sorted(entry.syllables)) for entry in entries}) == len(entries)


def test_the_header_names_the_license():
    assert "CC0-1.0" in PATH.read_text(encoding="utf-8").split("\n")[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiger\tti-ger\n", "l.tsv:1: has 2 fields, not word, syllables, clue"),
        ("# head\ntiger\tti-gar\tbig cat\n", "l.tsv:2: syllables 'ti-gar' don't spell 'tiger'"),
        ("tiger\tti--ger\tbig cat\n", "l.tsv:1: syllables 'ti--ger' don't spell 'tiger'"),
        ("tiger\tti-ger\tbig cat\nlion\tli-on\tbig cat\n", "l.tsv:2: word 'lion' or its clue comes twice"),
    ],
)
def test_a_bad_line_is_named(text, message):
    with pytest.raises(DataError) as error:
        parse_lexicon(text, path="l.tsv")
    assert str(error.value) == message
