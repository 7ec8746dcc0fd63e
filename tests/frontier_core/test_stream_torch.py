"""Streams under torch's DataLoader and accelerate: workers, and a resume that reads nothing it passes over."""

import pytest

from frontier_core.stream import Stream
from tests.frontier_core.streams import numbers, write_domain

pytestmark = pytest.mark.torch


@pytest.fixture
def files(tmp_path):
    pytest.importorskip("torch")
    return {name: write_domain(tmp_path / f"{name}.jsonl", name, num) for name, num in {"a": 900, "b": 300}.items()}


def test_loaders_of_any_number_of_workers_give_the_streams_batches(files):
    from torch.utils.data import DataLoader

    stream = Stream.from_files(files, batch_size=8, seed=5)
    expected = [numbers(stream.batch(number)) for number in range(150)]
    for num_workers in (0, 2):
        loader = DataLoader(stream, batch_size=8, shuffle=False, num_workers=num_workers, collate_fn=numbers)
        assert list(loader) == expected


def test_skipping_batches_on_resume_reads_none_of_them(files, monkeypatch):
    accelerate = pytest.importorskip("accelerate")
    from torch.utils.data import DataLoader

    read = []
    records = Stream.records

    def counted(self, start, stop):
        read.append((start, stop))
        return records(self, start, stop)

    monkeypatch.setattr(Stream, "records", counted)
    stream = Stream.from_files(files, batch_size=8, seed=5)
    loader = DataLoader(stream, batch_size=8, shuffle=False, collate_fn=numbers)
    rest = list(accelerate.skip_first_batches(loader, 140))
    assert read == [(1120 + 8 * number, 1128 + 8 * number) for number in range(10)]
    assert rest == [numbers(stream.batch(number)) for number in range(140, 150)]
