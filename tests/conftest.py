"""What several rooms' tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A model folder of a few thousand parameters, made by our own `model init`."""
    pytest.importorskip("torch")
    from trainer.model_init import init_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    corpus = [f"What is {a} + {b}? {a + b} EXECUTING_PLAN: mkdir" for a in range(20) for b in range(20)]
    init_model(folder, preset="tiny", corpus=corpus, seed=0)
    return folder
