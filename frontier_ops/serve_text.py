"""Text of a running generation, piece by piece: whole characters only, and never past a stop string.

Streamed pieces joined are the non-streamed text, because both are made here. Knows no tokenizer and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are no whole character (yet)."""

# LIMIT: after this many tokens without a whole character the bytes are taken for garbage and shown as they are.
MAX_HELD_TOKENS = 16


class TokenText:
    """Turns token ids into text as they come; a character split over tokens comes out whole, with its last token.

    Args:
        decode: ids -> text, special tokens left out.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        # Decoders treat a text's first token differently (a leading space), so each piece is decoded together with
        # the piece before it, and the earlier text is cut off.
        self._context = 0
        self._shown = 0

    def push(self, token: int) -> str:
        """Takes one id and gives the text it completes, perhaps ""."""
        self._ids.append(token)
        return self._take(is_last=False)

    def flush(self) -> str:
        """Gives what is still held, unfinished characters included."""
        return self._take(is_last=True)

    def _take(self, *, is_last: bool) -> str:
        if self._shown == len(self._ids):
            return ""
        before = self._decode(self._ids[self._context : self._shown])
        text = self._decode(self._ids[self._context :])
        num_held = len(self._ids) - self._shown
        if not is_last and text.endswith(UNFINISHED) and num_held < MAX_HELD_TOKENS:
            return ""
        piece = text[len(before) :]
        if piece:
            # A token without text (a special one) is no context: the next would lose its leading space.
            self._context = self._shown
        self._shown = len(self._ids)
        return piece


class StopFilter:
    """Passes text on until the first stop string; holds back only what could still become one.

    Args:
        stops: non-empty strings; the text ends before the one that is complete first.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.is_stopped = False

    def push(self, piece: str) -> str:
        """Takes more text and gives what may be shown now; sets `is_stopped` at a stop string."""
        if self.is_stopped:
            return ""
        self._held += piece
        found = [(place + len(stop), place) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            # The first to be complete wins, and of two the longer: then it does not matter how the text was cut up.
            self.is_stopped = True
            shown, self._held = self._held[: min(found)[1]], ""
            return shown
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """Gives what was held back, once no more text comes."""
        shown, self._held = self._held, ""
        return shown

    def _overlap(self, stop: str) -> int:
        """Gives how many last characters of the held text begin the stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(stop[:size])), 0)
