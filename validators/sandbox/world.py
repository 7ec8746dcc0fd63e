"""The processes and the fixture of one sandbox: what runs in it, under which limits, and how it all ends.

Runs inside the sandbox as part of process 1: standard library only. The fixture is made here as
docs/records.md says. Judging what a plan left behind is expectations.py.
"""

from __future__ import annotations

import base64
import hashlib
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Any, NoReturn

Json = dict[str, Any]
HOME = "/home/user"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENV = {
    "HOME": HOME, "USER": "user", "LOGNAME": "user", "LANG": "C.UTF-8", "TZ": "UTC", "PATH": PATH, "SHELL": "/bin/bash",
    "GIT_AUTHOR_NAME": "user", "GIT_AUTHOR_EMAIL": "user@sandbox", "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "user", "GIT_COMMITTER_EMAIL": "user@sandbox", "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
    "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip
STATE_FD = 250
TICK_S = 0.1
SETUP_TIMEOUT_S = 20.0
CHECK_TIMEOUT_S = 5.0
SETTLE_S = 1.0
STILL_RUNNING_S = 0.05


class BadFixture(Exception):
    """The record's world can't be made; the plan is not to blame."""


def text_of(raw: bytes) -> str:
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
        """Gives what the outcome says of the stream."""
        return {
            "text": text_of(bytes(self.head)),
            "bytes": self.num_bytes,
            "truncated": self.num_bytes > len(self.head),
            "sha256": self._digest.hexdigest(),
        }


class World:
    """The processes of the sandbox: starts them, waits under a deadline, collects output, and ends them all."""

    def __init__(self, limits: Json) -> None:
        if os.getpid() != 1:
            raise RuntimeError("the runner is not process 1: it would kill processes outside the sandbox")
        self.limits = limits
        self.exited: dict[int, int] = {}
        self.background: dict[str, int] = {}
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wake = wake_read
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def spawn(self, argv: list[str], env: dict[str, str], cwd: str, fds: dict[int, int]) -> int:
        """Starts a process in a session of its own, under the limits; `fds` maps its descriptors to ours.

        Raises:
            OSError: the program can't be started; found out before this returns.
        """
        failed_read, failed_write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                self._become(argv, env, cwd, fds)
            except OSError as error:
                os.write(failed_write, str(error.errno).encode())
            finally:
                os._exit(127)
        os.close(failed_write)
        problem = os.read(failed_read, 16)  # ends with the exec, because the descriptor closes there
        os.close(failed_read)
        if problem:
            raise OSError(int(problem), os.strerror(int(problem)), argv[0])
        return pid

    def _become(self, argv: list[str], env: dict[str, str], cwd: str, fds: dict[int, int]) -> NoReturn:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores both; a plan must not
            signal.signal(number, signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(fds.get(target, null), target)
        if STATE_FD in fds:
            os.dup2(fds[STATE_FD], STATE_FD)
        os.chdir(cwd)
        self._limit()
        os.execvpe(argv[0], argv, env)

    def _limit(self) -> None:
        pairs = [
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 1024),
            (resource.RLIMIT_FSIZE, self.limits["disk_bytes"]),
        ]
        if not self.limits["has_cgroup"]:
            # LIMIT: these count per process; the sum over processes is watched every TICK_S instead.
            pairs += [(resource.RLIMIT_DATA, self.limits["memory_bytes"])]
            pairs += [(resource.RLIMIT_AS, 4 * self.limits["memory_bytes"])]
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
        if self.limits["has_cgroup"]:
            return ""
        pids = self.alive()
        if len(pids) > 2 * self.limits["max_processes"]:
            return "forbidden"
        used = 0
        for pid in pids:
            try:
                with open(f"/proc/{pid}/status", "rb") as file:
                    used += sum(int(line.split()[1]) for line in file if line.startswith((b"RssAnon", b"RssShmem")))
            except (OSError, ValueError):
                continue
        return "oom" if used * 1024 > self.limits["memory_bytes"] else ""

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
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.exited[pid] = os.waitstatus_to_exitcode(status)

    def kill_all(self) -> None:
        """Ends every process of the sandbox but this one; none can fork away from a pending SIGKILL."""
        while True:
            with suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            self.exited[pid] = os.waitstatus_to_exitcode(status)

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


def home_path(path: str) -> str:
    """Gives the absolute path of a record's path, or raises BadFixture when it leaves the home folder."""
    if not path or path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise BadFixture(f"path {path!r} leaves the home folder")
    return os.path.join(HOME, path)


def apply_fixture(fixture: Json, world: World, env: dict[str, str]) -> None:
    """Makes the world before the plan, in the order files, folders, links, setup, services, processes."""
    try:
        for path, wanted in fixture.get("files", {}).items():
            _write_file(home_path(path), wanted)
        for path in fixture.get("dirs", {}):
            os.makedirs(home_path(path), exist_ok=True)
        for path, target in fixture.get("symlinks", {}).items():
            os.makedirs(os.path.dirname(home_path(path)), exist_ok=True)
            os.symlink(target, home_path(path))
        for path, wanted in fixture.get("dirs", {}).items():
            if "mode" in wanted:
                os.chmod(home_path(path), int(wanted["mode"], 8))
        if fixture.get("setup"):
            code, _, err, stopped = world.shell("set -e\n" + fixture["setup"], env, SETUP_TIMEOUT_S)
            if code != 0 or stopped:
                raise BadFixture(f"setup ended with {stopped or code}: {text_of(bytes(err.head[-300:])).strip()}")
            world.kill_all()
        for number, service in enumerate(fixture.get("services", [])):
            world.background[f"service {number}"] = serve_pages(service["port"], service["pages"])
        for wanted in fixture.get("processes", []):
            _start_process(wanted, world, env)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFixture(f"{type(error).__name__}: {error}") from error


def _write_file(path: str, wanted: Json) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        if "base64" in wanted:
            file.write(base64.b64decode(wanted["base64"], validate=True))
        else:
            file.write(wanted.get("text", "").encode())
        file.write(bytes(max(0, wanted.get("size", 0) - file.tell())))  # real zeros: a hole would show in du
    if "mode" in wanted:
        os.chmod(path, int(wanted["mode"], 8))
    if "mtime" in wanted:
        os.utime(path, (wanted["mtime"], wanted["mtime"]))


def _start_process(wanted: Json, world: World, env: dict[str, str]) -> None:
    pid = world.spawn(wanted["argv"], env, HOME, {})
    world.background[wanted["name"]] = pid
    if "pid_file" in wanted:
        _write_file(home_path(wanted["pid_file"]), {"text": f"{pid}\n"})


def serve_pages(port: int, pages: dict[str, str]) -> int:
    """Starts an HTTP/1.0 server on 127.0.0.1 in a process of its own and gives its pid; it listens already."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    pid = os.fork()
    if pid:
        listener.close()
        return pid
    os.setsid()
    while True:
        try:
            client, _ = listener.accept()
            with client:
                client.settimeout(2)
                request = b""
                while b"\r\n\r\n" not in request and (data := client.recv(4096)) and len(request) < 65536:
                    request += data
                client.sendall(_answer_page(request, pages))
        except OSError:
            continue


def _answer_page(request: bytes, pages: dict[str, str]) -> bytes:
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0].decode("utf-8", "replace")
    if method not in (b"GET", b"HEAD"):
        status, body = "501 Not Implemented", b"not implemented\n"
    elif path in pages:
        status, body = "200 OK", pages[path].encode()
    else:
        status, body = "404 Not Found", b"not found\n"
    kind = {"json": "application/json", "html": "text/html; charset=utf-8"}.get(path.rpartition(".")[2], "text/plain")
    head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)
