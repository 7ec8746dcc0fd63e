"""How the next token is chosen: a client's penalties and cuts, and what the release's answer profile asks for.

Imported by the model process only; torch is imported inside. Scores are one vocabulary row at a time.
"""

# ruff: noqa: N803, N806 - tensors carry their shape in the name

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from frontier_core.profiles import THINK_TAGS
from frontier_core.records import Record
from frontier_core.stop_signals import MAX_COUNT, STOP_EMOJI, open_stop_signal

# V vocab

THINK_PENALTY = 80.0
THINK_SCHEDULE = ((4, 8.0), (8, 2.0), (12, 1.5))
"""Up to which step how many times the penalty; later once. Source: the seed's emoji_think profile, version 1.0."""
AFTER_STOP_PENALTY, AFTER_STOP_RATE, END_REWARD = 100.0, 10.0, 50.0
MAX_AFTER_STOP_PENALTY = 1e6


def choose(
    logits_V: Any, temperature: float, top_p: float, generator: Any, *, top_k: int = 0, min_p: float = 0.0
) -> int:
    """Gives the next token: the likeliest at temperature 0, else one drawn from what the cuts leave.

    Args:
        logits_V: scores of the vocabulary, any float type.
        temperature: 0 or above; below 1 sharpens.
        top_p: in [0, 1]: the smallest set whose mass reaches it; the likeliest token is always in the set.
        generator: a seeded torch generator on the same device.
        top_k: only the k likeliest; 0 takes all.
        min_p: only tokens at least this share as likely as the likeliest.
    Raises:
        ValueError: the scores are not finite: the weights are broken.
    Source: Holtzman et al. (2020), "The curious case of neural text degeneration", section 3.1 (nucleus sampling);
        Nguyen et al. (2024), "Turning up the heat", section 3 (min-p).
    """
    import torch

    scores_V = logits_V.float()
    best = scores_V.max()
    if not torch.isfinite(best):
        raise ValueError("the model's scores are not finite")
    if temperature == 0:
        return int(scores_V.argmax())
    # The largest score is taken off first, so that a tiny temperature can't overflow.
    probabilities_V = ((scores_V - best) / temperature).softmax(-1)
    if 0 < top_k < probabilities_V.numel():
        kth = probabilities_V.topk(top_k).values[-1]
        probabilities_V[probabilities_V < kth] = 0
    if min_p > 0:
        probabilities_V[probabilities_V < min_p * probabilities_V.max()] = 0
    if top_p < 1:
        probabilities_V /= probabilities_V.sum()
        sorted_V, order_V = probabilities_V.sort(descending=True)
        is_outside_V = sorted_V.cumsum(-1) - sorted_V >= top_p
        is_outside_V[0] = False
        probabilities_V[order_V[is_outside_V]] = 0
    return int(torch.multinomial(probabilities_V, 1, generator=generator))


class Penalties:
    """What a client asked to be said less or more often; changes scores in place.

    Presence and frequency count the answer's own tokens, repetition the prompt's too.
    Source: OpenAI API reference; Keskar et al. (2019), "CTRL", section 4.1 (repetition penalty).
    """

    def __init__(self, request: Record, prompt: list[int]) -> None:
        self._presence = request.get("presence_penalty", 0.0)
        self._frequency = request.get("frequency_penalty", 0.0)
        self._repetition = request.get("repetition_penalty", 1.0)
        self._bias = {int(token): bias for token, bias in (request.get("logit_bias") or {}).items()}
        self._said: Counter[int] = Counter()
        self._seen = set(prompt) if self._repetition != 1 else set()
        self.is_needed = bool(self._presence or self._frequency or self._repetition != 1 or self._bias)

    def saw(self, token: int) -> None:
        """Counts one token of the answer."""
        self._said[token] += 1
        if self._repetition != 1:
            self._seen.add(token)

    def apply(self, scores_V: Any) -> None:
        """Changes the scores of the next token."""
        import torch

        if self._seen:
            seen = torch.tensor(sorted(token for token in self._seen if token < scores_V.numel()))
            values = scores_V[seen]
            scores_V[seen] = torch.where(values > 0, values / self._repetition, values * self._repetition)
        if self._presence or self._frequency:
            for token, count in self._said.items():
                scores_V[token] -= self._presence + self._frequency * count
        for token, bias in self._bias.items():
            if token < scores_V.numel():
                scores_V[token] += bias


class EmojiThink:
    """The emoji_think profile at serving: no `<think>` tokens, and an end after the stop signal.

    Args:
        encode: text -> ids without special tokens.
        end_ids: ids that end an answer.
    Source: the seed's emoji_think profile, version 1.0: penalty 80 on `<think>` by a schedule; after a stop signal
        (two to four of one stop emoji on a line of their own) penalty 100 * 10^n on going on, reward 50 on the end.
    """

    def __init__(self, encode: Callable[[str], list[int]], end_ids: set[int]) -> None:
        self._think = [ids[0] for tag in THINK_TAGS if len(ids := encode(tag)) == 1]
        self._emoji = {emoji: encode(emoji) for emoji in STOP_EMOJI}
        self._ends = sorted(end_ids)
        self._num_steps = 0
        self._num_after = 0

    def apply(self, scores_V: Any, text: str, *, is_mid_character: bool) -> None:
        """Changes the scores of the next token, given the answer's text so far."""
        factor = next((times for until, times in THINK_SCHEDULE if self._num_steps < until), 1.0)
        self._num_steps += 1
        if self._think:
            scores_V[self._think] -= THINK_PENALTY * factor
        if is_mid_character:
            return
        signal = open_stop_signal(text)
        if not signal and not self._num_after:
            return
        emoji, count = signal or ("", MAX_COUNT)
        allowed = list(self._ends)
        if count < MAX_COUNT:
            allowed += self._emoji[emoji][:1]
        penalty = min(AFTER_STOP_PENALTY * AFTER_STOP_RATE**self._num_after, MAX_AFTER_STOP_PENALTY)
        kept_V = scores_V[allowed].clone()
        scores_V -= penalty
        scores_V[allowed] = kept_V
        if count >= MAX_COUNT:
            scores_V[self._ends] += END_REWARD
            self._num_after += 1


def token_record(
    token: int, logprobs_V: Any, num_top: int, name: Callable[[int], str]
) -> Record:  # fmt: skip
    """Gives one token with its log-probability and its likeliest alternatives, before penalties and temperature."""
    tops: list[Record] = []
    if num_top:
        best = logprobs_V.topk(min(num_top, logprobs_V.numel()))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        tops = [{"token": name(index), "id": index, "logprob": round(value, 6)} for index, value in pairs]
    return {"token": name(token), "id": token, "logprob": round(float(logprobs_V[token]), 6), "top": tops}
