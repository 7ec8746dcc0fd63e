"""What asking costs: tokens and dollars so far, what is reserved for requests on their way, and what is still to come.

Estimates need no tokenizer: a rough count of pieces of text, corrected by the usage that providers report. Prices come
from the user (none ship: they change); without one only tokens are counted.
LIMIT: before the first reply the rough count is within about 15 % on English and JSON, worse on other scripts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError, DataError, EnvironmentMissing, UsageError
from frontier_core.nearest import did_you_mean
from frontier_core.records import Message
from generators.teachers.wire import Reply

TURN_TOKENS = 4
"""What a turn's frame costs beside its text."""
_PIECES = re.compile(r"[A-Za-z]{1,8}|\d{1,3}|[^\sA-Za-z\d]{1,2}")

Counter = Callable[[str], int]
"""Gives the number of tokens in a text."""


@lru_cache(maxsize=64)  # every prompt of a run begins with the same system text
def rough_tokens(text: str) -> int:
    """Gives about how many tokens a text has, without a tokenizer."""
    return len(_PIECES.findall(text))


def tokenizer_counter(path: str) -> Counter:
    """Gives an exact counter from a tokenizer.json. Raises UsageError or EnvironmentMissing."""
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        hint = "pip install tokenizers, or leave --tokenizer out"
        raise EnvironmentMissing("the package tokenizers is not installed", hint=hint) from error
    try:
        tokenizer = Tokenizer.from_file(path)
    except Exception as error:  # the library raises bare Exception for whatever is wrong with the file
        raise UsageError(f"--tokenizer: {path}: {error}", hint="name a tokenizer.json") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars per million tokens."""

    tokens_in: float
    tokens_out: float

    def of(self, tokens_in: float, tokens_out: float) -> float:
        """Gives the dollars for that many tokens."""
        return (self.tokens_in * tokens_in + self.tokens_out * tokens_out) / 1e6


def read_price(path: str, model: str) -> Price | None:
    """Gives a model's price from a YAML file `MODEL: {in: 0.15, out: 0.6}`, None when it has none.

    Raises:
        UsageError: no such file. DataError: not YAML. ConfigError: an entry has another form; names the model.
    """
    import yaml

    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"--prices: {path}: no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError("not valid YAML", path=path, code="yaml") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: is no mapping", hint="write: MODEL: {in: 0.15, out: 0.6}, dollars per million")
    entry = document.get(model)
    if entry is None:
        return None
    for key in entry if isinstance(entry, dict) else ():
        if key not in ("in", "out"):
            raise ConfigError(f"{path}: {model}: unknown key {key!r}", hint=did_you_mean(str(key), ("in", "out")))
    try:
        price = Price(tokens_in=float(entry["in"]), tokens_out=float(entry["out"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: {model}: needs numbers `in` and `out`", hint="dollars per million tokens"
        ) from error
    return price


def chosen_price(model: str, path: str, tokens_in: float | None, tokens_out: float | None) -> Price | None:
    """Gives a model's price: the one given in numbers, else that of the file, else None.

    Raises:
        ConfigError: only one of the two numbers is given; what `read_price` raises.
    """
    if tokens_in is not None and tokens_out is not None:
        return Price(tokens_in=tokens_in, tokens_out=tokens_out)
    if tokens_in is not None or tokens_out is not None:
        raise ConfigError("a price has two parts", hint="give both --price-in and --price-out")
    return read_price(path, model) if path else None


@dataclass(slots=True)
class Estimator:
    """Guesses the tokens of a request; each reply makes it better.

    Args:
        count: gives about the tokens of a text.
        reply_tokens: tokens of a usual answer, until there are some to tell.
    """

    count: Counter
    reply_tokens: float
    num_replies: int = 0
    _guessed_in: float = 0.0
    _real_in: int = 0
    _real_out: int = 0

    def guess_in(self, messages: Sequence[Message]) -> float:
        """Gives the uncorrected count of a prompt."""
        return sum(self.count(turn["content"]) + TURN_TOKENS for turn in messages)

    def tokens(self, guess_in: float) -> tuple[float, float]:
        """Gives the tokens to expect, in and out, for a prompt with that uncorrected count."""
        if not self.num_replies:
            return guess_in, self.reply_tokens
        # A few replies count as many as the prior: one odd answer must not throw the estimate.
        out = (self._real_out + self.reply_tokens) / (self.num_replies + 1) if self.num_replies < 8 else self.mean_out
        return guess_in * self._real_in / max(self._guessed_in, 1.0), out

    def one_in(self, guess_in: float) -> float:
        """Gives the input tokens to expect."""
        return self.tokens(guess_in)[0]

    @property
    def mean_out(self) -> float:
        """Tokens of an answer so far."""
        return self._real_out / max(self.num_replies, 1)

    def learn(self, guess_in: float, reply: Reply) -> None:
        """Takes in what a request with that uncorrected count really took; a reply without usage teaches nothing."""
        if reply.tokens_in and reply.tokens_out:
            self.num_replies += 1
            self._guessed_in += guess_in
            self._real_in += reply.tokens_in
            self._real_out += reply.tokens_out


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Tokens and dollars of a job against its limits; 0 is no limit.

    What a journal holds already counts as spent: the limits are the job's, not a single run's.
    """

    price: Price | None = None
    budget_usd: float = 0.0
    max_tokens: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    num_asked: int = 0
    num_cached: int = 0
    reserved_in: float = 0.0
    reserved_out: float = 0.0
    new_in: int = 0
    new_out: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.budget_usd and self.price is None:
            hint = "--price-in and --price-out, or --prices FILE; --max-tokens-total needs no price"
            raise ConfigError("a budget in dollars needs the model's price", hint=hint)

    @property
    def usd(self) -> float | None:
        """Dollars spent on this job, None without a price."""
        return self.price.of(self.tokens_in, self.tokens_out) if self.price else None

    @property
    def new_usd(self) -> float | None:
        """Dollars spent in this run, None without a price."""
        return self.price.of(self.new_in, self.new_out) if self.price else None

    def fits(self, tokens_in: float, tokens_out: float) -> bool:
        """Says whether a request of that size still keeps the limits, with all that is on its way."""
        total_in = self.tokens_in + self.reserved_in + tokens_in
        total_out = self.tokens_out + self.reserved_out + tokens_out
        if self.max_tokens and total_in + total_out > self.max_tokens:
            return False
        return not (self.budget_usd and self.price and self.price.of(total_in, total_out) > self.budget_usd)

    def reserve(self, tokens_in: float, tokens_out: float) -> None:
        """Sets tokens aside for a request that starts."""
        self.num_asked += 1
        self.reserved_in += tokens_in
        self.reserved_out += tokens_out

    def release(self, tokens_in: float, tokens_out: float) -> None:
        """Gives back what was set aside for a request that ended."""
        self.reserved_in -= tokens_in
        self.reserved_out -= tokens_out

    def pay(self, reply: Reply) -> None:
        """Books a reply."""
        self.tokens_in += reply.tokens_in
        self.tokens_out += reply.tokens_out
        self.new_in += reply.tokens_in
        self.new_out += reply.tokens_out

    def count_failure(self, what: str) -> None:
        """Counts a request that brought no reply, by its reason."""
        self.failures[what] = self.failures.get(what, 0) + 1

    def report(self) -> dict[str, Any]:
        """Gives the sums for a sidecar or --json."""
        usd, new_usd = self.usd, self.new_usd
        return {
            "num_requests": self.num_asked,
            "num_cached": self.num_cached,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "failures": dict(sorted(self.failures.items())),
            **({} if usd is None or new_usd is None else {"usd": round(usd, 6), "usd_this_run": round(new_usd, 6)}),
        }
