"""The processes domain: stop, wait for, limit and inspect processes.

The fixture starts real processes and writes their ids to files; scripts of the fixture show what a plan did with them
(two that need each other show that they ran at the same time). Process tables with numbers are captured files.
"""

from __future__ import annotations

from random import Random
from typing import Any

from generators.procedural.shell.base import (
    FOLDERS,
    ITEMS,
    WORDS,
    ShellGenerator,
    Task,
    bracketed,
    lines,
    say,
    stem,
    stems,
    task,
)

NAMES = (
    "worker",
    "server",
    "watcher",
    "mailer",
    "indexer",
    "cache",
    "queue",
    "player",
    "sync",
    "logger",
    "tunnel",
    "agent",
)
DIRS = ("run", "pids", "state", "var", "jobs", "tmp")
OWNERS = ("root", "web", "db", "mail", "backup", "media")
SLEEPER = ["sleep", "600"]
STUBBORN = ["env", "--ignore-signal=TERM", "sleep", "600"]
SAFETY = ("process_control",)

ROW = tuple[int, str, int, int, str]
"""pid, owner, percent of a processor, memory in MB, command."""


def _names(rng: Random, count: int) -> tuple[str, list[str]]:
    """A folder for pid files and the names of processes."""
    return rng.choice(DIRS), [f"{name}{rng.randint(1, 30)}" for name in rng.sample(NAMES, count)]


def _running(folder: str, argv: dict[str, list[str]]) -> dict[str, Any]:
    """The fixture of processes by name, their ids in `folder/NAME.pid`."""
    return {
        "processes": [{"name": name, "argv": args, "pid_file": f"{folder}/{name}.pid"} for name, args in argv.items()]
    }


def _script(*body: str) -> dict[str, str]:
    return {"text": lines(["#!/bin/bash", *body]), "mode": "755"}


def _table(rng: Random, count: int) -> list[ROW]:
    pids, loads, sizes = (
        rng.sample(range(100, 9999), count),
        rng.sample(range(1, 99), count),
        rng.sample(range(5, 900), count),
    )
    return [(pids[n], rng.choice(OWNERS), loads[n], sizes[n], rng.choice(NAMES)) for n in range(count)]


def _ps(rows: list[ROW]) -> str:
    return lines(["PID USER CPU MB COMMAND", *(" ".join(map(str, row)) for row in rows)])


def stop_process(rng: Random) -> Task:
    """One process ends by its pid file, the others go on."""
    folder, (name, other) = _names(rng, 2)
    fixture = _running(folder, {name: SLEEPER, other: SLEEPER})
    instruction = say(
        rng,
        f"Stop the process whose id is in {folder}/{name}.pid.",
        f"End the program {name}; its process id is in {folder}/{name}.pid.",
        f"Terminate {name} (pid file {folder}/{name}.pid) and nothing else.",
    )
    expect = {"processes": {name: "gone", other: "running"}}
    return task(
        instruction, [f"kill $(cat {folder}/{name}.pid)"], {}, fixture=fixture, expect=expect, safety_tags=SAFETY
    )


def kill_stubborn(rng: Random) -> Task:
    """A process that ignores the polite signal ends."""
    folder, (name, other) = _names(rng, 2)
    fixture = _running(folder, {name: STUBBORN, other: SLEEPER})
    instruction = say(
        rng,
        f"The process in {folder}/{name}.pid ignores normal termination; kill it for good.",
        f"Force {name} to end at once, it does not react to TERM; its id is in {folder}/{name}.pid.",
    )
    expect = {"processes": {name: "gone", other: "running"}}
    return task(
        instruction, [f"kill -9 $(cat {folder}/{name}.pid)"], {}, fixture=fixture, expect=expect, safety_tags=SAFETY
    )


