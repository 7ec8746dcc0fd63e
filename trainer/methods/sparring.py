"""Sparring: supervised training on records made from the model's own mistakes (`frontier synth spar`).

The loss is that of supervised training; what differs is what is taken. Records of plain chats may stand beside the
sparring ones, to keep what the model can do; a file without any sparring record is refused.
"""

from __future__ import annotations

from collections import Counter

from frontier_core.errors import DataError
from frontier_core.records import Record, metadata_of
from trainer.config import TrainerConfig
from trainer.data import TrainingData
from trainer.sft import SupervisedRecipe

KINDS = ("sparring_identify_incorrect", "sparring_correction", "sparring_confirm_correct")


class SparringRecipe(SupervisedRecipe):
    """Cross-entropy over the answers of sparring records; surprise weights as in supervised training."""

    def read(self, config: TrainerConfig) -> TrainingData:
        """Reads the records, counts the three kinds, and remarks on mistakes of more than one checkpoint.

        Raises:
            DataError: no record is of a sparring kind; else as `read_training_data`.
        """
        kinds: Counter[str] = Counter()
        sessions: Counter[str] = Counter()

        def see(record: Record) -> None:
            kind = str(record.get("type", ""))
            kinds[kind if kind in KINDS else "other"] += 1
            if kind in KINDS:
                sessions[str(metadata_of(record).get("session_checkpoint", ""))] += 1

        data = self.read_seen(config, see)
        if not sessions:
            raise DataError(
                "no record is of a sparring kind",
                path=config.train_files[0],
                hint="frontier synth spar MODEL makes them; ordinary records are trained with method sft",
                code="no_sparring",
            )
        data.notes.append(", ".join(f"{kinds[kind]} {kind.removeprefix('sparring_')}" for kind in (*KINDS, "other")))
        if len(sessions) > 1:
            names = ", ".join(name or "unnamed" for name, _ in sessions.most_common(3))
            data.notes.append(f"mistakes of {len(sessions)} checkpoints: {names}; older ones may be mistakes no more")
        return data
