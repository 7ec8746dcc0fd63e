"""`frontier synth teach` from the command line: exit codes, words, and what it refuses to do."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frontier_cli.main import main

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from llm_server import serving

ROOT = Path(__file__).parent.parent.parent
TASKS = "".join(json.dumps({"skill": "chat", "question": f"What is {n}?"}) + "\n" for n in range(6))


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture
def teach(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("tasks.jsonl").write_text(TASKS)

    def call(line):
        capfd.readouterr()
        code = main(["synth", "teach", *line.split()])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def test_tasks_from_a_file_become_records_on_stdout(teach, server):
    code, out, err = teach(f"tasks.jsonl --template chat_answer --teacher openai:m@{server.url}")
    assert (code, len(out.splitlines())) == (0, 6)
    assert err.splitlines()[-2:] == ["taught 6 of 6", "6 requests, 0 from the journal"]


def test_a_hundred_and_one_tasks_of_domains_cost_one_request_more_than_a_hundred(teach, server):
    line = f"--skill shell --template shell_plan --teacher anthropic:m@{server.url} -o out.jsonl"
    assert teach(f"-n 100 {line}")[0] == 0
    assert "1 requests, 100 from the journal" in teach(f"-n 101 {line}")[2]
    assert json.loads(Path("out.jsonl.meta.json").read_text())["counts"]["skill=shell_git,level=1"] >= 4


def test_the_records_pass_the_gates(teach, server):
    teach(f"tasks.jsonl --template chat_answer --teacher openai:m@{server.url} -o out.jsonl")
    assert main(["validate", "out.jsonl", "--level", "quick"]) == 0


def test_a_dry_run_asks_nobody_and_makes_no_file(teach, server):
    before = server.num_requests
    line = f"tasks.jsonl --template chat_answer --teacher openai:m@{server.url} -o out.jsonl --price-in 1 --price-out 2"
    code, out, err = teach(f"{line} --dry-run")
    found = json.loads(out)
    assert (code, found["num_requests"], found["num_measured"], server.num_requests) == (0, 6, 0, before)
    assert found["usd"] > 0
    assert "nobody was asked" in err
    assert not list(Path().glob("out*"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--teacher openai:m@URL", "--template is missing"),
        ("--template chat_answr --teacher openai:m@URL", "there is no template 'chat_answr'"),
        ("--template chat_answer", "--teacher: '' is not of the form"),
        ("--template chat_answer --teacher openai:m@URL --skill shell", "need -n"),
        ("tasks.jsonl --template chat_answer --teacher openai:m@URL -n 3", "-n makes its own tasks"),
        ("--template chat_answer --teacher openai:m@URL --price-in 1", "a price has two parts"),
        ("tasks.jsonl --template chat_answer --teacher openai:m@URL --budget-usd 1", "needs the model's price"),
        ("tasks.jsonl --template chat_answer --teacher openai:m@URL --param x", "--param: 'x'"),
        ("tasks.jsonl --template chat_answer --teacher openai:m", "this asks a paid service"),
        ("nope.jsonl --template chat_answer --teacher openai:m@URL", "nope.jsonl: no such file"),
    ],
)
def test_a_wrong_call_exits_2_and_says_why(teach, server, line, message):
    code, out, err = teach(line.replace("URL", server.url))
    assert (code, out) == (2, "")
    assert message in err
    assert "hint: " in err or "needs" in err


def test_the_provider_itself_needs_a_key_from_the_environment(teach, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, _, err = teach("tasks.jsonl --template chat_answer --teacher openai:m --force")
    assert code == 3
    assert "the teacher's key is not set: OPENAI_API_KEY" in err


def test_a_teacher_that_is_gone_exits_5_and_says_how_to_go_on(teach):
    with serving() as server:
        pass
    Path("tasks.jsonl").write_text(TASKS * 20)
    code, _, err = teach(f"tasks.jsonl --template chat_answer --teacher openai:m@{server.url} -o out.jsonl")
    assert code == 5
    assert "error: the teacher does not answer: " in err
    assert "is it running?" in err
    assert "0 replies are kept in out.journal.jsonl" in err


def test_a_few_rows_that_nobody_answers_are_rejected_one_by_one(teach):
    with serving() as server:
        pass
    line = f"tasks.jsonl --template chat_answer --teacher openai:m@{server.url} -o out.jsonl --retries 0"
    code, _, err = teach(line)
    assert code == 1
    assert "taught 0 of 6, rejected 6 (6 connection)" in err


def test_a_budget_that_is_reached_exits_1_and_says_so(teach, server):
    limits = "--max-tokens-total 400 --concurrency 1"
    code, out, err = teach(f"tasks.jsonl --template chat_answer --teacher openai:m@{server.url} {limits}")
    assert code == 1
    assert 1 <= len(out.splitlines()) < 6
    assert "stopped by the budget" in err


def test_batch_files_from_the_command_line(teach, server):
    line = f"tasks.jsonl --template chat_answer --teacher openai:m@{server.url} -o out.jsonl"
    code, out, err = teach(f"{line} --batch-out batch.jsonl")
    assert (code, out) == (0, "")
    assert "6 requests in batch.jsonl" in err
    assert [json.loads(row)["method"] for row in Path("batch.jsonl").read_text().splitlines()] == ["POST"] * 6


def test_an_interrupted_run_keeps_what_was_answered(tmp_path):
    (tmp_path / "tasks.jsonl").write_text(TASKS * 500)  # far from done when the signal comes
    with serving(latency_s=0.02) as server:
        line = ["synth", "teach", "tasks.jsonl", "--template", "chat_answer", "--teacher", f"openai:m@{server.url}"]
        line += ["--concurrency", "4", "-o", "out.jsonl"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "frontier_cli.main", *line]
        child = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while server.num_requests < 40 and time.monotonic() < deadline:
            time.sleep(0.005)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
        assert child.returncode == 130
        assert "Traceback" not in err
        num_kept = len((tmp_path / "out.journal.jsonl").read_text().splitlines())
        assert num_kept >= server.num_requests - 4
    assert not (tmp_path / "out.jsonl").exists()
    assert not list(tmp_path.glob(".*tmp"))
