"""The `docker-run` backend: each plan in a hardened container of its own, its image made from the host's tools.

What docker_ns.py needs of it too: the engine, the image, the flags every container gets, and how one is ended.

The runner travels as the command line, so a change of it needs no new image. A container is ended by its name:
killing the `docker` command alone would leave it running. When we die, the container's stdin ends and with it the
runner. The SDK asks about the engine and the image; the `docker` command runs plans, because only it forwards stdin
and its end reliably. What an old engine leaves over all the same: leftovers.py.

LIMIT: home, /tmp and /dev/shm are three file systems here, each of `disk_bytes`; that their sum is within the limit is
looked at when the plan has ended.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import time
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from frontier_core.errors import EnvironmentMissing, SandboxError
from validators.sandbox.channel import Launch, ProcessSandbox
from validators.sandbox.contract import Json, Limits, Note, limits_json
from validators.sandbox.image import ensure_image
from validators.sandbox.leftovers import LABEL, OWNER_LABEL, owner, remove_leftovers

PING_TIMEOUT_S = 5
KILL_TIMEOUT_S = 20
EVENTS_TIMEOUT_S = 5
INODES = 19_997
"""With each place's own a plan can make as many files as where all three are one file system of 20,000."""
NO_NAMESERVER = "192.0.2.1"
"""Set aside for documentation (RFC 5737); without it the container would know the host's."""
SHIM_NAMES = "io.containerd."
"""Engines take the name of any containerd shim, whether they list it or not."""
RUNNER_MODULES = ("confine", "world", "faults", "prepare", "snapshot", "modes", "expectations", "runner")
"""What runs inside, each after those it imports."""


NETWORK_SETTINGS = {"net.ipv4.ip_unprivileged_port_start": 1024, "net.ipv4.ping_group_range": "1 0"}
"""The kernel's own for a fresh network, as the other backends have it; an engine opens low ports and ping."""
OUT_OF_MEMORY: Json = {
    "status": "oom",
    "exit_code": 137,
    "signal": 9,
    "oom_kills": 1,
    "reason": "out of memory to the last process; its output and changes are gone with it",
    "stdout": {"text": "", "bytes": 0, "truncated": True, "sha256": sha256().hexdigest()},
    "stderr": {"text": "", "bytes": 0, "truncated": True, "sha256": sha256().hexdigest()},
}


@lru_cache(maxsize=4)
def program_text(modules: tuple[str, ...], start: str) -> str:
    """Gives one program text that defines the modules and calls `start` of the last; standard library only."""
    folder = Path(__file__).parent
    lines = ["import sys, types", "for name in ('validators', 'validators.sandbox'):"]
    lines += ["    sys.modules[name] = types.ModuleType(name)", "    sys.modules[name].__path__ = []"]
    for name in modules:
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        lines += [f"module = sys.modules['validators.sandbox.{name}'] = types.ModuleType('validators.sandbox.{name}')"]
        lines += [f"sys.modules['validators.sandbox'].{name} = module", f"exec({text!r}, module.__dict__)"]
    return "\n".join([*lines, f"module.{start}()", ""])


