"""The quarantine file: each line that was held back, verbatim, with where it stood and why."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from frontier_core.records import Record


def reject_record(
    raw: bytes, *, path: str, line: int, code: str, message: str, pointer: str = "", remedy: str = "", **details: Any
) -> Record:
    """Gives one line of a rejects file.

    The rejected line's own text stands in `raw`, or in `raw_base64` when it is not UTF-8, so that nothing is lost.

    Args:
        raw: the line as it was read, without its newline.
        path: the file it came from.
        line: its number from 1.
        code: why, as a stable machine name.
        message: why, in words.
        pointer: JSON pointer of the offending value.
        remedy: what to do next.
        details: what was measured (exit code, output, ...); empty ones are left out.
    """
    record: Record = {"path": path, "line": line, "code": code, "pointer": pointer, "message": message}
    if remedy:
        record["remedy"] = remedy
    record |= {key: value for key, value in details.items() if value not in (None, "", [], {})}
    try:
        record["raw"] = raw.decode()
    except UnicodeDecodeError:
        record["raw_base64"] = b64encode(raw).decode()
    return record
