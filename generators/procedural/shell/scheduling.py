"""The scheduling domain: crontab files, timer units, reminder lists, and permission bits.

Everything is a file: no scheduler runs in a sandbox. Modes are checked bit by bit; changing owners needs rights that
a plan does not have and is not covered.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from frontier_core.records import Record
from generators.procedural.shell.base import (
    EXTENSIONS,
    FOLDERS,
    WORDS,
    ShellGenerator,
    Task,
    distinct,
    fill,
    lines,
    paths,
    say,
    stem,
    stems,
    task,
)

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MODES = ("600", "640", "400", "440", "660", "604")

Job = tuple[int, int, str, str]
"""minute, hour, days (crontab fields 3 to 5), command."""


def _jobs(rng: Random, count: int) -> list[Job]:
    """Jobs at different times with different commands."""
    slots = rng.sample(range(24 * 60), count)
    names = distinct(rng, count)
    return [
        (slot % 60, slot // 60, rng.choice(("* * *", "* * 1", "1 * *", "* * 0")), f"bin/{name}.sh")
        for slot, name in zip(slots, names, strict=True)
    ]


def _row(job: Job) -> str:
    minute, hour, days, command = job
    return f"{minute} {hour} {days} {command}"


def _crontab(jobs: Iterable[Job]) -> str:
    return lines(["# min hour dom mon dow command", *map(_row, jobs)])


def _modes(modes: dict[str, str]) -> Record:
    """Fixture files with some text and these modes."""
    return {path: {"text": f"{number}\n", "mode": mode} for number, (path, mode) in enumerate(modes.items(), 1)}


def add_job(rng: Random) -> Task:
    """A line more in a crontab file."""
    path = f"{rng.choice(FOLDERS)}/{stem(rng)}.cron"
    *jobs, (minute, hour, _, command) = _jobs(rng, 4)
    before = {path: _crontab(jobs)}
    instruction = say(
        rng,
        f"Add a line to the crontab file {path} that runs {command} every day at {hour:02}:{minute:02}.",
        f"Schedule {command} daily at {hour:02}:{minute:02} by appending to the crontab file {path}.",
    )
    row = f"{minute} {hour} * * * {command}"
    return task(instruction, [f"echo '{row}' >> {path}"], before, {path: f"{before[path]}{row}\n"})


def set_mode(rng: Random) -> Task:
    """A file gets a mode given in figures; its neighbour keeps its own."""
    folder, (a, b) = rng.choice(FOLDERS), stems(rng, 2)
    path, mode = f"{folder}/{a}.{rng.choice(EXTENSIONS)}", rng.choice(MODES)
    fixture = {"files": _modes({path: "644", f"{folder}/{b}.txt": "644"})}
    words = {"6": "read and write", "4": "read", "0": "nothing"}
    spelled = f"owner {words[mode[0]]}, group {words[mode[1]]}, others {words[mode[2]]}"
    instruction = say(
        rng,
        f"Set the permissions of {path} to {mode}.",
        f"Permissions of {path} should be: {spelled}.",
        f"Change who may use {path}: {spelled}.",
    )
    return task(instruction, [f"chmod {mode} {path}"], {}, fixture=fixture, expect={"files": {path: {"mode": mode}}})


def make_executable(rng: Random) -> Task:
    """Execute permission for the owner alone."""
    a, b = paths(rng, "sh", "sh")
    path = a
    old, new = rng.choice((("644", "744"), ("600", "700"), ("640", "740"), ("664", "764")))
    fixture = {"files": _modes({path: old, b: old})}
    instruction = say(
        rng,
        f"Let the owner, and only the owner, execute {path}; keep all other permissions.",
        f"Make {path} executable for its owner alone and change nothing else about it.",
    )
    return task(instruction, [f"chmod u+x {path}"], {}, fixture=fixture, expect={"files": {path: {"mode": new}}})


def count_jobs(rng: Random) -> Task:
    """How many active lines a crontab file has."""
    path, jobs = f"{rng.choice(FOLDERS)}/{stem(rng)}.cron", _jobs(rng, rng.randint(5, 12))
    off = set(rng.sample(range(len(jobs)), 2))
    rows = [("# " if number in off else "") + _row(job) for number, job in enumerate(jobs)]
    instruction = say(
        rng,
        "How many active jobs, lines that are not comments starting "
        f"with #, are in the crontab file {path}? Print the number.",
        f"Count the lines of {path} that do not begin with #; it is a crontab file. Number only.",
    )
    return task(instruction, [f"grep -vc '^#' {path}"], {path: lines(rows)}, stdout=f"{len(jobs) - 2}\n")


def remove_job(rng: Random) -> Task:
    """The line of one command goes; a command that begins alike stays."""
    path, jobs = f"{rng.choice(FOLDERS)}/{stem(rng)}.cron", _jobs(rng, 4)
    jobs.append((5, 5, "* * *", f"{jobs[1][3]}.old"))
    command = jobs[1][3]
    rng.shuffle(jobs)
    before = {path: _crontab(jobs)}
    after = {path: _crontab(job for job in jobs if job[3] != command)}
    instruction = say(
        rng,
        f"Remove the line that runs {command} from the crontab file {path}; similar commands stay.",
        f"{command} should no longer be scheduled: delete its line, which ends in it, from {path}.",
    )
    escaped = command.replace("/", "\\/").replace(".", "\\.")
    return task(instruction, [f"sed -i '/ {escaped}$/d' {path}"], before, after)


def jobs_at_hour(rng: Random) -> Task:
    """Commands that run within one hour, sorted."""
    path, jobs = f"{rng.choice(FOLDERS)}/{stem(rng)}.cron", _jobs(rng, 6)
    hour = jobs[0][1]
    minute, _, days, command = jobs[1]
    jobs[1] = (minute, hour, days, command)
    jobs[2] = (hour, (hour + 1) % 24, *jobs[2][2:])
    rng.shuffle(jobs)
    instruction = say(
        rng,
        f"Print the commands that {path}, a crontab file, runs in hour {hour} (second field), sorted.",
        f"Which commands (last field) of the crontab file {path} have {hour} in the hour field? In alphabetical order.",
    )
    command = f"awk '$2 == \"{hour}\" {{print $NF}}' {path} | sort"
    return task(
        instruction, [command], {path: _crontab(jobs)}, stdout=lines(sorted(job[3] for job in jobs if job[1] == hour))
    )


def switch_off_job(rng: Random) -> Task:
    """One job becomes a comment, and a copy of the old table is kept."""
    folder, (a, b) = rng.choice(FOLDERS), stems(rng, 2)
    path, saved, jobs = f"{folder}/{a}.cron", f"{folder}/{b}.cron", _jobs(rng, 4)
    command = jobs[2][3]
    before = {path: _crontab([*jobs, (7, 7, "* * *", f"{command}.bak")])}
    rows = [f"#{row}" if row.endswith(f" {command}") else row for row in before[path].splitlines()]
    instruction = say(
        rng,
        f"Copy {path} to {saved}, then put # in front of the line of {path} that ends in {command}.",
        f"Keep {path} as {saved} and disable the job {command} in {path} with a # right before its line.",
    )
    escaped = command.replace("/", "\\/").replace(".", "\\.")
    commands = [f"cp {path} {saved}", f"sed -i '/ {escaped}$/s/^/#/' {path}"]
    return task(instruction, commands, before, {path: lines(rows), saved: before[path]})


def private_file(rng: Random) -> Task:
    """A new file with a mode that the usual mask would not give, in a new private folder."""
    folder, name, word = f"{stem(rng)}_keys", f"{rng.choice(WORDS)}.txt", rng.choice(WORDS)
    mode, folder_mode = rng.choice(MODES), rng.choice(("700", "750", "710", "711"))
    instruction = say(
        rng,
        f"Create the folder {folder} with mode {folder_mode} and in it {name}, saying {word}, with mode {mode}.",
        f"Make {folder} (permissions {folder_mode}) with a file "
        f"{name} (permissions {mode}) that holds the word {word}.",
    )
    path = f"{folder}/{name}"
    commands = [f"mkdir -m {folder_mode} {folder}", f"echo {word} > {path}", f"chmod {mode} {path}"]
    expect = {"files": {folder: {"dir": True, "mode": folder_mode}, path: {"text": f"{word}\n", "mode": mode}}}
    return task(instruction, commands, {}, expect=expect)


def share_folder(rng: Random) -> Task:
    """A folder whose new files belong to its group."""
    folder = f"{rng.choice(FOLDERS)}_{rng.choice(('team', 'group', 'shared', 'common'))}{rng.randint(1, 40)}"
    mode = rng.choice(("775", "770", "750"))
    old = "755"
    (name,) = stems(rng, 1)
    fixture = {
        "files": _modes({f"{folder}/{name}.txt": "644"}),
        "dirs": {folder: {"mode": old}, f"{folder}/{name}": {"mode": old}},
    }
    instruction = say(
        rng,
        f"Give the folder {folder} mode {mode} plus the setgid bit, without touching what is in it.",
        f"New files in {folder} should inherit its group: set its "
        f"permissions to {mode} with setgid; leave its contents alone.",
    )
    return task(
        instruction, [f"chmod 2{mode} {folder}"], {}, fixture=fixture, expect={"files": {folder: {"mode": f"2{mode}"}}}
    )


def close_to_others(rng: Random) -> Task:
    """Write permission for others is taken from the files of a tree that have it."""
    top, (a, b, c, d) = rng.choice(FOLDERS), stems(rng, 4)
    other = rng.choice([folder for folder in FOLDERS if folder != top])
    modes = {
        f"{top}/{a}.txt": "666",
        f"{top}/{b}/my {c}.txt": "646",
        f"{top}/{d}.txt": "664",
        f"{other}/{a}.txt": "666",
    }
    report = f"{stem(rng)}.txt"
    found = sorted([f"{top}/{a}.txt", f"{top}/{b}/my {c}.txt"])
    fixture = {"files": _modes(modes), "dirs": {f"{top}/{d}": {"mode": "777"}}}
    instruction = say(
        rng,
        f"List the files under {top} that anyone may write, sorted by path, "
        f"in {report}; then take that right of others away from them.",
        f"Find world-writable files (no folders) below {top}, save their "
        f"sorted paths in {report} and remove others' write permission.",
    )
    commands = [
        f"find {top} -type f -perm -002 | sort > {report}",
        f"find {top} -type f -perm -002 -exec chmod o-w {{}} +",
    ]
    new = {path: {"mode": "664" if modes[path] == "666" else "644"} for path in found}
    return task(instruction, commands, {}, {report: lines(found)}, fixture=fixture, expect={"files": new})


def modes_of_tree(rng: Random) -> Task:
    """Folders of a tree one mode, files another."""
    top, (a, b, c) = rng.choice(FOLDERS), stems(rng, 3)
    dir_mode, file_mode = rng.choice(("750", "700", "711", "770", "751")), rng.choice(MODES)
    files = [f"{top}/{a}.txt", f"{top}/{b}/the {c}.sh"]
    fixture = {
        "files": _modes({files[0]: "644", files[1]: "755", f"{top}2/{a}.txt": "644"}),
        "dirs": {f"{top}/{c}": {"mode": "777"}},
    }
    expect = {path: {"mode": file_mode} for path in files} | {
        path: {"mode": dir_mode} for path in (top, f"{top}/{b}", f"{top}/{c}")
    }
    instruction = say(
        rng,
        f"Set all folders of the tree {top}, itself included, to mode {dir_mode} and all files in it to {file_mode}.",
        f"In {top} and everything below, folders should have permissions {dir_mode} and files {file_mode}.",
    )
    commands = [
        f"find {top} -type f -exec chmod {file_mode} {{}} +",
        f"find {top} -type d -exec chmod {dir_mode} {{}} +",
    ]
    return task(instruction, commands, {}, fixture=fixture, expect={"files": expect})


def order_by_time(rng: Random) -> Task:
    """A table's jobs by time of day, times written out, comments left out."""
    a, b = paths(rng, "cron", "txt")
    jobs = _jobs(rng, rng.randint(4, 7))
    before = {a: _crontab(jobs)}
    ordered = sorted(jobs, key=lambda job: (job[1], job[0]))
    after = before | {b: lines(f"{hour:02}:{minute:02} {command}" for minute, hour, _, command in ordered)}
    instruction = say(
        rng,
        f"Save the jobs of the crontab file {a} in {b} as 'HH:MM command' lines ordered by time, skipping comments.",
        f"Make a timetable {b} of {a}: one 'HH:MM command' line per job, earliest first, no comment lines.",
    )
    program = '!/^#/ {printf "%02d:%02d %s\\n", $2, $1, $6}'
    return task(instruction, [f"awk '{program}' {a} | sort > {b}"], before, after)


