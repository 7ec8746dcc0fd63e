"""Stream profiles: YAML files that say what is mixed, in which shares, and what is left out.

name: my_mix
files: [data/*.jsonl]          # or `lake: DIR`; neither: $FRONTIER_LAKE, else ./lake
where: "NOT safety_tags"       # only these records
by: [skill, level]             # one domain for each value, named like telemetry's tags: skill=binary,level=2
domains:                       # or described one by one; a record belongs to the first that fits
  - {name: web, where: "domain = web", weight: 0.4}
  - {name: code, files: [code/*.jsonl], weight: 0.6, epochs: 4}
weights: proportional          # or uniform, or {name: weight}
policy: policy.jsonl           # of `frontier reweight`, picked up at block borders, as often as it changes
lengths: {edges_bytes: [2048, 8192], weights: [0.6, 0.3, 0.1]}
epochs: 2                      # most passes over any domain; none: no end
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.index_where import Where
from frontier_core.nearest import did_you_mean
from frontier_core.resources import shipped
from frontier_core.stream_corpus import DomainSpec, Selection
from frontier_core.stream_weights import check_weights

FOLDER = "config/streams"
_KEYS = (
    "name", "description", "files", "lake", "where", "by", "domains", "weights", "policy", "lengths", "epochs",
)  # fmt: skip
_DOMAIN_KEYS = ("name", "files", "where", "weight", "epochs")
_RULES = ("proportional", "uniform")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProfile:
    """A checked profile. `weights` is a rule's name or weights by domain; `policy` a path, "" for none."""

    name: str
    selection: Selection
    weights: str | dict[str, float] = "proportional"
    files: tuple[str, ...] = ()
    lake: str = ""
    policy: str = ""
    length_weights: tuple[float, ...] = ()
    description: str = ""


def profile_names() -> list[str]:
    """Gives the names of the profiles that ship."""
    return sorted(path.stem for path in shipped(FOLDER).glob("*.yaml"))


def load_profile(name: str | Path) -> StreamProfile:
    """Reads a profile: a path that ends in .yaml, or a name in ./config/streams, then among those that ship.

    Raises:
        UsageError: no such file.
        DataError: not YAML; names the line.
        ConfigError: no such profile, an unknown key or a value out of range; names the nearest.
    """
    import yaml  # 20 ms that only profiles cost

    path = profile_path(str(name))
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file", hint="profiles that ship: " + ", ".join(profile_names())) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        raise DataError(f"not valid YAML: {str(error).splitlines()[0]}", path=str(path), line=line) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: is no mapping", hint="see docs/streams.md")
    return parse_profile(document, str(path))


def profile_path(name: str) -> Path:
    """Gives the file of a profile; raises ConfigError when a bare name stands for none."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    own = Path(FOLDER) / f"{name}.yaml"
    if own.is_file():
        return own
    if name not in profile_names():
        raise ConfigError(f"unknown profile {name!r}", hint=did_you_mean(name, profile_names()))
    return shipped(f"{FOLDER}/{name}.yaml")


def parse_profile(document: dict[str, Any], where: str) -> StreamProfile:
    """Checks a profile that was read; `where` names it in messages."""
    _known(document, _KEYS, where)
    by, entries = document.get("by"), document.get("domains")
    if (by is None) == (entries is None):
        raise ConfigError(f"{where}: needs either `by` or `domains`", hint="by: [skill, level]")
    edges, length_weights = _lengths(document.get("lengths"), where)
    specs = tuple(_domain(entry, f"{where}: domains[{place}]") for place, entry in enumerate(entries or ()))
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: a domain is listed twice")
    selection = Selection(
        where=_filter(document.get("where", ""), f"{where}: where"),
        by=_texts(by, f"{where}: by") if by is not None else (),
        domains=specs,
        epochs=_epochs(document.get("epochs"), f"{where}: epochs"),
        length_edges=edges,
    )
    return StreamProfile(
        name=_text(document.get("name", "unnamed"), f"{where}: name"),
        description=_text(document.get("description", ""), f"{where}: description"),
        selection=selection,
        weights=_weights(document, where),
        files=_texts(document.get("files", []), f"{where}: files"),
        lake=_text(document.get("lake", ""), f"{where}: lake"),
        policy=_text(document.get("policy", ""), f"{where}: policy"),
        length_weights=length_weights,
    )


def _known(mapping: dict[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in mapping:
        if key not in keys:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(str(key), keys))


def _domain(entry: Any, where: str) -> DomainSpec:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
        raise ConfigError(f"{where}: needs a name", hint="like {name: web, where: 'domain = web', weight: 0.4}")
    _known(entry, _DOMAIN_KEYS, where)
    return DomainSpec(
        name=entry["name"],
        files=_texts(entry["files"], f"{where}: files") if "files" in entry else None,
        where=_filter(entry.get("where", ""), f"{where}: where"),
        epochs=_epochs(entry.get("epochs"), f"{where}: epochs"),
    )


def _weights(document: dict[str, Any], where: str) -> str | dict[str, float]:
    weights = document.get("weights")
    inside = {entry["name"]: entry["weight"] for entry in document.get("domains") or () if "weight" in entry}
    if inside and weights is not None:
        raise ConfigError(f"{where}: weights stand in `domains` already", hint="give them in one place")
    if inside:
        return check_weights(inside)
    if isinstance(weights, dict):
        return check_weights({str(name): value for name, value in weights.items()})
    if weights is not None and weights not in _RULES:
        raise ConfigError(f"{where}: weights: unknown rule {weights!r}", hint=did_you_mean(str(weights), _RULES))
    return str(weights or "proportional")


def _lengths(value: Any, where: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    if value is None:
        return (), ()
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: lengths must be a mapping", hint="lengths: {edges_bytes: [2048, 8192]}")
    _known(value, ("edges_bytes", "weights"), f"{where}: lengths")
    edges, weights = value.get("edges_bytes"), value.get("weights", [])
    whole = isinstance(edges, list) and all(isinstance(edge, int) and edge > 0 for edge in edges)
    if not whole or not edges or sorted(set(edges)) != edges:
        raise ConfigError(f"{where}: lengths: edges_bytes must be whole numbers that grow")
    return tuple(edges), check_length_weights(weights, len(edges) + 1, f"{where}: lengths")


def check_length_weights(weights: Any, num: int, where: str) -> tuple[float, ...]:
    """Gives length weights, one a bucket or none at all; raises ConfigError."""
    if not isinstance(weights, (list, tuple)) or len(weights) not in (0, num):
        raise ConfigError(f"{where}: needs {num} weights, one more than edges")
    if not weights:
        return ()
    return tuple(check_weights({f"bucket {place}": weight for place, weight in enumerate(weights)}).values())


def _filter(value: Any, where: str) -> str:
    text = _text(value, where)
    try:
        Where(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error
    return text


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: must be a text")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) and item for item in values):
        raise ConfigError(f"{where}: must be a list of texts")
    return tuple(values)


def _epochs(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise ConfigError(f"{where}: must be a number above 0")
    return float(value)
