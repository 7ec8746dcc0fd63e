"""Bulk judgement against judgement line by line: the same verdicts, numbers, bytes, counts, however a file is cut."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.jsonl import Part, dumps, read_chunks
from frontier_ops import parallel_validate
from frontier_ops.stage_files import Target
from frontier_ops.stage_validate import validate
from validators.base import GateSettings
from validators.bulk import Bulk
from validators.content_gate import ContentGate
from validators.fast_turns import Turns
from validators.schema_gate import SchemaGate
from validators.standard_rules import content_key, turns_key
from validators.validation import Validation

P = "🤔🤔🤔🤔\n"


def chat(number, **metadata):
    turns = [{"role": "user", "content": f"what is {number}?"}, {"role": "assistant", "content": f"{P}it is {number}"}]
    return dumps({"messages": turns, "metadata": {"skill": "s", "level": number % 3, **metadata}})


SPECIAL = {
    5: b"",
    9: chat(9) + b"\r",
    12: b'{"messages":',
    20: chat(20).replace(b'"user"', b'"User"'),
    21: chat(21).replace("🤔".encode(), b""),
    30: b'{"text":"once","metadata":{"skill":"web"}}',
    31: chat(31, lineage=["gen:x@1"]),
    200: b'{"text":"twice","metadata":{"skill":"web"}}',
    201: b'{"text":"","metadata":{"skill":"web"}}',
    210: chat(210, notes="n" * 300),
    211: chat(211, other=2**70),
    212: chat(212).replace(b"what", b"\xff"),
    213: chat(213).replace(b'":', b'": '),
    214: b'{"instruction":"x","output":[{"command":"ls"}],"metadata":{"skill":"sh"}}',
    215: b"[1]",
    220: chat(220, source="web", generator_id="web", generator_version="3"),
    230: chat(230, lineage=["gen:x@1"]),
    231: chat(231, z="lineage"),
}


@pytest.fixture
def mixed(tmp_path):
    lines = [SPECIAL[number] if number in SPECIAL else chat(number) for number in range(1, 401)]
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.fixture(params=[1 << 20, 4000])
def regular_bytes(request, monkeypatch):
    """Nothing is recognised, the file is too short for it; or what stands behind its first bytes is."""
    monkeypatch.setattr("validators.bulk.REGULAR_BYTES", request.param)
    return request.param


def test_bulk_says_what_line_by_line_says(mixed, monkeypatch, regular_bytes):
    monkeypatch.setattr("frontier_core.jsonl.CHUNK_BYTES", 2000)
    one, bulk = (Validation(GateSettings(level="quick")) for _ in range(2))
    notes, bulk_notes = [], []
    singly = list(one.judge(mixed, notes=notes))
    batches = list(bulk.batches(mixed, notes=bulk_notes))
    assert bulk.report("x") == one.report("x")
    assert bulk.tally == one.tally
    assert one.tally.passed["web@3"] == 1
    assert b"".join(batch.data() for batch in batches) == b"".join(
        judged.row.raw + b"\n" for judged in singly if judged.verdict.ok
    )
    rejected = [(j.row.number, j.row.raw, j.verdict) for batch in batches for j in batch.judged if not j.verdict.ok]
    assert rejected == [(j.row.number, j.row.raw, j.verdict) for j in singly if not j.verdict.ok]
    assert [number for number, _, _ in rejected] == [12, 20, 21, 201, 212, 215]
    assert sum(batch.num_sure for batch in batches) > 300
    assert notes == [f"{mixed}: 1 lines end in CRLF; read as if they ended in LF", f"{mixed}: 1 blank lines skipped"]


def test_recognising_ends_where_lines_are_no_longer_as_learnt(tmp_path, monkeypatch):
    monkeypatch.setattr("frontier_core.jsonl.CHUNK_BYTES", 2000)
    monkeypatch.setattr("validators.bulk.REGULAR_BYTES", 4000)
    monkeypatch.setattr("validators.bulk.TRIED_LINES", 100)
    regular = [chat(number) for number in range(300)]
    other = [json.dumps(json.loads(chat(number, **{f"k{number}": [number]}))).encode() for number in range(300, 900)]
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join([*regular, *other]) + b"\n")
    bulk = Bulk("auto", "emoji_think", None)
    one = Validation(GateSettings(level="quick"))
    singly = list(one.judge(path))
    run = Validation(GateSettings(level="quick"))
    bulk.judge = lambda row: run._judge(row, SchemaGate(), ContentGate(settings=run.settings))
    was_on = [bulk._regular is not None and bulk._regular.lines is not None for _ in bulk.batches(path)]
    assert any(was_on)
    assert not was_on[-1]
    assert all(judged.verdict.ok for judged in singly)


def test_a_pipe_gets_the_mark_in_every_record(mixed, monkeypatch, regular_bytes):
    monkeypatch.setattr("frontier_core.jsonl.CHUNK_BYTES", 2000)
    run = Validation(GateSettings(level="quick"))
    plain, marked = [], []
    for batch in run.batches(mixed):
        plain += batch.data().splitlines()
        marked += batch.marked("quick").splitlines()
    own = "validate:data_validator@1.2.0/quick"
    for before, after in zip(plain, marked, strict=True):
        record, expected = json.loads(after), json.loads(before)
        if b'": ' in before:  # not as we would write it: passed on as it is
            assert after == before
            continue
        expected["metadata"]["lineage"] = [*expected["metadata"].get("lineage", []), own]
        assert record == expected
        assert after == json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_change_nothing_but_the_time(mixed, tmp_path, monkeypatch, workers, regular_bytes):
    monkeypatch.setattr(parallel_validate, "MIN_PART_BYTES", 1000)
    monkeypatch.setattr("frontier_core.jsonl.CHUNK_BYTES", 700)
    results = []
    for number in (1, workers):
        target = Target(output=str(tmp_path / f"out{number}.jsonl"))
        told, rejected = [], []
        result = validate(
            str(mixed),
            target,
            settings=GateSettings(level="quick"),
            workers=number,
            on_reject=rejected.append,
            on_note=told.append,
        )
        told += [line.complaint() for line in rejected]
        files = [tmp_path.joinpath(f"out{number}{end}").read_bytes() for end in (".jsonl", ".rejects.jsonl")]
        meta = json.loads(tmp_path.joinpath(f"out{number}.jsonl.meta.json").read_bytes())
        results.append((files, told, result.report, meta["counts"], meta["lineage"], result.num_in))
    assert results[0] == results[1]


def test_parts_share_out_every_line_once(tmp_path):
    path = tmp_path / "in.jsonl"
    content = b'{"a":1}\n\n{"b":22}\r\n{"c":333}\n{"d":4}'
    path.write_bytes(content)
    lines = content.splitlines(keepends=True)
    for first in range(len(content) + 1):
        for second in range(first, len(content) + 1):
            bounds = [0, first, second, len(content)]
            got = [
                line
                for start, end in pairwise(bounds)
                if end > start
                for chunk in read_chunks(path, part=Part(start, end))
                for line in chunk
            ]
            assert got == lines


def test_standard_says_in_bulk_what_it_says_line_by_line(tmp_path, monkeypatch):
    monkeypatch.setattr("frontier_core.jsonl.CHUNK_BYTES", 2000)
    special = {
        60: chat(59, z=1),  # the content of the line before, other metadata
        61: chat(61).replace(b"it is", b"it is AKIAABCDEFGHIJKLMNOP"),
        62: chat(62).replace(b"it is", b"it is ann@acme.com"),
        63: chat(63).replace(b"it is", b"again " * 30),
        64: chat(64).replace(b'"user"', b'"User"'),
        70: chat(300).replace(b'"skill"', b'"new":1,"skill"'),  # doubtful, and a sure line repeats it
        301: chat(301).replace(b"it is", b"long " + b"word after word and more of it " * 90),
        310: chat(310, skill="syllo", level=1),
        320: b'{"text":"once","metadata":{"skill":"web"}}',
        321: b'{"text":"once","metadata":{"skill":"web","x":1}}',
        330: chat(329).replace(b"what", rb"wh\u0061t"),  # the same letters, spelt otherwise
        332: json.dumps(json.loads(chat(331))).encode(),  # and spaced otherwise
        334: chat(335).replace(b"what", rb"wh\u0061t"),  # doubtful for nothing, and the line after repeats it
        340: chat(339).replace(b'{"messages":', b'{ "messages": '),
    }
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"".join((special[n] if n in special else chat(n)) + b"\n" for n in range(1, 401)))
    one, bulk = (Validation(GateSettings(level="standard")) for _ in range(2))
    singly = list(one.judge(path))
    batches = list(bulk.batches(path))
    assert bulk.report("x") == one.report("x")
    assert bulk.tally == one.tally
    rejected = [(j.row.number, j.verdict.code) for batch in batches for j in batch.judged if not j.verdict.ok]
    assert rejected == [(j.row.number, j.verdict.code) for j in singly if not j.verdict.ok]
    assert [item for item in rejected if item[0] != 310] == [
        (60, "duplicate"), (61, "secret"), (63, "degenerate"), (64, "wrong_role"), (300, "duplicate"),
        (321, "duplicate"), (330, "duplicate"), (332, "duplicate"), (335, "duplicate"), (340, "duplicate"),
    ]  # fmt: skip
    assert bulk.warnings == {"personal_data": 1, "length_outlier": 1}
    assert sum(batch.num_sure for batch in batches) > 250


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=2, max_size=4))
def test_a_chat_has_the_same_key_decoded_quickly_as_decoded_whole(texts):
    roles = ["user", "assistant"] * 2
    turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    quick = msgspec.json.decode(json.dumps(turns), type=Turns("plain", reads_text=True).type)
    assert turns_key(msgspec.json.encode(quick)) == content_key({"messages": turns, "metadata": {"skill": "s"}})
