"""`synth teach` against a real server on loopback that fails in every way we know."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from frontier_core.domains import Domain
from frontier_core.errors import EnvironmentMissing, ServiceAuthError, ServiceHttpError, ServiceUnavailable, UsageError
from frontier_ops.stage_files import Target
from frontier_ops.stage_teach import Teaching, batch, estimate, teach
from generators.synth import Request as Cell
from generators.teachers.ledger import Price
from generators.teachers.wire import parse_teacher
from generators.templates import load_template

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from llm_server import serving
from llm_wire import Anthropic, OpenAI, digest

ROOT = Path(__file__).parent.parent.parent
DIRECT = """
name: direct
skill: chat
user: "{{ q }}"
reply_tokens: 25
turns:
  - {role: user, content: "{{ q }}"}
  - {role: assistant, content: "{{ answer }}"}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "direct.yaml").write_text(DIRECT)
    return tmp_path


def write_tasks(questions, path="tasks.jsonl"):
    Path(path).write_text("".join(json.dumps({"q": question}) + "\n" for question in questions))
    return path


def teaching(server, tasks, *, kind="openai", template="direct.yaml", **settings):
    settings.setdefault("timeout_s", 20.0)
    settings.setdefault("cool_s", 0.01)
    return Teaching(
        teacher=parse_teacher(f"{kind}:m@{server.url}"), template=load_template(template), tasks=tasks, **settings
    )


def read(path="out.jsonl"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def questions_of(records):
    return [record["messages"][0]["content"] for record in records]


@pytest.fixture(scope="module")
def server():
    with serving(latency_s=0.002) as running:
        yield running


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_records_come_in_the_order_of_the_tasks(server, kind):
    wanted = [f"question {n}" for n in range(60)]
    result = teach(teaching(server, write_tasks(wanted), kind=kind), Target(output="out.jsonl"))
    assert (result.num_in, result.num_out, result.num_rejected) == (60, 60, 0)
    assert questions_of(read()) == wanted
    meta = json.loads(Path("out.jsonl.meta.json").read_text())
    assert meta["params"]["usage"]["num_requests"] == 60
    assert meta["params"]["teacher"] == f"{kind}:m"


def test_without_the_faster_event_loop_the_records_are_the_same(server, monkeypatch):
    tasks = write_tasks(f"question {n}" for n in range(20))
    teach(teaching(server, tasks), Target(output="fast.jsonl"))
    monkeypatch.setitem(sys.modules, "uvloop", None)
    teach(teaching(server, tasks), Target(output="plain.jsonl"))
    assert Path("plain.jsonl").read_bytes() == Path("fast.jsonl").read_bytes()


@pytest.mark.parametrize(
    "fault", ["@500*1", "@503*1", "@529*1", "@429*2", "@drop*1", "@cut*1", "@garbage*1", "@slow*1", "@hang*1"]
)
def test_a_fault_costs_a_retry_and_no_row(fault):
    wanted = [f"question {n} {fault if n == 3 else ''}" for n in range(8)]
    with serving(retry_after_s=0.01) as faulty:
        settings = {"timeout_s": 0.3} if fault in ("@slow*1", "@hang*1") else {}
        result = teach(teaching(faulty, write_tasks(wanted), **settings), Target(output="out.jsonl"))
    assert questions_of(read()) == [question.strip() for question in wanted]
    assert sum(result.report["failures"].values()) == int(fault[-1])


def test_retry_after_may_be_a_date():
    with serving(retry_after_s=1.0, retry_after_date=True) as server:
        began = time.monotonic()
        teach(teaching(server, write_tasks(["@429*1"])), Target(output="out.jsonl"))
    assert server.statuses == {429: 1, 200: 1}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("fault", "code"), [("@400", "http_400"), ("@500", "http_500"), ("@drop", "connection")])