class DockerSandbox(ProcessSandbox):
    """Containers, one per plan.

    Args:
        limits: what one plan may use.
        note: told before the image is built.
        runtime: what the engine is to run containers with (`runsc`, `kata`); "" for its default.
    Raises:
        EnvironmentMissing: no engine answers, the `docker` command is missing, or the engine knows no such runtime.
    """

    name = "docker-run"

    def __init__(self, limits: Limits, note: Note, runtime: str = "") -> None:
        super().__init__(limits)
        command = shutil.which("docker")
        if command is None:
            raise EnvironmentMissing("no docker command on the PATH", hint="apt-get install docker.io")
        self._command = command
        client = connect()
        try:
            info = client.info()
            self.runtime = check_runtime(runtime, info)
            self._owner = owner()
            remove_leftovers(client)
            self.image = ensure_image(client, note)
            config = client.images.get(self.image).attrs["Config"]
            variables: dict[str, str] = dict(pair.split("=", 1) for pair in config["Env"])
            self._python = variables["PYTHON"]
            self._engine = str(client.version()["Version"])
            self._has_apparmor = any("name=apparmor" in option for option in info.get("SecurityOptions") or [])
        finally:
            client.close()

    def launch(self, fixture: Json) -> Launch:
        """Gives the `docker run` of one plan."""
        disk_bytes = self.limits.disk_bytes
        hostname = fixture.get("hostname", "sandbox")
        space = f"rw,exec,nosuid,nodev,size={disk_bytes},nr_inodes={INODES},uid=1000,gid=1000"
        options = [
            "--hostname", hostname, "--add-host", f"{hostname}:127.0.1.1", "--dns", NO_NAMESERVER, "--dns-search", ".",
            "--tmpfs", f"/home/user:{space},mode=755",
            "--tmpfs", f"/tmp:{space},mode=1777",
            "--ipc", "none", "--tmpfs", f"/dev/shm:{space},mode=1777",  # Docker's own /dev/shm has no limit of files
            *(f"--sysctl={name}={value}" for name, value in NETWORK_SETTINGS.items()),
        ]  # fmt: skip
        return self.hardened(options, program_text(RUNNER_MODULES, "main"), memory_bytes=self.limits.memory_bytes,
                             max_processes=self.limits.max_processes)  # fmt: skip

    def hardened(self, options: list[str], program: str, *, memory_bytes: int, max_processes: int) -> Launch:
        """Gives a `docker run` of a Python program under the limits and closed as far as any container can be."""
        container = f"frontier-sandbox-{os.getpid()}-{secrets.token_hex(6)}"
        argv = [
            self._command, "run", "--rm", "-i", "--name", container, "--label", LABEL,
            "--label", f"{OWNER_LABEL}={self._owner}", *(("--runtime", self.runtime) if self.runtime else ()),
            "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--pids-limit", str(max_processes), "--memory", f"{memory_bytes}b", "--memory-swap", f"{memory_bytes}b",
            "--cpus", "1", "--log-driver", "none", "--user", "1000:1000", "--workdir", "/", *options,
            self.image, self._python, "-I", "-S", "-c", program,
        ]  # fmt: skip
        return Launch(argv=argv, env=dict(os.environ), container=container)

    def runner_limits(self) -> Json:
        """The container's cgroup bounds memory and processes."""
        return {"has_cgroup": True, "counts_processes": False}

    def ask(self, process: subprocess.Popen[bytes], job: Json) -> Json:
        """Hands a job in and gives the answer; a container that the memory killer took as a whole has one too.

        A plan may make itself as unlikely a victim as the runner is, which then dies in its place.
        """
        try:
            return super().ask(process, job)
        except SandboxError:
            if self._ran_out_of_memory(self._running[process.pid][1].container):
                return OUT_OF_MEMORY
            raise

    def _ran_out_of_memory(self, container: str) -> bool:
        """Asks the engine, which remembers it beyond the container's end; its word may come a little late."""
        filters = ["--filter", "event=oom", "--filter", f"container={container}"]
        words = ["events", "--since", "24h", "--until", "0s", *filters]
        for _ in range(8):  # some engines count "until now" in whole seconds
            with suppress(subprocess.TimeoutExpired):
                if subprocess.run([self._command, *words], capture_output=True, timeout=EVENTS_TIMEOUT_S).stdout:
                    return True
            time.sleep(0.2)
        return False

    def kill(self, process: subprocess.Popen[bytes], launch: Launch) -> None:
        """Ends the command, then the container: one the engine was just making shows up a moment later."""
        super().kill(process, launch)
        was_seen = False
        for _ in range(4):
            with suppress(subprocess.TimeoutExpired):
                command = [self._command, "rm", "--force", launch.container]
                said = subprocess.run(command, capture_output=True, timeout=KILL_TIMEOUT_S).stderr
                if not said or (was_seen and b"No such" in said):
                    return
                was_seen = was_seen or b"No such" not in said  # its own removal may be in the way of ours
            time.sleep(0.3)

    def describe(self) -> Json:
        """Gives backend, image (tagged by content digest), engine, runtime and limits."""
        return {
            "backend": self.name,
            "image": self.image,
            "engine": self._engine,
            "runtime": self.runtime or "the engine's default",
            "limits": limits_json(self.limits),
        }


def check_runtime(runtime: str, info: Json) -> str:
    """Gives a runtime back if the engine knows it.

    Args:
        runtime: its name; "" for the engine's default.
        info: what the engine says of itself.
    Raises:
        EnvironmentMissing: it is not registered there; names those that are.
    """
    known = sorted(info.get("Runtimes") or {})
    if runtime and runtime not in known and not runtime.startswith(SHIM_NAMES):
        hint = "install it, name it under `runtimes` in /etc/docker/daemon.json, restart the engine"
        raise EnvironmentMissing(f"the Docker engine has no runtime {runtime!r}; it has {', '.join(known)}", hint=hint)
    return runtime


def connect() -> Any:
    """Gives a docker client whose engine has just answered.

    Raises:
        EnvironmentMissing: the SDK is not installed or no engine answers.
    """
    try:
        import docker
        from docker.errors import DockerException
    except ImportError as error:
        raise EnvironmentMissing("the docker SDK is not installed", hint="pip install docker") from error
    try:
        client = docker.from_env(timeout=PING_TIMEOUT_S)
        client.ping()
    except DockerException as error:
        where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        found = re.search(r"Error\(\d+, '([^']+)'\)", str(error))  # the innermost reason, of the operating system
        reason = found[1] if found else str(error).partition("(")[0].strip(" :") or type(error).__name__
        hint = "start the engine (systemctl start docker, or dockerd), or join the docker group"
        raise EnvironmentMissing(f"no Docker engine answers at {where}: {reason}", hint=hint) from error
    client.api.timeout = 120  # an image import takes longer than a ping
    return client
