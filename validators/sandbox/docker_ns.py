"""The `docker-ns` backend: a few long-lived hardened containers, in each one plan after the other, each in a world of
its own made of fresh kernel namespaces (namespaces.py). The isolation of both at the price of the second.

A container needs four system calls that Docker's default profile denies to it: unshare, mount, umount2, pivot_root.
Ours (docker_ns_seccomp.json) is a list of what is denied, so that it holds for the worker alone: before a plan starts,
confine.py denies those four again, and more. A plan has no capability, not even over its own namespaces.
LIMIT: on engines with AppArmor the container runs without Docker's AppArmor profile, which denies every mount. Where
the host forbids unprivileged user namespaces this can't work at all; the self-test finds out.
"""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from validators.sandbox.backend import MIB, Json, Limits, Note
from validators.sandbox.channel import NOT_WORTH_RETRYING, Launch, ProcessSandbox
from validators.sandbox.docker_run import RUNNER_MODULES, DockerSandbox, program_text

SECCOMP = Path(__file__).with_name("docker_ns_seccomp.json")
WORKER_MODULES = (*RUNNER_MODULES, "namespaces")
WORKER_BYTES = 24 * MIB
"""Of the container's memory for the worker, beyond the plan's; about twice what it was seen to use."""
WORKER_PROCESSES = 2
"""The worker and the child that waits for the sandbox; the sandbox's process 1 is of the plan's number."""
CLOSE_S = 5.0
MAX_PLANS = 2000
"""A container is replaced after so many plans, lest whatever the kernel keeps for it adds up."""


@dataclass(slots=True)
class Worker:
    """A running container and how many plans it has taken."""

    process: subprocess.Popen[bytes]
    launch: Launch
    num_plans: int = 0


class DockerNsSandbox(DockerSandbox):
    """Containers that take plans one at a time; as many as threads ask at once, started when first needed.

    One that ran out of memory or did not answer as it should is thrown away; so is one that took `max_plans`.

    Raises:
        EnvironmentMissing: no engine answers, or the `docker` command is missing.
    """

    name = "docker-ns"

    def __init__(self, limits: Limits, note: Note, *, max_plans: int = MAX_PLANS) -> None:
        super().__init__(limits, note)
        self._max_plans = max_plans
        self._idle: list[Worker] = []
        self._ending: dict[int, threading.Thread] = {}

    def launch(self, fixture: Json) -> Launch:
        """Gives the `docker run` of a worker; a plan's fixture comes with its job."""
        del fixture
        options = ["--security-opt", f"seccomp={SECCOMP}", "--security-opt", "systempaths=unconfined"]
        options += ["--security-opt", "apparmor=unconfined"] if self._has_apparmor else []
        return self.hardened(
            [*options, "--shm-size", "1m"],
            program_text(WORKER_MODULES, "serve"),
            memory_bytes=self.limits.memory_bytes + WORKER_BYTES,
            max_processes=self.limits.max_processes + WORKER_PROCESSES,
        )

    def answer(self, job: Json, *, is_retry: bool) -> Json:
        """Gives a worker's answer to a job; a retry gets a container that has seen nothing yet."""
        worker = self._take(is_fresh=is_retry)
        is_sound = False
        try:
            answer = self.ask(worker.process, job)
            status, failure = answer.get("status"), answer.get("failure")
            is_sound = status != "oom" and (status != "sandbox_error" or failure in NOT_WORTH_RETRYING)
            return answer
        finally:
            worker.num_plans += 1
            self._put_back(worker, is_sound=is_sound and worker.num_plans < self._max_plans)

    def _take(self, *, is_fresh: bool) -> Worker:
        while not is_fresh:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                break
            if worker.process.poll() is None:
                return worker
            self._retire(worker)  # someone ended the container while it was idle
        launch = self.launch({})
        return Worker(self.start(launch), launch)

    def _put_back(self, worker: Worker, *, is_sound: bool) -> None:
        with self._lock:
            is_kept = is_sound and not self._is_closed
            if is_kept:
                self._idle.append(worker)
            is_closed = self._is_closed
        if is_closed:
            self.finish(worker.process, worker.launch)  # close() does not wait for us, but our caller does
        elif not is_kept:
            self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        """Ends a container in a thread of its own: an engine can take many seconds to see the end of one."""
        thread = threading.Thread(target=self.finish, args=(worker.process, worker.launch), name="retire", daemon=True)
        with self._lock:
            self._ending = {pid: other for pid, other in self._ending.items() if other.is_alive()}
            self._ending[worker.process.pid] = thread
            thread.start()

    def close(self) -> None:
        """Ends every plan that still runs, and every container; run() then answers sandbox_error."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            quiet = {worker.process.pid for worker in idle} | self._ending.keys()
            busy = [pair for pid, pair in self._running.items() if pid not in quiet]
        for worker in idle:
            self._retire(worker)
        for process, launch in busy:
            self.kill(process, launch)
        with self._lock:
            ending = dict(self._ending)
        deadline = time.monotonic() + CLOSE_S
        for thread in ending.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            late = [pair for pid, pair in self._running.items() if pid in ending]
        for process, launch in late:  # its worker has ended with its input; the engine removes it without our command
            ProcessSandbox.kill(self, process, launch)
        for thread in ending.values():
            thread.join(CLOSE_S)

    def describe(self) -> Json:
        """Gives backend, image (tagged by content digest), engine, limits and how system calls are filtered."""
        return super().describe() | {
            "seccomp": f"{SECCOMP.name} for the worker, confine.py for plans",
            "apparmor": "unconfined" if self._has_apparmor else "none",
        }
