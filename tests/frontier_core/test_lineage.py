import os
from datetime import datetime

import pytest

from frontier_core import lineage
from frontier_core.atomic import commit_dir, sha256_file
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import Output, write_records
from frontier_core.lineage import Tally, chain, digest_of, is_current, mark, read_sidecar, sidecar_path, write_sidecar


def made(path, records, **about):
    with Output(path) as output:
        for record in records:
            output.write(record)
    write_sidecar(path, output=output, argv=["frontier", "test"], **about)
    return path


@pytest.fixture
def three(tmp_path):
    first = made(tmp_path / "a.jsonl", [{"a": 1}], stage="synth gen", seed=7)
    second = made(tmp_path / "b.jsonl", [{"b": 1}], stage="synth verify", inputs=[first])
    return first, second, made(tmp_path / "c.jsonl", [{"c": 1}], stage="validate", inputs=[second, "-"])


def test_a_sidecar_says_what_made_the_file_and_from_what(three):
    meta = read_sidecar(three[2])
    assert {key: meta[key] for key in ("schema", "stage", "command", "seed", "inputs")} == {
        "schema": "frontier_meta_v1",
        "stage": "validate",
        "command": ["frontier", "test"],
        "seed": None,
        "inputs": [
            {
                "path": "b.jsonl",
                "sha256": digest_of(three[1]),
                "meta_sha256": read_sidecar(three[1])["meta_sha256"],
            }
        ],
    }
    assert meta["data"] == {"path": "c.jsonl", "sha256": digest_of(three[2]), "bytes": 8, "num_records": 1}


def test_the_chain_goes_back_to_the_seed(three):
    links = list(chain(three[2]))
    assert [(link.path.name, link.depth, link.status) for link in links] == [
        ("c.jsonl", 0, "ok"),
        ("b.jsonl", 1, "ok"),
        ("a.jsonl", 2, "ok"),
    ]
    assert links[-1].meta["seed"] == 7


def test_one_changed_byte_and_a_missing_file_are_found(three):
    three[1].write_bytes(b'{"b":2}\n')
    three[0].unlink()
    assert [(link.path.name, link.status) for link in chain(three[2])] == [
        ("c.jsonl", "ok"),
        ("b.jsonl", "changed"),
        ("a.jsonl", "missing"),
    ]


def test_a_rewritten_input_with_its_own_sidecar_still_counts_as_changed(three):
    made(three[1], [{"b": 2}], stage="synth verify", inputs=[three[0]])
    assert [link.status for link in chain(three[2])] == ["ok", "changed", "ok"]


def statuses(path, **options):
    return {link.path.name: link.status for link in chain(path, **options)}


