"""What a plan tries to reach outside its sandbox, and must not; what it uses up or kills is test_sandbox_hostile.py.

All in one plan per backend, because none of these may have an effect.
"""

# ruff: noqa: E501 (one attempt a line reads better than wrapped ones)
from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Limits, Outcome, Sandbox

# Each must end with another code than 0.
ATTEMPTS = {
    # --- files of the host and of the sandbox's own ground
    "root_home": "ls /root/.ssh || ls /root/.bashrc || ls -d /root/.[a-z]*",
    "shadow": "cat /etc/shadow || cat /etc/gshadow || cat /etc/sudoers",
    "docker_socket": "ls /var/run/docker.sock || ls /run/docker.sock || ls /run/containerd",
    "host_disks": "ls /dev/sd* || ls /dev/vd* || ls /dev/nvme* || ls /dev/mem || ls /dev/kmsg",
    "make_disk_node": "mknod /tmp/disk b 8 0 || mknod /tmp/mem c 1 1 || mknod /tmp/kvm c 10 232",
    "write_tools": "echo x > /usr/bin/ls || touch /usr/bin/x || rm -f /usr/bin/true || mv /usr/bin/ls /usr/bin/sl",
    "write_dates_of_tools": "touch -d @0 /usr/bin/env || chmod 777 /usr/bin/env || chown user /usr/bin/env",
    "write_libraries": "echo x > /etc/ld.so.preload || touch /lib/x || touch /usr/lib/x || ln -s x /lib64/x",
    "write_etc": "touch /etc/passwd || echo x >> /etc/hosts || mv /etc/passwd /etc/p || mkdir /etc/x",
    "write_root": "touch /x || mkdir /x || touch /run/x || touch /var/x || touch /dev/x || chmod 777 /",
    "write_home_parent": "touch /home/x || rmdir /home/user || mv /home/user /home/x",
    # --- the kernel
    "kernel_settings": "echo 1 > /proc/sys/vm/drop_caches || echo x > /proc/sys/kernel/core_pattern || echo 1 > /proc/sys/kernel/randomize_va_space",
    "network_settings": "echo 1 > /proc/sys/net/ipv4/ip_forward || echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start",
    "sysrq": "echo b > /proc/sysrq-trigger",
    "kernel_memory": "head -c 1 /proc/kcore || head -c 1 /dev/mem || head -c 1 /proc/kmsg || dmesg",
    "kernel_addresses": "grep -v '^0000000000000000' /proc/kallsyms",
    "cgroup_release_agent": "find /sys/fs/cgroup -name release_agent -writable | grep . || echo x > /sys/fs/cgroup/release_agent || mkdir /sys/fs/cgroup/memory/x",
    "write_sys": "touch /sys/x || echo 1 > /sys/kernel/uevent_helper || echo 1 > /sys/power/state",
    "modules": "insmod /tmp/x.ko || modprobe dummy",
    "swap_and_clock": "date -s '2000-01-01' || swapon /tmp/x || hwclock -w",
    # --- the process that judges
    "runner_memory": "head -c 1 /proc/1/mem || cat /proc/1/maps || ls /proc/1/map_files/",
    "runner_descriptors": "ls /proc/1/fd/ || ls /proc/1/fdinfo/ || echo x > /proc/1/fd/1",
    "runner_world": "ls /proc/1/root/ || ls /proc/1/cwd/ || ls -L /proc/1/exe || readlink /proc/1/ns/mnt",
    "runner_environment": "cat /proc/1/environ || cat /proc/1/auxv || cat /proc/1/stack",
    "runner_words": "tr '\\0' ' ' < /proc/1/cmdline | grep -v '^init *$' || grep -v '^init$' /proc/1/comm",
    "runner_writes": "echo 1000 > /proc/1/oom_score_adj || echo x > /proc/1/comm || echo 0 > /proc/1/coredump_filter || echo 1 > /proc/1/clear_refs || echo 1 > /proc/1/autogroup",
    "runner_limits": "prlimit --pid 1 --nofile=0:0 || prlimit --pid 1 --cpu=1",
    "runner_priority": "renice -n 19 -p 1 || renice -n 19 -u user || renice -n 19 -g 1 || ionice -c 3 -p 1 || taskset -p 1 1",
    "a_better_priority": "nice -n -5 true 2>&1 | grep . && exit 1; nice -n -5 nice | grep -e -5 || renice -n -5 $$",
    # --- other users, namespaces, mounts
    "become_root": "sudo -n true || su -c true || pkexec true || newgrp root </dev/null",
    "set_uid_copy": "cp /bin/bash b; chmod 4755 b; ./b -pc 'test $(id -u) = 0'",
    "set_uid_tools": "passwd -S root || chsh -s /bin/sh </dev/null || mount --bind / /tmp",
    "mount": "mount -t tmpfs x /tmp || mount -o remount,rw / || mount --bind /usr /tmp || mount -t proc p /tmp || umount /proc || umount -l /tmp",
    "namespaces": "unshare -Ur true || unshare -m true || unshare -n true || unshare -p -f true",
    "enter_namespaces": "nsenter -t 1 -m true || nsenter -t $$ -U true || chroot / true || chroot /tmp true",
    "hostname": "hostname x && test $(hostname) = x",
    # --- the network
    "metadata_service": "exec 3<>/dev/tcp/169.254.169.254/80",
    "internet": "exec 3<>/dev/tcp/1.1.1.1/53",
    "names": "getent hosts example.com",
    "interfaces": "awk -F: 'NR > 2 {print $1}' /proc/net/dev | grep -v lo",
    "routes": "tail -n +2 /proc/net/route | grep . || ip route | grep .",
    "new_interface": "ip link add dummy0 type dummy || ip addr add 10.0.0.1/8 dev lo || ip link set lo down",
    "low_port": "python3 -S -c 'import socket; socket.socket().bind((\"\", 80))'",
    # --- limits
    "more_of_everything": "ulimit -n 4096 || ulimit -f unlimited || ulimit -Hn 1048576",
    "core_dumps": "ulimit -c unlimited",
    "first_to_survive": "echo -1000 > /proc/self/oom_score_adj || echo -1 > /proc/self/oom_score_adj",
    "real_time": "chrt -f 50 true || chrt -r 1 true",
    "groups_and_cron": "test $(id -G | wc -w) -gt 1 || (echo '* * * * * x' | crontab -) || at now </dev/null",
}  # fmt: skip

