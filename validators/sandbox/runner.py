"""Runs ONE plan as process 1 of a sandbox: fixture, steps under limits, difference, expectations, one answer.

Trusted code beside hostile code under the same uid. It reads one JSON job from stdin and writes one JSON outcome to
what was its stdout; the plan can't forge or disturb that: it never holds those descriptors, process 1 is closed to it
(confine.py), and every process of the plan is dead before the answer is written. This file with confine.py, world.py,
faults.py, prepare.py, snapshot.py, modes.py and expectations.py is all that runs inside; standard library only. Making
the sandbox: namespaces.py, docker_run.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Any

from validators.sandbox import confine, expectations
from validators.sandbox.faults import BadExpect, BadFixture, check_expect
from validators.sandbox.prepare import apply_fixture
from validators.sandbox.snapshot import Difference, Walk, diff
from validators.sandbox.world import ENV, HOME, PATH, SCRIPT_FD, STATE_FD, Capture, World, text_of

Json = dict[str, Any]

# The memory killer takes the plan before the runner. On the step's first line, so that line numbers stay its own.
FIRST_TO_DIE = "echo 1000 2>/dev/null >/proc/self/oom_score_adj || :; "
# A step that others follow says at its end where it stood and what it exported: by a trap when it ends by `exit`, else
# after its text, so that an EXIT trap of its own does no harm. Only `exec`, or that trap with `exit`, end in silence.
_SAY = r'builtin pwd; builtin printf "\0"; /usr/bin/env -0'
BEFORE_STEP = f"trap '[ \"${{__said-}}\" ] || {{ {_SAY}; }} 2>/dev/null >&{STATE_FD}' EXIT; "
RUN_STEP = '__step=$1; set --; eval "$__step"; '
AFTER_STEP = f'{{ __said=$?; set +x; }} 2>/dev/null; {{ {_SAY}; }} 2>/dev/null >&{STATE_FD} || :; exit "$__said"'
STRICT = ("-e", "-o", "pipefail")
LONGEST_ARGUMENT = 120_000
NOT_CARRIED = (b"_", b"SHLVL")
MAX_STATE_BYTES = 1 << 20
MAX_STEP_TEXT = 1000
MAX_CHANGES = 1000
MAX_CHANGES_BYTES = 1 << 20
WRITABLE = (HOME, "/tmp", "/dev/shm")
OOM_WORDS = re.compile(rb"Cannot allocate memory|MemoryError|[Oo]ut of memory|memory exhausted")
NO_SPACE = re.compile(rb"No space left on device|File too large|Disk quota exceeded")
# These read what a plan wrote: none may look at a byte more often than a fixed number of times.
NOT_FOUND = re.compile(rb"(?<!\S)(\S{1,64}): command not found")
MAX_REFUSAL_BYTES = 1 << 16
OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")

# What a plan's step says when it failed for what no plan may do here: root's rights, other people's files, the network.
FORBIDDEN = re.compile(
    rb"Operation not permitted|Read-only file system|Bad system call|[Mm]ust be (?:super)?(?:user|root)|are you root"
    rb"|(?:^|[\s'\":]|\xe2\x80\x98)/(?!home/user|tmp/|dev/(?:shm|null))[^\n]{0,300}?: Permission denied"
    rb"|\b(?:sudo|su|doas|mount|umount|unshare|nsenter|chroot|modprobe|insmod|iptables|nft|systemctl|service|useradd"
    rb"|apt|apt-get|dnf|yum|reboot|shutdown): command not found"
    rb"|Network is unreachable|Could not resolve host|[Uu]nable to resolve|Temporary failure in name resolution"
    rb"|Name or service not known",
    re.MULTILINE,
)


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
    except BadExpect as error:
        return failed("bad_expect", str(error))
    except (OSError, RuntimeError, MemoryError) as error:
        return failed("runner", f"{type(error).__name__}: {error}")


def holds_something(folder: str) -> bool:
    """Says whether there is anything in a folder; one that was closed to its owner has been changed all the same."""
    try:
        return bool(os.listdir(folder))
    except OSError:
        return True


def first_changes(changes: list[Json]) -> list[Json]:
    """Gives as many changes as an answer has room for; one path can be 4 KiB long, and so can what a link points to."""
    room, kept = MAX_CHANGES_BYTES, []
    for change in changes[:MAX_CHANGES]:
        room -= len(change["path"]) + len(change["target"])
        if room < 0:
            break
        kept.append(change)
    return kept


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
        self.signal = 0
        self._last_errors = b""
        cap = self.limits["output_bytes"]
        self.out, self.err, self.state = Capture(cap), Capture(cap), Capture(MAX_STATE_BYTES)

    def outcome(self) -> Json:
        """Runs the plan and gives everything that is known afterwards."""
        check_expect(self.expect, self.job["fixture"])
        apply_fixture(self.job["fixture"], self.world, self.env)
        budget = 4 * self.limits["disk_bytes"]
        before = Walk(budget)
        before.restore()
        if not expectations.demands_something(self.expect):
            before.let_the_clock_move()
        num_ooms = count_ooms(self.oom_counter)
        self.world.start_counting()
        began = time.monotonic()
        stopped = self._run_steps()
        wall_s = time.monotonic() - began
        states = {} if stopped else expectations.process_states(self.expect, self.world)
        alive = self.world.alive()
        num_left = len([pid for pid in alive if pid not in self.world.background.values()])
        has_ended = any(pid not in alive for pid in self.world.background.values())
        self.world.kill_all()
        self.world.drain(self.streams)
        num_ooms = self._ooms(count_ooms(self.oom_counter) - num_ooms)
        after = Walk(budget)
        changes = diff(before.entries, after.entries)
        answer: Json = {
            "status": self._status(stopped, num_ooms=num_ooms, is_complete=after.is_complete),
            "exit_code": self.code, "signal": self.signal, "oom_kills": num_ooms,
            "wall_s": round(wall_s, 4), "cpu_s": round(self.world.cpu_s, 4), "max_rss_bytes": self.world.max_rss_bytes,
            "steps": self.steps, "stdout": self.out.report(), "stderr": self.err.report(),
            "changes": first_changes(changes), "num_changes": len(changes), "processes_left": num_left,
        }  # fmt: skip
        if answer["status"] == "nonzero" and (refused := self._refused()):
            answer |= {"status": "forbidden", "reason": refused}
        if not changes and not self.out.num_bytes:
            was_touched = before.times != after.times
            answer["other_effects"] = was_touched or has_ended or any(map(holds_something, ("/tmp", "/dev/shm")))
        return self._judged(answer, Difference(before.entries, after.entries, changes), after, states)

    def _judged(self, answer: Json, difference: Difference, after: Walk, states: dict[str, bool]) -> Json:
        """Gives the outcome with its findings, or that of a sandbox that lacks what the plan called."""
        try:
            answer["findings"] = self._findings(difference, after, states) if answer["status"] == "ok" else []
        except ValueError as error:
            return failed("bad_expect", str(error))
        except (TypeError, KeyError, AttributeError) as error:
            return failed("bad_expect", f"expect is not in the form of docs/records.md ({error})")
        is_fine = answer["status"] == "ok" and not answer["findings"] and expectations.demands_something(self.expect)
        missing = [] if is_fine or answer["status"] not in ("ok", "nonzero") else self._missing_tools()
        return failed("missing_tool", " ".join(missing)) if missing else answer

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
        num_steps = len(self.job["commands"])
        for number, command in enumerate(self.job["commands"]):
            is_last = number + 1 == num_steps
            targets = {fd: pipe[1] for fd, pipe in pipes.items() if not (is_last and fd == STATE_FD)}
            stopped = self._run_step(number, command, targets, deadline)
            if stopped:
                return stopped
            if self.out.num_bytes > self.out.cap or self.err.num_bytes > self.err.cap:
                return "output_limit"
            if self.code != 0:
                break
            if not is_last:
                self.steps[-1]["has_state"] = self._carry_over()
        for _, write in pipes.values():
            os.close(write)
        return ""

    def _run_step(self, number: int, command: str, targets: dict[int, int], deadline: float) -> str:
        """Runs one step in a shell of its own and keeps what came of it; gives why it was stopped, "" for by itself."""
        starts = len(self.out.head), len(self.err.head)
        self.state = self._fresh_state()
        began = time.monotonic()
        stopped, code = "", 126
        try:
            pid = self._start_shell(command, targets)
        except OSError as error:
            place = "/bin/bash" if os.path.isdir(self.cwd) else self.cwd
            self.err.add(f"bash: {place}: {error.strerror}\n".encode())
        else:
            stopped = self.world.wait(pid, deadline, dict(self.streams))
            self.world.drain(self.streams)
            code = self.world.exited.get(pid, -signal.SIGKILL)
            self.signal = max(0, -code)
        out, err = bytes(self.out.head[starts[0] :]), bytes(self.err.head[starts[1] :])
        self.steps.append({
            "step": number, "exit_code": code if code >= 0 else 128 - code,
            "wall_s": round(time.monotonic() - began, 4),
            "stdout": text_of(out[:MAX_STEP_TEXT]), "stderr": text_of(err[:MAX_STEP_TEXT]),
        })  # fmt: skip
        self._last_errors = err
        return stopped

    def _fresh_state(self) -> Capture:
        """Gives an empty capture for what the next shell says of itself; what an older process says late is lost."""
        state = Capture(MAX_STATE_BYTES)
        for fd, capture in self.streams.items():
            if capture is self.state:
                self.streams[fd] = state
        return state

    def _start_shell(self, command: str, targets: dict[int, int]) -> int:
        """Starts a step's shell; one that others follow must say where it stood, so that they can go on from there."""
        options = STRICT if self.job.get("strict") else ()
        text, fds = command, dict(targets)
        script_fd = -1
        if len(command.encode()) > LONGEST_ARGUMENT:
            script_fd = fds[SCRIPT_FD] = os.open("/tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC)
            os.write(script_fd, command.encode())
            text = f'eval "$(</dev/fd/{SCRIPT_FD})" {SCRIPT_FD}<&-'
        if STATE_FD in targets:
            words = [BEFORE_STEP + FIRST_TO_DIE + RUN_STEP + AFTER_STEP, "bash", text]
        else:
            words = [FIRST_TO_DIE + text, "bash"]
        try:
            return self.world.spawn(["/bin/bash", *options, "-c", *words], self.env, self.cwd, fds)
        finally:
            if script_fd >= 0:
                os.close(script_fd)

    def _carry_over(self) -> bool:
        """Takes over folder and exported variables from the shell that just ended; says whether it told them."""
        where, *pairs = bytes(self.state.head).split(b"\0")
        env = dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair)
        is_whole = self.state.num_bytes == len(self.state.head) and self.state.head.endswith(b"\0")
        if not (is_whole and where.startswith(b"/") and where.endswith(b"\n") and env):
            return False
        self.cwd = os.fsdecode(where[:-1])
        self.env = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items() if name not in NOT_CARRIED}
        return True

    def _ooms(self, counted: int) -> int:
        """Gives how many processes ran out of memory; without a cgroup those we ended, and 1 that says so itself."""
        if self.limits["has_cgroup"]:
            return max(0, counted)
        return self.world.oom_kills or int(OOM_WORDS.search(bytes(self.err.head)) is not None)

    def _status(self, stopped: str, *, num_ooms: int, is_complete: bool) -> str:
        if num_ooms and (stopped or self.code != 0):
            return "oom"
        if stopped:
            return stopped
        if not is_complete or self._written_bytes() > self.limits["disk_bytes"]:
            return "disk_limit"
        code, expected = self.code, self.expect.get("exit_code", 0)
        if code == 0 or (code == expected and len(self.steps) == len(self.job["commands"])):
            return "ok"
        if code == 128 + signal.SIGXFSZ or (NO_SPACE.search(bytes(self.err.head)) and self._is_full()):
            return "disk_limit"
        return "nonzero"

    def _refused(self) -> str:
        """Gives the words that show a step failed for something no plan may do here, "" when it failed for itself."""
        if self.code == 128 + signal.SIGSYS:
            return "a system call that the sandbox forbids"
        found = FORBIDDEN.search(self._last_errors[-MAX_REFUSAL_BYTES:])
        if not found:
            return ""
        start = found.string.rfind(b"\n", 0, found.end()) + 1
        return text_of(found.string[start:].split(b"\n", 1)[0][:200])

    def _written_bytes(self) -> int:
        """Gives what the writable places hold together; they are one file system, or one each in a container."""
        devices = {os.stat(folder).st_dev: folder for folder in WRITABLE}
        spaces = [os.statvfs(folder) for folder in devices.values()]
        return sum(space.f_frsize * (space.f_blocks - space.f_bfree) for space in spaces)

    def _is_full(self) -> bool:
        for folder in WRITABLE:
            space = os.statvfs(folder)
            if space.f_bavail * 20 < space.f_blocks or space.f_favail * 20 < space.f_files:
                return True
        return False

    def _findings(self, difference: Difference, after: Walk, states: dict[str, bool]) -> list[Any]:
        expected = self.expect.get("exit_code", 0)
        found: list[expectations.Finding] = []
        if self.code != expected:
            message = f"exit code {self.code}, should be {expected}"
            found.append(expectations.finding("wrong_exit_code", message, "exit_code"))
        cap = 2 * self.limits["disk_bytes"]
        out, err = bytes(self.out.head), bytes(self.err.head)
        found += expectations.judge_output(self.expect, out)
        found += expectations.judge_files(self.expect, difference, cap)
        found += expectations.judge_patterns(self.expect, out, err, after.entries, cap, self.world)
        after.restore()
        found += expectations.judge_processes(self.expect, states)
        found += expectations.judge_checks(self.expect, self.world, self.job["fixture"].get("env", {}))
        return found[:100]

    def _missing_tools(self) -> list[str]:
        """Gives the tools the plan called and this sandbox ought to have but lacks; the plan is not to blame."""
        called = {word.decode("utf-8", "replace") for word in NOT_FOUND.findall(bytes(self.err.head))}
        return sorted(word for word in called & set(self.job["known_tools"]) if not find_tool(word))


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
