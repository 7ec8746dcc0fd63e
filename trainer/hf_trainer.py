"""The training loop: Hugging Face's Trainer with our loss, our batches, our telemetry and whole-or-nothing checkpoints.

What a step's loss is comes from a recipe, how its examples lie in memory from trainer/packing.py and flat_model.py. One
optimizer step is a list of forward passes, so the Trainer's own accumulation is not used. Several
processes share a step's examples out (trainer/ranks.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from frontier_core.events import EventSink, TelemetryLine
from frontier_core.jsonl import dumps, loads
from trainer import ranks
from trainer.adapters import save_model
from trainer.checkpoints import begin_checkpoint, commit_checkpoint, drop_old
from trainer.config import TrainerConfig
from trainer.control import Control
from trainer.data import Unit
from trainer.diagnosis import Diverged, Watch, broken_samples
from trainer.draws import Draws, draws_for
from trainer.flat_model import FlatModel
from trainer.locks import write_locks
from trainer.losses import LossOutput
from trainer.packing import Pass, make_passes
from trainer.recipes import Bench, Recipe, Rows, StepTotals
from trainer.telemetry import LOSS, Strain, Window, count_first_passes, count_samples, peak_memory_bytes
from trainer.trackers import guard_trackers, names_of, told_as

__all__ = ["Diverged", "FrontierTrainer", "Monitor", "Schedule", "StatusWriter", "training_arguments"]

StatusWriter = Callable[[int, int, float, float], None]
"""Called after every step with (step, total steps, loss of the step, supervised tokens per second)."""

Monitor = Callable[[Sequence[TelemetryLine]], None]
"""Called in the first process with the telemetry lines of every logging window, after they are on disk."""


class StepPlan(torch.utils.data.Sampler[list[int]]):  # type: ignore[misc]
    """The batch sampler of a run: the whole run is one pass over it, begun at the first step not done yet."""

    def __init__(self, draws: Draws, num_steps: int, first_step: int) -> None:
        self.draws = draws
        self.num_steps = num_steps
        self.first_step = first_step

    def __iter__(self) -> Any:
        return (self.draws.at(step) for step in range(self.first_step, self.num_steps))

    def __len__(self) -> int:
        return self.num_steps


class NumberedUnits:
    """The data set as (place, unit) pairs, so that a loss can look up what it keeps per unit."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, index: int) -> tuple[int, Unit]:
        return index, self.units[index]


