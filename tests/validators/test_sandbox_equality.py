"""The same plan gets the same verdict in every sandbox: status, exit code, findings, output and difference.

Half of the plans are the shell domains' own, right and spoilt; the others go where backends could differ: tools, users,
limits, traps. In CI docker-run gets a part of them; FRONTIER_EQUALITY=200 gives it all.
"""

# ruff: noqa: E501 (one plan a line reads better than wrapped ones)
from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import pytest

from frontier_core.domains import choose_domains, load_domains
from frontier_core.errors import EnvironmentMissing
from frontier_core.resources import shipped
from frontier_core.seeds import child_random
from generators.procedural.shell.mutations import mutate
from generators.synth import generate, plan_requests
from validators.execution_gate import judge_plan
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import MIB, Limits, Sandbox

NUM_PLANS = 200
LIMITS = Limits(timeout_s=20, memory_bytes=128 * MIB, max_processes=64, disk_bytes=16 * MIB, output_bytes=MIB // 4)
NUM_ON_DOCKER_RUN = int(os.environ.get("FRONTIER_EQUALITY", "60"))
"""A container each."""

CLOCKS = re.compile(r"\.(?:gz|tgz|tar|bz2|xz|zip|pyc)$|(?:^|/)\.git/(?:index|logs/)")
Job = dict[str, Any]


# Steps of one plan are separated by `;;;`.
BY_HAND = r"""
true
false
exit 7
kill -TERM $$
kill -SEGV $$
echo 'exit 0' | sh; exit 300
nosuchcommand
ls missing
cat < missing
(exit 4)
set -e; false; echo never
set -o pipefail; false | true
false | true
yes | head -1
trap 'exit 0' EXIT; false
trap 'exit 0' ERR; false
trap 'echo bye' EXIT; exit 3
false || true
echo out; echo err >&2; exit 2
cat <<X
echo "a b" 'c"d' e\ f $'\x41'
echo (
if true
printf 'no newline'
printf 'a\0b'
printf '\377\376'
read x; echo "got $x" $?
cat; echo end
exec 1>&-; echo lost
exec sleep 0
tty
stty -a
id
id -un; id -gn; groups; whoami; logname
id root
getent passwd user; getent passwd root; getent group user
cat /etc/passwd /etc/group
cat /etc/hosts /etc/hostname /etc/nsswitch.conf
cat /etc/resolv.conf
getent hosts localhost; getent hosts sandbox
hostname; hostname -s; uname -n
umask; ulimit -c -f -n -s -t
ulimit -a | grep -v -e 'processes' -e 'pending' -e 'data seg' -e 'virtual'
nohup nice -n 19 true 2>&1; renice -n 19 $$ >/dev/null; nice
env | sort
set | grep -c '^BASH_VERSION='; echo $0 $# $- ; shopt -po | head -3
echo ~ ~user ~root
pwd; cd ..; pwd; ls
cd /tmp; ls -A; stat -c '%a %U %G' /tmp ~ /dev/shm /home
stat -c '%U:%G %a' /usr/bin/env
touch a; chown root a
touch a; chgrp root a
touch a; chown 1000:1000 a; stat -c %u:%g a
ls -l / | awk 'NR > 1 {print $1, $NF}' | grep -e home -e tmp -e usr
ls -A /run /var/tmp /mnt /srv /media
ls /dev | grep -v -e pts -e ptmx -e mqueue -e console -e core
touch /usr/x
touch /x
touch /etc/x
rm -f /etc/passwd
mkdir -p /run/x
echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 4 /dev/urandom | wc -c; echo x > /dev/full
echo 1 > /proc/sys/vm/drop_caches
mount -t tmpfs x /tmp
unshare -r true
sudo -n true
su -c true
ping -c 1 -W 1 127.0.0.1
curl -sS http://127.0.0.1:9/
curl -sS --max-time 2 http://example.com/
python3 -m http.server 8123 >/dev/null 2>&1 & for i in {1..99}; do curl -s http://127.0.0.1:8123/ && break; sleep 0.1; done; kill $!; wait
python3 -c 'import socket; socket.socket().bind(("", 80))' 2>&1 | tail -1
exec 3<>/dev/tcp/169.254.169.254/80
awk -F: 'NR > 2 {print $1}' /proc/net/dev
ps -e -o comm= | sort
ps aux | awk '{print $1, $2}' | head -2
pgrep -c sleep; sleep 9 & until pgrep -x sleep >/dev/null; do :; done; pgrep -c sleep; kill $!; wait
sleep 100 & echo started
setsid nohup sleep 100 >/dev/null 2>&1 &
mkdir -p a/b; touch a/b/c; ln -s c a/b/l; ln a/b/c h; mkfifo p; chmod 751 a
umask 077; mkdir d; touch d/f; install -m 640 d/f g
truncate -s 1M f; du -k --apparent-size f; stat -c '%s %b' f
dd if=/dev/zero of=f bs=1k count=3 2>&1 | grep -c copied
touch -d '2024-02-29 12:00' f; stat -c %Y f; date -d @0 +%c; date -u -r f +%F
printf 'b\nB\na\nA\n\xc3\xa9\n' | sort; echo é | wc -m; locale | head -2
printf '10\n9\n' | sort -n; printf 'x y\n' | awk '{print $2}'; echo abc | sed 's/b/X/'; echo a,b | cut -d, -f2
tar -cf t.tar --mtime=@0 --owner=0 --group=0 -C / etc/hostname; tar -tvf t.tar; tar -xf t.tar; cat etc/hostname
echo a > f; tar -czf t.tgz f && tar -tzf t.tgz; gzip -k f; zcat f.gz; bzip2 -k f; xz -k f; ls
echo a > f; sha256sum f; md5sum f; cksum f; base64 f; xxd f; file f
git init -q r; cd r; echo a > f; git add .; git commit -qm m; git log --format='%H %an %s'; git status --porcelain -b
git init r && cd r && git commit --allow-empty -m x && git branch -m main && git tag v1 && git rev-parse HEAD
echo '{"a": [1, 2]}' | jq -c .a; python3 -c 'import json, sys, zlib, ctypes, sqlite3; print(sys.version_info[:2])'
perl -e 'print "a" x 3, "\n"'; echo '2^10' | bc; factor 12; seq 3 | paste -sd+; expr 2 + 3; numfmt --to=iec 2048
find / -maxdepth 1 -type d -name 'h*'; find . -name '*.txt' -newer /etc/hostname
find /proc/self/fd -type l | wc -l; ls /proc/self/ns | wc -l; cat /proc/self/comm; cat /proc/1/comm
xargs -n1 echo < <(seq 3); diff <(echo a) <(echo b); comm -12 <(seq 3) <(seq 2 4); sleep 0.2
timeout 0.2 sleep 5
flock -n lock -c 'echo locked'; mktemp -d | sed 's/\..*//'; realpath .; readlink -f /bin/sh | xargs basename
nproc > /dev/null; getconf PAGESIZE; arch; free | wc -l; uptime -p >/dev/null; df --output=target ~ | wc -l
cd /tmp ;;; pwd; export A=1 ;;; echo $A; cd ;;; pwd
export PATH=/nowhere ;;; ls
cd missing ;;; echo never
mkdir d; cd d; rmdir ../d ;;; pwd
alias x=y; f() { echo f; }; B=2 ;;; f; echo $B
export X=$'a\nb' ;;; echo "$X"
head -c 100m /dev/zero > big
for i in 1 2; do head -c 9m /dev/zero > /tmp/$i || exit 1; done
mkdir d; cd d; for i in $(seq 30); do touch $i.{1..1000} || exit 1; done
tail /dev/zero
python3 -c 'x = bytearray(10**9)'
yes
yes >&2
head -c 262144 /dev/zero | tr '\0' x
head -c 262145 /dev/zero | tr '\0' x
sleep 60
while :; do :; done
kill -STOP $$
ulimit -n 3; ls
python3 -c 'import os; os.memfd_create("x")' 2>&1 | tail -1
python3 -c 'import os; print(len(os.sched_getaffinity(0)) > 0); os.setpriority(0, 1, 5)' 2>&1 | tail -1
chmod 000 ~
rm -rf ~; ls -d ~
"""


@cache
def plans() -> tuple[tuple[str, Job], ...]:
    """Gives (backend's limits, job) for each plan: by hand first, then right and spoilt plans of the shell domains."""
    lines = [line for line in BY_HAND.strip().splitlines() if line]
    jobs = [{"commands": line.split(" ;;; ")} for line in lines]
    num_generated = NUM_PLANS - len(jobs)
    domains = choose_domains(load_domains(shipped("domains.yaml")), ["shell"])
    records = list(generate(plan_requests(domains, (num_generated + 1) // 2), seed=11))
    for index, record in enumerate(records):
        jobs += [{"record": record}, {"record": mutate(record, child_random("equality", index))}]
    hangs = {"sleep 60", "while :; do :; done", "kill -STOP $$"}
    kept = jobs[:NUM_PLANS]
    return tuple(("hasty" if job.get("commands", [""])[0] in hangs else "patient", job) for job in kept)


class Pair:
    """A backend with two limits of time: what must time out should do so soon, the rest has time on a busy machine."""

    def __init__(self, name: str) -> None:
        from dataclasses import replace

        self.boxes = {"patient": open_sandbox(name, limits=LIMITS)}
        self.boxes["hasty"] = open_sandbox(name, limits=replace(LIMITS, timeout_s=1))
        self.seen: dict[int, Job] = {}

    def verdict(self, number: int) -> Job:
        """Gives what must not depend on the backend."""
        if number not in self.seen:
            kind, job = plans()[number]
            self.seen[number] = judged(job, self.boxes[kind])
        return self.seen[number]


def judged(job: Job, box: Sandbox) -> Job:
    if "record" in job:
        verdict = judge_plan(job["record"], box)
        details = {key: verdict.details.get(key) for key in ("status", "exit_code", "stdout", "diff", "num_changes")}
        details["diff"] = comparable(details["diff"] or ())
        return details | {"codes": [found.code for found in verdict.findings], "ok": verdict.ok}
    outcome = box.run(job)
    if outcome.status in ("output_limit", "oom", "timeout"):  # how far it came is chance
        return {"status": outcome.status}
    return {
        "status": outcome.status, "exit_code": outcome.exit_code,
        "stdout": outcome.stdout.get("text"), "num_changes": outcome.num_changes,
        "changes": comparable(outcome.changes), "left": outcome.processes_left,
        "steps": [step["exit_code"] for step in outcome.steps], "findings": [f["code"] for f in outcome.findings],
    }  # fmt: skip


def comparable(changes: Iterable[Job]) -> list[Job]:
    """Gives a difference without the digests of what holds a clock or an inode's number."""
    return [{**change, "sha256": "", "size": 0} if CLOCKS.search(change["path"]) else change for change in changes]


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[str, Pair]]:
    opened: dict[str, Pair] = {}
    yield opened
    for pair in opened.values():
        for box in pair.boxes.values():
            box.close()


def pair_of(pairs: dict[str, Pair], name: str) -> Pair:
    if name not in pairs:
        try:
            pairs[name] = Pair(name)
        except EnvironmentMissing as error:
            pytest.skip(f"{error.message} ({error.hint})")
    return pairs[name]


def test_there_are_as_many_plans_as_promised() -> None:
    assert len(plans()) == NUM_PLANS


@pytest.mark.docker
@pytest.mark.parametrize("number", range(NUM_PLANS))
def test_docker_ns_and_native_ns_give_the_same_verdict(pairs: dict[str, Pair], number: int) -> None:
    job = plans()[number][1]
    assert pair_of(pairs, "docker-ns").verdict(number) == pair_of(pairs, "native-ns").verdict(number), job


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, NUM_PLANS, max(1, NUM_PLANS // NUM_ON_DOCKER_RUN)))
def test_docker_run_and_docker_ns_give_the_same_verdict(pairs: dict[str, Pair], number: int) -> None:
    job = plans()[number][1]
    assert pair_of(pairs, "docker-run").verdict(number) == pair_of(pairs, "docker-ns").verdict(number), job
