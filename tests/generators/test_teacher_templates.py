import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateSyntaxError, UndefinedError

from frontier_core.errors import ConfigError, DataError, UsageError
from generators.templates import FrontMatter, _environment, fill, load_template, read_front, template_names

MINIMAL = """
name: mine
skill: chat
user: "Say {{ word }}."
turns:
  - {role: user, content: "{{ word }}?"}
  - {role: assistant, content: "{{ answer }}"}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "templates/prompts").mkdir(parents=True)

    def call(text, name="mine"):
        (tmp_path / f"templates/prompts/{name}.yaml").write_text(text)
        return name

    return call


@pytest.mark.parametrize("name", ["chat_answer", "shell_plan", "shell_refusal", "skill_answer"])
def test_every_shipped_template_loads_and_fills(name):
    template = load_template(name)
    values = template.front.draw(0) | {"policy": "p", "refuse": True, "prompt": "2 + 2?"}
    assert [turn["role"] for turn in template.prompt(values)] == ["system", "user"]
    assert name in template_names()


def test_the_working_folder_comes_first(write):
    write(MINIMAL)
    write(MINIMAL.replace("name: mine", "name: chat_answer"), "chat_answer")
    assert template_names()[:2] == ["chat_answer", "mine"]
    assert load_template("chat_answer").prompt({"word": "hi"}) == [{"role": "user", "content": "Say hi."}]


def test_a_missing_value_is_named(write):
    with pytest.raises(DataError, match="'word' is undefined"):
        load_template(write(MINIMAL)).prompt({})


NAMES = st.sampled_from(["a", "b.c", "b.d", "b.items", "n", "none", "range", "a.upper", "missing", "b.missing", "task"])
TEXTS = st.sampled_from(
    ["", " ", "x", "\n", "\r\n", "}}", "{", "{ a }", "{# note #}", "{{ a|upper }}", "{% if a %}y{% endif %}\n"]
)
VALUES = {"a": "A{{ n }}", "b": {"c": [1, None], "d": 1.5, "items": "own"}, "n": 10**30, "task": None}


@given(st.lists(st.tuples(TEXTS, NAMES, st.sampled_from(["", " ", "  "])), max_size=4), TEXTS)
def test_a_body_that_only_names_keys_is_filled_as_jinja_would(pieces, end):
    body = "".join(f"{text}{{{{{space}{name}{space}}}}}" for text, name, space in pieces) + end
    try:
        wanted = _environment().from_string(body).render(VALUES).strip()
    except (UndefinedError, TemplateSyntaxError):
        with pytest.raises((DataError, ConfigError)):
            fill(body, VALUES)
    else:
        assert fill(body, VALUES) == wanted


def test_a_value_is_text_and_never_a_template():
    assert fill("{{ word }}", {"word": "{{ 7 * 7 }}"}) == "{{ 7 * 7 }}"


@pytest.mark.parametrize(
    "body",
    ["{{ ''.__class__.__mro__ }}", "{{ word.append(1) }}", "{{ 1 / 0 }}", "{% for n in range(9999999) %}{% endfor %}"],
)
def test_a_body_can_neither_escape_nor_change_nor_crash(body):
    with pytest.raises(DataError, match="can't be filled"):
        fill(body, {"word": []})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("skill: chat", "skil: chat", "unknown key 'skil'"),
        ("name: mine", "name: other", "its name is 'other'"),
        ("name: mine", "name: mine\nspec: plan_v2", "spec 'plan_v2'"),
        ("name: mine", "name: mine\nreview: maybe", "'review' must be yes or no"),
        ("name: mine", "name: mine\nsafety: {refuse_rate: 2}", "refuse_rate must be a number from 0 to 1"),
        ("name: mine", "name: mine\nsafety: {refuse_rate: 0.5}", "needs a boolean 'refused'"),
        ("name: mine", "name: mine\nsafety: {forbid: ['(']}", "is no regular expression"),
        ("name: mine", "name: mine\nslots: {a: []}", "the list is empty"),
        ("name: mine", "name: mine\nspec: plan_v1", "'turns' must be given for chat_sft_v1, and for it alone"),
        ("Say {{ word }}", "Say {{ word", "line 1"),
        ("role: user", "role: User", "must have a role"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(write, old, new, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        load_template(write(MINIMAL.replace(old, new)))


def test_an_unknown_template_names_the_nearest():
    with pytest.raises(UsageError) as error:
        load_template("shell_pan")
    assert error.value.hint == "did you mean 'shell_plan'?"


def test_slots_depend_on_their_place_alone():
    front = FrontMatter(name="t", slots={"tone": list("abcdefgh"), "age": 7, "must": None})
    assert front.draw(1, "x") == front.draw(1, "x")
    assert {front.draw(1, n)["tone"] for n in range(100)} == set("abcdefgh")
    assert "must" not in front.draw(0)
    assert front.draw(0)["age"] == 7


@pytest.mark.parametrize(("rate", "refused"), [(0.0, 0), (0.25, 25), (0.6, 60), (1.0, 100), (0.333, 33)])
def test_the_quota_of_refusals_is_exact(rate, refused):
    front = read_front({"name": "t", "safety": {"refuse_rate": rate}}, "t.yaml")
    assert sum(front.safety.must_refuse(index) for index in range(100)) == refused