class FrontierTrainer(Trainer):  # type: ignore[misc]
    """HF Trainer whose step is a recipe's loss over flat passes, with telemetry per tag and committed checkpoints.

    Args:
        model: a causal language model.
        tokenizer: saved with every checkpoint, chat template and all.
        units: what is drawn.
        recipe: makes the loss.
        config: the run.
        num_steps: optimizer steps of the whole run.
        first_step: steps done before this process.
        sink: where telemetry goes.
        monitors: called with the lines of each window.
        notes: get remarks, such as why a layout does not apply.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        units: Sequence[Unit],
        recipe: Recipe,
        *,
        config: TrainerConfig,
        num_steps: int,
        first_step: int = 0,
        sink: EventSink,
        monitors: Sequence[Monitor] = (),
        notes: list[str] | None = None,
    ) -> None:
        super().__init__(model=model, args=training_arguments(config, num_steps), train_dataset=NumberedUnits(units))
        self.remove_callback(PrinterCallback)
        guard_trackers(self.callback_handler.callbacks)
        self.tokenizer = tokenizer
        self.units = units
        self.recipe = recipe
        self.config = config
        self.sink = sink
        self.monitors = monitors
        self.notes = notes if notes is not None else []
        self.step_loss = float("nan")
        self.step_norm = float("nan")
        self.step_tokens = 0
        self.tokens_done = self.tokens_before = 0
        self.is_between_steps = True
        self.window: Window | None = None
        self.strain = Strain()
        self.watch = Watch(config.max_loss_rise)
        self.flat = FlatModel(model, config.layout)
        self._is_settled = False
        self._step_began = 0.0
        self._pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self.draws = draws_for(config, units, Path(config.output_dir), num_steps, first_step)
        self._new: set[int] = set()
        self._plan = StepPlan(self.draws, num_steps, first_step)

    def get_train_dataloader(self) -> Any:
        """Gives the run's steps in order; each item is the list of (place, unit) pairs of one step."""
        # A generator of its own: beginning to read must not draw from the one that dropout uses, or a resumed run
        # would differ.
        generator = torch.Generator().manual_seed(self.config.seed % 2**63)
        return DataLoader(self.train_dataset, batch_sampler=self._plan, collate_fn=list, generator=generator)

    def floating_point_ops(self, _inputs: Any) -> int:
        """Gives 0: a step is a list of units, which the Trainer's estimate can't read."""
        return 0

    def prepare_recipe(self, checkpoint: Path | None) -> None:
        """Chooses the layout and lets the recipe make ready what its loss needs; call it once, before `train`."""
        if checkpoint is not None and (checkpoint / ENGINE_STATE).is_file():
            state = loads((checkpoint / ENGINE_STATE).read_bytes())
            self.tokens_done = self.tokens_before = state["tokens_done"]
            self.strain.load(state["strain"])
        self._settle()
        self.recipe.begin(
            Bench(
                model=self.model,
                tokenizer=self.tokenizer,
                units=self.units,
                config=self.config,
                checkpoint=checkpoint,
                map_rows=self._map_rows,
                notes=self.notes,
            )
        )

    def training_step(self, model: Any, inputs: list[tuple[int, Unit]], num_items_in_batch: Any = None) -> Any:
        """Runs forward and backward over all passes of one step.

        Returns:
            The step's loss, a detached scalar.
        Raises:
            Diverged: the loss is not a finite number; the weights are untouched by this step.
        """
        self.is_between_steps = False
        self._step_began = time.perf_counter()
        self._settle()
        if self.window is None:
            self.window = Window(self.state.global_step)
        model.train()
        passes = self._passes(ranks.share(inputs))
        self._new = self.draws.fresh(self.state.global_step)
        step = totals_of([unit for _, unit in inputs])
        size = ranks.world()[1]
        step_loss = 0.0
        broken: list[Any] = []
        for number, (one, settled) in enumerate(zip(passes, self._settled(model, passes, step), strict=True)):
            # Gradients meet once a step, with the last pass.
            is_apart = size > 1 and number + 1 < len(passes)
            with self.accelerator.no_sync(model) if is_apart else nullcontext(), self.flat.holding():
                more = {"settled": settled, "is_fresh_S": self._fresh(one)}
                output = self.flat.run(one, self.recipe.loss, step, call=model, number=number, **more)
                value = output.loss.item()
                if not isfinite(value):
                    broken += broken_samples(output.row_loss_N, one.sample_N, one.examples)
                    if size == 1:
                        self.watch.check_loss(value, self.state.global_step + 1, learning_rate=self.rate, bad=broken)
                # Among several, gradients are averaged; this loss is a share of a sum.
                self.accelerator.backward(output.loss * size if size > 1 else output.loss)
            step_loss += value
            self._count(one, output)
        if size > 1:
            told = ranks.gathered((step_loss, broken))
            step_loss, broken = sum(part[0] for part in told), [one for part in told for one in part[1]]
            self.watch.check_loss(step_loss, self.state.global_step + 1, learning_rate=self.rate, bad=broken)
        self.step_loss = step_loss
        self.step_tokens = step.num_tokens
        self.tokens_done += step.num_tokens
        return torch.tensor(step_loss, device=self.args.device)

    def _passes(self, units: Sequence[tuple[int, Unit]]) -> list[Pass]:
        limit = self.config.max_forward_tokens
        return make_passes(units, layout=self.flat.layout, max_forward_tokens=limit, pad_id=self._pad_id)

    def _settle(self) -> None:
        if not self._is_settled:
            self.flat.settle_way(self.units, notes=self.notes)
            self._is_settled = True

    def _settled(self, model: Any, passes: list[Pass], step: StepTotals) -> Sequence[Any]:
        """Gives what each pass's loss has to know of the other passes of the step, where the recipe asks for that."""
        nothing: list[Any] = [None] * len(passes)
        size = ranks.world()[1]
        if len(passes) == 1 and size == 1:
            return nothing
        measured: list[Any] = []

        def measure(rows: Rows) -> LossOutput:
            measured.append(self.recipe.measure(rows))
            return LossOutput(loss=None, row_loss_N=None)

        with torch.no_grad():
            for one in passes:
                with self.flat.holding():
                    self.flat.run(one, measure, step, call=model)
                if measured[-1] is None:
                    return nothing
        if size == 1:
            return self.recipe.settle(measured)
        device = measured[0].device
        told = ranks.gathered([part.cpu() for part in measured])
        settled = self.recipe.settle([part for parts in told for part in parts])
        before = sum(len(parts) for parts in told[: ranks.world()[0]])
        return [part.to(device) for part in settled[before : before + len(measured)]]

    def _map_rows(self, model: Any, function: Callable[[Rows], Any]) -> list[tuple[tuple[int, ...], Any]]:
        """Runs all units through a model without gradient; see `trainer.recipes.MapRows`."""
        is_own = model is self.model
        flat = self.flat if is_own else FlatModel(model, "auto" if self.flat.layout != "padded" else "padded")
        was_training = model.training
        model.eval()
        found: list[tuple[tuple[int, ...], Any]] = []
        try:
            if not is_own:
                flat.settle_way(self.units, notes=self.notes)
            numbered = list(enumerate(self.units))
            size = self.config.batch_size
            for start in range(0, len(numbered), size):
                units = numbered[start : start + size]
                limit = self.config.max_forward_tokens
                passes = make_passes(units, layout=flat.layout, max_forward_tokens=limit, pad_id=self._pad_id)
                step = totals_of([unit for _, unit in units])
                for one in passes:
                    kept: list[Any] = []

                    def keep(rows: Rows, kept: list[Any] = kept) -> LossOutput:
                        kept.append(function(rows))
                        return LossOutput(loss=None, row_loss_N=None)

                    with torch.no_grad(), flat.holding():
                        flat.run(one, keep, step)
                    found.append((one.index_U, kept[0]))
        finally:
            model.train(was_training)
            if not is_own:
                flat.close()
        return found

    def _fresh(self, one: Pass) -> list[bool] | None:
        """Says which samples of a pass the run has not learnt from before; None when none is."""
        size = len(one.examples) // len(one.index_U)
        is_fresh_S = [index in self._new for index in one.index_U for _ in range(size)]
        return is_fresh_S if any(is_fresh_S) else None

    def _count(self, one: Pass, output: LossOutput) -> None:
        """Puts what a pass told about its samples into the window."""
        assert self.window is not None
        counts, tags = one.count_S.tolist(), [example.tag for example in one.examples]
        if LOSS not in output.metrics:
            sample_N = torch.from_numpy(one.sample_N).to(output.row_loss_N.device)
            count_samples(self.window, output.row_loss_N, sample_N, counts, tags)
            is_fresh_S = None if output.is_hit_N is None else self._fresh(one)
            if is_fresh_S is not None:
                count_first_passes(self.window, output.is_hit_N, sample_N, is_fresh_S, tags)
        for metric, values in (*output.metrics.items(), *output.rates.items()):
            size = len(tags) // len(values)
            for index, value in enumerate(values.tolist()):
                if metric in output.rates:
                    self.window.add_rate(tags[index * size], bool(value), metric)
                else:
                    tokens = sum(counts[index * size : (index + 1) * size])
                    self.window.add(tags[index * size], value, tokens, metric)

    def _clip_grad_norm(self, model: Any) -> Any:
        """Clips, keeps the norm for telemetry, and stops before a gradient that is no number reaches the weights."""
        norm = super()._clip_grad_norm(model)
        self.step_norm = float(norm)
        self.watch.check_norm(self.step_norm, self.state.global_step + 1, learning_rate=self.rate)
        return norm

    @property
    def rate(self) -> float:
        """The learning rate of the step under way."""
        return float(self.lr_scheduler.get_last_lr()[0]) if self.lr_scheduler is not None else self.config.learning_rate

    def count_step(self) -> None:
        """Puts what the step as a whole cost into the window; call it when the optimizer has stepped."""
        assert self.window is not None
        strain = self.strain.add(self.step_loss)
        if ranks.world()[0] == 0:
            self.window.add_run("grad_norm", self.step_norm)
            self.window.add_run("step_s", time.perf_counter() - self._step_began, self.step_tokens)
            self.window.add_run("strain", strain)
        self.watch.check_rise(self.step_loss, self.state.global_step, learning_rate=self.rate)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes the window's telemetry lines, then keeps the Trainer's own log history."""
        if self.window is not None:
            if ranks.world()[0] == 0:
                self.window.add_run("memory_bytes", peak_memory_bytes())
            for other in ranks.gathered(self.window)[1:]:
                self.window.merge(other)
            lines = self.window.lines(self.config.run_id, self.state.global_step, self.config.round)
            self.sink.write(lines)
            self.window = None
            if self.config.report_to:
                told = [(f"{line.key.metric}/{line.key.tag}", line.stats) for line in lines if line.stats.n]
                logs |= {told_as(name, self.config.report_to): stats.mean for name, stats in told}
            for monitor in self.monitors if ranks.world()[0] == 0 else ():
                monitor(lines)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes everything a resumption needs; the folder appears whole or not at all, old ones go after it."""
        run_dir, step = Path(self.args.output_dir), self.state.global_step
        is_first = ranks.world()[0] == 0
        temp = ranks.from_first(begin_checkpoint(run_dir, step) if is_first else None)
        state = self.accelerator.get_state_dict(model) if self.is_fsdp_enabled else None
        if is_first:
            save_model(self.accelerator.unwrap_model(model), temp, state)
            write_locks(temp, self.config.locked)
            self.tokenizer.save_pretrained(temp)
            self.state.save_to_json(str(temp / "trainer_state.json"))
            (temp / ENGINE_STATE).write_bytes(dumps({"tokens_done": self.tokens_done, "strain": self.strain.state()}))
        self._save_optimizer_and_scheduler(str(temp))
        self._save_rng_state(str(temp))
        ranks.wait_for_all()
        if is_first:
            commit_checkpoint(temp, run_dir, step, run_id=self.config.run_id)
            drop_old(run_dir, self.config.keep_last)
        ranks.wait_for_all()

    def about(self) -> dict[str, Any]:
        """Gives what the result says of the loop: the layout taken, and the effort spent."""
        return {"layout": self.flat.way, "effort": round(self.strain.effort, 6)}

    def save_now(self) -> None:
        """Leaves telemetry and a checkpoint of the last whole step, outside the loop's own schedule."""
        if self.window is not None:
            self.log({"loss": self.step_loss})
        self._save_checkpoint(self.model_wrapped, None)

    def close(self) -> None:
        """Gives the model back as it was."""
        self.flat.close()


