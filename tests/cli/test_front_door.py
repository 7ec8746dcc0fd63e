import subprocess
import sys
from pathlib import Path

import pytest

from frontier_cli.guard import shadowing_file
from frontier_cli.helptext import documents
from frontier_cli.table import COMMANDS
from frontier_core.version import __version__

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"torch", "transformers", "docker", "peft", "accelerate", "starlette", "uvicorn", "rich", "numpy"}


def test_version_and_help_go_to_stdout(run):
    assert run("-V").out == f"frontier {__version__}\n"
    assert run("-h").out == run("--help").out == run([]).out == (ROOT / "frontier_cli/help/frontier.txt").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run, name):
    done = run(f"{name} -h")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"frontier {name} - ")
    assert run(f"help {name}").out == done.out


def test_help_texts_and_docs_are_those_of_the_commands():
    stale = [name for name, text in documents().items() if (ROOT / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run: make docs"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("synht gen", "hint: did you mean 'synth'?"),
        ("synth gn", "hint: did you mean 'synth gen'?"),
        ("validate --levle quick", "hint: frontier validate -h"),
        ("validate a b c", "hint: frontier validate -h"),
        ("synth gen -n x", "hint: frontier synth gen -h"),
        ("synth gen --skill binray", "hint: did you mean 'binary'?"),
        ("validate --level quik x.jsonl", "hint: did you mean 'quick'?"),
        ("validate --color blue", ""),
    ],
)
def test_a_wrong_call_exits_2_with_one_line_and_a_hint(run, line, hint):
    done = run(line)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert hint in done.err
    assert "Traceback" not in done.err


def test_a_group_lists_its_commands(run):
    done = run("synth")
    assert done.code == 0
    assert [line.split()[2] for line in done.out.splitlines() if "frontier synth" in line] == [
        "gen",
        "teach",
        "verify",
        "format",
        "replay",
        "dedup",
        "coverage",
        "review",
        "spar",
    ]


def test_a_groups_longest_command_stands_apart_from_what_it_does(run):
    lines = run("checkpoints").out.splitlines()
    assert "  frontier checkpoints snapshot  keep the newest checkpoint as the day's snapshot" in lines


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("serve",)])
def test_parsing_a_command_imports_nothing_heavy(name):
    code = (
        "import sys\nfrom frontier_cli.main import main\n"
        f"main({[*name.split(), '--no-such-option']!r})\nprint(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    "line",
    [
        ["synth", "gen", "-n", "20", "--seed", "7", "-o", "c.jsonl"],
        ["synth", "replay", "c.jsonl", "-o", "r.jsonl"],
        ["synth", "format", "c.jsonl", "--to", "echo", "-o", "e.jsonl"],
        ["validate", "c.jsonl", "--level", "standard", "-o", "v.jsonl"],
        ["lineage", "show", "c.jsonl"],
    ],
)
def test_running_a_data_command_imports_nothing_heavy(tmp_path, line):
    code = (
        "import sys\nfrom frontier_cli.main import main\n"
        "main(['synth', 'gen', '-n', '20', '--seed', '7', '-o', 'c.jsonl'])\n"
        f"assert main({line!r}) == 0\nprint(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert HEAVY.isdisjoint(done.stderr.split())


def test_a_library_that_prints_can_not_corrupt_the_data(run, monkeypatch):
    import os

    import frontier_ops.stage_generate as stage

    generate = stage.synth.generate_lines

    def noisy(*args, **kwargs):
        os.write(1, b"from the descriptor\n")
        return generate(*args, **kwargs)

    monkeypatch.setattr(stage.synth, "generate_lines", noisy)
    done = run("synth gen -n 3 --skill binary --level 1")
    assert done.code == 0
    assert [line[:1] for line in done.out.splitlines()] == ["{", "{", "{"]
    assert "from the descriptor" in done.err


def test_a_shadowing_module_is_named(tmp_path, monkeypatch):
    (tmp_path / "trainer.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert shadowing_file(str(ROOT)) == str(tmp_path / "trainer.py")
    monkeypatch.setattr(sys, "path", [str(ROOT), str(tmp_path)])
    assert shadowing_file(str(ROOT)) == ""


@pytest.mark.parametrize(("line", "code"), [("validate nope.jsonl -vv", 2), ("synth gen -n 3 --skill x -vv", 2)])
def test_the_trace_of_vv_does_not_change_the_exit_code(run, line, code):
    done = run(line)
    assert done.code == code
    assert "Traceback" in done.err


def test_our_own_bug_exits_70_without_a_traceback(run, monkeypatch):
    import frontier_ops.stage_generate as stage

    monkeypatch.setattr(stage, "gen", lambda *_, **__: 1 / 0)
    done = run("synth gen -n 3")
    assert done.code == 70
    assert done.err.startswith("error: ZeroDivisionError: division by zero\nhint: this is a bug in frontier")


@pytest.mark.parametrize(("module", "extra"), [("transformers", "train"), ("starlette", "serve")])
def test_a_missing_extra_is_named_with_its_install_line(run, monkeypatch, module, extra):
    import frontier_ops.stage_generate as stage

    def needs(*_, **__):
        raise ModuleNotFoundError(f"No module named '{module}.utils'", name=f"{module}.utils")

    monkeypatch.setattr(stage, "gen", needs)
    done = run("synth gen -n 3")
    assert done.code == 3
    assert done.err == f"error: {module} is not installed\nhint: pip install 'frontier-data-engine[{extra}]'\n"
