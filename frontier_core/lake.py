"""A data lake in a folder: shards named by their content, and manifests that say which of them make the lake.

    LAKE/shards/SHA.jsonl.zst, SHA.idx    records and their index (lake_shard.py)
    LAKE/manifests/00000007.json          state 7 of the lake: its shards, and those retired with the reason
    LAKE/.lock                            held by the one writer

A state is there when its manifest is, and a manifest appears whole or not at all, last of all: whoever is killed
meanwhile leaves the state before. Readers take no lock; `LAKE@7` reads state 7 as long as `lake gc` has not dropped it.
Writing is lake_write.py's business.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from frontier_core.errors import DataError, UsageError
from frontier_core.index import KEYS, distinct_values
from frontier_core.index_where import Where
from frontier_core.jsonl import loads
from frontier_core.lake_shard import Shard, ShardPart, is_temp
from frontier_core.records import metadata_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = "frontier_lake_v1"
SHARDS, MANIFESTS, LOCK = "shards", "manifests", ".lock"
STAT_KEYS = (*KEYS, "skill", "level")
_MANIFEST = re.compile(r"(\d{8})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lake:
    """One state of a lake, as a manifest describes it; `retired` entries are shards with reason and consequences.

    `added` entries are the files that are in it line by line, {sha256, license, num_records}; a shard that is retired
    takes all of them along, since nobody knows which of their lines were in it.
    """

    path: Path
    generation: int = 0
    shards: list[Shard] = field(default_factory=list)
    retired: list[dict[str, Any]] = field(default_factory=list)
    added: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    def open(place: str | Path) -> Lake:
        """Opens a lake: `DIR` as it is now, `DIR@N` as it was in state N.

        Raises:
            UsageError: no such folder, one that is no lake, or no such state of it.
            DataError: a manifest that can't be read.
        """
        path, wanted = _split(str(place))
        if not path.is_dir():
            raise UsageError(f"{path}: no such lake", hint=f"make one with: frontier lake add FILE --lake {path}")
        refuse_foreign(path)
        states = generations(path)
        if wanted is None:
            return read_manifest(path, states[-1]) if states else Lake(path=path)
        if wanted not in states:
            known = ", ".join(map(str, states[-5:])) or "none"
            raise UsageError(f"{path}: has no state {wanted}", hint=f"the last there are: {known}")
        return read_manifest(path, wanted)

    @property
    def num_records(self) -> int:
        """Records in all shards."""
        return sum(shard.num_records for shard in self.shards)

    def parts(self) -> list[ShardPart]:
        """Opens every shard."""
        return [ShardPart(self.path / SHARDS, shard) for shard in self.shards]

    def part(self, shard: Shard) -> ShardPart:
        """Opens one shard."""
        return ShardPart(self.path / SHARDS, shard)

    def find(self, prefix: str) -> Shard:
        """Gives the shard whose name begins so; raises UsageError when none or several do."""
        found = [shard for shard in self.shards if prefix and shard.sha256.startswith(prefix.lower())]
        if len(found) != 1:
            why = f"{len(found)} shards begin so" if found else "no shard begins so"
            raise UsageError(f"{prefix}: {why}", hint="frontier lake ls lists them")
        return found[0]


def refuse_foreign(path: Path) -> None:
    """Raises UsageError when a folder holds other things, and no lake."""
    if not (path / MANIFESTS).is_dir() and any(item.name not in (SHARDS, LOCK) for item in path.iterdir()):
        raise UsageError(f"{path}: is a folder, but no lake", hint="name another with --lake")


def _split(place: str) -> tuple[Path, int | None]:
    name, sign, number = place.rpartition("@")
    if sign and number.isdecimal() and not Path(place).is_dir():
        return Path(name), int(number)
    return Path(place), None


def generations(path: Path) -> list[int]:
    """Gives the states of a lake that can be read, ascending."""
    try:
        names = [_MANIFEST.fullmatch(item.name) for item in (path / MANIFESTS).iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(name[1]) for name in names if name)


def manifest_path(path: Path, generation: int) -> Path:
    """Gives where a state's manifest lies."""
    return path / MANIFESTS / f"{generation:08d}.json"


def read_manifest(path: Path, generation: int) -> Lake:
    """Reads one state. Raises DataError when its manifest is none."""
    file = manifest_path(path, generation)
    try:
        document = orjson.loads(file.read_bytes())
        if document["schema"] != SCHEMA:
            raise ValueError(document["schema"])
        shards = [Shard(**entry) for entry in document["shards"]]
        added = document.get("added", [])
        return Lake(path=path, generation=generation, shards=shards, retired=document["retired"], added=added)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("is no manifest of a lake", path=str(file), code="manifest") from error


