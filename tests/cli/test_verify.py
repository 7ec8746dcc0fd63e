"""`frontier synth verify` as its users live with it: interruption, cache, summary, verdicts, options."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_cli.verdicts import summary_table, work_words
from frontier_core.errors import EnvironmentMissing
from frontier_core.schemas import load_schema

FRONTIER = Path(sys.executable).parent / "frontier"


@pytest.fixture(scope="module")
def native():
    """Skips where user namespaces are forbidden."""
    from validators.sandbox.backend import open_sandbox

    try:
        open_sandbox("native-ns").close()
    except EnvironmentMissing as error:
        pytest.skip(error.message)


def plan(command, **keys):
    record = {
        "instruction": f"do {command}",
        "output": [{"command": command}],
        "expect": {"allow_other_changes": True, "stdout_regex": r"(?s).*"},
        "metadata": {"skill": "shell_test", "domain": "test"},
    }
    return record | keys


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def slow_plans(count):
    """Plans of about 50 ms each."""
    return [plan(f"sleep 0.05; echo {number} | tee out{number}") for number in range(count)]


def verify_process(tmp_path, *words, **options):
    command = [FRONTIER, "synth", "verify", "in.jsonl", "--sandbox", "native-ns", *words]
    env = {**os.environ, "NO_COLOR": "1"}
    return subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, **options)


def wait_for_verdicts(journal, count, process):
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on_and_goes_on(native, tmp_path, number, code):
    write(tmp_path / "in.jsonl", slow_plans(40))
    process = verify_process(tmp_path, "-o", "out.jsonl")
    wait_for_verdicts(tmp_path / "out.jsonl.journal", 10, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "hint: the same command goes on where this one stopped; verdicts so far are in out.jsonl.journal" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl.journal"]
    kept = (tmp_path / "out.jsonl.journal").read_bytes().count(b"\n")
    again = verify_process(tmp_path, "-o", "out.jsonl")
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0
    assert f"going on from out.jsonl.journal: {kept} verdicts" in errors
    assert f"{kept} verdicts taken over" in errors
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 40
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_json_is_the_summary_in_one_line(native, run, tmp_path):
    write(tmp_path / "in.jsonl", [plan("echo a | tee a"), plan("exit 3"), {"no": "spec"}])
    done = run("synth verify in.jsonl -o out.jsonl --sandbox native-ns --json --max-rejects 2")
    summary = json.loads(done.out)
    assert done.code == 0
    assert {key: summary[key] for key in ("num_in", "accepted", "rejected", "not_judged", "reasons")} == {
        "num_in": 3, "accepted": 1, "rejected": 2, "not_judged": 0, "reasons": {"nonzero": 1, "unknown_spec": 1},
    }  # fmt: skip
    assert summary["sandbox"]["backend"] == "native-ns"
    assert summary["num_run"] == 2
    assert done.out.count("\n") == 1


def test_json_and_records_on_one_standard_output_are_refused(run, tmp_path):
    write(tmp_path / "in.jsonl", [plan("echo a")])
    done = run("synth verify in.jsonl --json")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: --json: standard output carries the records\nhint: write the records to a file with -o FILE\n"
    )


def test_the_summary_names_every_reason_and_the_work_behind_it(native, run, tmp_path):
    write(tmp_path / "in.jsonl", [plan("echo a | tee a"), plan("exit 3"), plan("echo only talks"), {"no": "spec"}])
    done = run("synth verify in.jsonl -o out.jsonl --sandbox native-ns --workers 1 --max-rejects 3")
    assert "domain   lines  accepted  rejected  not judged  reasons" in done.err
    assert "test         3         1         2           0  1 nonzero, 1 narration" in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("verified 1 of 4, rejected 3 (1 nonzero, 1 narration, 1 unknown_spec); ")
    assert "native-ns x 1" in last
    assert last.endswith("rejects in out.rejects.jsonl")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("--sandbox docker-nz", "unknown sandbox 'docker-nz'", "did you mean 'docker-ns'?"),
        ("--engine rey", "unknown engine 'rey'", "did you mean 'ray'?"),
        ("--no-rule naration", "unknown rule 'naration'", "did you mean 'narration'?"),
        ("--warn-rule trap_exit,no_efect", "unknown rule 'no_efect'", "did you mean 'no_effect'?"),
    ],
)
def test_a_mistyped_name_names_the_nearest(run, tmp_path, words, message, hint):
    write(tmp_path / "in.jsonl", [plan("echo a | tee a")])
    done = run(f"synth verify in.jsonl -o out.jsonl {words}")
    assert (done.code, done.err) == (2, f"error: {message}\nhint: {hint}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_rule_can_be_switched_off_or_only_warn(native, run, tmp_path):
    talk = plan("echo only talks")
    del talk["expect"]
    write(tmp_path / "in.jsonl", [talk])
    line = "synth verify in.jsonl -o out.jsonl --sandbox native-ns --verdicts verdicts.jsonl"
    assert run(line).code == 1
    assert run(f"{line} --no-rule narration").code == 0
    assert json.loads((tmp_path / "verdicts.jsonl").read_text())["findings"] == []
    assert run(f"{line} --warn-rule narration").code == 0
    (finding,) = json.loads((tmp_path / "verdicts.jsonl").read_text())["findings"]
    assert (finding["code"], finding["severity"]) == ("narration", "warning")


def test_the_verdicts_of_a_real_run_keep_their_schema_and_tell_what_happened(native, run, tmp_path):
    plans = [plan("mkdir d; echo a | tee d/a"), plan("seq 5 >&2; kill -9 $$"), plan("sleep 9"), plan("yes"), {"no": 1}]
    write(tmp_path / "in.jsonl", plans)
    run("synth verify in.jsonl -o out.jsonl --sandbox native-ns --timeout 0.5 --output-limit 4 --verdicts v.jsonl")
    got = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    validator = jsonschema_rs.validator_for(load_schema("verdict_v1"))
    for line in got:
        validator.validate(line)
    assert [line["code"] for line in got] == ["ok", "nonzero", "timeout", "output_limit", "unknown_spec"]
    assert [(change["path"], change["change"], change["kind"]) for change in got[0]["diff"]] == [
        ("d", "added", "dir"), ("d/a", "added", "file"),
    ]  # fmt: skip
    assert (got[1]["exit_code"], got[1]["signal"], got[1]["stderr"]) == (137, 9, "1\n2\n3\n4\n5\n")
    assert 0.5 <= got[2]["wall_s"] < 1.5
    assert got[3]["stdout_truncated"] is True
    assert got[0]["limits"]["timeout_s"] == 0.5
    assert len({line["key"] for line in got}) == 5
    assert got[4]["key"] == ""


def test_repeat_finds_a_plan_that_ends_differently_each_time(native, run, tmp_path):
    write(tmp_path / "in.jsonl", [plan("echo $((RANDOM * 32768 + RANDOM)) words | sed s/^/n/ | tee out")])
    line = "synth verify in.jsonl -o out.jsonl --sandbox native-ns --json --max-rejects 1"
    assert json.loads(run(line).out)["accepted"] == 1
    assert json.loads(run(f"{line} --repeat 3").out)["reasons"] == {"nondeterministic": 1}


def test_a_cache_is_shared_by_pipes(native, run, tmp_path):
    text = "".join(json.dumps(plan(f"echo {n} | tee {n}")) + "\n" for n in range(5))
    first = run("synth verify --sandbox native-ns --cache cache.jsonl", stdin=text)
    again = run("synth verify --sandbox native-ns --cache cache.jsonl", stdin=text)
    assert (first.code, again.code) == (0, 0)
    assert first.out == again.out
    assert first.out.count("\n") == 5
    assert "taken over" not in first.err
    assert "5 verdicts taken over" in again.err


def test_raw_candidates_are_judged_with_a_world_made_for_them(native, run, tmp_path):
    write(tmp_path / "in.jsonl", [{"intent": "show the log", "plan": ["cat app.log"], "domain": "logs"}])
    line = "synth verify in.jsonl -o out.jsonl --sandbox native-ns --max-rejects 1"
    run(line)
    assert (tmp_path / "out.jsonl").read_text() == ""
    assert run(f"{line} --auto-fixtures").code == 0
    record = json.loads((tmp_path / "out.jsonl").read_text())
    assert record["instruction"] == "show the log"
    assert "app.log" in record["fixture"]["files"]


def test_what_the_sandbox_can_not_judge_exits_3_and_keeps_the_rest_for_the_next_try(native, run, tmp_path):
    broken = plan("cat a", fixture={"setup": "exit 7"})
    write(tmp_path / "in.jsonl", [plan("echo a | tee a"), broken])
    done = run("synth verify in.jsonl -o out.jsonl --sandbox native-ns")
    assert done.code == 3
    assert done.err.splitlines()[-1] == (
        "hint: mend the sandbox and verify again; verdicts so far are in out.jsonl.journal; or --allow-unverified"
    )
    assert "1 verdict taken over" in run("synth verify in.jsonl -o out.jsonl --sandbox native-ns").err
    assert run("synth verify in.jsonl -o out.jsonl --sandbox native-ns --allow-unverified").code == 0
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_ray_without_ray_names_the_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    write(tmp_path / "in.jsonl", [plan("echo a | tee a")])
    done = run("synth verify in.jsonl -o out.jsonl --engine ray")
    assert (done.code, done.err) == (
        3, "error: ray is not installed\nhint: pip install 'frontier-data-engine[ray]'\n",
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


REPORT = {
    "num_run": 7,
    "plans_per_s": 3.5,
    "plan_cpu_s": 1.25,
    "num_remembered": 2,
    "workers": 2,
    "sandbox": {"backend": "docker-ns"},
    "groups": {
        "git": {"accepted": 1200, "rejected": 0, "not_judged": 0, "reasons": {}},
        "text_processing": {
            "accepted": 3, "rejected": 60, "not_judged": 1,
            "reasons": {"wrong_file": 20, "nonzero": 20, "timeout": 10, "swallows_errors": 6, "narration": 4},
        },
    },
}  # fmt: skip


def test_the_table_names_every_reason():
    assert summary_table(REPORT, 120) == [
        "domain           lines  accepted  rejected  not judged  reasons",
        "git               1200      1200         0           0",
        "text_processing     64         3        60           1  "
        "20 wrong_file, 20 nonzero, 10 timeout, 6 swallows_errors, 4",
        "                                                        narration",
    ]


def test_a_narrow_terminal_gets_sentences():
    assert summary_table(REPORT, 50) == [
        "git: 1200 of 1200 accepted",
        "text_processing: 3 of 64 accepted, 60 rejected (20",
        "    wrong_file, 20 nonzero, 10 timeout, 6",
        "    swallows_errors, 4 narration), 1 not judged",
    ]


@given(width=st.integers(30, 200))
def test_no_line_of_the_table_is_wider_than_the_terminal_and_nothing_is_left_out(width):
    table = summary_table(REPORT, width)
    assert max(map(len, table)) <= width
    words = " ".join(" ".join(table).split())
    assert "20 wrong_file, 20 nonzero, 10 timeout, 6 swallows_errors, 4 narration" in words


def test_the_work_is_told_in_words():
    assert work_words(REPORT) == "3.5 plans/s, 1.2 CPU s in plans, docker-ns x 2, 2 verdicts taken over"
    assert work_words(REPORT | {"num_run": 0, "num_remembered": 0, "sandbox": {}}) == ""


def test_a_terminal_gets_a_bar_with_rate_and_verdicts(native, tmp_path):
    write(tmp_path / "in.jsonl", slow_plans(30))
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [FRONTIER, "synth", "verify", "in.jsonl", "-o", "out.jsonl", "--sandbox", "native-ns"]
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    while process.poll() is None or select.select([leader], [], [], 0)[0]:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                shown += os.read(leader, 1 << 16)
            except OSError:  # the other end is closed: all was read
                break
    os.close(leader)
    assert process.wait(30) == 0
    text = shown.decode(errors="replace")
    assert "/s: " in text
    assert " ok" in text
    assert "%" in text
    assert "verified 30 of 30" in text
