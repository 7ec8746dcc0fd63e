"""What a sample of a file's records is like: tokens, languages, lengths, by skill, level and source.

Counting the tokens of everything would take minutes where the gates take seconds, so some records spread over the file
are read. With the run's tokenizer tokens are counted; without one they are estimated from bytes, and the facts say so.
Nothing here rejects a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError, EnvironmentMissing, UsageError
from frontier_core.jsonl import loads, open_input
from frontier_core.records import Record, metadata_of
from validators.base import Finding
from validators.language import UNKNOWN, language_of
from validators.texts import texts_of

SAMPLE_RECORDS = 2000
BYTES_PER_TOKEN = 4
"""Of an estimate; what common tokenizers make of English text and code."""
MAIN_SHARE = 0.5
"""Share of the told languages from which one is the file's, and the others are named."""
GROUPS = ("skill", "level", "source")
MAX_GROUPS = 40
EDGES = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""Of the histogram of tokens; what is longer counts into the last."""


class Sampler:
    """Lines of a stream, evenly spread, whatever its length: every n-th, where n doubles whenever there are too many.

    Args:
        most: lines kept; at least half of them once there were that many.
    """

    def __init__(self, most: int = SAMPLE_RECORDS) -> None:
        self.lines: list[bytes] = []
        self._most = most
        self._every = 1
        self._seen = 0

    def take(self, lines: Iterable[bytes]) -> None:
        """Looks at some more lines."""
        for line in lines:
            if self._seen % self._every == 0:
                self.lines.append(line)
                if len(self.lines) > self._most:
                    del self.lines[1::2]
                    self._every *= 2
            self._seen += 1


def sampled_lines(source: str | Path, most: int = SAMPLE_RECORDS) -> list[bytes]:
    """Gives lines spread over a file.

    A large plain file is not read through: of each of `most` equal parts the first line that begins there is taken.
    LIMIT: there, a line behind a long one is a little likelier to be taken.
    """
    path = Path(source)
    if path.suffix in (".gz", ".zst") or path.stat().st_size < most * 4096:
        sampler = Sampler(most)
        with open_input(path) as stream:
            sampler.take(stream)
        return sampler.lines
    size, lines = path.stat().st_size, []
    with path.open("rb") as file:
        for part in range(most):
            file.seek(part * size // most)
            if part:
                file.readline()
            lines.append(file.readline())
    return lines


def records_of(lines: Iterable[bytes]) -> Iterator[Record]:
    """Yields the records among some lines; what is none is the gates' business."""
    for line in lines:
        try:
            value = loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def token_counter(folder: Path | None) -> tuple[Callable[[list[str]], list[int]], str]:
    """Gives what counts the tokens of texts, and the name the facts have for it.

    Args:
        folder: a model folder, checkpoint or `tokenizer.json`; None estimates.
    Raises:
        UsageError: there is no tokenizer.json.
        ConfigError: it can't be read.
        EnvironmentMissing: the package tokenizers is not installed.
    """
    if folder is None:
        return (lambda texts: [-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts]), "estimated from bytes"
    file = folder / "tokenizer.json" if folder.is_dir() else folder
    if folder.is_dir() and not file.is_file():  # a run: its newest checkpoint
        found = sorted(folder.glob("checkpoint-*/tokenizer.json"), key=lambda item: int(item.parent.name[11:] or 0))
        file = found[-1] if found else file
    if not file.is_file():
        raise UsageError(f"{folder}: holds no tokenizer.json", hint="name a model folder, a run or the file itself")
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        hint = "pip install 'frontier-data-engine[train]'"
        raise EnvironmentMissing("tokenizers is not installed", hint=hint) from error
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust side raises bare Exceptions
        raise ConfigError(f"{file}: the tokenizer can't be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def count(texts: list[str]) -> list[int]:
        return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]

    return count, f"counted by {file}"


def facts_of(records: Iterable[Record], tokenizer: Path | None) -> tuple[dict[str, Any], list[Finding]]:
    """Gives the facts of a sample for the report, and remarks on the file.

    Returns:
        Facts: `num_sampled`; `tokens` {how, mean, p50, p95, max}; `token_lengths`, a histogram; `by_skill`, `by_level`,
        `by_source` {records, share, tokens_mean, tokens_p95, tokens_max}; `languages` {records, share}.
        Findings: a warning when some records are not in the file's main language.
    """
    kept = [(metadata_of(record), "\n".join(text for _, text in texts_of(record))) for record in records]
    if not kept:
        return {}, []
    count, how = token_counter(tokenizer)
    tokens = count([text for _, text in kept])
    languages = Counter(language_of(text) for _, text in kept)
    facts: dict[str, Any] = {
        "num_sampled": len(kept),
        "tokens": {"how": how, **_spread(tokens)},
        "token_lengths": {"edges": list(EDGES), "counts": _histogram(tokens)},
        "languages": {
            name: {"records": num, "share": round(num / len(kept), 4)} for name, num in languages.most_common()
        },
    }
    for key in GROUPS:
        groups: dict[str, list[int]] = {}
        for (metadata, _), num in zip(kept, tokens, strict=True):
            groups.setdefault(str(metadata.get(key, "")) or "(none)", []).append(num)
        largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_GROUPS]
        facts[f"by_{key}"] = {
            name: {
                "records": len(nums),
                "share": round(len(nums) / len(kept), 4),
                **{f"tokens_{what}": value for what, value in _spread(nums).items()},
            }
            for name, nums in largest
        }
    return facts, list(_other_languages(languages))


def _spread(nums: list[int]) -> dict[str, float]:
    """Gives mean, median, 95th percentile (nearest rank) and maximum."""
    ordered = sorted(nums)
    rank = {name: ordered[-(-len(ordered) * share // 100) - 1] for name, share in (("p50", 50), ("p95", 95))}
    return {"mean": round(sum(nums) / len(nums), 1), **rank, "max": ordered[-1]}


def _histogram(nums: list[int]) -> list[int]:
    counts = [0] * (len(EDGES) - 1)
    for num in nums:
        place = sum(num >= edge for edge in EDGES[1:-1])
        counts[place] += 1
    return counts


def _other_languages(languages: Counter[str]) -> Iterator[Finding]:
    told = Counter({name: num for name, num in languages.items() if name != UNKNOWN})
    if len(told) < 2:
        return
    (main, num), *others = told.most_common()
    if num > MAIN_SHARE * told.total():
        named = ", ".join(f"{count} {name}" for name, count in others[:5])
        message = f"of {languages.total()} sampled records {num} are in {main}, but also: {named}"
        remedy = "keep them if they are meant; nothing was rejected for it"
        yield Finding(code="other_language", message=message, severity="warning", remedy=remedy)
