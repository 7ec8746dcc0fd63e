"""The Python in docs/streams.md runs as it stands there."""

import re
from pathlib import Path

from tests.frontier_core.streams import write_domain

ROOT = Path(__file__).parents[2]


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_domain(tmp_path / "a.jsonl", "a", 50)
    write_domain(tmp_path / "b.jsonl", "b", 20)
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/streams.md").read_text(), re.DOTALL)
    names = {}
    exec(code[0], names)
    assert names["stream"].position == 20
    assert [len(names["stream"].batch(5)), len(names["rank"].batch(0))] == [4, 2]
    assert len((tmp_path / "telemetry.jsonl").read_text().splitlines()) == 3
