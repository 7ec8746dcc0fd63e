"""The system information domain: facts of the machine, and the same kind of facts from captured files.

Facts that differ between machines are named in the expectation and read by the sandbox itself; everything else comes
from files of the fixture laid out like the real ones, so that no answer changes from run to run.
"""

from __future__ import annotations

from random import Random

from generators.procedural.shell.base import (
    FOLDERS,
    WORDS,
    ShellGenerator,
    Task,
    bracketed,
    lines,
    paths,
    prose,
    say,
    stem,
    stems,
    task,
)

FACTS = {
    "uname.sysname": ("uname -s", "kernel name"),
    "uname.machine": ("uname -m", "machine architecture"),
    "uname.release": ("uname -r", "kernel release"),
    "hostname": ("hostname", "host name"),
    "page_size": ("getconf PAGESIZE", "memory page size in bytes"),
}
SYSTEMS = (
    ("Debian GNU/Linux", "debian"), ("Ubuntu", "ubuntu"), ("Fedora Linux", "fedora"), ("Alpine Linux", "alpine"),
    ("Rocky Linux", "rocky"), ("openSUSE Leap", "opensuse-leap"), ("Arch Linux", "arch"), ("Void", "void"),
)  # fmt: skip
MEMORY_KEYS = ("MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "SwapFree")
MOUNTS = ("/", "/home", "/var", "/srv", "/opt", "/boot", "/var/log", "/mnt/data", "/mnt/usb", "/backup")
SHELLS = ("/bin/bash", "/bin/sh", "/usr/bin/zsh", "/usr/bin/fish", "/usr/sbin/nologin", "/bin/false")
ACCOUNTS = ("root", "daemon", "backup", "www", "mail", "games", "sync", "deploy", "guest", "print", "media", "build")
SETTINGS = ("APP_MODE", "LOG_LEVEL", "REGION", "CACHE_DIR", "STAGE", "THEME", "CHANNEL", "PROFILE")


def _memory(rng: Random) -> dict[str, int]:
    """A meminfo's values in kB: free memory and swap never exceed their totals."""
    total, swap = rng.randint(2_000_000, 64_000_000), rng.randint(500_000, 8_000_000)
    available = rng.randint(total // 10, total - 1)
    free = rng.randint(1000, available)
    values = (
        total,
        free,
        available,
        rng.randint(1000, 90_000),
        rng.randint(100_000, total),
        swap,
        rng.randint(0, swap),
    )
    return dict(zip(MEMORY_KEYS, values, strict=True))


def _meminfo(values: dict[str, int]) -> str:
    return lines(f"{key + ':':<15} {value:>8} kB" for key, value in values.items())


def _disks(rng: Random, count: int) -> list[tuple[str, int, int, str]]:
    """Rows (device, size in GB, percent used, mount point) of a disk listing."""
    percents, mounts = rng.sample(range(3, 99), count), rng.sample(MOUNTS, count)
    return [(f"/dev/sd{chr(97 + n)}1", rng.randint(20, 900), percents[n], mounts[n]) for n in range(count)]


def _df(rows: list[tuple[str, int, int, str]]) -> str:
    body = (f"{dev:<12} {size:>4}G {size * used // 100:>4}G {used:>3}% {mount}" for dev, size, used, mount in rows)
    return lines(["Filesystem   Size  Used Use% Mounted", *body])


def _accounts(rng: Random, count: int) -> list[tuple[str, int, str]]:
    names, ids = rng.sample(ACCOUNTS, count), rng.sample(range(900, 1100), count)
    return [(name, number, rng.choice(SHELLS)) for name, number in zip(names, ids, strict=True)]


def _passwd(rows: list[tuple[str, int, str]]) -> str:
    return lines(f"{name}:x:{number}:{number}:{name}:/home/{name}:{shell}" for name, number, shell in rows)


def save_fact(rng: Random) -> Task:
    """One fact of this machine into a file."""
    fact = rng.choice(sorted(FACTS))
    command, words = FACTS[fact]
    path = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt"
    before = {f"{path}.old": prose(rng, 1)}
    instruction = say(
        rng,
        f"Save this machine's {words} in {path}.",
        f"Write the {words} of this system to the file {path}.",
        f"What is the {words} here? Put the bare value into {path}.",
    )
    fixture = {"hostname": f"{rng.choice(WORDS)}-{rng.randint(1, 99)}"}
    return task(instruction, [f"{command} > {path}"], before, fixture=fixture, expect={"files": {path: {"fact": fact}}})


def memory_value(rng: Random) -> Task:
    """One value of a captured meminfo."""
    path, values, key = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", _memory(rng), rng.choice(MEMORY_KEYS)
    instruction = say(
        rng,
        f"Print the {key} value in kB from the saved meminfo {path}, number only.",
        f"How many kB is {key} in {path}, a copy of /proc/meminfo? Just the number.",
    )
    return task(
        instruction, [f"awk '/^{key}:/ {{print $2}}' {path}"], {path: _meminfo(values)}, stdout=f"{values[key]}\n"
    )


def system_name(rng: Random) -> Task:
    """One field of a captured os-release, without its quotes."""
    path, (name, short) = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", rng.choice(SYSTEMS)
    version = f"{rng.randint(3, 42)}.{rng.randint(0, 10)}"
    fields = {"PRETTY_NAME": f"{name} {version}", "NAME": name, "VERSION_ID": version, "ID_LIKE": f"{short}-like"}
    key = rng.choice(("PRETTY_NAME", "NAME", "VERSION_ID"))
    text = lines([*(f'{field}="{value}"' for field, value in fields.items()), f"ID={short}"])
    instruction = say(
        rng,
        f"Print the {key} given in {path}, a copy of os-release, without the quotes.",
        f"What {key} does the os-release copy {path} state? Show the value without quotes.",
    )
    command = f"grep '^{key}=' {path} | cut -d'\"' -f2"
    return task(instruction, [command], {path: text}, stdout=f"{fields[key]}\n")


def count_processors(rng: Random) -> Task:
    """How many processors a captured cpuinfo lists."""
    path, count = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", rng.randint(2, 16)
    model = f"Model {rng.choice('ABCDEFG')}{rng.randint(100, 999)} processor"
    text = "\n".join(
        lines([f"processor\t: {n}", f"model name\t: {model}", f"cpu cores\t: {count}"]) for n in range(count)
    )
    instruction = say(
        rng,
        f"How many processors does {path}, a copy of /proc/cpuinfo, list? Print the number.",
        f"Count the processor entries in the saved cpuinfo {path}; only the number.",
    )
    return task(instruction, [f"grep -c '^processor' {path}"], {path: text}, stdout=f"{count}\n")


def save_setting(rng: Random) -> Task:
    """The value of an environment variable into a file."""
    names = rng.sample(SETTINGS, 3)
    values = {name: f"{rng.choice(WORDS)}-{rng.randint(1, 99)}" for name in names}
    values[f"{names[0]}_OLD"] = "unused"
    path = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt"
    instruction = say(
        rng,
        f"Write the value of the environment variable {names[0]} to {path}.",
        f"Save what {names[0]} is set to in the environment as {path}.",
    )
    before = {f"{path}.old": prose(rng, 1)}
    after = before | {path: f"{values[names[0]]}\n"}
    return task(instruction, [f"printenv {names[0]} > {path}"], before, after, fixture={"env": values})


def full_disks(rng: Random) -> Task:
    """Mount points above a usage; one of exactly that usage is not above it."""
    path, rows = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", _disks(rng, rng.randint(5, 8))
    limit = sorted(row[2] for row in rows)[len(rows) // 2]
    rows = bracketed(rows, [limit - 1, limit, limit + 1], 2)
    rows.sort(key=lambda row: row[2] <= limit)  # a row that counts comes first: skipping it shows
    instruction = say(
        rng,
        f"From the df listing {path} print the mount points that are more than {limit}% full, sorted.",
        f"Which mount points in {path} (saved df output) have a use above {limit}%? Alphabetical, one per line.",
    )
    command = f"awk 'NR > 1 && $4 + 0 > {limit} {{print $5}}' {path} | sort"
    return task(
        instruction, [command], {path: _df(rows)}, stdout=lines(sorted(m for _, _, used, m in rows if used > limit))
    )


def users_of_shell(rng: Random) -> Task:
    """Accounts with one login shell, sorted, into a file."""
    source, target = paths(rng, "txt", "txt")
    rows = _accounts(rng, 9)
    shell = rng.choice(rows)[2]
    before = {source: _passwd([*rows, ("tester", 1500, f"{shell}2")])}
    after = before | {target: lines(sorted(name for name, _, own in rows if own == shell))}
    instruction = say(
        rng,
        f"List the users whose shell is {shell} in {source}, a copy of /etc/passwd, sorted, in {target}.",
        f"Write the sorted names of all accounts with the shell {shell} from the passwd copy {source} to {target}.",
    )
    command = f"awk -F: '$7 == \"{shell}\" {{print $1}}' {source} | sort > {target}"
    return task(instruction, [command], before, after)


def two_facts(rng: Random) -> Task:
    """Two facts of this machine, a labelled file each."""
    one, two = rng.sample(sorted(FACTS), 2)
    folder = f"{stem(rng)}_{rng.choice(('facts', 'info', 'host'))}"
    files = {
        f"{folder}/{fact.rpartition('.')[2]}.txt": {"fact": fact, "template": "value: {}\n"} for fact in (one, two)
    }
    names = list(files)
    instruction = say(
        rng,
        f"In a new folder {folder} write 'value: ' and this machine's {FACTS[one][1]} to {names[0]}, "
        f"'value: ' and its {FACTS[two][1]} to {names[1]}.",
        f"Create {folder} with {names[0]} saying 'value: X', X the {FACTS[one][1]} here, "
        f"and {names[1]} likewise with the {FACTS[two][1]}.",
    )
    commands = [
        f"mkdir {folder}",
        *(f'echo "value: $({FACTS[f][0]})" > {n}' for f, n in zip((one, two), names, strict=True)),
    ]
    fixture = {"hostname": f"{rng.choice(WORDS)}-{rng.randint(1, 99)}"}
    return task(instruction, commands, {}, made=[folder], fixture=fixture, expect={"files": files})


def regular_users(rng: Random) -> Task:
    """Accounts from a user id on, with their ids, lowest id first."""
    path, rows = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", _accounts(rng, 8)
    limit = sorted(number for _, number, _ in rows)[3]
    rows = bracketed(rows, [limit - 1, limit, limit + 1], 1)
    instruction = say(
        rng,
        f"Print 'name id' for every account with a user id of {limit} "
        f"or more in the passwd copy {path}, lowest id first.",
        f"Which accounts in {path} (copied /etc/passwd) have user "
        f"ids from {limit} up? One 'name id' a line, by rising id.",
    )
    command = f"awk -F: '$3 >= {limit} {{print $1, $3}}' {path} | sort -k2,2n"
    chosen = sorted((row for row in rows if row[1] >= limit), key=lambda row: row[1])
    return task(
        instruction, [command], {path: _passwd(rows)}, stdout=lines(f"{name} {number}" for name, number, _ in chosen)
    )


def memory_used_percent(rng: Random) -> Task:
    """Share of memory not available, in whole percent rounded down, into a file."""
    folder, (source, target), values = rng.choice(FOLDERS), stems(rng, 2), _memory(rng)
    used = (values["MemTotal"] - values["MemAvailable"]) * 100 // values["MemTotal"]
    before = {f"{folder}/{source}.txt": _meminfo(values)}
    instruction = say(
        rng,
        f"From the meminfo copy {folder}/{source}.txt compute (MemTotal - MemAvailable) "
        f"in whole percent of MemTotal, rounded down, into {folder}/{target}.txt.",
        f"Write to {folder}/{target}.txt how many percent of MemTotal are not "
        f"MemAvailable in {folder}/{source}.txt, rounded down, digits only.",
    )
    program = "/^MemTotal:/ {t = $2} /^MemAvailable:/ {a = $2} END {print int((t - a) * 100 / t)}"
    command = f"awk '{program}' {folder}/{source}.txt > {folder}/{target}.txt"
    return task(instruction, [command], before, before | {f"{folder}/{target}.txt": f"{used}\n"})


def disk_totals(rng: Random) -> Task:
    """Sizes of a disk listing added up, and the fullest mount point, as two labelled lines."""
    folder, (source, target), rows = rng.choice(FOLDERS), stems(rng, 2), _disks(rng, rng.randint(5, 8))
    total, fullest = sum(size for _, size, _, _ in rows), max(rows, key=lambda row: row[2])[3]
    before = {f"{folder}/{source}.txt": _df(rows)}
    after = before | {f"{folder}/{target}.txt": f"total {total}\nfullest {fullest}\n"}
    instruction = say(
        rng,
        f"From the df listing {folder}/{source}.txt write 'total N' (sum of Size, in "
        f"G, digits only) and 'fullest MOUNT' (highest use) to {folder}/{target}.txt.",
        f"Put two lines in {folder}/{target}.txt: 'total' and the summed Size digits of "
        f"the saved df {folder}/{source}.txt, 'fullest' and its fullest mount point.",
    )
    commands = [
        f"awk 'NR > 1 {{s += $2}} END {{print \"total\", s}}' {folder}/{source}.txt > {folder}/{target}.txt",
        f"tail -n +2 {folder}/{source}.txt | sort -k4,4nr | awk 'NR "
        f'== 1 {{print "fullest", $5}}\' >> {folder}/{target}.txt',
    ]
    return task(instruction, commands, before, after)


def new_packages(rng: Random) -> Task:
    """Packages of the later of two listings that the earlier one lacks, names alone, sorted."""
    old, new, target = paths(rng, "txt", "txt", "txt")
    names = [f"lib{name}{rng.randint(1, 9)}" for name in rng.sample(WORDS, 9)]
    version = {name: f"{rng.randint(0, 9)}.{rng.randint(0, 30)}" for name in names}
    first, second = names[:6], names[2:]
    before = {
        old: lines(f"{name} {version[name]}" for name in first),
        new: lines(f"{name} {version[name]}.1" for name in second[::-1]),
    }
    after = before | {target: lines(sorted(names[6:]))}
    instruction = say(
        rng,
        f"Lines are 'package version'. Save the sorted names of packages in {new} but not in {old} as {target}.",
        f"Which packages (first word of a line) does {new} have that {old} lacks? Sorted names into {target}.",
    )
    command = f"comm -13 <(cut -d' ' -f1 {old} | sort) <(cut -d' ' -f1 {new} | sort) > {target}"
    return task(instruction, [command], before, after)


def load_peak(rng: Random) -> Task:
    """The time of the highest load in a captured series, and how many samples reach a limit."""
    path, count = f"{rng.choice(FOLDERS)}/{stem(rng)}.log", rng.randint(6, 12)
    hundredths = rng.sample(range(5, 900), count)
    edge = sorted(hundredths)[count // 3]
    loads = [row[0] / 100 for row in bracketed([(value,) for value in hundredths], [edge - 1, edge], 0)]
    times = [f"{hour:02}:{rng.randint(0, 59):02}" for hour in sorted(rng.sample(range(24), count))]
    limit = edge / 100
    peak = times[loads.index(max(loads))]
    instruction = say(
        rng,
        f"Lines of {path} are 'HH:MM load'. Print the time of the "
        f"highest load, then how many loads are at least {limit:.2f}.",
        f"In {path} (lines 'HH:MM load') when was the load highest, and "
        f"how many lines reach {limit:.2f}? Print time, then count.",
    )
    commands = [f"sort -k2,2nr {path} | awk 'NR == 1 {{print $1}}'", f"awk '$2 >= {limit:.2f}' {path} | wc -l"]
    text = lines(f"{time} {load:.2f}" for time, load in zip(times, loads, strict=True))
    return task(instruction, commands, {path: text}, stdout=f"{peak}\n{sum(1 for load in loads if load >= limit)}\n")


GENERATOR = ShellGenerator(
    "system_info",
    {
        1: (save_fact, memory_value, system_name, count_processors, save_setting),
        2: (full_disks, users_of_shell, two_facts, regular_users),
        3: (memory_used_percent, disk_totals, new_packages, load_peak),
    },
)
