"""What is wrong with a record's own words: a world that can't be made, an expectation that can't be met by any plan.

Runs inside the sandbox as part of process 1: standard library only. Such a record is not judged, and its plan is not to
blame: BadFixture becomes `bad_fixture`, BadExpect `bad_expect`. What a record's form alone shows is said by its schema
(plan_v1.schema.json); here is what needs a second look at it.
"""

from __future__ import annotations

import errno
import re
from typing import Any

Json = dict[str, Any]

_CAUSES = {
    errno.ENOENT: "it is not there",
    errno.EACCES: "it may not be run or written",
    errno.ENOEXEC: "it is no program: a script needs #! in its first line",
    errno.EADDRINUSE: "the port is taken",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its symbolic links lead in a circle",
}
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class BadFixture(Exception):
    """The record's world can't be made; the plan is not to blame."""


class BadExpect(ValueError):
    """The record's expectation means nothing; the plan is not to blame."""


def in_words(error: Exception) -> str:
    """Says what went wrong while a fixture was made, in a record's words instead of Python's."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return "this is beyond the disk limit"
    if isinstance(error, OSError):
        return _CAUSES.get(error.errno or 0, error.strerror or str(error))
    if isinstance(error, MemoryError | OverflowError):
        return "this is beyond what the sandbox can hold"
    if isinstance(error, UnicodeError):
        return "the text holds half a character (a lone surrogate)"
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    return f"this is not in the form of docs/records.md ({error})"


def check_names(fixture: Json) -> None:
    """Raises BadFixture when two of a fixture's processes have one name, or one that a service goes by."""
    taken = {f"service {number}" for number in range(len(fixture.get("services", ())))}
    for process in fixture.get("processes", ()):
        if process["name"] in taken:
            raise BadFixture(f"process {process['name']!r}: the name is taken")
        taken.add(process["name"])


def check_expect(expect: Json, fixture: Json) -> None:
    """Raises BadExpect when an expectation contradicts itself, its fixture, or the grammar of patterns."""
    try:
        _check_bounds(expect)
        names = {process["name"] for process in fixture.get("processes", ())}
        for name in expect.get("processes", {}):
            if name not in names:
                known = ", ".join(sorted(map(repr, names))) or "none"
                raise BadExpect(f"processes: the fixture has no process {name!r}, only: {known}")
        for where, pattern in _patterns(expect):
            _check_pattern(where, pattern)
    except (TypeError, KeyError, AttributeError) as error:
        raise BadExpect(f"expect is not in the form of docs/records.md ({error})") from error


def _check_bounds(expect: Json) -> None:
    bounds = [
        *(("counts", glob, wanted, "min", "max") for glob, wanted in expect.get("counts", {}).items()),
        *(("files", path, wanted, "min_size", "max_size") for path, wanted in expect.get("files", {}).items()),
    ]
    for key, name, wanted, least, most in bounds:
        if isinstance(wanted, dict) and least in wanted and wanted[least] > wanted.get(most, wanted[least]):
            raise BadExpect(f"{key}: {name}: {least} {wanted[least]} is more than {most} {wanted[most]}")


def _patterns(expect: Json) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = [(key, expect[key]) for key in ("stdout_regex", "stderr_regex") if key in expect]
    found += [(f"files: {path}: regex", f["regex"]) for path, f in expect.get("files", {}).items() if "regex" in f]
    checks = enumerate(expect.get("checks", ()))
    return found + [(f"checks: {n}: stdout_regex", c["stdout_regex"]) for n, c in checks if "stdout_regex" in c]


def _check_pattern(where: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadExpect(f"{where}: {pattern[:80]!r} is no pattern: {error}") from error
