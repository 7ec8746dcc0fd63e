"""Logs of other tools: figures equal to what was logged, torn tails cost the torn record only, losses are said.

tests/data/logs holds an event file and an offline run as TensorBoard 2.20 and wandb 0.31 wrote them; what was logged is
written out here.
"""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from curriculum.ingest import ingest
from curriculum.readers.source import series
from curriculum.readers.tensorboard import masked_crc32c
from frontier_core.errors import DataError, UsageError
from frontier_core.events import TelemetryLine

LOGS = Path(__file__).parent.parent / "data" / "logs"
EVENTS = LOGS / "events.out.tfevents.1795204694.host.1.0"
OFFLINE = LOGS / "run-abc123.wandb"


def read(*paths: Path | str, form: str = "auto") -> tuple[list[TelemetryLine], list[str]]:
    notes: list[str] = []
    return list(ingest([str(path) for path in paths], on_note=notes.append, form=form)), notes


def curves(lines: list[TelemetryLine]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(metric, tag) -> [(step, value)]."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for line in sorted(lines, key=lambda line: line.key.step_to):
        found.setdefault((line.key.metric, line.key.tag), []).append((line.key.step_to, round(line.stats.mean, 6)))
    return found


TENSORBOARD = {
    ("loss", "all"): [(5, 1.875), (10, 1.75), (15, 1.625), (20, 1.5)],
    ("loss", "skill=binary,level=2"): [(5, 1.0), (10, 2.0), (15, 3.0), (20, 4.0)],
    ("eval_accuracy", "all"): [(20, 0.75), (25, 0.5)],
}


@pytest.mark.parametrize(
    ("name", "metric", "tag"),
    [
        ("train/loss", "loss", "all"),
        ("train_loss", "loss", "all"),
        ("loss", "loss", "all"),
        ("eval/loss", "eval_loss", "all"),
        ("val_loss", "eval_loss", "all"),
        ("loss/skill=binary,level=2", "loss", "skill=binary,level=2"),
        ("train/loss/skill=syllo", "loss", "skill=syllo"),
        ("rewards/chosen", "rewards_chosen", "all"),
    ],
)
def test_series_name_gives_metric_and_tag(name: str, metric: str, tag: str) -> None:
    assert series(name) == (metric, tag)


def test_tensorboard_gives_every_scalar_point_simple_or_tensor() -> None:
    lines, notes = read(EVENTS)
    assert curves(lines) == TENSORBOARD
    assert notes == []
    windows = [(line.key.step_from, line.key.step_to) for line in lines if line.key[3:] == ("all", "loss")]
    assert windows == [(1, 5), (6, 10), (11, 15), (16, 20)]


def test_tensorboard_torn_at_any_byte_keeps_the_records_before(tmp_path: Path) -> None:
    data = EVENTS.read_bytes()
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        at += 16 + int.from_bytes(data[at : at + 8], "little")
    torn = tmp_path / EVENTS.name
    wanted = {**TENSORBOARD, ("eval_accuracy", "all"): [(20, 0.75)]}
    for size in range(starts[-1] + 1, len(data)):
        torn.write_bytes(data[:size])
        lines, notes = read(torn)
        assert curves(lines) == wanted
        assert notes == [f"{torn}: 1 record cut off at the end of the file dropped"]


def test_tensorboard_does_not_sample_points_away(tmp_path: Path) -> None:
    def event(step: int) -> bytes:
        value = b"\x0a\x04loss\x15\x00\x00\x80\x3f"  # tag = "loss", simple_value = 1.0
        summary = b"\x0a" + bytes([len(value)]) + value
        data = b"\x10" + _varint(step) + b"\x2a" + bytes([len(summary)]) + summary
        frame = len(data).to_bytes(8, "little")
        return frame + masked_crc32c(frame).to_bytes(4, "little") + data + bytes(4)

    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(event(step) for step in range(1, 20_001)))
    lines, _ = read(path)
    assert len(lines) == 20_000


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def test_tensorboard_frame_that_is_damaged_ends_the_reading_and_is_said(tmp_path: Path) -> None:
    data = bytearray(EVENTS.read_bytes())
    second = 16 + int.from_bytes(data[:8], "little")
    data[second + 8] ^= 1  # its length's checksum
    path = tmp_path / EVENTS.name
    path.write_bytes(data)
    lines, notes = read(path)
    assert lines == []
    assert notes == [f"{path}: the frame is damaged; what follows it dropped, bytes: {len(data) - second}"]


