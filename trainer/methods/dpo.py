"""Preference training: the chosen answer becomes likelier against the rejected one, tied to where the model began.

The reference is the run's base model itself; its log-probabilities are taken once, before the first step, so no second
model lies in memory. A pair is drawn as one unit: prompt once, both answers behind it.
Source: Rafailov et al. 2023 (Direct Preference Optimization), equation 7.
"""

# N predictions, S samples (2 a pair), P pairs

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from frontier_core.errors import DataError
from frontier_core.jsonl import Row
from frontier_core.profiles import ProfileName, dress, profile_named, undress
from frontier_core.records import Message, metadata_of, tag_of
from frontier_core.schemas import guess_spec
from trainer.chat_template import encode, render
from trainer.checkpoints import resolve_model
from trainer.config import TrainerConfig
from trainer.data import ROLES, Example, Sample, TrainingData, Unit
from trainer.recipes import Bench, Rows
from trainer.sources import rows_of

if TYPE_CHECKING:
    from trainer.losses import LossOutput

SIDES = ("chosen", "rejected")


class PreferenceRecipe:
    """The loss of pairs; `surprise_metric` weighs the tokens of both answers, in model and reference alike.

    Args:
        config: the run; read are `dpo_beta`, the profile, the longest text and the `surprise` settings.
    """

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config
        self._margins: list[float] = []
        self._margin_of: list[float] = []
        self._reference: dict[int, Any] = {}

    def read(self, config: TrainerConfig) -> TrainingData:
        """Reads preference_v1 records; sample 2i is the chosen and 2i+1 the rejected answer of record i.

        Raises:
            DataError: another record, an empty answer, or two answers that read alike; names file:line and pointer.
        """
        samples: list[Sample] = []
        notes: list[str] = []
        digest = blake2b(digest_size=16)
        self._margins = []
        for file in config.train_files:
            for row in rows_of(file, notes=notes):
                samples += _pair(row, config)
                self._margins.append(float(row.record.get("margin") or 0.0))
                digest.update(row.raw + b"\n")
        return TrainingData(samples=samples, sha=digest.hexdigest(), notes=notes)

    def units(self, tokenizer: Any, data: TrainingData, config: TrainerConfig) -> tuple[list[Unit], int]:
        """Gives a pair a unit; only the last answer of each side is supervised.

        Raises:
            DataError: every pair is too long, or one is and `too_long` is "refuse".
        """
        segments = [render(tokenizer, sample.messages) for sample in data.samples]
        # Earlier answers are part of the prompt here, whatever they are in supervised training.
        only_last = [[*(one._replace(is_supervised=False) for one in text[:-1]), text[-1]] for text in segments]
        encoded = encode(tokenizer, only_last)
        found: list[Unit] = []
        num_dropped = 0
        self._margin_of = []
        for number in range(0, len(data.samples), 2):
            sample = data.samples[number]
            sides = encoded[number : number + 2]
            longest = max(len(ids) for ids, _ in sides)
            if longest > config.max_length_tokens:
                if config.too_long == "refuse":
                    message = f"{longest} tokens, more than max_length_tokens {config.max_length_tokens}"
                    raise DataError(message, path=sample.path, line=sample.line, code="too_long")
                num_dropped += 1
                continue
            place = f"{sample.path}:{sample.line}"
            pair = [Example(ids=ids, is_supervised=mask, tag=sample.tag, place=place) for ids, mask in sides]
            found.append(tuple(pair))
            self._margin_of.append(self._margins[number // 2])
        if not found:
            raise DataError(
                f"all {num_dropped} pairs are longer than max_length_tokens {config.max_length_tokens}",
                path=data.samples[0].path if data.samples else "",
                code="too_long",
            )
        return found, num_dropped

    def begin(self, bench: Bench) -> None:
        """Takes the reference's log-probabilities of every answer's tokens, once."""
        from trainer.losses import cross_entropy
        from trainer.model_files import load_model

        # A run that goes on is tied to where it began, not to the checkpoint.
        reference = (
            bench.model
            if bench.checkpoint is None
            else load_model(resolve_model(bench.config.model_dir)).to(bench.model.device)
        )

        def scores(rows: Rows) -> Any:
            loss_N, _ = cross_entropy(rows.hidden_NH, rows.head, rows.target_N)
            return (-loss_N).cpu(), rows.count_S.cpu()

        for index_U, (logp_N, count_S) in bench.map_rows(reference, scores):
            counts = [int(count) for count in count_S.tolist()]
            parts = logp_N.split([sum(counts[place : place + 2]) for place in range(0, len(counts), 2)])
            self._reference |= dict(zip(index_U, parts, strict=True))

    def measure(self, rows: Rows) -> Any:
        """Gives the rows' surprise, so that weights have mean 1 over the whole step."""
        if self.config.surprise_metric == "none":
            return None
        return self._surprise(rows)

    def settle(self, measured: Sequence[Any]) -> Sequence[Any]:
        """Gives each pass its rows' weights."""
        import torch

        weight_N = self._weights(torch.cat(list(measured)))
        parts: Sequence[Any] = weight_N.split([len(part) for part in measured])
        return parts

    def loss(self, rows: Rows) -> LossOutput:
        """Gives the pairs' loss; margin and accuracy of each pair go into telemetry."""
        import torch

        from trainer.losses import dpo, sample_sums

        device = rows.hidden_NH.device
        reference_N = torch.cat([self._reference[index] for index in rows.index_U]).to(device)
        weight_N = rows.weight_N
        if self.config.surprise_metric != "none":
            settled = rows.settled if rows.settled is not None else self._weights(self._surprise(rows))
            weight_N = weight_N * settled
        margins = [self._margin_of[index] for index in rows.index_U]
        return dpo(
            rows.hidden_NH,
            rows.head,
            rows.target_N,
            weight_N,
            rows.sample_N,
            reference_S=sample_sums(reference_N * weight_N, rows.sample_N, rows.num_samples),
            beta=self.config.dpo_beta,
            margin_P=torch.tensor(margins, device=device) if any(margins) else None,
            total=float(rows.step.num_units),
        )

    def _surprise(self, rows: Rows) -> Any:
        import torch

        from trainer.losses import cross_entropy

        metric: Any = self.config.surprise_metric
        with torch.no_grad():
            return cross_entropy(rows.hidden_NH, rows.head, rows.target_N, surprise=metric)[1]

    def _weights(self, surprise_N: Any) -> Any:
        import torch

        from trainer.losses import surprise_weights

        config = self.config
        return surprise_weights(
            surprise_N,
            torch.ones_like(surprise_N, dtype=torch.bool),
            minimum=config.surprise_min_weight,
            maximum=config.surprise_max_weight,
            temperature=config.surprise_temperature,
        )


def _pair(row: Row, config: TrainerConfig) -> list[Sample]:
    """The two samples of a preference record: prompt and chosen, prompt and rejected."""
    if row.problem is not None:
        raise row.problem
    record, spec = row.record, guess_spec(row.record)
    if spec != "preference_v1":
        hint = "pairs are made with: frontier synth spar --to preference, or synth format --to preference"
        raise _bad(row, "", f"a record of shape {spec or 'unknown'} is no preference pair", "spec", hint)
    profile = profile_named(config.profile)
    prompt = _turns(row, "prompt")
    tag = tag_of(metadata_of(record))
    samples: list[Sample] = []
    for side in SIDES:
        turns = _turns(row, side)
        if len(turns) != 1 or turns[0]["role"] != "assistant":
            raise _bad(row, f"/{side}", "must be one answer of the assistant", "answer")
        if not undress(turns[0]["content"]).strip():
            raise _bad(row, f"/{side}", "is empty: nothing to prefer", "empty_answer")
        messages = tuple(_dressed(turn, profile) for turn in (*prompt, turns[0]))
        samples.append(Sample(messages=messages, text="", tag=tag, path=row.path, line=row.number))
    if samples[0].messages == samples[1].messages:
        raise _bad(row, "/rejected", "reads like the chosen answer: nothing to prefer", "same_answer")
    return samples


def _dressed(turn: Message, profile: ProfileName) -> Message:
    text = turn["content"]
    return {"role": turn["role"], "content": dress(text, profile) if turn["role"] == "assistant" else text}


def _turns(row: Row, key: str) -> list[Message]:
    """A side as turns: a text is one turn, of the user in the prompt, of the assistant in an answer."""
    value = row.record.get(key)
    if isinstance(value, str):
        return [{"role": "user" if key == "prompt" else "assistant", "content": value}]
    if not isinstance(value, list) or not value:
        raise _bad(row, f"/{key}", "must be a text or an array of turns", "turns")
    for index, turn in enumerate(value):
        if not isinstance(turn, dict) or turn.get("role") not in ROLES or not isinstance(turn.get("content"), str):
            raise _bad(row, f"/{key}/{index}", "must be a turn with role and content", "turns")
    return value


def _bad(row: Row, pointer: str, message: str, code: str, hint: str = "") -> DataError:
    return DataError(message, path=row.path, line=row.number, pointer=pointer, hint=hint, code=code)
