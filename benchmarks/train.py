"""Supervised tokens per CPU second of the engine beside TRL and the plain Hugging Face Trainer, in one run.

    python benchmarks/train.py [--quick] [--json]

Every side trains the same small Qwen3 (hidden 256, 4 layers, 8,192 tokens) on the same 2,000 chats, whole real loops,
taking turns step by step in one process; CPU time counts, one thread. A second set has a system prompt of 200 tokens, a
third preference pairs. `ratios` are how many times faster the engine is: `trl_default` and `trl_default_long_prompt`
(gradient checkpointing; bf16 autocast only where the CPU has bf16 instructions, for emulating them would flatter us),
`trl_default_bf16` (with it all the same; not in `--quick`), `trl_best` (fp32, no checkpointing, grouped by length),
`trl_packing` (best fit rows of 512), `hf_padded` (dynamic padding), `dpo` (TRL's
DPOTrainer; the reference model's pass counts on both sides). Without TRL its parts are null. `telemetry_overhead` is
the share of a step's CPU time that telemetry's own calls take, `telemetry_paired` what the same step, forward and
backward, takes more with telemetry than without, in turns, give or take `telemetry_paired_error`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

BATCH = 8
PAIRS = 4
NUM_SAMPLES = 2000
GOALS = {
    "trl_default": 3.5,
    "trl_best": 2.5,
    "hf_padded": 2.0,
    "trl_default_long_prompt": 6.0,
    "dpo": 5.0,
}


HAS_BF16 = any(flag in Path("/proc/cpuinfo").read_text() for flag in ("avx512_bf16", "amx_bf16"))

FULL_ROUNDS = 6

SLOW = ("trl_default_bf16",)
"""Sides whose step takes as long as a whole round of the others: they have one step a round and no warm-up."""

COLD = ("trl_default", "trl_packing", "hf_padded")
"""Sides that `--quick` counts from their first step on: it makes the optimizer's state, a hundredth of a step. We need
a warm-up for the first step's self-check, TRL's grouping for beginning with the longest batch of all."""


def words(rng: random.Random, num: int) -> list[str]:
    """Gives made-up words of two to four syllables."""
    starts, ends = "bdfgklmnprstvz", ["a", "e", "i", "o", "u", "an", "er", "il", "on", "us"]
    return ["".join(rng.choice(starts) + rng.choice(ends) for _ in range(rng.randint(2, 4))) for _ in range(num)]


def chats(num: int, system_words: int, seed: int = 0) -> list[dict[str, Any]]:
    """Gives chats with one system prompt; lengths spread as those of real ones do."""
    rng = random.Random(seed)
    lexicon = words(rng, 5000)
    system = " ".join(rng.choices(lexicon, k=system_words))
    found = []
    for index in range(num):
        asked = " ".join(rng.choices(lexicon[:3000], k=max(4, min(250, round(rng.lognormvariate(4.15, 0.55))))))
        answer = " ".join(rng.choices(lexicon[:3000], k=rng.randint(5, 17)))
        turns = [("system", system), ("user", asked), ("assistant", answer)]
        messages = [{"role": role, "content": text} for role, text in turns]
        found.append({"messages": messages, "metadata": {"skill": f"s{index % 5}", "level": index % 3}})
    return found


class Turns:
    """A training loop in a thread that makes so many steps as it is asked for, then waits.

    Args:
        train: runs the loop with the callback it is given.
        tokens: supervised tokens of step i.
    """

    def __init__(self, name: str, train: Callable[[Any], Any], tokens: Callable[[int], int]) -> None:
        from transformers import TrainerCallback

        turns = self

        class Baton(TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
                turns.left -= 1
                turns.step += 1
                if turns.left <= 0 and not turns.is_over:
                    turns.done.release()
                    turns.go.acquire()
                control.should_training_stop |= turns.is_over
                return control

        self.name, self.tokens = name, tokens
        self.step = self.left = 0
        self.is_over = False
        self.error: BaseException | None = None
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.rates: list[float] = []
        self.seconds: list[float] = []

        def body() -> None:
            self.go.acquire()
            try:
                train(Baton())
            except BaseException as error:
                self.error = error
            self.is_over = True
            self.done.release()

        self.thread = threading.Thread(target=body, daemon=True)
        self.thread.start()

    def run(self, num_steps: int, *, is_counted: bool = True) -> None:
        """Makes some steps and notes supervised tokens per CPU second."""
        first, start = self.step, time.process_time()
        self.left = num_steps
        self.go.release()
        self.done.acquire()
        seconds = time.process_time() - start
        if self.error is not None:
            raise RuntimeError(f"{self.name} failed") from self.error
        if is_counted:
            self.rates.append(sum(self.tokens(step) for step in range(first, self.step)) / seconds)
            self.seconds.append(seconds / num_steps)

    def close(self) -> None:
        """Ends the loop at its next step."""
        if not self.is_over:
            self.is_over, self.left = True, 1
            self.go.release()
            self.thread.join(120)


class CountingCollator:
    """Notes the supervised tokens of every batch another collator makes."""

    def __init__(self, collate: Any) -> None:
        self.collate = collate
        self.counts: list[int] = []

    def __call__(self, rows: Any) -> Any:
        """Gives the other collator's batch."""
        batch = self.collate(rows)
        self.counts.append(int((batch["labels"][:, 1:] != -100).sum()))
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["collate"], name)


