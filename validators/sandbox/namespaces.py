"""Makes sandboxes out of kernel namespaces alone, one per plan: no Docker, no root, no set-uid helper.

Run as a program by native.py (`python -I -S namespaces.py`) and inside a container by docker_ns.py. It starts as a
worker. As root it first becomes an unprivileged user, because /proc/sys is writable for the real root whatever its
capabilities. Then it makes, once, what all plans share: a user and a mount namespace around a small read-only root of
the tool folders. For every plan it clones itself into user, mount, pid, ipc, uts, net and cgroup namespaces of the
plan's own; the clone, process 1 of them, mounts a fresh /proc and one fresh tmpfs under all that may be written, drops
every capability and runs the job. The next clone is made as soon as the last one ended, so that a plan finds its
namespaces waiting. The interpreter stays loaded from outside: a sandbox needs no Python of its own. Standard library
only.

Every plan has a network namespace of its own, though an empty one could be shared for less: ports in TIME_WAIT, socket
names and counters would be seen by the next plan.
LIMIT: no cgroup of its own; without a container's the sum of memory is watched from process 1, not bounded.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import select
import signal
import struct
import sys
from typing import NoReturn

UNPRIVILEGED = 65534
INSIDE = 1000
NEW_NS, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000
OWN = NEW_USER | NEW_NS | NEW_PID | NEW_IPC | NEW_UTS | NEW_NET | NEW_CGROUP
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
STAGES = ("/tmp", "/mnt", "/media", "/run")
TOP_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
HOST_ETC = ("alternatives", "ld.so.cache", "protocols", "services")
DEVICES = ("null", "zero", "full", "random", "tty", "urandom")
# The image of docker-run has the same, so that no plan ends otherwise there; `hosts` is as an engine writes it.
ETC = {
    "passwd": (
        "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000:user:/home/user:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
    ),
    "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "nameserver 192.0.2.1\n",
}
HOSTS = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)
WRITABLE = (("home", "/home/user", 0o755), ("shm", "/dev/shm", 0o1777), ("tmp", "/tmp", 0o1777))
"""Folder of the plan's tmpfs, where it is seen, mode. The last covers the place where the tmpfs itself is mounted."""
HOSTNAME = "sandbox"
SET_DUMPABLE, SET_PDEATHSIG, CAPBSET_DROP, CAP_AMBIENT = 4, 1, 24, 47
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
LOOPBACK_UP = struct.pack("16sh14x", b"lo", IFF_UP_RUNNING)
CLONE = 56 if os.uname().machine == "x86_64" else 220
"""The call's number: x86_64, and the table that younger architectures share (asm-generic/unistd.h)."""

libc = ctypes.PyDLL(None, use_errno=True)


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
            make_read_only(point)


def make_read_only(point: str) -> None:
    """Closes what is mounted there to writers."""
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


def map_user(uid: int, gid: int) -> None:
    """Makes the user of the namespace we came from uid 1000 of this one, with capabilities over nothing but it."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{INSIDE} {uid} 1"), ("gid_map", f"{INSIDE} {gid} 1")):
        _write(f"/proc/self/{name}", text)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


# --- Once per worker --------------------------------------------------------------------------------------------------


def make_root() -> None:
    """Builds the root file system all plans share and moves into it; of the host it holds read-only tool folders."""
    mount("none", "/", flags=REC | PRIVATE)
    stage = next(path for path in STAGES if os.path.isdir(path))
    mount("tmpfs", stage, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for folder in ("usr", "etc", "proc", "dev", "dev/shm", "home", "home/user", "tmp", "run", "var"):
        os.mkdir(f"{stage}/{folder}")
    bind("/usr", f"{stage}/usr")
    for name in TOP_FOLDERS:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{stage}/{name}")
        elif os.path.isdir(f"/{name}"):
            os.mkdir(f"{stage}/{name}")
            bind(f"/{name}", f"{stage}/{name}")
    _make_etc(f"{stage}/etc")
    _make_dev(f"{stage}/dev")
    os.symlink("/tmp", f"{stage}/var/tmp")
    mount("/proc", f"{stage}/proc", flags=BIND | REC)  # a fresh one may be mounted only where a whole one is seen
    os.chdir(stage)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", DETACH), "umount the host")
    os.chdir("/")
    mount("", "/", flags=REMOUNT | BIND | RDONLY | NOSUID | NODEV)


def _names_of(hostname: str) -> dict[str, str]:
    return {"hosts": f"{HOSTS}127.0.1.1\t{hostname}\n", "hostname": f"{hostname}\n"}


def _make_etc(etc: str) -> None:
    for name, text in (ETC | _names_of(HOSTNAME)).items():
        _write(f"{etc}/{name}", text)
    for name in HOST_ETC:
        source, target = f"/etc/{name}", f"{etc}/{name}"
        if os.path.isdir(source):
            os.mkdir(target)
        elif os.path.isfile(source):
            _write(target, "")
        else:
            continue
        bind(source, target)


def _make_dev(dev: str) -> None:
    for name in DEVICES:
        _write(f"{dev}/{name}", "")
        mount(f"/dev/{name}", f"{dev}/{name}", flags=BIND)
    os.symlink("/proc/self/fd", f"{dev}/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{dev}/{name}")


# --- Once per plan ----------------------------------------------------------------------------------------------------


def raise_loopback() -> None:
    """Switches the loopback interface on; it is the only one there is."""
    control = libc.socket(2, 2 | os.O_CLOEXEC, 0)  # AF_INET, SOCK_DGRAM
    check(min(control, 0), "socket")
    check(libc.ioctl(control, SIOCSIFFLAGS, LOOPBACK_UP), "ioctl")
    os.close(control)


def make_writable(disk_bytes: int, hostname: str) -> None:
    """Mounts one tmpfs under all writable places, so that its size bounds them together."""
    mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV, f"size={disk_bytes},nr_inodes=20000,mode=755")
    if hostname != HOSTNAME:
        for name, text in _names_of(hostname).items():
            _write(f"/tmp/{name}", text)
            mount(f"/tmp/{name}", f"/etc/{name}", flags=BIND)
            make_read_only(f"/etc/{name}")
    for name, place, mode in WRITABLE:
        os.mkdir(f"/tmp/{name}")
        os.chmod(f"/tmp/{name}", mode)
        mount(f"/tmp/{name}", place, flags=BIND)


def drop_capabilities() -> None:
    """Empties every capability set, the bounding set too."""
    for number in range(64):
        if libc.prctl(CAPBSET_DROP, number, 0, 0, 0) != 0:
            break
    libc.prctl(CAP_AMBIENT, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    check(libc.capset(header, nothing), "capset")


def say_and_end(error: OSError) -> NoReturn:
    """Reports a sandbox that could not be made, in the runner's form, as the answer to the job that is or will come."""
    reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    outcome = {"status": "sandbox_error", "failure": "namespaces", "reason": reason}
    os.write(1, json.dumps(outcome).encode() + b"\n")
    os._exit(1)


