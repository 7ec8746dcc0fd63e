"""`frontier lake ...`: what each command says and writes, in one walk and at the edges."""

import json
import subprocess
import sys

import pytest

from tests.frontier_core.streams import write_domain


@pytest.fixture
def lake(run, tmp_path):
    write_domain(tmp_path / "a.jsonl", "a", 60, domain="web", source_license="MIT", safety_tags=["pii"])
    write_domain(tmp_path / "b.jsonl", "b", 30, domain="code", difficulty=0.5)
    assert run("lake add a.jsonl").code == 0
    assert run("lake add b.jsonl --license GPL-3.0").code == 0
    return tmp_path / "lake"


def test_adding_says_what_was_new(run, lake):
    done = run("lake add a.jsonl b.jsonl")
    assert (done.code, done.out) == (0, "")
    assert done.err == "added 30 of 90 records to lake, 60 were there already\n"  # b's lines got a licence meanwhile
    told = json.loads(run("lake add a.jsonl --json").out)
    assert told == {
        "num_in": 60, "num_added": 0, "num_duplicates": 60, "num_rejected": 0, "generation": 0, "shards": [],
    }  # fmt: skip
    (lake.parent / "bad.jsonl").write_text('{"x":1}\n[2]\n')
    assert run("lake add bad.jsonl").error == "error: bad.jsonl:2: the row is an array, not a JSON object"
    done = run("lake add bad.jsonl --rejects r.jsonl")
    assert (done.code, done.err) == (1, "added 1 of 2 records to lake, 0 were there already, rejected 1\n")
    assert json.loads((lake.parent / "r.jsonl").read_text())["raw"] == "[2]"


def test_a_pipe_fills_a_lake(run, tmp_path):
    assert run("lake add - --lake piped", stdin='{"a":1}\n{"a":1}\n{"a":2}\n').code == 0
    assert run("lake query --lake piped").out == '{"a":1}\n{"a":2}\n'


def test_listing_counting_and_asking(run, lake, tmp_path):
    assert [line.split()[1] for line in run("lake ls").out.splitlines()] == ["60", "30"]
    first = json.loads(run("lake ls --json").out.splitlines()[0])
    assert (first["licenses"], first["sources"][0]["path"]) == ({"MIT": 60}, "../a.jsonl")
    told = run("lake stats").out.splitlines()
    assert told[0].startswith("90 records, ")
    assert "source_license: MIT 60, GPL-3.0 30" in told
    assert 'safety_tags: ["pii"] 60' in told
    assert json.loads(run("lake stats --key number,difficulty --where number<2 --json").out)["keys"] == {
        "number": {"0": 2, "1": 2}, "difficulty": {"0.5": 2},
    }  # fmt: skip
    done = run(["lake", "query", "--where", "skill = a AND number >= 58"])
    assert [json.loads(line)["metadata"]["number"] for line in done.out.splitlines()] == [58, 59]
    assert done.err == "found 2 records\n"
    assert run(["lake", "query", "--where", "skill = b", "--count"]).out == "30\n"
    hits = [json.loads(line) for line in run("lake query --where number=7 --json").out.splitlines()]
    assert [hit["row"] for hit in hits] == [7, 7]
    assert run("lake query --where skill=z").code == 1
    done = run(["lake", "query", "--where", "skill >"])
    assert (done.code, done.error) == (2, "error: filter 'skill >': a value is missing at 'the end'")
    assert run("lake query --where skill=b -n 5 -o five.jsonl").code == 0
    meta = json.loads((tmp_path / "five.jsonl.meta.json").read_text())
    assert (meta["data"]["num_records"], meta["params"]["generation"], len(meta["inputs"])) == (5, 2, 2)


def test_exports(run, lake, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    assert run("lake export -o all.jsonl.zst").code == 0
    assert run("stream all.jsonl.zst").code == 2
    done = run("lake export -o all.parquet --where level=1")
    assert (done.code, done.err) == (0, "exported 30 records of lake, state 2\n")
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.num_rows == 30
    row = table.to_pylist()[0]
    assert json.loads(row.pop("record"))["messages"][0]["content"] == "a 0"
    assert row == {
        "difficulty": None, "domain": "web", "level": 1, "number": 0, "safety_tags": '["pii"]', "skill": "a",
        "source_license": "MIT",
    }  # fmt: skip
    assert json.loads((tmp_path / "all.parquet.meta.json").read_text())["params"]["num_records"] == 30


def test_compact_retire_collect_and_verify(run, lake, tmp_path):
    assert run("stream -n 64 --seed 1 -o mix.jsonl").code == 0
    name = run("lake ls").out.split()[0]
    done = run(["lake", "retire", name, "--reason", "wrong answers", "--dry-run", "--json"])
    assert [entry["path"] for entry in json.loads(done.out)["trained"]] == ["mix.jsonl"]
    assert run("lake compact").err == "merged 2 shards into 1\n"
    assert run("stream -n 64 --seed 1 --lake lake@2").out.encode() == (tmp_path / "mix.jsonl").read_bytes()
    assert run("lake gc --dry-run").out.count("\n") == 6
    done = run("lake gc")
    assert (done.code, "hint: --force goes on without asking" in done.err) == (2, True)
    assert run("lake gc --force").err.startswith("removed 6 files")
    name = run("lake ls").out.split()[0]
    assert run(["lake", "retire", name[:6], "--reason", "all wrong"]).code == 0
    assert run("lake ls --retired").out.split()[-2:] == ["all", "wrong"]
    assert run("lake query").code == 1
    assert run("lake verify").err.startswith("lake: 0 shards, 0 records, state 4: whole")
    assert run("lake retire abc --reason x").error == "error: abc: no shard begins so"


def test_verify_exits_1_on_damage(run, lake):
    assert json.loads(run("lake verify --deep --json").out)["problems"] == []
    data = next((lake / "shards").glob("*.zst"))
    data.write_bytes(data.read_bytes()[:-1])
    done = run("lake verify")
    assert done.code == 1
    assert f"{data.name} is not what its sha256 says" in done.error


@pytest.mark.parametrize(
    "line", ["ls", "stats", "query", "export", "compact", "gc --force", "verify", "retire a --reason b"]
)
def test_a_lake_that_is_not_there_is_a_usage_error(run, tmp_path, line):
    done = run(f"lake {line} --lake nope")
    assert (done.code, done.out) == (2, "")
    assert "nope: no such lake" in done.error
    assert not (tmp_path / "nope").exists()


def test_a_closed_pipe_is_quiet(lake, tmp_path):
    write_domain(tmp_path / "many.jsonl", "m", 5000)
    frontier = f"{sys.executable} -c 'from frontier_cli.main import run; run()'"
    command = f"{frontier} lake add many.jsonl -q; {frontier} lake query | head -n 2 | wc -l; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout.split(), done.stderr) == (["2", "141"], "")
