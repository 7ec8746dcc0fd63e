"""Sidecars under a folder, summed up: which generator fails at which validator; and who is registered at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from frontier_core.errors import DataError, UsageError
from frontier_core.lineage import Link, chain, read_sidecar
from frontier_core.lineage_tracker import run_of, summary_of

SUFFIX = ".meta.json"


def registered() -> dict[str, dict[str, str]]:
    """Gives the version of every generator and validator that is installed, by name; "" where its library is absent."""
    from generators.table import GENERATORS
    from validators import content_gate, execution_gate, schema_gate
    from validators.skills.table import VERIFIERS

    generators: dict[str, str] = {}
    for name in GENERATORS.names():
        try:
            generator = GENERATORS.get(name)
        except ImportError:
            generators[name] = ""
            continue
        generators[generator.generator_id] = generator.generator_version
    gates = (schema_gate, content_gate, execution_gate)
    validators = {gate.VALIDATOR_NAME: gate.VALIDATOR_VERSION for gate in gates}
    validators |= {f"verifier:{name}": execution_gate.VALIDATOR_VERSION for name in VERIFIERS.names()}
    return {"generators": generators, "validators": validators}


def sidecars_under(places: Iterable[Path]) -> Iterator[Path]:
    """Yields the data files and folders with a sidecar, under folders or named, in order; hidden ones are left out.

    Raises:
        UsageError: a place is neither a folder nor a file with a sidecar.
    """
    for place in places:
        if place.name.endswith(SUFFIX):
            place = place.with_name(place.name.removesuffix(SUFFIX))
        if place.name and place.with_name(place.name + SUFFIX).exists():
            yield place
        elif not place.is_dir():
            raise UsageError(f"{place}: no such file, or without a sidecar", hint="name a file that frontier wrote")
        else:
            yield from _below(place)


def _below(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        for name in sorted(names):
            if name.endswith(SUFFIX) and not name.startswith("."):
                yield Path(at, name.removesuffix(SUFFIX))


def report(places: Sequence[Path]) -> dict[str, Any]:
    """Gives totals, rates, reasons and worst offenders over all sidecars, and generators nobody registered."""
    runs, unreadable = [], []
    num = 0
    for data in sidecars_under(places):
        try:
            meta = read_sidecar(data)
        except DataError as error:
            unreadable.append(str(error))
            continue
        num += 1
        run = run_of(meta or {})
        if run is not None:
            runs.append(run)
    summed = summary_of(runs)
    known = registered()
    strangers = []
    for name in summed["generators"]:
        identity, _, version = name.partition("@")
        installed = known["generators"].get(identity)
        if installed is None:
            strangers.append({"name": name, "installed": ""})
        elif version and version != installed:
            strangers.append({"name": name, "installed": installed})
    return {
        "schema": "lineage_report_v1", "sidecars": num, "judged_files": len(runs), **summed,
        "unregistered": strangers, "unreadable": unreadable, "registered": known,
    }  # fmt: skip


def verify(places: Sequence[Path], *, rehash: bool = False) -> Iterator[Link]:
    """Yields every file of every chain under the places, each once, with whether it holds.

    A file that nothing was made from yet is judged by its own sidecar; one that others read, by what they saw as well,
    so a link that does not hold for any of its users is yielded as that.
    """
    found: dict[Path, Link] = {}
    for data in sidecars_under(places):
        for link in chain(data, rehash=rehash and data.resolve() not in found):
            key = link.path.resolve()
            if key not in found or (found[key].holds and not link.holds):
                found[key] = link
    yield from found.values()