def test_wandb_offline_run_gives_numbers_by_step_and_says_what_is_none() -> None:
    lines, notes = read(OFFLINE)
    assert curves(lines) == {
        ("loss", "all"): [(10, 2.75), (20, 2.5), (30, 2.25), (40, 2.0), (50, 1.75)],
        ("eval_loss", "all"): [(20, 2.3), (40, 2.1)],
        ("nested_acc", "all"): [(10, 0.1), (30, 0.3), (50, 0.5)],
    }
    assert {line.key.run_id for line in lines} == {"abc123"}
    assert notes == [
        f"{OFFLINE}: 1 values of loss that are no finite number dropped",
        f"{OFFLINE}: 2 values that are no number not read",
    ]


def test_wandb_torn_at_any_byte_never_fails_and_never_gains(tmp_path: Path) -> None:
    data = OFFLINE.read_bytes()
    torn = tmp_path / OFFLINE.name
    counts = []
    for size in range(300, len(data)):
        torn.write_bytes(data[:size])
        counts.append(len(read(torn)[0]))
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 10)


def test_wandb_summary_gives_last_values(tmp_path: Path) -> None:
    folder = tmp_path / "run-20231104_073205-5qvjca60"
    folder.mkdir()
    (folder / "wandb-summary.json").write_text('{"train/loss": 1.5, "_step": 7, "_runtime": 3.5}')
    lines, _ = read(folder)
    assert [(line.key.run_id, line.key.step_to, line.stats.total) for line in lines] == [("5qvjca60", 7, 1.5)]


def test_mlflow_file_store_reads_whole_lines_of_all_runs(tmp_path: Path) -> None:
    for run, text in (("run1", "1665 2.0 10\n1666 1.5 20\n"), ("run2", "1665 nan 10\n1666 1.0 20\n1667 0.")):
        metrics = tmp_path / "mlruns" / "0" / run / "metrics" / "train"
        metrics.mkdir(parents=True)
        (metrics.parent.parent / "meta.yaml").write_text("run_id: x\n")
        (metrics / "loss").write_text(text)
    lines, notes = read(tmp_path / "mlruns")
    assert [(line.key.run_id, line.key.step_to, line.stats.total) for line in lines] == [
        ("run1", 10, 2.0),
        ("run1", 20, 1.5),
        ("run2", 20, 1.0),
    ]
    assert [note.partition(": ")[2] for note in notes] == [
        "1 metric line cut off dropped",
        "1 values of loss that are no finite number dropped",
    ]


def test_mlflow_tag_that_a_run_told_is_our_tag_again(tmp_path: Path) -> None:
    metrics = tmp_path / "mlruns" / "0" / "run1" / "metrics"
    (metrics / "train" / "loss").mkdir(parents=True)
    (metrics / "other").mkdir()
    (metrics.parent / "meta.yaml").write_text("run_id: x\n")
    (metrics / "train" / "loss" / "skill:add level:2").write_text("1665 2.0 10\n1666 1.5 20\n")
    (metrics / "other" / "score:mean").write_text("1665 0.5 10\n")  # no run of ours
    lines, _ = read(tmp_path / "mlruns")
    found = curves(lines)
    assert found.pop(("loss", "skill=add,level=2")) == [(10, 2.0), (20, 1.5)]
    assert [any("score:mean" in word for word in name) for name in found] == [True]


def test_mlflow_sqlite_store_gives_the_same_curves(tmp_path: Path) -> None:
    store = sqlite3.connect(tmp_path / "mlflow.db")
    store.execute("CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL)")
    store.execute(
        "CREATE TABLE metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32), "
        "step BIGINT, is_nan BOOLEAN)"
    )
    rows = [
        ("train_loss", 1.5, 1, "r1", 10, 0),
        ("train_loss", 1.0, 2, "r1", 20, 0),
        ("train_loss", 0.0, 3, "r1", 30, 1),
    ]
    store.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    store.commit()
    store.close()
    lines, notes = read(tmp_path / "mlflow.db")
    assert curves(lines) == {("loss", "all"): [(10, 1.5), (20, 1.0)]}
    assert len(notes) == 1


def test_lm_eval_results_become_trials_of_each_task(tmp_path: Path) -> None:
    document = {
        "results": {
            "arc_easy": {"alias": "arc_easy", "acc,none": 0.75, "acc_stderr,none": 0.05, "acc_norm,none": 0.5},
            "gsm8k": {"exact_match,strict-match": 0.25, "exact_match,flexible-extract": 0.5},
            "wiki": {"word_perplexity,none": 8.5, "word_perplexity_stderr,none": "N/A"},
        },
        "configs": {},
        "n-samples": {"arc_easy": {"original": 100, "effective": 40}, "gsm8k": {"original": 8, "effective": 8}},
        "model_name": "tiny",
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document, indent=2))
    lines, _ = read(path)
    shown = [
        (line.key.tag, line.key.metric, line.stats.successes, line.stats.trials, line.stats.total) for line in lines
    ]
    assert shown == [
        ("skill=arc_easy", "acc_norm", 0, 0, 0.5),
        ("skill=arc_easy", "accuracy", 30, 40, 30.0),
        ("skill=gsm8k", "accuracy", 2, 8, 2.0),
        ("skill=wiki", "word_perplexity", 0, 0, 8.5),
    ]
    assert {line.key.run_id for line in lines} == {"tiny"}


