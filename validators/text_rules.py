"""What must not stand in a text: damaged encoding, secrets, personal data, files outside, the same piece over and over.

Two steps, because nearly every text is clean: `has_signs` asks some bytes for the letters without which no rule can
find anything, for many texts at once; `text_findings` then looks for what is really there. Nothing is a finding that
`has_signs` passes over. Personal data are warnings (a domain reserved for examples is nobody's); secrets reject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import compress, count, groupby
from operator import eq

from validators.base import Finding

REPEATS = 8
"""The same line or word this often in a row is degenerate output, not language."""

MAX_WORD = 40
"""Longer ones are data, not words."""
MIN_CHARS = 40
"""Texts that are no longer may say `no no no ...`."""

# Patterns stay text: `re` compiles each at its first use, which a start-up of one line never reaches.
_MOJIBAKE = ("\N{REPLACEMENT CHARACTER}", "Ã©", "â€™", "â€œ", "Ã¼", "ðŸ")
_DAMAGE = (b"\xc3\x83", b"\xc3\xa2\xe2", b"\xc3\xb0\xc5")
_SECRETS = (
    ("-----BEGIN", r"-----BEGIN [A-Z ]*PRIVATE KEY-----", "a private key"),
    ("AKIA", r"\bAKIA[0-9A-Z]{16}\b", "an AWS access key"),
    ("gh", r"\bgh[pousr]_[A-Za-z0-9]{36}\b", "a GitHub token"),
    ("sk-", r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}\b", "an API key"),
    ("AIza", r"\bAIza[0-9A-Za-z_-]{35}\b", "a Google API key"),
    ("xox", r"\bxox[abprs]-[0-9A-Za-z-]{20,}\b", "a Slack token"),
    ("hf_", r"\bhf_[A-Za-z0-9]{30,}\b", "a Hugging Face token"),
    ("glpat-", r"\bglpat-[A-Za-z0-9_-]{20,}\b", "a GitLab token"),
)
_SECRET_SIGNS = (b"PRIVATE KEY-----", b"sk-", b"xox", b"glpat-")
_TOKEN_SIGNS = (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"hf_")
_OUTSIDE = r"file://\S+|(?<![\w~.])/(?:Users|home|mnt|media)/[\w.-]+/\S*|\b[A-Za-z]:\\Users\\\S+"
_OUTSIDE_SIGNS = (b"file://", b"/Users/", b"/home/", b"/mnt/", b"/media/")
_EMAIL = r"\b[A-Za-z0-9][\w.+-]*@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})\b"
_NOBODYS = re.compile(r"(?:^|\.)(?:example(?:\.\w+)?|test|invalid|localhost|local)$", re.IGNORECASE)
_PHONE = (
    r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]\d{2,4}){1,4}"
    r"|\(\d{3}\) \d{3}-\d{4})(?![\w-])"
)
_CARD = r"(?<![\w.,-])(?:[2-6]\d{3}([ -])\d{4}\1\d{4}\1\d{4}|3[47]\d{2}([ -])\d{6}\2\d{5})(?![\w-])"
_IBAN = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"
_NUMBERS = bytes(48 if 48 <= byte < 58 else byte for byte in range(256))
_BETWEEN_DIGITS = b" -.()+"


def has_signs(data: bytes) -> bool:
    """Says whether some UTF-8 text, or many in one piece, holds a sign of anything but repetition."""
    if b"@" in data or b":\\Users\\" in data:
        return True
    if b"/" in data and any(sign in data for sign in _OUTSIDE_SIGNS):
        return True
    if b"-" in data and any(sign in data for sign in _SECRET_SIGNS):
        return True
    if any(sign in data for sign in (b"AKIA", b"AIza")) or (b"_" in data and any(s in data for s in _TOKEN_SIGNS)):
        return True
    if b"\xef\xbf\xbd" in data or (b"\xc3" in data and any(sign in data for sign in _DAMAGE)):
        return True
    return b"00000000" in data.translate(_NUMBERS, _BETWEEN_DIGITS)


def repeats(text: str) -> bool:
    """Says whether a text has the same word (of at most 40 characters) or the same line REPEATS times in a row."""
    return len(text) > MIN_CHARS and may_repeat(text)


def may_repeat(text: str) -> bool:
    """Says so of some texts in one piece, short ones too; what runs from one text into the next counts as well."""
    return _has_run(text.split(), MAX_WORD) or _has_run(list(filter(str.strip, text.splitlines())), len(text))


def _has_run(pieces: list[str], longest: int) -> bool:
    # Of REPEATS equal pieces in a row one stands at a multiple of REPEATS - 1 and equals the next, wherever they begin.
    step = REPEATS - 1
    for place in compress(count(0, step), map(eq, pieces[::step], pieces[1::step])):
        piece = pieces[place]
        around = pieces[max(0, place - step) : place + REPEATS]
        if len(piece) <= longest and any(len(list(run)) >= REPEATS for same, run in groupby(around) if same == piece):
            return True
    return False


def text_findings(text: str, pointer: str, *, may_name_paths: bool) -> Iterator[Finding]:
    """Yields what is wrong with one text.

    Args:
        text: as a model would read it.
        pointer: where it stands in its record.
        may_name_paths: absolute paths are nothing to be said against, as in plans.
    """
    if has_signs(text.encode("utf-8", "replace")):
        yield from _damage(text, pointer)
        yield from _secrets(text, pointer)
        outside = re.search(_OUTSIDE, text)
        if outside and not may_name_paths:
            message = f"refers to a file outside the record: {outside.group()[:60]}"
            remedy = "put the content into the prompt"
            yield Finding(code="outside_file", message=message, pointer=pointer, remedy=remedy)
        yield from _personal(text, pointer)
    if repeats(text):
        yield Finding(code="degenerate", message=f"the same piece {REPEATS} times in a row", pointer=pointer)


def _damage(text: str, pointer: str) -> Iterator[Finding]:
    for sign in _MOJIBAKE:
        if sign in text:
            message = f"damaged encoding: {sign!r}"
            yield Finding(code="encoding_damage", message=message, pointer=pointer, remedy="decode the source as UTF-8")
            return


def _secrets(text: str, pointer: str) -> Iterator[Finding]:
    for literal, pattern, what in _SECRETS:
        if literal in text and re.search(pattern, text):
            remedy = "revoke it and drop the record"
            yield Finding(code="secret", message=f"holds {what}", pointer=pointer, remedy=remedy)


def _personal(text: str, pointer: str) -> Iterator[Finding]:
    """Yields personal data: e-mail addresses, phone numbers, payment cards (Luhn), bank accounts (ISO 13616)."""

    def told(what: str) -> Finding:
        remedy = "replace it by one that is nobody's (example.org, 555-01xx), or drop the record"
        return Finding(
            code="personal_data", message=f"holds {what}", pointer=pointer, severity="warning", remedy=remedy
        )

    if "@" in text and any(not _NOBODYS.search(found[1]) for found in re.finditer(_EMAIL, text)):
        yield told("an e-mail address")
    if any(_is_phone(found[0]) for found in re.finditer(_PHONE, text)):
        yield told("a phone number")
    if any(_is_card(found[0]) for found in re.finditer(_CARD, text)):
        yield told("a payment card number")
    if any(_is_iban(found[0]) for found in re.finditer(_IBAN, text)):
        yield told("a bank account number (IBAN)")


def _is_phone(found: str) -> bool:
    digits = re.sub(r"\D", "", found)
    return 8 <= len(digits) <= 15 and "55501" not in digits


def _is_card(found: str) -> bool:
    """Says whether the check digit fits. Source: ISO/IEC 7812-1, annex B (Luhn)."""
    digits = [int(letter) for letter in reversed(found) if letter.isdigit()]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def _is_iban(found: str) -> bool:
    """Says whether the check digits fit. Source: ISO 13616-1, MOD 97-10."""
    bare = found.replace(" ", "")
    return 15 <= len(bare) <= 34 and int("".join(str(int(letter, 36)) for letter in bare[4:] + bare[:4])) % 97 == 1
