"""Runs ONE plan as process 1 of a sandbox: fixture, steps under limits, difference, expectations, one answer.

Trusted code beside hostile code under the same uid. It reads one JSON job from stdin and writes one JSON outcome to
what was its stdout; the plan can't forge or disturb that: it never holds those descriptors, process 1 is closed to it
(confine.py), and every process of the plan is dead before the answer is written. This file with confine.py, world.py
and expectations.py is all that runs inside; standard library only. Making the sandbox: namespaces.py, docker_run.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Any

from validators.sandbox import confine, expectations
from validators.sandbox.world import ENV, HOME, PATH, STATE_FD, BadFixture, Capture, World, apply_fixture, text_of

Json = dict[str, Any]

# First line of each step: the memory killer takes the plan before the runner, and the shell says at its end where it
# stood and what it exported, so that the next step can go on from there.
FIRST_TO_DIE = "echo 1000 2>/dev/null >/proc/self/oom_score_adj\n"
SAVE_STATE = f'trap \'{{ printf "%s\\0" "${{PWD-}}"; command env -0; }} >&{STATE_FD} 2>/dev/null\' EXIT; '
MAX_CHANGES = 1000
OOM_WORDS = re.compile(rb"Cannot allocate memory|MemoryError|[Oo]ut of memory|memory exhausted")
NO_SPACE = re.compile(rb"No space left on device|File too large|Disk quota exceeded")
OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def read_line(fd: int = 0) -> bytes:
    """Reads a job's line; an end of input before its end ends the process. The next job comes after the answer."""
    line = bytearray()
    while not line.endswith(b"\n"):
        data = os.read(fd, 1 << 16)
        if not data:
            os._exit(0)
        line += data
    return bytes(line)


def read_job() -> Json:
    """Reads the job; an end of input before its end ends the process."""
    job: Json = json.loads(read_line())
    return job


def main() -> None:
    """Reads the job, runs it, answers, ends. Descriptors of the channel never reach a child."""
    answer(read_job(), open_oom_counter())