def test_a_row_that_fails_for_good_is_rejected_alone(fault, code):
    wanted = [f"question {n} {fault + '*99' if n == 3 else ''}".strip() for n in range(8)]
    with serving() as faulty:
        result = teach(teaching(faulty, write_tasks(wanted), retries=1), Target(output="out.jsonl"))
    assert (result.num_out, dict(result.tally.rejects)) == (7, {code: 1})
    assert questions_of(read()) == [question for question in wanted if "@" not in question]
    reject = read("out.rejects.jsonl")[0]
    assert (reject["line"], json.loads(reject["raw"])["q"]) == (4, wanted[3])


def test_a_slow_row_holds_up_nobody():
    wanted = ["@500*3 first"] + [f"question {n}" for n in range(40)]
    with serving() as faulty:
        teach(teaching(faulty, write_tasks(wanted), concurrency=2), Target(output="out.jsonl"))
        order = [body["messages"][-1]["content"] for body in faulty.bodies]
    assert questions_of(read()) == wanted
    assert order.index("question 39") < len(order) - 1 - order[::-1].index("@500*3 first")


def test_bad_lines_and_missing_slots_are_rejected_and_nobody_is_asked(server):
    Path("tasks.jsonl").write_text('{"q":"a"}\nnot json\n{"x":1}\n{"q":"b"}\n')
    before = server.num_requests
    result = teach(teaching(server, "tasks.jsonl"), Target(output="out.jsonl"))
    assert dict(result.tally.rejects) == {"invalid_json": 1, "slot": 1}
    assert questions_of(read()) == ["a", "b"]
    assert server.num_requests - before == 2


@pytest.mark.parametrize(
    ("template", "task", "code"),
    [
        ("direct.yaml", {"q": "x", "level": "two"}, "bad_task"),
        ("skill_answer", {"skill": "poetry", "prompt": "x"}, "no_verifier"),
        ("skill_answer", {"skill": "math_mc"}, "slot"),
        ("skill_answer", {"skill": "tool_use", "prompt": "x"}, "bad_task"),
    ],
)
def test_a_task_no_answer_could_serve_is_not_asked(server, template, task, code):
    Path("tasks.jsonl").write_text(json.dumps(task) + "\n")
    before = server.num_requests
    run = teaching(server, "tasks.jsonl", template=template)
    guess = estimate(run)
    assert (guess["num_bad_tasks"], guess["num_requests"]) == (1, 0)
    result = teach(run, Target(output="out.jsonl"))
    assert (dict(result.tally.rejects), server.num_requests) == ({code: 1}, before)


def test_a_task_s_own_bad_fixture_is_not_blamed_on_the_teacher():
    task = {"skill": "s", "instruction": "Do it.", "fixture": {"files": {"/etc/x": {}}}, "expect": {}}
    Path("tasks.jsonl").write_text(json.dumps(task) + "\n")
    with serving() as server:
        result = teach(teaching(server, "tasks.jsonl", template="shell_plan"), Target(output="out.jsonl"))
    assert (dict(result.tally.rejects), server.num_requests) == ({"bad_task": 1}, 1)


def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_reason():
    bad = json.dumps({"question": "Why so?"})
    task = {"skill": "chat", "question": f"@say{bad}@"}
    Path("tasks.jsonl").write_text(json.dumps(task) + "\n")
    with serving() as server:
        run = teaching(server, "tasks.jsonl", template="chat_answer")
        teach(run, Target(output="out.jsonl"))
        second = server.bodies[1]
    assert [turn["role"] for turn in second["messages"]] == ["system", "user", "assistant", "user"]
    assert second["messages"][2]["content"] == bad
    assert '"reply" is a required property' in second["messages"][3]["content"]
    assert read()[0]["metadata"]["teacher"]["num_asked"] == 2


