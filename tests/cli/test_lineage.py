"""The lineage commands: what holds and what not, counts by generator, graphs, and other tools' forms that their own
libraries accept."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

TALK = {"conversations": [{"from": "human", "value": "Hi <b>"}, {"from": "gpt", "value": "Hello"}], "id": 1}


@pytest.fixture
def work(run, tmp_path):
    """Imported, converted and deduplicated: in.jsonl -> a.jsonl -> b.jsonl -> c.jsonl, and the bad row's rejects."""
    rows = [
        TALK,
        {**TALK, "conversations": [{"from": "human", "value": "Other words"}, *TALK["conversations"][1:]]},
        {},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("import in.jsonl --license mit -o a.jsonl").code == 1
    assert run("synth dedup a.jsonl -o b.jsonl").code == 0
    assert run("convert b.jsonl --to alpaca -o c.jsonl").code == 0
    return tmp_path


def test_verify_says_what_holds(run, work):
    done = run("lineage verify")
    assert (done.code, done.out, done.err) == (0, "", "4 files, all hold\n")
    assert run("-v lineage verify c.jsonl".replace("-v lineage verify", "lineage verify -v")).out.splitlines() == [
        "ok      c.jsonl", "ok      b.jsonl", "ok      a.jsonl", "source  in.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda work: (work / "b.jsonl").write_bytes((work / "b.jsonl").read_bytes().replace(b"Hi", b"Ho")),
         "changed b.jsonl: not the bytes its sidecar vouches for"),
        (lambda work: (work / "in.jsonl").unlink(), "missing in.jsonl: no such file (read by a.jsonl)"),
        (lambda work: (work / "in.jsonl").write_text("{}\n"),
         "changed in.jsonl: not the bytes that were read here (read by a.jsonl)"),
        (lambda work: (work / "a.jsonl.meta.json").write_bytes((work / "b.jsonl.meta.json").read_bytes()),
         "swapped a.jsonl: its sidecar is that of b.jsonl"),
        (lambda work: (work / "a.rejects.jsonl").unlink(), "changed a.jsonl: a.rejects.jsonl is gone or not as it was"),
        (lambda work: (work / "a.jsonl.meta.json").unlink(), "orphan  a.jsonl: its sidecar is gone (read by b.jsonl)"),
    ],
    ids=["byte", "missing input", "changed source", "swapped sidecar", "rejects", "orphan"],
)  # fmt: skip
@pytest.mark.parametrize("options", ["", " --rehash"])
def test_verify_finds_what_does_not_hold(run, work, harm, says, options):
    harm(work)
    done = run(f"lineage verify{options}")
    assert done.code == 1
    assert says in done.out
    assert done.err.endswith("that do not hold\n")


def test_verify_as_json_and_where_nothing_is(run, work):
    (work / "b.jsonl").unlink()
    lines = [json.loads(line) for line in run("lineage verify c.jsonl --json").out.splitlines()]
    assert [(line["path"], line["status"]) for line in lines][:2] == [("c.jsonl", "ok"), ("b.jsonl", "missing")]
    (work / "empty").mkdir()
    assert run("lineage verify empty").err == "no sidecars here\n"
    assert run("lineage verify nope").code == 2


def test_a_stage_whose_inputs_did_not_change_is_not_run_again(run, work, monkeypatch):
    import generators.dialects

    def fail(*_args, **_options):
        raise AssertionError("ran again")

    with monkeypatch.context() as patch:
        patch.setattr(generators.dialects, "from_dialect", fail)
        done = run("convert b.jsonl --to alpaca -o c.jsonl")
        assert (done.code, done.err) == (0, "up to date: converted 2 of 2\n")
        again = run("import in.jsonl --license mit -o a.jsonl")
        assert again.code == 1  # as the run that it stands for
        assert again.err == "up to date: imported 2 of 3, rejected 1 (1 unknown_form); rejects in a.rejects.jsonl\n"
    assert "up to date" not in run("convert b.jsonl --to sharegpt -o c.jsonl").err
    (work / "b.jsonl").write_text((work / "b.jsonl").read_text().splitlines()[0] + "\n")
    assert run("convert b.jsonl --to sharegpt -o c.jsonl").err == "converted 1 of 1\n"


def test_what_was_made_and_verified_and_formatted_is_not_done_again(run, tmp_path, monkeypatch):
    steps = {
        "synth gen --skill binary -n 3 -o c.jsonl": "up to date: 3 records\n",
        "synth verify c.jsonl -o v.jsonl": "up to date: verified 3 of 3\n",
        "synth format v.jsonl --to chat -o f.jsonl": "up to date: 3 records as chat\n",
    }
    for step in steps:
        assert run(step).code == 0
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.jsonl")}

    def fail(*_args, **_options):
        raise AssertionError("ran again")

    with monkeypatch.context() as patch:
        patch.setattr("generators.synth.generate_lines", fail)
        patch.setattr("validators.execution_gate.judge_answer", fail)
        patch.setattr("generators.formats.convert", fail)
        for step, told in steps.items():
            assert (run(step).code, run(step).err) == (0, told)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.jsonl")} == times
    for step in (
        "synth gen --skill binary -n 4 -o c.jsonl",
        "synth gen --skill binary -n 4 --level 2 -o c.jsonl",
        "synth verify c.jsonl -o v.jsonl",
        "synth format v.jsonl --to chat --profile plain -o f.jsonl",
    ):
        done = run(step)
        assert done.code == 0
        assert "up to date" not in done.err


