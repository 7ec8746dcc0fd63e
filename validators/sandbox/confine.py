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
from functools import lru_cache
from typing import Any

libc = ctypes.PyDLL(None, use_errno=True)

# (x86_64, aarch64) numbers; None where the architecture has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, None), "iopl": (172, None),
    "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "migrate_pages": (256, 238), "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "move_pages": (279, 239), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pivot_root": (155, 41),
    "process_madvise": (440, 440), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": (443, 443), "reboot": (169, 142),
    "request_key": (249, 218), "setns": (308, 268), "swapoff": (168, 225), "swapon": (167, 224),
    "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vhangup": (153, 58),
    # Memory that no process is seen to hold, and asynchronous I/O, of which the whole machine has one small store.
    "io_setup": (206, 0), "memfd_create": (319, 279), "memfd_secret": (447, 447), "msgget": (68, 186),
    "semget": (64, 190), "shmget": (29, 194),
}  # fmt: skip
# A call, the position of an argument and the value it must not have: what is done to process 1, or to all of a user's
# processes and so to process 1 too (its limits, its share of the processor), and typing into a terminal.
DENIED_WHEN = (
    ((302, 261), 0, 1),  # prlimit64
    ((141, 140), 1, 1), ((141, 140), 0, 2),  # setpriority: PRIO_USER is 2
    ((251, 30), 1, 1), ((251, 30), 0, 3),  # ioprio_set: IOPRIO_WHO_USER is 3
    ((144, 119), 0, 1), ((142, 118), 0, 1), ((314, 274), 0, 1),  # sched_setscheduler, sched_setparam, sched_setattr
    ((203, 122), 0, 1),  # sched_setaffinity
    ((16, 29), 1, 0x5412), ((16, 29), 1, 0x541C),  # ioctl: TIOCSTI, TIOCLINUX
)  # fmt: skip
# A call, the position of a user or group and those it may be: the plan's own and "as it is". Elsewhere the kernel says
# the same of every other one, but in a user namespace it says that there is no such user.
OWNERS = tuple(
    (numbers, position, (1000, 0xFFFFFFFF))
    for numbers, positions in (((92, None), (1, 2)), ((93, 55), (1, 2)), ((94, None), (1, 2)), ((260, 54), (2, 3)))
    for position in positions
)
"""chown, fchown, lchown, fchownat."""
FIRST_UNKNOWN = 463
"""Calls younger than this list (and x32's twin of every call) do not exist for a plan, as on an older kernel."""
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
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
    program += [(0x35, 0, 1, FIRST_UNKNOWN), give(ENOSYS)]
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            program += [(0x15, 0, 1, number), give(EPERM)]
    program += [(0x15, 0, 1, CLONE3[column]), give(ENOSYS)]
    program += [(0x15, 0, 4, CLONE[column]), load(16), (0x45, 0, 1, NEW_NAMESPACES), give(EPERM), give(ALLOW)]
    for numbers_of_call, position, (own, same) in OWNERS:
        number = numbers_of_call[column]
        if number is not None:
            program += [(0x15, 0, 5, number), load(16 + 8 * position)]
            program += [(0x15, 2, 0, own), (0x15, 1, 0, same), give(EPERM), load(0)]
    for numbers_of_call, position, value in DENIED_WHEN:
        step = (0x15, 0, 4, numbers_of_call[column])
        program += [step, load(16 + 8 * position), (0x15, 0, 1, value), give(EPERM), load(0)]
    families = (1, 2, 10, 16)  # unix, inet, inet6, netlink
    program += [(0x15, 0, len(families) + 2, SOCKET[column]), load(16)]
    program += [(0x15, len(families) - position, 0, family) for position, family in enumerate(families)]
    program += [give(EAFNOSUPPORT), give(ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in program)


@lru_cache(maxsize=1)
def prepare() -> None:
    """Does what of `harden` needs to be done once only: call it before forking many processes that will be hardened.

    Makes /proc/1/cmdline read "init" in all of them: `ps | grep` in a plan must not find the words of this program.
    """
    kernel_filter()
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: proc(5) fields 48 and 49
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, b"init", min(4, end - start))


@lru_cache(maxsize=1)
def kernel_filter() -> tuple[Any, Any] | None:
    """Gives this machine's filter as the kernel takes it, a struct sock_fprog and the array it points to."""
    steps = filter_program(os.uname().machine)
    if not steps:
        return None
    array = ctypes.create_string_buffer(steps, len(steps))
    header = struct.pack("HxxxxxxP", len(steps) // 8, ctypes.addressof(array))
    return ctypes.create_string_buffer(header, len(header)), array


def harden() -> None:
    """Closes this process to the plan: named init, not dumpable, no new privileges, system-call filter (inherited)."""
    prepare()

    def prctl(option: int, value: int, extra: object = None) -> None:
        if libc.prctl(option, ctypes.c_ulong(value), extra, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # from inside, process 1 gets only signals it handles
    if libc.prctl(15, b"init", 0, 0, 0) != 0:  # PR_SET_NAME
        raise OSError(ctypes.get_errno(), "prctl 15")
    prctl(4, 0)  # PR_SET_DUMPABLE
    prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    if filter_and_array := kernel_filter():
        prctl(22, 2, filter_and_array[0])  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
