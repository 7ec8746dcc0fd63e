"""Right plans made wrong the way people and models get them wrong, to prove that the verifier notices.

Every rewriting here changes what a plan of these domains does: flags that a template's fixture gives no meaning to are
left alone, or asked for in `needs`. A plan so broken that bash can't parse it proves nothing and is not made. What the
verifier then says is validators/execution_gate.py's affair.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from frontier_core.records import Record
from generators.procedural.shell.base import folders_of

KINDS = (
    "dropped_flag",
    "wrong_directory",
    "wrong_name",
    "swapped_arguments",
    "swallowed_failure",
    "off_by_one",
    "wrong_bound",
    "missing_last_step",
    "wrong_pattern",
    "inverted_test",
    "wrong_mode",
)

Match = re.Match[str]


def _always(record: Record, match: Match) -> bool:
    del record, match
    return True


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One way to spoil a command: where `pattern` matches and `needs` holds, `spoil` gives the wrong text."""

    kind: str
    pattern: re.Pattern[str]
    spoil: Callable[[Match], str]
    needs: Callable[[Record, Match], bool] = _always


def _texts(record: Record) -> Iterator[str]:
    """Every text of the fixture's files."""
    yield from (file.get("text", "") for file in record.get("fixture", {}).get("files", {}).values())


def _has_folder_of_that_name(record: Record, match: Match) -> bool:
    """A folder would match the pattern that is meant for files."""
    return any(folder.endswith(match["ext"]) for folder in folders_of(record["fixture"]["files"]))


def _has_longer_name(record: Record, match: Match) -> bool:
    """A file's name goes on after the extension."""
    return any(f"{match['ext']}." in path.rpartition("/")[2] for path in record["fixture"]["files"])


def _has_longer_value(record: Record, match: Match) -> bool:
    """The literal is part of a longer one somewhere in the input."""
    word = re.escape(match["word"])
    return any(re.search(rf"\b{word}[\w-]|\w-{word}\b", text) for text in _texts(record))


def _order_is_numeric(record: Record, match: Match) -> bool:
    """The demanded lines are in another order than text order."""
    del match
    expect = record["expect"]
    demanded = [expect.get("stdout", ""), *(file.get("text", "") for file in expect.get("files", {}).values())]
    return any(text.splitlines() != sorted(text.splitlines()) for text in demanded)


def _looks_for_gzip(record: Record, match: Match) -> bool:
    """The expectation reads the archive's magic number."""
    del match
    return any("od -An" in check["command"] for check in record["expect"].get("checks", ()))


def _is_served(record: Record, match: Match) -> bool:
    """The port belongs to one of the fixture's services, and the next one to none."""
    ports = [service["port"] for service in record["fixture"].get("services", ())]
    return int(match["n"]) in ports and int(match["n"]) + 1 not in ports


def _numbers_differ(record: Record, match: Match) -> bool:
    del record
    return match["a"] != match["b"]


def _is_no_pid_file(record: Record, match: Match) -> bool:
    """Folders of pid files hold nothing else, so that the extension changes nothing there."""
    del record
    return match["cut"] != ".pid"


def _cut(group: str) -> Callable[[Match], str]:
    """Leaves a named group out."""
    return lambda match: match[0][: match.start(group) - match.start()] + match[0][match.end(group) - match.start() :]


def _shift(by: int) -> Callable[[Match], str]:
    """Adds to the number in group `n`, whose leading zeros stay."""

    def spoil(match: Match) -> str:
        start, end = (position - match.start() for position in match.span("n"))
        return f"{match[0][:start]}{int(match['n']) + by:0{end - start}}{match[0][end:]}"

    return spoil


def _stays_positive(by: int) -> Callable[[Record, Match], bool]:
    return lambda _, match: int(match["n"]) + by > 0


def _swap(match: Match) -> str:
    """Exchanges the groups `a` and `b`."""
    middle = match.string[match.end("a") : match.start("b")]
    return (
        match.string[match.start() : match.start("a")]
        + match["b"]
        + middle
        + match["a"]
        + match.string[match.end("b") : match.end()]
    )


def _put(text: str) -> Callable[[Match], str]:
    return lambda match: match.expand(text)


def _rewrite(
    kind: str, pattern: str, spoil: Callable[[Match], str], needs: Callable[[Record, Match], bool] = _always
) -> Rewrite:
    return Rewrite(kind, re.compile(pattern), spoil, needs)