def lake_parts(place: str | Path) -> list[ShardPart]:
    """Opens the shards of a lake for a stream. Raises UsageError when there is no lake, or nothing in it."""
    lake = Lake.open(place)
    if not lake.shards:
        raise UsageError(f"{lake.path}: the lake is empty", hint="frontier lake add FILE...")
    return lake.parts()


# ---- asking ----------------------------------------------------------------------------------------------------------
def matching(part: ShardPart, where: Where) -> NDArray[Any] | None:
    """Gives the rows of a shard that pass a filter, ascending; None when all do."""
    import numpy as np

    def fetch(rows: Any) -> list[dict[str, Any]]:
        return [metadata_of(loads(line)) for line in part.lines(rows)]

    mask = where.mask(part.columns(), part.lengths, fetch)
    return None if mask is None or mask.all() else np.flatnonzero(mask)


def query(lake: Lake, where: Where, *, limit: int | None = None) -> Iterator[tuple[ShardPart, int, bytes]]:
    """Yields shard, row and line of each record that passes, in the order of the lake; one shard is open at a time."""
    import numpy as np

    left = lake.num_records if limit is None else limit
    for shard in lake.shards:
        if left <= 0:
            return
        part = lake.part(shard)
        rows = matching(part, where)
        chosen = (np.arange(shard.num_records) if rows is None else rows)[:left]
        left -= chosen.size
        for row, line in zip(chosen.tolist(), part.lines(chosen), strict=True):
            yield part, row, line


def count(lake: Lake, where: Where) -> int:
    """Gives how many records pass, without reading them."""
    total = 0
    for shard in lake.shards:
        rows = matching(lake.part(shard), where)
        total += shard.num_records if rows is None else rows.size
    return total


def stats(lake: Lake, where: Where, *, keys: tuple[str, ...] = STAT_KEYS, top: int = 20) -> dict[str, Any]:
    """Counts the records that pass by the values of keys.

    Returns:
        {num_records, text_bytes, num_bytes, num_shards, generation, licenses, keys: {key: {value: count}}}: the `top`
        commonest values of each, texts as they are and other values as JSON; `(wide)` stands for a key with too many.
    """
    import numpy as np

    counts: dict[str, Counter[str]] = {key: Counter() for key in dict.fromkeys(keys)}
    num = text_bytes = 0
    for shard in lake.shards:
        part = lake.part(shard)
        rows = matching(part, where)
        columns = part.columns()
        if rows is not None:
            columns = columns.take(rows)
        num += columns.num
        text_bytes += int(np.sum(part.lengths if rows is None else part.lengths[rows], dtype=np.int64)) + columns.num
        for key, counter in counts.items():
            if key in columns.wide:
                counter["(wide)"] += columns.num
            for value, times in distinct_values(columns, key):
                if times:
                    counter[value if isinstance(value, str) else orjson.dumps(value).decode()] += times
    return {
        "generation": lake.generation,
        "num_shards": len(lake.shards),
        "num_records": num,
        "text_bytes": text_bytes,
        "num_bytes": sum(shard.num_bytes for shard in lake.shards),
        "keys": {key: dict(counter.most_common(top)) for key, counter in counts.items()},
        "missing": {key: num - counter.total() for key, counter in counts.items()},
    }


# ---- checking --------------------------------------------------------------------------------------------------------
@dataclass(slots=True, kw_only=True)
class Health:
    """What `verify` found: problems make a lake unwell, leftovers of killed writers do not."""

    generation: int = 0
    num_shards: int = 0
    num_records: int = 0
    problems: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def verify(place: str | Path, *, deep: bool = False, on_shard: Callable[[int], None] | None = None) -> Health:
    """Compares every file of a lake with its manifest.

    Args:
        place: the lake.
        deep: also unpack every record and compare its hash.
        on_shard: told how many shards are done.
    """
    lake = Lake.open(place)
    health = Health(generation=lake.generation, num_shards=len(lake.shards), num_records=lake.num_records)
    for number, shard in enumerate(lake.shards, 1):
        try:
            problem = lake.part(shard).damage(deep=deep)
        except DataError as error:
            problem = error.problem
        if problem:
            health.problems.append(f"{shard.sha256[:12]}: {problem}")
        if on_shard:
            on_shard(number)
    health.leftovers = leftovers(lake)
    return health


def leftovers(lake: Lake) -> list[str]:
    """Gives files in a lake that its current state does not need: of killed writers, merged or retired shards."""
    needed = {name for shard in lake.shards for name in (shard.file_name, shard.index_name)}
    found = []
    for folder in (SHARDS, MANIFESTS):
        place = lake.path / folder
        for item in sorted(place.iterdir()) if place.is_dir() else ():
            is_known = item.name in needed if folder == SHARDS else _MANIFEST.fullmatch(item.name) is not None
            if is_temp(item.name) or not is_known:
                found.append(f"{folder}/{item.name}")
    return found