def test_lm_eval_samples_are_trials_one_by_one(tmp_path: Path) -> None:
    lines = [
        {
            "doc_id": n,
            "doc": {},
            "target": "4",
            "resps": [["4"]],
            "filtered_resps": ["4"],
            "exact_match": hit,
            "bleu": 0.5,
        }
        for n, hit in enumerate((1.0, 0.0, 1.0))
    ]
    path = tmp_path / "samples_gsm8k_2025-12-01T10-00-00.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    got, _ = read(path)
    assert [(g.key.tag, g.key.metric, g.stats.successes, g.stats.trials, g.stats.total) for g in got] == [
        ("skill=gsm8k", "accuracy", 2, 3, 2.0),
        ("skill=gsm8k", "bleu", 0, 0, 1.5),
    ]


def inspect_sample(value: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "epoch": 1, "scores": {"match": {"value": value}}, **more}


INSPECT = {"version": 2, "status": "success", "eval": {"run_id": "r1", "task": "popularity", "model": "m"}}
TOOL_TURNS = [
    {"role": "tool", "content": "a"},
    {"role": "tool", "content": "b", "error": {"type": "timeout", "message": "..."}},
]
INSPECT_FOUND = [
    ("accuracy", 1, 3, 1.0),
    ("error:sample_error", 0, 0, 1.0),
    ("error:tool_timeout", 0, 0, 1.0),
    ("match", 0, 0, 0.5),
    ("tool_success", 1, 2, 1.0),
]
SAMPLES = [
    inspect_sample("C"), inspect_sample("I", messages=TOOL_TURNS), inspect_sample("P"),
    inspect_sample("N", error={"message": "x"}),
]  # fmt: skip


def found(lines: list[TelemetryLine]) -> list[tuple[str, int, int, float]]:
    return [(line.key.metric, line.stats.successes, line.stats.trials, line.stats.total) for line in lines]


def test_inspect_json_log_counts_right_wrong_and_tool_errors(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps({**INSPECT, "samples": SAMPLES}))
    lines, _ = read(path)
    assert found(lines) == INSPECT_FOUND
    assert {line.key.tag for line in lines} == {"skill=popularity"}


def test_inspect_log_without_samples_gives_its_totals(tmp_path: Path) -> None:
    results = {"completed_samples": 8, "scores": [{"name": "match", "metrics": {"accuracy": {"value": 0.25}}}]}
    path = tmp_path / "log.json"
    path.write_text(json.dumps({**INSPECT, "results": results}, indent=2))
    assert found(read(path)[0]) == [("accuracy", 2, 8, 2.0)]


def zipped(path: Path, method: int) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("_journal/start.json", json.dumps(INSPECT))
        for number, sample in enumerate(SAMPLES, 1):
            archive.writestr(f"samples/{number}_epoch_1.json", json.dumps(sample))
        archive.writestr("header.json", json.dumps(INSPECT))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_inspect_zip_gives_the_same_as_the_json(tmp_path: Path, method: int) -> None:
    lines, notes = read(zipped(tmp_path / "log.eval", method))
    assert (found(lines), notes) == (INSPECT_FOUND, [])


def test_inspect_zip_packed_with_zstandard_is_read(tmp_path: Path) -> None:
    members = {"_journal/start.json": INSPECT, "samples/1_epoch_1.json": inspect_sample("C")}
    data = b""
    for name, document in members.items():
        packed = zstandard.ZstdCompressor().compress(json.dumps(document).encode())
        sizes = len(packed).to_bytes(4, "little") + bytes(4) + len(name).to_bytes(2, "little") + bytes(2)
        data += b"PK\x03\x04\x14\0\0\0\x5d\0" + bytes(8) + sizes + name.encode() + packed
    path = tmp_path / "log.eval"
    path.write_bytes(data)
    lines, notes = read(path)
    assert found(lines) == [("accuracy", 1, 1, 1.0)]
    assert notes == [f"{path}: the log's end is missing, its whole samples are read; logs cut off: 1"]


