"""`frontier stream`: bytes by seed, positions, weights, and quiet pipes."""

import json
import subprocess
import sys

import pytest

from tests.frontier_core.streams import write_domain


@pytest.fixture
def data(tmp_path):
    for name, num in (("web", 400), ("code", 100)):
        write_domain(tmp_path / f"{name}.jsonl", name, num)
    (tmp_path / "mix.yaml").write_text(
        "files: [web.jsonl, code.jsonl]\nby: [skill]\nweights: {skill=web: 3, skill=code: 1}\n"
    )


def test_same_arguments_same_bytes_and_start_goes_on(run, data):
    whole = run("stream --profile mix.yaml --seed 3 -n 2048")
    assert whole.code == 0
    assert "drew 2048 records: skill=code 512, skill=web 1536" in whole.err
    lines = whole.out.splitlines()
    assert len(lines) == 2048
    assert run("stream --profile mix.yaml --seed 3 -n 2048").out == whole.out
    assert run("stream --profile mix.yaml --seed 3 -n 500 --start 1000").out.splitlines() == lines[1000:1500]
    assert run("stream --profile mix.yaml --seed 4 -n 2048").out != whole.out


def test_files_are_domains_and_the_sidecar_says_how_to_draw_it_again(run, data, tmp_path):
    done = run(["stream", "web.jsonl", "code.jsonl", "--weights", "web=1;code=1", "-n", "1024", "-o", "out.jsonl"])
    assert (done.code, done.out) == (0, "")
    meta = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert meta["counts"] == {"code": 512, "web": 512}
    assert meta["params"]["stream"]["domains"] == {"code": 100, "web": 400}
    assert [entry["path"] for entry in meta["inputs"]] == [part["path"] for part in meta["params"]["stream"]["parts"]]
    told = json.loads(run("stream web.jsonl code.jsonl -n 1024 --json").out)
    assert [(one["name"], one["weight"], one["of_first"]) for one in told["domains"]] == [
        ("code", pytest.approx(0.2), 205),
        ("web", pytest.approx(0.8), 819),
    ]


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("stream --profile nope", 2, "unknown profile 'nope'"),
        ("stream nope.jsonl", 2, "nope.jsonl: no such file"),
        ("stream web.jsonl --weights web", 2, "--weights: 'web' is no NAME=NUMBER"),
        ("stream web.jsonl --weights wep=1", 2, "unknown domain 'wep'"),
        ("stream web.jsonl web.jsonl", 2, "web.jsonl: is named twice"),
        ("stream web.jsonl --policy nope.jsonl", 2, "nope.jsonl: no such file"),
    ],
)
def test_what_can_not_be_drawn_is_said(run, data, line, code, says):
    done = run(line)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_a_closed_pipe_is_quiet(data, tmp_path):
    code = "from frontier_cli.main import run; run()"
    command = f"{sys.executable} -c '{code}' stream --profile mix.yaml -n 1000000 | head -n 2 | wc -l"
    command += "; echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout.split(), done.stderr) == (["2", "141"], "")
