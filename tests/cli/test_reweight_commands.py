"""frontier reweight, reweight plot, reweight replay and frontier curriculum, as they are typed."""

from __future__ import annotations

import json

import pytest

from frontier_core.allocation import read_policy

DOMAINS = """\
domains:
  - {name: add, skill: add, levels: [1, 2]}
  - {name: sort, skill: sort, levels: [1]}
"""
CELLS = ("skill=add,level=1", "skill=add,level=2", "skill=sort,level=1")


def telemetry(path, *rounds, right=(36, 8, 20)):
    with path.open("w") as file:
        for turn in rounds:
            for tag, hits in zip(CELLS, right, strict=True):
                line = {"run_id": "r", "step_from": 1, "step_to": 9, "tag": tag, "round": turn}
                counts = {"metric": "accuracy", "n": 40, "sum": hits, "sum_sq": hits, "successes": hits, "trials": 40}
                loss = 2.0 - 0.2 * turn
                file.write(json.dumps(line | counts) + "\n")
                values = {"metric": "loss", "n": 20, "sum": 20 * loss, "sum_sq": 20 * loss**2, "tokens": 300}
                file.write(json.dumps(line | values) + "\n")


@pytest.fixture
def loop(run, tmp_path):
    (tmp_path / "d.yaml").write_text(DOMAINS)
    telemetry(tmp_path / "t1.jsonl", 0)
    telemetry(tmp_path / "t2.jsonl", 1)
    assert run("reweight t1.jsonl --domains d.yaml -o p1.jsonl").code == 0
    assert run("reweight t2.jsonl --domains d.yaml --prev p1.jsonl -o p2.jsonl").code == 0
    return run


def evaluation(path, wrong):
    items = [{"item_id": f"{tag}-{i}", "tag": tag, "correct": i >= wrong, "kind": "eval_item"}
             for tag in CELLS for i in range(40)]  # fmt: skip
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


def test_reweight_is_deterministic_to_the_byte_and_replays_bit_for_bit(loop, tmp_path):
    first = (tmp_path / "p2.jsonl").read_bytes()
    assert loop("reweight t2.jsonl --domains d.yaml --prev p1.jsonl").out.encode() == first
    done = loop("reweight replay p1.jsonl p2.jsonl")
    assert (done.code, done.out) == (0, "6 weights replayed bit for bit\n")
    done = loop("reweight replay p2.jsonl --telemetry t2.jsonl --prev p1.jsonl --domains d.yaml --json")
    assert (done.code, json.loads(done.out)) == (0, {"num_lines": 3, "mismatches": [], "num_lines_differing": 0})
    other = loop("reweight replay p2.jsonl --telemetry t2.jsonl --domains d.yaml")
    assert (other.code, other.out) == (1, "p2.jsonl: 3 lines are not what the telemetry gives\n")
    lines = [json.loads(line) for line in first.splitlines()]
    lines[0]["factors"]["gate"] = 0.5
    (tmp_path / "edited.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    edited = loop("reweight replay edited.jsonl")
    assert edited.code == 1
    assert edited.out.startswith("edited.jsonl: skill=add,level=1: target ")


def test_reweight_takes_settings_and_refuses_what_is_none(loop):
    plain = loop("reweight t1.jsonl --domains d.yaml").out
    assert loop("reweight t1.jsonl --domains d.yaml --set step=1.1").out != plain
    assert loop("reweight t1.jsonl --domains d.yaml --set stp=1.1").error == "error: command line: unknown key 'stp'"
    assert loop("reweight t1.jsonl --domains d.yaml --set step").error == "error: --set 'step': is not KEY=NUMBER"


def test_reweight_draws_no_more_than_there_is(loop, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"skill=add,level=2": 5}))
    done = loop("reweight t1.jsonl --domains d.yaml --supply s.json -n 200")
    assert json.loads(done.out.splitlines()[1])["weight"] == pytest.approx(4 * 5 / 200)
    assert loop("reweight t1.jsonl --domains d.yaml --supply s.json").code == 2


def test_reweight_rolls_back_when_the_anchors_fall(loop, tmp_path):
    evaluation(tmp_path / "before.jsonl", 4)
    evaluation(tmp_path / "after.jsonl", 14)
    telemetry(tmp_path / "t3.jsonl", 2, right=(10, 2, 5))
    line = "reweight t3.jsonl --domains d.yaml --prev p2.jsonl --good p1.jsonl --anchors before.jsonl,{} -o p3.jsonl"
    harmed = loop(line.format("after.jsonl"))
    assert harmed.code == 1
    assert "rolled back to the last good weights: all anchors fell 25.0 points (30 answers lost, 0 won" in harmed.err
    before = [line.weight for line in read_policy(tmp_path / "p1.jsonl")]
    assert [line.weight for line in read_policy(tmp_path / "p3.jsonl")] == pytest.approx(before)
    assert loop(line.format("before.jsonl")).code == 0
    assert loop("reweight t3.jsonl --domains d.yaml --anchors before.jsonl,after.jsonl").code == 2


def test_plot_writes_a_page_and_refuses_other_kinds(loop, tmp_path):
    assert loop("reweight plot p1.jsonl p2.jsonl -o p.html").code == 0
    assert "skill=sort,level=1" in (tmp_path / "p.html").read_text()
    assert loop("reweight plot p1.jsonl -o p.pdf").error == "error: p.pdf: is neither .html nor .png"


def test_curriculum_is_set_shown_and_advanced(loop, tmp_path):
    assert loop("curriculum set p2.jsonl --level 1 -o p3.jsonl").code == 0
    shown = loop("curriculum status t1.jsonl --policy p3.jsonl")
    assert [line.split() for line in shown.out.splitlines()[1:]] == [
        ["add", "1", "-", "1", "yes", "1:82%", "2:13%"],
        ["sort", "1", "-", "1", "no", "1:40%"],
    ]
    status = json.loads(loop("curriculum status t1.jsonl --json").out.splitlines()[0])
    assert (status["skill"], status["open_up_to"], status["opens_next"]) == ("add", 2, True)
    done = loop("curriculum advance t1.jsonl --policy p3.jsonl -o p4.jsonl")
    assert "add: level 2 opens; level 1 is at 82% or more with 90% confidence" in done.err
    assert [line.state["closed"] for line in read_policy(tmp_path / "p4.jsonl")] == [0, 0, 0]
    assert "0 levels opened" in loop("curriculum advance t1.jsonl --policy p3.jsonl --rule streak -o p5.jsonl").err
    assert loop("curriculum advance t1.jsonl --policy p3.jsonl --rule often -o p5.jsonl").code == 2
    assert loop("curriculum set p2.jsonl --skill ad --level 1").error == "error: unknown skill 'ad'"
