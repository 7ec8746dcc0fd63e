import json

import pytest

from frontier_core.errors import DataError
from frontier_core.jsonl import write_records
from frontier_core.lineage import write_sidecar
from frontier_ops.comparison import compare, regressions
from frontier_ops.comparison_plot import plot


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


def items(path, correct, skill="add"):
    lines = [
        {"kind": "eval_item", "item_id": f"{skill}/{i}", "skill": skill, "correct": bool(ok), "run_id": "r", "step": 1}
        for i, ok in enumerate(correct)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_a_skill_is_worse_when_chance_does_not_explain_the_lost_problems(tmp_path):
    old = items(tmp_path / "old.jsonl", [1] * 8 + [0] * 4)
    four_lost = items(tmp_path / "four.jsonl", [0] * 4 + [1] * 4 + [0] * 4)
    five_lost = items(tmp_path / "five.jsonl", [0] * 5 + [1] * 3 + [0] * 4)
    mixed = items(tmp_path / "mixed.jsonl", [0] * 5 + [1] * 3 + [1] * 4)

    assert regressions(four_lost, old) == []  # 1/16 is more than 1/20
    assert [(c.skill, c.num_lost, c.num_won, c.p_value) for c in regressions(five_lost, old)] == [
        ("all", 5, 0, 1 / 32), ("add", 5, 0, 1 / 32),
    ]  # fmt: skip
    assert regressions(mixed, old) == []
    with pytest.raises(DataError, match="answers 1 other problems"):
        regressions(items(tmp_path / "other.jsonl", [1] * 13), old)


def test_an_entry_has_wilson_intervals_and_a_plot_shows_every_one(tmp_path):
    ranked = compare([items(tmp_path / "a.jsonl", [1, 1, 1, 0]), items(tmp_path / "b.jsonl", [1, 0, 0, 0])])
    records = [entry.to_record(place) for place, entry in enumerate(ranked, 1)]

    assert [round(end, 4) for end in records[0]["intervals"]["add"]] == [0.3006, 0.9544]
    picture = plot(records).decode()
    assert picture.startswith("<svg ")
    assert picture.count("<circle") == 4  # two skills (add, all) of two checkpoints