def test_report_sums_up_by_generator_and_keeps_the_tracker(run, work):
    done = run("lineage report --track status/data_lineage.json")
    assert done.out.splitlines()[0] == "7 judgements in 3 of 3 files with a sidecar: 6 passed, 1 failed (14.29%)"
    assert "above 5%:\n  generator unknown: 100.00%\n  validator import@1.0.0: 33.33%" in done.out
    assert "not registered here (or in another version):\n  in.jsonl" in done.out
    tracker = json.loads((work / "status" / "data_lineage.json").read_text())
    assert tracker["summary"]["total"] == 7
    assert run("convert a.jsonl --to sharegpt -o d.jsonl").code == 0  # now that status/ is there, stages see to it
    assert json.loads((work / "status" / "data_lineage.json").read_text())["summary"]["total"] == 9
    found = json.loads(run("lineage report --json").out)
    assert found["registered"]["generators"]["binary"] == "2.0.0"
    assert found["registered"]["validators"]["spec_validator"]


def test_a_generator_of_another_version_is_pointed_at(run, tmp_path):
    assert run("synth gen --skill binary -n 3 -o c.jsonl").code == 0
    old = (tmp_path / "c.jsonl").read_text().replace('"generator_version":"2.0.0"', '"generator_version":"0.9.0"')
    (tmp_path / "old.jsonl").write_text(old)
    assert run("validate old.jsonl -o v.jsonl").code == 0
    assert "  binary@0.9.0 (installed: 2.0.0)" in run("lineage report v.jsonl").out


def test_graphs_in_every_form(run, work):
    (work / "in.jsonl").unlink()
    assert run("lineage graph c.jsonl").out == (
        "c.jsonl  [convert by convert@1.0.0; 2 records]\n"
        "`- b.jsonl  [synth dedup by dedup@2.0.0; 2 records]\n"
        "   `- a.jsonl  [import by import@1.0.0; 2 records, 1 rejected]\n"
        "      `- in.jsonl  [missing]  <-- missing\n"
    )
    assert run("lineage graph c.jsonl --to mermaid").out.splitlines()[:3] == [
        "flowchart TD",
        '  n0["c.jsonl<br/>convert by convert@1.0.0<br/>2 records"]',
        '  n1["b.jsonl<br/>synth dedup by dedup@2.0.0<br/>2 records"]',
    ]
    dot = run("lineage graph c.jsonl --to dot").out
    assert "  n1 -> n0;" in dot
    assert dot.startswith("digraph lineage {")
    assert run("lineage graph c.jsonl b.jsonl -o g.svg").code == 0
    texts = [text.text for text in ET.parse(work / "g.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:2] == ["c.jsonl", "convert by convert@1.0.0"]
    assert run("lineage graph c.jsonl -o g.html").code == 0
    assert "4 files, 1 that do not hold" in (work / "g.html").read_text()
    assert run("lineage graph c.jsonl --to tree").code == 2


def test_openlineage_events_are_what_the_client_makes(run, work):
    pytest.importorskip("openlineage.client")
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

    events = [json.loads(line) for line in run("lineage export c.jsonl --namespace lab").out.splitlines()]
    assert [event["job"]["name"] for event in events] == ["import", "synth_dedup", "convert"]
    assert run("lineage export c.jsonl --namespace lab").out.splitlines() == [
        json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in events
    ]
    for event in events:
        RunEvent(
            eventType=RunState[event["eventType"]], eventTime=event["eventTime"], producer=event["producer"],
            run=Run(runId=event["run"]["runId"]), job=Job(**{k: event["job"][k] for k in ("namespace", "name")}),
            inputs=[InputDataset(namespace=i["namespace"], name=i["name"]) for i in event["inputs"]],
            outputs=[OutputDataset(namespace=o["namespace"], name=o["name"]) for o in event["outputs"]],
        )  # fmt: skip
        (output,) = event["outputs"]
        facet = output["facets"]["version"]
        made = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=facet["datasetVersion"])
        assert facet["_schemaURL"] == made._get_schema()
        statistics = {k: v for k, v in output["outputFacets"]["outputStatistics"].items() if not k.startswith("_")}
        known = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(**statistics)
        assert output["outputFacets"]["outputStatistics"]["_schemaURL"] == known._get_schema()
    assert events[2]["inputs"][0]["name"] == str(Path(work / "b.jsonl").resolve())
    assert events[2]["inputs"][0]["facets"]["version"] == events[1]["outputs"][0]["facets"]["version"]
    assert events[0]["outputs"][0]["facets"]["dataQualityAssertions"]["assertions"] == [
        {"assertion": "unknown_form", "success": False}
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_croissant_is_what_its_validator_accepts(run, work):
    mlcroissant = pytest.importorskip("mlcroissant")
    assert run("lineage export a.jsonl --to croissant --url https://example.org/a.jsonl -o card.json").code == 0
    card = json.loads((work / "card.json").read_text())
    assert (card["license"], card["distribution"][0]["sha256"]) == (
        "mit",
        json.loads((work / "a.jsonl.meta.json").read_text())["data"]["sha256"],
    )
    dataset = mlcroissant.Dataset(jsonld=card)
    assert [record.name for record in dataset.metadata.record_sets] == ["records"]
    assert not dataset.metadata.issues.errors


def test_export_refuses_what_it_does_not_know(run, work):
    assert run("lineage export c.jsonl --to dot").code == 2
    assert run("lineage export in.jsonl --to croissant").code == 4
    assert run("lineage export nope").code == 2


def test_croissant_describes_a_parquet_export_too(run, work):
    pytest.importorskip("pyarrow")
    assert run("lake add a.jsonl").code == 0
    assert run("lake export -o all.parquet").code == 0
    card = json.loads(run("lineage export all.parquet --to croissant").out)
    assert (card["license"], card["distribution"][0]["encodingFormat"]) == ("mit", "application/vnd.apache.parquet")
    assert {"record", "skill", "source_license"} <= {field["name"] for field in card["recordSet"][0]["field"]}