# Name: (call number on x86_64, arguments); each must fail.
CALLS = {
    "ptrace": (101, 16, 1), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "process_vm_writev": (311, 1, 0, 0, 0, 0, 0), "pidfd_getfd": (438, 0, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0), "process_madvise": (440, 0, 0, 0, 0, 0), "setpriority_of_init": (141, 0, 1, 5), "setaffinity_of_init": (203, 1, 8, 0),
    "prlimit_of_init": (302, 1, 7, 0, 0), "perf_event_open": (298, 0, 0, 0, 0, 0), "bpf": (321, 0, 0, 0), "userfaultfd": (323, 1), "io_uring_setup": (425, 1, 0),
    "io_setup": (206, 1, 0), "keyctl": (250, 0, -3, 0), "add_key": (248, 0, 0, 0, 0, 0), "request_key": (249, 0, 0, 0, 0), "memfd_create": (319, b"x", 0),
    "memfd_secret": (447, 0), "shmget": (29, 0, 4096, 0o1666), "semget": (64, 0, 1, 0o1666), "msgget": (68, 0, 0o1666), "unshare_user": (272, 0x10000000),
    "unshare_mount": (272, 0x20000), "unshare_time": (272, 0x80), "clone_user": (56, 0x10000011, 0, 0, 0, 0), "clone_pid": (56, 0x20000011, 0, 0, 0, 0), "clone3": (435, 0, 0),
    "setns": (308, 0, 0), "mount": (165, b"x", b"/tmp", b"tmpfs", 0, 0), "umount2": (166, b"/proc", 2), "pivot_root": (155, b"/tmp", b"/tmp"), "chroot": (161, b"/tmp"),
    "open_tree": (428, -100, b"/", 1), "move_mount": (429, -100, b"/", -100, b"/tmp", 0), "fsopen": (430, b"tmpfs", 0), "mount_setattr": (442, -100, b"/", 0, 0, 0), "open_by_handle_at": (304, -100, 0, 0),
    "name_to_handle_at": (303, -100, b"/", 0, 0, 0), "fanotify_init": (300, 0x200, 0), "quotactl_fd": (443, 0, 0, 0, 0), "swapon": (167, b"/tmp/x", 0), "reboot": (169, 0xFEE1DEAD, 672274793, 0x4321FEDC),
    "kexec_load": (246, 0, 0, 0, 0), "init_module": (175, 0, 0, b""), "delete_module": (176, b"x", 0), "iopl": (172, 3), "ioperm": (173, 0, 1, 1), "acct": (163, b"/tmp/x"), "syslog": (103, 3, 0, 0),
    "settimeofday": (164, 0, 0), "sethostname": (170, b"x", 1), "tiocsti": (16, 0, 0x5412, b"x"), "tioclinux": (16, 0, 0x541C, b"x"), "of_the_future": (999,),
    "socket_packet": (41, 17, 3, 0), "socket_raw": (41, 2, 3, 1), "socket_vsock": (41, 40, 1, 0), "socket_alg": (41, 38, 5, 0), "socket_xdp": (41, 44, 3, 0), "socket_bluetooth": (41, 31, 3, 1),
    "socket_can": (41, 29, 3, 1), "socket_tipc": (41, 30, 1, 0), "socket_kcm": (41, 41, 5, 0), "socket_rds": (41, 21, 5, 0),
    "x32_getpid": (0x40000000 + 39,),  # the last, because some engines' filters end the process for it
}  # fmt: skip
CALLER = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name, (number, *arguments) in {calls!r}.items():
    print(f"call {{name}}", "done" if libc.syscall(number, *arguments) >= 0 else "denied", flush=True)
