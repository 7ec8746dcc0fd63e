"""The lake: whole states, one copy of each line, filters, readers beside writers, and writers that are killed."""

import gzip
import json
import os
import signal
import subprocess
import sys

import pytest
import zstandard

from frontier_core import lake_shard, lake_write
from frontier_core.errors import DataError, UsageError
from frontier_core.index_where import Where
from frontier_core.jsonl import read_records
from frontier_core.lake import Lake, count, generations, query, stats, verify
from frontier_core.lake_lineage import made_from
from frontier_core.lake_write import add, compact, gc, retire
from frontier_core.stream import Stream, get_stream
from tests.frontier_core.streams import numbers, write_domain


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(lake_shard, "MAX_RECORDS", 100)
    monkeypatch.setattr(lake_write, "MAX_RECORDS", 100)
    monkeypatch.setattr(lake_write, "_BATCH", 32)


@pytest.fixture
def lake(tmp_path):
    """Three shards: 90 of a, 60 of b (one licence each), 30 of c."""
    for name, num, about in (
        ("a", 90, {"source_license": "MIT"}),
        ("b", 60, {"source_license": "GPL-3.0"}),
        ("c", 30, {}),
    ):
        add(tmp_path / "lake", [str(write_domain(tmp_path / f"{name}.jsonl", name, num, **about))])
    return tmp_path / "lake"


def lines_of(lake):
    return [line for _, _, line in query(Lake.open(lake), Where())]


def test_records_come_out_as_they_went_in(tmp_path, small_shards):
    path = tmp_path / "odd.jsonl"
    odd = [b'{"n": 1.50e3, "x":"\\u00e9"}', b'{"n":%d}' % 2**70, b'{"t":"%s"}' % (b"y" * 20_000), b'{"b":[]}']
    more = [b'{"i":%d,"metadata":{"skill":"s"}}' % i for i in range(250)]
    path.write_bytes(b"\n".join([*odd, *more]) + b"\n")
    added = add(tmp_path / "lake", [str(path)])
    assert (added.num_in, added.num_added, added.num_duplicates, added.generation) == (254, 254, 0, 1)
    assert len(added.shards) > 1
    assert lines_of(tmp_path / "lake") == odd + more
    files = sorted((tmp_path / "lake" / "shards").glob("*.zst"))
    unpacked = [record for file in files for record in read_records(file)]
    assert sum(record.get("n") == 2**70 for record in unpacked) == 1
    assert len(unpacked) == 254
    for file in files:
        done = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True)
        assert done.stdout.split()[0] == file.name.removesuffix(".jsonl.zst")


def test_a_line_is_kept_once_whatever_file_and_time_it_comes_from(tmp_path, small_shards):
    first = write_domain(tmp_path / "first.jsonl", "a", 150)
    second = tmp_path / "second.jsonl"
    second.write_bytes(first.read_bytes() + write_domain(tmp_path / "x.jsonl", "b", 10).read_bytes() * 2)
    lake = tmp_path / "lake"
    assert add(lake, [str(first), str(second)]).num_added == 160
    again = add(lake, [str(second)])
    assert (again.num_in, again.num_added, again.num_duplicates, again.generation) == (170, 0, 170, 0)
    assert len(lines_of(lake)) == 160
    assert generations(lake) == [1]


