"""`synth verify` as a stage: what is run, what is taken over, what is written."""

from __future__ import annotations

import json
import threading

import jsonschema_rs
import pytest

from frontier_core.errors import ConfigError, EnvironmentMissing, UsageError
from frontier_core.schemas import load_schema
from frontier_ops import stage_verify
from frontier_ops.engines import Judging
from frontier_ops.stage_files import Target
from validators.base import reject
from validators.heuristics import Rules
from validators.sandbox import backend
from validators.sandbox.contract import Limits, Outcome


class CountingSandbox:
    """Runs `echo NAME` plans in its head and counts them; the real sandboxes are driven in tests/cli/test_verify.py."""

    name = "counting"

    def __init__(self) -> None:
        self.image = "img:1"
        self.ran: list[str] = []
        self.fails = ""
        self.stops_after = 10**9
        self.is_closed = False
        self._lock = threading.Lock()

    def describe(self):
        return {"backend": self.name, "image": self.image, "kernel": "6.1"}

    def run(self, job):
        word = job["commands"][0].split()[-1]
        with self._lock:
            if len(self.ran) >= self.stops_after:
                raise KeyboardInterrupt
            self.ran.append(word)
        if word == self.fails:
            return Outcome(status="sandbox_error", backend=self.name, failure="sandbox", reason="no answer")
        status = "nonzero" if word.startswith("bad") else "ok"
        text = {"text": f"{word}\n", "bytes": len(word) + 1}
        return Outcome(
            status=status, backend=self.name, exit_code=int(status != "ok"), stdout=text, wall_s=0.5, cpu_s=0.25,
            image=self.image, limits={"timeout_s": 10.0},
        )  # fmt: skip

    def close(self):
        self.is_closed = True


@pytest.fixture
def sandbox(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    box = CountingSandbox()
    monkeypatch.setattr(backend, "open_sandbox", lambda name, **options: box)
    return box


def plan(word, **keys):
    record = {
        "instruction": f"say {word}",
        "output": [{"command": f"echo {word} | tee {word}"}],
        "expect": {"stdout": f"{word}\n", "allow_other_changes": True},
        "metadata": {"skill": "shell_test", "domain": "talk"},
    }
    return record | keys


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


WORDS = ["a", "b", "bad1", "c", "bad2", "d", "e", "f"]


def run(tmp_path, **options):
    target = Target(output=str(tmp_path / "out.jsonl"))
    return stage_verify.verify("in.jsonl", target, engines=stage_verify.Engines(workers=2), **options)


def test_a_run_that_was_stopped_goes_on_and_runs_nothing_twice(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan(word) for word in WORDS])
    run(tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in ("out.jsonl", "out.rejects.jsonl")}
    for name in (*whole, "out.jsonl.meta.json"):
        (tmp_path / name).unlink()
    sandbox.ran.clear()
    sandbox.stops_after = 5
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl.journal"]
    assert sandbox.is_closed
    sandbox.stops_after = 100
    result = run(tmp_path)
    assert sorted(sandbox.ran) == sorted(WORDS)
    assert (result.report["num_run"], result.report["num_remembered"]) == (3, 5)
    assert {name: (tmp_path / name).read_bytes() for name in whole} == whole
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_verdicts_done_ahead_of_a_slow_plan_are_kept_too(sandbox, tmp_path, monkeypatch):
    write(tmp_path / "in.jsonl", [plan(word) for word in WORDS])
    others_done = threading.Event()
    quick = CountingSandbox.run

    def first_is_slow(self, job):
        if "echo a " in job["commands"][0]:
            assert others_done.wait(10)
            raise KeyboardInterrupt
        outcome = quick(self, job)
        if len(self.ran) == 7:
            others_done.set()
        return outcome

    monkeypatch.setattr(CountingSandbox, "run", first_is_slow)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.setattr(CountingSandbox, "run", quick)
    sandbox.ran.clear()
    assert run(tmp_path).report["num_remembered"] == 7
    assert sandbox.ran == ["a"]


