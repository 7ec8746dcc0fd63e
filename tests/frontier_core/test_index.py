"""Indexes of files and the filter language over them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier_core.errors import ConfigError, DataError
from frontier_core.index import Columns, ColumnsBuilder, distinct_values, index_paths, open_columns, open_index
from frontier_core.index_arrays import ArrayFile, pack_arrays
from frontier_core.index_where import Where
from frontier_core.jsonl import read_rows

METADATA = [
    {"skill": "binary", "level": 1, "safety_tags": [], "source_license": "MIT"},
    {"skill": "binary", "level": 3, "safety_tags": ["pii", "code"], "source_license": "GPL-3.0"},
    {"skill": "syllo", "level": 3, "tool_set": ["bash"], "graph_coverage": 0.5},
    {"skill": "web page", "level": "high", "difficulty": 3.0, "notes": {"by": "me"}, "flag": True},
    {},
]
FILTERS = {
    "": [0, 1, 2, 3, 4],
    "skill=binary": [0, 1],
    "skill = 'web page'": [3],
    "skill=binary AND level>=3": [1],
    "level = 3 or level=1": [0, 1, 2],
    "level >= 1": [0, 1, 2],
    "difficulty = 3": [3],
    "graph_coverage < 0.75": [2],
    "NOT skill=binary": [2, 3, 4],
    "skill != binary": [2, 3, 4],
    "skill IN (syllo, 'web page')": [2, 3],
    "skill not in (syllo, binary)": [3, 4],
    "skill ~ 'b*'": [0, 1],
    "safety_tags = pii": [1],
    "safety_tags": [1],
    "not safety_tags and level": [0, 2, 3],
    "source_license ~ 'GPL*' OR tool_set = bash": [1, 2],
    "flag = true": [3],
    "flag = 1": [],
    "notes.by = me": [3],
    "level > abc": [3],
    "(skill=binary OR skill=syllo) AND NOT (level=1)": [1, 2],
    "nothing = 1": [],
    "nothing != 1": [0, 1, 2, 3, 4],
    "bytes > 0 and skill": [0, 1, 2, 3],
}


def columns_of(rows):
    builder = ColumnsBuilder()
    for row in rows:
        builder.add(row)
    return builder.finish()


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_chooses_the_same_records_by_columns_and_one_by_one(text):
    where = Where(text)
    lengths = np.full(len(METADATA), 100)
    fetched = lambda rows: [METADATA[row] for row in rows]  # noqa: E731
    mask = where.mask(columns_of(METADATA), lengths, fetched)
    found = list(range(5)) if mask is None else np.flatnonzero(mask).tolist()
    assert found == FILTERS[text]
    assert [n for n, row in enumerate(METADATA) if where.matches(row, 100)] == FILTERS[text]
    wide = Columns(5, {}, {key for row in METADATA for key in row})
    mask = where.mask(wide, lengths, fetched)
    assert (list(range(5)) if mask is None else np.flatnonzero(mask).tolist()) == FILTERS[text]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("skill =", "a value is missing at 'the end'"),
        ("skill = a b", "AND or OR is missing at 'b'"),
        ("= 3", "a key is missing at '= 3'"),
        ("(skill = a", ") is missing at 'the end'"),
        ("skill IN a", "( is missing at 'a'"),
        ("skill NOT level", "IN is missing after NOT at 'level'"),
        ("skill = 'a", "can't be read at"),
        ("x; DROP TABLE y", "can't be read at '; DROP TABLE y'"),
        ("(" * 100 + "a" + ")" * 100, "nested too deep"),
        ("and = 3", "a key is missing at 'and = 3'"),
    ],
)
def test_a_filter_that_can_not_be_read_says_where(text, says):
    with pytest.raises(ConfigError) as found:
        Where(text)
    assert says in found.value.message


VALUE = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["a", "b", "3", "ab"]),
                  st.lists(st.sampled_from(["a", "b"]), max_size=2))  # fmt: skip


@given(
    st.lists(st.dictionaries(st.sampled_from(["k", "m"]), VALUE), min_size=1, max_size=12),
    st.sampled_from(["k=a", "k!=3", "k<3 or m~'a*'", "not (k in (a,3) and m)", "k>=b", "m = null", "k and m != a"]),
)
@settings(max_examples=150, deadline=None)
def test_columns_never_disagree_with_records(rows, text):
    where = Where(text)
    mask = where.mask(columns_of(rows), np.zeros(len(rows), int), lambda _: [])
    assert mask.tolist() == [where.matches(row) for row in rows]


def test_columns_keep_values_apart_and_in_order():
    columns = columns_of([{"k": 1}, {"k": True}, {"k": "1"}, {"k": 1.0}, {"j": [2**70]}, {"k": None}])
    assert columns.columns["k"].values == [1, True, "1", 1.0, None]
    assert columns.columns["k"].codes.tolist() == [0, 1, 2, 3, -1, 4]
    assert columns.columns["j"].values == [[2**70]]
    assert list(distinct_values(columns, "k")) == [(1, 1), (True, 1), ("1", 1), (1.0, 1), (None, 1)]
    assert list(distinct_values(columns, "x")) == []


def test_a_key_with_too_many_values_is_left_to_the_records(monkeypatch):
    monkeypatch.setattr("frontier_core.index.MAX_VALUES", 3)
    monkeypatch.setattr("frontier_core.index.MAX_KEYS", 2)
    columns = columns_of([{"id": n, "s": "x", "third": 1} for n in range(5)])
    assert (sorted(columns.columns), sorted(columns.wide)) == (["s"], ["id", "third"])


def test_lines_are_found_as_the_reader_finds_them(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a":1}\n\n  \t \r\n{"b":2}\r\n{"c":%s}\n          \n{"d":4}\r\r\n{"e":5}' % (b"1" * 300))
    index = open_index(path)
    data = path.read_bytes()
    lines = [data[s : s + n] for s, n in zip(index.starts.tolist(), index.lengths.tolist(), strict=True)]
    assert lines == [row.raw for row in read_rows(path)]
    assert not index.is_exact
    assert open_index(path).starts.tolist() == index.starts.tolist()


@given(
    st.lists(st.sampled_from(['{"a":1}', "", " ", "\r", '{"text":"long enough"}', "\t\t\t\t\t\t\t\t\t\t"]), min_size=1)
)
@settings(max_examples=60, deadline=None)
def test_any_mix_of_blank_lines_is_passed_over(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("x") / "x.jsonl"
    path.write_bytes(b'{"first":0}\n' + "\n".join(lines).encode())
    index, data = open_index(path), path.read_bytes()
    found = [data[s : s + n] for s, n in zip(index.starts.tolist(), index.lengths.tolist(), strict=True)]
    assert found == [row.raw for row in read_rows(path)]


@pytest.mark.parametrize("where", [0, 8, 30, 200, -1])
def test_a_torn_index_is_made_again(tmp_path, where):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"metadata": {"skill": f"s{n % 3}"}}) + "\n" for n in range(50)))
    index = open_index(path)
    columns = open_columns(index)
    for kept in index_paths(path):
        kept.write_bytes(kept.read_bytes()[:where])
    again = open_columns(open_index(path))
    assert again.columns["skill"].codes.tolist() == columns.columns["skill"].codes.tolist()
    assert all(ArrayFile.open(kept) is not None for kept in index_paths(path))


def test_a_folder_that_may_not_be_written_only_costs_time(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    path.write_text('{"metadata": {"skill": "a"}}\n')

    def refuse(*_):
        raise PermissionError(13, "no")

    monkeypatch.setattr("frontier_core.index.write_bytes", refuse)
    assert open_index(path).num == open_columns(open_index(path)).num == 1
    assert not any(kept.exists() for kept in index_paths(path))


def test_a_line_that_is_no_record_has_no_columns(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a":1}\n{"a":\n')
    with pytest.raises(DataError, match=r"x\.jsonl:2: not valid JSON"):
        open_columns(open_index(path))


def test_arrays_come_back_as_they_were(tmp_path):
    path = tmp_path / "a.idx"
    arrays = {"one": np.arange(5, dtype=np.uint64), "two": np.array([], np.int8), "three": np.array([1.5, 2.5])}
    path.write_bytes(pack_arrays({"k": [1, "x"]}, arrays))
    file = ArrayFile.open(path)
    assert file.meta == {"k": [1, "x"]}
    assert file.names() == ["one", "two", "three"]
    assert [file[name].tolist() for name in file.names()] == [[0, 1, 2, 3, 4], [], [1.5, 2.5]]
    assert ArrayFile.open(tmp_path / "none.idx") is None
