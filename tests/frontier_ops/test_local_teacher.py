"""A model folder as a teacher: its server comes with the run and goes with it, however the run ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from model_server import wait_for_end

from frontier_core.errors import DataError, UsageError
from frontier_ops.local_teacher import model_name, serving
from frontier_ops.stage_files import Target
from frontier_ops.stage_teach import Teaching, batch, estimate, teach
from generators.teachers.wire import Sampling, parse_teacher
from generators.templates import load_template

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parent.parent.parent
TEMPLATE = """
name: plain
skill: chat
user: "{{ q }}"
turns:
  - {role: user, content: "{{ q }}"}
  - {role: assistant, content: "answer: {{ answer }}"}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.yaml").write_text(TEMPLATE)
    lines = [json.dumps({"q": f"What is {n} + 2?"}) + "\n" for n in range(7)]
    (tmp_path / "tasks.jsonl").write_text("".join(lines))
    return tmp_path


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def children_of(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


def test_a_model_folder_answers_and_asking_again_costs_nothing(tiny_model):
    sampling = Sampling(max_tokens=6, temperature=0.0)
    teacher = parse_teacher(f"local:{tiny_model}")
    asked = Teaching(teacher=teacher, template=load_template("plain.yaml"), tasks="tasks.jsonl", sampling=sampling)
    before = set(children_of(os.getpid()))
    result = teach(asked, Target(output="out.jsonl", rejects="r.jsonl"))
    assert (result.num_in, result.num_out + result.num_rejected) == (7, 7)
    assert set(children_of(os.getpid())) == before
    assert {record["metadata"]["teacher"]["model"] for record in read("out.jsonl")} <= {model_name(tiny_model)}
    assert len(read("out.journal.jsonl")) >= 7
    assert estimate(asked, output="out.jsonl")["num_cached"] >= 7
    with pytest.raises(UsageError, match="batch"):
        batch(asked, Target(output="b.jsonl"), requests="x.jsonl")


@pytest.mark.slow
def test_nothing_is_left_of_the_model_when_the_run_is_killed(tiny_model):
    code = (
        "import time; from pathlib import Path; from frontier_ops.local_teacher import serving\n"
        f"with serving(Path({str(tiny_model)!r}), batch_size=2) as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(3600)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        assert run.stdout.readline().startswith("http://127.0.0.1:")
        (server,) = children_of(run.pid)
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_for_end(server)
    finally:
        run.kill()
        run.stdout.close()
        run.wait()


def test_a_folder_without_a_model_is_said_before_anything_starts(tmp_path):
    with pytest.raises(UsageError, match="no model folder"):
        model_name(tmp_path)


def test_a_broken_model_is_the_user_s_data(tiny_model, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((tiny_model / "config.json").read_text())
    with pytest.raises(DataError, match="can't be loaded"), serving(broken, batch_size=1):
        pass


def test_other_weights_have_another_name(tiny_model, tmp_path):
    name = model_name(tiny_model)
    assert name.startswith("tiny@")
    copy = tmp_path / "tiny"
    copy.mkdir()
    for path in tiny_model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert model_name(copy) == name
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert model_name(copy) != name


def test_answers_made_together_are_those_made_alone(tiny_model):
    from frontier_ops.local_teacher_server import answer_batch
    from frontier_ops.serve_worker import Engine

    engine = Engine(tiny_model)
    requests = [
        {"messages": [{"role": "user", "content": f"What is {n} + {n * 7}?" + " please" * n}], "max_tokens": 5 + n,
         "temperature": temperature, "top_p": 0.9, "stop": [], "seed": n}
        for n, temperature in enumerate((0.0, 1.0, 0.7, 0.0, 1.3))
    ]  # fmt: skip
    together = answer_batch(engine, requests)
    for request, events in zip(requests, together, strict=True):
        alone = []
        engine.answer(request, alone.append, lambda: False)
        assert events[0]["text"] == "".join(event.get("text", "") for event in alone)
        assert events[1] == alone[-1]
