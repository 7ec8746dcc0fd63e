"""`frontier model init`: a model from scratch, its tokenizer trained on text our own generators make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from frontier_core.domains import Domain
from frontier_core.jsonl import read_records
from frontier_core.lineage import write_sidecar
from frontier_core.records import Record
from generators import formats, synth

CORPUS_RECORDS = 3000


def corpus_texts(records: Iterator[Record]) -> Iterator[str]:
    """Yields every text a model would read in these records."""
    for record in records:
        if "text" in record:
            yield str(record["text"])
            continue
        yield from (str(turn["content"]) for turn in formats.convert(record, "chat")["messages"])


def init_model(
    output: Path, *, preset: str, domains: Sequence[Domain], corpus: Sequence[str] = (), seed: int = 0
) -> dict[str, Any]:
    """Makes a model folder and its sidecar.

    Args:
        output: the folder to make.
        preset: size, "tiny" or "small".
        domains: what the generated corpus is about when no files are given.
        corpus: record files the tokenizer is trained on instead.
        seed: of the weights and of the generated corpus.
    Returns:
        What was made: parameters, vocabulary, ...
    """
    from trainer.model_init import init_model as make

    if corpus:
        records: Iterator[Record] = (record for path in corpus for record in read_records(path))
    else:
        records = synth.generate(synth.plan_requests(domains, CORPUS_RECORDS), seed=seed)
    about = make(output, preset=preset, corpus=corpus_texts(records), seed=seed)
    params = {"preset": preset, **about}
    write_sidecar(output, stage="model init", inputs=corpus, seed=seed, producer="model_init", params=params)
    return about
