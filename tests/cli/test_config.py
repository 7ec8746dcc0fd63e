import pytest

from frontier_core.config import command_settings
from frontier_core.errors import ConfigError

KNOWN = {"synth verify": ["sandbox", "timeout"], "synth gen": ["seed"], "validate": ["profile", "level"]}


def settings(tmp_path, toml, environ=None, command="synth verify", user_toml=None):
    (tmp_path / "frontier.toml").write_text(toml)
    if user_toml is not None:
        (tmp_path / "frontier").mkdir()
        (tmp_path / "frontier" / "config.toml").write_text(user_toml)
    environ = {"XDG_CONFIG_HOME": str(tmp_path), **(environ or {})}
    found = command_settings(command, KNOWN[command], known=KNOWN, cwd=tmp_path, environ=environ)
    return {key: (value, origin.replace(f"{tmp_path}/", "")) for key, (value, origin) in found.items()}


def test_each_layer_beats_the_one_below(tmp_path):
    user = 'sandbox = "user"\ntimeout = 1.0\n'
    project = 'sandbox = "project"\n[synth.verify]\ntimeout = 3.0\n'
    assert settings(tmp_path, project, user_toml=user) == {
        "sandbox": ("project", "frontier.toml"),
        "timeout": (3.0, "frontier.toml [synth.verify]"),
    }
    environ = {"FRONTIER_SANDBOX": "env", "FRONTIER_SYNTH_VERIFY_TIMEOUT": "4", "FRONTIER_TIMEOUT": "5"}
    (tmp_path / "frontier" / "config.toml").unlink()
    (tmp_path / "frontier").rmdir()
    assert settings(tmp_path, project, environ) == {
        "sandbox": ("env", "environment FRONTIER_SANDBOX"),
        "timeout": ("4", "environment FRONTIER_SYNTH_VERIFY_TIMEOUT"),
    }


@pytest.mark.parametrize(
    ("toml", "says", "hint"),
    [
        ("sandbx = 1", "frontier.toml: unknown key 'sandbx'", "did you mean 'sandbox'?"),
        ("[synth.verify]\nseed = 1", "frontier.toml [synth.verify]: unknown key 'seed'", "known: sandbox, timeout"),
        ("[synth.verfy]\nseed = 1", "frontier.toml [synth]: no command 'synth verfy'", "did you mean 'synth verify'?"),
        ("sandbox = ", "frontier.toml: not valid TOML", ""),
    ],
)
def test_a_wrong_key_names_the_file_and_the_nearest(tmp_path, toml, says, hint):
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, toml)
    assert says in caught.value.message
    assert caught.value.hint == hint


def test_a_flag_beats_the_environment_and_the_environment_the_file(run, tmp_path, monkeypatch):
    (tmp_path / "frontier.toml").write_text("[synth.gen]\nnum = 3\nskill = ['binary']\n")
    assert len(run("synth gen").out.splitlines()) == 3
    monkeypatch.setenv("FRONTIER_NUM", "2")
    assert len(run("synth gen").out.splitlines()) == 2
    assert len(run("synth gen -n 1").out.splitlines()) == 1
    monkeypatch.setenv("FRONTIER_NUM", "many")
    assert run("synth gen").code == 2


def test_config_show_tells_which_layer_won(run, tmp_path, monkeypatch):
    (tmp_path / "frontier.toml").write_text("[synth.gen]\nseed = 5\n")
    monkeypatch.setenv("FRONTIER_SKILL", "binary,math_mc")
    shown = dict(line.split(" = ", 1) for line in run("config show --origin synth gen").out.splitlines())
    assert shown["synth gen: num"] == "100  (default)"
    assert shown["synth gen: seed"] == "5  (frontier.toml [synth.gen])"
    assert shown["synth gen: skill"] == "['binary,math_mc']  (environment FRONTIER_SKILL)"
    assert shown["synth gen: level"] == "[]  (default)"
    assert run("config show nope").code == 2


def test_config_show_says_when_nothing_is_set(run):
    done = run("config show")
    assert (done.code, done.out) == (0, "")
    assert done.err.strip() == "nothing is set by files or environment; --origin shows the defaults"
