"""Makes a sandbox out of kernel namespaces alone and becomes its process 1: no Docker, no root, no set-uid helper.

Run as a program by native.py (`python -I -S namespaces.py`) and inside a container by docker_ns.py: jobs on stdin, one
after the other. For each, as root it first becomes an unprivileged user, because /proc/sys is writable
for the real root whatever its capabilities. Then: new user, mount, pid, ipc, uts, net and cgroup namespaces; a small
read-only root of the tool folders around it; tmpfs for what may be written; loopback up; every capability dropped. The
interpreter stays loaded from outside, so the sandbox needs no Python of its own. Standard library only.
LIMIT: no cgroup of its own; without a container's the sum of memory is watched from process 1, not bounded.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import re
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, NoReturn

UNPRIVILEGED = 65534
INSIDE = 1000
NEW_NS, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
STAGES = ("/tmp", "/mnt", "/media", "/run")
TOP_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
HOST_ETC = ("alternatives", "ld.so.cache", "protocols", "services")
DEVICES = ("null", "zero", "full", "random", "urandom")
SET_DUMPABLE, SET_PDEATHSIG, CAPBSET_DROP, CAP_AMBIENT = 4, 1, 24, 47
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raises OSError naming the call when it failed."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    words = [word.encode() or None for word in (source, target, kind)]
    done = libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), data.encode() or None)
    check(done, f"mount {kind or source} on {target}")


def bind(source: str, target: str) -> None:
    """Binds a host folder or file, with all that is mounted below it, read-only."""
    mount(source, target, flags=BIND | REC)
    with open("/proc/self/mountinfo", "rb") as file:
        fields = [line.split()[4] for line in file]
    points = [os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), name)) for name in fields]
    for point in points:
        if point == target or point.startswith(target + "/"):
            keep = os.statvfs(point).f_flag & (NOSUID | NODEV | NOEXEC)  # a user namespace may not take these off
            mount("", point, flags=REMOUNT | BIND | RDONLY | NOSUID | keep)


def become_unprivileged() -> None:
    """Gives up root, where we have it, before any namespace is made."""
    if os.geteuid() == 0:
        try:
            os.setgroups([])
            os.setresgid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
            os.setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
        except OSError:
            with open("/proc/self/uid_map") as file:
                if file.read().split()[1] == "0":
                    raise  # the machine's root; in a rootless container "root" is an ordinary user already
    check(libc.prctl(SET_DUMPABLE, 1, 0, 0, 0), "prctl")  # or uid_map belongs to root


def enter_namespaces() -> None:
    """Makes the namespaces; the caller's user becomes uid 1000 inside, with capabilities over nothing but them."""
    uid, gid = os.geteuid(), os.getegid()
    flags = NEW_USER | NEW_NS | NEW_PID | NEW_IPC | NEW_UTS | NEW_NET | NEW_CGROUP
    check(libc.unshare(flags), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{INSIDE} {uid} 1"), ("gid_map", f"{INSIDE} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def make_root(hostname: str, disk_bytes: int) -> None:
    """Builds the file system and moves into it; nothing of the host is left but read-only tool folders."""
    mount("none", "/", flags=REC | PRIVATE)
    stage = next(path for path in STAGES if os.path.isdir(path))
    mount("tmpfs", stage, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for folder in ("usr", "etc", "proc", "dev", "dev/shm", "home", "home/user", "tmp", "run", "var", ".writable"):
        os.mkdir(f"{stage}/{folder}")
    bind("/usr", f"{stage}/usr")
    for name in TOP_FOLDERS:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{stage}/{name}")
        elif os.path.isdir(f"/{name}"):
            os.mkdir(f"{stage}/{name}")
            bind(f"/{name}", f"{stage}/{name}")
    _make_etc(f"{stage}/etc", hostname)
    _make_dev(f"{stage}/dev")
    # One tmpfs under all writable places, so that its size bounds them together.
    mount("tmpfs", f"{stage}/.writable", "tmpfs", NOSUID | NODEV, f"size={disk_bytes},nr_inodes=20000,mode=755")
    for name, place, mode in (("home", "home/user", 0o755), ("tmp", "tmp", 0o1777), ("shm", "dev/shm", 0o1777)):
        os.mkdir(f"{stage}/.writable/{name}")
        os.chmod(f"{stage}/.writable/{name}", mode)
        mount(f"{stage}/.writable/{name}", f"{stage}/{place}", flags=BIND)
    check(libc.umount2(f"{stage}/.writable".encode(), DETACH), "umount")
    os.rmdir(f"{stage}/.writable")
    os.symlink("/tmp", f"{stage}/var/tmp")
    mount("proc", f"{stage}/proc", "proc", NOSUID | NODEV | NOEXEC)
    os.chdir(stage)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", DETACH), "umount the host")
    os.chdir("/")
    mount("", "/", flags=REMOUNT | BIND | RDONLY | NOSUID | NODEV)


def _make_etc(etc: str, hostname: str) -> None:
    texts = {
        "passwd": f"user:x:{INSIDE}:{INSIDE}:user:/home/user:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
        "group": f"user:x:{INSIDE}:\nnogroup:x:65534:\n",
        "hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {hostname}\n",
        "hostname": f"{hostname}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    for name, text in texts.items():
        with open(f"{etc}/{name}", "w") as file:
            file.write(text)
    for name in HOST_ETC:
        source, target = f"/etc/{name}", f"{etc}/{name}"
        if os.path.isdir(source):
            os.mkdir(target)
        elif os.path.isfile(source):
            open(target, "w").close()
        else:
            continue
        bind(source, target)


def _make_dev(dev: str) -> None:
    for name in DEVICES:
        open(f"{dev}/{name}", "w").close()
        mount(f"/dev/{name}", f"{dev}/{name}", flags=BIND)
    os.symlink("/proc/self/fd", f"{dev}/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{dev}/{name}")


def raise_loopback() -> None:
    """Switches the loopback interface on; it is the only one there is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))


def drop_capabilities() -> None:
    """Empties every capability set, the bounding set too."""
    for number in range(64):
        if libc.prctl(CAPBSET_DROP, number, 0, 0, 0) != 0:
            break
    libc.prctl(CAP_AMBIENT, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    check(libc.capset(header, nothing), "capset")


def say_and_end(reason: str) -> NoReturn:
    """Reports a sandbox that could not be made, in the runner's form."""
    outcome = {"status": "sandbox_error", "failure": "namespaces", "reason": reason}
    os.write(1, json.dumps(outcome).encode() + b"\n")
    os._exit(0)


Answer = Callable[[dict[str, Any]], None]
"""Runs a job as process 1 and writes its outcome to stdout."""


def live_inside(job: dict[str, Any], answer: Answer, parent: int) -> NoReturn:
    """As process 1 of the new namespaces: finishes the sandbox and runs the job in it.

    `parent` is the reading end of a pipe whose other end the parent holds: it tells of a death before we could ask to
    be told, and the parent's id can't be seen from in here.
    """
    try:
        os.setsid()
        hostname = job["fixture"].get("hostname", "sandbox")
        socket.sethostname(hostname)
        raise_loopback()
        make_root(hostname, job["limits"]["disk_bytes"])
        drop_capabilities()
        check(libc.prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
        if select.select([parent], [], [], 0)[0]:
            os._exit(1)
        os.close(parent)
    except OSError as error:
        say_and_end(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    answer(job)
    os._exit(0)


def main() -> NoReturn:
    """Serves on the host."""
    # -I and -S leave the package out of sys.path; the sandbox's own modules are the only ones taken from there.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    serve()


def become_sandbox(job: dict[str, Any], answer: Answer) -> NoReturn:
    """Makes the sandbox around a child, which answers the job; ends when it does, with 0 when it said all it had to."""
    try:
        become_unprivileged()
        enter_namespaces()
    except OSError as error:
        say_and_end(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    parent_read, parent_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(parent_write)
        live_inside(job, answer, parent_read)
    for fd in (0, 1):  # only process 1 holds the channel
        os.close(fd)
    _, status = os.waitpid(pid, 0)
    os._exit(0 if status == 0 else 1)


def serve() -> NoReturn:
    """Answers jobs, each in a sandbox of its own, until stdin ends.

    One at a time, so that a container's memory and processes are the plan's. A sandbox whose process 1 was killed may
    have written half an answer: then this ends, and its container with it.
    """
    from validators.sandbox import expectations, runner

    expectations.preload({"files": {"any": {"tar": {}}}})
    counter = runner.open_oom_counter()  # /sys is not to be seen from inside
    gc.freeze()  # a collection in a child would copy every page it touches
    while True:
        line = runner.read_line()
        pid = os.fork()
        if pid == 0:
            job = json.loads(line)
            # On the host the counter would tell of other people's processes.
            become_sandbox(job, lambda job: runner.answer(job, counter if job["limits"]["has_cgroup"] else -1))
        if os.waitpid(pid, 0)[1] != 0:
            os.write(2, b"process 1 of the sandbox died\n")
            os._exit(1)


if __name__ == "__main__":
    main()