def test_a_byte_changed_under_the_old_time_is_found(three):
    before = three[1].stat()
    three[1].write_bytes(b'{"b":2}\n')
    os.utime(three[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert statuses(three[2]) == {"c.jsonl": "ok", "b.jsonl": "changed", "a.jsonl": "ok"}


def test_a_file_touched_but_not_changed_holds(three):
    os.utime(three[1])
    three[2].write_bytes(three[2].read_bytes())
    assert set(statuses(three[2]).values()) == {"ok"}


def test_a_swapped_sidecar_is_found(three):
    sidecar_path(three[1]).write_bytes(sidecar_path(three[2]).read_bytes())
    links = {link.path.name: link for link in chain(three[2])}
    assert (links["b.jsonl"].status, links["b.jsonl"].problem) == ("swapped", "its sidecar is that of c.jsonl")
    assert links["b.jsonl"].user == three[2]


def test_a_sidecar_written_anew_with_another_history_is_swapped(three):
    write_sidecar(three[1], stage="synth verify", inputs=[three[0]], seed=8, argv=["frontier", "test"])
    assert statuses(three[2]) == {"c.jsonl": "ok", "b.jsonl": "swapped", "a.jsonl": "ok"}


def test_an_edited_and_a_removed_sidecar_are_found(three):
    path = sidecar_path(three[1])
    path.write_bytes(path.read_bytes().replace(b'"synth verify"', b'"synth verifz"'))
    assert statuses(three[2]) == {"c.jsonl": "ok", "b.jsonl": "edited", "a.jsonl": "ok"}
    path.write_text("{")
    assert statuses(three[2]) == {"c.jsonl": "ok", "b.jsonl": "edited"}
    path.unlink()
    assert statuses(three[2]) == {"c.jsonl": "ok", "b.jsonl": "orphan"}


def test_making_the_same_again_changes_no_sidecar_and_breaks_no_chain(three, monkeypatch):
    before = [sidecar_path(path).read_bytes() for path in three]
    monkeypatch.setattr(lineage, "datetime", Later)
    made(three[0], [{"a": 1}], stage="synth gen", seed=7)
    made(three[1], [{"b": 1}], stage="synth verify", inputs=[three[0]])
    assert [sidecar_path(path).read_bytes() for path in three] == before
    assert set(statuses(three[2], rehash=True).values()) == {"ok"}


class Later:
    @staticmethod
    def now(zone):
        return datetime(2099, 1, 1, tzinfo=zone)


def test_what_was_hashed_once_is_trusted_until_told_otherwise(three, monkeypatch):
    read = []
    monkeypatch.setattr(lineage, "sha256_file", lambda path: read.append(path.name) or sha256_file(path))
    assert set(statuses(three[2]).values()) == {"ok"}
    assert read == []
    assert set(statuses(three[2], rehash=True).values()) == {"ok"}
    assert read == ["c.jsonl", "b.jsonl", "a.jsonl"]


def test_by_products_are_vouched_for_too(tmp_path):
    write_records(tmp_path / "x.rejects.jsonl", [{"r": 1}])
    data = made(tmp_path / "x.jsonl", [{"a": 1}], stage="validate", byproducts=[tmp_path / "x.rejects.jsonl"])
    assert statuses(data) == {"x.jsonl": "ok"}
    (tmp_path / "x.rejects.jsonl").write_text("{}\n")
    (link,) = chain(data)
    assert (link.status, link.problem) == ("changed", "x.rejects.jsonl is gone or not as it was")


def test_a_file_is_current_while_nothing_that_made_it_changed(three, tmp_path):
    def current(**other):
        about = {"stage": "synth verify", "inputs": [three[0]], "producer": "", "params": {}} | other
        return is_current(three[1], **about) is not None

    assert current()
    assert not current(params={"a": 1})
    assert not current(producer="x@2")
    assert not current(seed=1)
    assert not current(inputs=[three[0], "-"])
    assert not current(inputs=[three[2]])
    assert not current(inputs=[tmp_path / "gone"])
    three[0].write_bytes(b'{"a":3}\n')
    assert not current()
    three[0].write_bytes(b'{"a":1}\n')
    assert current()
    three[1].write_bytes(b'{"b":7}\n')
    assert not current()


def test_a_tally_counts_by_generator():
    tally = Tally()
    tally.add({"metadata": {"skill": "x", "generator_id": "binary", "generator_version": "1.0.0"}})
    tally.add({"metadata": {"skill": "x", "source": "theirs"}})
    tally.add({"metadata": {"skill": "x"}})
    tally.reject("bad", "binary@1.0.0")
    assert tally.by_generator() == {
        "binary@1.0.0": {"passed": 1, "failed": 1, "reasons": {"bad": 1}},
        "theirs": {"passed": 1, "failed": 0, "reasons": {}},
        "unknown": {"passed": 1, "failed": 0, "reasons": {}},
    }


def test_records_counted_by_tag_alone_are_told_by_their_marks():
    tally = Tally()
    tally.tags["skill=binary"] = 10
    tally.marks.update({"gen:binary@2.0.0": 7, "validate:x@1": 10})
    tally.reject("bad")
    assert tally.by_generator() == {
        "binary@2.0.0": {"passed": 7, "failed": 0, "reasons": {}},
        "unknown": {"passed": 3, "failed": 1, "reasons": {"bad": 1}},
    }


def test_a_file_without_a_sidecar_is_a_source(tmp_path):
    write_records(tmp_path / "x.jsonl", [{"a": 1}])
    assert [link.status for link in chain(tmp_path / "x.jsonl")] == ["source"]


def test_a_tree_can_be_moved(three, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in list(tmp_path.glob("*.json*")):
        path.rename(moved / path.name)
    assert [link.status for link in chain(moved / "c.jsonl")] == ["ok", "ok", "ok"]


def test_a_folder_has_one_digest_over_names_and_bytes(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / f".{name}"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "x").write_bytes(b"1")
        (folder / "y").write_bytes(b"2")
        commit_dir(folder, tmp_path / name)
    assert digest_of(tmp_path / "one") == digest_of(tmp_path / "two")
    (tmp_path / "two" / "y").rename(tmp_path / "two" / "z")
    assert digest_of(tmp_path / "one") != digest_of(tmp_path / "two")


def test_the_tally_counts_tags_marks_and_rejects():
    tally = Tally()
    record = {"metadata": {"skill": "binary", "level": 2, "lineage": ["gen:binary@1.0.0"]}}
    tally.add(mark(record, "verify:x@1"))
    tally.add(mark(record, "verify:x@1"))
    tally.reject("wrong_file")
    assert dict(tally.tags) == {"skill=binary,level=2": 2}
    assert dict(tally.marks) == {"gen:binary@1.0.0": 2, "verify:x@1": 2}
    assert tally.num_rejected == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "other"}'])
def test_a_broken_sidecar_is_named(tmp_path, text):
    write_records(tmp_path / "x.jsonl", [{"a": 1}])
    sidecar_path(tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"x.jsonl.meta.json: the sidecar is not"):
        read_sidecar(tmp_path / "x.jsonl")


def test_no_such_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        list(chain(tmp_path / "x.jsonl"))


def test_an_input_that_is_a_pipe_is_named_but_not_read_again(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    data, about = tmp_path / "a.jsonl", {"stage": "validate", "inputs": [tmp_path / "pipe"], "producer": "x"}
    write_records(data, [{"n": 1}])
    write_sidecar(data, **about)  # and does not wait for a writer
    assert read_sidecar(data)["inputs"] == [{"path": "pipe"}]
    assert is_current(data, **about, params={}) is None
