"""Plans that attack: each ends with the right status, reaches nothing outside, and the next plan finds a clean world.

What a plan tries to reach and must not is test_sandbox_escapes.py; here it uses up, floods, forges, kills and hides.
"""

# ruff: noqa: E501 (one plan a line reads better than wrapped ones)
from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.plan_lint import lint
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import MIB, Limits, Outcome, Sandbox

LIMITS = Limits(timeout_s=20, memory_bytes=128 * MIB, max_processes=64, disk_bytes=16 * MIB, output_bytes=MIB // 4)
HASTY = replace(LIMITS, timeout_s=1)
LATE_S = 0.2
MARK = f"hostile-{os.getpid()}"
BACKENDS = [
    "native-ns",
    pytest.param("docker-ns", marks=pytest.mark.docker),
    pytest.param("docker-run", marks=[pytest.mark.docker, pytest.mark.slow]),
]


def opened(name: str, limits: Limits) -> Iterator[Sandbox]:
    try:
        sandbox = open_sandbox(name, limits=limits)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """For plans that end by themselves, however busy the machine is."""
    yield from opened(request.param, LIMITS)


@pytest.fixture(scope="module")
def hasty(sandbox: Sandbox) -> Iterator[Sandbox]:
    """For plans that must be ended."""
    yield from opened(sandbox.name, HASTY)


def run(sandbox: Sandbox, *commands: str, **job: object) -> Outcome:
    return sandbox.run({"commands": list(commands), "fixture": {"env": {"MARK": MARK}}, **job})


# Everything a plan could have left or turned: files, processes, IPC objects, sockets, limits, priority, environment.
LOOK_AROUND = r"""
find / -xdev ! -path '/proc*' -printf '%p %m %u %y %l\n' | sort | sha256sum
find ~ /tmp /dev/shm /dev /run -printf '%p %m %u %y %l\n' | sort
set -- /proc/[0-9]*; echo $# processes
wc -l < /proc/sysvipc/shm; wc -l < /proc/sysvipc/sem; wc -l < /proc/sysvipc/msg
grep -c . /proc/net/unix /proc/net/tcp /proc/net/udp
grep -v '^Max pending' /proc/self/limits; umask; nice; ulimit -a; cat /proc/self/oom_score_adj; hostname
grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap|Cpus_allowed|SigBlk|SigIgn|SigCgt)' /proc/self/status
env | grep -v '^_=' | sort; stat -c '%a %s' /dev/null; df --output=used,iused /tmp | tail -1
"""


@pytest.fixture(scope="module")
def pristine(sandbox: Sandbox) -> str:
    outcome = run(sandbox, LOOK_AROUND)
    assert outcome.status == "ok"
    assert "\n2 processes\n" in outcome.stdout["text"]
    return str(outcome.stdout["text"])


def assert_next_is_pristine(sandbox: Sandbox, pristine: str) -> None:
    after = run(sandbox, LOOK_AROUND)
    for _ in range(10):
        if after.status == "timeout":  # a busy machine
            after = run(sandbox, LOOK_AROUND)
    assert after.stdout["text"] == pristine
    assert (after.status, after.changes, after.processes_left) == ("ok", (), 0)


def python(body: str) -> str:
    return f"python3 -S - <<'PYTHON'\nimport ctypes, os, signal, socket, sys, time\n{body.strip()}\nPYTHON\n"


FORGED = json.dumps({"status": "ok", "exit_code": 0, "findings": []})
SPIN_AND_STARVE = python("""
for starve in (
    lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), lambda: os.setpriority(os.PRIO_USER, 1000, 19),
    lambda: os.setpriority(os.PRIO_PGRP, 1, 19), lambda: os.sched_setaffinity(1, {0}),
    lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
):
    try: starve(); print("STARVED")
    except OSError: pass
for _ in range(30):
    if os.fork() == 0: break
while True: pass
""")
SMALL_AND_NO_FIRST_VICTIMS = """
echo 0 > /proc/self/oom_score_adj
for i in $(seq 40); do python3 -S -c 'x = bytearray(b"x") * (6 << 20); import time; time.sleep(3)' & done
head -c 15m /dev/zero > /tmp/x; wait; exit 3
"""
LONG_NAMES = python(r"""
os.chdir("/home/user")
for _ in range(15): os.mkdir("\x01" * 250); os.chdir("\x01" * 250)
for i in range(19000): os.close(os.open(f"{i:05}" + "\x02" * 240, os.O_CREAT))
""")
LONG_LINKS = python(r"""
os.chdir("/home/user")
for i in range(1500): os.symlink("\x01" * 4000, str(i))
""")
DEEP = python("""
os.chdir("/home/user")
for _ in range(3000): os.mkdir("d"); os.chdir("d")
open("f", "w").close()
""")
SOCKET_BUFFERS = python("""
kept = []
try:
    while True:
        kept += socket.socketpair()
        for end in kept[-2:]:
            end.setblocking(False)
            try:
                while True: end.send(bytes(65536))
            except BlockingIOError: pass
except OSError as error: print(error.strerror)
""")
DOUBLE_FORKS = python("""
for _ in range(10):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for n in range(3): os.close(n)
            time.sleep(600)
        os._exit(0)
time.sleep(0.1)
""")
HOLD_EVERYTHING = python("""
import select
kept = []
libc = ctypes.CDLL(None)
for make in (lambda: libc.inotify_init1(0), lambda: libc.eventfd(0, 0), lambda: select.epoll(), lambda: os.pipe(),
             lambda: libc.timerfd_create(1, 0), lambda: socket.socket(socket.AF_UNIX)):
    try:
        for _ in range(100): kept.append(make())
    except OSError: pass
print(libc.mq_open(b"/q", 0o102, 0o666, None) >= 0)
s = socket.socket(socket.AF_UNIX); s.bind("\\0abstract"); s.listen()
t = socket.socket(); t.bind(("127.0.0.1", 4000)); t.listen()
if os.fork() == 0: time.sleep(600)
""")
TIMERS = python("""
class Spec(ctypes.Structure): _fields_ = [(n, ctypes.c_long) for n in ("a", "b", "c", "d")]
libc = ctypes.CDLL(None)
signal.signal(signal.SIGALRM, lambda *_: None)
while True:
    timer = ctypes.c_void_p()
    if libc.timer_create(1, None, ctypes.byref(timer)): break
    libc.timer_settime(timer, 0, ctypes.byref(Spec(0, 1000, 0, 1000)), None)
while True: pass
""")
SWAPS = """mkdir a; (while :; do mv a b; ln -s /etc a; rm a; mv b a; done) & (while :; do ln -sfn /root l; ln -sfn / l; done) &
sleep 0.2"""

OK, NO, LATE = {"ok"}, {"nonzero", "forbidden"}, {"timeout"}
DISK, FLOOD, OOM = {"disk_limit"}, {"output_limit"}, {"oom"}
ATTACKS: dict[str, tuple[str | list[str], set[str]]] = {
    # --- uses up
    "fork_bomb": (":(){ :|:& };:; sleep 30", LATE | NO),
    "fork_bomb_in_background": ("(:(){ :|:& };:) & exit 0", OK | LATE),
    "fork_churn": ("while :; do (:) & wait; done", LATE),
    "memory_hog": ("tail /dev/zero", OOM),
    "memory_of_many": ("for i in 1 2 3 4; do (head -c 60m /dev/zero; sleep 2) | tail & done; wait; exit 7", OOM),
    "memory_of_small_ones": (SMALL_AND_NO_FIRST_VICTIMS, OOM),
    "memory_in_a_child_of_exit_0": ("tail /dev/zero; exit 0", OK | OOM),
    "memory_and_disk_together": ("head -c 15m /dev/zero > f; head -c 15m /dev/zero > /tmp/f; tail /dev/zero", OOM | DISK),
    "memory_in_socket_buffers": (SOCKET_BUFFERS, OK | OOM | LATE | NO),
    "memory_in_memfd": (python("fd = os.memfd_create('x')\nwhile True: os.write(fd, bytes(1 << 20))"), NO),
    "disk_fill": ("head -c 100m /dev/zero > big", DISK),
    "disk_fill_in_parts": ("for i in $(seq 99); do head -c 1m /dev/zero > /tmp/$i || exit 1; done", DISK),
    "disk_fill_in_three_places": ("for f in ~/f /tmp/f /dev/shm/f; do head -c 10m /dev/zero > $f; done", DISK),
    "disk_fill_ignoring_signals": ("trap '' XFSZ; head -c 100m /dev/zero > big", DISK),
    "shared_memory_fill": ("for i in $(seq 99); do head -c 1m /dev/zero > /dev/shm/$i || exit 1; done", DISK),
    "inode_fill": ("mkdir d; cd d; for i in $(seq 30); do touch $i.{1..1000} || exit 1; done", DISK),
    "inode_fill_of_shared_memory": ("cd /dev/shm; for i in $(seq 30); do touch $i.{1..1000} || exit 1; done", DISK),
    "symlink_farm": (python("for i in range(100000): os.symlink('/', f'/home/user/{i}')"), DISK),
    "hard_link_farm": (python("open('f', 'w').close()\nfor i in range(100000): os.link('f', str(i))"), DISK),
    "sparse_file": ("truncate -s 100G hole", DISK),
    "sparse_files": ("truncate -s 15M {1..2000}", DISK),
    "small_writes": (python("f = open('f', 'ab', 0)\nwhile True: f.write(b'x')"), LATE | DISK),
    "deep_folders": (DEEP, OK),
    "long_names_in_deep_folders": (LONG_NAMES, DISK),
    "links_of_four_kilobytes": (LONG_LINKS, OK),
    "descriptors": (python("while True: os.dup(0)"), NO),
    "big_arguments": ("/bin/true $(seq 400000)", NO),
    "kernel_objects_held_by_a_daemon": (HOLD_EVERYTHING, OK),
    # --- outstays
    "sleep_forever": ("sleep 1000", LATE),
    "busy_loop_ignoring_signals": ("trap '' TERM INT HUP; while :; do :; done", LATE),
    "spins_and_starves_the_runner": (SPIN_AND_STARVE, LATE),
    "timer_storm": (TIMERS, LATE),
    "signal_storm_on_init": ("for i in 1 2 3 4; do while :; do kill -CHLD 1; done & done; wait", LATE),
    "stops_itself": ("kill -STOP $$", LATE),
    "stops_everything": ("sleep 99 & sleep 99 & kill -STOP -1; sleep 99", LATE),
    "becomes_another_program": ("exec sleep 1000", LATE),
    "daemon_holding_stdout": ("setsid nohup bash -c 'sleep 1000' & exit 0", OK),
    "double_forked_daemons": (DOUBLE_FORKS, OK),
    "stopped_children": ("sleep 100 & sleep 100 & kill -STOP $(jobs -p); exit 0", OK),
    "readers_of_a_pipe_without_end": ("mkfifo p; cat p & cat p & exec 3<>p; exit 0", OK),
    # --- floods
    "endless_output": ("yes", FLOOD),
    "endless_errors": ("yes >&2", FLOOD),
    "output_from_many": ("for i in $(seq 30); do yes $i & done; wait", FLOOD),
    "nothing_but_nuls": ("head -c 250000 /dev/zero; head -c 250000 /dev/zero >&2", OK),
    "errors_slow_to_read": ("head -c 250000 /dev/zero | tr '\\0' x >&2; exit 1", NO),
    "errors_full_of_paths": ("yes ' /x: Permission denie' | head -c 250000 | tr -d '\\n' >&2; exit 1", NO),
    "pipe_made_large": (python("import fcntl\nfcntl.fcntl(1, 1031, 1 << 20)\nos.write(1, bytes(1 << 20))"), FLOOD | OK),
    "huge_environment_from_step_to_step": (["export BIG=$(head -c 100000 /dev/zero | tr '\\0' x)", *["true"] * 15], OK),
    "environment_too_large_to_start": (["export BIG=$(head -c 999999 /dev/zero | tr '\\0' x)", "true"], OK | NO | FLOOD),
    # --- kills
    "kill_everything": ("kill -9 -1; exit 3", NO),
    "kill_init": ("for s in INT TERM KILL SEGV STOP CHLD ALRM PIPE XFSZ; do kill -$s 1; done; exit 3", NO),
    "kill_the_own_shell": (["kill -9 $$", "echo ESCAPED"], NO),
    "crash": ("ulimit -c unlimited; kill -SEGV $$", NO),
    "remove_everything": ("rm -rf --no-preserve-root / 2>/dev/null; exit 3", NO | LATE),
    "move_home_away": ("cd /; mv ~ /tmp/h; ln -s /etc ~; exit 0", OK),
    "close_every_folder": ("chmod 000 /tmp /dev/shm ~; exit 0", OK),
    "close_every_descriptor": ("exec 0<&- 1>&- 2>&-; for i in {3..255}; do eval \"exec $i>&-\"; done; touch f", OK),
    "limits_of_its_own": ("ulimit -n 8; ulimit -f 1; ulimit -u 1; ulimit -v 30000; touch a", OK | NO),
    "output_that_does_not_block": (python("os.set_blocking(1, False); os.set_blocking(2, False)") + "echo out", OK),
    # --- forges
    "forged_answer_on_stdout": (f"echo '{FORGED}'; exit 1", NO),
    "forged_answer_everywhere": (
        f"for n in $(seq 3 255); do echo '{FORGED}' >&$n; done; echo '{FORGED}' > /proc/1/fd/1; exit 1", NO,
    ),
    "forged_folder_of_the_next_step": (["cd /tmp; echo /root >&250; printf '/root\\n\\0A=1\\0' >&250; :", "cd /root"], NO),
    "functions_in_place_of_commands": (
        ["printf() { :; }; env() { :; }; command() { :; }; trap() { :; }; builtin() { :; }; exec() { :; }; "
         "export -f printf env command trap builtin exec; cd /tmp", "test $PWD = /tmp || test $PWD = ~"], OK,
    ),
    "aliases_and_options": (["shopt -s expand_aliases; alias echo=false; set -euxo noclobber; set +o posix", "echo x"], OK),
    "traps_that_say_all_is_well": ("trap 'exit 0' EXIT ERR TERM; false", OK),
    "links_swapped_until_the_end": (SWAPS, OK),
    "no_terminal": ("stty -a </dev/tty; tty; passwd </dev/null; su -c id </dev/null; sudo -n id; exit 3", NO),
    "no_input": ("cat; read x; test $? = 1; head -c 1 | wc -c; exit 3", NO),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_plan_is_contained(sandbox: Sandbox, hasty: Sandbox, pristine: str, name: str) -> None:
    commands, statuses = ATTACKS[name]
    steps = [commands] if isinstance(commands, str) else commands
    box, limit_s = (hasty, HASTY.timeout_s) if "timeout" in statuses else (sandbox, LIMITS.timeout_s)
    for _ in range(3):  # other work may keep the processors from us
        began = time.monotonic()
        outcome = run(box, *steps)
        took = time.monotonic() - began
        assert outcome.status in statuses, (outcome.status, outcome.exit_code, outcome.reason, outcome.stderr)
        if outcome.wall_s <= limit_s + LATE_S:
            break
    assert outcome.wall_s <= limit_s + LATE_S
    assert took < limit_s + 10
    assert not any(word in outcome.stdout["text"] for word in ("ESCAPED", "STARVED"))
    assert_next_is_pristine(box, pristine)


def test_no_process_of_any_of_these_plans_is_left_on_the_host(sandbox: Sandbox) -> None:
    run(sandbox, "setsid nohup sleep 600 >/dev/null 2>&1 & exit 0")
    left = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MARK={MARK}\0".encode() in path.read_bytes():
                left.append(path.with_name("cmdline").read_bytes())
        except OSError:
            continue
    assert left == []


def test_host_files_are_untouched_by_a_plan_that_deletes_everything(sandbox: Sandbox, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("here")
    run(sandbox, f"rm -rf --no-preserve-root / 2>/dev/null; echo gone > {kept}; exit 0")
    assert kept.read_text() == "here"
    assert Path("/usr/bin/env").exists()


def test_link_out_of_home_is_reported_and_not_followed(sandbox: Sandbox) -> None:
    script = "ln -s /etc/passwd secret; ln -s / root; mkfifo pipe; " + python("socket.socket(1).bind('socket')")
    outcome = run(sandbox, script, expect={"files": {"secret": {"text": "x"}}})
    changes = {change["path"]: (change["kind"], change["target"]) for change in outcome.changes}
    assert changes == {
        "secret": ("symlink", "/etc/passwd"), "root": ("symlink", "/"), "pipe": ("fifo", ""), "socket": ("socket", ""),
    }  # fmt: skip
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
    assert outcome.wall_s < 1.2


def test_daemon_does_not_delay_the_verdict_and_is_counted(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "setsid sleep 100 & nohup sleep 100 & echo started")
    assert (outcome.status, outcome.stdout["text"], outcome.processes_left) == ("ok", "started\n", 2)
    assert outcome.wall_s < 1


def test_undecodable_output_and_names_become_escapes(sandbox: Sandbox) -> None:
    long = "n" * 255
    outcome = run(sandbox, rf"printf '\377\n'; touch $'bad\xfename' $'two\nlines' {long}")
    assert outcome.stdout["text"] == "\\xff\n"
    assert [change["path"] for change in outcome.changes] == ["bad\\xfename", long, "two\nlines"]


def test_closed_folder_is_looked_into_and_reported_as_it_was(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "mkdir d; echo hidden > d/f; chmod 000 d/f d")
    assert [(c["path"], c["mode"], c["size"]) for c in outcome.changes] == [("d", "0000", 0), ("d/f", "0000", 7)]


SLOW_TO_READ = (
    "<<a ",
    "<<a\n",
    "\n",
    "trap ",
    "trap exit 0 ",
    "'",
    '"',
    "\\",
    "$(",
    "; ",
    "|| ",
    "set +",
    " /x: Permission denie",
)


@pytest.mark.parametrize("word", SLOW_TO_READ)
def test_text_of_a_plan_is_read_in_little_time(word: str) -> None:
    text = word * (200_000 // len(word))
    began = time.process_time()
    lint([text])
    assert time.process_time() - began < 5


# A check runs in a clean shell: nothing the plan exported, configured or put in its way decides what it says.
IN_THE_WAY = {
    "exported_start_files": "echo 'echo fine; exit 0' > ~/evil; export BASH_ENV=~/evil ENV=~/evil PROMPT_COMMAND=true",
    "exported_functions": "test() { :; }; cat() { echo fine; }; export -f test cat",
    "exported_library": "export LD_PRELOAD=/tmp/none.so LD_LIBRARY_PATH=/tmp",
    "exported_path": "mkdir bin; printf '#!/bin/sh\\necho fine\\n' > bin/cat; chmod +x bin/cat; export PATH=~/bin:$PATH",
    "modules_in_home": "echo 'print(\"fine\"); raise SystemExit' | tee json.py os.py re.py >/dev/null",
    "modules_of_the_user": (
        "d=$(python3 -c 'import site; print(site.getusersitepackages())'); mkdir -p $d; "
        "echo 'print(\"fine\"); import os; os._exit(0)' > $d/usercustomize.py"
    ),
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_check_is_not_decided_by_what_the_plan_put_in_its_way(sandbox: Sandbox, name: str) -> None:
    checks = [
        {"command": "cat said; test -e said", "stdout": "fine\n"},
        {"command": "python3 -c 'import json, re; print(open(\"said\").read().strip())'", "stdout": "fine\n"},
    ]
    job = {"expect": {"checks": checks, "allow_other_changes": True}}
    outcome = run(sandbox, f"echo wrong > said; {IN_THE_WAY[name]}", "true", **job)
    assert outcome.status == "ok", outcome
    assert [found["code"] for found in outcome.findings] == ["check_failed", "check_failed"], outcome.findings


def test_check_in_a_home_closed_to_its_owner_fails_and_is_no_failure_of_the_sandbox(sandbox: Sandbox) -> None:
    checks = [{"command": "test -e f"}]
    outcome = run(sandbox, "chmod 000 ~", expect={"checks": checks, "allow_other_changes": True})
    assert (outcome.status, [found["code"] for found in outcome.findings]) == ("ok", ["check_failed"])


def test_repository_that_runs_programs_for_git_does_not_decide_a_check(sandbox: Sandbox) -> None:
    plan = """git init -q r; cd r; echo a > f; git add f; git commit -qm one; echo b > new
    printf '#!/bin/sh\necho caught > /home/user/ESCAPED\n' > ../evil; chmod +x ../evil
    git config core.fsmonitor /home/user/evil; git config core.pager /home/user/evil"""
    checks = [{"command": "git -C r status --porcelain; test ! -e ESCAPED", "stdout": "?? new\n"}]
    outcome = run(sandbox, plan, expect={"checks": checks, "allow_other_changes": True})
    assert (outcome.status, outcome.findings) == ("ok", ())