def answer(job: Json, oom_counter: int = -1) -> None:
    """Runs the job and writes its outcome, one line of JSON, to what is stdout now; then ends the process.

    `oom_counter` is a descriptor of `open_oom_counter`, which must be called where /sys can be seen.
    """
    channel = os.dup(1)  # not inheritable
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    outcome = run_job(job, oom_counter)
    data = json.dumps(outcome, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    while data:
        data = data[os.write(channel, data) :]
    os._exit(0)


def run_job(job: Json, oom_counter: int) -> Json:
    """Gives the outcome of a job; what goes wrong with the sandbox itself is an outcome too."""
    expectations.preload(job["expect"])
    os.umask(0o022)
    try:
        confine.harden()
        missing = [tool for tool in job["tools"] if not find_tool(tool)]
        if missing:
            return failed("missing_tool", " ".join(missing))
        return Run(job, oom_counter).outcome()
    except BadFixture as error:
        return failed("bad_fixture", str(error))
    except (OSError, RuntimeError, MemoryError) as error:
        return failed("runner", f"{type(error).__name__}: {error}")


def failed(kind: str, reason: str) -> Json:
    """Gives the outcome of a sandbox that could not do its work."""
    return {"status": "sandbox_error", "failure": kind, "reason": reason}


def find_tool(name: str) -> bool:
    """Says whether a command is on the sandbox's PATH."""
    return any(os.access(os.path.join(folder, name), os.X_OK) for folder in PATH.split(":"))


class Run:
    """One plan from fixture to judgement."""

    def __init__(self, job: Json, oom_counter: int) -> None:
        self.job = job
        self.oom_counter = oom_counter
        self.expect: Json = job["expect"]
        self.limits: Json = job["limits"]
        self.world = World(self.limits)
        self.env = {**ENV, **job["fixture"].get("env", {})}
        self.cwd = HOME
        self.steps: list[Json] = []
        cap = self.limits["output_bytes"]
        self.out, self.err, self.state = Capture(cap), Capture(cap), Capture(0)

    def outcome(self) -> Json:
        """Runs the plan and gives everything that is known afterwards."""
        apply_fixture(self.job["fixture"], self.world, self.env)
        budget = 4 * self.limits["disk_bytes"]
        before = expectations.Walk(budget)
        before.restore()
        num_ooms = count_ooms(self.oom_counter)
        began = time.monotonic()
        stopped = self._run_steps()
        wall_s = time.monotonic() - began
        states = {} if stopped else expectations.process_states(self.expect, self.world)
        num_left = len([pid for pid in self.world.alive() if pid not in self.world.background.values()])
        self.world.kill_all()
        self.world.drain(self.streams)
        after = expectations.Walk(budget)
        changes = expectations.diff(before.entries, after.entries)
        status = self._status(stopped, is_oom=count_ooms(self.oom_counter) > num_ooms, is_complete=after.is_complete)
        try:
            findings = self._findings(after, changes, states) if status == "ok" else []
        except (TypeError, KeyError, ValueError, AttributeError, re.error) as error:
            return failed("bad_expect", f"{type(error).__name__}: {error}")
        missing = self._missing_tools() if status == "nonzero" and self.code == 127 else []
        if missing:
            return failed("missing_tool", " ".join(missing))
        return {
            "status": status, "exit_code": self.code, "wall_s": round(wall_s, 4),
            "steps": self.steps, "stdout": self.out.report(), "stderr": self.err.report(),
            "changes": changes[:MAX_CHANGES], "num_changes": len(changes), "processes_left": num_left,
            "findings": findings,
        }  # fmt: skip

    @property
    def code(self) -> int:
        """Exit code of the last step that ran; 128 + n when signal n ended it."""
        return int(self.steps[-1]["exit_code"]) if self.steps else 0

    def _run_steps(self) -> str:
        """Runs the steps until one fails or is stopped; gives why it was stopped, "" for by itself."""
        pipes = {1: os.pipe2(os.O_CLOEXEC), 2: os.pipe2(os.O_CLOEXEC), STATE_FD: os.pipe2(os.O_CLOEXEC)}
        captures = {1: self.out, 2: self.err, STATE_FD: self.state}
        self.streams = {pipes[fd][0]: captures[fd] for fd in pipes}
        for fd in self.streams:
            os.set_blocking(fd, False)
        deadline = time.monotonic() + self.limits["timeout_s"]
        commands = self.job["commands"]
        for number, command in enumerate(commands):
            is_last = number + 1 == len(commands)
            self.state.head.clear()
            self.state.cap = 0 if is_last else 1 << 20
            script = ("" if is_last else SAVE_STATE) + FIRST_TO_DIE + command
            began = time.monotonic()
            targets = {fd: pipe[1] for fd, pipe in pipes.items() if not (is_last and fd == STATE_FD)}
            try:
                pid = self.world.spawn(["/bin/bash", "-c", script, "bash"], self.env, self.cwd, targets)
            except OSError as error:
                self.err.add(f"bash: {error.strerror}: {error.filename or self.cwd}\n".encode())
                self.steps.append({"exit_code": 126, "wall_s": 0.0})
                break
            stopped = self.world.wait(pid, deadline, dict(self.streams))
            self.world.drain(self.streams)
            code = self.world.exited.get(pid, -signal.SIGKILL)
            code = code if code >= 0 else 128 - code
            self.steps.append({"exit_code": code, "wall_s": round(time.monotonic() - began, 4)})
            if stopped:
                return stopped
            if self.out.num_bytes > self.out.cap or self.err.num_bytes > self.err.cap:
                return "output_limit"
            if code != 0:
                break
            self._carry_over()
        for _, write in pipes.values():
            os.close(write)
        return ""

    def _carry_over(self) -> None:
        """Takes over folder and exported variables from the shell that just ended; without word from it, keeps both."""
        where, *pairs = bytes(self.state.head).split(b"\0")
        env = dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair)
        if where and env:
            self.cwd = os.fsdecode(where)
            self.env = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}

    def _status(self, stopped: str, *, is_oom: bool, is_complete: bool) -> str:
        if is_oom:
            return "oom"
        if stopped:
            return stopped
        if not is_complete:
            return "disk_limit"
        code, expected = self.code, self.expect.get("exit_code", 0)
        if code == 0 or (code == expected and len(self.steps) == len(self.job["commands"])):
            return "ok"
        errors = bytes(self.err.head)
        if code == 128 + signal.SIGXFSZ or (NO_SPACE.search(errors) and self._is_full()):
            return "disk_limit"
        if OOM_WORDS.search(errors) and not self.limits["has_cgroup"]:
            return "oom"
        return "nonzero"

    def _is_full(self) -> bool:
        for folder in (HOME, "/tmp", "/dev/shm"):
            space = os.statvfs(folder)
            if space.f_bavail * 20 < space.f_blocks or space.f_favail * 20 < space.f_files:
                return True
        return False

    def _findings(self, after: expectations.Walk, changes: list[Json], states: dict[str, bool]) -> list[Any]:
        expected = self.expect.get("exit_code", 0)
        found: list[expectations.Finding] = []
        if self.code != expected:
            message = f"exit code {self.code}, should be {expected}"
            found.append(expectations.finding("wrong_exit_code", message, "exit_code"))
        cap = 2 * self.limits["disk_bytes"]
        found += expectations.judge_output(self.expect, bytes(self.out.head))
        found += expectations.judge_files(self.expect, after.entries, changes, cap)
        after.restore()
        found += expectations.judge_processes(self.expect, states)
        found += expectations.judge_checks(self.expect, self.world, self.job["fixture"].get("env", {}))
        return found[:100]

    def _missing_tools(self) -> list[str]:
        """Gives the tools the plan called and this sandbox ought to have but lacks; the plan is not to blame."""
        called = re.findall(r"(\S+): command not found", text_of(bytes(self.err.head)))
        return sorted({word for word in called if word in self.job["known_tools"] and not find_tool(word)})


def open_oom_counter() -> int:
    """Opens the memory killer's counter of our cgroup; gives -1 where there is none. No child inherits it."""
    for path in OOM_COUNTERS:
        try:
            return os.open(path, os.O_RDONLY)
        except OSError:
            continue
    return -1


def count_ooms(counter: int) -> int:
    """Gives how often the kernel's memory killer struck in this cgroup; 0 without a counter."""
    if counter < 0:
        return 0
    text = os.pread(counter, 4096, 0).decode()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))


if __name__ == "__main__":
    main()
