"""The training loop: Hugging Face's Trainer with our loss, our batches, our telemetry and whole-or-nothing checkpoints.

One optimizer step is a list of forward passes (see data.split_by_length), so the Trainer's own accumulation is not
used. One process on one device: several ranks are not covered.
"""

# B rows, T tokens, H hidden, S supervised positions of a pass, V vocabulary

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from frontier_core.errors import FrontierError
from frontier_core.events import EventSink, Key, TelemetryLine
from frontier_core.records import TagStats
from trainer.checkpoints import begin_checkpoint, commit_checkpoint, drop_old
from trainer.config import TrainerConfig
from trainer.data import Example, plan_batches, split_by_length
from trainer.runtime import StopRequest

StatusWriter = Callable[[int, int, float, float], None]
"""Called after every step with (step, total steps, loss of the step, supervised tokens per second)."""

Monitor = Callable[[Sequence[TelemetryLine]], None]
"""Called with the telemetry lines of every logging window, after they are on disk."""

ALL = "all"


class Diverged(FrontierError):
    """The loss or its gradient is no longer a number; the weights of the last checkpoint are good."""


class Window:
    """Sums of the losses seen since the last telemetry lines, per tag and for all."""

    def __init__(self, step_from: int) -> None:
        self.step_from = step_from
        self.stats: dict[str, TagStats] = {}

    def add(self, tag: str, loss: float, num_tokens: int) -> None:
        """Counts one example: its mean loss over `num_tokens` supervised tokens."""
        one = TagStats(n=1, total=loss, total_sq=loss * loss, tokens=num_tokens)
        for name in (tag, ALL):
            self.stats[name] = self.stats.get(name, TagStats()) + one

    def lines(self, run_id: str, step_to: int, round_number: int) -> list[TelemetryLine]:
        """Gives one line per tag, sorted, `all` first."""
        tags = sorted(self.stats, key=lambda tag: (tag != ALL, tag))
        keys = [Key(run_id, self.step_from, step_to, tag, "loss") for tag in tags]
        return [TelemetryLine(key=key, stats=self.stats[key.tag], round=round_number) for key in keys]


