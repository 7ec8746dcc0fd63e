"""Supervised tokens per CPU second of the engine beside TRL and the plain Hugging Face Trainer, in one run.

    python benchmarks/train.py [--quick] [--json] [--rounds N] [--only chats|long|dpo|telemetry]

Every side trains the same small Qwen3 (hidden 256, 4 layers, 8,192 tokens) on the same 2,000 chats, whole real loops,
taking turns step by step in one process; CPU time counts, one thread, from the second step on. Sides that don't choose
their batches are given ours, step for step; short and long chats are spread evenly over them. A second set has a system
prompt of 200 tokens, a third preference pairs. `ratios` are how many times faster the engine is: `trl_default` and
`trl_default_long_prompt` (gradient checkpointing; bf16 autocast only where the CPU has bf16 instructions, for emulating
them would flatter us), `trl_best` (fp32, no checkpointing, grouped by length), `trl_packing` (best fit rows of 512),
`hf_padded` (dynamic padding), `dpo` (TRL's DPOTrainer; the
reference model's pass counts on both sides). What a run leaves out, and TRL's parts without TRL, are null.
`telemetry_overhead` is
the share of a step's CPU time that telemetry's own calls take, `telemetry_paired` what the same step, forward and
backward, takes more with telemetry than without, in turns, give or take `telemetry_paired_error` (not in `--quick`).
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

HAS_TRL = bool(find_spec("trl"))

TELEMETRY_KEYS = ("telemetry_overhead", "telemetry_paired", "telemetry_paired_error")

FULL_ROUNDS = 6

NUM_STEPS = 1000
"""Steps each loop could make; it is ended long before."""


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


def spread(records: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Gives the records in an order in which each step of `size` that our loop draws has one of every length class."""
    ranked = sorted(records, key=lambda record: len(json.dumps(record)))
    share = len(records) // size
    classes = [ranked[start : start + share] for start in range(0, len(records), share)]
    for number, members in enumerate(classes):
        random.Random(number).shuffle(members)
    found = list(records)
    for number, place in enumerate(our_order(len(records), size)[: len(records)]):
        found[place] = classes[number % size][number // size]
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
        self.seconds = 0.0
        self.num_steps = self.num_tokens = 0

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
            self.seconds += seconds
            self.num_steps += num_steps
            self.num_tokens += sum(self.tokens(step) for step in range(first, self.step))

    @property
    def rate(self) -> float:
        """Supervised tokens per CPU second of all counted steps."""
        return self.num_tokens / self.seconds

    @property
    def step_s(self) -> float:
        """CPU seconds of a counted step."""
        return self.seconds / self.num_steps

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
    """The engine, through its one door; its first step, with loading and self-check, is not counted."""
    from trainer.config import TrainerConfig
    from trainer.engine import TrainerEngine

    config = TrainerConfig.from_mapping(
        {
            "model_dir": str(folder),
            "train_files": [str(data)],
            "output_dir": str(root / f"ours-{data.stem}"),
            "profile": "plain",
            "max_length_tokens": 2048,
            "batch_size": BATCH,
            "max_steps": NUM_STEPS,
            "num_threads": 1,
            "device": "cpu",
            **settings,
        }
    )
    size = config.batch_size
    order = our_order(len(units), size)
    counts = [
        sum(example.num_supervised for index in order[start : start + size] for example in units[index])
        for start in range(0, len(order), size)
    ]
    turns = Turns("ours", lambda baton: TrainerEngine().run_job(config, callbacks=[baton]), counts.__getitem__)
    turns.run(1, is_counted=False)
    return turns


def our_order(num: int, size: int) -> list[int]:
    """Gives the places our own loop draws, step after step."""
    from trainer.data import plan_batches

    return [index for batch in plan_batches(num, size, NUM_STEPS, seed=0) for index in batch]


def warmed(lengths: list[int], order: list[int], size: int, num_steps: int) -> list[int]:
    """Gives what a loop draws: the shortest alone in its uncounted first step, then `num_steps` counted ones."""
    return [min(range(len(lengths)), key=lengths.__getitem__)] * size + order[: num_steps * size]


def grouped_order(lengths: list[int], num_steps: int) -> list[int]:
    """Gives `num_steps` batches of the Trainer's grouping by length, evenly from its longest to its shortest.

    It draws from the longest batch of all downwards, so its own first few would count long chats alone.
    """
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    order = get_length_grouped_indices(lengths, BATCH, generator=torch.Generator().manual_seed(0))
    batches = [order[start : start + BATCH] for start in range(0, len(order) - BATCH + 1, BATCH)]
    batches.sort(key=lambda batch: sum(lengths[index] for index in batch))
    picked = [batches[(2 * number + 1) * len(batches) // (2 * num_steps)] for number in range(num_steps)]
    random.Random(0).shuffle(picked)
    return [index for batch in picked for index in batch]


def arguments(kind: Any, root: Path, name: str, **more: Any) -> Any:
    """Gives training arguments with everything but training off; records are drawn in the order they stand in."""
    return kind(
        output_dir=str(root / name),
        per_device_train_batch_size=BATCH,
        max_steps=NUM_STEPS,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        **{"train_sampling_strategy": "sequential", **more},
    )


def rows_of(units: list[Any], order: list[int]) -> Any:
    """Gives the tokenised chats as a data set for the others: the very same ids and the same tokens supervised."""
    from datasets import Dataset

    rows = [{"input_ids": one.ids, "completion_mask": [int(mark) for mark in one.is_supervised]} for (one,) in units]
    return Dataset.from_list(rows).select(order)


def trl_sft(folder: Path, tokenizer: Any, rows: Any, root: Path, name: str, **settings: Any) -> Turns:
    """TRL's supervised trainer with some settings over its defaults."""
    from trl import SFTConfig, SFTTrainer

    args = arguments(SFTConfig, root, name, completion_only_loss=True, **settings)
    if settings.get("packing"):
        args.per_device_train_batch_size = BATCH // 4  # about as many tokens a step as the others have
    trainer = SFTTrainer(load(folder), args=args, train_dataset=rows, processing_class=tokenizer)
    trainer.data_collator = counting = CountingCollator(trainer.data_collator)
    return Turns(name, lambda baton: (trainer.add_callback(baton), trainer.train()), counting.counts.__getitem__)


def hf_padded(folder: Path, rows: Any, root: Path) -> Turns:
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
    trainer = Trainer(load(folder), args=args, train_dataset=rows.with_format("torch"), data_collator=counting)
    return Turns("hf_padded", lambda baton: (trainer.add_callback(baton), trainer.train()), counting.counts.__getitem__)


def take_turns(sides: dict[str, Turns], rounds: int, steps: dict[str, int]) -> None:
    """Gives everybody an uncounted step, then a turn in each round."""
    for turns in sides.values():
        if not turns.step:
            turns.run(1, is_counted=False)
    for _ in range(rounds):
        for name, turns in sides.items():
            turns.run(steps.get(name, steps[""]))
    for turns in sides.values():
        turns.close()


def make_model(root: Path, num: int) -> Any:
    """Makes the model, its tokenizer and the two sets of chats in a folder; gives the tokenizer."""
    from transformers import AutoTokenizer

    from trainer import model_init

    model_init.PRESETS["benchmark"] = model_init.Preset(
        vocab_size=8192,
        hidden_size=256,
        num_layers=4,
        num_heads=4,
        num_kv_heads=2,
        head_dim=64,
        intermediate_size=768,
    )
    ordinary, long = (spread(chats(num, system_words), BATCH) for system_words in (18, 100))
    for name, records in (("chats", ordinary), ("long", long)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    texts = [turn["content"] for record in ordinary + long[:1] for turn in record["messages"]]
    model_init.init_model(root / "model", preset="benchmark", corpus=texts, seed=0)
    return AutoTokenizer.from_pretrained(root / "model")


def measure_sft(root: Path, tokenizer: Any, name: str, *, rounds: int, is_quick: bool) -> dict[str, float]:
    """Gives every side's rate on the ordinary chats ("chats") or on those with a long system prompt ("long")."""
    from trainer.data import read_training_data, tokenize

    folder, data = root / "model", root / f"{name}.jsonl"
    examples, _ = tokenize(tokenizer, read_training_data([data], "plain").samples, 2048)
    units = [(example,) for example in examples]
    sizes = [len(one.ids) for one in examples]
    share = sum(one.num_supervised for one in examples) / sum(sizes)
    note(f"{name}: {sum(sizes) / len(sizes):.0f} tokens a chat, at most {max(sizes)}, {share:.1%} supervised")
    sides = {"ours": ours(folder, data, units, root)}
    # Batches of like length differ from each other, so grouping gets more of them.
    steps = {"": 1, "trl_best": 2} if is_quick else {"": 4}
    same = rows_of(units, warmed(sizes, our_order(len(units), BATCH)[BATCH:], BATCH, rounds * steps[""]))
    if HAS_TRL:
        sides["trl_default"] = trl_sft(folder, tokenizer, same, root, "trl_default", bf16=HAS_BF16)
    if name == "chats":
        sides["hf_padded"] = hf_padded(folder, same, root)
    if name == "chats" and HAS_TRL:
        plain = {"bf16": False, "gradient_checkpointing": False}
        num_grouped = rounds * steps.get("trl_best", steps[""])
        grouped = rows_of(units, warmed(sizes, grouped_order(sizes, num_grouped), BATCH, num_grouped))
        sides["trl_best"] = trl_sft(folder, tokenizer, grouped, root, "trl_best", **plain)
        packed = {"packing": True, "max_length": 512, "train_sampling_strategy": "random"}
        every = rows_of(units, list(range(len(units))))
        sides["trl_packing"] = trl_sft(folder, tokenizer, every, root, "trl_packing", **plain, **packed)
    take_turns(sides, rounds, steps)
    return {side: turns.rate for side, turns in sides.items()}


def pairs(num: int) -> list[dict[str, Any]]:
    """Gives preference pairs: a prompt of some length, a right and a wrong short answer."""
    rng = random.Random(1)
    return [
        {
            "prompt": record["messages"][:2],
            "chosen": record["messages"][2:],
            "rejected": other["messages"][2:],
            "metadata": {"skill": "pair"},
        }
        for record, other in zip(chats(num, 18, seed=2), chats(num, 18, seed=rng.randint(3, 9)), strict=True)
    ]


def measure_dpo(root: Path, tokenizer: Any, *, num: int, num_steps: int) -> tuple[float, float]:
    """Gives CPU seconds of a preference step: ours, with the reference's share of one pass over the data, and TRL's."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from trainer.config import TrainerConfig
    from trainer.methods.dpo import PreferenceRecipe

    folder, data = root / "model", root / "pairs.jsonl"
    records = spread(pairs(num), PAIRS)
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    config = TrainerConfig(model_dir=str(folder), train_files=(str(data),), output_dir="none", profile="plain")
    recipe = PreferenceRecipe(config)
    units, _ = recipe.units(tokenizer, recipe.read(config), config)
    reference = [0.0]
    begin = PreferenceRecipe.begin

    def timed(recipe: Any, bench: Any) -> None:
        start = time.process_time()
        begin(recipe, bench)
        reference[0] = (time.process_time() - start) / len(bench.units)

    PreferenceRecipe.begin = timed  # type: ignore[method-assign]
    mine = ours(folder, data, units, root, method="dpo", batch_size=PAIRS)
    args = arguments(DPOConfig, root, "trl_dpo", max_length=None, bf16=HAS_BF16)
    args.per_device_train_batch_size = PAIRS
    lengths = [sum(len(example.ids) for example in unit) for unit in units]
    order = warmed(lengths, our_order(len(units), PAIRS)[PAIRS:], PAIRS, num_steps)
    same = Dataset.from_list(records).remove_columns("metadata").select(order)
    other = DPOTrainer(load(folder), args=args, train_dataset=same, processing_class=tokenizer)
    theirs = Turns("trl dpo", lambda baton: (other.add_callback(baton), other.train()), lambda _: 1)
    take_turns({"ours": mine, "trl_default": theirs}, num_steps, {"": 1})
    return mine.step_s + reference[0] * PAIRS, theirs.step_s


def telemetry_trainer(root: Path) -> Any:
    """Gives the engine's own loop over the ordinary chats, ready for single steps, every example counted as new."""
    from transformers import AutoTokenizer

    from frontier_core.events import EventSink
    from trainer.config import TrainerConfig
    from trainer.data import read_training_data, tokenize
    from trainer.hf_trainer import FrontierTrainer
    from trainer.sft import SupervisedRecipe

    folder, data = root / "model", root / "chats.jsonl"
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
    found = {"telemetry_overhead": round((own[0] / (2 * batches) + marks + lines) / a_step, 4)}
    if batches == 1:
        return found
    return found | {
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


def measure(root: Path, only: str, rounds: int, *, is_quick: bool) -> dict[str, Any]:
    """Measures the parts asked for; those left out are None."""
    rounds = rounds or (2 if is_quick else FULL_ROUNDS)
    tokenizer = make_model(root, NUM_SAMPLES // 5 if is_quick else NUM_SAMPLES)
    rates: dict[str, dict[str, float]] = {"chats": {}, "long": {}}
    for number, name in enumerate(rates, 1):
        if only in ("", name):
            rates[name] = measure_sft(root, tokenizer, name, rounds=max(1, rounds // number), is_quick=is_quick)
    overhead: dict[str, float | None] = dict.fromkeys(TELEMETRY_KEYS)
    if only in ("", "telemetry"):
        overhead |= measure_telemetry(root, batches=1 if is_quick else 10 * rounds)
    preference: tuple[float, float] | None = None
    if HAS_TRL and only in ("", "dpo"):
        num, num_steps = (PAIRS * 4, 1) if is_quick else (PAIRS * 40, 2 * rounds)
        preference = measure_dpo(root, tokenizer, num=num, num_steps=num_steps)
    ratios: dict[str, float | None] = dict.fromkeys(["trl_default", "trl_best", "trl_packing", "hf_padded"])
    ratios |= {name: round(rates["chats"]["ours"] / rate, 2) for name, rate in rates["chats"].items() if name != "ours"}
    long = rates["long"]
    ratios["trl_default_long_prompt"] = round(long["ours"] / long["trl_default"], 2) if len(long) > 1 else None
    ratios["dpo"] = round(preference[1] / preference[0], 2) if preference else None
    return {
        "supervised_tokens_per_cpu_s": {name: round(rate, 1) for name, rate in rates["chats"].items()},
        "supervised_tokens_per_cpu_s_long_prompt": {name: round(rate, 1) for name, rate in long.items()},
        "dpo_cpu_s_per_step": [round(value, 3) for value in preference] if preference else None,
        **overhead,
        "ratios": ratios,
        "goals": GOALS,
    }


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps a side")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    parser.add_argument("--rounds", type=int, default=0, help=f"turns a side (2 with --quick, else {FULL_ROUNDS})")
    parser.add_argument("--only", choices=("chats", "long", "dpo", "telemetry"), default="", help="one part")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    if not HAS_TRL:
        note("trl is not installed: its parts are null")
    elif not HAS_BF16:
        note("this CPU has no bf16 instructions: TRL's defaults run in fp32")
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):  # the peers print
        result = measure(Path(folder), args.only, args.rounds, is_quick=args.quick)
    if args.json:
        print(json.dumps(result))
        return
    for name, value in result["ratios"].items():
        print(f"{name:28} {value if value is not None else '-'} x   (goal {GOALS.get(name, '-')})")
    print(json.dumps({name: value for name, value in result.items() if name not in ("ratios", "goals")}))


if __name__ == "__main__":
    main()
