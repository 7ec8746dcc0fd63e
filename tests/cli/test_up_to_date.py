"""A step whose result is there already says so and does nothing: same command, same inputs, outputs untouched."""

import json
import shutil

import pytest

from tests.frontier_core.streams import write_domain


def fail(*_args, **_options):
    raise AssertionError("ran again")


@pytest.fixture
def work(run, tmp_path):
    write_domain(tmp_path / "a.jsonl", "a", 60, domain="web")
    write_domain(tmp_path / "b.jsonl", "b", 30, domain="code")
    assert run("lake add a.jsonl b.jsonl").code == 0
    return tmp_path


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if not path.name.endswith(".meta.json")}


STEPS = {
    "lake add a.jsonl b.jsonl": "up to date: all 90 records are in lake\n",
    "lake query --where level>=2 -o q.jsonl": "up to date: found 60 records\n",
    "lake export -o all.jsonl.zst": "up to date: exported 90 records of lake, state 1\n",
    "lake export -o all.parquet": "up to date: exported 90 records of lake, state 1\n",
    "stream a.jsonl b.jsonl --seed 3 -n 90 -o mix.jsonl": "up to date: 90 records: a 63, b 27\n",
    "synth dedup a.jsonl -o d.jsonl": "up to date: kept 60 of 60, dropped 0\n",
}


@pytest.mark.parametrize("step", STEPS)
def test_steps_over_files_and_lakes_are_not_done_twice(run, work, monkeypatch, step):
    if ".parquet" in step:
        pytest.importorskip("pyarrow")
    first = run(step)
    assert first.code == 0
    before = stamps(work)
    for name in (
        "frontier_ops.stage_lake.query",
        "frontier_core.lake_write.read_rows",
        "frontier_core.stream.Stream.lines",
    ):
        monkeypatch.setattr(name, fail)
    monkeypatch.setattr("frontier_ops.stage_diversity._read", fail)
    again = run(step)
    assert (again.code, again.out, again.err) == (0, "", STEPS[step])
    assert stamps(work) == before


def test_a_step_asked_for_otherwise_is_done(run, work):
    assert run("lake query -n 5 -o q.jsonl").err == "found 5 records\n"
    assert run("lake query -n 6 -o q.jsonl").err == "found 6 records\n"
    assert run("stream a.jsonl --seed 3 -n 20 -o mix.jsonl").err == "drew 20 records: a 20\n"
    assert run("stream a.jsonl --seed 4 -n 20 -o mix.jsonl").err == "drew 20 records: a 20\n"
    write_domain(work / "a.jsonl", "a", 61, domain="web")
    assert run("stream a.jsonl --seed 4 -n 20 -o mix.jsonl").err == "drew 20 records: a 20\n"


def test_a_lake_knows_files_by_content_and_licence_and_forgets_them_with_a_bad_shard(run, work):
    shutil.copy(work / "a.jsonl", work / "copy.jsonl")
    assert run("lake add copy.jsonl").err == "up to date: all 60 records are in lake\n"
    assert run("lake add a.jsonl --license MIT").err == "added 60 of 60 records to lake, 0 were there already\n"
    assert run("lake add a.jsonl --license MIT").err == "up to date: all 60 records are in lake\n"
    shard = json.loads(run("lake ls --json").out.splitlines()[0])["sha256"]
    assert run(f"lake retire {shard[:12]} --reason bad --runs none").code == 0
    assert run("lake add copy.jsonl").err == "added 60 of 60 records to lake, 0 were there already\n"
    (work / "torn.jsonl").write_text('{"x":1}\n[2]\n')
    for added in (1, 0):  # a file with rejects is not in the lake whole
        done = run("lake add torn.jsonl --rejects r.jsonl")
        assert (done.code, done.err.split(" of")[0]) == (1, f"added {added}")


@pytest.fixture
def loop(run, tmp_path, tiny_model):
    shutil.copytree(tiny_model, tmp_path / "model")
    assert run("synth gen --skill binary --level 1 -n 8 -o g.jsonl").code == 0
    assert run("synth format g.jsonl --to chat -o t.jsonl").code == 0
    return tmp_path


def test_a_finished_run_is_up_to_date_until_its_data_changes_or_it_is_forced(run, loop, monkeypatch):
    train = "train t.jsonl --model model --set max_steps=1 --set batch_size=2 -o run"
    assert "up to date" not in run(train).err
    before = stamps(loop / "run")
    with monkeypatch.context() as patch:
        patch.setattr("trainer.engine.TrainerEngine.run_job", fail)
        again = run(f"{train} --json")
        assert (again.code, again.err.startswith("up to date: run: step 1, loss ")) == (0, True)
        assert json.loads(again.out)["status"] == "already finished"
    assert stamps(loop / "run") == before
    forced = run(f"{train} --force")
    assert (forced.code, forced.err.splitlines()[-1].startswith("run: step 1, loss ")) == (0, True)
    assert run("synth gen --skill binary --level 1 -n 9 -o g.jsonl").code == 0
    assert run("synth format g.jsonl --to chat -o t.jsonl").code == 0
    assert "holds a run with another data" in run(train).error


def test_what_follows_training_is_not_done_twice(run, loop, monkeypatch):
    assert run("train t.jsonl --model model --set max_steps=1 --set batch_size=2 -o run").code == 0
    (loop / "d.yaml").write_text("domains: [{name: sums, skill: binary, levels: [1]}]\n")
    steps = {
        "model init --corpus t.jsonl -o fresh": "up to date: fresh: ",
        "eval run --domains d.yaml -n 2 -o eval.jsonl": "up to date: 2 answers\n",
        "telemetry ingest run eval.jsonl -o tel.jsonl": "up to date: ",
        "reweight tel.jsonl --domains d.yaml --explain -o policy.jsonl": "skill=binary,level=1: 1.0000 -> 1.0000",
    }
    firsts = {step: run(step) for step in steps}
    assert [done.code for done in firsts.values()] == [0, 0, 0, 0]
    for name in (
        "trainer.model_init.init_model",
        "frontier_ops.evaluation.ask_and_judge",
        "curriculum.ingest.ingest",
        "frontier_ops.reweighting.next_policy",
    ):
        monkeypatch.setattr(name, fail)
    for step, told in steps.items():
        again = run(step)
        assert (again.code, again.err[: len(told)]) == (0, told)
        assert "up to date: " in again.err
    asked = "eval run --domains d.yaml -n 2 -o eval.jsonl"
    assert run(asked).err.splitlines()[1:] == firsts[asked].err.splitlines()[-2:]