def change_timer(rng: Random) -> Task:
    """A timer unit gets another day and time, and becomes persistent."""
    folder, name = rng.choice(FOLDERS), stem(rng)
    (day, new_day), (hour, new_hour) = rng.sample(DAYS, 2), rng.sample(range(24), 2)
    minute = rng.randint(0, 59)
    path = f"{folder}/{name}.timer"

    def unit(calendar: str, persistent: str) -> str:
        head = ["[Unit]", f"Description=OnCalendar={day} and Persistent=false in {name}", "", "[Timer]"]
        return lines(
            [*head, f"OnCalendar={calendar}", f"Persistent={persistent}", "", "[Install]", "WantedBy=timers.target"]
        )

    before = {path: unit(f"{day} {hour:02}:00", "false")}
    before[f"{folder}/{name}.timer.bak"] = before[path]
    after = before | {path: unit(f"{new_day} {new_hour:02}:{minute:02}", "true")}
    instruction = say(
        rng,
        f"In the timer unit {path} set the line OnCalendar= to {new_day} "
        f"{new_hour:02}:{minute:02} and the line Persistent= to true.",
        f"Let the systemd timer {path} fire {new_day} {new_hour:02}:{minute:02} "
        "(OnCalendar line) and make its Persistent line true.",
    )
    commands = [
        f"sed -i 's/^OnCalendar=.*/OnCalendar={new_day} {new_hour:02}:{minute:02}/' {path}",
        f"sed -i 's/^Persistent=.*/Persistent=true/' {path}",
    ]
    return task(instruction, commands, before, after)


