"""What each command says of input that can't be read: exit code, one line, place; no traceback, no leftovers."""

import json

import pytest

PREFIX = "🤔🤔🤔🤔\n"
META = {"skill": "binary", "level": 1, "generator_id": "binary", "generator_version": "2.0.0", "seed": 1, "index": 0}
GOOD = json.dumps(
    {
        "messages": [{"role": "user", "content": "What is 7 + 5?"}, {"role": "assistant", "content": PREFIX + "12"}],
        "metadata": META,
    }
).encode()
ROLE = GOOD.replace(b'"user"', b'"usr"')

CASES = {
    "missing": (None, 2, "in.jsonl: no such file"),
    "empty": (b"", 4, "in.jsonl: is empty"),
    "truncated": (GOOD + b"\n" + GOOD[:40], 4, "in.jsonl:2: the line is cut off"),
    "no_object": (GOOD + b"\n[1]\n", 4, "in.jsonl:2: the row is an array, not a JSON object"),
    "utf8": (GOOD + b'\n{"a":"\xff"}\n', 4, "in.jsonl:2: invalid UTF-8 at byte 7 of the line"),
    "utf16": (GOOD.decode().encode("utf-16"), 4, "in.jsonl: is UTF-16"),
}
READERS = {
    "synth format in.jsonl -o out.jsonl": 4,
    "synth replay in.jsonl -o out.jsonl": 4,
    "synth format in.jsonl --to preference --rejected in.jsonl -o out.jsonl": 4,
    "synth coverage in.jsonl": 4,
    "synth review in.jsonl --export out.jsonl": 4,
    "train in.jsonl --model model -o out": 4,
    "telemetry ingest in.jsonl -o out.jsonl": 4,
    "reweight in.jsonl -o out.jsonl": 4,
    "reweight replay in.jsonl": 4,
    "reweight plot in.jsonl -o out.html": 4,
    "curriculum status in.jsonl": 4,
    "curriculum set in.jsonl --level 1 -o out.jsonl": 4,
    "curriculum advance in.jsonl --policy in.jsonl -o out.jsonl": 4,
    "synth gen -n 3 --policy in.jsonl -o out.jsonl": 4,
    "compare in.jsonl": 4,
    "stream in.jsonl -n 20 -o out.jsonl": 4,
    "lake add in.jsonl": 4,
}
JUDGES = ("synth verify in.jsonl -o out.jsonl", "validate in.jsonl -o out.jsonl")
TAKERS = (
    *JUDGES,
    "convert in.jsonl -o out.jsonl",
    "synth dedup in.jsonl -o out.jsonl",
    "import in.jsonl -o out.jsonl",
)
"""Those that keep what they can't use and go on; a wrong role is the business of judges only."""


def write(tmp_path, data):
    if data is not None:
        (tmp_path / "in.jsonl").write_bytes(data)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("line", READERS)
def test_a_command_that_needs_every_line_stops_at_the_bad_one(run, tmp_path, tiny_model, line, case):
    data, code, says = CASES[case]
    write(tmp_path, data)
    (tmp_path / "model").symlink_to(tiny_model)
    done = run(line)
    own_reason = line.startswith(("telemetry", "reweight", "curriculum", "compare", "synth gen")) and case in (
        "truncated",
        "no_object",
        "utf8",
    )
    assert done.code == code
    assert done.error.startswith("error: in.jsonl:1" if own_reason else f"error: {says}") or says in done.error
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not (tmp_path / "out.jsonl").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("case", ["missing", "empty", "utf16"])
@pytest.mark.parametrize("line", TAKERS)
def test_a_judge_refuses_a_file_it_can_not_read_at_all(run, tmp_path, line, case):
    if case == "utf16" and line.startswith("import"):
        pytest.skip("reads it")
    data, code, says = CASES[case]
    write(tmp_path, data)
    done = run(line)
    assert (done.code, done.error.startswith(f"error: {says}")) == (code, True)
    assert not (tmp_path / "out.jsonl").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("bad", "code", "pointer"),
    [
        (GOOD[:40], "truncated_line", ""),
        (b"[1]\n", "not_an_object", ""),
        (b'{"a":"\xff"}\n', "invalid_utf8", ""),
        (ROLE + b"\n", "wrong_role", "/messages/0/role"),
    ],
)
@pytest.mark.parametrize("line", TAKERS)
def test_a_judge_keeps_each_bad_line_and_goes_on(run, tmp_path, line, bad, code, pointer):
    if code == "wrong_role" and line not in JUDGES:
        pytest.skip("converts what it is given")
    write(tmp_path, GOOD + b"\n" + bad)
    done = run(line)
    assert done.code == 1
    assert "rejected 1" in done.err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1
    (reject,) = map(json.loads, (tmp_path / "out.rejects.jsonl").read_text().splitlines())
    assert (reject["path"], reject["line"], reject["code"], reject["pointer"]) == ("in.jsonl", 2, code, pointer)
    if "raw" in reject:
        assert reject["raw"] == bad.decode().rstrip("\n")
    else:
        import base64

        assert base64.b64decode(reject["raw_base64"]) == bad.rstrip(b"\n")
    meta = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert (meta["data"]["num_records"], meta["rejects"]) == (1, {code: 1})


