"""`domains.yaml`: which domains and skills there are, how much of each, at which levels, and the brief for a teacher.

Both the generators and the curriculum read it, so its reader lives here. It holds no code and names no host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.nearest import did_you_mean
from frontier_core.resources import shipped

_KEYS = (
    "name",
    "skill",
    "levels",
    "weight",
    "brief",
    "tools",
    "safety_tags",
    "license",
    "fixture",
    "topics",
    "personas",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One line of the table: a domain, the skill that generates it, its levels and its prior weight.

    `weight` is relative; the priors of a file are normalised over all its (domain, level) cells. `fixture` is the world
    of its plans that bring none (validators/fixtures.py). `topics` and `personas` are what a teacher's tasks are told
    apart by: what they are about, and who asks.
    """

    name: str
    skill: str
    levels: tuple[int, ...]
    weight: float = 1.0
    brief: str = ""
    tools: tuple[str, ...] = ()
    safety_tags: tuple[str, ...] = ()
    license: str = ""
    fixture: dict[str, Any] = field(default_factory=dict, hash=False)
    topics: tuple[str, ...] = ()
    personas: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 1:
            raise ConfigError(f"domain {self.name!r}: levels must be a list of whole numbers from 1")
        if not self.weight > 0:
            raise ConfigError(f"domain {self.name!r}: weight must be above 0")


def load_domains(path: str | Path | None = None) -> list[Domain]:
    """Reads a domains file; without a path `./domains.yaml` when there is one, else the one that ships.

    Raises:
        UsageError: no such file.
        DataError: not YAML; names the line.
        ConfigError: an unknown key, a missing one, or a value out of range; names the domain.
    """
    import yaml  # 20 ms that only these commands pay

    file = Path(path) if path else (Path("domains.yaml") if Path("domains.yaml").exists() else shipped("domains.yaml"))
    try:
        document = _document(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{file}: no such file", hint="frontier ships a domains.yaml; leave --domains out") from error
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", path=str(file), code="invalid_utf8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        problem = getattr(error, "problem", None) or "can't be parsed"
        raise DataError(f"not valid YAML: {problem}", path=str(file), line=line, code="yaml") from error
    entries = document.get("domains") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{file}: needs a list under `domains:`", hint="see the domains.yaml that ships")
    for key in document:
        if key not in ("domains", "personas"):
            raise ConfigError(f"{file}: unknown key {key!r}", hint=did_you_mean(str(key), ("domains", "personas")))
    everybody = _texts(document, "personas", str(file))
    domains = [_domain(entry, everybody, f"{file}: domains[{index}]") for index, entry in enumerate(entries)]
    names = [domain.name for domain in domains]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{file}: domain {twice!r} is listed twice")
    return domains


def _document(text: str) -> Any:
    """Reads YAML by libyaml, ten times as fast, where it is there; what is wrong with a text the slow reader tells."""
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return yaml.safe_load(text)


def _domain(entry: Any, everybody: tuple[str, ...], where: str) -> Domain:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: is no mapping", hint="each domain has name, skill and levels")
    for key in entry:
        if key not in _KEYS:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(str(key), _KEYS))
    for key in ("name", "skill", "levels"):
        if key not in entry:
            raise ConfigError(f"{where}: {key!r} is missing")
    levels = entry["levels"]
    if not isinstance(levels, list) or not all(isinstance(level, int) for level in levels):
        raise ConfigError(f"{where}: levels must be a list of whole numbers")
    if not isinstance(entry.get("weight", 1.0), (int, float)):
        raise ConfigError(f"{where}: weight must be a number")
    if not isinstance(entry.get("fixture", {}), dict):
        raise ConfigError(f"{where}: fixture must be a mapping", hint="see docs/records.md, a plan's fixture")
    return Domain(
        name=str(entry["name"]),
        skill=str(entry["skill"]),
        levels=tuple(levels),
        weight=float(entry.get("weight", 1.0)),
        brief=str(entry.get("brief", "")),
        tools=tuple(map(str, entry.get("tools", ()))),
        safety_tags=tuple(map(str, entry.get("safety_tags", ()))),
        license=str(entry.get("license", "")),
        fixture=entry.get("fixture", {}),
        topics=_texts(entry, "topics", where),
        personas=_texts(entry, "personas", where) or everybody,
    )


def _texts(entry: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = entry.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
        raise ConfigError(f"{where}: {key} must be a list of texts")
    if len(set(values)) != len(values):
        raise ConfigError(f"{where}: {key}: {max(values, key=values.count)!r} is listed twice")
    return tuple(values)


def choose_domains(domains: Sequence[Domain], skills: Sequence[str]) -> list[Domain]:
    """Keeps the domains whose name or skill is asked for; none asked means all.

    `shell` stands for every shell domain. Raises ConfigError naming the nearest known name.
    """
    if not skills:
        return list(domains)
    known = {domain.name for domain in domains} | {domain.skill for domain in domains}
    chosen: list[Domain] = []
    for wanted in skills:
        found = [d for d in domains if wanted in (d.name, d.skill) or d.skill.startswith(f"{wanted}_")]
        if not found:
            raise ConfigError(f"unknown skill {wanted!r}", hint=did_you_mean(wanted, sorted(known)))
        chosen += [domain for domain in found if domain not in chosen]
    return chosen


def prior_weights(domains: Sequence[Domain]) -> dict[str, float]:
    """Gives the prior weight of each cell `skill=S,level=L`; they sum to 1, a domain's levels share its weight."""
    total = sum(domain.weight for domain in domains)
    return {
        f"skill={domain.skill},level={level}": domain.weight / total / len(domain.levels)
        for domain in domains
        for level in domain.levels
    }
