"""Streams: what a trainer sees of them, through resumes, ranks, changes of weights and broken data."""

import json
import multiprocessing
import pickle

import pytest

from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.index import index_paths
from frontier_core.stream import BLOCK, Stream, get_stream
from tests.frontier_core.streams import numbers, write_domain

WEIGHTS = {"a": 0.6, "b": 0.3, "c": 0.1}


@pytest.fixture
def files(tmp_path):
    return {
        name: write_domain(tmp_path / f"{name}.jsonl", name, num) for name, num in {"a": 900, "b": 300, "c": 40}.items()
    }


def open_stream(files, **about):
    return Stream.from_files(files, WEIGHTS, batch_size=8, seed=5, **about)


def take(stream, num):
    found = []
    for batch in stream:
        found.append(numbers(batch))
        if len(found) == num:
            return found
    return found


def test_a_stream_is_the_same_in_a_fresh_run_and_differs_by_seed(files):
    first, again = take(open_stream(files), 200), take(open_stream(files), 200)
    assert first == again
    assert take(Stream.from_files(files, WEIGHTS, batch_size=8, seed=6), 200) != first
    assert all(len(batch) == 8 for batch in first)


def test_neither_names_nor_order_of_files_show(files, tmp_path):
    one = write_domain(tmp_path / "one.jsonl", "d", 100)
    two = write_domain(tmp_path / "two.jsonl", "d", 80, first=100)
    first = take(Stream.from_files({"d": [one, two], "a": files["a"]}, batch_size=4, seed=1), 90)
    two.rename(tmp_path / "0.jsonl")
    moved = Stream.from_files({"a": files["a"], "d": [tmp_path / "0.jsonl", one]}, batch_size=4, seed=1)
    assert take(moved, 90) == first


def test_resume_goes_on_at_any_place_as_if_nothing_had_happened(files):
    whole = take(open_stream(files), 400)
    for stop in (1, 7, 127, 128, 129, 300):
        stream = open_stream(files)
        take(stream, stop)
        state = json.loads(json.dumps(stream.state_dict()))
        assert len(json.dumps(state)) <= 256
        later = open_stream(files)
        later.load_state_dict(state)
        assert take(later, 50) == whole[stop : stop + 50]


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_ranks_cut_the_same_global_batches(files, world):
    whole = take(open_stream(files), 150)
    ranks = [iter(open_stream(files).shard(rank, world)) for rank in range(world)]
    for batch in whole:
        assert [item for rank in ranks for item in numbers(next(rank))] == batch
    stream = open_stream(files).shard(world - 1, world)
    take(stream, 60)
    elsewhere = open_stream(files)
    elsewhere.load_state_dict(stream.state_dict())
    assert take(elsewhere, 3) == whole[60:63]


def test_weights_change_from_their_block_on_and_only_there(files):
    plain = open_stream(files)
    before = [plain.at(position) for position in range(3 * BLOCK)]
    stream = open_stream(files)
    take(stream, 130)  # into the second block
    assert stream.set_weights({"a": 0.0, "b": 1.0, "c": 1.0}) == 2
    assert [stream.at(position) for position in range(2 * BLOCK)] == before[: 2 * BLOCK]
    assert stream.domains(2 * BLOCK, 3 * BLOCK).count("b") == 512
    assert set(stream.domains(2 * BLOCK, 4 * BLOCK)) == {"b", "c"}
    assert stream.weights(1) == pytest.approx(WEIGHTS, abs=1e-9)
    assert stream.weights(2) == {"a": 0.0, "b": 0.5, "c": 0.5}
    with pytest.raises(ConfigError, match="block 2 was read already"):
        stream.set_weights(WEIGHTS, at_block=2)


def test_resume_through_a_change_of_weights_needs_that_log(files, tmp_path):
    log = tmp_path / "weights.jsonl"
    stream = open_stream(files, log=log)
    take(stream, 200)
    stream.set_weights({"b": 1.0})
    rest = take(stream, 200)
    state = stream.state_dict()
    more = take(stream, 20)
    again = open_stream(files, log=log)
    again.load_state_dict(state)
    assert take(again, 20) == more
    again = open_stream(files, log=log)
    again.load_state_dict({**state, "position": 200 * 8})
    assert take(again, 200) == rest
    with pytest.raises(ConfigError, match="another weight log"):
        open_stream(files).load_state_dict(state)
    with pytest.raises(ConfigError, match="begins with other weights"):
        Stream.from_files(files, {"a": 1.0}, log=log)


