"""The engine end to end on a two-layer model: learning, telemetry, resumption, interruption, divergence."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("torch")

from frontier_core.atomic import sha256_file
from frontier_core.errors import ConfigError, DataError
from frontier_core.events import TelemetryLine
from frontier_core.records import TagStats
from tests.trainer.conftest import chat, sums
from trainer.config import TrainerConfig, TrainingResult
from trainer.engine import TrainerEngine
from trainer.generate import generate_answers
from trainer.runtime import quiet

pytestmark = pytest.mark.torch
Write = Callable[..., Path]


@pytest.fixture
def config(model_dir: Path, write: Write, tmp_path: Path) -> Callable[..., TrainerConfig]:
    def make(**changes: Any) -> TrainerConfig:
        settings: dict[str, Any] = {
            "model_dir": str(model_dir),
            "train_files": [str(write(sums(40), name="sums.jsonl"))],
            "output_dir": str(tmp_path / "run"),
            "run_id": "r0",
            "seed": 3,
            "batch_size": 4,
            "max_steps": 9,
            "learning_rate": 5e-3,
            "logging_every_steps": 4,
            "device": "cpu",
            "num_threads": 1,
        }
        return TrainerConfig.from_mapping(settings | changes)

    return make


def events(run_dir: Path | str, metric: str = "loss") -> list[TelemetryLine]:
    lines = map(orjson.loads, Path(run_dir, "events.jsonl").read_bytes().splitlines())
    return [line for line in map(TelemetryLine.from_record, lines) if line.key.metric == metric]


def totals(lines: list[TelemetryLine]) -> dict[str, TagStats]:
    whole: dict[str, TagStats] = {}
    for line in lines:
        whole[line.key.tag] = whole.get(line.key.tag, TagStats()) + line.stats
    return whole


def weights(result: TrainingResult) -> str:
    assert result.last_checkpoint_path is not None
    return sha256_file(Path(result.last_checkpoint_path, "model.safetensors"))


def stop_at(step: int, action: Callable[[], Any]) -> Callable[[int, int, float, float], None]:
    """A status writer that acts once, when `step` is done."""

    def status(now: int, total: int, loss: float, speed: float) -> None:
        if now == step:
            action()

    return status


def test_model_learns_a_fact_it_is_told(config: Any, write: Write) -> None:
    facts = [chat("colour of grass?", "green"), chat("colour of snow?", "white")] * 4
    made = config(train_files=[str(write(facts))], max_steps=60, learning_rate=1e-2)
    result = TrainerEngine().run_job(made)
    assert result.success
    assert result.global_step == 60
    assert result.final_loss < 0.1
    answers = generate_answers(
        made.output_dir, [record["messages"][:1] for record in facts[:2]], profile="emoji_think", max_new_tokens=8
    )
    assert answers == ["\N{THINKING FACE}" * 4 + "\ngreen", "\N{THINKING FACE}" * 4 + "\nwhite"]


@pytest.mark.parametrize("layout", ["flat", "padded"])
def test_loss_sums_per_tag_are_those_of_plain_forward_passes(
    config: Any, write: Write, trained_dir: Path, layout: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    records = sums(24, seed=9)
    settings = {"batch_size": 24, "max_steps": 1, "model_dir": str(trained_dir), "layout": layout}
    made = config(train_files=[str(write(records))], **settings)
    assert TrainerEngine().run_job(made).success
    expected: dict[str, list[tuple[float, int]]] = {"skill=add,level=1": [], "skill=say,level=2": []}
    with quiet(), torch.inference_mode():
        folder = sorted(trained_dir.glob("checkpoint-*"))[-1]
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder)
        for record in records:
            prompt = tokenizer.apply_chat_template(record["messages"][:1], add_generation_prompt=True, tokenize=False)
            answer = "\N{THINKING FACE}" * 4 + "\n" + record["messages"][1]["content"] + "<|im_end|>"
            start = len(tokenizer(prompt)["input_ids"])
            ids = torch.tensor([tokenizer(prompt + answer)["input_ids"]])
            scores = model(input_ids=ids).logits[0, start - 1 : -1].double().log_softmax(-1)
            losses = -scores.gather(1, ids[0, start:, None])
            tag = f"skill={record['metadata']['skill']},level={record['metadata']['level']}"
            expected[tag].append((losses.mean().item(), len(losses)))
    found = {line.key.tag: line for line in events(made.output_dir)}
    assert found.keys() == {"all", *expected}
    expected["all"] = [part for parts in expected.values() for part in parts]
    for tag, parts in expected.items():
        stats = found[tag].stats
        assert (stats.n, stats.tokens) == (len(parts), sum(tokens for _, tokens in parts))
        assert stats.total == pytest.approx(sum(mean for mean, _ in parts), rel=1e-6)
        assert stats.total_sq == pytest.approx(sum(mean * mean for mean, _ in parts), rel=2e-6)
    assert (found["all"].key.run_id, found["all"].key.step_from, found["all"].key.step_to) == ("r0", 0, 1)


def test_first_pass_accuracy_is_what_greedy_answers_would_have_been(
    config: Any, write: Write, trained_dir: Path
) -> None:
    records = sums(16, seed=9)
    made = config(
        train_files=[str(write(records))], model_dir=str(trained_dir), batch_size=8, max_steps=6,
        learning_rate=1e-12, logging_every_steps=1,
    )  # fmt: skip
    assert TrainerEngine().run_job(made).success
    asked = [record["messages"][:1] for record in records]
    answers = generate_answers(trained_dir, asked, profile="emoji_think", max_new_tokens=40)
    rights = [
        answer == "\N{THINKING FACE}" * 4 + "\n" + record["messages"][1]["content"]
        for answer, record in zip(answers, records, strict=True)
    ]
    assert 0 < sum(rights) < 16
    told = [line for line in events(made.output_dir, "first_pass_accuracy") if line.key.tag == "all"]
    assert [(line.key.step_to, line.stats.trials) for line in told] == [(1, 8), (2, 8)]
    assert sum(line.stats.successes for line in told) == sum(rights)


@pytest.mark.parametrize("loss_mean", ["token", "example"])
def test_layout_of_forward_passes_does_not_change_the_training(config: Any, tmp_path: Path, loss_mean: str) -> None:
    losses = []
    for limit in (16, 100_000):
        made = config(max_forward_tokens=limit, loss_mean=loss_mean, output_dir=str(tmp_path / str(limit)))
        losses.append(TrainerEngine().run_job(made).final_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_windows_cover_the_run_and_count_every_example_once(config: Any) -> None:
    made = config()
    TrainerEngine().run_job(made)
    ranges = [(line.key.step_from, line.key.step_to) for line in events(made.output_dir) if line.key.tag == "all"]
    assert ranges == [(0, 4), (4, 8), (8, 9)]
    whole = totals(events(made.output_dir))
    assert whole["all"].n == 36
    assert sum(stats.n for tag, stats in whole.items() if tag != "all") == 36


def test_same_config_gives_the_same_bytes_and_global_generators_are_untouched(config: Any, tmp_path: Path) -> None:
    import torch

    random.seed(99)
    torch.manual_seed(99)
    untouched = (random.random(), torch.rand(1).item())
    results = []
    for name in ("a", "b"):
        random.seed(99)
        torch.manual_seed(99)
        results.append(TrainerEngine().run_job(config(output_dir=str(tmp_path / name))))
        assert (random.random(), torch.rand(1).item()) == untouched
    assert weights(results[0]) == weights(results[1])


@pytest.mark.parametrize("kill_at", [1, 4, 6])
def test_interrupted_run_resumes_to_the_very_same_weights(config: Any, tmp_path: Path, kill_at: int) -> None:
    whole = config(output_dir=str(tmp_path / "whole"))
    cut = config(output_dir=str(tmp_path / "cut"))
    expected = TrainerEngine().run_job(whole)

    with pytest.raises(KeyboardInterrupt):
        TrainerEngine(stop_at(kill_at, lambda: signal.raise_signal(signal.SIGINT))).run_job(cut)
    assert (tmp_path / "cut" / f"checkpoint-{kill_at}").is_dir()
    assert not (tmp_path / "cut" / "result.json").exists()
    resumed = TrainerEngine().run_job(cut)

    assert resumed.summary["resumed_from_step"] == kill_at
    assert resumed.success
    assert weights(resumed) == weights(expected)
    before, after = totals(events(tmp_path / "whole")), totals(events(tmp_path / "cut"))
    assert {tag: (stats.n, stats.tokens) for tag, stats in before.items()} == {
        tag: (stats.n, stats.tokens) for tag, stats in after.items()
    }
    assert after["all"].total == pytest.approx(before["all"].total)


def test_torn_newest_checkpoint_is_passed_over_and_nothing_is_counted_twice(config: Any) -> None:
    made = config(save_every_steps=3, keep_last=3)
    expected = weights(TrainerEngine().run_job(made))
    run_dir = Path(made.output_dir)
    count = totals(events(run_dir))["all"].n
    (run_dir / "checkpoint-9" / "optimizer.pt").write_bytes(b"torn")
    resumed = TrainerEngine().run_job(made)
    assert resumed.summary["resumed_from_step"] == 6
    assert resumed.summary["notes"] == [
        f"{run_dir}/checkpoint-9 skipped: it holds a optimizer.pt that is not the one its manifest lists"
    ]
    assert weights(resumed) == expected
    assert totals(events(run_dir))["all"].n == count == 36


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_or_a_lost_terminal_leaves_a_checkpoint_and_reaches_the_former_handler(
    config: Any, number: signal.Signals
) -> None:
    reached = []
    former = signal.signal(number, lambda number, frame: reached.append(number))
    try:
        made = config()
        result = TrainerEngine(stop_at(2, lambda: signal.raise_signal(number))).run_job(made)
    finally:
        signal.signal(number, former)
    assert reached == [number]
    assert (result.success, result.global_step, result.summary["status"]) == (False, 2, "stopped")
    assert result.last_checkpoint_path == str(Path(made.output_dir) / "checkpoint-2")


def test_keyboard_interrupt_from_a_callback_leaves_a_checkpoint_first(config: Any) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    made = config()
    with pytest.raises(KeyboardInterrupt):
        TrainerEngine(stop_at(3, interrupt)).run_job(made)
    assert (Path(made.output_dir) / "checkpoint-3").is_dir()
    assert TrainerEngine().run_job(made).summary["resumed_from_step"] == 3


def test_a_callback_may_end_the_run_which_then_goes_on(config: Any) -> None:
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop |= state.global_step == 5

    stopped = TrainerEngine().run_job(config(), callbacks=[Stop()])
    assert (stopped.summary["status"], stopped.global_step) == ("stopped", 5)
    resumed = TrainerEngine().run_job(config())
    assert (resumed.summary["resumed_from_step"], resumed.global_step) == (5, 9)


def test_finished_run_says_so_and_does_nothing(config: Any) -> None:
    made = config()
    first = TrainerEngine().run_job(made)
    stamps = {path: path.stat().st_mtime_ns for path in Path(made.output_dir).rglob("*")}
    again = TrainerEngine(lambda *_: pytest.fail("a step was run")).run_job(made)
    assert again.summary["status"] == "already finished"
    assert (again.success, again.global_step, again.final_loss) == (True, 9, first.final_loss)
    assert {path: path.stat().st_mtime_ns for path in Path(made.output_dir).rglob("*")} == stamps


def test_folder_of_another_run_is_refused_or_begun_anew(config: Any, write: Write) -> None:
    TrainerEngine().run_job(config())
    changed = {"learning_rate": 1e-3, "train_files": [str(write(sums(41), name="other.jsonl"))]}
    with pytest.raises(ConfigError, match="holds a run with another data, learning_rate"):
        TrainerEngine().run_job(config(**changed))
    result = TrainerEngine().run_job(config(**changed, on_change="restart"))
    assert result.success
    assert result.summary["resumed_from_step"] == 0
    assert totals(events(config().output_dir))["all"].n == 36


def test_checkpoints_of_something_else_are_never_removed(config: Any, model_dir: Path) -> None:
    made = config(on_change="restart")
    foreign = Path(made.output_dir) / "events.jsonl"
    foreign.parent.mkdir()
    foreign.write_text("{}\n")
    with pytest.raises(ConfigError, match=r"holds a run without its config.resolved.json"):
        TrainerEngine().run_job(made)
    assert foreign.read_text() == "{}\n"


def test_loss_that_is_no_number_stops_the_run_and_keeps_good_weights(config: Any) -> None:
    made = config(learning_rate=1e30, max_grad_norm=1e30, lr_schedule="constant", warmup_share=0.0, save_every_steps=1)
    result = TrainerEngine().run_job(made)
    assert not result.success
    assert result.summary["status"] == "diverged"
    assert result.error_message is not None
    assert "is nan at step 2, learning rate 1e+30, gradient norms before " in result.error_message
    assert result.error_message.endswith("; lower learning_rate or max_grad_norm; the last checkpoint is good")
    assert (result.summary["diagnosis"]["what"], result.summary["diagnosis"]["step"]) == ("grad_norm", 2)
    stored = orjson.loads((Path(made.output_dir) / "result.json").read_bytes())
    assert stored["success"] is False


def test_bad_record_stops_before_anything_is_loaded_or_written(config: Any, write: Write, tmp_path: Path) -> None:
    bad = chat("2 + 3?", "5")
    bad["messages"][1]["role"] = "robot"
    made = config(train_files=[str(write([bad]))])
    with pytest.raises(DataError, match=r"train.jsonl:1 /messages/1/role: unknown role 'robot'"):
        TrainerEngine().run_job(made)
    assert not Path(made.output_dir).exists()


def test_too_long_records_are_counted_or_refused(config: Any, write: Write) -> None:
    files = [str(write([*sums(40), chat("word " * 300, "5")]))]
    result = TrainerEngine().run_job(config(train_files=files, max_length_tokens=128))
    assert result.summary["num_dropped_too_long"] == 1
    assert result.summary["notes"] == ["1 of 41 records dropped: over 128 tokens"]
    with pytest.raises(DataError, match=r"train.jsonl:41: \d+ tokens, more than max_length_tokens 128"):
        TrainerEngine().run_job(
            config(train_files=files, max_length_tokens=128, too_long="refuse", on_change="restart")
        )
    with pytest.raises(DataError, match="all 41 records are longer than max_length_tokens 4"):
        TrainerEngine().run_job(config(train_files=files, max_length_tokens=4, on_change="restart"))


def test_plain_text_is_supervised_throughout(config: Any, write: Write) -> None:
    made = config(train_files=[str(write([{"text": "tree tree", "metadata": {"skill": "prose"}}]))], max_steps=2)
    assert TrainerEngine().run_job(made).success
    (line, *_) = (line for line in events(made.output_dir) if line.key.tag == "skill=prose")
    # Two words and the end mark, of which the first token has nothing before it; four examples in each of two steps.
    assert line.stats.tokens / line.stats.n >= 2


def test_engine_reports_steps_monitors_see_lines_and_nothing_is_printed(config: Any, capfd: Any) -> None:
    steps: list[tuple[int, int]] = []
    windows: list[int] = []
    TrainerEngine(lambda step, total, loss, speed: steps.append((step, total))).run_job(
        config(), monitors=[lambda lines: windows.append(len(lines))]
    )
    assert steps == [(step, 9) for step in range(1, 10)]
    # Loss and first pass of `all` and of two tags; gradient norm, memory, seconds and strain of the run.
    assert windows == [10, 10, 10]
    assert capfd.readouterr() == ("", "")


def test_resolved_config_and_result_stand_beside_the_checkpoints(config: Any) -> None:
    made = config()
    result = TrainerEngine().run_job(made, config_dict={"learning_rate": "--learning-rate"})
    run_dir = Path(made.output_dir)
    assert sorted(path.name for path in run_dir.iterdir()) == [
        "checkpoint-9",
        "config.resolved.json",
        "control",
        "events.jsonl",
        "result.json",
    ]
    resolved = orjson.loads((run_dir / "config.resolved.json").read_bytes())
    assert TrainerConfig.from_mapping(resolved["config"]) == made
    assert resolved["origins"] == {"learning_rate": "--learning-rate"}
    assert TrainingResult.from_mapping(orjson.loads((run_dir / "result.json").read_bytes())) == result


@pytest.mark.parametrize(("order", "status", "success"), [("stop", "stopped", False), ("skip", "skipped", True)])
def test_an_order_file_ends_the_run_after_its_step(
    config: Any, tmp_path: Path, order: str, status: str, success: bool
) -> None:
    made = config(control_dir=str(tmp_path / "control"))
    file = tmp_path / "control" / f".{order}"
    result = TrainerEngine(stop_at(3, file.touch)).run_job(made)
    assert (result.success, result.global_step, result.summary["status"]) == (success, 3, status)
    assert (Path(made.output_dir) / "checkpoint-3").is_dir()
    assert orjson.loads((tmp_path / "control" / "state.json").read_bytes())["status"] == status
    again = TrainerEngine().run_job(made)
    assert again.summary["status"] == ("already finished" if order == "skip" else "finished")


def test_a_paused_run_goes_on_to_the_very_same_weights(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer import control

    expected = TrainerEngine().run_job(config(output_dir=str(tmp_path / "whole")))
    made = config(output_dir=str(tmp_path / "paused"))
    folder = tmp_path / "paused" / "control"
    states = []

    def pass_time(_: float) -> None:
        states.append(orjson.loads((folder / "state.json").read_bytes())["status"])
        assert (tmp_path / "paused" / "checkpoint-3").is_dir()
        signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr(control.time, "sleep", pass_time)
    result = TrainerEngine(stop_at(3, lambda: signal.raise_signal(signal.SIGUSR1))).run_job(made)
    assert states == ["paused"]
    assert weights(result) == weights(expected)


def test_a_loss_that_runs_away_is_stopped_with_its_numbers(config: Any) -> None:
    made = config(max_loss_rise=1e-6, learning_rate=0.5, lr_schedule="constant", warmup_share=0.0, max_steps=40)
    result = TrainerEngine().run_job(made)
    diagnosis = result.summary["diagnosis"]
    assert (result.success, diagnosis["what"], diagnosis["learning_rate"]) == (False, "loss_rise", 0.5)
    assert len(diagnosis["losses"]) == len(diagnosis["grad_norms"]) == 5


def test_locks_go_with_the_checkpoint_and_bind_the_next_run(config: Any, tmp_path: Path) -> None:
    first = config(locked={"profile": "emoji_think", "model_architecture": "Qwen3ForCausalLM"}, max_steps=1)
    assert TrainerEngine().run_job(first).success
    after = config(model_dir=first.output_dir, output_dir=str(tmp_path / "next"), profile="plain", max_steps=1)
    with pytest.raises(ConfigError, match="profile: is locked to 'emoji_think' by "):
        TrainerEngine().run_job(after)
    assert not (tmp_path / "next").exists()
