"""Generators bound to a user's file: the records name it, and only with it they are made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import read_records
from frontier_ops import stage_generate
from frontier_ops.stage_files import Target
from generators.synth import Plan

DATA = Path(__file__).parents[1] / "data"
OPENAPI, TRIPLES = str(DATA / "hotel-openapi.yaml"), str(DATA / "moons.csv")


@pytest.mark.parametrize(
    ("files", "skill"),
    [({"openapi": OPENAPI}, "tool_use"), ({"triples": TRIPLES}, "graph_qa")],
    ids=["openapi", "triples"],
)
def test_records_of_a_users_file_are_made_again_with_it_alone(
    tmp_path: Path, files: dict[str, str], skill: str
) -> None:
    bound = stage_generate.bind(**files)
    requests = stage_generate.choose_requests(bound.domains, 10)
    out, again = tmp_path / "out.jsonl", tmp_path / "again.jsonl"
    plan = Plan(requests=requests, seed=3, source=bound.source)
    stage_generate.gen(plan, Target(output=str(out)), files=bound.files)
    assert {record["metadata"]["skill"] for record in read_records(str(out))} == {skill}
    stage_generate.replay(str(out), Target(output=str(again)), bound=bound)
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(DataError) as caught:
        stage_generate.replay(str(out), Target(output=str(tmp_path / "other.jsonl")))
    assert caught.value.hint.endswith("or give the file it was made from (--openapi, --triples)")


def test_operations_that_are_not_simulated_are_named_with_the_reason() -> None:
    notes = stage_generate.bind(openapi=OPENAPI).notes
    assert all(note.startswith(f"{OPENAPI}: not simulated: ") and note.endswith(")") for note in notes)


def test_phrases_without_a_graph_are_refused() -> None:
    with pytest.raises(UsageError, match="words the relations of a graph"):
        stage_generate.bind(phrases="phrases.yaml")