def load(folder: Path) -> Any:
    """Gives the model, the same for everybody."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32", local_files_only=True)


def ours(folder: Path, data: Path, units: list[Any], root: Path, **settings: Any) -> Turns:
    """The engine, through its one door."""
    from trainer.config import TrainerConfig
    from trainer.data import plan_batches
    from trainer.engine import TrainerEngine

    config = TrainerConfig.from_mapping(
        {
            "model_dir": str(folder),
            "train_files": [str(data)],
            "output_dir": str(root / f"ours-{data.stem}-{len(os.listdir(root))}"),
            "profile": "plain",
            "batch_size": BATCH,
            "max_steps": 1000,
            "num_threads": 1,
            "device": "cpu",
            **settings,
        }
    )
    plan = plan_batches(len(units), config.batch_size, 1000, seed=config.seed)
    counts = [sum(example.num_supervised for index in batch for example in units[index]) for batch in plan]
    return Turns("ours", lambda baton: TrainerEngine().run_job(config, callbacks=[baton]), counts.__getitem__)


def arguments(kind: Any, root: Path, name: str, **more: Any) -> Any:
    """Gives training arguments with everything but training off."""
    return kind(
        output_dir=str(root / name),
        per_device_train_batch_size=BATCH,
        max_steps=1000,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        **more,
    )


def rows_of(units: list[Any]) -> Any:
    """Gives the tokenised chats as a data set for the others: the very same ids and the same tokens supervised."""
    from datasets import Dataset

    return Dataset.from_list(
        [{"input_ids": one.ids, "completion_mask": [int(mark) for mark in one.is_supervised]} for (one,) in units]
    )


def trl_sft(folder: Path, tokenizer: Any, units: list[Any], root: Path, name: str, **settings: Any) -> Turns:
    """TRL's supervised trainer with some settings over its defaults."""
    from trl import SFTConfig, SFTTrainer

    args = arguments(SFTConfig, root, name, completion_only_loss=True, **settings)
    if settings.get("packing"):
        args.per_device_train_batch_size = BATCH // 4  # about as many tokens a step as the others have
    trainer = SFTTrainer(load(folder), args=args, train_dataset=rows_of(units), processing_class=tokenizer)
    trainer.data_collator = counting = CountingCollator(trainer.data_collator)
    return Turns(name, lambda baton: (trainer.add_callback(baton), trainer.train()), counting.counts.__getitem__)


def hf_padded(folder: Path, units: list[Any], root: Path) -> Turns:
    """The plain Trainer, response-only labels, padded to the longest of a batch, fp32, no checkpointing."""
    import torch
    from transformers import Trainer, TrainingArguments

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(row["input_ids"]) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for number, row in enumerate(rows):
            size = len(row["input_ids"])
            ids[number, :size] = row["input_ids"]
            mask[number, :size] = 1
            labels[number, :size] = torch.where(row["completion_mask"] > 0, row["input_ids"], -100)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    counting = CountingCollator(collate)
    args = arguments(TrainingArguments, root, "hf", remove_unused_columns=False)
    data = rows_of(units).with_format("torch")
    trainer = Trainer(load(folder), args=args, train_dataset=data, data_collator=counting)
    return Turns("hf_padded", lambda baton: (trainer.add_callback(baton), trainer.train()), counting.counts.__getitem__)


