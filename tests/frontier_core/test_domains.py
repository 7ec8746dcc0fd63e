import pytest

from frontier_core.domains import choose_domains, load_domains, prior_weights
from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.resources import shipped


def domains(tmp_path, text):
    (tmp_path / "d.yaml").write_text(text)
    return load_domains(tmp_path / "d.yaml")


def test_the_shipped_table_has_the_eight_shell_domains_and_five_skills():
    names = [domain.skill for domain in load_domains(shipped("domains.yaml"))]
    assert names == [
        "shell_file_system",
        "shell_text_processing",
        "shell_archives",
        "shell_git",
        "shell_system_info",
        "shell_network",
        "shell_processes",
        "shell_scheduling",
        "syllo",
        "binary",
        "discrimination",
        "math_mc",
        "sequence_predict",
    ]


def test_priors_split_a_domain_over_its_levels(tmp_path):
    table = "domains:\n- {name: a, skill: x, levels: [1, 2], weight: 3}\n- {name: b, skill: y, levels: [1]}\n"
    assert prior_weights(domains(tmp_path, table)) == {
        "skill=x,level=1": 0.375,
        "skill=x,level=2": 0.375,
        "skill=y,level=1": 0.25,
    }


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("domains: [", DataError, r"d.yaml:1: not valid YAML"),
        ("other: 1", ConfigError, "needs a list under `domains:`"),
        ("domains: [1]", ConfigError, r"domains\[0\]: is no mapping"),
        ("domains: [{name: a, skill: x}]", ConfigError, "'levels' is missing"),
        ("domains: [{name: a, skill: x, level: [1]}]", ConfigError, "unknown key 'level'"),
        ("domains: [{name: a, skill: x, levels: [0]}]", ConfigError, "levels must be a list of whole numbers from 1"),
        ("domains: [{name: a, skill: x, levels: [1], weight: -1}]", ConfigError, "weight must be above 0"),
        ("domains: [{name: a, skill: x, levels: one}]", ConfigError, "levels must be a list of whole numbers"),
    ],
)
def test_a_bad_table_says_where(tmp_path, text, error, says):
    with pytest.raises(error, match=says):
        domains(tmp_path, text)


def test_a_missing_table_is_a_usage_error():
    with pytest.raises(UsageError, match="no such file"):
        load_domains("nope.yaml")


def test_shell_stands_for_every_shell_domain_and_typos_get_a_hint():
    table = load_domains(shipped("domains.yaml"))
    assert len(choose_domains(table, ["shell"])) == 8
    assert [d.name for d in choose_domains(table, ["binary", "git"])] == ["arithmetic", "git"]
    with pytest.raises(ConfigError) as caught:
        choose_domains(table, ["binray"])
    assert caught.value.hint == "did you mean 'binary'?"


def test_fixture_of_a_domain_is_kept_and_must_be_a_mapping(tmp_path):
    path = tmp_path / "domains.yaml"
    path.write_text("domains:\n  - {name: git, skill: shell_git, levels: [1], fixture: {dirs: {a: {}}}}\n")
    assert load_domains(path)[0].fixture == {"dirs": {"a": {}}}
    path.write_text("domains:\n  - {name: git, skill: shell_git, levels: [1], fixture: [a]}\n")
    with pytest.raises(ConfigError, match="fixture must be a mapping"):
        load_domains(path)
