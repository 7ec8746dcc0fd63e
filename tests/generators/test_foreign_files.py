"""Rows come out of every container with exact counts; a bad row costs itself, a file that is none says so."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import DataError, UsageError
from generators.foreign_files import parts_of, rows_in

ROWS = [{"question": "2+2?", "answer": "4"}, {"question": "Größe?", "answer": "5"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def values(path: Path) -> list[Any]:
    return [row.value for part in parts_of(str(path)) for row in rows_in(part)]


@pytest.mark.parametrize(
    "data",
    [
        LINES.encode(),
        LINES.replace("\n", "\n\n").rstrip("\n").encode(),
        LINES.replace("\n", "\r\n").encode(),
        LINES.encode("utf-16"),
        LINES.encode("utf-8-sig"),
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=2).encode(),
        json.dumps(ROWS, indent=2).encode("utf-16"),
        "\n".join(json.dumps(row, indent=2) for row in ROWS).encode(),
    ],
    ids=["lines", "blank lines", "crlf", "utf-16", "bom", "array", "pretty array", "pretty utf-16", "pretty objects"],
)
@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_text_of_every_kind_gives_its_rows(tmp_path: Path, data: bytes, suffix: str) -> None:
    (tmp_path / f"rows.{suffix}").write_bytes(data)
    assert values(tmp_path / f"rows.{suffix}") == ROWS


def test_compressed_text_gives_its_rows(tmp_path: Path) -> None:
    import zstandard

    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    (tmp_path / "b.json.zst").write_bytes(zstandard.compress(json.dumps(ROWS, indent=1).encode()))
    assert values(tmp_path / "a.jsonl.gz") == values(tmp_path / "b.json.zst") == ROWS


def test_a_list_of_turns_is_one_row(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}]
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(turns)}\n{json.dumps(turns)}\n")
    (tmp_path / "b.json").write_text(json.dumps([turns, turns], indent=1))
    assert values(tmp_path / "a.jsonl") == values(tmp_path / "b.json") == [turns, turns]


def test_a_bad_line_costs_only_itself_and_keeps_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a":1}\n\n{"a":\n{"a":"\xff"}\n[1]\n{"a":2}\n{"a"')
    rows = [row for part in parts_of(str(tmp_path / "a.jsonl")) for row in rows_in(part)]
    assert [(row.number, row.problem.code if row.problem else row.value) for row in rows] == [
        (1, {"a": 1}), (3, "invalid_json"), (4, "invalid_utf8"), (5, [1]), (6, {"a": 2}), (7, "truncated_line"),
    ]  # fmt: skip
    assert rows[2].raw == b'{"a":"\xff"}'


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "lfs_pointer"),
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"[]", "empty"),
        (gzip.compress(b"{}\n", mtime=0), "compressed"),
        (b"PAR1....", "wrong_name"),
        (b'[{"a": 1},\n{"a": ', "invalid_json"),
        (b"\xff\xfea", "utf16"),
    ],
)
def test_a_file_that_can_not_be_read_says_why(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    with pytest.raises(DataError) as caught:
        values(tmp_path / "a.jsonl")
    assert (caught.value.code, caught.value.path) == (code, str(tmp_path / "a.jsonl"))


def test_a_cut_gzip_gives_its_rows_and_then_the_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((LINES * 500).encode())[:-12])
    (part,) = parts_of(str(tmp_path / "a.jsonl.gz"))
    seen = []
    with pytest.raises(DataError, match="the compressed stream is broken"):
        seen.extend(rows_in(part))  # extend keeps what came before the error
    assert len(seen) > 100


def table(rows: list[dict[str, Any]]) -> Any:
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.Table.from_pylist(rows)


def test_parquet_gives_its_rows_without_the_keys_that_columns_add(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": ["x"]}]},
        {"messages": [{"role": "user", "content": "b", "tool_calls": None}], "note": "n"},
    ]
    parquet.write_table(table(rows), tmp_path / "a.parquet", row_group_size=1)
    assert values(tmp_path / "a.parquet") == [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": ["x"]}]},
        {"messages": [{"role": "user", "content": "b"}]},
    ]


def test_parquet_cut_short_says_so(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(table(ROWS), tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(DataError) as caught:
        values(tmp_path / "a.parquet")
    assert caught.value.code == "broken_parquet"


def saved(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Writes a folder as `Dataset.save_to_disk` does: two Arrow streams and what describes them."""
    pyarrow = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    for number, row in enumerate(rows):
        whole = table([row])
        path = str(folder / f"data-{number:05}-of-{len(rows):05}.arrow")
        with pyarrow.OSFile(path, "wb") as sink, pyarrow.ipc.new_stream(sink, whole.schema) as writer:
            writer.write_table(whole)
    (folder / "state.json").write_text("{}")
    (folder / "dataset_info.json").write_text("{}")


def test_a_saved_dataset_gives_its_rows_in_order(tmp_path: Path) -> None:
    saved(tmp_path / "one", ROWS)
    assert values(tmp_path / "one") == ROWS
    saved(tmp_path / "all" / "train", ROWS)
    saved(tmp_path / "all" / "test", ROWS[:1])
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [part.split for part in parts_of(str(tmp_path / "all"))] == ["test", "train", "train"]


def test_a_hub_folder_gives_its_splits(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        parquet.write_table(table(ROWS), tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    (tmp_path / "dataset_infos.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.jsonl").write_text("{}")
    (tmp_path / "data" / "x.jsonl.meta.json").write_text("{}")
    assert [(part.split, part.kind) for part in parts_of(str(tmp_path))] == [("test", "parquet"), ("train", "parquet")]


def test_a_folder_without_data_and_a_missing_file_are_usage_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nope.jsonl"):
        with pytest.raises(UsageError):
            parts_of(str(path))
