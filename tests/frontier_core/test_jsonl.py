import gzip
import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import DataError, EnvironmentMissing, UsageError
from frontier_core.jsonl import Output, append_line, count_lines, dumps, loads, read_records, read_rows, write_records

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_a_value_survives_the_round_trip_exactly(value):
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("number", [2**63 - 1, 2**64 - 1, 2**64, 2**70, -(2**63), -(2**63) - 1, 10**40])
def test_integers_beyond_64_bits_stay_integers(number):
    assert dumps({"a": number}) == f'{{"a":{number}}}'.encode()
    assert loads(f'{{"a":{number}}}'.encode()) == {"a": number}
    assert type(loads(dumps(number))) is int


def test_key_order_and_unknown_keys_are_kept():
    line = b'{"z":1,"a":{"q":[1,2.5,null]},"messages":[]}'
    assert dumps(loads(line)) == line


@pytest.mark.parametrize("text", ["NaN", "Infinity", '"\\ud800"', "1e400", '{"a":1}x', "01", f"{'9' * 25}x"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        loads(text)


def test_a_lone_surrogate_can_not_be_written():
    with pytest.raises(DataError, match="lone surrogate"):
        dumps({"a": "\ud800"})


def rows(path, text):
    path.write_bytes(text)
    return list(read_rows(path))


def test_a_bad_line_costs_only_itself(tmp_path):
    found = rows(tmp_path / "x.jsonl", b'{"a":1}\n{"a":\n[1]\n{"a":2}\n')
    assert [(row.number, row.record, row.problem.code if row.problem else "") for row in found] == [
        (1, {"a": 1}, ""),
        (2, {}, "invalid_json"),
        (3, {}, "not_an_object"),
        (4, {"a": 2}, ""),
    ]


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b'{"a":1}\n{"a":', "truncated_line", "x.jsonl:2: the line is cut off"),
        (b'{"a":1}\n{"a":"\xff"}\n', "invalid_utf8", "x.jsonl:2: invalid UTF-8 at byte 7 of the line"),
        (b'{"a":1}\n"text"\n', "not_an_object", "x.jsonl:2: the row is a string, not a JSON object"),
        (b'{"a":1}\n{"a":NaN}\n', "invalid_json", "x.jsonl:2: not valid JSON"),
        (b'{"a":1}\n' + b"[" * 5000 + b"]" * 5000 + b"\n", "invalid_json", "x.jsonl:2: not valid JSON"),
        (b"", "empty", "x.jsonl: is empty"),
        (b"\n\n", "empty", "x.jsonl: holds no records"),
        ('{"a":1}'.encode("utf-16"), "utf16", "x.jsonl: is UTF-16"),
        (b'\xef\xbb\xbf{"a":1}\n', "bom", "x.jsonl: begins with a byte order mark"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "lfs_pointer", "is a Git LFS pointer"),
        (b'[\n {"a": 1}\n]\n', "pretty_json", "x.jsonl: is an array printed over many lines"),
        (b'{\n "a": 1\n}\n', "pretty_json", "x.jsonl: is an object printed over many lines"),
        (gzip.compress(b'{"a":1}\n', mtime=0), "compressed", "x.jsonl: is compressed, but its name does not say so"),
    ],
)
def test_what_can_not_be_read_says_what_and_where(tmp_path, monkeypatch, data, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jsonl").write_bytes(data)
    with pytest.raises(DataError) as caught:
        list(read_records("x.jsonl"))
    assert caught.value.code == code
    assert says in caught.value.message


def test_crlf_and_blank_lines_are_read_with_a_note(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jsonl").write_bytes(b'{"a":1}\r\n\r\n{"a":2}')
    notes = []
    assert list(read_records("x.jsonl", notes=notes)) == [{"a": 1}, {"a": 2}]
    assert notes == ["x.jsonl: 2 lines end in CRLF; read as if they ended in LF", "x.jsonl: 1 blank lines skipped"]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_compression_follows_the_suffix_and_is_deterministic(tmp_path, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    records = [{"i": i, "text": "x" * i} for i in range(50)]
    assert write_records(first, records) == 50
    write_records(second, records)
    assert list(read_records(first)) == records
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_cut_compressed_file_is_an_error_not_a_short_file(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    write_records(path, ({"i": i, "noise": str(i) * 50} for i in range(5000)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"compressed stream is broken|cut off|holds no records|is empty"):
        list(read_records(path))


def test_a_missing_file_is_a_usage_error():
    with pytest.raises(UsageError, match=r"nope.jsonl: no such file"):
        list(read_records("nope.jsonl"))


def test_an_exception_leaves_no_output_and_no_temp_file(tmp_path):
    def write_and_fail():
        with Output(tmp_path / "x.jsonl") as output:
            output.write({"a": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_equal_bytes_keep_their_mtime_and_other_bytes_replace(tmp_path):
    path = tmp_path / "x.jsonl"
    write_records(path, [{"a": 1}])
    before = path.stat().st_mtime_ns
    write_records(path, [{"a": 1}])
    assert path.stat().st_mtime_ns == before
    write_records(path, [{"a": 2}])
    assert path.read_bytes() == b'{"a":2}\n'


def test_digest_and_size_describe_the_committed_file(tmp_path):
    with Output(tmp_path / "x.jsonl") as output:
        output.write({"a": 1})
    # printf '{"a":1}\n' | sha256sum
    assert output.sha256 == "e346432021b04179518d9614f3560ccd71354a4ee101ddcb893d6959a9d6301c"
    assert (output.num_bytes, output.num_records) == (8, 1)


def test_a_full_disk_says_so(monkeypatch):
    with pytest.raises(EnvironmentMissing, match="no space left"):
        write_records("/dev/full", ({"a": "x" * 100} for _ in range(100_000)))


def test_a_missing_folder_says_how_to_make_it(tmp_path):
    with pytest.raises(UsageError, match="the folder does not exist") as caught:
        Output(tmp_path / "no" / "x.jsonl")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"


def test_a_pipe_gets_records_at_once_from_a_slow_stage():
    pipe = io.BytesIO()
    with Output("-", pipe=pipe) as output:
        output.write({"a": 1})
        assert pipe.getvalue() == b'{"a":1}\n'
    assert output.path is None


def test_an_append_after_a_torn_line_does_not_swallow_it(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a":1}\n{"torn":')
    append_line(path, {"b": 2})
    assert path.read_bytes() == b'{"a":1}\n{"torn":\n{"b":2}\n'


def test_the_kernel_imports_nothing_heavy():
    code = "import frontier_core.jsonl, frontier_core.lineage, frontier_core.schemas, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint(
        {"yaml", "typer", "zstandard", "jsonschema_rs", "torch", "docker", "rich", "importlib.metadata"}
    )


def test_suffix_of_a_compression_that_is_not_written_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"out.jsonl.bz2: .bz2 is not written here"):
        Output(tmp_path / "out.jsonl.bz2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("start", "end", "num_lines"),
    [(0, 0, 0), (0, 1, 1), (0, 3, 1), (0, 4, 2), (3, 9, 2), (2, 3, 0), (1, 9, 2), (3, 3, 0), (6, 9, 1), (8, 99, 0)],
)
def test_the_lines_that_begin_in_a_range_are_counted(tmp_path, start, end, num_lines):
    path = tmp_path / "three.jsonl"
    path.write_bytes(b"{}\n[]\n{}")  # lines begin at bytes 0, 3 and 6
    assert count_lines(path, end, start=start) == num_lines