def take_turns(sides: dict[str, Turns], rounds: int, steps: int) -> dict[str, float]:
    """Gives each side's median rate; everybody has a turn in each round, slow ones in every other."""
    for name, turns in sides.items():
        if name not in (COLD if rounds < FULL_ROUNDS // 2 else SLOW):
            turns.run(1, is_counted=False)
    for number in range(rounds):
        for name, turns in sides.items():
            if name not in SLOW:
                turns.run(steps)
            elif number % 2 == 0:
                turns.run(1)
    for turns in sides.values():
        turns.close()
    return {name: statistics.median(turns.rates) for name, turns in sides.items()}


def measure_sft(
    root: Path, num: int, *, rounds: int, steps: int, has_trl: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Gives rates on the ordinary chats and on those with a long system prompt."""
    from trainer import model_init
    from trainer.data import read_training_data, tokenize

    model_init.PRESETS["benchmark"] = model_init.Preset(
        vocab_size=8192,
        hidden_size=256,
        num_layers=4,
        num_heads=4,
        num_kv_heads=2,
        head_dim=64,
        intermediate_size=768,
    )
    folder = root / "model"
    ordinary, long = chats(num, 18), chats(num, 100)
    texts = [turn["content"] for record in ordinary + long[:1] for turn in record["messages"]]
    model_init.init_model(folder, preset="benchmark", corpus=texts, seed=0)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for name, records in (("ordinary", ordinary), ("long", long)):
        data = root / f"{name}.jsonl"
        data.write_text("".join(json.dumps(record) + "\n" for record in records))
        examples, _ = tokenize(tokenizer, read_training_data([data], "plain").samples, 2048)
        units = [(example,) for example in examples]
        sizes = [len(one.ids) for one in examples]
        share = sum(one.num_supervised for one in examples) / sum(sizes)
        note(f"{name}: {sum(sizes) / len(sizes):.0f} tokens a chat, at most {max(sizes)}, {share:.1%} supervised")
        sides = {"ours": ours(folder, data, units, root)}
        if has_trl:
            sides["trl_default"] = trl_sft(folder, tokenizer, units, root, "trl_default", bf16=HAS_BF16)
        if name == "ordinary":
            sides["hf_padded"] = hf_padded(folder, units, root)
            if has_trl:
                plain = {"bf16": False, "gradient_checkpointing": False}
                if num == NUM_SAMPLES and not HAS_BF16:
                    sides["trl_default_bf16"] = trl_sft(folder, tokenizer, units, root, "trl_default_bf16")
                grouped = {"train_sampling_strategy": "group_by_length"}
                packed = {"packing": True, "max_length": 512}
                sides["trl_best"] = trl_sft(folder, tokenizer, units, root, "trl_best", **plain, **grouped)
                sides["trl_packing"] = trl_sft(folder, tokenizer, units, root, "trl_packing", **plain, **packed)
        found.append(take_turns(sides, rounds if name == "ordinary" else max(1, rounds // 2), steps))
    return found[0], found[1]


def pairs(num: int) -> list[dict[str, Any]]:
    """Gives preference pairs: a prompt of some length, a right and a wrong short answer."""
    rng = random.Random(1)
    return [
        {"prompt": record["messages"][:2], "chosen": record["messages"][2:], "rejected": other["messages"][2:]}
        for record, other in zip(chats(num, 18, seed=2), chats(num, 18, seed=rng.randint(3, 9)), strict=True)
    ]


def pair_units(tokenizer: Any, records: list[dict[str, Any]]) -> list[Any]:
    """Gives the pairs as units of two examples, ids as TRL makes them: prompt, then answer."""
    from trainer.chat_template import encode, render
    from trainer.data import Example

    sides = [record["prompt"] + record[side] for record in records for side in ("chosen", "rejected")]
    rows = encode(tokenizer, [render(tokenizer, messages) for messages in sides])
    examples = [Example(ids=ids, is_supervised=mask, tag="skill=pair", place="") for ids, mask in rows]
    return list(zip(examples[0::2], examples[1::2], strict=True))


class PairRecipe:
    """Preference training over given pairs; the reference model's scores are made by the engine's own layout."""

    def __init__(self, folder: Path, units: list[Any]) -> None:
        self.folder, self.pairs = folder, units
        self.seconds = 0.0

    def begin(self, bench: Any) -> None:
        """Scores every pair once under the reference, and notes what that costs."""
        import torch

        from trainer.losses import sequence_logps

        start = time.process_time()
        self.scores = torch.zeros(len(bench.units), 2)

        def score(rows: Any) -> Any:
            given = (rows.hidden_NH, rows.head, rows.target_N, rows.weight_N, rows.sample_N)
            return sequence_logps(*given, num_samples=rows.num_samples)[0]

        for places, scores in bench.map_rows(bench.model, score):
            self.scores[list(places)] = scores.view(-1, 2)
        self.seconds = (time.process_time() - start) / len(bench.units)

    def measure(self, rows: Any) -> None:
        """A pair's loss needs no other pass."""

    def loss(self, rows: Any) -> Any:
        """Gives the preference loss."""
        from trainer.losses import dpo

        given = (rows.hidden_NH, rows.head, rows.target_N, rows.weight_N, rows.sample_N)
        reference = self.scores[list(rows.index_U)].flatten()
        return dpo(*given, reference_S=reference, beta=0.1, total=rows.step.num_units)


def measure_dpo(root: Path, *, num: int, rounds: int, steps: int) -> tuple[float, float]:
    """Gives CPU seconds of a preference step: ours (with the reference's share) and TRL's."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from frontier_core.events import EventSink
    from trainer.config import TrainerConfig
    from trainer.control import Control
    from trainer.hf_trainer import FrontierTrainer, Schedule

    folder = root / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    records = pairs(num)
    units = pair_units(tokenizer, records)
    (root / "dpo" / "control").mkdir(parents=True)
    config = TrainerConfig(
        model_dir=str(folder),
        train_files=("pairs",),
        output_dir=str(root / "dpo"),
        batch_size=PAIRS,
        max_steps=1000,
        device="cpu",
        num_threads=1,
    )
    recipe = PairRecipe(folder, units)
    sink = EventSink(root / "dpo" / "events.jsonl")
    trainer = FrontierTrainer(load(folder), tokenizer, units, recipe, config=config, num_steps=1000, sink=sink)
    schedule = Schedule(config, Control(root / "dpo" / "control", run_id="dpo", is_writer=True), None)
    schedule.trainer = trainer
    trainer.add_callback(schedule)
    trainer.prepare_recipe(None)

    args = arguments(DPOConfig, root, "trl_dpo", max_length=None, bf16=HAS_BF16)
    args.per_device_train_batch_size = PAIRS
    other = DPOTrainer(load(folder), args=args, train_dataset=Dataset.from_list(records), processing_class=tokenizer)
    sides = {
        "ours": Turns("ours dpo", lambda baton: (trainer.add_callback(baton), trainer.train()), lambda _: 1),
        "trl_default": Turns("trl dpo", lambda baton: (other.add_callback(baton), other.train()), lambda _: 1),
    }
    take_turns(sides, rounds, steps)
    mine = statistics.median(sides["ours"].seconds) + recipe.seconds * PAIRS
    return mine, statistics.median(sides["trl_default"].seconds)


def telemetry_trainer(root: Path) -> Any:
    """Gives the engine's own loop over the ordinary chats, ready for single steps, every example counted as new."""
    from transformers import AutoTokenizer

    from frontier_core.events import EventSink
    from trainer.config import TrainerConfig
    from trainer.data import read_training_data, tokenize
    from trainer.hf_trainer import FrontierTrainer
    from trainer.sft import SupervisedRecipe

    folder, data = root / "model", root / "ordinary.jsonl"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    examples, _ = tokenize(tokenizer, read_training_data([data], "plain").samples, 2048)
    units = [(example,) for example in examples]
    (root / "telemetry").mkdir()
    config = TrainerConfig(
        model_dir=str(folder),
        train_files=(str(data),),
        output_dir=str(root / "telemetry"),
        batch_size=BATCH,
        max_steps=1000,
        device="cpu",
        num_threads=1,
    )
    sink = EventSink(root / "telemetry" / "events.jsonl")
    recipe = SupervisedRecipe(config)
    trainer = FrontierTrainer(load(folder), tokenizer, units, recipe, config=config, num_steps=1000, sink=sink)
    trainer.prepare_recipe(None)
    return trainer


def measure_telemetry(root: Path, *, batches: int) -> dict[str, float]:
    """Gives telemetry's share of a step's CPU time, by its own calls' time and by steps with and without it in pairs.

    What it does: windows of losses per tag and of first passes, counts of the step, whether each target was the
    likeliest token, and lines every ten steps. `paired` has its standard error beside it: single steps differ by
    several percent, so few of them tell nothing.
    """
    trainer = telemetry_trainer(root)
    real = {name: getattr(trainer, name) for name in ("_count", "count_step")}
    every = set(range(len(trainer.units)))
    own = [0.0]

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> None:
            start = time.process_time()
            method(*given)
            own[0] += time.process_time() - start

        return call

    def step(number: int, *, is_on: bool) -> float:
        for name, method in real.items():
            setattr(trainer, name, timed(method) if is_on else lambda *_: None)
        trainer.draws.fresh = lambda _: every if is_on else set()
        inputs = [(index, trainer.units[index]) for index in trainer.draws.at(number)]
        start = time.process_time()
        trainer.training_step(trainer.model, inputs)
        trainer.count_step()
        seconds = time.process_time() - start
        trainer.model.zero_grad()
        return seconds

    step(0, is_on=True)
    own[0], on, off, shares = 0.0, 0.0, 0.0, []
    for number in range(batches):
        first, second, third, fourth = (step(number, is_on=is_on) for is_on in (True, False, False, True))
        on, off = on + first + fourth, off + second + third
        shares.append((first + fourth) / (second + third) - 1)
    start = time.process_time()
    trainer.log({"loss": 1.0})
    lines = (time.process_time() - start) / trainer.config.logging_every_steps
    a_step = off / (2 * batches)
    marks = likeliest_seconds(trainer, rows=trainer.step_tokens)
    return {
        "telemetry_overhead": round((own[0] / (2 * batches) + marks + lines) / a_step, 4),
        "telemetry_paired": round(statistics.median(shares) + lines / a_step, 4),
        "telemetry_paired_error": round(1.25 * statistics.stdev(shares) / len(shares) ** 0.5, 4),
    }


def likeliest_seconds(trainer: Any, rows: int) -> float:
    """Gives the CPU seconds it takes the loss to say of each row whether its target was the likeliest token."""
    import torch

    from trainer.losses import cross_entropy

    head = trainer.model.get_output_embeddings().weight.detach()
    hidden, targets = torch.randn(rows, head.shape[1]), torch.randint(len(head), (rows,))
    is_hit = torch.empty(rows, dtype=torch.bool)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(60):
        start = time.process_time()
        cross_entropy(hidden, head, targets, is_hit_N=is_hit if number % 2 else None)
        seconds[bool(number % 2)].append(time.process_time() - start)
    return statistics.median(seconds[True]) - statistics.median(seconds[False])


def note(text: str) -> None:
    """Says something to the person at the terminal."""
    print(text, file=sys.stderr)


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps a side")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    has_trl = bool(find_spec("trl"))
    if not has_trl:
        note("trl is not installed: its parts are null")
    if has_trl and not HAS_BF16:
        note("this CPU has no bf16 instructions: TRL's defaults run in fp32")
    rounds, steps = (2, 1) if args.quick else (FULL_ROUNDS, 4)
    preference: tuple[float, float] | None = None
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):  # the peers print
        num = 400 if args.quick else NUM_SAMPLES
        ordinary, long = measure_sft(Path(folder), num, rounds=rounds, steps=steps, has_trl=has_trl)
        overhead = measure_telemetry(Path(folder), batches=2 if args.quick else 60)
        if has_trl:
            num = PAIRS * (4 if args.quick else 40)
            preference = measure_dpo(Path(folder), num=num, rounds=max(1, rounds // 2), steps=steps)
    ratios: dict[str, float | None] = dict.fromkeys(["trl_default", "trl_best", "trl_packing", "hf_padded"])
    ratios |= {name: round(ordinary["ours"] / rate, 2) for name, rate in ordinary.items() if name != "ours"}
    ratios["trl_default_long_prompt"] = round(long["ours"] / long["trl_default"], 2) if has_trl else None
    ratios["dpo"] = round(preference[1] / preference[0], 2) if preference else None
    result: dict[str, Any] = {
        "supervised_tokens_per_cpu_s": {name: round(rate, 1) for name, rate in ordinary.items()},
        "supervised_tokens_per_cpu_s_long_prompt": {name: round(rate, 1) for name, rate in long.items()},
        "dpo_cpu_s_per_step": [round(value, 3) for value in preference] if preference else None,
        **overhead,
        "ratios": ratios,
        "goals": GOALS,
    }
    if args.json:
        print(json.dumps(result))
        return
    for name, value in result["ratios"].items():
        print(f"{name:28} {value if value is not None else '-'} x   (goal {GOALS.get(name, '-')})")
    print(json.dumps({name: value for name, value in result.items() if name not in ("ratios", "goals")}))


if __name__ == "__main__":
    main()
