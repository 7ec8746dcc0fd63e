import re
from collections import Counter

import pytest

from frontier_core.errors import DataError
from validators.skills.lexicon import (
    KINDS,
    OWN,
    WORDNET,
    Clue,
    Entry,
    entries_by_anchor,
    entries_by_clue,
    load_lexicon,
    parse_lexicon,
    parse_wordnet,
)


def own_entries():
    return [entry for entry in load_lexicon() if entry.band == 0]


def test_there_are_thousands_of_words_of_two_to_five_syllables_in_every_band():
    entries = load_lexicon()
    assert len(entries) >= 4500
    assert len(own_entries()) >= 400
    assert {len(entry.syllables) for entry in entries} == {2, 3, 4, 5}
    assert {len(entry.syllables) for entry in own_entries()} == {2, 3, 4}
    assert all(sum(entry.band == band for entry in entries) >= 600 for band in (1, 2, 3))


def test_every_entry_is_well_formed():
    for entry in load_lexicon():
        assert re.fullmatch(r"[a-z]{4,14}", entry.word), entry
        assert "".join(entry.syllables) == entry.word
        assert all(entry.syllables)
        assert entry.clues
        for clue in entry.clues:
            assert clue.kind in KINDS
            assert re.fullmatch(r"[A-Za-z0-9\[][A-Za-z0-9 ,.'\[\]-]+[A-Za-z0-9\]]", clue.text), entry
            assert len(clue.text) <= 60
            assert "___" not in clue.text
    assert all(2 <= len(entry.clues[0].text.split()) <= 6 for entry in own_entries())


def test_no_clue_gives_its_word_away():
    for entry in load_lexicon():
        assert not [clue for clue in entry.clues if entry.word in clue.text.lower()], entry
        if entry.band:
            assert not [clue for clue in entry.clues if entry.word[:4] in clue.text.lower().replace(" ", "_")], entry


def test_all_four_kinds_of_clue_occur():
    kinds = Counter(clue.kind for entry in load_lexicon() for clue in entry.clues)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 70


def test_words_are_unique_and_sorted_and_our_own_clues_stand_for_one_word():
    words = [entry.word for entry in load_lexicon()]
    assert words == sorted(set(words))
    own = [entry.clues[0].text for entry in own_entries()]
    assert len(set(own)) == len(own)
    assert all(
        [entry.word for entry in entries_by_clue()[entry.clues[0].text]] == [entry.word] for entry in own_entries()
    )


def test_a_clue_admits_its_word_and_those_that_share_its_meaning():
    assert [entry.word for entry in entries_by_clue()["another word for lawyer"]] == ["attorney", "lawyer"]
    assert [entry.word for entry in entries_by_clue()["big cat with stripes"]] == ["tiger"]


def test_every_entry_is_anchored_under_one_of_its_tiles_once():
    anchored = [(tile, entry) for tile, entries in entries_by_anchor().items() for entry in entries]
    assert all(tile in entry.syllables for tile, entry in anchored)
    assert sorted(entry.word for _, entry in anchored) == [entry.word for entry in load_lexicon()]


def test_the_tables_name_their_licenses():
    assert "CC0-1.0" in OWN.read_text(encoding="utf-8").split("\n")[1]
    assert "WordNet 3.0, Copyright 2006 by Princeton University" in WORDNET.read_text(encoding="utf-8").split("\n")[1]
    notice = WORDNET.with_suffix(".LICENSE").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in notice
    assert "Kevin Atkinson" in notice
    assert "Carnegie Mellon University" in notice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("happen\thap-pen\t1\tdefinition\tcome to pass\n", "w.tsv:1: has 5 fields, not word, syllables, band, kind, "),
        ("happen\thap-pen\t9\tdefinition\tcome to pass\t\n", "w.tsv:1: no such kind or band: 'definition', '9'"),
        ("happen\thap-pen\t1\triddle\tcome to pass\t\n", "w.tsv:1: no such kind or band: 'riddle', '1'"),
    ],
)
def test_a_bad_line_of_the_larger_table_is_named(text, message):
    with pytest.raises(DataError) as error:
        parse_wordnet(text, path="w.tsv")
    assert str(error.value).startswith(message)


def test_the_lines_of_one_word_are_its_clues():
    text = "happen\thap-pen\t1\tdefinition\tcome to pass\tbefall occur\nhappen\thap-pen\t1\tmasked\twhat will [...]\t\n"
    clues = (Clue("come to pass", "definition", ("befall", "occur")), Clue("what will [...]", "masked"))
    assert parse_wordnet(text, path="w.tsv") == (Entry("happen", ("hap", "pen"), 1, clues),)


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