def test_inspect_zip_torn_at_any_byte_keeps_its_whole_samples(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "log.eval", zipfile.ZIP_DEFLATED)
    data = whole.read_bytes()
    with zipfile.ZipFile(whole) as archive:
        last = archive.getinfo("samples/4_epoch_1.json").header_offset
        after = archive.getinfo("header.json").header_offset
    torn = tmp_path / "torn.eval"
    for size in (*range(last + 1, after), after, len(data) - 1):
        torn.write_bytes(data[:size])
        wanted = INSPECT_FOUND if size >= after else [f for f in INSPECT_FOUND if f[0] != "error:sample_error"]
        if size < after:
            wanted = [("accuracy", 1, 2, 1.0), *wanted[1:]]
        assert found(read(torn)[0]) == wanted


def test_request_log_gives_success_latency_and_errors(tmp_path: Path) -> None:
    base = {"time": "t", "request_id": "a", "release": "v1", "stream": False, "first_token_s": None, "error": None}
    entries = [
        {**base, "status": 200, "latency_s": 0.5, "prompt_tokens": 10, "completion_tokens": 4},
        {**base, "status": 500, "latency_s": 1.5, "prompt_tokens": 10, "completion_tokens": 0, "error": "worker"},
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert found(read(path)[0]) == [
        ("completion_tokens", 0, 0, 4.0),
        ("error:worker", 0, 0, 1.0),
        ("latency_s", 0, 0, 2.0),
        ("prompt_tokens", 0, 0, 20.0),
        ("request_success", 1, 2, 1.0),
    ]


def attributes(**values: Any) -> list[dict[str, Any]]:
    kinds = {str: "stringValue", int: "intValue"}
    return [{"key": key.replace("__", "."), "value": {kinds[type(value)]: str(value)}} for key, value in values.items()]


def test_spans_of_generative_ai_become_requests_and_tool_calls(tmp_path: Path) -> None:
    chat = {
        "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1250000000",
        "attributes": attributes(
            gen_ai__operation__name="chat", gen_ai__request__model="m", gen_ai__usage__output_tokens=7
        ),
    }  # fmt: skip
    tool = {
        "status": {"code": 2},
        "attributes": attributes(
            gen_ai__operation__name="execute_tool", gen_ai__tool__name="weather", error__type="timeout"
        ),
    }
    other = {"attributes": attributes(http__method="GET")}
    batch = {"resourceSpans": [{"resource": {"attributes": attributes(service__name="svc")},
                                "scopeSpans": [{"spans": [chat, tool, other]}]}]}  # fmt: skip
    path = tmp_path / "spans.jsonl"
    path.write_text(json.dumps(batch) + "\n" + json.dumps(batch) + "\n")
    lines, notes = read(path)
    shown = [(line.key.run_id, line.key.tag, *f) for line, f in zip(lines, found(lines), strict=True)]
    assert shown == [
        ("m", "all", "completion_tokens", 0, 0, 14.0),
        ("m", "all", "latency_s", 0, 0, 0.5),
        ("m", "all", "request_success", 2, 2, 2.0),
        ("svc", "tool=weather", "error:tool_timeout", 0, 0, 2.0),
        ("svc", "tool=weather", "tool_success", 0, 2, 0.0),
    ]
    assert notes == [f"{path}: 2 spans that are not of generative AI not read"]


def test_prometheus_page_keeps_its_labels_as_tags(tmp_path: Path) -> None:
    path = tmp_path / "metrics.txt"
    path.write_text(
        "# HELP requests_total Requests.\n# TYPE requests_total counter\n"
        'requests_total{model_name="m",status="200"} 12\n'
        'eval_accuracy{model_name="m",skill="binary",level="2"} 0.5 1700000000\n'
        "up NaN\n"
    )
    lines, notes = read(path)
    shown = {(line.key.run_id, line.key.tag, line.key.metric, line.stats.total) for line in lines}
    assert shown == {("m", "status=200", "requests_total", 12.0), ("m", "skill=binary,level=2", "eval_accuracy", 0.5)}
    assert notes == [f"{path}: 1 values of up that are no finite number dropped"]


def test_format_can_be_forced_and_a_wrong_one_is_refused() -> None:
    assert curves(read(EVENTS, form="tensorboard")[0]) == TENSORBOARD
    with pytest.raises(DataError, match="is no log of the form wandb"):
        read(EVENTS, form="wandb")


def test_folder_with_several_logs_asks_for_one(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"events.out.tfevents.{number}").write_bytes(EVENTS.read_bytes())
    with pytest.raises(UsageError, match="holds several logs"):
        read(tmp_path)
