"""What free text says, by rules: which messages are one error pattern, and which answers are refusals.

Rules, not a model: the same text always gives the same answer, anywhere, and one can read why. Labels go first wherever
a log has them. LIMIT: English. Of answers that neither open with nor consist of a refusal, none is found.
"""

from __future__ import annotations

import re

MAX_CHARS = 80
OPENING_CHARS = 160

_MASKS = (
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`"), "*"),  # quoted names
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b|\b[0-9a-f]{12,}\b", re.I), "#"),
    (re.compile(r"(?:[A-Za-z]:)?(?:[\w.~-]*[/\\])+[\w.~-]*"), "PATH"),
    (re.compile(r"[-+]?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?%?", re.I), "#"),
)
_REFUSALS = re.compile(
    r"(?:i(?:'m| am) (?:so |very )?sorry\b|sorry\b|i apologi[sz]e\b|unfortunately)?[\s,.:;—-]*(?:but |however,? )?"
    r"(?:i (?:can(?:no|')?t|can not|could not|couldn't|won'?t|will not|must decline|have to decline|decline)\b"
    r"|i(?:'m| am) (?:not able|unable|not allowed|not permitted|not comfortable)\b"
    r"|(?:as|being) an ai\b[^.]{0,60}\b(?:can(?:no|')?t|unable|not able)\b"
    r"|(?:that|this)(?: is|'s) (?:not )?something i (?:can(?:no|')?t|won'?t|can (?:help|assist))\b"
    r"|(?:i )?refuse to\b)",
    re.I,
)
_HELPS = re.compile(r"\bi can(?:no|')?t (?:wait|believe|stress|recommend .* enough|agree more|say enough)", re.I)


def pattern_of(message: str) -> str:
    """Gives the pattern of an error message: its first line with names, numbers, paths and digests masked.

    Messages that differ in those alone are one pattern: `line 17: 'foo' not found` is `line #: * not found`.
    Source: masking as in He et al. (2017), "Drain".
    """
    line = next((line for line in message.splitlines() if line.strip()), "")
    for mask, word in _MASKS:
        line = mask.sub(word, line)
    return " ".join(line.split())[:MAX_CHARS].rstrip() or "unknown"


def is_refusal(answer: str) -> bool:
    """Says whether an answer opens with a refusal; what comes before the first letter does not count."""
    opening = answer.replace("\u2019", "'").lstrip("".join(c for c in answer[:16] if not c.isalnum()))[:OPENING_CHARS]
    return bool(_REFUSALS.match(opening)) and not _HELPS.match(opening)