@pytest.mark.parametrize(
    "change",
    [
        {"limits": Limits(timeout_s=3.0)},
        {"rules": Rules(off=frozenset({"narration"}))},
        {"rules": Rules(warn=frozenset({"narration"}))},
    ],
    ids=["limits", "off", "warn"],
)
def test_another_way_of_judging_takes_nothing_over(sandbox, tmp_path, change):
    write(tmp_path / "in.jsonl", [plan("a")])
    run(tmp_path, cache="cache")
    monkey = run(tmp_path, cache="cache")
    assert (monkey.report["num_run"], monkey.report["num_remembered"]) == (0, 1)
    assert stage_verify.judge_bytes({}, Judging()) != stage_verify.judge_bytes({}, Judging(**change))


def test_another_image_is_another_judge_and_another_kernel_is_not(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan("a")])
    run(tmp_path, cache="cache")
    sandbox.image = "img:2"
    assert run(tmp_path, cache="cache").report["num_run"] == 1
    sandbox.describe = lambda: {"backend": "counting", "image": "img:2", "kernel": "6.2"}
    assert run(tmp_path, cache="cache").report["num_run"] == 0


def test_a_host_with_another_tool_is_another_judge(tmp_path):
    from validators.sandbox import native

    tool = tmp_path / "ls"
    tool.write_text("#!/bin/sh\n")
    before = native._tools_digest({"ls": str(tool), "git": None})
    assert native._tools_digest({"ls": str(tool), "git": None}) == before
    tool.write_text("#!/bin/bash\n")
    after = native._tools_digest({"ls": str(tool), "git": None})
    assert after != before
    keys = {stage_verify.judge_bytes({"backend": "native-ns", "tools_digest": d}, Judging()) for d in (before, after)}
    assert len(keys) == 2


def test_a_cache_serves_other_outputs_and_pipes(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan(word) for word in WORDS])
    first = run(tmp_path, cache="cache")
    with (tmp_path / "pipe").open("wb") as pipe:
        again = stage_verify.verify("in.jsonl", Target(pipe=pipe), cache="cache")
    assert (first.report["num_run"], again.report["num_run"], again.report["num_remembered"]) == (8, 0, 8)
    assert (tmp_path / "pipe").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_a_failure_of_the_sandbox_is_never_remembered(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan(word) for word in WORDS])
    sandbox.fails = "c"
    result = run(tmp_path, cache="cache")
    assert (result.num_in, result.num_out, result.num_rejected) == (8, 5, 2)
    assert result.unverified == {"not judged: no answer": 1}
    assert (tmp_path / "out.jsonl.journal").exists()  # for the next try, unless the line is given up
    sandbox.fails, sandbox.ran = "", []
    assert run(tmp_path).num_out == 6
    assert sandbox.ran == ["c"]
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_lines_given_up_leave_no_journal(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan("a"), plan("c")])
    sandbox.fails = "c"
    run(tmp_path, allow_unverified=True)
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_two_runs_on_one_output_are_refused(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan("a")])
    seen = []

    def second(_count, _codes):
        with pytest.raises(EnvironmentMissing, match=r"out\.jsonl: another run writes it"):
            run(tmp_path)
        seen.append(True)

    run(tmp_path, on_progress=second)
    assert seen == [True]


def test_a_run_that_can_not_begin_leaves_no_journal(sandbox, tmp_path):
    with pytest.raises(UsageError, match=r"in\.jsonl: no such file"):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"verdicts": "out.jsonl"}, {"cache": "in.jsonl"}, {"verdicts": "x", "cache": "x"}])
