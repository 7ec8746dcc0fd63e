"""Where a stream begins: the files or lake that a profile draws from, and its first weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from frontier_core.stream_corpus import Corpus, DomainSpec, Part, base_name, file_parts
from frontier_core.stream_profile import StreamProfile


def open_parts(
    profile: StreamProfile, lake: str | Path | None, files: Sequence[str | Path] | None
) -> tuple[list[Part], dict[str, set[str]]]:
    """Opens what a profile draws from, and says which files belong to which domain."""
    patterns = list(files) if files is not None else list(profile.files)
    owners: dict[str, set[str]] = {}
    parts: dict[str, Part] = {}
    specs: list[DomainSpec] = [spec for spec in profile.selection.domains if spec.files is not None]
    for spec in specs:
        for file in file_parts(spec.files or ()):
            parts[str(Path(file.name).resolve())] = file
            owners.setdefault(spec.name, set()).add(file.digest)
    rest: list[Part] = []
    if lake is None and patterns:
        rest += list(file_parts(patterns))
    elif lake is not None or len(specs) < len(profile.selection.domains) or not profile.selection.domains:
        from frontier_core.lake import lake_parts

        rest += list(lake_parts(lake or profile.lake or os.environ.get("FRONTIER_LAKE") or "lake"))
    for part in rest:
        parts.setdefault(str(Path(part.name).resolve()), part)
    return list(parts.values()), owners


def first_weights(profile: StreamProfile, corpus: Corpus) -> dict[str, float]:
    """Gives the weights a profile begins with, by domain."""
    edges = profile.selection.length_edges
    if isinstance(profile.weights, dict):
        known = {base_name(domain.name, edges) for domain in corpus.domains} | set(corpus.empty)
        for name in profile.weights:
            if name not in known and profile.selection.domains:
                raise ConfigError(f"weight of unknown domain {name!r}", hint=did_you_mean(name, known))
        return {name: weight for name, weight in profile.weights.items() if name in known}
    sizes: dict[str, float] = {}
    for domain in corpus.domains:
        base = base_name(domain.name, edges)
        sizes[base] = sizes.get(base, 0.0) + domain.num
    return sizes if profile.weights == "proportional" else dict.fromkeys(sizes, 1.0)
