"""The processes of one sandbox: what runs in it, under which limits, what it used, and how it all ends.

Runs inside the sandbox as part of process 1: standard library only. The world before a plan is made in prepare.py;
judging what a plan left behind is expectations.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import signal
import time
from binascii import b2a_base64
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Json = dict[str, Any]
HOME = "/home/user"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENV = {
    "HOME": HOME, "USER": "user", "LOGNAME": "user", "LANG": "C.UTF-8", "TZ": "UTC", "PATH": PATH, "SHELL": "/bin/bash",
    "GIT_AUTHOR_NAME": "user", "GIT_AUTHOR_EMAIL": "user@sandbox", "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "user", "GIT_COMMITTER_EMAIL": "user@sandbox", "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
    "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip
STATE_FD, SCRIPT_FD = 250, 249
LONGEST_TEXT = 1 << 16
RUNNER_BYTES = 64 << 20
TICK_S = 0.1
SETUP_TIMEOUT_S = 20.0
CHECK_TIMEOUT_S = 5.0
SETTLE_S = 1.0
STILL_RUNNING_S = 0.05


def text_of(raw: bytes | bytearray) -> str:
    """Gives valid text of any bytes: what is no UTF-8 becomes \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


class Capture:
    """One output stream: its first `cap` bytes, the count and digest of all of them."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.head = bytearray()
        self.num_bytes = 0
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Takes the next bytes."""
        self.num_bytes += len(data)
        self._digest.update(data)
        if len(self.head) < self.cap:
            self.head += data[: self.cap - len(self.head)]

    def report(self) -> Json:
        """Gives what the outcome says of the stream; its text as base64 when it is long (channel.py undoes that)."""
        is_long = len(self.head) > LONGEST_TEXT  # as JSON text it could be six times as long, and slow to make
        head = {"base64": b2a_base64(self.head, newline=False).decode()} if is_long else {"text": text_of(self.head)}
        return {
            **head,
            "bytes": self.num_bytes,
            "truncated": self.num_bytes > len(self.head),
            "sha256": self._digest.hexdigest(),
        }


def find_program(name: str, env: dict[str, str]) -> str:
    """Gives the path of a command on the PATH of `env`; its name where there is none."""
    if "/" in name:
        return name
    paths = [os.path.join(folder, name) for folder in os.get_exec_path(env)]
    return next((path for path in paths if os.access(path, os.X_OK)), name)