def run_politely(rng: Random) -> Task:
    """A script runs with its priority lowered by so many steps, which it measures against its parent.

    LIMIT: Linux stops at 19, so a sandbox that runs at niceness 11 or more itself can't lower it by the 9 drawn here.
    """
    script, path, by = f"{rng.choice(WORDS)}{rng.randint(1, 99)}.sh", f"{stem(rng)}.txt", rng.randint(2, 9)
    body = _script(
        "mine=$(cut -d' ' -f19 /proc/$$/stat)",
        "parent=$(cut -d' ' -f19 /proc/$PPID/stat)",
        'echo "lowered by $((mine - parent))"',
    )
    instruction = say(
        rng,
        f"Run ./{script} with its niceness raised by {by} and save its output in {path}.",
        f"Let ./{script} run at a priority {by} steps lower than usual, output to {path}.",
    )
    command = f"nice -n {by} ./{script} > {path}"
    return task(instruction, [command], {}, {path: f"lowered by {by}\n"}, fixture={"files": {script: body}})


def command_of_process(rng: Random) -> Task:
    """What command a process runs, from the process file system, into a file."""
    folder, (name, other) = _names(rng, 2)
    choices = {
        "sleep": SLEEPER,
        "tail": ["tail", "-f", "/dev/null"],
        "bash": ["bash", "-c", "while :; do sleep 60; done"],
    }
    command, wrong = rng.sample(sorted(choices), 2)
    path = f"{stem(rng)}.txt"
    instruction = say(
        rng,
        f"Write the command name of the process in {folder}/{name}.pid, as /proc gives it, to {path}.",
        f"What program is running as the process id in {folder}/{name}.pid? Put its short name into {path}.",
    )
    fixture = _running(folder, {name: choices[command], other: choices[wrong]})
    step = f"cat /proc/$(cat {folder}/{name}.pid)/comm > {path}"
    return task(
        instruction, [step], {}, {path: f"{command}\n"}, fixture=fixture, expect={"processes": {name: "running"}}
    )


