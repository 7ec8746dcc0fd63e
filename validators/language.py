"""Which natural language a text is in, told by its script, then by the small words that every sentence of it needs.

Good enough to see that a file holds a second language; a text of a few words, of code or of numbers is "unknown".
LIMIT: one language a script outside Latin (Cyrillic counts as ru); close relatives in Latin script are told apart only
by texts of some sentences.
"""

from __future__ import annotations

import re
from collections import Counter

UNKNOWN = "unknown"
READ_CHARS = 4000
"""How much of a text is looked at."""
LEAST_HITS = 3
LEAST_SHARE = 0.1
LEAD = 1.3
"""How many small words there must be, what share of all words, and how far ahead of the next language's."""

SMALL_WORDS = {
    "en": "the of and to in is that it for was with as are this be have not from you which or an what how your can",
    "de": "der die das und ist nicht ein eine zu den von mit dem des auf für sich wie auch werden wird ich sie im es",
    "fr": "le la les des et est une dans que pour qui pas sur avec ce sont du au vous nous il elle être cette aux",
    "es": "el la los las de que y en un una es por con para se del no su al lo como más pero sus está son",
    "pt": "o a os as de que e em um uma é por com para se do da não no na como mais mas seu são você",
    "it": "il la le di che e un una è per con non si del della in sono come più ma gli nel alla questo da",
    "nl": "de het een en van is dat niet te in op voor met zijn die er aan ook als bij maar naar wordt je",
    "sv": "och att det som en är på för med av till den inte har om ett var jag men kan de så",
    "pl": "i w nie na się z jest to że do jak co od po ale przez dla są tak czy jego być",
    "tr": "ve bir bu için de da ile ne olarak daha çok gibi kadar olan ya var değil mi en sonra",
}
"""Language -> words that hardly a sentence does without."""

_LANGUAGES_OF: dict[str, tuple[str, ...]] = {}
for _language, _words in SMALL_WORDS.items():
    for _word in _words.split():
        _LANGUAGES_OF[_word] = (*_LANGUAGES_OF.get(_word, ()), _language)

_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
)
_WORD = re.compile(r"[^\W\d_]+")
_LETTER = re.compile(r"[^\W\d_]")


def language_of(text: str) -> str:
    """Gives the language of a text as an ISO 639-1 code, "unknown" where too little tells."""
    text = text[:READ_CHARS]
    if not text.isascii():
        found = {language: len(pattern.findall(text)) for language, pattern in _SCRIPTS}
        if found["ja"]:
            found["ja"] += found.pop("zh")  # Japanese writes nouns in Chinese characters
        language = max(found, key=lambda name: found[name])
        if found[language] >= LEAST_HITS and found[language] > 0.3 * len(_LETTER.findall(text)):
            return language
    hits: Counter[str] = Counter()
    words = _WORD.findall(text.lower())
    for word in words:
        languages = _LANGUAGES_OF.get(word, ())
        for language in languages:
            hits[language] += 1
    ranked = hits.most_common(2)
    if not ranked or ranked[0][1] < max(LEAST_HITS, LEAST_SHARE * len(words)):
        return UNKNOWN
    if len(ranked) > 1 and ranked[0][1] < LEAD * ranked[1][1]:
        return UNKNOWN
    return ranked[0][0]
