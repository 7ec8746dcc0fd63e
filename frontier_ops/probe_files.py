"""A golden probe as it stands in a file or a manifest: read and checked. Making and asking one is probe.py."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import DataError
from frontier_core.records import Record

SCHEMA = "golden_probe_v1"
PROBE_FILE = "probe.json"
_KEYS = ("messages", "max_tokens", "prompt_ids", "ids", "text", "tokens", "logprobs", "margins")


def read_probe(value: Any, place: str = "") -> Record:
    """Gives a probe as it was read, or raises DataError when it is none."""
    cases = value.get("cases") if isinstance(value, dict) and value.get("schema") == SCHEMA else None
    if not cases or not all(isinstance(case, dict) and all(key in case for key in _KEYS) for case in cases):
        raise DataError(f"is no golden probe of schema {SCHEMA}", path=place, code="probe")
    probe: Record = value
    return probe


def probe_beside(folder: Path) -> Record | None:
    """Gives the probe that was exported with a model folder, None when there is none; DataError when it is broken."""
    path = folder / PROBE_FILE
    if not path.is_file():
        return None
    try:
        return read_probe(orjson.loads(path.read_bytes()), str(path))
    except ValueError as error:
        raise DataError("not valid JSON", path=str(path), code="probe") from error


def template_digest(folder: Path) -> str:
    """Gives the sha256 of a model folder's chat template, "" when it has none.

    A file chat_template.jinja goes before what tokenizer_config.json holds, as transformers has it.
    """
    file, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    try:
        if file.is_file():
            template: Any = file.read_text(encoding="utf-8")
        else:
            template = orjson.loads(config.read_bytes()).get("chat_template") if config.is_file() else None
    except (ValueError, AttributeError) as error:
        raise DataError("holds no chat template that can be read", path=str(folder), code="probe") from error
    text = template if isinstance(template, str) else orjson.dumps(template).decode() if template else ""
    return sha256(text.encode()).hexdigest() if text else ""


def check_template(folder: Path, probe: Record) -> None:
    """Raises DataError when the folder's chat template is not the one its probe was made with.

    The probe's prompts use a part of a template only: what it makes of tools or of an empty turn is not asked.
    """
    made_with = probe.get("template_sha256", "")
    if made_with and made_with != template_digest(folder):
        message = "the chat template is not the one its golden probe was made with"
        hint = f"put the template back, or remove {PROBE_FILE} if the change is meant"
        raise DataError(message, path=str(folder), code="probe", hint=hint)