class World:
    """The processes of the sandbox: starts them, waits under a deadline, collects output, and ends them all."""

    def __init__(self, limits: Json) -> None:
        if os.getpid() != 1:
            raise RuntimeError("the runner is not process 1: it would kill processes outside the sandbox")
        self.limits = limits
        self.exited: dict[int, int] = {}
        self.background: dict[str, int] = {}
        self.oom_kills = 0
        self.cpu_s = 0.0
        self.max_rss_bytes = 0
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wake = wake_read
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._limit()

    def spawn(self, argv: list[str], env: dict[str, str], cwd: str, fds: dict[int, int]) -> int:
        """Starts a process in a session of its own, under the limits; `fds` maps its descriptors to ours.

        Raises:
            OSError: the program can't be started; found out before this returns.
        """
        # As vfork does: a copy of this process for every shell would cost more than many a shell.
        moves = [(os.POSIX_SPAWN_DUP2, fds.get(fd, self._null), fd) for fd in sorted({0, 1, 2, *fds})]
        os.chdir(cwd)
        try:
            return os.posix_spawn(
                find_program(argv[0], env), argv, env, file_actions=moves, setsid=True,
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores both; a plan must not
            )  # fmt: skip
        finally:
            os.chdir("/")

    def _limit(self) -> None:
        """Sets the limits every process of the plan inherits; they hold for this one too, and can't be taken back."""
        pairs = [
            (resource.RLIMIT_CORE, 1),  # with 0 a host that pipes core dumps would still start its program; core(5)
            (resource.RLIMIT_NOFILE, 1024),
            (resource.RLIMIT_FSIZE, self.limits["disk_bytes"]),
        ]
        if not self.limits["has_cgroup"]:
            # LIMIT: these count per process; the sum over processes is watched every TICK_S instead.
            # This process is under them too, and may have to read what the plan left behind.
            pairs += [(resource.RLIMIT_DATA, self.limits["memory_bytes"] + RUNNER_BYTES)]
            pairs += [(resource.RLIMIT_AS, 4 * self.limits["memory_bytes"] + RUNNER_BYTES)]
            if self.limits["counts_processes"]:
                pairs += [(resource.RLIMIT_NPROC, self.limits["max_processes"])]
        for kind, value in pairs:
            resource.setrlimit(kind, (value, value))

    def wait(self, pid: int, deadline: float, streams: dict[int, Capture]) -> str:
        """Waits for `pid`, collecting `streams` (descriptor -> capture); gives "" or why it was stopped."""
        poll = select.poll()
        poll.register(0, 0)
        poll.register(self._wake, select.POLLIN)
        for fd in streams:
            poll.register(fd, select.POLLIN)
        watched = time.monotonic() + TICK_S
        while pid not in self.exited:
            now = time.monotonic()
            if now >= deadline:
                return "timeout"
            for fd, event in poll.poll(max(1, int(1000 * min(TICK_S, deadline - now)))):
                if fd == 0 and event:
                    os._exit(0)  # whoever asked is gone; process 1 takes everything along
                if fd in streams and not self._read(fd, streams[fd]):
                    poll.unregister(fd)
                elif fd == self._wake:
                    os.read(fd, 512)
            self.reap()
            if any(capture.num_bytes > capture.cap for capture in streams.values() if capture.cap):
                return "output_limit"
            if time.monotonic() >= watched and pid not in self.exited:
                if reason := self._over_limit():
                    return reason
                watched = time.monotonic() + TICK_S
        return ""

    def _read(self, fd: int, capture: Capture) -> bool:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return True
        capture.add(data)
        return bool(data)

    def drain(self, streams: dict[int, Capture]) -> None:
        """Collects what is left in the pipes; every writer must be dead or its output is cut here."""
        for fd, capture in streams.items():
            for _ in range(64):
                before = capture.num_bytes
                if not self._read(fd, capture) or capture.num_bytes == before:
                    break

    def _over_limit(self) -> str:
        """Does what a cgroup would: kills the largest processes when memory runs out; gives why the plan must stop."""
        if self.limits["has_cgroup"]:
            return ""
        pids = self.alive()
        if len(pids) > 2 * self.limits["max_processes"]:
            return "forbidden"
        limit_kib = self.limits["memory_bytes"] // 1024
        if sum(self._kib_of("status", (b"RssAnon", b"RssShmem"), pids).values()) <= limit_kib:
            return ""
        # Pages that processes share were counted for each; the exact sum costs more.
        used = self._kib_of("smaps_rollup", (b"Pss_Anon", b"Pss_Shmem"), pids)
        over_kib = sum(used.values()) - limit_kib
        for pid in sorted(used, key=used.__getitem__, reverse=True):
            if over_kib <= 0:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.oom_kills += 1
            over_kib -= used[pid]
        return ""

    @staticmethod
    def _kib_of(file_name: str, fields: tuple[bytes, ...], pids: list[int]) -> dict[int, int]:
        """Gives for each process the sum of fields of its file in /proc, in KiB; one that has ended has none."""
        used = {}
        for pid in pids:
            with suppress(OSError, ValueError), open(f"/proc/{pid}/{file_name}", "rb") as file:
                used[pid] = sum(int(line.split()[1]) for line in file if line.startswith(fields))
        return used

    def alive(self) -> list[int]:
        """Gives the ids of every process but this one that is no zombie."""
        return [
            int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1" and self.is_alive(int(name))
        ]

    def is_alive(self, pid: int) -> bool:
        """Says whether a process exists and is no zombie."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
        except (OSError, IndexError):
            return False

    def reap(self) -> None:
        """Takes the exit status of every dead child; orphans of the plan are children too."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._note_end(pid, status, usage)

    def _note_end(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        """Keeps how a child ended and what it and those it waited for used; orphans become our children."""
        self.exited[pid] = os.waitstatus_to_exitcode(status)
        self.cpu_s += usage.ru_utime + usage.ru_stime
        self.max_rss_bytes = max(self.max_rss_bytes, 1024 * usage.ru_maxrss)

    def start_counting(self) -> None:
        """Sets what was used to nothing: the fixture's processes are not the plan's."""
        self.cpu_s, self.max_rss_bytes = 0.0, 0

    def kill_all(self) -> None:
        """Ends every process of the sandbox but this one; none can fork away from a pending SIGKILL."""
        while True:
            with suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            try:
                pid, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                return
            self._note_end(pid, status, usage)

    def shell(self, script: str, env: dict[str, str], timeout_s: float) -> tuple[int, Capture, Capture, str]:
        """Runs a script in a fresh shell in the home folder; gives exit code, stdout, stderr, why it was stopped."""
        out, err = Capture(self.limits["output_bytes"]), Capture(self.limits["output_bytes"])
        pipes = [os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)]
        streams = {}
        for (read, _), capture in zip(pipes, (out, err), strict=True):
            os.set_blocking(read, False)
            streams[read] = capture
        pid = self.spawn(["/bin/bash", "-c", script], env, HOME, {1: pipes[0][1], 2: pipes[1][1]})
        for _, write in pipes:
            os.close(write)
        stopped = self.wait(pid, time.monotonic() + timeout_s, streams)
        if stopped:
            os.killpg(pid, signal.SIGKILL)
        self.drain(streams)
        for fd in streams:
            os.close(fd)
        return self.exited.get(pid, -1), out, err, stopped

    def bounded(self, work: Callable[[], Any], timeout_s: float) -> Any:
        """Gives what `work` gives (plain JSON), computed in a child that is killed when it takes too long.

        For what a record's author wrote and what may never end, such as a regular expression.

        Raises:
            ValueError: it took longer than `timeout_s`, or raised; says which.
        """
        read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                answer = {"value": work()}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            with os.fdopen(write, "wb") as file:
                file.write(json.dumps(answer).encode())
            os._exit(0)
        os.close(write)
        os.set_blocking(read, False)
        said = Capture(1 << 26)
        stopped = self.wait(pid, time.monotonic() + timeout_s, {read: said})
        if stopped:
            os.kill(pid, signal.SIGKILL)
            os.close(read)
            raise ValueError(f"not decided within {timeout_s:g} s")
        self.drain({read: said})
        os.close(read)
        answer = json.loads(bytes(said.head) or b'{"error": "the judge died"}')
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["value"]
