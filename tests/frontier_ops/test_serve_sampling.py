"""The emoji_think profile at serving, and cuts of the distribution, on hand-made scores."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from frontier_core.stop_signals import open_stop_signal  # noqa: E402
from frontier_ops.serve_sampling import EmojiThink, Penalties, choose, token_record  # noqa: E402

pytestmark = pytest.mark.torch

STOP = "\N{OCTAGONAL SIGN}"
VOCABULARY = {"a": 0, "<think>": 1, "</think>": 2, "<end>": 3, STOP: 4}


def encode(text: str) -> list[int]:
    return [VOCABULARY[text]] if text in VOCABULARY else [0, 0]


def profile() -> EmojiThink:
    return EmojiThink(encode, {3})


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        (f"x\n{STOP}{STOP}", (STOP, 2)), (f"x\n{STOP * 4}", (STOP, 4)), (f"x\n{STOP}", None), (f"{STOP}{STOP}", None),
        (f"x\n{STOP}{STOP} y", None), (f"x {STOP}{STOP}", None),
    ],
)  # fmt: skip
def test_a_stop_signal_is_two_or_more_on_a_line_of_their_own(text: str, signal: tuple[str, int] | None) -> None:
    assert open_stop_signal(text) == signal


def test_think_tokens_are_suppressed_by_the_schedule() -> None:
    rules = profile()
    taken = []
    for _ in range(13):
        scores = torch.zeros(5)
        rules.apply(scores, "", is_mid_character=False)
        taken.append(float(scores[1]))
        assert float(scores[0]) == 0
    assert taken == [-640.0] * 4 + [-160.0] * 4 + [-120.0] * 4 + [-80.0]


def test_after_a_stop_signal_only_its_emoji_or_the_end_may_follow_and_after_four_the_end() -> None:
    rules = profile()
    scores = torch.zeros(5)
    rules.apply(scores, f"x\n{STOP * 2}", is_mid_character=False)
    assert scores.tolist() == [-100.0, -740.0, -740.0, 0.0, 0.0]
    scores = torch.zeros(5)
    rules.apply(scores, f"x\n{STOP * 4}", is_mid_character=False)
    assert scores[[0, 3, 4]].tolist() == [-100.0, 50.0, -100.0]
    scores = torch.zeros(5)
    rules.apply(scores, f"x\n{STOP * 4} and", is_mid_character=False)  # going on costs ten times more each token
    assert scores[[0, 3]].tolist() == [-1000.0, 50.0]


def test_half_a_character_is_finished_before_anything_is_forced() -> None:
    scores = torch.zeros(5)
    profile().apply(scores, f"x\n{STOP * 2}", is_mid_character=True)
    assert float(scores[0]) == 0


def test_top_k_and_min_p_cut_the_tail() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = torch.Generator().manual_seed(0)

    def drawn(**options: float) -> set[int]:
        return {choose(logits, 1.0, 1.0, generator, **options) for _ in range(200)}  # type: ignore[arg-type]

    assert drawn(top_k=2) == {0, 1}
    assert drawn(min_p=0.25) == {0, 1, 2}


def test_penalties_count_what_was_said() -> None:
    request = {"presence_penalty": 1.0, "frequency_penalty": 0.5, "repetition_penalty": 2.0, "logit_bias": {"3": 7}}
    penalties = Penalties(request, [2])
    penalties.saw(0)
    penalties.saw(0)
    scores = torch.tensor([4.0, 4.0, -1.0, 0.0])

    penalties.apply(scores)

    # token 0: 4 / 2 - (1 + 0.5 * 2) = 0; token 2 stood in the prompt: -1 * 2
    assert scores.tolist() == [0.0, 4.0, -2.0, 7.0]
    assert not Penalties({}, [1]).is_needed


def test_a_token_is_told_with_its_likeliest_alternatives() -> None:
    logprobs = torch.tensor([0.5, 0.25, 0.25]).log()
    told = token_record(1, logprobs, 1, lambda token: "abc"[token])
    assert told == {
        "token": "b", "id": 1, "logprob": -1.386294, "top": [{"token": "a", "id": 0, "logprob": -0.693147}],
    }  # fmt: skip
