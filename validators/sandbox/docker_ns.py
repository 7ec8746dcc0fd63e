"""The `docker-ns` backend: a few long-lived hardened containers, in each one plan after the other, each in a world of
its own made of fresh kernel namespaces (namespaces.py). The isolation of both at the price of the second.

A container needs four system calls that Docker's default profile denies to it: unshare, mount, umount2, pivot_root.
Ours (docker_ns_seccomp.json) is a list of what is denied, so that it holds for the worker alone: before a plan starts,
confine.py denies those four again, and more. A plan has no capability, not even over its own namespaces.
LIMIT: on engines with AppArmor the container runs without Docker's AppArmor profile, which denies every mount. Where
the host forbids unprivileged user namespaces this can't work at all; the self-test finds out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from validators.sandbox.channel import Launch
from validators.sandbox.contract import MIB, Json
from validators.sandbox.docker_run import RUNNER_MODULES, DockerSandbox, program_text
from validators.sandbox.pool import WorkerPool

SECCOMP = Path(__file__).with_name("docker_ns_seccomp.json")
WORKER_MODULES = (*RUNNER_MODULES, "namespaces")
WORKER_BYTES = 24 * MIB
"""Of the container's memory for the worker, beyond the plan's; about twice what it was seen to use."""
WORKER_PROCESSES = 1
"""The worker; the sandbox's process 1 is of the plan's number, as in a container of its own."""


class DockerNsSandbox(WorkerPool, DockerSandbox):
    """Containers that take plans one at a time; as many as threads ask at once, started when first needed.

    One that ran out of memory or did not answer as it should is thrown away; so is one that took `max_plans`.

    Raises:
        EnvironmentMissing: no engine answers, or the `docker` command is missing.
    """

    name = "docker-ns"

    def launch(self, fixture: Json) -> Launch:
        """Gives the `docker run` of a worker; a plan's fixture comes with its job."""
        del fixture
        options = ["--security-opt", f"seccomp={SECCOMP}", "--security-opt", "systempaths=unconfined"]
        options += ["--security-opt", "apparmor=unconfined"] if self._has_apparmor else []
        launch = self.hardened(
            [*options, "--shm-size", "1m"],
            program_text(WORKER_MODULES, "serve"),
            memory_bytes=self.limits.memory_bytes + WORKER_BYTES,
            max_processes=self.limits.max_processes + WORKER_PROCESSES,
        )
        # The command only passes lines on: threads that look for more to do cost it half of its time.
        return replace(launch, env=launch.env | {"GOMAXPROCS": "1"})

    def describe(self) -> Json:
        """Gives backend, image (tagged by content digest), engine, limits and how system calls are filtered."""
        return super().describe() | {
            "seccomp": f"{SECCOMP.name} for the worker, confine.py for plans",
            "apparmor": "unconfined" if self._has_apparmor else "none",
        }