def test_a_file_named_twice_is_refused_before_anything_is_written(sandbox, tmp_path, options):
    write(tmp_path / "in.jsonl", [plan("a")])
    with pytest.raises(UsageError, match="is used twice"):
        run(tmp_path, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


CHAT = {
    "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "x"}],
    "metadata": {"skill": "no_such_skill"},
}


def test_the_verdicts_file_has_a_line_per_line_and_keeps_its_schema(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan("a"), plan("bad1"), CHAT, plan("a", output=[{"command": "true"}]), plan("b")])
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write("{not json\n")
    sandbox.fails = "b"
    run(tmp_path, verdicts="verdicts.jsonl", cache="cache")
    got = lines(tmp_path / "verdicts.jsonl")
    told = [(line["line"], line["accepted"], line["code"], line["origin"]) for line in got]
    assert told[:3] == [(1, True, "ok", "run"), (2, False, "nonzero", "run"), (3, False, "no_verifier", "computed")]
    assert told[3][0] == 4
    assert told[4:] == [(5, False, "sandbox_error", "run"), (6, False, "invalid_json", "computed")]
    validator = jsonschema_rs.validator_for(load_schema("verdict_v1"))
    for line in got:
        validator.validate(line)
    assert got[0]["wall_s"] == 0.5
    assert got[0]["image"] == "img:1"
    run(tmp_path, verdicts="verdicts.jsonl", cache="cache")
    again = lines(tmp_path / "verdicts.jsonl")
    assert again[0] == got[0] | {"origin": "remembered"}


def test_pointers_of_rejects_and_verdicts_go_into_the_line_as_it_was_written(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [{"intent": "i", "plan": ["ls", "rm x || true"]}])
    run(tmp_path, verdicts=str(tmp_path / "v.jsonl"))
    [reject], [verdict] = lines(tmp_path / "out.rejects.jsonl"), lines(tmp_path / "v.jsonl")
    assert reject["pointer"] == verdict["findings"][0]["pointer"] == "/plan/1"


def test_the_rejects_file_holds_no_clock(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan("bad1")])
    run(tmp_path)
    (line,) = lines(tmp_path / "out.rejects.jsonl")
    assert (line["code"], line["exit_code"], line["stdout"]) == ("nonzero", 1, "bad1\n")
    assert "wall_s" not in line
    assert "cpu_s" not in line


def test_the_report_counts_by_domain_with_every_reason(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [*(plan(word) for word in WORDS), CHAT])
    report = run(tmp_path).report
    assert report["groups"] == {
        "no_such_skill": {"accepted": 0, "rejected": 1, "not_judged": 0, "reasons": {"no_verifier": 1}},
        "talk": {"accepted": 6, "rejected": 2, "not_judged": 0, "reasons": {"nonzero": 2}},
    }
    assert report["plan_cpu_s"] == 2.0
    assert (report["num_in"], report["num_run"], report["num_computed"], report["workers"]) == (9, 8, 1, 2)
    assert report["sandbox"]["backend"] == "counting"


def test_a_stream_without_plans_opens_no_sandbox(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "open_sandbox", lambda *_, **__: pytest.fail("opened"))
    write(tmp_path / "in.jsonl", [CHAT])
    assert run(tmp_path).report["sandbox"] == {}


def test_an_unknown_engine_names_the_nearest(sandbox, tmp_path):
    write(tmp_path / "in.jsonl", [plan("a")])
    with pytest.raises(ConfigError) as caught:
        stage_verify.verify("in.jsonl", Target(output="out.jsonl"), engines=stage_verify.Engines(name="rai"))
    assert (caught.value.message, caught.value.hint) == ("unknown engine 'rai'", "did you mean 'ray'?")


def test_the_lines_of_a_plain_file_are_counted_and_a_pipes_are_not(tmp_path):
    (tmp_path / "in.jsonl").write_text("{}\n{}\n{}\n")
    assert stage_verify.count_lines(str(tmp_path / "in.jsonl")) == 3
    assert stage_verify.count_lines("-") is None
    assert stage_verify.count_lines("in.jsonl.gz") is None


def test_a_verdict_by_the_text_alone_was_not_run():
    assert not stage_verify.was_run(reject("narration", "only talks", status="not_run"))
    assert stage_verify.was_run(reject("nonzero", "failed", status="nonzero", backend="docker-ns"))