_DROPS = (
    r"\b(?:cp|rm)(?P<flag> -r)\b",
    r"\bmkdir(?P<flag> -p)\b",
    r"\bln(?P<flag> -s)\b",
    r"\bgzip(?P<flag> -k)\b",
    r"\bfind \S+(?P<flag> -maxdepth 1)\b",
    r"\bsed(?P<flag> -[in])\b",
    r"\bgrep(?P<flag> -c)\b",
    r"\bkill(?P<flag> -9)\b",
    r"\bsort(?P<flag> -u)\b",
    r"(?P<flag> --exclude='[^']*')",
    r"\btar -xzf \S+(?P<flag> -C \S+)",
    r"\bswitch -q(?P<flag> -c)\b",
    r"\brestore(?P<flag> --staged)\b",
    r"(?P<flag> --no-ff)\b",
    r"(?P<flag>nice -n \d )",
    r"\bgrep -r(?P<flag>l)i\b",
    r"\bgrep -rl(?P<flag>i)\b",
    r"\bgrep -v(?P<flag>x)Ff\b",
    r"\bsort -k\d,\dn(?P<flag>r)\b",
    r"\bsort -(?P<flag>r)n\b",
    r"\bchmod (?P<flag>2)7",
    r"/[^/' ]+/(?P<flag>g)'",
    r"(?P<flag> -type f)(?= -perm)",
    r"(?P<flag> -print0)",
)

_BOUNDS = (r"\$\d >= ", r"\$\d(?: \+ 0)? > ", r"-size \+")
_NEAR = (-20, -10, -1, 1, 10, 20)
"""How far off a bound may be and must still be noticed: every fixture has rows on it and on both sides."""

