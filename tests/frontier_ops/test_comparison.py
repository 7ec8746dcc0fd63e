import pytest

from frontier_core.errors import DataError
from frontier_core.jsonl import write_records
from frontier_core.lineage import write_sidecar
from frontier_ops.comparison import compare


def evaluation(tmp_path, name, answers, run_id="r"):
    (tmp_path / name).mkdir()
    path = tmp_path / f"{name}.jsonl"
    items = [
        {
            "kind": "eval_item",
            "run_id": run_id,
            "step": 3,
            "skill": skill,
            "item_id": f"{skill}/{place}",
            "correct": right,
        }
        for skill, rights in answers.items()
        for place, right in enumerate(rights)
    ]
    write_records(path, items)
    write_sidecar(path, stage="eval", inputs=[tmp_path / name])
    return str(path)


def test_the_mean_over_skills_ranks_and_the_later_wins_a_tie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = evaluation(tmp_path, "a", {"x": [True, False], "y": [True]}, "first")
    second = evaluation(tmp_path, "b", {"x": [False, False], "y": [True]}, "second")
    third = evaluation(tmp_path, "c", {"x": [False, True], "y": [True]}, "third")
    ranked = compare([first, second, third])
    assert [(entry.run_id, entry.mean_accuracy) for entry in ranked] == [
        ("third", 0.75),
        ("first", 0.75),
        ("second", 0.5),
    ]
    assert ranked[0].checkpoint == str(tmp_path / "c")


def test_other_problems_are_not_compared(tmp_path):
    first = evaluation(tmp_path, "a", {"x": [True]})
    second = evaluation(tmp_path, "b", {"x": [True, True]})
    with pytest.raises(DataError, match="answers 1 other problems"):
        compare([first, second])


def test_a_line_that_is_no_item_is_named(tmp_path):
    write_records(tmp_path / "x.jsonl", [{"kind": "other"}])
    with pytest.raises(DataError, match=r"x.jsonl:1 /kind: is no evaluation item"):
        compare([str(tmp_path / "x.jsonl")])
