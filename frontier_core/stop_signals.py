"""Stop signals of the emoji_think profile: two to four of one stop emoji on a last line of their own.

Pure text functions; what a server does about them stands in frontier_ops/serve_sampling.py.
Source: the seed's emoji_think profile, version 1.0.
"""

from __future__ import annotations

STOP_EMOJI = (
    "\N{OCTAGONAL SIGN}", "\N{NO ENTRY}", "\N{NO ENTRY SIGN}", "\N{CROSS MARK}", "\N{LARGE RED CIRCLE}",
    "\N{BLACK SQUARE FOR STOP}\N{VARIATION SELECTOR-16}", "\N{END WITH LEFTWARDS ARROW ABOVE}", "\N{RAISED HAND}",
    "\N{VERTICAL TRAFFIC LIGHT}", "\N{SHIELD}\N{VARIATION SELECTOR-16}",
)  # fmt: skip
MIN_COUNT, MAX_COUNT = 2, 4


def open_stop_signal(text: str) -> tuple[str, int] | None:
    """Gives the stop emoji and how many of it end a text, when they are at least two on a line of their own."""
    last = text.rpartition("\n")[2]
    if last == text:
        return None
    for emoji in STOP_EMOJI:
        count = last.count(emoji)
        if count >= MIN_COUNT and last == emoji * count:
            return emoji, count
    return None
