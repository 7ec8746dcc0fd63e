"""Every error the toolkit raises on purpose, and the exit code each one becomes.

    FrontierError                      1   the answer is no
    |-- UsageError                     2   wrong call
    |-- ConfigError                    2   wrong setting
    |-- EnvironmentMissing             3   no docker, no torch, no space left
    |   `-- SandboxError               3   the sandbox itself failed (never the plan inside it)
    |-- DataError                      4   input that can't be read; names file, line and JSON pointer
    `-- ServiceError                   5   a remote service
        |-- ServiceUnavailable             no answer
        |-- ServiceAuthError               401, 403
        |-- ServiceHttpError               another 4xx or 5xx
        `-- ServiceDecodeError             an answer that is not JSON

A bad *record* is no error: it is a Verdict, counted and kept among the rejects. This module covers no exit codes of
signals (130, 141, 143): the front door owns those.
"""

from __future__ import annotations

OK = 0
EXIT_NO = 1
EXIT_BUG = 70
EXIT_SIGINT = 130
EXIT_SIGPIPE = 141
EXIT_SIGTERM = 143


class FrontierError(Exception):
    """An error the user can act on: one line of what happened and, in `hint`, what to type next.

    Args:
        message: lower case, names the thing and the place.
        hint: the next command or setting to try; may be empty.
    """

    exit_code = EXIT_NO

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FrontierError):
    """The command was called in a way that can't work."""

    exit_code = 2


class ConfigError(FrontierError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_code = 2


class EnvironmentMissing(FrontierError):
    """Something outside the toolkit is absent: an engine, an extra, a tool, disk space."""

    exit_code = 3


class SandboxError(EnvironmentMissing):
    """The sandbox failed. What a plan does inside it is a Verdict, never this."""


class DataError(FrontierError):
    """Input that can't be read.

    Args:
        message: what is wrong.
        path: the file, `<stdin>` for a pipe, empty when there is none.
        line: line number from 1, 0 when the whole file is meant.
        pointer: JSON pointer (RFC 6901) inside the line, empty for the line itself.
        hint: what to do next.
        code: a stable machine name, e.g. `truncated_line`.
    """

    exit_code = 4

    def __init__(
        self, message: str, *, path: str = "", line: int = 0, pointer: str = "", hint: str = "", code: str = "data"
    ) -> None:
        super().__init__(f"{place(path, line, pointer)}{message}", hint=hint)
        self.problem = message
        self.path = path
        self.line = line
        self.pointer = pointer
        self.code = code


class ServiceError(FrontierError):
    """A remote service could not do what was asked."""

    exit_code = 5


class ServiceUnavailable(ServiceError):
    """No answer: connection refused, time-out, or every retry used up."""


class ServiceAuthError(ServiceError):
    """The service refused the key (401, 403)."""


class ServiceHttpError(ServiceError):
    """The service answered with another 4xx or 5xx.

    Args:
        message: what was asked.
        status: the HTTP status.
        body: the first bytes of the answer.
        hint: what to do next.
    """

    def __init__(self, message: str, *, status: int, body: str = "", hint: str = "") -> None:
        super().__init__(f"{message}: HTTP {status}", hint=hint)
        self.status = status
        self.body = body


class ServiceDecodeError(ServiceError):
    """The service answered, but not with the JSON that was promised."""


def place(path: str, line: int = 0, pointer: str = "") -> str:
    """Gives the prefix `file.jsonl:17 /messages/0/role: ` in the one form every message uses."""
    where = f"{path}:{line}" if path and line else path or (f"line {line}" if line else "")
    where = f"{where} {pointer}".strip() if pointer else where
    return f"{where}: " if where else ""
