"""`frontier model init`: a model from scratch, its tokenizer trained on text our own generators make."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from frontier_core.domains import Domain
from frontier_core.jsonl import read_records
from frontier_core.lineage import is_current, read_sidecar, sidecar_path, write_sidecar
from frontier_core.records import Record
from generators import synth

CORPUS_RECORDS = 3000


def corpus_texts(records: Iterator[Record]) -> Iterator[str]:
    """Yields every text a model would read in these records."""
    from generators import formats

    for record in records:
        if "text" in record:
            yield str(record["text"])
            continue
        yield from (str(turn["content"]) for turn in formats.convert(record, "chat")["messages"])


def init_model(
    output: Path, *, preset: str, domains: Sequence[Domain], corpus: Sequence[str] = (), seed: int = 0
) -> tuple[dict[str, Any], bool]:
    """Makes a model folder and its sidecar; one that was made so already is left as it is.

    Args:
        output: the folder to make.
        preset: size, "tiny" or "small".
        domains: what the generated corpus is about when no files are given.
        corpus: record files the tokenizer is trained on instead.
        seed: of the weights and of the generated corpus.
    Returns:
        What was made (parameters, vocabulary, ...), and whether the folder held it already.
    """
    requests = [] if corpus else synth.plan_requests(domains, CORPUS_RECORDS)
    corpus_id = "files" if corpus else synth.Plan(requests=requests, seed=seed).digest()
    asked: dict[str, Any] = {"preset": preset, "corpus": corpus_id}
    made: dict[str, Any] = {"stage": "model init", "inputs": corpus, "seed": seed, "producer": "model_init"}
    told = (read_sidecar(output) or {}).get("params", {}) if output.is_dir() else {}
    if told and is_current(output, **made, params=asked, outcomes=told.keys() - asked.keys()):
        os.utime(sidecar_path(output))  # what `make` looks at
        return {key: value for key, value in told.items() if key != "corpus"}, True
    from trainer.model_init import init_model as make

    if corpus:
        records: Iterator[Record] = (record for path in corpus for record in read_records(path))
    else:
        records = synth.generate(requests, seed=seed)
    about = make(output, preset=preset, corpus=corpus_texts(records), seed=seed)
    write_sidecar(output, **made, params=asked | about)
    return about, False
