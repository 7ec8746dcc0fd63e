"""The sandboxes of this machine as an operator sees them: making their image, trying what plans must not be able to.

How plans run in them is validators/sandbox/; `synth verify` opens one by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from frontier_core.errors import EnvironmentMissing
from frontier_ops.stage_files import Note, silent
from validators.sandbox.backend import BACKENDS, check_name, make_sandbox, sandbox_hint
from validators.sandbox.contract import Json
from validators.sandbox.image import Built, build_from_host
from validators.sandbox.probes import CONDUCT_LIMITS, Answer, try_conducts, try_escapes


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of one backend: its answers, what a sidecar would say of it, and why it does not work here if so."""

    backend: str
    answers: list[Answer] = field(default_factory=list)
    about: Json = field(default_factory=dict)
    problem: str = ""
    hint: str = ""

    @property
    def works(self) -> bool:
        """Says whether plans may be run in it."""
        return not self.problem


def check_sandboxes(
    name: str = "auto",
    *,
    runtime: str = "",
    on_note: Note = silent,
    on_answer: Callable[[str, Answer], None] = lambda _backend, _answer: None,
) -> list[Report]:
    """Tries every probe on every backend, or on the one named.

    Args:
        name: a backend, or "auto" for all.
        runtime: what the Docker engine is to run the containers of docker-run with; "" for its default.
        on_note: gets remarks for people.
        on_answer: gets the backend and each answer as it comes.
    Raises:
        ConfigError: there is no such backend.
    """
    check_name(name, runtime)
    reports = []
    for backend in BACKENDS if name == "auto" else (name,):
        report = Report(backend=backend)
        reports.append(report)
        try:
            sandbox = make_sandbox(backend, CONDUCT_LIMITS, on_note, runtime if backend == "docker-run" else "")
        except EnvironmentMissing as error:
            report.problem, report.hint = error.message, error.hint
            continue
        try:
            for answer in try_escapes(sandbox):
                report.answers.append(answer)
                on_answer(backend, answer)
            if all(answer.is_right for answer in report.answers):
                for answer in try_conducts(sandbox):
                    report.answers.append(answer)
                    on_answer(backend, answer)
            report.about = sandbox.describe()
        finally:
            sandbox.close()
        wrong = [answer.name for answer in report.answers if not answer.is_right]
        if wrong:
            report.problem, report.hint = f"failed its self-test: {', '.join(wrong)}", sandbox_hint(backend)
    return reports


def build_sandbox(
    *,
    suite: str | None = None,
    mirror: str = "",
    extra: Iterable[str] = (),
    output: str = "",
    on_note: Note = silent,
) -> Built:
    """Makes the image of the sandboxes and gives it to the Docker engine, or leaves it in a tar file.

    Args:
        suite: None to make it from this machine's tools; else by debootstrap from this suite, "" for the host's own.
        mirror: where debootstrap fetches packages; "" for the host's own source.
        extra: more commands of this machine (or, with a suite, more Debian packages).
        output: a tar file to write instead of asking an engine; "" for none.
        on_note: gets remarks for people.
    Raises:
        EnvironmentMissing: no engine answers, or something that the image is made of is not here.
    """
    client: Any = None
    if not output:
        from validators.sandbox.docker_run import connect

        client = connect()
    try:
        if suite is None:
            return build_from_host(client, extra=extra, output=output)
        from validators.sandbox.debootstrap import build_from_suite

        return build_from_suite(client, suite, on_note, mirror=mirror, extra=tuple(extra), output=output)
    finally:
        if client is not None:
            client.close()
