"""Which files of a checkpoint a release ships, and whether they are whole: read-only checks before anything is written.

Ships by allow-list: weights as safetensors, the config and the tokenizer. Optimizer state and pickles never leave the
training machine. Does not load the model: a header that agrees with the file's size is as far as this looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from struct import unpack
from typing import Any

import orjson

from frontier_core.atomic import sha256_file
from frontier_core.errors import DataError, UsageError

SHIPPED = re.compile(
    r"config\.json|generation_config\.json|model.*\.safetensors|model.*\.safetensors\.index\.json"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.json|vocab\.txt"
    r"|merges\.txt|tokenizer\.model|spiece\.model|.+\.tiktoken|chat_template\.jinja|chat_template\.json"
    r"|(LICENSE|NOTICE)(\.(md|txt))?"
)
"""File names a release takes along; every other file of the checkpoint stays behind."""

HEADER_LIMIT_BYTES = 100_000_000
"""Longest safetensors header that is read. Source: the safetensors format's own limit."""

ADAPTER_CONFIG = "adapter_config.json"
BASE_FOLDER = "base"
_ADAPTER = re.compile(r"adapter_config\.json|adapter_model\.safetensors")
_TOKENIZER_PART = re.compile(r"tokenizer|special_tokens|added_tokens|vocab|merges|spiece|chat_template|.+\.tiktoken")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """What identifies one file of a release: its content's digest and its size."""

    sha256: str
    num_bytes: int

    def to_record(self) -> dict[str, Any]:
        """Gives the entry as it stands in a manifest."""
        return {"sha256": self.sha256, "bytes": self.num_bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """A checkpoint that may be shipped: the files to take, by name, and the names that stay behind."""

    folder: Path
    files: dict[str, FileEntry]
    left_out: tuple[str, ...]
    base: Path | None = None
    """The folder an adapter's base model is in; its files stand under `base/` in the release."""

    def path_of(self, name: str) -> Path:
        """Gives where the file of that name in the release is read from."""
        if self.base is not None and (name.startswith(f"{BASE_FOLDER}/") or not (self.folder / name).exists()):
            return self.base / name.removeprefix(f"{BASE_FOLDER}/")
        return self.folder / name


def inspect_checkpoint(folder: Path, base: Path | None = None) -> CheckpointFiles:
    """Hashes what a release would ship and refuses a checkpoint that can't be one.

    An adapter (adapter_config.json, adapter_model.safetensors) takes its base model along, under `base/`: the release
    stands alone, and the base's blobs are shipped once however many adapters there are.

    Args:
        folder: a transformers directory: config.json, model*.safetensors, a tokenizer; perhaps a manifest.json of
            the form {"files": {name: {"sha256", "bytes"}}}, which must agree.
        base: the model an adapter belongs to; None takes the one its config names.
    Raises:
        UsageError: there is no such folder, or it is no transformers directory; the hint says what is missing.
        DataError: a file is broken: torn weights, a shard missing, not the bytes its own manifest promises.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such checkpoint folder", hint="name a folder that holds config.json")
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file():
        return _inspect_adapter(folder, base)
    names = sorted(item.name for item in folder.iterdir())
    wanted = [name for name in names if SHIPPED.fullmatch(name) and (folder / name).is_file()]
    _check_kind(folder, names)
    _check_config(folder / "config.json")
    for name in wanted:
        if name.endswith(".safetensors"):
            check_safetensors(folder / name)
        elif name.endswith(".safetensors.index.json"):
            _check_shards(folder / name)
    files = {
        name: FileEntry(sha256=sha256_file(folder / name), num_bytes=(folder / name).stat().st_size) for name in wanted
    }
    _check_own_manifest(folder, files)
    return CheckpointFiles(folder=folder, files=files, left_out=tuple(name for name in names if name not in files))


def _inspect_adapter(folder: Path, base: Path | None) -> CheckpointFiles:
    named = read_json_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if base is None:
        base = Path(str(named or ""))
        base = base if base.is_absolute() else next((at for at in (folder / base, base) if at.is_dir()), base)
    if not named or not base.is_dir():
        raise UsageError(
            f"{folder}: is an adapter whose base model {str(named or '')!r} is not here",
            hint="name its folder: frontier deploy ADAPTER --base DIR",
        )
    whole = inspect_checkpoint(base)
    names = sorted(item.name for item in folder.iterdir())
    wanted = [name for name in names if _ADAPTER.fullmatch(name) or (SHIPPED.fullmatch(name) and name[0] != "m")]
    if "adapter_model.safetensors" not in wanted:
        raise UsageError(f"{folder}: holds no adapter_model.safetensors", hint="save the adapter as safetensors")
    check_safetensors(folder / "adapter_model.safetensors")
    own = {
        name: FileEntry(sha256=sha256_file(folder / name), num_bytes=(folder / name).stat().st_size) for name in wanted
    }
    _check_own_manifest(folder, own)
    # A tokenizer saved with the adapter is the one it was trained with; else the base's serves.
    has_tokenizer = any(name in _TOKENIZERS for name in own)
    shared = {
        name: entry for name, entry in whole.files.items() if _TOKENIZER_PART.match(name) and not has_tokenizer
    }  # fmt: skip
    files = {**own, **{f"{BASE_FOLDER}/{name}": entry for name, entry in whole.files.items()}}
    for name, entry in shared.items():
        files.setdefault(name, entry)
    left_out = tuple(name for name in names if name not in own)
    return CheckpointFiles(folder=folder, files=files, left_out=left_out, base=whole.folder)


def _check_kind(folder: Path, names: list[str]) -> None:
    if "config.json" not in names:
        hint = "name a checkpoint folder, e.g. RUN_DIR/checkpoint-100"
        raise UsageError(f"{folder}: holds no config.json, so it is no model", hint=hint)
    if not any(SHIPPED.fullmatch(name) and name.endswith(".safetensors") for name in names):
        raise UsageError(
            f"{folder}: holds no model*.safetensors",
            hint="save the weights as safetensors; pickled ones are not shipped",
        )
    if not any(name in _TOKENIZERS for name in names):
        raise UsageError(f"{folder}: holds no tokenizer", hint="save the tokenizer into the same folder")


def _check_config(path: Path) -> None:
    config = read_json_object(path)
    if not isinstance(config.get("model_type"), str):
        raise DataError("names no model_type", path=str(path), pointer="/model_type", code="config")
    if "auto_map" in config:
        raise DataError(
            "asks for custom code, which a release never runs", path=str(path), pointer="/auto_map", code="config"
        )


def check_safetensors(path: Path) -> None:
    """Raises DataError when a safetensors file is torn: its header must be whole and end where the file ends."""

    def refuse(problem: str) -> DataError:
        hint = "was it still being written? take the last committed checkpoint"
        return DataError(problem, path=str(path), code="safetensors", hint=hint)

    size = path.stat().st_size
    with path.open("rb") as file:
        opening = file.read(8)
        length = unpack("<Q", opening)[0] if len(opening) == 8 else 0
        if not 2 <= length <= HEADER_LIMIT_BYTES or 8 + length > size:
            raise refuse(f"the weights are cut off or no safetensors ({size} bytes)")
        raw = file.read(length)
    try:
        header = orjson.loads(raw)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise refuse("the safetensors header can't be read") from error
    if not ends:
        raise refuse("the file holds no tensors")
    expected = 8 + length + max(ends)
    if expected != size:
        raise refuse(f"the weights are cut off: {size} bytes where the header promises {expected}")


def _check_shards(index: Path) -> None:
    shards = read_json_object(index).get("weight_map")
    if not isinstance(shards, dict):
        raise DataError("names no shards", path=str(index), pointer="/weight_map", code="shards")
    for name in sorted(set(map(str, shards.values()))):
        if not SHIPPED.fullmatch(name) or not (index.parent / name).is_file():
            raise DataError(f"the shard {name} is missing", path=str(index), pointer="/weight_map", code="shards")


def _check_own_manifest(folder: Path, files: dict[str, FileEntry]) -> None:
    path = folder / "manifest.json"
    if not path.is_file():
        return
    listed = read_json_object(path).get("files")
    if not isinstance(listed, dict):
        raise DataError("lists no files", path=str(path), pointer="/files", code="manifest")
    for name, claim in listed.items():
        if not (SHIPPED.fullmatch(name) or (_ADAPTER.fullmatch(name) and name in files)):
            continue
        if name not in files:
            raise DataError(f"{name} is listed but missing", path=str(path), pointer="/files", code="manifest")
        if not isinstance(claim, dict) or claim.get("sha256") != files[name].sha256:
            raise DataError(
                f"{name} is not the file that was saved (sha256 differs)", path=str(path), pointer=f"/files/{name}",
                code="manifest", hint="take another checkpoint, or save this one again",
            )  # fmt: skip
    for name in files:
        if name not in listed:
            raise DataError(f"{name} is not listed", path=str(path), pointer="/files", code="manifest")


def read_json_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file; DataError names the file when it holds none."""
    try:
        value = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise DataError("not valid JSON", path=str(path), code="json") from error
    if not isinstance(value, dict):
        raise DataError("is not a JSON object", path=str(path), code="json")
    return value