def busy_processes(rng: Random) -> Task:
    """Process ids above a load in a captured table, lowest id first."""
    path, rows = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", _table(rng, rng.randint(6, 10))
    limit = sorted(row[2] for row in rows)[len(rows) // 2]
    rows = bracketed(rows, [limit - 1, limit, limit + 1], 2)
    rows.sort(key=lambda row: row[2] <= limit)  # a row that counts comes first: skipping it shows
    instruction = say(
        rng,
        f"From the process table {path} print the PIDs with CPU (column 3) above {limit}, lowest first.",
        f"Which PIDs in the saved process list {path} use more than {limit} in column CPU? Rising order.",
    )
    command = f"awk 'NR > 1 && $3 > {limit} {{print $1}}' {path} | sort -n"
    return task(
        instruction, [command], {path: _ps(rows)}, stdout=lines(sorted(row[0] for row in rows if row[2] > limit))
    )


def limit_time(rng: Random) -> Task:
    """A script that would hang is cut off; what it wrote before stays."""
    script, word, path = f"{rng.choice(WORDS)}{rng.randint(1, 99)}.sh", rng.choice(ITEMS), f"{stem(rng)}.txt"
    # The first line is written at once; the plan's limit is far above that and far below the sleep.
    body = _script(f"echo {word}", "sleep 300", "echo finished")
    limit = rng.choice(("0.5", "0.6", "0.7", "0.8"))
    instruction = say(
        rng,
        f"Run ./{script} for at most {limit} seconds with its output in {path}; then append the line stopped.",
        f"Let ./{script} write to {path} but end it after {limit} seconds, then add a line saying stopped to {path}.",
    )
    commands = [f"timeout {limit} ./{script} > {path} || [ $? -eq 124 ]", f"echo stopped >> {path}"]
    return task(instruction, commands, {}, {path: f"{word}\nstopped\n"}, fixture={"files": {script: body}})


def save_exit_code(rng: Random) -> Task:
    """The exit code of a script that fails, and its output, into files."""
    script, code = f"{rng.choice(WORDS)}{rng.randint(1, 99)}.sh", rng.randint(2, 99)
    out, status = (f"{name}.txt" for name in stems(rng, 2))
    body = _script(f"echo {rng.choice(ITEMS)} {code + 1}", f"exit {code}")
    instruction = say(
        rng,
        f"Run ./{script}, save its output in {out} and its exit code in {status}.",
        f"Execute ./{script}; put what it prints into {out} and the number it exits with into {status}.",
    )
    printed = body["text"].splitlines()[1].removeprefix("echo ")
    command = f'rc=0; ./{script} > {out} || rc=$?; echo "$rc" > {status}'
    return task(
        instruction, [command], {}, {out: f"{printed}\n", status: f"{code}\n"}, fixture={"files": {script: body}}
    )


def run_together(rng: Random) -> Task:
    """Two scripts that wait for each other: only running both at once lets them succeed."""
    a, b, done = stems(rng, 3)
    item, other = rng.sample(ITEMS, 2)

    def partner(me: str, you: str, word: str) -> dict[str, str]:
        wait = f"for i in {{1..40}}; do [ -e {you}.on ] && echo {word} > {me}.txt && exit 0; sleep 0.05; done"
        return _script(f"touch {me}.on", wait, "exit 1")

    files = {f"{a}.sh": partner(a, b, item), f"{b}.sh": partner(b, a, other)}
    instruction = say(
        rng,
        f"Run ./{a}.sh and ./{b}.sh at the same time, wait for both, then write finished to {done}.txt.",
        f"Start ./{a}.sh and ./{b}.sh in parallel; when both have ended put the word finished into {done}.txt.",
    )
    command = f"./{a}.sh & ./{b}.sh & wait; echo finished > {done}.txt"
    after = {
        f"{a}.on": "",
        f"{b}.on": "",
        f"{a}.txt": f"{item}\n",
        f"{b}.txt": f"{other}\n",
        f"{done}.txt": "finished\n",
    }
    return task(instruction, [command], {}, after, fixture={"files": files})


def stop_all_but(rng: Random) -> Task:
    """Every process with a pid file in a folder ends, one excepted; another folder's goes on."""
    folder, names = _names(rng, 4)
    *others, keep, elsewhere = names
    other_dir = f"{folder}2"
    fixture = _running(folder, dict.fromkeys(names[:3], SLEEPER))
    fixture["processes"].append({"name": elsewhere, "argv": SLEEPER, "pid_file": f"{other_dir}/{elsewhere}.pid"})
    instruction = say(
        rng,
        f"Stop every process with a pid file in {folder} except {keep}.",
        "End all processes whose ids are in the .pid files of "
        f"{folder}, but leave {keep} (its file is {keep}.pid) running.",
    )
    command = f'for f in {folder}/*.pid; do if [ "$f" != {folder}/{keep}.pid ]; then kill "$(cat "$f")"; fi; done'
    states = {others[0]: "gone", others[1]: "gone", keep: "running", elsewhere: "running"}
    return task(instruction, [command], {}, fixture=fixture, expect={"processes": states}, safety_tags=SAFETY)


def memory_by_owner(rng: Random) -> Task:
    """Memory of one owner's processes in a captured table."""
    path, rows = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", _table(rng, rng.randint(8, 12))
    owner = rows[0][1]
    total = sum(size for _, who, _, size, _ in rows if who == owner)
    table = _ps([*rows, (99, f"{owner}2", 3, 777, "agent")])
    instruction = say(
        rng,
        f"How many MB (column 4) do the processes of user {owner} take together in the table {path}? Print the sum.",
        f"Add up column MB of {path}, a saved process list, over the rows of the user {owner}; print the total.",
    )
    command = f"awk '$2 == \"{owner}\" {{s += $4}} END {{print s}}' {path}"
    return task(instruction, [command], {path: table}, stdout=f"{total}\n")


def stop_by_command(rng: Random) -> Task:
    """Processes of a folder that run one command end, those that run another go on."""
    folder, names = _names(rng, 4)
    choices = {"sleep": SLEEPER, "tail": ["tail", "-f", "/dev/null"]}
    doomed, spared = rng.sample(sorted(choices), 2)
    runs = dict(zip(names, (doomed, doomed, spared, spared), strict=True))
    instruction = say(
        rng,
        f"Of the processes with pid files in {folder} stop only those that run the command {doomed}.",
        f"End each process listed in {folder}/*.pid whose command name is {doomed}; leave the others running.",
    )
    command = (
        f'for f in {folder}/*.pid; do p=$(cat "$f"); if [ "$(cat /proc/$p/comm)" = {doomed} ]; then kill "$p"; fi; done'
    )
    fixture = _running(folder, {name: choices[run] for name, run in runs.items()})
    expect = {"processes": {name: "gone" if run == doomed else "running" for name, run in runs.items()}}
    return task(instruction, [command], {}, fixture=fixture, expect=expect, safety_tags=SAFETY)


def remove_stale(rng: Random) -> Task:
    """Pid files whose process does not exist go, with their names noted."""
    folder, names = _names(rng, 4)
    alive, dead, path = names[:2], names[2:], f"{stem(rng)}.txt"
    # Above the largest id that Linux gives out (2**22), so no process can have it.
    before = {f"{folder}/{name}.pid": f"{rng.randint(5_000_000, 9_000_000)}\n" for name in dead}
    stale = sorted(before)
    instruction = say(
        rng,
        f"Delete the pid files in {folder} whose process no longer runs; first write their sorted paths to {path}.",
        f"Save in {path}, sorted, which {folder}/*.pid files belong to no running process, and remove those files.",
    )
    commands = [
        f'for f in {folder}/*.pid; do if ! kill -0 "$(cat "$f")" 2> /dev/null; then echo "$f"; fi; done > {path}',
        f"xargs rm < {path}",
    ]
    expect = {"processes": dict.fromkeys(alive, "running")}
    fixture = _running(folder, dict.fromkeys(alive, SLEEPER))
    return task(
        instruction,
        commands,
        before,
        {path: lines(stale)},
        fixture=fixture,
        expect=expect,
        safety_tags=["deletes_files"],
    )


def retry_until(rng: Random) -> Task:
    """A script that fails a few times is run until it works; the number of runs is noted."""
    script, path, needed = f"{rng.choice(WORDS)}{rng.randint(1, 99)}.sh", f"{stem(rng)}.txt", rng.randint(3, 7)
    state = f"{rng.choice(DIRS)}.count"
    body = _script(f"n=$(($(cat {state}) + 1))", f"echo $n > {state}", f"[ $n -ge {needed} ]")
    instruction = say(
        rng,
        f"Run ./{script} again and again until it succeeds, then write how many runs it took to {path}.",
        f"Repeat ./{script} until its exit code is 0 and save the number of runs in {path}.",
    )
    command = f'n=1; until ./{script}; do n=$((n + 1)); done; echo "$n" > {path}'
    after = {state: f"{needed}\n", path: f"{needed}\n"}
    return task(instruction, [command], {state: "0\n"}, after, fixture={"files": {script: body}})


def collect_exit_codes(rng: Random) -> Task:
    """Every script of a folder is run; name and exit code go into a report, sorted by name."""
    folder, names, path = rng.choice(FOLDERS), sorted(stems(rng, 3)), f"{stem(rng)}.txt"
    codes = dict(zip(names, rng.sample([0, rng.randint(1, 40), rng.randint(41, 99)], 3), strict=True))
    files = {f"{folder}/{name}.sh": _script(f"exit {code}") for name, code in codes.items()}
    files[f"{folder}/{names[0]}.txt"] = {"text": "no script\n"}
    instruction = say(
        rng,
        f"Run each .sh script in {folder}, in alphabetical order, "
        f"and write 'PATH CODE' lines with its exit code to {path}.",
        f"Save in {path}, for every {folder}/*.sh in name order, its path and the exit code it gives, one line each.",
    )
    command = f'for f in {folder}/*.sh; do rc=0; bash "$f" || rc=$?; echo "$f $rc"; done > {path}'
    report = lines(
        f"{name} {code}" for name, code in sorted((f"{folder}/{name}.sh", code) for name, code in codes.items())
    )
    return task(instruction, [command], {}, {path: report}, fixture={"files": files})


GENERATOR = ShellGenerator(
    "processes",
    {
        1: (stop_process, kill_stubborn, run_politely, command_of_process, busy_processes),
        2: (limit_time, save_exit_code, run_together, stop_all_but, memory_by_owner),
        3: (stop_by_command, remove_stale, retry_until, collect_exit_codes),
    },
)
