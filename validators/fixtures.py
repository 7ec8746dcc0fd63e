"""Which world a plan gets: its record's own, a pack of its domain, or one derived from the plan's own paths.

A record's `fixture` may ask for both of the others: `pack: NAME` puts the pack of that domain below its own keys, and
`auto: true` makes what the plan reads and nothing else provides. A record without `fixture` gets the pack of its domain
where there is one, and a derived world where that is switched on. Own keys win, path by path; a pack fills in what is
absent, and derivation what both leave open. Which paths a plan reads is plan_paths.py, what they hold plausible.py; the
world itself is made inside the sandbox, by sandbox/prepare.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from frontier_core.domains import Domain
from frontier_core.errors import ConfigError, FrontierError
from frontier_core.nearest import did_you_mean
from frontier_core.records import Record, metadata_of
from validators.plans import domain_slug, plan_commands

Json = dict[str, Any]


class BadPack(FrontierError):
    """A record asks for a fixture pack that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixtures:
    """Where worlds come from beside the records themselves.

    `packs`: domain -> fixture. `is_auto`: a record without a fixture gets a derived one.
    """

    KEYS: ClassVar[tuple[str, ...]] = ("pack", "auto")
    packs: Mapping[str, Json] = field(default_factory=dict)
    is_auto: bool = False

    @classmethod
    def of_domains(cls, domains: Sequence[Domain], *, is_auto: bool = False) -> Fixtures:
        """Gives the packs of a domains file (`fixture:` under a domain), by domain; `check` says whether they hold."""
        return cls(packs={domain.name: domain.fixture for domain in domains if domain.fixture}, is_auto=is_auto)

    def check(self) -> None:
        """Raises ConfigError when a pack is no fixture as docs/records.md says; names the domain and the place."""
        for name, pack in self.packs.items():
            _check(name, pack)

    def prepare(self, record: Record, commands: Sequence[str] | None = None) -> Record:
        """Gives the plan_v1 record with the world it is judged in; the record as it is when that is its own.

        What came from elsewhere is marked: `fixture.pack`, `fixture.auto`, and `metadata.fixture` in words. Preparing a
        prepared record changes nothing.

        Args:
            record: in plan_v1 form (plans.as_plan).
            commands: derive from these instead of the record's own plan.
        Raises:
            BadPack: the record names a pack that there is not.
        """
        own = record.get("fixture")
        if own is not None and not (isinstance(own, dict) and (own.get("pack") or own.get("auto"))):
            return record
        fixture = dict(own or {})
        name = self._pack_of(record, fixture)
        if name:
            fixture = merge(fixture, self.packs[name]) | {"pack": name}
        if fixture.get("auto") or (own is None and self.is_auto):
            fixture = self._derived(record, fixture, commands)
        if not fixture:
            return record
        made = {**record, "fixture": fixture}
        made["metadata"] = {**metadata_of(record), "fixture": self.mark_of(made)}
        return made

    def _pack_of(self, record: Record, fixture: Json) -> str:
        asked = fixture.get("pack")
        if asked is None:
            name = domain_slug(metadata_of(record).get("domain"))
            return name if "fixture" not in record and name in self.packs else ""
        if asked not in self.packs:
            known = did_you_mean(str(asked), sorted(self.packs))
            raise BadPack(f"there is no fixture pack {asked!r}", hint=known)
        return str(asked)

    def _derived(self, record: Record, fixture: Json, commands: Sequence[str] | None) -> Json:
        from validators.plan_paths import read_paths
        from validators.plausible import world_of

        plan = list(commands) if commands is not None else plan_commands(record)
        derived = world_of(read_paths(plan), fixture)
        return merge(fixture, derived) | {"auto": True}

    @staticmethod
    def mark_of(record: Record) -> str:
        """Says where a prepared record's world came from: `own`, `none`, `pack:NAME`, `auto` or `pack:NAME+auto`."""
        fixture = record.get("fixture")
        if not isinstance(fixture, dict):
            return "none"
        marks = [f"pack:{fixture['pack']}"] if fixture.get("pack") else []
        return "+".join(marks + (["auto"] if fixture.get("auto") else [])) or "own"


def merge(own: Json, below: Json) -> Json:
    """Gives a fixture with what `below` has and `own` has not: by path or name in mappings, whole keys otherwise.

    A path of `below` is left out when `own` has the same path in any form, as a file where `below` has a folder.
    """
    taken = {path.rstrip("/") for key in ("files", "dirs", "symlinks", "repos") for path in own.get(key) or {}}
    made = dict(own)
    for key, value in below.items():
        if key in ("files", "dirs", "symlinks", "repos"):
            added = {path: wanted for path, wanted in value.items() if path.rstrip("/") not in taken}
            if added or key in own:
                made[key] = {**added, **(own.get(key) or {})}
        elif isinstance(value, dict):
            made[key] = {**value, **(own.get(key) or {})}
        else:
            made.setdefault(key, value)
    return made


def _check(name: str, pack: Json) -> None:
    from validators.schema_gate import SchemaGate

    probe = {"instruction": "-", "output": [{"command": "-"}], "fixture": pack, "metadata": {"skill": "-"}}
    found = SchemaGate().check(probe)[1]
    if found:
        raise ConfigError(
            f"domain {name!r}: {found[0].pointer or '/fixture'}: {found[0].message}", hint="docs/records.md"
        )