def missing_scripts(rng: Random) -> Task:
    """Scripts that a table runs although they are not there, sorted."""
    folder, (a, b) = rng.choice(FOLDERS), stems(rng, 2)
    jobs = _jobs(rng, 5)
    there, missing = [job[3] for job in jobs[:3]], [job[3] for job in jobs[3:]]
    rng.shuffle(jobs)
    before = fill(rng, [*there, f"{missing[0]}.txt"]) | {f"{folder}/{a}.cron": _crontab(jobs)}
    after = before | {f"{folder}/{b}.txt": lines(sorted(missing))}
    instruction = say(
        rng,
        f"Which scripts (last field) does the crontab file {folder}/{a}.cron "
        f"run that do not exist? Sorted paths into {folder}/{b}.txt.",
        f"Write the sorted paths of scripts named in {folder}/{a}.cron "
        f"(field 6) but missing on disk to {folder}/{b}.txt.",
    )
    command = (
        f'awk \'!/^#/ {{print $6}}\' {folder}/{a}.cron | while read -r s; do if [ ! -e "$s" ]; then echo "$s"; fi; done'
        f" | sort > {folder}/{b}.txt"
    )
    return task(instruction, [command], before, after)


def due_reminders(rng: Random) -> Task:
    """Lines dated up to a day move from one list to another, that day included."""
    folder, (a, b) = rng.choice(FOLDERS), stems(rng, 2)
    year, month = rng.randint(2020, 2029), rng.randint(1, 12)
    days = sorted(rng.sample(range(2, 28), 6))
    last = days[3]
    days = sorted({last - 1, last, last + 1, *days})  # a day on either side of the bound
    limit = f"{year}-{month:02}-{last:02}"
    dated = [(f"{year}-{month:02}-{day:02}", rng.choice(WORDS)) for day in days] + [
        (f"{year - 1}-12-28", "report"),
        (f"{year + 1}-01-01", "plan"),
    ]
    rng.shuffle(dated)
    before = {f"{folder}/{a}.txt": lines(f"{date} {word}" for date, word in dated)}
    after = {
        f"{folder}/{b}.txt": lines(sorted(f"{date} {word}" for date, word in dated if date <= limit)),
        f"{folder}/{a}.txt": lines(f"{date} {word}" for date, word in dated if date > limit),
    }
    instruction = say(
        rng,
        f"Move the lines of {folder}/{a}.txt dated {limit} or earlier (first "
        f"word) to {folder}/{b}.txt, sorted; later ones stay as they are.",
        f"Lines of {folder}/{a}.txt start with a date: put those up to and including "
        f"{limit} sorted into {folder}/{b}.txt and drop them from the former.",
    )
    commands = [
        f"awk '$1 <= \"{limit}\"' {folder}/{a}.txt | sort > {folder}/{b}.txt",
        f"awk '$1 > \"{limit}\"' {folder}/{a}.txt > {folder}/{a}.new",
        f"mv {folder}/{a}.new {folder}/{a}.txt",
    ]
    return task(instruction, commands, before, after)


GENERATOR = ShellGenerator(
    "scheduling",
    {
        1: (add_job, set_mode, make_executable, count_jobs, remove_job, jobs_at_hour),
        2: (switch_off_job, private_file, share_folder, close_to_others),
        3: (modes_of_tree, order_by_time, change_timer, missing_scripts, due_reminders),
    },
)
