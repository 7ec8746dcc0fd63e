"""The host's side of one sandboxed plan: starts the sandbox's process, hands the job in, takes one line out, in time.

The job goes through stdin, which then stays open: its end tells the sandbox that we are gone, so that nothing outlives
a killed parent. Only the form of the answer is trusted here; what it means is judged in execution_gate.py.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from frontier_core.errors import SandboxError
from frontier_core.jsonl import dumps, loads
from validators.sandbox.contract import MIB, Json, Limits, Outcome, limits_json
from validators.sandbox.tools import TOOLS, advice
from validators.sandbox.world import text_of

GRACE_S = 60.0
"""Allowed on top of the plan's own time-out for start, fixture, checks and end."""
END_S = 20.0
"""How long a process may take to end after its input did; an engine takes this long after a memory kill, at worst."""
MAX_ANSWER_BYTES = 64 * MIB
"""Without the two outputs."""
BYTES_IN_ANSWER = 2
"""At most, for one byte of a long output: it travels as base64."""
NOT_WORTH_RETRYING = ("bad_fixture", "bad_expect", "missing_tool", "closed")


def _own_timeout(job: Json) -> Json:
    return {"timeout_s": job["timeout_s"]} if "timeout_s" in job else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One process to start: its command line, its environment, and the container it stands for ("" for none)."""

    argv: list[str]
    env: dict[str, str]
    container: str = ""


class ProcessSandbox(ABC):
    """A sandbox that is a process: a fresh one per plan unless `answer` says otherwise; which, its backend says."""

    name: str

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._running: dict[int, tuple[subprocess.Popen[bytes], Launch]] = {}
        self._is_closed = False

    @abstractmethod
    def launch(self, fixture: Json) -> Launch:
        """Gives the process that runs a plan with this fixture."""

    @abstractmethod
    def runner_limits(self) -> Json:
        """Gives what the runner must enforce itself: {has_cgroup, counts_processes}."""

    @abstractmethod
    def describe(self) -> Json:
        """Gives what a sidecar should keep."""

    def kill(self, process: subprocess.Popen[bytes], launch: Launch) -> None:
        """Ends a sandbox at once."""
        del launch  # a process group is all there is, unless a backend knows better
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def run(self, job: Json) -> Outcome:
        """Runs one plan; see backend.Sandbox."""
        full = {
            "commands": job["commands"],
            "fixture": job.get("fixture") or {},
            "expect": job.get("expect") or {},
            "tools": [name for name in job.get("tools") or [] if name in TOOLS],
            "known_tools": list(TOOLS),
            "strict": bool(job.get("strict")),
            "limits": limits_json(self.limits) | self.runner_limits() | _own_timeout(job),
        }
        outcome = self._attempt(full, is_retry=False)
        if outcome.status == "sandbox_error" and outcome.failure not in NOT_WORTH_RETRYING:
            outcome = self._attempt(full, is_retry=True)
        return outcome

    def close(self) -> None:
        """Ends every plan that still runs; run() then answers sandbox_error."""
        with self._lock:
            self._is_closed = True
            running = list(self._running.values())
        for process, launch in running:
            self.kill(process, launch)

    def _attempt(self, job: Json, *, is_retry: bool) -> Outcome:
        try:
            answer = self.answer(job, is_retry=is_retry)
            if answer.get("failure") == "missing_tool":
                names = answer["reason"]
                answer["reason"] = f"the sandbox lacks {names} ({advice(names)})"
            image = str(getattr(self, "image", ""))
            return Outcome.from_json(answer, self.name, image=image, limits=limits_json(self.limits))
        except (SandboxError, OSError) as error:
            failure = "closed" if self._is_closed else "sandbox"
            return Outcome(status="sandbox_error", backend=self.name, failure=failure, reason=str(error))

    def answer(self, job: Json, *, is_retry: bool) -> Json:
        """Gives the runner's answer to a job.

        Args:
            is_retry: the sandbox failed at this job just now, so that nothing that was there then should be used.
        Raises:
            SandboxError: there is none.
        """
        del is_retry  # every process is a fresh one
        launch = self.launch(job["fixture"])
        process = self.start(launch)
        try:
            return self.ask(process, job)
        finally:
            self.finish(process, launch)

    def start(self, launch: Launch) -> subprocess.Popen[bytes]:
        """Starts a process that takes jobs; `finish` must follow.

        Raises:
            SandboxError: the sandbox was closed.
        """
        with self._lock:
            if self._is_closed:
                raise SandboxError("the sandbox was closed")
            process = subprocess.Popen(
                launch.argv, env=launch.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
            self._running[process.pid] = process, launch
            return process

    def ask(self, process: subprocess.Popen[bytes], job: Json) -> Json:
        """Hands a job to a process and gives its answer, one line.

        Raises:
            SandboxError: it did not come in time, or something else did.
        """
        deadline = time.monotonic() + self.limits.timeout_s + GRACE_S
        max_bytes = MAX_ANSWER_BYTES + 2 * BYTES_IN_ANSWER * self.limits.output_bytes
        out, err = _converse(process, dumps(job) + b"\n", deadline, max_bytes)
        line, _, more = out.partition(b"\n")
        try:
            answer = loads(line)
            for name in ("stdout", "stderr"):
                if isinstance(answer, dict) and "base64" in answer.get(name, ()):
                    answer[name] = {"text": text_of(b64decode(answer[name].pop("base64"))), **answer[name]}
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or more:
            words = err.decode("utf-8", "backslashreplace").strip().splitlines()
            raise SandboxError(f"no answer from the sandbox: {words[-1] if words else 'it ended without a word'}")
        return answer

    def finish(self, process: subprocess.Popen[bytes], launch: Launch) -> None:
        """Ends a process: by the end of its input, or at once when that does not help."""
        try:
            self._wait_or_kill(process, launch)
        finally:
            with self._lock:
                self._running.pop(process.pid, None)

    def _wait_or_kill(self, process: subprocess.Popen[bytes], launch: Launch) -> None:
        stdin, stdout, stderr = _pipes(process)
        with suppress(OSError):
            stdin.close()
        try:
            process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self.kill(process, launch)
            process.wait()
        except BaseException:  # an interrupt while waiting must not leave the plan behind
            self.kill(process, launch)
            raise
        stdout.close()
        stderr.close()


def _converse(process: subprocess.Popen[bytes], job: bytes, deadline: float, max_bytes: int) -> tuple[bytes, bytes]:
    """Hands the job in and gives (stdout up to its first newline or end, stderr).

    Raises:
        SandboxError: the deadline passed or the answer is absurdly long.
    """
    stdin, stdout, stderr = _pipes(process)
    out, err, todo = bytearray(), bytearray(), memoryview(job)
    with selectors.DefaultSelector() as selector:
        for stream in (stdin, stdout, stderr):
            os.set_blocking(stream.fileno(), False)
        selector.register(stdin, selectors.EVENT_WRITE)
        selector.register(stdout, selectors.EVENT_READ)
        selector.register(stderr, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or len(out) > max_bytes:
                raise SandboxError("the sandbox did not answer in time" if left <= 0 else "the answer is too long")
            for key, _ in selector.select(left):
                if key.fileobj is stdin:
                    try:
                        todo = todo[os.write(key.fd, todo[: 1 << 16]) :]
                    except BrokenPipeError:
                        todo = todo[:0]
                    if not todo:
                        selector.unregister(stdin)
                    continue
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                if key.fileobj is stdout:
                    out += data
                    if not data or b"\n" in data:
                        return bytes(out), bytes(err)
                elif len(err) < MIB:
                    err += data


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise RuntimeError("the process was started without its pipes")
    return process.stdin, process.stdout, process.stderr
