"""The `docker-run` backend: each plan in a hardened container of its own, its image made from the host's tools.

What docker_ns.py needs of it too: the engine, the image, the flags every container gets, and how one is ended.

The runner travels as the command line, so a change of it needs no new image. A container is ended by its name:
killing the `docker` command alone would leave it running. When we die, the container's stdin ends and with it the
runner. The SDK asks about the engine and the image; the `docker` command runs plans, because only it forwards stdin
and its end reliably.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.channel import Launch, ProcessSandbox
from validators.sandbox.contract import Json, Limits, Note, limits_json
from validators.sandbox.image import ensure_image

PING_TIMEOUT_S = 5
KILL_TIMEOUT_S = 20
LABEL = "frontier.sandbox"
LEFTOVER_S = 120
RUNNER_MODULES = ("confine", "world", "expectations", "runner")
"""What runs inside, each after those it imports."""


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

    Raises:
        EnvironmentMissing: no engine answers, or the `docker` command is missing.
    """

    name = "docker-run"

    def __init__(self, limits: Limits, note: Note) -> None:
        super().__init__(limits)
        command = shutil.which("docker")
        if command is None:
            raise EnvironmentMissing("no docker command on the PATH", hint="apt-get install docker.io")
        self._command = command
        client = connect()
        try:
            remove_leftovers(client)
            self.image = ensure_image(client, note)
            config = client.images.get(self.image).attrs["Config"]
            variables: dict[str, str] = dict(pair.split("=", 1) for pair in config["Env"])
            self._python = variables["PYTHON"]
            self._engine = str(client.version()["Version"])
            options = client.info().get("SecurityOptions") or []
            self._has_apparmor = any("name=apparmor" in option for option in options)
        finally:
            client.close()

    def launch(self, fixture: Json) -> Launch:
        """Gives the `docker run` of one plan."""
        disk_bytes = self.limits.disk_bytes
        space = f"rw,exec,nosuid,nodev,size={disk_bytes},nr_inodes=20000,uid=1000,gid=1000"
        options = [
            "--hostname", fixture.get("hostname", "sandbox"), "--shm-size", str(disk_bytes),
            "--tmpfs", f"/home/user:{space},mode=755", "--tmpfs", f"/tmp:{space},mode=1777",
        ]  # fmt: skip
        return self.hardened(options, program_text(RUNNER_MODULES, "main"), memory_bytes=self.limits.memory_bytes,
                             max_processes=self.limits.max_processes)  # fmt: skip

    def hardened(self, options: list[str], program: str, *, memory_bytes: int, max_processes: int) -> Launch:
        """Gives a `docker run` of a Python program under the limits and closed as far as any container can be."""
        container = f"frontier-sandbox-{os.getpid()}-{secrets.token_hex(6)}"
        argv = [
            self._command, "run", "--rm", "-i", "--name", container, "--label", LABEL,
            "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--pids-limit", str(max_processes), "--memory", f"{memory_bytes}b", "--memory-swap", f"{memory_bytes}b",
            "--cpus", "1", "--log-driver", "none", "--user", "1000:1000", "--workdir", "/", *options,
            self.image, self._python, "-I", "-S", "-c", program,
        ]  # fmt: skip
        return Launch(argv=argv, env=dict(os.environ), container=container)

    def runner_limits(self) -> Json:
        """The container's cgroup bounds memory and processes."""
        return {"has_cgroup": True, "counts_processes": False}

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
        """Gives backend, image (tagged by content digest), engine and limits."""
        return {
            "backend": self.name,
            "image": self.image,
            "engine": self._engine,
            "limits": limits_json(self.limits),
        }


def remove_leftovers(client: Any) -> None:
    """Removes containers a killed run left between made and started, or the engine could not remove at the first try.

    They hold a name and nothing else.
    """
    from docker.errors import APIError

    for container in client.containers.list(all=True, filters={"label": LABEL, "status": ["created", "dead"]}):
        made = datetime.fromisoformat(container.attrs["Created"][:19]).replace(tzinfo=UTC)
        if (datetime.now(UTC) - made).total_seconds() > LEFTOVER_S:
            with suppress(APIError):  # another run removes them too
                container.remove(force=True)


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
        reason = str(error).split("(", 1)[0].strip() or type(error).__name__
        hint = "start the engine (systemctl start docker, or dockerd), or join the docker group"
        raise EnvironmentMissing(f"no Docker engine answers: {reason}", hint=hint) from error
    client.api.timeout = 120  # an image import takes longer than a ping
    return client
