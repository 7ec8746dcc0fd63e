"""Runs our JSON reader or schema gate over a checkout of a public test suite and prints every disagreement.

    python -m tests.peers SUITE_DIR

SUITE_DIR is a checkout of JSONTestSuite (test_parsing/y_*.json, n_*.json, i_*.json) or of JSON-Schema-Test-Suite
(tests/draft2020-12/*.json with remotes/); which one is read off its files. Exit code 1 when a y_ or n_ file or a
required case is decided otherwise than the suite says, 2 when there is no suite. i_ files may be decided either way:
they are counted, and must end cleanly.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frontier_core.jsonl import loads
from validators.schema_gate import compile_schema

DRAFT = "draft2020-12"
REMOTE_BASE = "http://localhost:1234/"


def accepts(data: bytes) -> bool:
    """Says whether our reader takes these bytes as one JSON text."""
    try:
        loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def parsing_disagreements(folder: Path, counts: Counter[str]) -> Iterator[str]:
    """Yields what is decided otherwise than the names in `folder` say; counts files by class and decision."""
    for path in sorted(folder.glob("*.json")):
        kind, is_accepted = path.name[:1], accepts(path.read_bytes())
        counts[f"{kind}_ {'accepted' if is_accepted else 'refused'}"] += 1
        if (kind == "y" and not is_accepted) or (kind == "n" and is_accepted):
            yield f"{path.name}: {'accepted' if is_accepted else 'refused'}"


def remotes_of(suite: Path) -> list[tuple[str, Any]]:
    """Gives the schemas that the suite's cases fetch from localhost:1234, by address."""
    folder = suite / "remotes"
    paths = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    # Those of other drafts are not for these cases, and some are no schemas in this one.
    mine = [path for path in paths if not path.relative_to(folder).parts[0].startswith("draft") or DRAFT in path.parts]
    return [(REMOTE_BASE + path.relative_to(folder).as_posix(), loads(path.read_bytes())) for path in mine]


def schema_disagreements(suite: Path, counts: Counter[str]) -> Iterator[str]:
    """Yields the required cases that our compiled schemas decide otherwise; counts cases."""
    remotes = remotes_of(suite)
    folder = suite / "tests" / DRAFT
    for path in sorted(folder.glob("*.json")):
        for group in loads(path.read_bytes()):
            place = f"{path.name}: {group['description']}"
            try:
                is_valid = compile_schema(group["schema"], remotes).is_valid
            except ValueError as error:
                counts["required cases"] += len(group["tests"])
                yield f"{place}: the schema does not compile: {error}"
                continue
            for case in group["tests"]:
                counts["required cases"] += 1
                if is_valid(case["data"]) != case["valid"]:
                    verb = "refused" if case["valid"] else "accepted"
                    yield f"{place}: {case['description']}: {verb}"


def main(arguments: list[str]) -> int:
    """Runs the suite in the folder that is named and gives the exit code."""
    if len(arguments) != 1:
        print("usage: python -m tests.peers SUITE_DIR", file=sys.stderr)
        return 2
    suite, counts = Path(arguments[0]), Counter[str]()
    parsing = next((folder for folder in (suite / "test_parsing", suite) if any(folder.glob("[yn]_*.json"))), None)
    if parsing is not None:
        found = list(parsing_disagreements(parsing, counts))
    elif (suite / "tests" / DRAFT).is_dir():
        found = list(schema_disagreements(suite, counts))
    else:
        print(f"{suite}: neither test_parsing/*.json nor tests/{DRAFT}/ stands there", file=sys.stderr)
        return 2
    for line in found:
        print(line)
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"{len(found)} disagreements ({told})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
