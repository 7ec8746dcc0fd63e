"""The report of a validation as SARIF 2.1.0, which code hosts and editors show beside the lines of the file.

One run, one rule per finding code, one result per finding; the JSON pointer is the logical location, the line the
physical one. Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from frontier_core.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

_PROPERTIES = ("level", "profile", "validators", "num_records", "num_rejected", "rejects")
_LEVELS = {"error": "error", "warning": "warning"}


def sarif_of(report: dict[str, Any]) -> dict[str, Any]:
    """Gives the SARIF log of a validation report (`validate --json`); all its findings, each a result."""
    entries = [*report["findings"], *report["file_findings"]]
    codes = sorted({entry["code"] for entry in entries})
    rules = [_rule(code, next(entry for entry in entries if entry["code"] == code)) for code in codes]
    address = _address(report["source"])
    driver: dict[str, Any] = {
        "name": "frontier validate",
        "version": __version__,
        "rules": rules,
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "artifacts": [{"location": {"uri": address}}],
                "results": [_result(entry, codes.index(entry["code"]), address) for entry in entries],
                "properties": {
                    key: report[key]
                    for key in ("level", "profile", "validators", "num_records", "num_rejected", "rejects")
                },
            }
        ],
    }


def _rule(code: str, entry: dict[str, Any]) -> dict[str, Any]:
    words = code.replace("_", " ")
    rule: dict[str, Any] = {
        "id": code,
        "shortDescription": {"text": words},
        "defaultConfiguration": {"level": _LEVELS[entry["severity"]]},
    }
    if remedy := entry.get("remedy"):
        rule["help"] = {"text": remedy}
    return rule


def _result(entry: dict[str, Any], index: int, address: str) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": address}}}
    if line := entry.get("line"):
        location["physicalLocation"]["region"] = {"startLine": line}
    if pointer := entry.get("pointer"):
        location["logicalLocations"] = [{"fullyQualifiedName": pointer, "kind": "value"}]
    remedy = f" ({entry['remedy']})" if entry.get("remedy") else ""
    return {
        "ruleId": entry["code"],
        "ruleIndex": index,
        "level": _LEVELS[entry["severity"]],
        "message": {"text": f"{entry['message']}{remedy}"},
        "locations": [location],
    }


def _address(source: str) -> str:
    """Gives a relative file as a URI reference, an absolute one as a file address."""
    if source == "-":
        return "stdin"
    path = Path(source)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