"""


@pytest.fixture(
    scope="module",
    params=["native-ns", *(pytest.param(name, marks=pytest.mark.docker) for name in ("docker-ns", "docker-run"))],
)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        opened = open_sandbox(request.param, limits=Limits(timeout_s=60))
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def attempted(sandbox: Sandbox) -> Outcome:
    """Every attempt, one after the other, each in a shell of its own."""
    lines = [
        f"(cd $(mktemp -d); timeout 3 bash -c {quoted(script)}) </dev/null >/dev/null 2>&1 && echo reached {name}"
        for name, script in ATTEMPTS.items()
    ]
    calls = CALLS if os.uname().machine == "x86_64" else {}
    script = "\n".join([*lines, "python3 -S - <<'PYTHON'", CALLER.format(calls=calls), "PYTHON", "echo through"])
    outcome = sandbox.run({"commands": [script]})
    assert outcome.status == "ok", (outcome.status, outcome.reason, outcome.stderr)
    assert outcome.stdout["text"].endswith("through\n")
    return outcome


def quoted(script: str) -> str:
    return "'" + script.replace("'", "'\"'\"'") + "'"


@pytest.mark.parametrize("name", ATTEMPTS)
def test_plan_does_not_reach(attempted: Outcome, name: str) -> None:
    assert f"reached {name}" not in attempted.stdout["text"].splitlines()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="call numbers of x86_64")
@pytest.mark.parametrize("name", CALLS)
def test_plan_can_not_call(attempted: Outcome, name: str) -> None:
    lines = attempted.stdout["text"].splitlines()
    assert f"call {name} denied" in lines or (name == "x32_getpid" and f"call {name} done" not in lines)


def test_plan_can_not_read_the_expected_answer(sandbox: Sandbox) -> None:
    places = "/proc/*/cmdline /proc/*/environ /proc/1/ /tmp /run /dev/shm /etc"
    outcome = sandbox.run(
        {"commands": [f"grep -rl 'pi_is_wron[g]' {places} 2>/dev/null; :"], "expect": {"stdout": "pi_is_wrong"}}
    )
    assert outcome.stdout["text"] == ""


def test_two_plans_at_once_do_not_see_each_other(sandbox: Sandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    leave = """python3 -S -c '
import ctypes, socket, time
s = socket.socket(socket.AF_UNIX); s.bind("\\0meeting"); s.listen()
t = socket.socket(); t.bind(("127.0.0.1", 4000)); t.listen()
ctypes.CDLL(None).mq_open(b"/meeting", 0o102, 0o666, None)
open("/tmp/meeting", "w"); open("/dev/shm/meeting", "w"); open("/home/user/meeting", "w")
time.sleep(1.5)' & sleep 1.5"""
    look = """sleep 0.7; ls /tmp /dev/shm ~ | grep meeting; grep -c meeting /proc/net/unix; (exec 3<>/dev/tcp/127.0.0.1/4000) 2>/dev/null && echo connected
python3 -S -c 'import ctypes; print(ctypes.CDLL(None).mq_open(b"/meeting", 0))'; pgrep -c python3"""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(sandbox.run, {"commands": [leave]})
        second = pool.submit(sandbox.run, {"commands": [look + "; :"]})
        assert first.result().status == "ok"
        assert second.result().stdout["text"] == "0\n-1\n0\n"
