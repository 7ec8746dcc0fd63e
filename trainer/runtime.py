"""One run's hold on the process: seeded generators, silent libraries; all put back after.

Libraries underneath keep global state (random generators, threads, log levels). It is set for the
length of a `with` block and restored, so that two runs in one process know nothing of each other.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the log lines, progress bars and warnings of transformers and torch inside the block."""
    from transformers.utils import logging

    level, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()


@contextmanager
def seeded(seed: int, num_threads: int = 0) -> Iterator[None]:
    """Seeds Python's, numpy's and torch's generators and sets torch's threads inside the block, then puts all back.

    Args:
        seed: in [0, 2**64); the run's seed.
        num_threads: of torch; 0 takes every core.
    """
    import numpy
    import torch

    states: tuple[Any, ...] = (random.getstate(), numpy.random.get_state(), torch.get_num_threads())
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        random.seed(seed)
        numpy.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        torch.set_num_threads(num_threads or os.cpu_count() or 1)
        try:
            yield
        finally:
            random.setstate(states[0])
            numpy.random.set_state(states[1])
            torch.set_num_threads(states[2])
