"""Deterministic weighted streams of training batches, and where a run's telemetry goes: the public API.

    from frontier_core.stream import get_stream, submit_telemetry
    stream = get_stream(profile="frontier_core_v0", batch_size=32, seed=7)
    for batch in stream: ...                       # lists of records, without end unless the profile has one
    submit_telemetry({"run_id": "a", "metrics": {"loss": 1.2}, "tag_stats": {"skill=binary,level=1": {"loss": 0.9}}})

The order is a pure function of (seed, corpus, weight log, global position). So `stream.batch(i)` is batch i in any
process, a state is a position and three digests, and ranks cut the same global batches whatever their number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from frontier_core.allocation import read_policy, weights_of
from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.nearest import did_you_mean
from frontier_core.records import Record
from frontier_core.stream_corpus import Corpus, base_name, bucket_label, build_corpus
from frontier_core.stream_counts import BLOCK, whole_weights
from frontier_core.stream_order import BlockPlan, Order
from frontier_core.stream_profile import StreamProfile, check_length_weights, load_profile, parse_profile
from frontier_core.stream_sources import first_weights, open_parts
from frontier_core.stream_telemetry import submit_telemetry
from frontier_core.stream_weights import WeightLog, check_weights

__all__ = ["BLOCK", "Stream", "get_stream", "submit_telemetry"]

STATE_VERSION = 1
_KEPT_BLOCKS = 4
_LEAD_BATCHES = 8


def get_stream(
    profile: str | Path | StreamProfile = "frontier_core_v0",
    batch_size: int = 1,
    seed: int = 0,
    *,
    lake: str | Path | None = None,
    files: Sequence[str | Path] | None = None,
    log: str | Path | None = None,
    policy: str | Path | None = None,
    num_samples: int | None = None,
) -> Stream:
    """Opens a stream of training batches.

    Args:
        profile: a name among `config/streams`, a YAML file, or a profile.
        batch_size: records in a global batch.
        seed: of the order; same seed, same bytes.
        lake: where the data is, instead of what the profile says; `DIR@N` for an earlier state of it.
        files: JSON Lines files or patterns, instead of a lake.
        log: file of the weight log, shared by all processes of a run; in memory when left out.
        policy: a policy file to begin with and to follow, instead of the profile's.
        num_samples: where `len` and indexing end; one pass over the corpus by default.
    Raises:
        UsageError: no such profile, lake or file.
        ConfigError: a profile or policy that can't be followed.
        DataError: data that can't be read, or none that the profile wants.
    """
    return Stream.from_profile(
        profile,
        batch_size=batch_size,
        seed=seed,
        lake=lake,
        files=files,
        log=log,
        policy=policy,
        num_samples=num_samples,
    )


class Stream:
    """A stream of batches: iterate it, index it by position, or ask for batch i.

    Made by `get_stream`, `Stream.from_profile` or `Stream.from_files`. Iterating begins at `position`, a global count
    of samples, and moves it. `notes` holds remarks for the user. Streams can be pickled: a worker opens the files.
    """

    def __init__(
        self,
        corpus: Corpus,
        weights: Mapping[str, float],
        *,
        batch_size: int,
        seed: int,
        log: str | Path | None = None,
        length_edges: Sequence[int] = (),
        length_weights: Sequence[float] = (),
        source: str = "profile",
        num_samples: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size {batch_size} is not above 0")
        self.corpus = corpus
        self.batch_size = batch_size
        self.seed = seed
        self.names = [domain.name for domain in corpus.domains]
        self.sizes = {domain.name: domain.num for domain in corpus.domains}
        self.num_samples = corpus.num if num_samples is None else num_samples
        self.notes: list[str] = []
        self.rank, self.world = 0, 1
        self.position = 0
        self._high = -1
        self._edges = tuple(length_edges)
        self._length_weights = tuple(length_weights)
        self._policy: Path | None = None
        self._policy_seen: tuple[int, ...] = ()
        self._recipe: tuple[str, dict[str, Any]] | None = None
        self._kept: dict[int, tuple[BlockPlan, list[int], list[int], list[int]]] = {}
        limits = [domain.limit for domain in corpus.domains]
        self._order = Order(seed, self.names, [domain.num for domain in corpus.domains], limits)
        self._log = WeightLog(Path(log) if log is not None else None)
        self._is_continued = bool(self._log.entries)
        if not self._log.entries or source == "profile":
            self._log.begin(self._cells(weights), source)
        self._num_applied = 0
        self._refresh()

    # ---- where streams come from -------------------------------------------------------------------------------------
    @staticmethod
    def from_files(
        domains: Mapping[str, str | Path | Sequence[str | Path]],
        weights: Mapping[str, float] | None = None,
        *,
        batch_size: int = 1,
        seed: int = 0,
        where: str = "",
        epochs: float | None = None,
        log: str | Path | None = None,
        num_samples: int | None = None,
    ) -> Stream:
        """Opens a stream over JSON Lines files.

        Args:
            domains: name -> file, pattern or several.
            weights: name -> weight, any scale; by default in proportion to size. A domain that is not named has 0.
            batch_size: records in a global batch.
            seed: of the order.
            where: only records whose metadata pass this filter.
            epochs: most passes over any domain; None for no end.
            log: file of the weight log.
            num_samples: where `len` ends.
        """
        entries = [
            {"name": name, "files": [str(item) for item in ([files] if isinstance(files, (str, Path)) else files)]}
            for name, files in domains.items()
        ]
        document: dict[str, Any] = {"name": "files", "domains": entries, "where": where, "epochs": epochs}
        if weights is not None:
            document["weights"] = dict(weights)
        profile = parse_profile(document, "from_files")
        stream = Stream.from_profile(profile, batch_size=batch_size, seed=seed, log=log, num_samples=num_samples)
        for name in weights or ():
            if name not in domains:
                raise ConfigError(f"weight of unknown domain {name!r}", hint=did_you_mean(name, domains))
        return stream

    @staticmethod
    def from_profile(
        profile: str | Path | StreamProfile,
        *,
        batch_size: int = 1,
        seed: int = 0,
        lake: str | Path | None = None,
        files: Sequence[str | Path] | None = None,
        log: str | Path | None = None,
        policy: str | Path | None = None,
        num_samples: int | None = None,
    ) -> Stream:
        """Opens a stream as a profile describes it; arguments and errors are those of `get_stream`."""
        chosen = profile if isinstance(profile, StreamProfile) else load_profile(profile)
        parts, owners = open_parts(chosen, lake, files)
        corpus = build_corpus(parts, chosen.selection, owners)
        stream = Stream(
            corpus,
            first_weights(chosen, corpus),
            batch_size=batch_size,
            seed=seed,
            log=log,
            length_edges=chosen.selection.length_edges,
            length_weights=chosen.length_weights,
            num_samples=num_samples,
        )
        if corpus.empty:
            stream.notes.append(f"without records: {', '.join(corpus.empty)}; the others share their weight")
        followed = str(policy) if policy is not None else chosen.policy
        if followed and not stream._is_continued and (policy is not None or Path(followed).exists()):
            stream.follow(followed)
        elif followed:  # looked for at block borders; of a run that goes on, the place is not known yet
            stream._policy = Path(followed)
        kept = {"lake": lake, "files": files, "log": log, "policy": policy, "num_samples": num_samples}
        stream._recipe = ("from_profile", {"profile": chosen, "batch_size": batch_size, "seed": seed, **kept})
        return stream

    # ---- reading -----------------------------------------------------------------------------------------------------
    def __iter__(self) -> Iterator[list[Record]]:
        """Yields this rank's part of each global batch from `position` on; ends where every domain is used up."""
        while True:
            start = self.position
            self._poll_policy()
            batch = self.records(*self._mine(start))
            size = len(batch) if self.world == 1 else self._num_between(start, start + self.batch_size)
            if not size:
                return
            self.position = start + size
            yield batch

    def batch(self, number: int) -> list[Record]:
        """Gives this rank's part of global batch `number`, from 0; it is short or empty behind the end of the data."""
        return self.records(*self._mine(number * self.batch_size))

    def global_batch(self, number: int) -> list[Record]:
        """Gives all of global batch `number`, whatever this rank's part of it is."""
        return self.records(number * self.batch_size, (number + 1) * self.batch_size)

    def at(self, position: int) -> Record:
        """Gives the record at a global position. Raises IndexError behind the end of the data."""
        found = self.records(position, position + 1)
        if not found:
            raise IndexError(f"position {position} lies behind the end of the stream")
        return found[0]

    def records(self, start: int, stop: int) -> list[Record]:
        """Gives the records at positions `start` to `stop`, fewer at the end of the data.

        Raises:
            DataError: a line is no record; names file:line.
        """
        found: list[Record] = []
        for parts, starts, stops in self._spans(start, stop):
            found += self._parse(parts, starts, stops)
        return found

    def lines(self, start: int, stop: int) -> list[bytes]:
        """Gives the lines at positions `start` to `stop` as they stand in the files, without line ends."""
        text = self.corpus.text
        return [
            text(part)[first:last]
            for spans in self._spans(start, stop)
            for part, first, last in zip(*spans, strict=True)
        ]

    def place(self, position: int) -> tuple[str, int, str, int]:
        """Gives domain, epoch from 0, file and line number of the sample at a position."""
        plan, parts, starts, _ = self._block(position // BLOCK)
        within = position % BLOCK
        if within >= plan.num:
            raise IndexError(f"position {position} lies behind the end of the stream")
        part = self.corpus.parts[parts[within]]
        import numpy as np

        path, line = part.place(int(np.searchsorted(part.starts, starts[within])))
        return self.names[int(plan.domains[within])], int(plan.epochs[within]), path, line

    def domains(self, start: int, stop: int) -> list[str]:
        """Gives the domain of each position from `start` to `stop`."""
        found: list[str] = []
        for number, first, last in _stretches(start, stop):
            found += [self.names[place] for place in self._block(number)[0].domains[first:last].tolist()]
        return found

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, position: int) -> Record:
        """Gives the record at a position, for map-style use: read it with a sequential sampler, in order."""
        if not -self.num_samples <= position < self.num_samples:
            raise IndexError(f"position {position} is outside a stream of {self.num_samples}")
        return self.at(position % self.num_samples)

    def __getitems__(self, positions: Sequence[int]) -> list[Record]:
        """Gives several records at once; torch's DataLoader asks for whole batches so."""
        if positions and list(positions) == list(range(positions[0], positions[0] + len(positions))):
            return self.records(positions[0], positions[-1] + 1)
        return [self[position] for position in positions]

    def _mine(self, start: int) -> tuple[int, int]:
        share = self.batch_size // self.world
        return start + self.rank * share, start + (self.rank + 1) * share

    def _num_between(self, start: int, stop: int) -> int:
        return sum(
            max(0, min(last, self._block(number)[0].num) - first) for number, first, last in _stretches(start, stop)
        )

    def _spans(self, start: int, stop: int) -> Iterator[tuple[list[int], list[int], list[int]]]:
        for number, first, last in _stretches(start, stop):
            _, parts, starts, stops = self._block(number)
            yield parts[first:last], starts[first:last], stops[first:last]

    def _parse(self, parts: list[int], starts: list[int], stops: list[int]) -> list[Record]:
        import orjson

        corpus, loads = self.corpus, orjson.loads
        if not all(corpus.parts[number].is_exact for number in set(parts)):
            return [corpus.parse(*span) for span in zip(parts, starts, stops, strict=True)]
        texts = {number: corpus.text(number) for number in set(parts)}
        try:
            found = [loads(texts[part][start:stop]) for part, start, stop in zip(parts, starts, stops, strict=True)]
        except ValueError:
            found = [corpus.parse(*span) for span in zip(parts, starts, stops, strict=True)]
        if set(map(type, found)) - {dict}:
            return [corpus.parse(*span) for span in zip(parts, starts, stops, strict=True)]
        return found

    def _block(self, number: int) -> tuple[BlockPlan, list[int], list[int], list[int]]:
        """Gives a block and where its lines are; the last few are kept."""
        if number < 0:
            raise IndexError("positions begin at 0")
        kept = self._kept.get(number)
        if kept is None:
            self._refresh()
            plan = self._order.plan(number)
            rows = self._rows(plan)
            kept = (plan, *self.corpus.locate(rows))
            while len(self._kept) >= _KEPT_BLOCKS:
                del self._kept[next(iter(self._kept))]
            self._kept[number] = kept
            self._high = max(self._high, number)
        return kept

    def _rows(self, plan: BlockPlan) -> Any:
        import numpy as np

        rows = np.empty(plan.num, np.int64)
        by_domain, start = np.argsort(plan.domains, kind="stable"), 0
        for domain, count in zip(self.corpus.domains, plan.counts, strict=True):
            if count:
                chosen = by_domain[start : start + count]
                elements, lines = plan.elements[chosen], domain.rows
                rows[chosen] = elements + lines.start if isinstance(lines, range) else lines[elements]
                start += count
        return rows

    # ---- weights -----------------------------------------------------------------------------------------------------
    def weights(self, block: int | None = None) -> dict[str, float]:
        """Gives the weights that hold in a block, that of `position` by default; they sum to 1."""
        whole = self._order.weights_at(self.position // BLOCK if block is None else block)
        return {name: weight / (1 << 40) for name, weight in zip(self.names, whole, strict=True)}

    def counts(self, stop: int) -> dict[str, int]:
        """Gives how many of the first `stop` samples come from each domain; reads no data."""
        block, within = divmod(stop, BLOCK)
        served = [int(count) for count in self._order.progress(block).served]
        if within:
            import numpy as np

            plan = self._order.plan(block)
            more = np.bincount(plan.domains[:within], minlength=len(self.names)).tolist()
            served = [have + extra for have, extra in zip(served, more, strict=True)]
        return dict(zip(self.names, served, strict=True))

    def epochs(self, stop: int | None = None) -> dict[str, float]:
        """Gives how often each domain has been gone through at a position, `position` by default."""
        return {
            name: count / self.sizes[name]
            for name, count in self.counts(self.position if stop is None else stop).items()
        }

    def set_weights(
        self,
        weights: Mapping[str, float],
        at_block: int | None = None,
        *,
        lengths: Sequence[float] | None = None,
        source: str = "set",
    ) -> int:
        """Has new weights hold from a block on; samples before it stay as they are.

        Args:
            weights: domain -> weight, any scale, 0 included; a domain that is not named gets 0.
            at_block: the first block they hold for, 1,024 positions each; by default the first not read here. Where
                other processes read ahead, name one that none of them has reached.
            lengths: new weights of the length buckets.
            source: where they come from, for the log.
        Returns:
            The block.
        Raises:
            ConfigError: an unknown domain, weights that are none, or a block that was read already.
        """
        self._refresh()
        if lengths is not None:
            self._length_weights = check_length_weights(lengths, len(self._edges) + 1, "lengths")
        cells = self._cells(weights)
        last = self._log.entries[-1].block if self._log.entries else 0
        block = max(self._high + 1, last) if at_block is None else at_block
        if block <= self._high:
            raise ConfigError(f"block {block} was read already; weights can change from block {self._high + 1} on")
        self._log.append(block, cells, source)
        self._refresh()
        return block

    def follow(self, policy: str | Path) -> None:
        """Uses a policy file from the next block on, and again whenever it has changed at a block border.

        One process of a run follows; the others read the weight log. While the file is absent nothing changes.
        """
        self._policy = Path(policy)
        if not self._poll_policy(force=True):
            raise UsageError(f"{policy}: no such file", hint="a policy is written by: frontier reweight")

    def _poll_policy(self, *, force: bool = False) -> bool:
        if self._policy is None or not (force or self.block_after(self.batch_size) > self._high):
            return False
        try:
            stat = os.stat(self._policy)
        except FileNotFoundError:
            return False
        seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if seen == self._policy_seen:
            return True
        data = self._policy.read_bytes()
        source = f"policy {sha256(data).hexdigest()[:16]}"
        weights = weights_of(read_policy(self._policy))
        self._policy_seen = seen
        if self._log.entries and self._log.entries[-1].source == source:
            return True
        known = {name: weight for name, weight in weights.items() if name in self._bases()}
        if not sum(known.values()) > 0:
            hint = f"domains look like: {self.names[0]}"
            raise ConfigError(f"{self._policy}: gives weight to no domain of this stream", hint=hint)
        dropped = [name for name, weight in weights.items() if weight > 0 and name not in known]
        if dropped:
            self.notes.append(f"{self._policy}: no records for {', '.join(dropped[:5])}; the others share the weight")
        # Ranks are not in step to the sample: the others must not have reached the block.
        lead = 0 if self.world == 1 else 1 + _LEAD_BATCHES * self.batch_size // BLOCK
        self.set_weights(known, None if not lead else self._high + 1 + lead, source=source)
        return True

    def _bases(self) -> set[str]:
        return {base_name(name, self._edges) for name in self.names}

    def _cells(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Spreads weights of domains over their length buckets."""
        checked = check_weights(weights)
        cells: dict[str, list[str]] = {}
        for name in self.names:
            cells.setdefault(base_name(name, self._edges), []).append(name)
        found: dict[str, float] = {}
        for name, weight in checked.items():
            if name in self.sizes and name not in cells:
                found[name] = weight  # one bucket of a domain, named itself
            elif name in cells:
                shares = self._length_shares(name, cells[name])
                found |= {cell: weight * share for cell, share in shares.items()}
            elif name not in self.corpus.empty:
                raise ConfigError(f"weight of unknown domain {name!r}", hint=did_you_mean(name, cells))
        if not sum(found.values()) > 0:
            raise ConfigError("no domain with records has a weight above 0")
        return {name: found[name] for name in self.names if name in found}

    def _length_shares(self, base: str, cells: list[str]) -> dict[str, float]:
        if not self._edges:
            return {base: 1.0}
        if self._length_weights:
            labels = [bucket_label(base, place, self._edges) for place in range(len(self._edges) + 1)]
            raw = {label: w for label, w in zip(labels, self._length_weights, strict=True) if label in cells}
        else:
            raw = {}
        if not sum(raw.values()) > 0:
            raw = {cell: float(self.sizes[cell]) for cell in cells}
        total = sum(raw.values())
        return {cell: weight / total for cell, weight in raw.items()}

    def _whole(self, weights: Mapping[str, float]) -> list[int]:
        try:
            return whole_weights(weights, self.names)
        except ValueError as error:
            raise DataError("the weight log gives no domain of this corpus a weight", code="weight_log") from error

    def _refresh(self) -> None:
        """Takes up what the weight log has got since the last look, by this process or another."""
        self._log.refresh()
        while self._num_applied < len(self._log.entries):
            entry = self._log.entries[self._num_applied]
            if entry.block <= self._high:
                raise DataError(
                    f"weights from block {entry.block} on came after block {self._high} was read",
                    path=str(self._log.path), code="late_weights",
                    hint="set weights for a block that no process has reached",
                )  # fmt: skip
            self._order.set_weights(entry.block, self._whole(entry.weights))
            self._num_applied += 1

    # ---- going on ----------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """Gives where the stream stands, in under 256 bytes of JSON; it fits any number of ranks and workers."""
        return {
            "stream": STATE_VERSION,
            "position": self.position,
            "seed": self.seed,
            "corpus": self.corpus.digest,
            "weights": self._log.digest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where a state was taken.

        Raises:
            ConfigError: the state is of another seed, other data or another weight log.
        """
        if state.get("stream") != STATE_VERSION or not isinstance(state.get("position"), int):
            raise ConfigError("this is no state of a stream")
        self._refresh()
        mine = {"seed": self.seed, "corpus": self.corpus.digest}
        for key, value in mine.items():
            if state.get(key) != value:
                hint = "name the lake's state of then, as DIR@N" if key == "corpus" else ""
                raise ConfigError(f"the state is of another {key}: {state.get(key)!r}, not {value!r}", hint=hint)
        if not self._log.holds(str(state.get("weights"))):
            hint = "open the stream with the weight log of that run"
            raise ConfigError("the state is of another weight log", hint=hint)
        self.position = state["position"]
        self._high = max(self._high, (self.position - 1) // BLOCK)

    def shard(self, rank: int, world: int) -> Stream:
        """Gives the same stream as rank `rank` of `world` sees it: its part of each global batch, in rank order.

        Of several ranks the first follows the policy, and the others learn of it by the weight log: ranks that share no
        log file keep the weights they began with.

        Raises:
            ConfigError: the batch size is no multiple of `world`, or there is no such rank.
        """
        if not 0 <= rank < world:
            raise ConfigError(f"rank {rank} is not in a world of {world}")
        if self.batch_size % world:
            raise ConfigError(f"batch_size {self.batch_size} is no multiple of {world} ranks")
        other = object.__new__(Stream)
        other.__dict__.update(self.__dict__)
        other.rank, other.world = rank, world
        other._kept = {}
        other._order = Order(self.seed, self.names, self._order.sizes, self._order.limits)
        other._high, other._num_applied = -1, 0
        other._refresh()
        other._high = max(-1, (self.position - 1) // BLOCK)
        if world > 1 and (rank or self._log.path is None):
            other._policy = None  # rank 0 follows, and tells the others by the log
        return other

    def block_after(self, num: int) -> int:
        """Gives the block of the last of the next `num` positions."""
        return (self.position + num - 1) // BLOCK

    def go_on(self, position: int, block: int) -> None:
        """Goes on at a position of a run that had read up to `block`: from there on its policy may change the mix."""
        self.position = position
        self._high = max(self._high, block)

    def weight_log(self) -> list[dict[str, Any]]:
        """Gives every entry of the weight log: what a run must keep, with seed and corpus, to be drawn again."""
        return [entry.to_record() for entry in self._log.entries]

    def describe(self) -> dict[str, Any]:
        """Gives what a sidecar should say of the stream: seed, batch size, digests, and every file or shard in it."""
        return {
            **self.state_dict(),
            "batch_size": self.batch_size,
            "domains": self.sizes,
            "parts": [{"path": part.name, "digest": part.digest} for part in self.corpus.parts],
        }

    def __reduce__(self) -> tuple[Any, ...]:
        if self._recipe is None:
            raise TypeError("only streams of from_profile and from_files can be pickled")
        extra = [entry.to_record() for entry in self._log.entries] if self._log.path is None else []
        return _reopen, (self._recipe, self.position, self.rank, self.world, extra)


def _reopen(
    recipe: tuple[str, dict[str, Any]], position: int, rank: int, world: int, entries: list[dict[str, Any]]
) -> Stream:
    stream = Stream.from_profile(**{**recipe[1], "policy": None})
    stream._policy = None
    for entry in entries[1:]:
        stream.set_weights(entry["weights"], entry["block"], source=entry["source"])
    stream.position = position
    stream._high = max(stream._high, (position - 1) // BLOCK)
    return stream.shard(rank, world) if world > 1 else stream


def _stretches(start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Cuts positions into blocks: (block, first, last) with places inside the block."""
    while start < stop:
        number, first = divmod(start, BLOCK)
        last = min(BLOCK, first + stop - start)
        yield number, first, last
        start += last - first