def test_a_process_sees_what_another_put_into_the_log(files, tmp_path):
    log = tmp_path / "weights.jsonl"
    owner, other = open_stream(files, log=log), open_stream(files, log=log)
    take(other, 10)
    assert owner.set_weights({"c": 1.0}, at_block=1) == 1
    assert set(other.domains(BLOCK, 2 * BLOCK)) == {"c"}
    owner.set_weights({"b": 1.0}, at_block=2)
    late = open_stream(files, log=tmp_path / "late.jsonl")
    late.at(5 * BLOCK)
    open_stream(files, log=tmp_path / "late.jsonl").set_weights({"b": 1.0}, at_block=4)
    with pytest.raises(DataError, match="came after block 5 was read"):
        late.at(6 * BLOCK)


def test_a_changed_weight_log_is_found(files, tmp_path):
    log = tmp_path / "weights.jsonl"
    open_stream(files, log=log).set_weights({"b": 1.0}, at_block=9)
    log.write_bytes(log.read_bytes().replace(b'"b":1.0', b'"b":2.0'))
    with pytest.raises(DataError, match=r"weights\.jsonl:2: does not follow"):
        open_stream(files, log=log)


def test_a_policy_is_taken_up_at_the_next_block_and_again_when_it_changes(files, tmp_path):
    policy = tmp_path / "policy.jsonl"

    def write(**weights):
        lines = [
            {"kind": "tag", "tag": tag, "weight": weight, "previous": 0.5, "reason": "r", "evidence": {}}
            for tag, weight in weights.items()
        ]
        policy.write_text("".join(json.dumps(line) + "\n" for line in lines))

    write(a=0.25, b=0.25, gone=0.5)
    stream = open_stream(files)
    stream.follow(policy)
    assert stream.weights(0) == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert stream.notes == [f"{policy}: no records for gone; the others share the weight"]
    take(stream, 100)
    write(c=1.0)
    take(stream, 28)
    assert stream.position == BLOCK
    take(stream, 1)
    assert stream.domains(BLOCK, 2 * BLOCK) == ["c"] * BLOCK
    assert [entry["block"] for entry in stream.weight_log()] == [0, 0, 1]
    assert stream.weight_log()[2]["source"].startswith("policy ")
    write(gone=1.0)
    with pytest.raises(ConfigError, match="gives weight to no domain"):
        stream.follow(policy)