def live_inside(oom_counter: int) -> NoReturn:
    """As process 1 of the new namespaces: finishes the sandbox, reads a job, runs it and answers."""
    from validators.sandbox import runner

    try:
        check(libc.prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
        os.setsid()
        map_user(INSIDE, INSIDE)
        raise_loopback()
        mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
        job = json.loads(runner.read_line())  # its end is ours; so a worker that died before the prctl takes us along
        hostname = job["fixture"].get("hostname", HOSTNAME)
        name = hostname.encode()
        check(libc.sethostname(name, ctypes.c_size_t(len(name))), "sethostname")
        make_writable(job["limits"]["disk_bytes"], hostname)
        drop_capabilities()
    except OSError as error:
        say_and_end(error)
    # On the host the counter would tell of other people's processes.
    runner.answer(job, oom_counter if job["limits"]["has_cgroup"] else -1)
    os._exit(0)


# --- The worker -------------------------------------------------------------------------------------------------------


def clone() -> int:
    """Forks into new namespaces; gives the child's id, or 0 in the child, which is process 1 of them.

    The bare call: what fork() of the C library and of Python do besides is for processes with threads, which we lack.
    """
    pid = int(libc.syscall(CLONE, ctypes.c_ulong(OWN | signal.SIGCHLD), *[ctypes.c_ulong(0)] * 4))
    if pid < 0:
        check(pid, "clone")
    return pid


def serve() -> NoReturn:
    """Answers jobs, each in a sandbox of its own, until stdin ends; that ends a running plan too.

    One at a time, so that a container's memory and processes are the plan's. A sandbox whose process 1 was killed may
    have written half an answer: then this ends, and its container with it.
    """
    from validators.sandbox import confine, expectations, runner

    expectations.preload({"files": {"any": {"tar": {}}}})
    confine.prepare()
    counter = runner.open_oom_counter()  # /sys is not to be seen from inside
    try:
        become_unprivileged()
        uid, gid = os.geteuid(), os.getegid()
        check(libc.unshare(NEW_USER | NEW_NS), "unshare")
        map_user(uid, gid)
        make_root()
        drop_capabilities()
        gc.freeze()  # a collection in a child would copy every page it touches
        gc.disable()
        while True:
            serve_one(counter)
    except OSError as error:
        say_and_end(error)


def serve_one(oom_counter: int) -> None:
    """Makes a sandbox and waits for its end; returns when it ended well."""
    alive, held = os.pipe()  # the child holds the other end for as long as it lives
    pid = clone()
    if pid == 0:
        os.close(alive)
        live_inside(oom_counter)
    os.close(held)
    poll = select.poll()
    poll.register(0, 0)
    poll.register(alive, 0)
    is_abandoned = any(fd == 0 for fd, _ in poll.poll())
    os.close(alive)
    if is_abandoned:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if is_abandoned:
        os._exit(0)
    if status != 0:
        os.write(2, b"process 1 of the sandbox died\n")
        os._exit(1)


def main() -> NoReturn:
    """Serves on the host."""
    # -I and -S leave the package out of sys.path; the sandbox's own modules are the only ones taken from there.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    serve()


if __name__ == "__main__":
    main()