def test_compressed_files_and_a_licence_for_those_without(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a":1}\n{"b":2,"metadata":{"source_license":"GPL-3.0"}}\n'))
    (tmp_path / "b.jsonl.zst").write_bytes(
        zstandard.compress(b'{"c":1, "metadata": {"k": 1}}\n') + zstandard.compress(b'{"d":1}\n')
    )
    add(tmp_path / "lake", [str(tmp_path / "a.jsonl.gz"), str(tmp_path / "b.jsonl.zst")], license_name="MIT")
    assert [json.loads(line) for line in lines_of(tmp_path / "lake")] == [
        {"a": 1, "metadata": {"source_license": "MIT"}},
        {"b": 2, "metadata": {"source_license": "GPL-3.0"}},
        {"c": 1, "metadata": {"k": 1, "source_license": "MIT"}},
        {"d": 1, "metadata": {"source_license": "MIT"}},
    ]
    assert Lake.open(tmp_path / "lake").shards[0].licenses == {"GPL-3.0": 1, "MIT": 3}


def test_a_line_that_is_no_record_ends_everything_or_goes_to_the_rejects(lake, tmp_path):
    before = lines_of(lake)
    (tmp_path / "bad.jsonl").write_text('{"new":1}\n{"new":\n{"new":3}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl:2: not valid JSON"):
        add(lake, [str(tmp_path / "bad.jsonl")])
    assert lines_of(lake) == before
    assert verify(lake).leftovers == []
    rejected = []
    added = add(lake, [str(tmp_path / "bad.jsonl")], on_reject=rejected.append)
    assert (added.num_added, added.num_rejected, [row.number for row in rejected]) == (2, 1, [2])


def test_filters_counts_and_statistics_agree(lake):
    opened = Lake.open(lake)
    for text, num in {
        "": 180, "skill=a": 90, "skill=a AND level>=3": 30, "source_license = MIT or skill = c": 120,
        "NOT source_license": 30, "number < 10": 30, "skill IN (b, c) AND NOT level = 1": 60,
    }.items():  # fmt: skip
        found = [json.loads(line)["metadata"] for _, _, line in query(opened, Where(text))]
        assert len(found) == count(opened, Where(text)) == num
        assert all(Where(text).matches(metadata) for metadata in found)
    assert [row for _, row, _ in query(opened, Where("level = 2"), limit=3)] == [1, 4, 7]
    found = stats(opened, Where("level = 1"))
    assert found["num_records"] == 60
    assert found["keys"]["source_license"] == {"MIT": 30, "GPL-3.0": 20}
    assert found["missing"]["source_license"] == 10
    assert found["keys"]["skill"] == {"a": 30, "b": 20, "c": 10}
    assert found["keys"]["level"] == {"1": 60}


def test_a_key_with_too_many_values_is_read_from_the_records(tmp_path, monkeypatch):
    monkeypatch.setattr("frontier_core.index.MAX_VALUES", 20)
    add(tmp_path / "lake", [str(write_domain(tmp_path / "a.jsonl", "a", 60))])
    opened = Lake.open(tmp_path / "lake")
    assert count(opened, Where("number >= 50 AND skill = a")) == 10
    assert stats(opened, Where(), keys=("number",))["keys"] == {"number": {"(wide)": 60}}


def test_earlier_states_can_be_read_until_they_are_collected(lake):
    assert [Lake.open(f"{lake}@{number}").num_records for number in (1, 2, 3)] == [90, 150, 180]
    before = sorted(lines_of(lake))
    assert compact(lake) == (3, 1)
    assert sorted(lines_of(lake)) == before
    assert sorted(lines_of(f"{lake}@3")) == before
    assert [len(Lake.open(lake).shards), len(Lake.open(lake).shards[0].sources)] == [1, 3]
    assert compact(lake) == (1, 1)
    names, size = gc(lake, dry_run=True)
    assert len(names) == 9
    assert gc(lake) == (names, size)
    assert generations(lake) == [4]
    assert sorted(lines_of(lake)) == before
    with pytest.raises(UsageError, match="has no state 3"):
        Lake.open(f"{lake}@3")
    assert add(lake, [str(lake.parent / "a.jsonl")]).num_duplicates == 90
    assert gc(lake) == ([], 0)


def test_a_stream_over_a_lake_is_that_over_its_files(lake, tmp_path):
    stream = get_stream("frontier_core_v0", batch_size=16, seed=4, lake=lake)
    assert stream.sizes["skill=a,level=1"] == 30
    assert len(stream.sizes) == 9
    batches = [numbers(stream.batch(number)) for number in range(64)]
    assert sorted({item for batch in batches for item in batch}) == sorted(
        (name, number) for name, num in (("a", 90), ("b", 60), ("c", 30)) for number in range(num)
    )
    state = stream.state_dict() | {"position": 64}
    compact(lake)
    later = get_stream("frontier_core_v0", batch_size=16, seed=4, lake=f"{lake}@3")
    later.load_state_dict(state)
    assert numbers(next(iter(later))) == batches[4]
    assert stream.place(0)[2].endswith(".jsonl.zst")
    retire(lake, Lake.open(lake).shards[0].sha256, "bad")
    with pytest.raises(UsageError, match="the lake is empty"):
        get_stream("frontier_core_v0", lake=lake)


def test_a_retired_shard_names_what_was_made_from_it(lake, tmp_path):
    opened = Lake.open(lake)
    bad, good = opened.shards[0], opened.shards[1]

    def sidecar(name, digest, *inputs):
        document = {"data": {"sha256": digest}, "inputs": [{"path": "x", "sha256": one} for one in inputs]}
        (tmp_path / f"{name}.meta.json").write_text(json.dumps(document))

    sidecar("mix.jsonl", "1" * 64, bad.sha256)
    sidecar("other.jsonl", "2" * 64, good.sha256)
    (tmp_path / "run" / "checkpoint-10").mkdir(parents=True)
    sidecar("run", "3" * 64, "1" * 64)
    sidecar("eval.jsonl", "4" * 64, "3" * 64)
    sidecar("from_file.jsonl", "5" * 64, bad.sources[0]["sha256"])
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "stream.json").write_text(json.dumps({"parts": [{"digest": bad.sha256}]}))
    trained = made_from(bad, [tmp_path])
    assert [os.path.relpath(entry["path"], tmp_path) for entry in trained] == [
        "eval.jsonl", "from_file.jsonl", "live", "mix.jsonl", "run", "run/checkpoint-10",
    ]  # fmt: skip
    retire(lake, bad.sha256[:8], "answers are wrong", trained=trained)
    opened = Lake.open(lake)
    assert [shard.sha256 for shard in opened.shards] == [shard.sha256 for shard in opened.shards if shard != bad]
    assert (opened.num_records, opened.retired[0]["reason"]) == (90, "answers are wrong")
    assert [entry["path"] for entry in opened.retired[0]["trained"]] == [entry["path"] for entry in trained]
    with pytest.raises(UsageError, match="no shard begins so"):
        opened.find(bad.sha256)
    gc(lake)
    assert verify(lake).leftovers == []
    assert not list((lake / "shards").glob(f"{bad.sha256}*"))


@pytest.mark.parametrize("deep", [False, True])
def test_verify_finds_each_damage(lake, deep):
    assert verify(lake, deep=deep).problems == []
    shards = Lake.open(lake).shards
    data = lake / "shards" / shards[0].file_name
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 1
    data.write_bytes(raw)
    (lake / "shards" / shards[1].index_name).unlink()
    (lake / "shards" / "left.over").write_bytes(b"")
    health = verify(lake, deep=deep)
    assert [problem[12:] for problem in health.problems] == [
        f": {data.name} is not what its sha256 says",
        ": the index of the shard is missing or torn",
    ]
    assert health.leftovers == ["shards/left.over"]


def test_one_writer_at_a_time_and_a_dead_one_blocks_nobody(lake, tmp_path):
    script = (
        "import sys; from pathlib import Path; from frontier_core.lake_write import writing\n"
        f"with writing(Path({str(lake)!r})):\n print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(UsageError, match="another process writes to this lake"):
        compact(lake)
    assert count(Lake.open(lake), Where("skill = a")) == 90
    holder.kill()
    holder.communicate()
    assert compact(lake) == (3, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such lake"),
        (lambda path: (path.mkdir(), (path / "notes.txt").write_text("x")), "is a folder, but no lake"),
    ],
)
def test_a_place_that_is_no_lake_is_refused(tmp_path, make, says):
    make(tmp_path / "lake")
    with pytest.raises(UsageError, match=says):
        Lake.open(tmp_path / "lake")
    if (tmp_path / "lake").exists():
        with pytest.raises(UsageError, match=says):
            add(tmp_path / "lake", [])


def _killed_at(number, action):
    """Runs an action in a child that is killed before its call `number` into the operating system; True when it was."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            seen = 0

            def hook(frame, event, function):
                nonlocal seen
                if event == "c_call" and _touches_files(function):
                    seen += 1
                    if seen == number:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.setprofile(hook)
            action()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def _touches_files(function):
    owner = type(getattr(function, "__self__", None)).__name__
    if owner in ("BufferedWriter", "FileIO", "BufferedRandom"):
        return function.__name__ in ("write", "flush", "close", "truncate")
    if getattr(function, "__module__", None) not in ("posix", "io", "_io", "fcntl"):
        return False
    return function.__name__ in {
        "open", "mkdir", "rename", "replace", "unlink", "fsync", "close", "flock", "write", "truncate", "link", "rmdir",
    }  # fmt: skip


def _copy(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)


@pytest.mark.parametrize("what", ["first_add", "add", "compact", "retire", "gc"])
def test_a_writer_killed_anywhere_leaves_a_whole_lake(lake, tmp_path, what):
    new = str(write_domain(tmp_path / "new.jsonl", "new", 40))
    if what == "gc":
        compact(lake)
    before = [] if what == "first_add" else sorted(lines_of(lake))
    shard = Lake.open(lake).shards[0].sha256

    def action():
        place = tmp_path / "victim"
        if what in ("first_add", "add"):
            add(place, [new])
        elif what == "retire":
            retire(place, shard, "bad")
        else:
            {"compact": compact, "gc": gc}[what](place)

    number, states = 0, set()
    while True:
        number += 1
        subprocess.run(["rm", "-rf", tmp_path / "victim"], check=True)
        if what != "first_add":
            _copy(lake, tmp_path / "victim")
        was_killed = _killed_at(number, action)
        if (tmp_path / "victim").exists():
            assert verify(tmp_path / "victim", deep=True).problems == []
            states.add(len(lines_of(tmp_path / "victim")) - len(before))
        if not was_killed:
            break
        if number % 5 == 0:  # the next writer goes on as if nothing had been
            compact(tmp_path / "victim") if what == "retire" else action()
            assert verify(tmp_path / "victim").problems == []
    assert number > 8
    expected = {"first_add": {0, 40}, "add": {0, 40}, "compact": {0}, "retire": {0, -90}, "gc": {0}}
    assert states == expected[what]
    if what in ("first_add", "add", "gc"):
        assert verify(tmp_path / "victim").leftovers == []


def test_files_of_a_profile_can_be_a_lake_and_more(lake, tmp_path):
    (tmp_path / "p.yaml").write_text(
        f"lake: {lake}\ndomains:\n  - {{name: mine, files: [{tmp_path}/b.jsonl], weight: 1}}\n"
        "  - {name: c, where: skill = c, weight: 1}\n  - {name: none, where: skill = z, weight: 2}\n"
    )
    stream = Stream.from_profile(tmp_path / "p.yaml", batch_size=4)
    assert stream.sizes == {"c": 30, "mine": 60}
    assert stream.notes == ["without records: none; the others share their weight"]
    assert stream.weights() == {"c": 0.5, "mine": 0.5}
