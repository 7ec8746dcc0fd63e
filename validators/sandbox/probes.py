"""The self-test: what a plan tries on a sandbox, what must come of it, and both in words for people.

One table, two uses. The escapes run together in one plan whenever a sandbox is opened; `frontier sandbox check` says
them one by one and adds the conducts, plans that must end in a certain way. The attacks proper, many more and each on
every backend, are tests (tests/validators/test_sandbox_hostile.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from validators.sandbox.contract import MIB, Json, Limits, Outcome, Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """Something tried from inside: `script` prints what came of it, `answer` is what must come of it.

    With `is_attempt` the script prints nothing that matters: what comes of it is "yes" when it ends with 0, else "no".
    `told` says the answer in words where it needs any.
    """

    name: str
    question: str
    script: str
    answer: str = "no"
    is_attempt: bool = True
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """A plan that must end with one of `statuses`, within `within_s`, leaving `num_left` processes to kill (None: any).

    `told` says in words how it ended well.
    """

    name: str
    question: str
    script: str
    statuses: tuple[str, ...]
    told: str
    within_s: float = 5.0
    num_left: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one probe; `is_right` says whether it is what must come of it."""

    name: str
    question: str
    answer: str
    is_right: bool


ESCAPES = (
    Escape(name="uid", question="which user is a plan?", script="id -u", answer="1000", is_attempt=False),
    Escape(
        name="homes", question="whose home folders does a plan see?", script="cd /home && echo *", answer="user",
        is_attempt=False,
    ),
    Escape(name="root_home", question="can a plan read the host's /root?", script="ls /root"),
    Escape(name="shadow", question="can a plan read password hashes?", script="cat /etc/shadow"),
    Escape(
        name="docker_socket", question="can a plan reach the Docker engine?",
        script="ls /var/run/docker.sock || ls /run/docker.sock",
    ),
    Escape(name="write_usr", question="can a plan write to /usr?", script="touch /usr/probe"),
    Escape(name="write_etc", question="can a plan write to /etc?", script="touch /etc/probe"),
    Escape(
        name="write_sys", question="can a plan change kernel settings?",
        script="echo 1 > /proc/sys/vm/drop_caches || echo x > /proc/sys/kernel/core_pattern",
    ),
    Escape(
        name="runner_memory", question="can a plan look into the process that judges it?",
        script="head -c1 /proc/1/mem || ls /proc/1/fd/ || cat /proc/1/environ",
    ),
    Escape(
        name="mount", question="can a plan mount a file system?",
        script="mount -t tmpfs x /tmp || unshare -Ur true",
    ),
    Escape(
        name="namespace", question="can a plan make namespaces of its own?",
        script='python3 -c "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x10000000))"',
    ),
    Escape(
        name="interfaces", question="which network interfaces does a plan have?", answer="lo", is_attempt=False,
        script="""awk -F: 'NR>2 {gsub(/ /,"",$1); print $1}' /proc/net/dev | sort | tr '\\n' ' ' | sed 's/ $//'""",
    ),
    Escape(
        name="internet", question="can a plan reach the network (169.254.169.254)?",
        script='timeout 1 bash -c "exec 3<>/dev/tcp/169.254.169.254/80"',
    ),
    Escape(
        name="caps", question="which capabilities does a plan have?", answer="0000000000000000", is_attempt=False,
        script="awk '/^CapEff/ {print $2}' /proc/self/status", told="none",
    ),
    Escape(
        name="no_new_privs", question="are set-uid programs without effect?", answer="1", is_attempt=False,
        script="awk '/^NoNewPrivs/ {print $2}' /proc/self/status", told="yes",
    ),
    Escape(
        name="filter", question="does a filter of system calls hold for a plan?", answer="2", is_attempt=False,
        script="awk '/^Seccomp:/ {print $2}' /proc/self/status", told="yes",
    ),
)  # fmt: skip