REWRITES = (
    *(_rewrite("dropped_flag", pattern, _cut("flag")) for pattern in _DROPS),
    _rewrite(
        "dropped_flag", r"(?P<flag> -type f)(?= -name '\*(?P<ext>\.\w+)')", _cut("flag"), _has_folder_of_that_name
    ),
    _rewrite("dropped_flag", r"\bsort(?P<flag> -n)\b", _cut("flag"), _order_is_numeric),
    _rewrite("dropped_flag", r"\btar -c(?P<flag>z)f\b", _cut("flag"), _looks_for_gzip),
    _rewrite("dropped_flag", r"\badd -A", _put("add -u")),
    _rewrite("dropped_flag", r"--soft\b", _put("--hard")),
    _rewrite("dropped_flag", r"^gunzip ", _put("gunzip -k ")),
    _rewrite("dropped_flag", r"\bchmod u\+x", _put("chmod +x")),
    _rewrite("dropped_flag", r"\bchmod o-w", _put("chmod a-w")),
    _rewrite("dropped_flag", r"\bwc -l\b", _put("wc -c")),
    _rewrite("dropped_flag", r" >> ", _put(" > ")),
    _rewrite("off_by_one", r"(?:head|tail) -n (?P<n>[2-9]|\d\d+)\b", _shift(1)),
    _rewrite("off_by_one", r"\bcut -d\S+ -f(?P<n>\d)", _shift(1)),
    _rewrite("off_by_one", r"\{print \$(?P<n>\d)\}", _shift(1)),
    *(
        _rewrite("wrong_bound", rf"{bound}(?P<n>\d+)(?![\d.])", _shift(by), _stays_positive(by))
        for bound in _BOUNDS
        for by in _NEAR
    ),
    _rewrite("off_by_one", r"\bNR > (?P<n>1)\b", _shift(1)),
    _rewrite("off_by_one", r"\$\d == (?P<n>\d+)", _shift(1)),
    _rewrite("off_by_one", r"\bNR == (?P<n>1)\b", _shift(1)),
    _rewrite("off_by_one", r"'\d+,(?P<n>\d+)p'", _shift(1)),
    _rewrite("off_by_one", r"'(?P<n>\d+),\d+p'", _shift(-1)),
    _rewrite("off_by_one", r"HEAD~(?P<n>\d)", _shift(-1)),
    _rewrite("off_by_one", r"-newermt \d+-\d+-(?P<n>\d+)", _shift(1)),
    _rewrite("off_by_one", r"<= \"\d+-\d+-(?P<n>\d+)\"", _shift(-1)),
    _rewrite("off_by_one", r"\.\.(?P<n>\d+)\}", _shift(1)),
    _rewrite("off_by_one", r"^\{ printf.*/dev/tcp/127\.0\.0\.1/(?P<n>\d+)", _shift(1), _is_served),
    _rewrite("off_by_one", r"^for p in(?: \d+)* (?P<n>\d+)(?=[ ;])", _shift(1), _is_served),
    _rewrite("off_by_one", r"(?:chmod|mkdir -m) (?P<n>\d+)", _shift(1)),
    _rewrite("off_by_one", r"\bnice -n (?P<n>\d)", _shift(-1)),
    _rewrite("off_by_one", r"^echo '(?P<n>\d+) \d+ \* \* \*", _shift(1)),
    _rewrite("off_by_one", r"=0; |\bn=(?P<n>1); ", lambda match: "n=0; " if match["n"] else match[0]),
    _rewrite("swapped_arguments", r"^(?:mv|cp|cp -r|ln -s|tar -czf) (?P<a>[\w./-]+) (?P<b>[\w./-]+)$", _swap),
    _rewrite("swapped_arguments", r"\b(?:git -C \S+ (?:mv|branch -m)) (?P<a>\S+) (?P<b>\S+)$", _swap),
    _rewrite("swapped_arguments", r"\bgrep -vxFf (?P<a>\S+) (?P<b>\S+)", _swap),
    _rewrite("swapped_arguments", r"\bjoin (?P<a><\([^)]*\)) (?P<b><\([^)]*\))", _swap),
    _rewrite("swapped_arguments", r"\bcomm -13\b", _put("comm -23")),
    _rewrite("swapped_arguments", r"^echo '(?P<a>\d+) (?P<b>\d+) \* \* \*", _swap, _numbers_differ),
    _rewrite("swapped_arguments", r"s/(?:\\b)?(?P<a>\w+)(?:\\b)?/(?P<b>\w+)/g", _swap),
    _rewrite("wrong_pattern", r"-name '\*(?P<ext>\.\w+)'", lambda match: match[0][:-1] + "*'", _has_longer_name),
    _rewrite(
        "wrong_pattern", r"\$\d == \"(?P<word>[^\"]*\D)\"", lambda match: match[0].replace("==", "~"), _has_longer_value
    ),
    _rewrite("wrong_pattern", r"/ [\w\\/.-]+(?P<cut>\$)/", _cut("cut")),
    _rewrite("wrong_pattern", r"grep ' \w+(?P<cut>\$)'", _cut("cut")),
    _rewrite("wrong_pattern", r"grep '(?P<cut>\\\.)\w+\$'", _cut("cut")),
    _rewrite("wrong_pattern", r"grep '\\\.\w+(?P<cut>\$)'", _cut("cut")),
    _rewrite("wrong_name", r"\bbranch -q -d \S+", _put(r"\g<0>-2")),
    _rewrite("wrong_name", r"\btag v[\d.]+", _put(r"\g<0>1")),
    _rewrite("wrong_name", r"(?<=--count )\S+", _put("main")),
    _rewrite("wrong_pattern", r"'s/(?P<cut>\^)(?:OnCalendar|Persistent)", _cut("cut")),
    _rewrite("wrong_pattern", r"/(?P<cut>\^)#/d", _cut("cut")),
    _rewrite("wrong_pattern", r"'(?P<cut>\^)10\\", _cut("cut")),
    _rewrite("wrong_pattern", r"'\^10\S*(?P<cut>\\\.)'", _cut("cut")),
    _rewrite("wrong_pattern", r"(?P<cut>\\b)(?=\w+\\b/)", _cut("cut")),
    _rewrite("wrong_pattern", r"in \S+/\*(?P<cut>\.\w+);", _cut("cut"), _is_no_pid_file),
    _rewrite("inverted_test", r"\bif ! (?=kill)", _put("if ")),
    _rewrite("inverted_test", r"\bif (?=cmp)", _put("if ! ")),
    _rewrite("inverted_test", r"\[ ! -e\b", _put("[ -e")),
    _rewrite("inverted_test", r"\" != ", _put('" = ')),
    _rewrite("inverted_test", r"\)\" = ", _put(')" != ')),
    _rewrite("inverted_test", r" ! (?=-newermt)", _put(" ")),
    _rewrite("inverted_test", r"\bgrep -v", _put("grep -")),
    _rewrite("inverted_test", r"(?<=\$\d) >= (?=\d)", _put(" < ")),
    _rewrite("inverted_test", r"\bthen echo (?P<a>\"?[$\w ]+\"?); else echo (?P<b>\"?[$\w ]+\"?);", _swap),
)

