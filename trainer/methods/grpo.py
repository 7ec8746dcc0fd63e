"""GRPO: the model answers, our verifiers judge, and answers better than their group's mean become likelier.

Rollouts and the loss are TRL's GRPOTrainer, imported when a run of this method begins and held to one minor version
(trainer/preflight.py): it changes by the week. Everything else is ours: prompts and template as at serving time,
rewards by trainer/rewards.py, committed checkpoints, telemetry per tag. The reference model of `kl_beta` above 0 is
read from the run's base model, which is why that must be a folder.
Source: Shao et al. 2024 (DeepSeekMath), section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback

from frontier_core.errors import EnvironmentMissing
from frontier_core.events import EventSink, Key, TelemetryLine
from frontier_core.records import TagStats
from trainer.adapters import save_model
from trainer.checkpoints import begin_checkpoint, commit_checkpoint, drop_old
from trainer.config import TrainerConfig
from trainer.hf_trainer import training_arguments
from trainer.locks import write_locks
from trainer.methods.problems import Problem
from trainer.rewards import Judge
from trainer.telemetry import ALL

try:
    from trl import GRPOConfig, GRPOTrainer
except ImportError as missing:
    raise EnvironmentMissing(
        f"method grpo: trl can't be imported: {missing}", hint="pip install 'frontier-data-engine[rl]'"
    ) from missing


class RewardWindow:
    """Sums of rewards and answer lengths since the last telemetry lines, per tag and for all."""

    def __init__(self, step_from: int) -> None:
        self.step_from = step_from
        self.stats: dict[tuple[str, str], TagStats] = {}

    def add(self, tag: str, reward: float, num_tokens: int, code: str) -> None:
        """Counts one answer."""
        is_right = int(reward > 0)
        one = TagStats(n=1, total=reward, total_sq=reward**2, tokens=num_tokens, successes=is_right, trials=1)
        length = TagStats(n=1, total=float(num_tokens), total_sq=float(num_tokens) ** 2, tokens=num_tokens)
        for name in (tag, ALL):
            self._add(name, "reward", one)
            self._add(name, "length", length)
        if code != "ok":
            self._add(tag, f"error:{code}", TagStats(n=1, total=1.0, total_sq=1.0))

    def _add(self, tag: str, metric: str, one: TagStats) -> None:
        self.stats[tag, metric] = self.stats.get((tag, metric), TagStats()) + one

    def lines(self, run_id: str, step_to: int, round_number: int) -> list[TelemetryLine]:
        """Gives one line per tag and metric, `all` first."""
        keys = sorted(self.stats, key=lambda pair: (pair[0] != ALL, pair))
        return [
            TelemetryLine(
                key=Key(run_id, self.step_from, step_to, tag, metric), stats=self.stats[tag, metric], round=round_number
            )
            for tag, metric in keys
        ]


class RolloutTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer with our rewards, telemetry and checkpoints; used like FrontierTrainer.

    Args:
        model: a causal language model; its config's name is the folder of the run's base model.
        tokenizer: with the run's chat template.
        problems: what is to be answered.
        config: the run.
        num_steps: optimizer steps; each takes `batch_size` answers.
        judge: gives rewards.
        sink: where telemetry goes.
        monitors: called with the lines of each window.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        problems: Sequence[Problem],
        *,
        config: TrainerConfig,
        num_steps: int,
        judge: Judge,
        sink: EventSink,
        monitors: Sequence[Callable[[Sequence[TelemetryLine]], None]] = (),
    ) -> None:
        from datasets import Dataset

        self.problems = problems
        self.tokenizer = tokenizer
        self.config = config
        self.sink = sink
        self.monitors = monitors
        self.step_loss = float("nan")
        self.tokens_done = self.tokens_before = 0
        self.is_between_steps = True
        self.window: RewardWindow | None = None
        self.last_reward = float("nan")
        self._judge = judge
        rows = {"prompt": [problem.prompt for problem in problems], "problem": list(range(len(problems)))}
        super().__init__(
            model=model,
            reward_funcs=self._rewards,
            args=_arguments(config, num_steps),
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
        )
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)

    def _rewards(self, completions: Any, completion_ids: Any, problem: list[int], **_: Any) -> list[float]:
        """The reward function TRL calls after each rollout; also what telemetry is counted from."""
        asked = [self.problems[index] for index in problem]
        rewards = self._judge.rewards(asked, [completion[0]["content"] for completion in completions])
        if self.window is None:
            self.window = RewardWindow(self.state.global_step)
        for one, reward, ids in zip(asked, rewards, completion_ids, strict=True):
            self.window.add(one.tag, reward.value, len(ids), reward.code)
            self.tokens_done += len(ids)
        values = [reward.value for reward in rewards]
        self.last_reward = sum(values) / len(values)
        return values

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Rolls out, judges, and goes one step; the step's loss is kept for the status line."""
        self.is_between_steps = False
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.step_loss = float(loss.detach())
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes the window's telemetry lines, then keeps TRL's own log history."""
        if self.window is not None:
            lines = self.window.lines(self.config.run_id, self.state.global_step, self.config.round)
            self.sink.write(lines)
            self.window = None
            for monitor in self.monitors:
                monitor(lines)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes everything a resumption needs; the folder appears whole or not at all."""
        run_dir, step = Path(self.args.output_dir), self.state.global_step
        temp = begin_checkpoint(run_dir, step)
        save_model(self.accelerator.unwrap_model(model), temp)
        write_locks(temp, self.config.locked)
        self.tokenizer.save_pretrained(temp)
        self._save_optimizer_and_scheduler(str(temp))
        self._save_rng_state(str(temp))
        self.state.save_to_json(str(temp / "trainer_state.json"))
        commit_checkpoint(temp, run_dir, step, run_id=self.config.run_id)
        drop_old(run_dir, self.config.keep_last)

    def count_step(self) -> None:
        """Has counted already, answer by answer."""

    def about(self) -> dict[str, Any]:
        """Gives what the result says of the loop: the mean reward of the last step's answers."""
        return {"reward": round(self.last_reward, 6)}

    def save_now(self) -> None:
        """Leaves telemetry and a checkpoint of the last whole step, outside the loop's own schedule."""
        if self.window is not None:
            self.log({"loss": self.step_loss})
        self._save_checkpoint(self.model_wrapped, None)

    def close(self) -> None:
        """Closes what the rewards need."""
        self._judge.close()


def _arguments(config: TrainerConfig, num_steps: int) -> Any:
    """Gives TRL's arguments: those of every method, and what a rollout is."""
    common = training_arguments(config, num_steps)
    keys = (
        "output_dir", "seed", "data_seed", "max_steps", "per_device_train_batch_size", "learning_rate",
        "lr_scheduler_type", "warmup_steps", "weight_decay", "adam_beta2", "max_grad_norm", "optim", "bf16", "use_cpu",
        "dataloader_pin_memory", "disable_tqdm", "report_to", "logging_strategy", "save_strategy", "eval_strategy",
        "logging_nan_inf_filter",
    )  # fmt: skip
    return GRPOConfig(
        **{key: getattr(common, key) for key in keys},
        num_generations=config.num_generations,
        max_completion_length=config.max_new_tokens,
        temperature=config.rollout_temperature,
        beta=config.kl_beta,
        scale_rewards="group",
        gradient_checkpointing=torch.cuda.is_available() and config.device == "auto",
        # transformers' continuous batching takes 96 s a step on a CPU
        use_transformers_continuous_batching=False,
        use_vllm=False,
        log_completions=False,
    )