def _write_policy(path, **weights):
    lines = [
        {"kind": "tag", "tag": tag, "weight": weight, "previous": 0.5, "reason": "r", "evidence": {}}
        for tag, weight in weights.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_that_goes_on_changes_nothing_it_has_read_though_the_policy_changed_meanwhile(files, tmp_path):
    policy, log = tmp_path / "policy.jsonl", tmp_path / "weights.jsonl"
    profile = tmp_path / "p.yaml"
    profile.write_text(f"files: ['{tmp_path}/?.jsonl']\nby: [skill]\npolicy: {policy}\n")
    tags = ("skill=a", "skill=b", "skill=c")
    stream = get_stream(profile, batch_size=8, seed=1, log=log)
    take(stream, 100)
    _write_policy(policy, **{tags[1]: 1.0})
    take(stream, 100)
    assert [entry["block"] for entry in stream.weight_log()] == [0, 1]
    assert set(stream.domains(BLOCK, 2 * BLOCK)) == {"skill=b"}
    state, before = stream.state_dict(), [stream.at(position) for position in range(1600)]
    _write_policy(policy, **{tags[2]: 1.0})
    later = get_stream(profile, batch_size=8, seed=1, log=log)
    later.load_state_dict(state)
    assert [later.at(position) for position in range(1600)] == before
    take(later, 60)
    assert [entry["block"] for entry in later.weight_log()] == [0, 1, 2]
    assert set(later.domains(2 * BLOCK, 3 * BLOCK)) == {"skill=c"}


def test_of_several_ranks_the_first_follows_and_the_log_tells_the_others(files, tmp_path):
    policy, log = tmp_path / "policy.jsonl", tmp_path / "weights.jsonl"
    ranks = [open_stream(files, log=log) for _ in range(2)]
    for rank, stream in enumerate(ranks):
        ranks[rank] = stream.shard(rank, 2)
        ranks[rank]._policy = policy if rank == 0 else None
    together = [take(stream, 100) for stream in ranks]
    _write_policy(policy, c=1.0)
    together = [take(stream, 300) for stream in ranks]
    (change,) = ranks[0].weight_log()[1:]
    assert change["block"] == 2
    first = change["block"] * BLOCK // 8 - 100
    assert all(item[0] == "c" for rank in together for batch in rank[first:] for item in batch)
    alone = open_stream(files)
    alone.follow(policy)
    assert alone.shard(0, 2)._policy is None


def test_map_style_reading_is_the_same_stream(files):
    stream = open_stream(files)
    assert len(stream) == 1240
    flat = [item for batch in take(open_stream(files), 160) for item in batch]
    assert numbers([stream[position] for position in (0, 5, 1023, 1024, 1239)]) == [
        flat[position] for position in (0, 5, 1023, 1024, 1239)
    ]
    assert numbers(stream.__getitems__([1020, 1021, 1022, 1023, 1024])) == flat[1020:1025]
    assert numbers(stream.__getitems__([7, 3])) == [flat[7], flat[3]]
    assert stream[-1] == stream[1239]
    with pytest.raises(IndexError):
        stream[1240]
    assert numbers(stream.batch(140)) == flat[1120:1128]


def test_every_epoch_gives_each_record_once_and_is_counted(files):
    stream = Stream.from_files({"a": files["a"]}, batch_size=9, seed=0)
    found = [item for batch in take(stream, 200) for item in batch]
    assert sorted(found[:900]) == sorted(found[900:]) == [("a", number) for number in range(900)]
    assert found[:900] != found[900:]
    assert stream.epochs() == {"a": 2.0}
    assert open_stream(files).counts(1500) == {
        name: open_stream(files).domains(0, 1500).count(name) for name in ("a", "b", "c")
    }


def test_a_cap_on_epochs_ends_the_stream(files):
    stream = Stream.from_files(files, WEIGHTS, batch_size=64, seed=2, epochs=1)
    found = [item for batch in stream for item in numbers(batch)]
    assert sorted(found) == sorted((name, n) for name, num in (("a", 900), ("b", 300), ("c", 40)) for n in range(num))
    ranks = [list(Stream.from_files(files, WEIGHTS, batch_size=64, seed=2, epochs=1).shard(r, 2)) for r in (0, 1)]
    assert len(ranks[0]) == len(ranks[1]) == 20
    assert [item for one, two in zip(*ranks, strict=True) for item in numbers(one + two)] == found


def _batches(stream, wanted, queue):
    queue.put([(number, numbers(stream.batch(number))) for number in wanted])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_draw_the_same_batches(files, method):
    stream = open_stream(files)
    stream.set_weights({"b": 1.0}, at_block=1)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [context.Process(target=_batches, args=(stream, range(w, 200, 2), queue)) for w in (0, 1)]
    for worker in workers:
        worker.start()
    found = dict(queue.get(timeout=60) + queue.get(timeout=60))
    for worker in workers:
        worker.join()
    assert [found[number] for number in range(200)] == take(stream, 200)


def test_a_pickled_stream_stands_where_it_stood(files):
    stream = open_stream(files).shard(1, 2)
    take(stream, 30)
    assert take(pickle.loads(pickle.dumps(stream)), 10) == take(stream, 10)


def test_a_profile_cuts_by_tag_filter_and_length(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(
        'files: ["?.jsonl"]\nwhere: level <= 2 AND NOT skill = c\nby: [skill, level]\nweights: uniform\n'
    )
    stream = get_stream("p.yaml", batch_size=4, seed=1)
    assert stream.sizes == {
        "skill=a,level=1": 300, "skill=a,level=2": 300, "skill=b,level=1": 100, "skill=b,level=2": 100,
    }  # fmt: skip
    assert stream.counts(BLOCK) == dict.fromkeys(stream.names, 256)
    for position, domain in enumerate(stream.domains(0, 50)):
        meta = stream.at(position)["metadata"]
        assert domain == f"skill={meta['skill']},level={meta['level']}"
    (tmp_path / "q.yaml").write_text(
        "domains:\n  - {name: short, files: [a.jsonl], where: bytes < 160, weight: 3}\n"
        "  - {name: rest, files: [a.jsonl, b.jsonl], weight: 1}\nlengths: {edges_bytes: [150], weights: [1, 3]}\n"
    )
    stream = get_stream(profile="q.yaml", batch_size=4, seed=1)
    assert stream.names == ["rest|<=150", "rest|>150", "short|<=150", "short|>150"]
    assert stream.counts(BLOCK) == {"rest|<=150": 64, "rest|>150": 192, "short|<=150": 192, "short|>150": 576}
    assert sum(stream.sizes.values()) == 1200
    stream.set_weights({"short": 1.0}, lengths=[1, 1])
    assert stream.weights(0) == {"rest|<=150": 0.0, "rest|>150": 0.0, "short|<=150": 0.5, "short|>150": 0.5}


def test_lines_are_the_bytes_of_the_file_and_places_name_them(files, tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b'{"n": 1.50, "metadata": {}}\r\n\n   \n{"n":%d}\n{"n":3}' % 2**70)
    stream = Stream.from_files({"odd": path}, batch_size=3)
    assert sorted(stream.lines(0, 3)) == [b'{"n": 1.50, "metadata": {}}', b'{"n":%d}' % 2**70, b'{"n":3}']
    assert sorted(record["n"] for record in stream.records(0, 3)) == [1.5, 3, 2**70]
    assert sorted(stream.place(position) for position in range(3)) == [
        ("odd", 0, str(path), 1),
        ("odd", 0, str(path), 4),
        ("odd", 0, str(path), 5),
    ]


def test_a_line_that_is_no_record_is_named_when_it_is_drawn(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"a":1}\n\n{"a":\n[1]\n')
    stream = Stream.from_files({"bad": path}, batch_size=1)
    said = set()
    for position in range(3):
        try:
            stream.at(position)
        except DataError as error:
            said.add(error.message.split(" ", 1)[0] + error.code)
    assert said == {f"{path}:3:invalid_json", f"{path}:4:not_an_object"}


def test_a_changed_file_gets_a_new_index(files):
    first = take(open_stream(files), 5)
    write_domain(files["a"], "a", 901)
    stream = open_stream(files)
    assert stream.sizes["a"] == 901
    with pytest.raises(ConfigError, match="another corpus"):
        stream.load_state_dict(open_stream({**files, "a": files["b"]} | {"b": files["a"]}).state_dict())
    write_domain(files["a"], "a", 900)
    assert take(open_stream(files), 5) == first
    index = index_paths(files["a"])[0]
    index.write_bytes(index.read_bytes()[:200])  # torn
    assert take(open_stream(files), 5) == first


@pytest.mark.parametrize(
    ("about", "error", "says"),
    [
        ({"batch_size": 0}, ConfigError, "batch_size 0"),
        ({"where": "level >"}, ConfigError, "a value is missing at 'the end'"),
        ({"where": "level > 9"}, DataError, "no records pass the filter 'level > 9'"),
        ({"epochs": -1}, ConfigError, "epochs: must be a number above 0"),
        ({"weights": {"d": 1}}, ConfigError, "unknown domain 'd'"),
        ({"weights": {"a": -1}}, ConfigError, "weight of 'a': -1"),
        ({"weights": {"a": 0.0}}, ConfigError, "no weight is above 0"),
    ],
)
def test_what_can_not_be_is_refused(files, about, error, says):
    with pytest.raises(error, match=says):
        Stream.from_files(files, **about)


def test_profiles_and_files_that_are_not_there(files, tmp_path):
    with pytest.raises(ConfigError, match="unknown profile 'frontier_core_v1'") as found:
        get_stream("frontier_core_v1")
    assert found.value.hint == "did you mean 'frontier_core_v0'?"
    with pytest.raises(UsageError, match="no such file"):
        Stream.from_files({"a": tmp_path / "no.jsonl"})
    (tmp_path / "x.jsonl.gz").write_bytes(b"")
    with pytest.raises(UsageError, match="compressed"):
        Stream.from_files({"a": tmp_path / "x.jsonl.gz"})
    with pytest.raises(ConfigError, match="no multiple of 3 ranks"):
        open_stream(files).shard(0, 3)