def test_answers_that_never_fit_are_rejected_with_the_last_one():
    Path("tasks.jsonl").write_text(json.dumps({"skill": "chat", "question": "@short"}) + "\n")
    with serving() as server:
        result = teach(teaching(server, "tasks.jsonl", template="chat_answer", repairs=0), Target(output="out.jsonl"))
    assert dict(result.tally.rejects) == {"cut_off": 1}
    assert read("out.rejects.jsonl")[0]["answer"].startswith('{"question"')


def test_one_task_more_is_one_request_more_and_the_rest_byte_for_byte(server):
    wanted = [f"again {n}" for n in range(30)]
    teach(teaching(server, write_tasks(wanted)), Target(output="out.jsonl"))
    first, before = Path("out.jsonl").read_bytes(), server.num_requests
    teach(teaching(server, write_tasks([*wanted, "one more"])), Target(output="out.jsonl"))
    assert server.num_requests - before == 1
    assert Path("out.jsonl").read_bytes().startswith(first)


def test_samples_of_one_task_are_asked_for_apart():
    with serving() as server:
        run = teaching(server, write_tasks(["same"]), samples=5)
        assert teach(run, Target(output="out.jsonl")).num_out == 5
        assert server.num_requests == 5
        assert teach(run, Target(output="out.jsonl")).report["num_requests"] == 0
    assert len({record["metadata"]["teacher"]["key"] for record in read()}) == 5


def test_cells_of_domains_are_asked_as_often_as_they_count(server):
    domain = Domain(name="files", skill="shell_file_system", levels=(1, 2), brief="Files.", tools=("bash",))
    cells = [Cell(domain=domain, level=1, count=3), Cell(domain=domain, level=2, count=2)]
    teach(teaching(server, cells, template="shell_plan"), Target(output="out.jsonl"))
    assert [record["metadata"]["level"] for record in read()] == [1, 1, 1, 2, 2]
    assert {record["metadata"]["domain"] for record in read()} == {"files"}


def test_an_outage_is_waited_for_and_then_ends_the_run_with_the_journal_kept():
    with serving() as server:
        teach(teaching(server, write_tasks([f"q{n}" for n in range(5)])), Target(output="out.jsonl"))
        server.down = True
        with pytest.raises(ServiceUnavailable, match="does not answer: HTTP 500: down") as error:
            teach(teaching(server, write_tasks([f"q{n}" for n in range(500)])), Target(output="out.jsonl"))
        assert "5 replies are kept in out.journal.jsonl" in error.value.hint
        assert server.num_requests < 60
        assert len(read()) == 5
        server.down = False
        assert teach(teaching(server, "tasks.jsonl"), Target(output="out.jsonl")).report["num_cached"] == 5


def test_an_outage_in_between_loses_nothing():
    with serving(latency_s=0.001) as server:
        answer, seen = server.decide, count()

        def decide(*request):
            server.down = 40 <= next(seen) < 55
            return answer(*request)

        server.decide = decide
        wanted = [f"q{n}" for n in range(150)]
        result = teach(teaching(server, write_tasks(wanted), retries=20, cool_s=0.005), Target(output="out.jsonl"))
    assert questions_of(read()) == wanted
    assert result.report["failures"] == {"http_500": 15}


def test_nobody_there_ends_the_run():
    with serving() as server:
        pass
    with pytest.raises(ServiceUnavailable):
        teach(teaching(server, write_tasks([f"q{n}" for n in range(50)])), Target(output="out.jsonl"))


