"""The bench's skills: procedural, with prerequisites by level, and what makes mixing hard beside them.

Each suite has learnable skills at rising levels, and, but for `clean`, a trivial domain, one of pure noise, one whose
training labels are wrong three times in ten, and a rare one, of which few distinct examples exist. `main` is for
tuning, `holdout` has other skills and was never tuned on. A domain is a tag `skill=S,level=L`, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
VOCABULARY = f"\n{DIGITS}{LETTERS}+-=>:?#"
"""One token a character; the first one ends an answer."""

Sampler = Callable[[Random], tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One domain of a suite.

    `is_scored` says whether its held-out accuracy counts; `wrong_labels` is the share of training answers replaced by
    a wrong one, `pool` the number of distinct training examples (0 for no end of them), `prior` its relative weight.
    """

    tag: str
    sample: Sampler
    is_scored: bool = True
    wrong_labels: float = 0.0
    pool: int = 0
    prior: float = 1.0


def _text(random: Random, alphabet: str, length: int) -> str:
    return "".join(random.choices(alphabet, k=length))


def _levels(skill: str, sizes: tuple[int, ...], make: Callable[[Random, int], tuple[str, str]]) -> list[Domain]:
    return [
        Domain(tag=f"skill={skill},level={level}", sample=lambda random, size=size: make(random, size))
        for level, size in enumerate(sizes, 1)
    ]


def _add(random: Random, digits: int) -> tuple[str, str]:
    a, b = random.randrange(10**digits), random.randrange(10**digits)
    return f"a{a:0{digits}}+{b:0{digits}}=", f"{a + b:0{digits + 1}}"


def _reverse(random: Random, length: int) -> tuple[str, str]:
    text = _text(random, LETTERS[:10], length)
    return f"r{text}=", text[::-1]


def _sort(random: Random, length: int) -> tuple[str, str]:
    text = _text(random, DIGITS, length)
    return f"s{text}=", "".join(sorted(text))


def _parity(random: Random, length: int) -> tuple[str, str]:
    bits = _text(random, "01", length)
    return f"p{bits}=", str(bits.count("1") % 2)


def _modular(random: Random, _: int) -> tuple[str, str]:
    a, b = random.randrange(20), random.randrange(10)
    return f"m{a:02}+{b}=", str((a + b) % 7)


def _lexicon(seed: int, num: int) -> list[tuple[str, str, str]]:
    random = Random(seed)
    syllables = [c + v for c in "bdfgklmnprst" for v in "aeiou"]
    words: set[tuple[str, str, str]] = set()
    while len(words) < num:
        a, b, c = random.sample(syllables, 3)
        words.add((a, b, c))
    return sorted(words)


_WORDS = _lexicon(20, 100)


def _syllables(random: Random, _: int) -> tuple[str, str]:
    word = list(random.choice(_WORDS))
    answer = "".join(word)
    random.shuffle(word)
    return f"y{''.join(word)}=", answer


def _cipher(random: Random, length: int) -> tuple[str, str]:
    text = _text(random, LETTERS, length)
    return f"c{text}=", text.translate(_CIPHER)


_CIPHER = str.maketrans(LETTERS, "".join(Random(21).sample(LETTERS, 26)))


def _easy(random: Random) -> tuple[str, str]:
    return f"e{_text(random, LETTERS, 2)}=", "ok"


def _noise(random: Random) -> tuple[str, str]:
    return f"n{_text(random, LETTERS, 4)}=", _text(random, LETTERS, 4)


def _successor(random: Random) -> tuple[str, str]:
    number = random.randrange(999)
    return f"u{number:03}=", f"{number + 1:03}"


# ---- skills of the second suite ----
def _subtract(random: Random, digits: int) -> tuple[str, str]:
    a, b = sorted((random.randrange(10**digits), random.randrange(10**digits)), reverse=True)
    return f"d{a:0{digits}}-{b:0{digits}}=", f"{a - b:0{digits}}"


def _alternate(random: Random, length: int) -> tuple[str, str]:
    text = _text(random, LETTERS[:12], length)
    return f"k{text}=", text[::2]


def _shift(random: Random, length: int) -> tuple[str, str]:
    text = _text(random, LETTERS, length)
    return f"h{text}=", "".join(LETTERS[(LETTERS.index(c) + 3) % 26] for c in text)


def _count(random: Random, length: int) -> tuple[str, str]:
    wanted = random.choice("xyz")
    text = _text(random, "xyz", length)
    return f"q{text}?{wanted}=", str(text.count(wanted))


def _largest(random: Random, num: int) -> tuple[str, str]:
    numbers = [_text(random, DIGITS, 2) for _ in range(num)]
    return f"g{':'.join(numbers)}=", max(numbers)


def _lookup(random: Random, num: int) -> tuple[str, str]:
    keys, values = random.sample(LETTERS[:12], num), _text(random, DIGITS, num)
    at = random.randrange(num)
    return f"l{''.join(k + v for k, v in zip(keys, values, strict=True))}?{keys[at]}=", values[at]


_NAMES = {"".join(a): "".join(b) for a, b in zip(_lexicon(22, 80), _lexicon(23, 80), strict=True)}


def _translate(random: Random, _: int) -> tuple[str, str]:
    word = random.choice(list(_NAMES))
    return f"t{word}=", _NAMES[word]


def _vowels(random: Random, length: int) -> tuple[str, str]:
    text = _text(random, LETTERS[:15], length)
    return f"v{text}=", "".join("1" if c in "aeiou" else "0" for c in text)


def _easy_two(random: Random) -> tuple[str, str]:
    digit = random.choice(DIGITS)
    return f"f{digit}=", digit


def _noise_two(random: Random) -> tuple[str, str]:
    return f"x{_text(random, DIGITS, 5)}=", _text(random, DIGITS, 5)


def _double(random: Random) -> tuple[str, str]:
    number = random.randrange(500)
    return f"w{number:03}=", f"{2 * number:03}"


def _hard(noise: Sampler, easy: Sampler, mislabelled: Sampler, rare: Sampler) -> list[Domain]:
    return [
        Domain(tag="skill=mislabelled,level=1", sample=mislabelled, wrong_labels=0.3),
        Domain(tag="skill=easy,level=1", sample=easy, is_scored=False),
        Domain(tag="skill=noise,level=1", sample=noise, is_scored=False),
        Domain(tag="skill=rare,level=1", sample=rare, pool=400, prior=0.5),
    ]


def _clean() -> list[Domain]:
    return [
        *_levels("add", (1, 2, 3), _add),
        *_levels("reverse", (3, 5, 8), _reverse),
        *_levels("sort", (3, 5, 7), _sort),
        *_levels("parity", (4, 7), _parity),
        *_levels("modular", (1,), _modular),
        *_levels("syllables", (1,), _syllables),
    ]


def _other() -> list[Domain]:
    return [
        *_levels("subtract", (1, 2, 3), _subtract),
        *_levels("alternate", (4, 8, 12), _alternate),
        *_levels("shift", (2, 5), _shift),
        *_levels("count", (4, 8), _count),
        *_levels("largest", (2, 3), _largest),
        *_levels("lookup", (2, 4), _lookup),
        *_levels("translate", (1,), _translate),
    ]


SUITES: dict[str, Callable[[], list[Domain]]] = {
    "main": lambda: _clean() + _hard(_noise, _easy, lambda random: _cipher(random, 4), _successor),
    "holdout": lambda: _other() + _hard(_noise_two, _easy_two, lambda random: _vowels(random, 5), _double),
    "clean": _clean,
}
"""Name -> domains."""
