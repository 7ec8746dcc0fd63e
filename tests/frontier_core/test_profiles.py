from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import ConfigError
from frontier_core.profiles import PROFILES, STOPS, THINKING, dress, dress_at_random, profile_named, undress, violation

answers = st.text(min_size=1).filter(lambda text: text[0] not in "🤔\n" and "<" not in text and text == text.strip())


@pytest.mark.parametrize(
    ("profile", "text"),
    [("emoji_think", "🤔🤔🤔🤔\n12"), ("regime3", "<<ANS_START>> 12 <<ANS_END>>"), ("plain", "12")],
)
def test_each_profile_dresses_an_answer_its_way(profile, text):
    assert dress("12", profile) == text
    assert undress(text) == "12"


@given(answers, st.sampled_from(PROFILES))
def test_dressing_is_undone_by_undressing_and_twice_is_once(answer, profile):
    assert undress(dress(answer, profile)) == answer
    assert dress(dress(answer, profile), profile) == dress(answer, profile)


def test_think_blocks_go():
    assert undress("<think>\nhm\n</think>\n\n12") == "12"


@pytest.mark.parametrize(
    ("text", "profile", "code"),
    [
        ("12", "emoji_think", "emoji_prefix"),
        ("🤔🤔🤔\n12", "emoji_think", "emoji_prefix"),
        ("🤔🤔🤔🤔\n<think></think>12", "emoji_think", "think_tag"),
        ("12", "regime3", "answer_markers"),
        ("<<ANS_START>> 12 <<ANS_END>>", "regime3", "canonical_form"),
        ("<<ANS_START>> (add 5 7) = 12 <<ANS_END>>", "regime3", None),
        ("🤔🤔🤔🤔\n12", "emoji_think", None),
        ("<think>", "plain", None),
    ],
)
def test_a_broken_profile_is_named(text, profile, code):
    found = violation(text, profile)
    assert (found[0] if found else None) == code


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        profile_named("emoji")
    assert caught.value.hint == "choose one of: emoji_think, regime3, plain"


@given(answers, st.integers(0, 10_000), st.booleans())
def test_random_mode_says_what_it_does_and_is_undone(answer, seed, is_stopping):
    text, told = dress_at_random(dress(answer, "emoji_think"), Random(seed), is_stopping=is_stopping)
    assert undress(text) == answer
    if not told:
        assert text == answer
        return
    emoji = next(emoji for emoji in THINKING if text.startswith(emoji))
    count = len(text.partition("\n")[0]) // len(emoji)
    words = ["twice", "three times", "four times", "five times", "six times", "seven times", "eight times"]
    assert told.startswith(f"For this task, think with {emoji} {words[count - 2]}.")
    if is_stopping:
        stop = next(stop for stop in STOPS if text.endswith(stop))
        count = text.rpartition("\n")[2].count(stop)
        assert told.endswith(f"When finished, emit {stop} {words[count - 2]} to signal completion.")


def test_half_of_the_answers_stay_bare_in_random_mode():
    bare = sum(dress_at_random("12", Random(seed), is_stopping=False)[1] == "" for seed in range(400))
    assert 160 < bare < 240
