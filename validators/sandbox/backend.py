"""What every sandbox offers, and how one is chosen: by a self-test, a plan that tries to escape and must fail.

A sandbox runs one plan per call in a world of its own. Backends: `docker-ns` (docker_ns.py, kernel namespaces inside
hardened containers), `docker-run` (docker_run.py, a hardened container per plan) and `native-ns` (native.py, kernel
namespaces alone). Which is better for whom: docs/sandbox.md.
"""

from __future__ import annotations

from frontier_core.errors import ConfigError, EnvironmentMissing
from frontier_core.nearest import did_you_mean
from validators.sandbox.contract import Limits, Note, Sandbox

BACKENDS = ("docker-ns", "docker-run", "native-ns")
"""In the order "auto" tries them."""


def open_sandbox(name: str = "auto", *, limits: Limits | None = None, on_note: Note | None = None) -> Sandbox:
    """Gives a sandbox that has just proved itself.

    Args:
        name: a backend, or "auto": the first of BACKENDS that passes its self-test here.
        limits: what one plan may use; the defaults of Limits when None.
        on_note: gets remarks for people ("building the image ...", why a backend was passed over).
    Raises:
        ConfigError: there is no such backend.
        EnvironmentMissing: it (with "auto": none) works here; says what is missing and what to install.
    """
    if name != "auto" and name not in BACKENDS:
        raise ConfigError(f"unknown sandbox {name!r}", hint=did_you_mean(name, ["auto", *BACKENDS]))
    note: Note = on_note or _drop
    problems: dict[str, list[str]] = {}  # what is wrong -> with which backends
    hints: dict[str, None] = {}
    for backend in BACKENDS if name == "auto" else (name,):
        try:
            sandbox = _open_one(backend, limits or Limits(), note)
        except EnvironmentMissing as error:
            problems.setdefault(error.message, []).append(backend)
            hints[error.hint] = None
            continue
        for problem, backends in problems.items():
            note(f"{' and '.join(backends)} passed over: {problem}")
        return sandbox
    hint = "; or: ".join(filter(None, hints))
    raise EnvironmentMissing(f"no sandbox to run plans in: {'; '.join(problems)}", hint=hint)


def _drop(_text: str) -> None:
    """Takes a remark nobody asked for."""


def _open_one(backend: str, limits: Limits, note: Note) -> Sandbox:
    sandbox: Sandbox
    if backend == "docker-ns":
        from validators.sandbox.docker_ns import DockerNsSandbox

        sandbox = DockerNsSandbox(limits, note)
    elif backend == "docker-run":
        from validators.sandbox.docker_run import DockerSandbox

        sandbox = DockerSandbox(limits, note)
    else:
        from validators.sandbox.native import NativeSandbox

        sandbox = NativeSandbox(limits)
    failures = self_test(sandbox)
    if failures:
        sandbox.close()
        raise EnvironmentMissing(f"{backend} failed its self-test: {'; '.join(failures)}", hint=sandbox_hint(backend))
    return sandbox


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


# One line per probe, "name=answer"; each answer is known beforehand and a sandbox that lets anything through differs.
_PROBES = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
can() { if eval "$2" >/dev/null 2>&1; then say "$1" yes; else say "$1" no; fi; }
say uid "$(id -u)"
say homes "$(cd /home && echo *)"
can root_home 'ls /root'
can shadow 'cat /etc/shadow'
can docker_socket 'ls /var/run/docker.sock || ls /run/docker.sock'
can write_usr 'touch /usr/probe'
can write_etc 'touch /etc/probe'
can write_sys 'echo 1 > /proc/sys/vm/drop_caches || echo x > /proc/sys/kernel/core_pattern'
can runner_memory 'head -c1 /proc/1/mem || ls /proc/1/fd/'
can mount 'mount -t tmpfs x /tmp || unshare -Ur true'
can namespace 'python3 -c "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x10000000))"'
say interfaces "$(awk -F: 'NR>2 {gsub(/ /,"",$1); print $1}' /proc/net/dev | sort | tr '\n' ' ')"
can internet 'timeout 1 bash -c "exec 3<>/dev/tcp/169.254.169.254/80"'
say caps "$(awk '/^CapEff/ {print $2}' /proc/self/status)"
say no_new_privs "$(awk '/^NoNewPrivs/ {print $2}' /proc/self/status)"
echo "$FRUIT" > basket/fruit
setsid sleep 60 &
"""

_ANSWERS = """uid=1000
homes=user
root_home=no
shadow=no
docker_socket=no
write_usr=no
write_etc=no
write_sys=no
runner_memory=no
mount=no
namespace=no
interfaces=lo\N{SPACE}
internet=no
caps=0000000000000000
no_new_privs=1
"""


def self_test(sandbox: Sandbox) -> list[str]:
    """Runs one plan of escape probes with a known end; gives what is wrong, [] for a sandbox to trust."""
    outcome = sandbox.run(
        {
            "commands": [_PROBES],
            "fixture": {"dirs": {"basket": {}}, "env": {"FRUIT": "pear"}},
            "expect": {"files": {"basket/fruit": {"text": "pear\n"}}},
        }
    )
    if outcome.status != "ok":
        return [f"{outcome.status} {outcome.reason or outcome.stderr.get('text', '')[:200]}".strip()]
    wanted = dict(line.split("=", 1) for line in _ANSWERS.splitlines())
    got = dict(line.split("=", 1) for line in outcome.stdout["text"].splitlines() if "=" in line)
    wrong = [f"probe {name} says {got.get(name)!r}" for name, answer in wanted.items() if got.get(name) != answer]
    wrong += [found["message"] for found in outcome.findings]
    if outcome.processes_left != 1:
        wrong.append(f"{outcome.processes_left} processes were left to kill, not 1")
    return wrong
