"""Topics and personas of `domains.yaml` spread over a teacher's tasks."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.domains import Domain, load_domains
from frontier_core.errors import ConfigError
from generators.synth import Request
from generators.teachers.tasks import expansion, tasks_from_cells
from generators.templates import load_template

TOPICS, PERSONAS = ("tides", "bread", "maps", "bees"), ("a nurse", "a pilot", "a child", "a monk", "a judge", "a cook")


def domain(topics=TOPICS, personas=PERSONAS):
    return Domain(name="talk", skill="chat", levels=(1, 2), topics=topics, personas=personas)


@given(num_topics=st.integers(1, 9), num_personas=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_pair_comes_once_before_one_comes_again(num_topics, num_personas, seed):
    wide = domain(tuple(f"t{n}" for n in range(num_topics)), tuple(f"p{n}" for n in range(num_personas)))
    pairs = [
        (found["topic"], found["persona"]) for found in islice(expansion(wide, seed, 1), 2 * num_topics * num_personas)
    ]
    half = num_topics * num_personas
    assert len(set(pairs[:half])) == half
    assert len(set(pairs[half:])) == half
    topics = Counter(topic for topic, _ in pairs[: num_topics + 1])
    assert len(topics) == num_topics


def test_a_task_s_topic_depends_on_seed_domain_and_level_and_not_on_the_count():
    def first(num, seed=1, level=1):
        return list(islice(expansion(domain(), seed, level), num))

    assert first(3) == first(24)[:3]
    assert first(24) != first(24, seed=2)
    assert first(24) != first(24, level=2)


def test_a_domain_without_them_has_tasks_without_them():
    assert next(expansion(domain((), ()), 1, 1)) == {}
    assert set(next(expansion(domain(TOPICS, ()), 1, 1))) == {"topic", "scenario"}
    assert set(next(expansion(domain((), PERSONAS), 1, 1))) == {"persona"}


def test_they_stand_in_the_prompt_and_in_the_metadata():
    cells = [Request(domain=domain(), level=1, count=24)]
    template = load_template("chat_answer")
    tasks = list(tasks_from_cells(cells, template, seed=5))
    assert Counter(task.metadata["scenario"] for task in tasks) == dict.fromkeys(TOPICS, 6)
    assert Counter(task.metadata["persona"] for task in tasks) == dict.fromkeys(PERSONAS, 4)
    prompt = template.prompt(tasks[0].values)[-1]["content"]
    assert tasks[0].metadata["scenario"] in prompt
    assert tasks[0].metadata["persona"] in prompt


def test_a_domains_file_has_personas_for_all_and_topics_for_each(tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text(
        "personas: [a nurse, a pilot]\n"
        "domains:\n"
        "  - {name: a, skill: chat, levels: [1], topics: [tides]}\n"
        "  - {name: b, skill: chat_b, levels: [1], personas: [a monk]}\n"
    )
    first, second = load_domains(path)
    assert (first.topics, first.personas, second.personas) == (("tides",), ("a nurse", "a pilot"), ("a monk",))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("topics: tides", "topics must be a list of texts"),
        ("topics: [1]", "topics must be a list of texts"),
        ("personas: [x, x]", "'x' is listed twice"),
        ("topic: [x]", "unknown key 'topic'"),
    ],
)
def test_a_wrong_list_is_named(tmp_path, line, words):
    path = tmp_path / "d.yaml"
    path.write_text(f"domains:\n  - {{name: a, skill: chat, levels: [1], {line}}}\n")
    with pytest.raises(ConfigError, match=words):
        load_domains(path)


def test_the_domains_that_ship_have_topics_where_a_teacher_is_asked():
    shells = [domain for domain in load_domains() if domain.skill.startswith("shell_")]
    assert all(len(domain.topics) >= 8 and len(domain.personas) >= 10 for domain in shells)
