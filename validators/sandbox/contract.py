"""The words of the sandbox: limits, the outcome of a plan, and what every backend offers.

Which backends there are and how one is chosen is in backend.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from frontier_core.errors import ConfigError, SandboxError

Note = Callable[[str], None]
Json = dict[str, Any]

MIB = 1 << 20
STATUSES = ("ok", "nonzero", "timeout", "oom", "output_limit", "disk_limit", "forbidden", "sandbox_error")


RANGES: dict[str, tuple[str, str, int, float, float]] = {
    "timeout_s": ("time", "s", 1, 0.1, 86_400),
    "memory_bytes": ("memory", "MiB", MIB, 32, 1 << 20),
    "max_processes": ("process", "", 1, 8, 30_000),
    "disk_bytes": ("disk", "MiB", MIB, 1, 1 << 16),
    "output_bytes": ("output", "KiB", 1 << 10, 1 / 1024, 1 << 20),
}
"""Limit -> what it is called, its unit, that in bytes or seconds, the least and the most in that unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one plan may use; each is enforced, and what happens past it is a status.

    `timeout_s` wall time of all steps (timeout); `memory_bytes` of all processes together (oom); `max_processes` (forks
    fail); `disk_bytes` of everything written (disk_limit); `output_bytes` of stdout and of stderr (output_limit).
    """

    timeout_s: float = 10.0
    memory_bytes: int = 512 * MIB
    max_processes: int = 128
    disk_bytes: int = 64 * MIB
    output_bytes: int = MIB

    def __post_init__(self) -> None:
        for name, (word, unit, per_unit, least, most) in RANGES.items():
            value = getattr(self, name) / per_unit
            if not least <= value <= most:  # NaN is in no range
                told = f"the {word} limit of {value:,.10g} {unit}".rstrip()
                raise ConfigError(f"{told} is out of range", hint=f"{least:.10g} to {most:,.10g} {unit}".rstrip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one plan.

    `status` is one of STATUSES. `exit_code` is that of the last step that ran (128 + n when signal n ended it; `signal`
    is that n, 0 otherwise). `wall_s` is the time of all steps; `cpu_s` and `max_rss_bytes` the CPU time of all the
    plan's processes and the peak of the largest (LIMIT: never below the runner's own 10 MB or so, because the kernel
    counts what a process was before it became another program). `oom_kills`: processes the memory killer took (without
    a cgroup: we), or 1 that said itself that memory ran out.

    `stdout` and `stderr`: {text (capped), bytes, truncated, sha256 of all bytes}. `steps`: for each step that ran {step
    (from 0, in running order), exit_code, wall_s, stdout and stderr (the first 1000 characters), has_state (false when
    the shell ended without saying where it stood, so that the next step started where this one had)}. `changes`: the
    first 1000 paths that differ from the baseline ({path, change: added | removed | changed, kind, mode, size, sha256,
    target}), `num_changes` all of them. `other_effects`: something was left in /tmp or /dev/shm, a file got another
    time, or a process of the fixture ended; looked for only when no path changed and nothing was printed.
    `processes_left`: processes alive when the last step ended.

    `findings`: where the world is not as expected ({code, message, pointer, remedy}); only looked for when status is
    ok. `reason` says a failure in words: for `forbidden` the line that shows it; for sandbox_error what happened, where
    `failure` names the kind (bad_fixture, bad_expect, missing_tool, or the sandbox's own). `image` names what the tools
    came from (with its content digest; "" for the host's own), `limits` are those the plan ran under.
    """

    status: str
    backend: str
    exit_code: int = 0
    signal: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    max_rss_bytes: int = 0
    oom_kills: int = 0
    steps: tuple[Json, ...] = ()
    stdout: Json = field(default_factory=dict)
    stderr: Json = field(default_factory=dict)
    changes: tuple[Json, ...] = ()
    num_changes: int = 0
    other_effects: bool = False
    processes_left: int = 0
    findings: tuple[Json, ...] = ()
    failure: str = ""
    reason: str = ""
    image: str = ""
    limits: Json = field(default_factory=dict)

    @classmethod
    def from_json(cls, answer: Json, backend: str, *, image: str = "", limits: Json | None = None) -> Outcome:
        """Reads the runner's answer; the rest is what the host knows of the sandbox.

        Raises:
            SandboxError: it is not in the runner's form.
        """
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in answer.items()
        }
        try:
            outcome = cls(**values, backend=backend, image=image, limits=limits or {})
        except TypeError as error:
            raise SandboxError(f"the sandbox answered in an unknown form: {error}") from error
        if outcome.status not in STATUSES:
            raise SandboxError(f"the sandbox answered with the unknown status {outcome.status!r}")
        return outcome


class Sandbox(Protocol):
    """Runs plans, each in a world of its own. Safe to call from many threads at once."""

    name: str

    def describe(self) -> Json:
        """Gives what a sidecar should keep: backend, where its tools come from, limits."""
        ...

    def run(self, job: Json) -> Outcome:
        """Runs one plan; the sandbox's own failure is retried once and then a status, never an exception.

        Args:
            job: {commands: [str], fixture?, expect?, tools?: [command the plan needs], strict?: run every step under
                `set -eo pipefail`, timeout_s?: instead of the limit's}, as docs/records.md says.
        """
        ...

    def close(self) -> None:
        """Ends every plan that still runs; run() then answers sandbox_error."""
        ...


def limits_json(limits: Limits) -> Json:
    """Gives limits as a sidecar keeps them."""
    return asdict(limits)
