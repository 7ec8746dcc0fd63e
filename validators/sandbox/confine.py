"""Closes the sandbox's process 1 to the plan that runs beside it under the same uid.

Not dumpable, so that /proc shows the plan neither its memory nor its descriptors; no new privileges; a system-call
filter every later process inherits. Runs inside the sandbox: standard library only. Namespaces and mounts are made in
namespaces.py or by Docker.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

# (x86_64, aarch64) numbers; None where the architecture has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51), "delete_module": (176, 106),
    "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "ioperm": (173, None), "iopl": (172, None), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "mount": (165, 40), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pivot_root": (155, 41),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "reboot": (169, 142), "request_key": (249, 218), "setns": (308, 268), "swapoff": (168, 225), "swapon": (167, 224),
    "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vhangup": (153, 58),
}  # fmt: skip
CLONE, CLONE3, PRLIMIT64, SOCKET = (56, 220), (435, 435), (302, 261), (41, 198)
NEW_NAMESPACES = 0x7E020000
ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
EPERM, ENOSYS, EAFNOSUPPORT = 0x50001, 0x50026, 0x50061
ALLOW = 0x7FFF0000


def filter_program(machine: str) -> bytes:
    """Gives the system-call filter of an architecture as classic BPF; b"" where its numbers are not known.

    Denies what a plan never needs and exploits like: new namespaces, mounts, ptrace, bpf, keys, io_uring, limits of
    another process, exotic socket families. Source: seccomp(2), linux/filter.h; moby's default profile for the choice.
    """
    if machine not in ARCHES:
        return b""
    column, audit = ARCHES[machine]

    def load(offset: int) -> tuple[int, int, int, int]:
        return (0x20, 0, 0, offset)

    def give(value: int) -> tuple[int, int, int, int]:
        return (0x06, 0, 0, value)

    program = [load(4), (0x15, 1, 0, audit), give(ENOSYS), load(0)]
    if machine == "x86_64":
        program += [(0x35, 0, 1, 0x40000000), give(ENOSYS)]  # the x32 twin of every call
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            program += [(0x15, 0, 1, number), give(EPERM)]
    program += [(0x15, 0, 1, CLONE3[column]), give(ENOSYS)]
    program += [(0x15, 0, 4, CLONE[column]), load(16), (0x45, 0, 1, NEW_NAMESPACES), give(EPERM), give(ALLOW)]
    program += [(0x15, 0, 4, PRLIMIT64[column]), load(16), (0x15, 1, 0, 0), give(EPERM), give(ALLOW)]
    families = (1, 2, 10, 16)  # unix, inet, inet6, netlink
    program += [(0x15, 0, len(families) + 2, SOCKET[column]), load(16)]
    program += [(0x15, len(families) - position, 0, family) for position, family in enumerate(families)]
    program += [give(EAFNOSUPPORT), give(ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in program)


def harden() -> None:
    """Closes this process to the plan: named init, not dumpable, no new privileges, system-call filter (inherited)."""
    libc = ctypes.CDLL(None, use_errno=True)
    _hide_command_line()

    def prctl(option: int, value: int, extra: object = None) -> None:
        if libc.prctl(option, ctypes.c_ulong(value), extra, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # from inside, process 1 gets only signals it handles
    prctl(4, 0)  # PR_SET_DUMPABLE
    prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    program = filter_program(os.uname().machine)
    if program:
        buffer = ctypes.create_string_buffer(program, len(program))
        header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
        prctl(22, 2, ctypes.create_string_buffer(header, len(header)))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def _hide_command_line() -> None:
    """Makes /proc/1/cmdline read "init": `ps | grep` in a plan must not find the words of this program."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: proc(5) fields 48 and 49
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, b"init", min(4, end - start))
    with open("/proc/self/comm", "wb") as file:
        file.write(b"init")
