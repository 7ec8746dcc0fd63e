import pytest

from frontier_core.domains import Domain
from frontier_core.errors import FrontierError, SandboxError
from frontier_core.jsonl import dumps
from frontier_core.profiles import dress
from frontier_core.records import last_assistant
from frontier_ops import evaluation
from frontier_ops.answering import identify
from frontier_ops.evaluation import conversation, eval_requests, mean_accuracy, tally_items
from generators import synth
from generators.formats import convert
from validators import answers
from validators.answers import judge_answer
from validators.base import reject

BINARY = Domain(name="a", skill="binary", levels=(1, 2))
GIT = Domain(name="g", skill="shell_git", levels=(1,))


def held_out(domain, count=2):
    return list(synth.generate(eval_requests([domain], count), seed=0, split="eval"))


def test_each_cell_is_asked_alike():
    assert [(r.level, r.count) for r in eval_requests([BINARY], 5)] == [(1, 5), (2, 5)]
    assert [(r.level, r.count) for r in eval_requests([BINARY], 5, levels=[2])] == [(2, 5)]


def test_the_model_sees_everything_but_the_last_answer():
    (chat, *_), (plan, *_) = held_out(BINARY), held_out(GIT)
    assert conversation(chat, "emoji_think") == chat["messages"][:-1]
    assert conversation(plan, "emoji_think") == [{"role": "user", "content": plan["instruction"]}]


def test_the_reference_is_right_and_another_answer_wrong():
    for record in held_out(BINARY, 5):
        answer = last_assistant(record)
        assert judge_answer(record, answer, None).ok
        assert not judge_answer(record, dress("not this", "emoji_think"), None).ok


def test_an_answer_without_a_plan_needs_no_sandbox():
    (plan, *_) = held_out(GIT)
    assert judge_answer(plan, "🤔🤔🤔🤔\ngit init", None).code == "no_plan"


def test_a_failing_sandbox_is_no_wrong_answer(monkeypatch):
    monkeypatch.setattr(answers, "judge_plan", lambda *_, **__: reject("sandbox_error", "git is missing"))
    (plan, *_) = held_out(GIT)
    answer = last_assistant(convert(plan, "chat"))
    with pytest.raises(SandboxError, match="git is missing"):
        judge_answer(plan, answer, object())


def test_skills_count_alike_in_the_mean():
    items = [{"skill": "x", "correct": True}, {"skill": "y", "correct": False}, {"skill": "y", "correct": False}]
    stats = tally_items(items)
    assert (stats["all"].successes, stats["all"].trials, mean_accuracy(stats)) == (1, 3, 0.5)
    with pytest.raises(FrontierError, match="no item was evaluated"):
        tally_items([])


@pytest.mark.torch
def test_a_model_is_evaluated_item_by_item_and_twice_alike(tiny_model):
    requests = eval_requests([BINARY], 3)
    model = identify(tiny_model)
    items = list(evaluation.evaluate(model, requests, seed=0))
    assert [dumps(item) for item in evaluation.evaluate(model, requests, seed=0)] == [dumps(item) for item in items]
    assert {item["tag"] for item in items} == {"skill=binary,level=1", "skill=binary,level=2"}
    assert len({item["item_id"] for item in items}) == 6
    assert {item["kind"] for item in items} == {"eval_item"}
    assert all(item["code"] != "ok" for item in items if not item["correct"])


@pytest.mark.torch
def test_a_run_says_which_round_and_step_it_is(tiny_model, tmp_path):
    from frontier_core.jsonl import write_records
    from trainer.config import TrainerConfig
    from trainer.engine import TrainerEngine

    write_records(tmp_path / "train.jsonl", held_out(BINARY, 4))
    config = TrainerConfig(
        model_dir=str(tiny_model),
        train_files=(str(tmp_path / "train.jsonl"),),
        output_dir=str(tmp_path / "run"),
        run_id="third",
        round=3,
        max_steps=2,
    )
    assert TrainerEngine().run_job(config).success
    model = identify(tmp_path / "run")
    assert (model.run_id, model.step, model.round) == ("third", 2, 3)
    assert model.folder == tmp_path / "run" / "checkpoint-2"