def test_validate_says_place_reason_and_remedy_in_one_line(run, tmp_path):
    write(tmp_path, ROLE + b"\n")
    done = run("validate in.jsonl")
    assert done.err.splitlines()[0] == (
        'in.jsonl:1 /messages/0/role: "usr" is not one of "system", "user" or "assistant" [wrong_role]'
        " (roles are system, user and assistant, in lower case)"
    )
    assert (done.code, done.out) == (1, "")


@pytest.mark.parametrize("line", ["synth format in.jsonl -o out.jsonl", "train in.jsonl --model model -o out"])
def test_a_wrong_role_stops_what_can_not_go_on(run, tmp_path, tiny_model, line):
    write(tmp_path, GOOD + b"\n" + ROLE + b"\n")
    (tmp_path / "model").symlink_to(tiny_model)
    done = run(line)
    assert done.code == 4
    assert done.error.startswith("error: in.jsonl:2 /messages/0/role: ")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    "line",
    [
        "eval nope",
        "deploy nope --to t",
        "serve nope",
        "lineage show nope",
        "report nope",
        "deploy status nope",
        "deploy rollback nope",
        "deploy verify nope",
        "deploy prune nope",
        "doctor --run nope",
        "hosts check --hosts nope.json",
        "compare nope",
        "checkpoints list nope",
        "checkpoints verify nope",
        "checkpoints prune nope",
        "checkpoints snapshot nope",
    ],
)
def test_a_missing_folder_is_a_usage_error(run, line):
    done = run(line)
    assert (done.code, done.out) == (2, "")
    assert "nope" in done.error


def test_rejects_beyond_max_rejects_only(run, tmp_path):
    write(tmp_path, GOOD + b"\n" + ROLE + b"\n")
    assert run("validate in.jsonl -o out.jsonl --max-rejects 1").code == 0
    assert run("validate in.jsonl -o out.jsonl --max-rejects 50%").code == 0
    assert run("validate in.jsonl -o out.jsonl --max-rejects 49%").code == 1
    assert run("validate in.jsonl -o out.jsonl --max-rejects many").code == 2


def test_validate_json_is_one_report_on_stdout(run, tmp_path):
    write(tmp_path, GOOD + b"\n" + ROLE + b"\n")
    report = json.loads(run("validate --file in.jsonl --json").out)
    assert (report["num_records"], report["num_accepted"], report["rejects"]) == (2, 1, {"wrong_role": 1})
    assert report["findings"][0]["line"] == 2


def test_lines_of_foreign_spelling_pass_byte_for_byte(run, tmp_path):
    line = GOOD[:-2] + b', "own": 1.50e3, "n": ' + str(2**70).encode() + b"}}"
    write(tmp_path, line + b"\n")
    assert run("validate in.jsonl").out.encode() == line + b"\n"


def test_a_verifier_says_which_line_failed_and_why(run, tmp_path):
    write(tmp_path, GOOD.replace(b"n12", b"n13") + b"\n")
    done = run("synth verify in.jsonl")
    assert done.err.splitlines()[0] == "in.jsonl:1 /messages/1/content: expected 12, got 13 [wrong_answer]"


def test_many_rejects_are_said_twenty_times_and_then_summed_up(run, tmp_path):
    write(tmp_path, (ROLE + b"\n") * 50)
    done = run("validate in.jsonl")
    assert sum(line.startswith("in.jsonl:") for line in done.err.splitlines()) == 20
    assert "rejected 50 (50 wrong_role)" in done.err


def test_a_bad_max_rejects_is_said_before_the_work(run, tmp_path):
    write(tmp_path, GOOD + b"\n")
    assert run("validate in.jsonl -o out.jsonl --max-rejects many").code == 2
    assert not (tmp_path / "out.jsonl").exists()


def test_a_run_into_the_model_it_starts_from_is_refused(run, tmp_path, tiny_model):
    write(tmp_path, GOOD + b"\n")
    (tmp_path / "model").symlink_to(tiny_model)
    assert run("train in.jsonl --model model -o model").code == 2


def test_logs_without_telemetry_are_no_telemetry(run, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"log_history": [], "global_step": 0}\n')
    done = run("telemetry ingest in.jsonl -o out.jsonl")
    assert done.code == 4
    assert not (tmp_path / "out.jsonl").exists()


def test_input_and_output_must_differ(run, tmp_path):
    write(tmp_path, GOOD + b"\n")
    done = run("validate in.jsonl -o in.jsonl")
    assert (done.code, done.error) == (2, "error: in.jsonl: is used twice")
