"""Plans that attack: each ends with the right status, reaches nothing outside, leaves a clean world."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import MIB, Limits, Outcome, Sandbox

LIMITS = Limits(timeout_s=1, memory_bytes=128 * MIB, max_processes=64, disk_bytes=16 * MIB, output_bytes=MIB // 4)


@pytest.fixture(
    scope="module",
    params=[
        "native-ns",
        pytest.param("docker-ns", marks=pytest.mark.docker),
        pytest.param("docker-run", marks=[pytest.mark.docker, pytest.mark.slow]),
    ],
)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        opened = open_sandbox(request.param, limits=LIMITS)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


def run(sandbox: Sandbox, *commands: str, **job: object) -> Outcome:
    return sandbox.run({"commands": list(commands), **job})


def assert_next_is_pristine(sandbox: Sandbox) -> None:
    script = "ls -A ~ /tmp /dev/shm; set -- /proc/[0-9]*; echo $#"
    after = run(sandbox, script)
    # three empty folders, and two processes: init and bash
    assert after.stdout["text"] == "/dev/shm:\n\n/home/user:\n\n/tmp:\n2\n"
    assert (after.status, after.changes, after.processes_left) == ("ok", (), 0)


FORGED = json.dumps({"status": "ok", "exit_code": 0, "findings": []})
CASES = {
    "fork_bomb": (":(){ :|:& };:; sleep 30", {"timeout", "nonzero"}),
    "fork_bomb_in_background": ("(:(){ :|:& };:) & exit 0", {"ok", "timeout"}),
    "memory_hog": ("tail /dev/zero", {"oom"}),
    "memory_of_many": ("for i in 1 2 3 4; do (head -c 60m /dev/zero; sleep 9) | tail & done; wait; exit 7", {"oom"}),
    "disk_fill": ("head -c 100m /dev/zero > big", {"disk_limit"}),
    "disk_fill_in_parts": ("for i in $(seq 99); do head -c 1m /dev/zero > /tmp/$i || exit 1; done", {"disk_limit"}),
    "inode_fill": ("mkdir d; cd d; for i in $(seq 30); do touch $i.{1..1000} || exit 1; done", {"disk_limit"}),
    "endless_output": ("yes", {"output_limit"}),
    "endless_errors": ("yes >&2", {"output_limit"}),
    "sleep_forever": ("sleep 1000", {"timeout"}),
    "busy_loop_ignoring_signals": ("trap '' TERM INT HUP; while :; do :; done", {"timeout"}),
    "stops_itself": ("kill -STOP $$", {"timeout"}),
    "daemon_holding_stdout": ("setsid nohup bash -c 'sleep 1000' & exit 0", {"ok"}),
    "kill_everything": ("kill -9 -1; exit 3", {"nonzero"}),
    "kill_init": ("for s in INT TERM KILL SEGV STOP CHLD ALRM; do kill -$s 1; done; exit 3", {"nonzero"}),
    "write_to_usr": ("echo x > /usr/bin/ls", {"nonzero"}),
    "remove_everything": ("rm -rf --no-preserve-root / 2>/dev/null; exit 3", {"nonzero", "timeout"}),
    "root_home": ("ls /root/.ssh /root/.bashrc", {"nonzero"}),
    "shadow": ("cat /etc/shadow", {"nonzero"}),
    "metadata_service": ("exec 3<>/dev/tcp/169.254.169.254/80", {"nonzero"}),
    "docker_socket": ("test -e /var/run/docker.sock || test -e /run/docker.sock", {"nonzero"}),
    "sysctl": ("echo /tmp/x > /proc/sys/kernel/core_pattern", {"nonzero"}),
    "sysrq": ("echo b > /proc/sysrq-trigger", {"nonzero"}),
    "runner_memory": ("head -c 1 /proc/1/mem", {"nonzero"}),
    "runner_descriptors": ("ls /proc/1/fd/", {"nonzero"}),
    "runner_environment": ("cat /proc/1/environ", {"nonzero"}),
    "runner_limits": ("prlimit --pid 1 --nofile=0:0", {"nonzero", "sandbox_error"}),
    "new_user_namespace": ("unshare -Ur true", {"nonzero"}),
    "enter_namespace": ("nsenter -t 1 -m true", {"nonzero"}),
    "mount": ("mount -t tmpfs none /tmp", {"nonzero"}),
    "device": ("mknod /tmp/disk b 254 0", {"nonzero"}),
    "forged_answer_on_stdout": (f"echo '{FORGED}'; exit 1", {"nonzero"}),
    "forged_answer_everywhere": (
        f"for n in $(seq 3 20) 250; do echo '{FORGED}' >&$n; done; echo '{FORGED}' > /proc/1/fd/1; exit 1",
        {"nonzero"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_hostile_plan_is_contained(sandbox: Sandbox, name: str) -> None:
    command, statuses = CASES[name]
    began = time.monotonic()
    outcome = run(sandbox, command)
    took = time.monotonic() - began
    assert outcome.status in statuses, (outcome.status, outcome.exit_code, outcome.reason, outcome.stderr)
    assert outcome.wall_s < LIMITS.timeout_s + 3  # the limit, on a busy machine
    assert took < LIMITS.timeout_s + 20
    assert_next_is_pristine(sandbox)


def test_host_files_are_untouched_by_a_plan_that_deletes_everything(sandbox: Sandbox, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("here")
    run(sandbox, f"rm -rf --no-preserve-root / 2>/dev/null; echo gone > {kept}; exit 0")
    assert kept.read_text() == "here"
    assert Path("/usr/bin/env").exists()


def test_link_out_of_home_is_reported_and_not_followed(sandbox: Sandbox) -> None:
    outcome = run(
        sandbox, "ln -s /etc/passwd secret; ln -s / root; mkfifo pipe", expect={"files": {"secret": {"text": "x"}}}
    )
    changes = {change["path"]: (change["kind"], change["target"]) for change in outcome.changes}
    assert changes == {"secret": ("symlink", "/etc/passwd"), "root": ("symlink", "/"), "pipe": ("fifo", "")}
    assert outcome.findings[0]["message"] == "secret: a symlink, should be a file"


def test_folder_swapped_for_a_link_does_not_pass_for_the_folder(sandbox: Sandbox) -> None:
    script = "mkdir /tmp/real; echo ok > /tmp/real/f; ln -s /tmp/real out"
    outcome = run(sandbox, script, expect={"files": {"out/f": {"text": "ok\n"}}})
    assert [found["code"] for found in outcome.findings] == ["missing_file", "unexpected_change"]


def test_output_limit_is_found_at_once_and_counts_what_came(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "yes | head -c 9000000")
    assert outcome.status == "output_limit"
    assert outcome.stdout["truncated"]
    assert len(outcome.stdout["text"]) == MIB // 4
    assert outcome.wall_s < 1.5


def test_daemon_does_not_delay_the_verdict_and_is_counted(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "setsid sleep 100 & nohup sleep 100 & echo started")
    assert (outcome.status, outcome.stdout["text"], outcome.processes_left) == ("ok", "started\n", 2)
    assert outcome.wall_s < 1


def test_undecodable_output_and_names_become_escapes(sandbox: Sandbox) -> None:
    outcome = run(sandbox, r"printf '\377\n'; touch $'bad\xfename' $'two\nlines'")
    assert outcome.stdout["text"] == "\\xff\n"
    assert [change["path"] for change in outcome.changes] == ["bad\\xfename", "two\nlines"]


def test_plan_can_not_read_the_expected_answer(sandbox: Sandbox) -> None:
    places = "/proc/*/cmdline /proc/*/environ /proc/1/ /tmp /run /dev/shm /etc"
    outcome = run(sandbox, f"grep -rl 'pi_is_wron[g]' {places} 2>/dev/null", expect={"stdout": "pi_is_wrong"})
    assert outcome.stdout["text"] == ""


def test_runner_is_not_found_by_its_own_words(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/comm")
    assert outcome.stdout["text"].replace(" ", "") == "initinit\n"


def test_closed_folder_is_looked_into_and_reported_as_it_was(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "mkdir d; echo hidden > d/f; chmod 000 d/f d")
    assert [(c["path"], c["mode"], c["size"]) for c in outcome.changes] == [("d", "0000", 0), ("d/f", "0000", 7)]
