import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.base import Verdict
from validators.skills.dialogue import PromptError, judge_integer, read_dialogue, tidy
from validators.skills.table import VERIFIERS

SKILLS = ("syllo", "binary", "discrimination", "math_mc", "sequence_predict")

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_turn = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": _json})


def turns(*texts):
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


@pytest.mark.parametrize("skill", SKILLS)
@given(
    record=st.fixed_dictionaries({"messages": _json | st.lists(_turn | _json, max_size=4)}), answer=st.text(max_size=20)
)
def test_no_record_makes_a_verifier_raise(skill, record, answer):
    verdict = VERIFIERS.get(skill)(record, answer)
    assert isinstance(verdict, Verdict)
    assert not verdict.ok


@pytest.mark.parametrize("skill", SKILLS)
@pytest.mark.parametrize("record", [{}, {"messages": None}, {"messages": []}, {"messages": turns("hello", "12")}])
def test_a_record_without_a_known_problem_is_unparsable(skill, record):
    verdict = VERIFIERS.get(skill)(record, "12")
    assert verdict.code == "unparsable_prompt"
    assert verdict.findings[0].pointer == "/messages"


def test_the_pointer_names_the_real_place_of_the_answer():
    assert read_dialogue({"messages": turns("q", "a")}).answer_pointer == "/messages/1/content"
    system = [{"role": "system", "content": "be brief"}]
    assert read_dialogue({"messages": system + turns("q", "a")}).answer_pointer == "/messages/2/content"
    assert read_dialogue({"messages": turns("q")}).answer_pointer == "/messages/1/content"
    assert read_dialogue({"messages": turns("q", "a", "q", "a")}).answer_pointer == "/messages/3/content"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": "12"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "system", "content": "a"}],
        [{"role": "user", "content": None}],
        ["text"],
    ],
)
def test_turns_that_pose_no_question_are_refused(messages):
    with pytest.raises(PromptError):
        read_dialogue({"messages": messages})


@pytest.mark.parametrize(
    ("answer", "bare"), [(" 12 ", "12"), ("12.", "12"), ("12.\n", "12"), ("12..", "12."), ("a b", "a b")]
)
def test_white_space_and_one_full_stop_are_forgiven(answer, bare):
    assert tidy(answer) == bare


def test_numbers_of_any_length_are_judged_exactly():
    long = "9" * 6000
    assert judge_integer(long, long, "/x").ok
    assert judge_integer(long, long[:-1] + "8", "/x").code == "wrong_answer"
