"""'Did you mean': the nearest known name for a mistyped one; the same wording for commands, keys, specs and skills."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Gives `did you mean 'x'?`, or the list of what is known when nothing is near."""
    from difflib import get_close_matches  # only ever needed on the way to an error

    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