def test_a_wrong_key_and_a_used_up_quota_end_the_run_at_once(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret-value")
    with serving(key="right") as server, pytest.raises(ServiceAuthError) as error:
        teach(teaching(server, write_tasks(["a"] * 50), key_env="MY_KEY"), Target(output="out.jsonl"))
    assert "secret" not in error.value.message + error.value.hint
    assert server.num_requests <= 16
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(EnvironmentMissing, match="MY_KEY"):
        teach(teaching(server, "tasks.jsonl", key_env="MY_KEY"), Target(output="out.jsonl"))
    assert "secret" not in Path("out.journal.jsonl").read_text()


def test_a_service_that_refuses_every_request_is_asked_ten_times():
    with serving() as server, pytest.raises(ServiceHttpError, match="refuses every request: HTTP 404"):
        teach(
            teaching(server, write_tasks([f"@404 {n}" for n in range(500)]), concurrency=4), Target(output="out.jsonl")
        )
    assert 10 <= server.num_requests <= 14


def test_the_key_is_sent_only_where_it_is_meant_to_go(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-the-provider")
    monkeypatch.setenv("LOCAL_KEY", "mine")
    with serving(key="mine") as server:
        with pytest.raises(ServiceAuthError):
            teach(teaching(server, write_tasks(["a"])), Target(output="out.jsonl"))
        assert teach(teaching(server, "tasks.jsonl", key_env="LOCAL_KEY"), Target(output="out.jsonl")).num_out == 1


@pytest.mark.parametrize("limit", ["usd", "tokens"])
def test_a_budget_stops_within_one_window_and_the_output_is_kept(limit):
    wanted = [f"question number {n}" for n in range(300)]
    price = Price(tokens_in=100.0, tokens_out=100.0)
    limits = {"budget_usd": 0.5} if limit == "usd" else {"max_tokens_total": 5000}
    with serving(latency_s=0.002) as server:
        run = teaching(server, write_tasks(wanted), price=price, concurrency=8, **limits)
        result = teach(run, Target(output="out.jsonl"))
        spent = result.report["tokens_in"] + result.report["tokens_out"]
        per_row = spent / result.num_out
        assert 5000 - 8 * per_row <= spent <= 5000 + 8 * per_row
        assert result.report["num_unasked"] >= 1
        assert questions_of(read()) == wanted[: result.num_out]
        asked = server.num_requests
        assert teach(run, Target(output="out.jsonl")).report["num_requests"] <= 1  # the budget is the job's
        assert server.num_requests - asked <= 1


def test_a_dry_run_asks_nobody_and_is_within_ten_percent_after_a_pilot():
    wanted = [f"Tell me about thing number {n} and why it matters to people." for n in range(300)]
    with serving() as server:
        pilot = teaching(server, write_tasks(wanted[:20], "pilot.jsonl"), journal="j.jsonl")
        teach(pilot, Target(output="out.jsonl"))
        before = server.num_requests
        price = Price(tokens_in=1.0, tokens_out=2.0)
        whole = teaching(server, write_tasks(wanted), journal="j.jsonl", price=price)
        journal = Path("j.jsonl").read_bytes()
        guess = estimate(whole)
        assert (server.num_requests, Path("j.jsonl").read_bytes()) == (before, journal)
        real = teach(whole, Target(output="out.jsonl")).report
    assert (guess["num_tasks"], guess["num_cached"], guess["num_requests"]) == (300, 20, 280)
    pilot_share = 20 / 300
    assert guess["tokens_in"] == pytest.approx(real["tokens_in"] * (1 - pilot_share), rel=0.1)
    assert guess["tokens_out"] == pytest.approx(real["tokens_out"] * (1 - pilot_share), rel=0.1)
    assert guess["usd"] == pytest.approx(real["usd_this_run"], rel=0.1)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_batch_gives_the_records_that_asking_gives(kind):
    wanted = [f"question {n}" for n in range(12)]
    with serving() as server:
        run = teaching(server, write_tasks(wanted), kind=kind)
        teach(run, Target(output="asked.jsonl"))
        result = batch(run, Target(output="out.jsonl"), requests="batch.jsonl")
        assert (result.report["num_requests"], Path("out.jsonl").exists()) == (12, False)
        text = Path("batch.jsonl").read_text()
        entries = (
            json.loads(text)["requests"] if kind == "anthropic" else [json.loads(line) for line in text.splitlines()]
        )
        answers = run_batch(server, kind, entries)
        Path("results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in answers[::-1]))
        assert batch(run, Target(output="out.jsonl"), results="results.jsonl").num_out == 12
    assert Path("out.jsonl").read_bytes() == Path("asked.jsonl").read_bytes()


def run_batch(server, kind, entries):
    """What the provider's batch service does with a file: each request through the same API."""
    lines = []
    for entry in entries:
        assert len(entry["custom_id"]) == 32
        body = entry["body"] if kind == "openai" else entry["params"]
        api = OpenAI if kind == "openai" else Anthropic
        api.check(body)
        document = server.answer(api, body, api.texts(body), digest(body))
        if kind == "openai":
            lines.append(
                {"custom_id": entry["custom_id"], "response": {"status_code": 200, "body": document}, "error": None}
            )
        else:
            lines.append({"custom_id": entry["custom_id"], "result": {"type": "succeeded", "message": document}})
    return lines


def test_a_batch_with_gaps_says_why_and_writes_what_is_left():
    with serving() as server:
        run = teaching(server, write_tasks(["a", "b", "c"]))
        batch(run, Target(output="out.jsonl"), requests="batch.jsonl")
        entries = [json.loads(line) for line in Path("batch.jsonl").read_text().splitlines()]
        answers = run_batch(server, "openai", entries)
        answers[1] = {"custom_id": entries[1]["custom_id"], "response": None, "error": {"message": "expired"}}
        Path("results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in answers[:2]))
        result = batch(run, Target(output="out.jsonl"), results="results.jsonl")
        assert dict(result.tally.rejects) == {"batch_failed": 1, "not_in_batch": 1}
        assert "expired" in read("out.rejects.jsonl")[0]["message"]
        result = batch(run, Target(output="out.jsonl"), results="results.jsonl", requests="rest.jsonl")
        assert (result.num_out, result.report["num_requests"]) == (1, 2)


def test_a_file_of_something_else_is_no_batch_result(server):
    from frontier_core.errors import DataError

    Path("results.jsonl").write_text('{"custom_id":"mine"}\n')
    with pytest.raises(DataError, match=r"results\.jsonl:1 /custom_id"):
        batch(teaching(server, write_tasks(["a"])), Target(output="out.jsonl"), results="results.jsonl")


def test_a_bad_line_among_a_batch_s_results_costs_only_itself():
    with serving() as server:
        run = teaching(server, write_tasks(["a", "b"]))
        batch(run, Target(output="out.jsonl"), requests="batch.jsonl")
        entries = [json.loads(line) for line in Path("batch.jsonl").read_text().splitlines()]
        good = [json.dumps(line) for line in run_batch(server, "openai", entries)]
        odd = json.dumps({"custom_id": entries[0]["custom_id"], "response": "gone"})
        lines = [odd, '{"custom_id":"mine"}', good[0], "no json", good[1]]
        Path("results.jsonl").write_text("\n".join(lines) + "\n")
        result = batch(run, Target(output="out.jsonl"), results="results.jsonl")
    assert (result.num_out, dict(result.tally.rejects)) == (2, {"bad_result": 1, "invalid_json": 1})
    found = [(line["path"], line["line"], line["pointer"], line["raw"]) for line in read("out.rejects.jsonl")]
    assert found == [
        ("results.jsonl", 2, "/custom_id", '{"custom_id":"mine"}'),
        ("results.jsonl", 4, "", "no json"),
    ]


def test_a_pipe_gets_each_record_as_soon_as_it_is_ready(server):
    pipe = io.BytesIO()
    notes = []
    teach(teaching(server, write_tasks(["a", "b"])), Target(pipe=pipe), on_note=notes.append)
    assert len(pipe.getvalue().splitlines()) == 2
    assert notes == ["no journal: a run that breaks off pays again; --journal FILE keeps every reply"]


def test_two_runs_can_not_write_one_journal(server):
    from generators.teachers.journal import Journal

    with Journal(Path("out.journal.jsonl")), pytest.raises(UsageError, match="another run"):
        teach(teaching(server, write_tasks(["a"])), Target(output="out.jsonl"))


def test_a_hundred_a_second_with_retry_after_loses_nothing():
    wanted = [f"q{n}" for n in range(250)]
    with serving(latency_s=0.02, limit_per_s=100, burst=10, retry_after_s=0.2, retry_after_date=False) as server:
        teach(teaching(server, write_tasks(wanted), concurrency=64), Target(output="out.jsonl"))
    assert questions_of(read()) == wanted
    assert server.statuses[200] == 250
    assert server.statuses[429] <= 0.3 * 250  # the first seconds' search weighs heavy in so short a run


def command(server, *more):
    words = ["synth", "teach", "tasks.jsonl", "--template", "direct.yaml", "--teacher", f"openai:m@{server.url}"]
    return [sys.executable, "-m", "frontier_cli.main", *words, *more]


def test_a_killed_run_repeats_at_most_what_was_in_flight_and_ends_byte_identical():
    wanted = [f"question {n}" for n in range(400)]
    write_tasks(wanted)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with serving(latency_s=0.02) as server:
        teach(teaching(server, "tasks.jsonl", concurrency=16), Target(output="whole.jsonl"))
        before = server.num_requests
        line = command(server, "--concurrency", "16", "-o", "out.jsonl")
        victim = subprocess.Popen(line, env=env, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while server.num_requests - before < 200 and time.monotonic() < deadline:
            time.sleep(0.005)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert not Path("out.jsonl").exists()
        subprocess.run(line, env=env, check=True, stderr=subprocess.DEVNULL)
        wasted = server.num_requests - before - 400
    assert 0 <= wasted <= 16
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


@pytest.mark.slow
def test_goodput_after_five_seconds_is_that_of_the_limit_with_few_refusals():
    wanted = [f"q{n}" for n in range(1500)]
    with serving(latency_s=0.05, limit_per_s=100, burst=10, retry_after_s=1.0) as server:
        began = time.monotonic()
        teach(teaching(server, write_tasks(wanted), concurrency=64), Target(output="out.jsonl"))
    assert questions_of(read()) == wanted
    late = [at for at in server.answered_at if at - began >= 5]
    assert (len(late) - 1) / (late[-1] - late[0]) >= 90
    assert server.statuses[429] <= 0.1 * server.num_requests


STRUCTURED = """
name: structured
skill: chat
user: "{{ q }}"
schema: {type: object, required: [a], properties: {a: {type: string}}}
turns:
  - {role: user, content: "{{ q }}"}
  - {role: assistant, content: "{{ answer.a }}"}
"""


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_teacher_that_knows_no_schemas_is_asked_in_words_and_that_is_said_once(folder, kind):
    (folder / "structured.yaml").write_text(STRUCTURED)
    wanted = [f'{n} @say{{"a": "yes {n}"}}@' for n in range(40)]
    notes = []
    with serving(latency_s=0.002, knows_schemas=False) as plain:
        asked = teaching(plain, write_tasks(wanted), kind=kind, template="structured.yaml", journal="j.jsonl")
        result = teach(asked, Target(output="out.jsonl"), on_note=notes.append)
        refused = plain.statuses[400]
        again = teach(asked, Target(output="again.jsonl"))
    assert (result.num_out, plain.statuses[200]) == (40, 40)
    assert 1 <= refused <= 16
    assert [record["messages"][-1]["content"].split("\n")[-1] for record in read()] == [f"yes {n}" for n in range(40)]
    assert sum("knows no JSON Schema" in note for note in notes) == 1
    assert again.num_out == 40
    assert Path("again.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    found = estimate(asked, output="out.jsonl")
    assert (found["num_cached"], found["num_requests"]) == (40, 0)
