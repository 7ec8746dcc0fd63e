"""Which sandboxes there are, and how one is chosen: by a self-test, a plan that tries to escape and must fail.

A sandbox runs one plan per call in a world of its own. Backends: `docker-ns` (docker_ns.py, kernel namespaces inside
hardened containers), `docker-run` (docker_run.py, a hardened container per plan) and `native-ns` (native.py, kernel
namespaces alone). Which is better for whom: docs/sandbox.md.
"""

from __future__ import annotations

from frontier_core.errors import ConfigError, EnvironmentMissing
from frontier_core.nearest import did_you_mean
from validators.sandbox.contract import Limits, Note, Sandbox
from validators.sandbox.probes import self_test

BACKENDS = ("docker-ns", "docker-run", "native-ns")
"""In the order "auto" tries them."""


def open_sandbox(
    name: str = "auto", *, limits: Limits | None = None, on_note: Note | None = None, runtime: str = ""
) -> Sandbox:
    """Gives a sandbox that has just proved itself.

    Args:
        name: a backend, or "auto": the first of BACKENDS that passes its self-test here.
        limits: what one plan may use; the defaults of Limits when None.
        on_note: gets remarks for people ("building the image ...", why a backend was passed over).
        runtime: what the Docker engine is to run containers with (`runsc`, `kata`); only docker-run has this, and
            "auto" is then docker-run. "" for the engine's default.
    Raises:
        ConfigError: there is no such backend, or it has no runtimes.
        EnvironmentMissing: it (with "auto": none) works here; says what is missing and what to install.
    """
    check_name(name, runtime)
    name = "docker-run" if runtime else name
    note: Note = on_note or _drop
    problems: dict[str, list[str]] = {}  # what is wrong -> with which backends
    hints: dict[str, None] = {}
    for backend in BACKENDS if name == "auto" else (name,):
        try:
            sandbox = _open_one(backend, limits or Limits(), note, runtime)
        except EnvironmentMissing as error:
            problems.setdefault(error.message, []).append(backend)
            hints[error.hint] = None
            continue
        for problem, backends in problems.items():
            note(f"{' and '.join(backends)} passed over: {problem}")
        return sandbox
    hint = "; or: ".join(filter(None, hints))
    raise EnvironmentMissing(f"no sandbox to run plans in: {'; '.join(problems)}", hint=hint)


def check_name(name: str, runtime: str = "") -> None:
    """Raises ConfigError when a name is neither "auto" nor that of a backend, or that backend has no runtimes."""
    if name != "auto" and name not in BACKENDS:
        raise ConfigError(f"unknown sandbox {name!r}", hint=did_you_mean(name, ["auto", *BACKENDS]))
    if runtime and name not in ("auto", "docker-run"):
        raise ConfigError(f"{name} has no runtimes to choose from", hint="--sandbox docker-run --runtime ...")


def _drop(_text: str) -> None:
    """Takes a remark nobody asked for."""


def _open_one(backend: str, limits: Limits, note: Note, runtime: str = "") -> Sandbox:
    sandbox = make_sandbox(backend, limits, note, runtime)
    failures = self_test(sandbox)
    if failures:
        sandbox.close()
        raise EnvironmentMissing(f"{backend} failed its self-test: {'; '.join(failures)}", hint=sandbox_hint(backend))
    return sandbox


def make_sandbox(backend: str, limits: Limits, note: Note, runtime: str = "") -> Sandbox:
    """Gives a sandbox that has proved nothing yet.

    Raises:
        EnvironmentMissing: what it stands on is not here.
    """
    if backend == "docker-ns":
        from validators.sandbox.docker_ns import DockerNsSandbox

        return DockerNsSandbox(limits, note)
    if backend == "docker-run":
        from validators.sandbox.docker_run import DockerSandbox

        return DockerSandbox(limits, note, runtime)
    from validators.sandbox.native import NativeSandbox

    return NativeSandbox(limits)


def sandbox_hint(backend: str) -> str:
    """Says what to do when a backend does not work on this machine."""
    if backend == "docker-run":
        return "see `docker info`"
    if backend == "docker-ns":
        return "allow user namespaces on the engine's host, or use docker-run"
    return (
        "allow user namespaces: sysctl -w user.max_user_namespaces=10000 "
        "(Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0; in a container: --security-opt seccomp=unconfined "
        "--security-opt systempaths=unconfined)"
    )
