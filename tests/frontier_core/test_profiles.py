import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import ConfigError
from frontier_core.profiles import PROFILES, dress, profile_named, undress, violation

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