CONDUCT_LIMITS = Limits(
    timeout_s=1, memory_bytes=128 * MIB, max_processes=64, disk_bytes=16 * MIB, output_bytes=MIB // 4
)
CONDUCTS = (
    Conduct(
        name="daemon", question="does a process that a plan leaves behind live on?",
        script="setsid nohup bash -c 'sleep 600 & sleep 600' >/dev/null 2>&1 & sleep 0.2",
        statuses=("ok",), num_left=3, told="no: the verdict does not wait for it, and its tree is killed",
    ),
    Conduct(
        name="timeout", question="can a plan outlive its time limit by ignoring signals?",
        script="trap '' TERM INT HUP; while :; do :; done", statuses=("timeout",), told="no: killed at the limit",
    ),
    Conduct(
        name="fork_bomb", question="can a plan fork without end?", script=":(){ :|:& };:; sleep 30",
        statuses=("timeout", "nonzero"), told="no: its processes are counted, and all are killed",
    ),
    Conduct(
        name="memory", question="can a plan use more memory than its limit?", script="tail /dev/zero",
        statuses=("oom",), told="no: killed when it ran out",
    ),
    Conduct(
        name="disk", question="can a plan write more than its limit?",
        script="for i in $(seq 99); do head -c 1m /dev/zero > /tmp/$i || exit 1; done",
        statuses=("disk_limit",), told="no: the file system is as large as the limit",
    ),
    Conduct(
        name="output", question="can a plan flood its output?", script="yes", statuses=("output_limit",),
        told="no: stopped at the limit",
    ),
    Conduct(
        name="pristine", question="does the next plan find anything of those before?",
        script="test -z \"$(ls -A ~ /tmp /dev/shm | grep -v -e : -e '^$')\" && set -- /proc/[0-9]* && test $# = 2",
        statuses=("ok",), num_left=0, told="no: no file, no process",
    ),
)  # fmt: skip

SELF_TEST_S = 30.0
"""Time limit of the escapes, whatever plans get: a busy machine must not make a bad sandbox of a good one."""
_SAY = r"""say() { printf '%s=%s\n' "$1" "$2"; }
can() { if eval "$2" >/dev/null 2>&1; then say "$1" yes; else say "$1" no; fi; }
"""
_FUNCTION = """probe_{name}() {{
{script}
}}
"""


def self_test(sandbox: Sandbox) -> list[str]:
    """Runs the escapes in one plan with a known end; gives what is wrong, [] for a sandbox to trust."""
    return [f"probe {answer.name} says {answer.answer!r}" for answer in try_escapes(sandbox) if not answer.is_right]


def try_escapes(sandbox: Sandbox) -> list[Answer]:
    """Gives what came of each escape, and of the plan around them: a fixture, an expectation, a process left behind."""
    lines = [_SAY]
    for escape in ESCAPES:
        lines.append(_FUNCTION.format(name=escape.name, script=escape.script))
        call = f"probe_{escape.name}"
        lines.append(f"can {escape.name} {call}" if escape.is_attempt else f'say {escape.name} "$({call})"')
    outcome = sandbox.run(
        {
            "commands": ["\n".join([*lines, 'echo "$FRUIT" > basket/fruit', "setsid sleep 60 &"])],
            "fixture": {"dirs": {"basket": {}}, "env": {"FRUIT": "pear"}},
            "expect": {"files": {"basket/fruit": {"text": "pear\n"}}},
            "timeout_s": SELF_TEST_S,
        }
    )
    return list(_read_answers(outcome))


def _read_answers(outcome: Outcome) -> Iterator[Answer]:
    question = "does a plan run, and is what it leaves seen?"
    if outcome.status != "ok":
        words = f"{outcome.status} {outcome.reason or outcome.stderr.get('text', '')[:200]}".strip()
        yield Answer(name="plan", question=question, answer=words, is_right=False)
        return
    got = dict(line.split("=", 1) for line in outcome.stdout["text"].splitlines() if "=" in line)
    for escape in ESCAPES:
        answer = got.get(escape.name, "nothing")
        is_right = answer == escape.answer
        told = escape.told if is_right and escape.told else answer
        yield Answer(name=escape.name, question=escape.question, answer=told, is_right=is_right)
    found = "; ".join(finding["message"] for finding in outcome.findings)
    if not found and outcome.processes_left != 1:
        found = f"{outcome.processes_left} processes were left to kill, not 1"
    yield Answer(name="plan", question=question, answer=found or "yes", is_right=not found)


def try_conducts(sandbox: Sandbox) -> Iterator[Answer]:
    """Yields what came of each conduct, as it comes; the sandbox must have CONDUCT_LIMITS."""
    for conduct in CONDUCTS:
        outcome = sandbox.run({"commands": [conduct.script]})
        words = conduct.told
        if outcome.status not in conduct.statuses:
            words = f"{outcome.status} (should be {' or '.join(conduct.statuses)}) {outcome.reason}".strip()
        elif outcome.wall_s > conduct.within_s:
            words = f"{outcome.status}, but only after {outcome.wall_s:.1f} s"
        elif conduct.num_left is not None and outcome.processes_left != conduct.num_left:
            words = f"{outcome.processes_left} processes were left to kill, not {conduct.num_left}"
        yield Answer(name=conduct.name, question=conduct.question, answer=words, is_right=words == conduct.told)


def about(answer: Answer) -> Json:
    """Gives an answer as `--json` shows it."""
    return {
        "name": answer.name,
        "question": answer.question,
        "answer": answer.answer,
        "is_right": answer.is_right,
    }