class StepPlan(torch.utils.data.Sampler[list[int]]):  # type: ignore[misc]
    """The batch sampler of a run: the whole run is one pass over it, so resuming is skipping the steps done."""

    def __init__(self, batches: list[list[int]]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class StepCollator:
    """Turns the examples of one step into forward passes: right-padded ids, supervised positions, targets, tags."""

    def __init__(self, pad_id: int, max_forward_tokens: int) -> None:
        self.pad_id = pad_id
        self.max_forward_tokens = max_forward_tokens

    def __call__(self, examples: list[Example]) -> list[dict[str, Any]]:
        """Gives one dict per forward pass; together they hold every example once."""
        groups = split_by_length([len(example.ids) for example in examples], self.max_forward_tokens)
        return [self._pass([examples[index] for index in group]) for group in groups]

    def _pass(self, rows: list[Example]) -> dict[str, Any]:
        width = max(len(row.ids) for row in rows)
        ids_BT = torch.tensor([row.ids + [self.pad_id] * (width - len(row.ids)) for row in rows])
        positions, targets, owners = [], [], []
        for number, row in enumerate(rows):
            for place in range(1, len(row.ids)):
                if row.is_supervised[place]:
                    positions.append(number * width + place - 1)
                    targets.append(row.ids[place])
                    owners.append(number)
        return {
            "input_ids": ids_BT,
            "position_S": torch.tensor(positions),
            "target_S": torch.tensor(targets),
            "owner_S": torch.tensor(owners),
            "num_supervised": [row.num_supervised for row in rows],
            "tags": [row.tag for row in rows],
        }


class SupervisedRows:
    """Hands the model's output head only the positions that are supervised, whatever the architecture.

    A pre-hook on the output embedding: everything a model does to its logits afterwards (scaling, soft caps) is
    element by element, so the loss is the same as over all positions, at a fraction of the work.
    """

    def __init__(self, model: Any) -> None:
        self.position_S: Any = None
        self._handle = model.get_output_embeddings().register_forward_pre_hook(self._select)

    def close(self) -> None:
        """Takes the hook off."""
        self._handle.remove()

    def _select(self, _module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self.position_S is None:
            return None
        hidden_BTH = inputs[0]
        return (hidden_BTH.flatten(0, -2)[self.position_S].unsqueeze(0), *inputs[1:])


class FrontierTrainer(Trainer):  # type: ignore[misc]
    """HF Trainer with response-only loss per tag, exact token counts, and committed checkpoints.

    Args:
        model: a causal language model.
        tokenizer: saved with every checkpoint, chat template and all.
        examples: the training examples.
        config: the run.
        num_steps: optimizer steps of the whole run.
        sink: where telemetry goes.
        monitors: called with the lines of each window.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        examples: list[Example],
        *,
        config: TrainerConfig,
        num_steps: int,
        sink: EventSink,
        monitors: Sequence[Monitor] = (),
    ) -> None:
        super().__init__(model=model, args=training_arguments(config, num_steps), train_dataset=examples)
        self.remove_callback(PrinterCallback)
        self.tokenizer = tokenizer
        self.config = config
        self.sink = sink
        self.monitors = monitors
        self.step_loss = float("nan")
        self.tokens_done = 0
        self.is_between_steps = True
        self.window: Window | None = None
        self._head = SupervisedRows(model)
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._collator = StepCollator(pad_id, config.max_forward_tokens)
        self._plan = StepPlan(plan_batches(len(examples), config.batch_size, num_steps, seed=config.seed))

    def get_train_dataloader(self) -> Any:
        """Gives the run's steps in order; each item is the list of forward passes of one step."""
        return DataLoader(self.train_dataset, batch_sampler=self._plan, collate_fn=self._collator)

    def floating_point_ops(self, _inputs: Any) -> int:
        """Gives 0: a step is a list of passes, which the Trainer's estimate can't read."""
        return 0

    def training_step(self, model: Any, inputs: list[dict[str, Any]], num_items_in_batch: Any = None) -> Any:
        """Runs forward and backward over all passes of one step.

        Returns:
            The step's loss, a detached scalar: over supervised tokens (`loss_mean` token) or over examples.
        Raises:
            Diverged: the loss is not a finite number; the weights are untouched by this step.
        """
        self.is_between_steps = False
        if self.window is None:
            self.window = Window(self.state.global_step)
        model.train()
        num_examples = sum(len(batch["tags"]) for batch in inputs)
        num_tokens = sum(sum(batch["num_supervised"]) for batch in inputs)
        by_token = self.config.loss_mean == "token"
        step_loss = 0.0
        for batch in inputs:
            summed_B = self._losses(model, batch)
            counts_B = torch.tensor(batch["num_supervised"], device=summed_B.device, dtype=summed_B.dtype)
            means_B = summed_B / counts_B
            loss = summed_B.sum() / num_tokens if by_token else means_B.sum() / num_examples
            value = loss.item()
            if not value - value == 0.0:
                raise Diverged(f"the loss is {value} at step {self.state.global_step + 1}", hint=_CALM)
            self.accelerator.backward(loss)
            step_loss += value
            for tag, mean, count in zip(batch["tags"], means_B.tolist(), batch["num_supervised"], strict=True):
                self.window.add(tag, mean, count)
        self.step_loss = step_loss
        self.tokens_done += num_tokens
        return torch.tensor(step_loss, device=self.args.device)

    def _losses(self, model: Any, batch: dict[str, Any]) -> Any:
        """Gives the summed cross-entropy of each row, shape B, in float32.

        No attention mask is passed: padding stands on the right, where causal attention never looks from a real
        token, and padded positions are never supervised.
        """
        device = self.args.device
        self._head.position_S = batch["position_S"].to(device)
        try:
            logits_1SV = model(input_ids=batch["input_ids"].to(device), use_cache=False).logits
        finally:
            self._head.position_S = None
        losses_S = functional.cross_entropy(logits_1SV[0].float(), batch["target_S"].to(device), reduction="none")
        summed_B = torch.zeros(len(batch["tags"]), device=device)
        return summed_B.index_add(0, batch["owner_S"].to(device), losses_S)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes the window's telemetry lines, then keeps the Trainer's own log history."""
        if self.window is not None:
            lines = self.window.lines(self.config.run_id, self.state.global_step, self.config.round)
            self.sink.write(lines)
            self.window = None
            for monitor in self.monitors:
                monitor(lines)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes everything a resumption needs; the folder appears whole or not at all, old ones go after it."""
        run_dir, step = Path(self.args.output_dir), self.state.global_step
        temp = begin_checkpoint(run_dir, step)
        self.accelerator.unwrap_model(model).save_pretrained(temp)
        self.tokenizer.save_pretrained(temp)
        self._save_optimizer_and_scheduler(str(temp))
        self._save_rng_state(str(temp))
        self.state.save_to_json(str(temp / "trainer_state.json"))
        commit_checkpoint(temp, run_dir, step, run_id=self.config.run_id)
        drop_old(run_dir, self.config.keep_last)

    def save_now(self) -> None:
        """Leaves telemetry and a checkpoint of the last whole step, outside the loop's own schedule."""
        if self.window is not None:
            self.log({"loss": self.step_loss})
        self._save_checkpoint(self.model_wrapped, None)

    def close(self) -> None:
        """Takes our hook off the model."""
        self._head.close()


_CALM = "lower learning_rate or max_grad_norm; the last checkpoint is good"


class Schedule(TrainerCallback):  # type: ignore[misc]
    """Decides after each step what is due: telemetry, a checkpoint, the end; and reports progress."""

    def __init__(self, config: TrainerConfig, stop: StopRequest, status_writer: StatusWriter | None) -> None:
        self.config = config
        self.stop = stop
        self.status_writer = status_writer
        self.trainer: FrontierTrainer | None = None
        self._started = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Starts the clock of the speed shown."""
        self._started = time.monotonic()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raises Diverged before a gradient that is no number reaches the weights."""
        gradients = [weight.grad for weight in kwargs["model"].parameters() if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).item()
        if not norm - norm == 0.0:
            raise Diverged(f"the gradient's norm is {norm} at step {state.global_step + 1}", hint=_CALM)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Sets what is due."""
        assert self.trainer is not None
        self.trainer.is_between_steps = True
        step, config = state.global_step, self.config
        if self.status_writer is not None:
            elapsed = max(time.monotonic() - self._started, 1e-9)
            self.status_writer(step, state.max_steps, self.trainer.step_loss, self.trainer.tokens_done / elapsed)
        is_last = step >= state.max_steps
        is_stop = self.stop.signal is not None
        control.should_save = (
            is_last or is_stop or bool(config.save_every_steps and step % config.save_every_steps == 0)
        )
        control.should_log = control.should_save or step % config.logging_every_steps == 0
        control.should_training_stop = is_last or is_stop
        return control

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Undoes what the Trainer asks for at the end of a pass: the last step has seen to it."""
        control.should_save = control.should_log = False
        return control


def training_arguments(config: TrainerConfig, num_steps: int) -> Any:
    """Gives the Trainer's arguments; its own logging, saving, progress and reporting stay off."""
    on_gpu = config.device == "auto" and torch.cuda.is_available()
    return TrainingArguments(
        output_dir=config.output_dir,
        seed=config.seed % 2**32,
        data_seed=config.seed % 2**32,
        max_steps=num_steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_schedule if config.lr_schedule != "constant" else "constant_with_warmup",
        warmup_steps=round(num_steps * config.warmup_share),
        weight_decay=config.weight_decay,
        adam_beta2=config.adam_beta2,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=config.precision == "bf16",
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        disable_tqdm=True,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        logging_nan_inf_filter=False,
        average_tokens_across_devices=False,
        remove_unused_columns=False,
    )