ENGINE_STATE = "engine_state.json"
"""In a checkpoint: what the engine itself counts over the run."""


class Schedule(TrainerCallback):  # type: ignore[misc]
    """Decides after each step what is due: telemetry, a checkpoint, a pause, the end; and reports progress."""

    def __init__(self, config: TrainerConfig, orders: Control, status_writer: StatusWriter | None) -> None:
        self.config = config
        self.orders = orders
        self.status_writer = status_writer
        self.trainer: Any = None
        self._is_pausing = False
        self._started = 0.0
        self._tokens_before = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Starts the clock of the speed shown."""
        assert self.trainer is not None
        self._started = time.monotonic()
        self.orders.report("processing", state.global_step, state.max_steps)
        self._tokens_before = self.trainer.tokens_done

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Sets what is due, and obeys what the run was told."""
        assert self.trainer is not None
        self.trainer.is_between_steps = True
        self.trainer.count_step()
        state.epoch = state.global_step / state.max_steps
        step, config = state.global_step, self.config
        if self.status_writer is not None:
            elapsed = max(time.monotonic() - self._started - self.orders.paused_s, 1e-9)
            tokens = self.trainer.tokens_done - self._tokens_before
            self.status_writer(step, state.max_steps, self.trainer.step_loss, tokens / elapsed)
        is_last = step >= state.max_steps
        order = self.orders.next_order(ranks.strongest)
        is_end = is_last or order in ("stop", "skip") or control.should_training_stop
        self._is_pausing = order == "pause" and not is_end
        control.should_save = (
            is_end or self._is_pausing or bool(config.save_every_steps and step % config.save_every_steps == 0)
        )
        control.should_log = control.should_save or step % config.logging_every_steps == 0
        control.should_training_stop = is_end
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Holds a paused run, whose checkpoint is written by now, until it is told to go on."""
        if self._is_pausing:
            self._is_pausing = False
            if self.orders.wait(state.global_step, state.max_steps, ranks.strongest) != "resume":
                control.should_training_stop = True
        return control

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Undoes what the Trainer asks for at the end of a pass: the last step has seen to it."""
        control.should_save = control.should_log = False
        return control


def totals_of(units: Sequence[Unit]) -> StepTotals:
    """Gives what a step (or a part of a data set) holds in all, however it is shared out."""
    return StepTotals(
        num_tokens=sum(example.num_supervised for unit in units for example in unit),
        num_samples=sum(map(len, units)),
        num_units=len(units),
    )


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
        report_to=names_of(config.report_to) or "none",
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        logging_nan_inf_filter=False,
        average_tokens_across_devices=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        # The step plan begins where the run goes on.
        ignore_data_skip=True,
    )