_COMPOUND = re.compile(r"^(?:for|while|if|until|\{|\w+=|\./|git -C)")


def mutate(record: Record, rng: Random) -> Record:
    """Gives a copy of a shell record whose plan no longer does what its instruction asks.

    Args:
        record: a plan_v1 record of a shell generator.
        rng: chooses among the ways the plan can be spoiled, first the kind, then the place.
    Returns:
        The record with another `output`; `metadata.mutation` names the kind, one of `KINDS`.
    """
    found = candidates(record)
    kind = rng.choice([kind for kind in KINDS if kind in found])
    commands = rng.choice(found[kind])
    metadata = {**record["metadata"], "mutation": kind}
    return {**record, "output": [{"command": command} for command in commands], "metadata": metadata}


def candidates(record: Record) -> dict[str, list[list[str]]]:
    """Gives every wrong plan by kind; `swallowed_failure` is always among them."""
    right = [step["command"] for step in record["output"]]
    found: dict[str, list[list[str]]] = {}
    for kind, commands in _wrong_plans(record, right):
        if commands != right and commands not in found.setdefault(kind, []):
            found[kind].append(commands)
    return {kind: plans for kind, plans in found.items() if plans}


def _wrong_plans(record: Record, right: list[str]) -> Iterator[tuple[str, list[str]]]:
    for step, command in enumerate(right):
        for rewrite in REWRITES:
            for match in rewrite.pattern.finditer(command):
                if rewrite.needs(record, match):
                    wrong = command[: match.start()] + rewrite.spoil(match) + command[match.end() :]
                    yield rewrite.kind, [*right[:step], wrong, *right[step + 1 :]]
    yield "swallowed_failure", [*right[:-1], _swallowed(right[-1])]
    if len(right) > 1:
        yield "missing_last_step", right[:-1]
    yield from (("wrong_directory", plan) for plan in _elsewhere(record, right))
    yield from (("wrong_name", plan) for plan in _misnamed(record, right))
    yield from (("wrong_mode", plan) for plan in _opened(record, right))


def _swallowed(command: str) -> str:
    """The command broken, with its failure thrown away."""
    if _COMPOUND.match(command):
        return f"cd workspace && {{ {command}; }} || true"
    tool, _, rest = command.partition(" ")
    return f"{tool} --no-such-option {rest} || true"


def _paths(record: Record) -> list[str]:
    """Every path of the record's two worlds, sorted."""
    fixture, expect = record.get("fixture", {}), record.get("expect", {})
    pid_files = [process["pid_file"] for process in fixture.get("processes", ()) if "pid_file" in process]
    return sorted({*fixture.get("files", {}), *fixture.get("dirs", {}), *expect.get("files", {}), *pid_files})


def _replaced(right: list[str], old: str, new: str) -> list[str]:
    pattern = re.compile(rf"(?<![\w./-]){re.escape(old)}(?![\w.-])")
    return [pattern.sub(new, command) for command in right]


def _elsewhere(record: Record, right: list[str]) -> Iterator[list[str]]:
    """Plans that work in another top folder: a real one of the fixture, or one that is not there."""
    tops = sorted({path.split("/", 1)[0] for path in _paths(record) if "/" in path and not path.startswith(".")})
    for top in tops:
        for other in [*(folder for folder in tops if folder != top), f"{top}_new"]:
            yield _replaced(right, top, other)


def _misnamed(record: Record, right: list[str]) -> Iterator[list[str]]:
    """Plans with a slip in the name of one file."""
    folders = folders_of(_paths(record))
    for path in _paths(record):
        if path in folders:
            continue
        stem, dot, extension = path.rpartition(".")
        yield _replaced(right, path, f"{stem}_1{dot}{extension}" if dot else f"{path}_1")


def _opened(record: Record, right: list[str]) -> Iterator[list[str]]:
    """Plans that leave a file or folder of their result open to the world, or a file closed to all but its owner."""
    before = record.get("fixture", {}).get("files", {})
    for path, wanted in record.get("expect", {}).get("files", {}).items():
        if wanted.keys() & {"absent", "symlink", "mode"}:
            continue
        old = before.get(path, {}).get("mode", "")
        for mode in ("777",) if wanted.get("dir") else ("777", "600"):
            if not old.endswith(mode):
                yield [*right, f"chmod {mode} ~/{shlex.quote(path)}"]
