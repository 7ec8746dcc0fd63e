"""The file system domain: move, copy, rename, link, find and delete files and folders.

Level 1 is one command, level 2 two steps or a loop, level 3 a predicate with a boundary. Permissions are the
scheduling domain's.
"""

from __future__ import annotations

from random import Random

from generators.procedural.shell.base import (
    EXTENSIONS,
    FOLDERS,
    ShellGenerator,
    Task,
    distinct,
    fill,
    lines,
    say,
    stem,
    stems,
    task,
)


def move_file(rng: Random) -> Task:
    """One file into another folder; look-alikes stay."""
    source, target = rng.sample(FOLDERS, 2)
    ext, other = rng.sample(EXTENSIONS, 2)
    name = f"{stem(rng)}.{ext}"
    before = fill(
        rng, [f"{source}/{name}", f"{source}/{name}.{other}", f"{source}/old {name}", f"{target}/first.{ext}"]
    )
    after = {f"{target}/{name}" if path == f"{source}/{name}" else path: text for path, text in before.items()}
    instruction = say(
        rng,
        f"Move the file {name} from {source} to {target}.",
        f"Put {name}, now in {source}, into the folder {target}.",
        f"{name} belongs in {target}, not in {source}: move it there.",
    )
    return task(instruction, [f"mv {source}/{name} {target}/"], before, after)


def copy_folder(rng: Random) -> Task:
    """A folder with everything in it under a second name."""
    source = rng.choice(FOLDERS)
    copy = f"{source}_{rng.choice(('copy', 'backup', 'old', 'saved', 'mirror'))}{rng.randint(1, 99)}"
    first, second, third = stems(rng, 3)
    inside = [f"{first}.txt", f"{second}/{third}.md", f".{third}"]
    before = fill(rng, [*(f"{source}/{path}" for path in inside), f"{source}2/{first}.txt"])
    after = before | {f"{copy}/{path}": before[f"{source}/{path}"] for path in inside}
    instruction = say(
        rng,
        f"Make a copy of the folder {source}, with everything in it, called {copy}.",
        f"Duplicate {source} and all its contents as {copy}.",
        f"I want a second copy of the whole {source} folder named {copy}.",
    )
    return task(instruction, [f"cp -r {source} {copy}"], before, after)


def delete_by_extension(rng: Random) -> Task:
    """Every file of one extension at any depth; a folder of that name and other trees stay."""
    top, other = rng.sample(FOLDERS, 2)
    ext = rng.choice(("tmp", "bak", "log", "cache", "swp", "part", "old"))
    a, b, c, d = stems(rng, 4)
    doomed = [f"{top}/{a}.{ext}", f"{top}/{b}/{c}.{ext}", f"{top}/{b}/my {d}.{ext}"]
    kept = [f"{top}/{a}.txt", f"{top}/{b}/{c}.{ext}.txt", f"{top}/{d}.{ext}/{c}.md", f"{other}/{a}.{ext}"]
    before = fill(rng, doomed + kept)
    after = {path: before[path] for path in kept}
    instruction = say(
        rng,
        f"Delete every .{ext} file anywhere under {top}; leave folders alone.",
        f"Get rid of all files ending in .{ext} in {top} and its subfolders, files only.",
        f"Clean up {top}: remove the .{ext} files at every depth, but no folders.",
    )
    command = f"find {top} -type f -name '*.{ext}' -delete"
    return task(instruction, [command], before, after, safety_tags=["deletes_files"])


def make_nested_folder(rng: Random) -> Task:
    """A chain of new folders in one step."""
    top = rng.choice(FOLDERS)
    a, b = distinct(rng, 2)
    path = f"{top}/{a}/{b}{rng.randint(1, 30)}"
    before = fill(rng, [f"{rng.choice(WORK)}/{a}/{b}.txt"])
    instruction = say(
        rng,
        f"Create the folder {path} with any missing folders above it.",
        f"I need an empty folder at {path}; make the parents too.",
        f"Set up the nested folder {path}.",
    )
    return task(instruction, [f"mkdir -p {path}"], before, made=[path])


WORK = ("work", "misc", "store")


def link_release(rng: Random) -> Task:
    """A symbolic link to one of several versions."""
    folder, link = (
        rng.choice(("releases", "builds", "versions", "snapshots")),
        rng.choice(("current", "latest", "stable")),
    )
    major, minor = rng.randint(1, 9), rng.randint(1, 19)
    versions = [f"v{major}.{minor - 1}", f"v{major}.{minor}", f"v{major}.{minor + 1}"]
    before = fill(rng, [f"{folder}/{version}/app.txt" for version in versions])
    target = f"{folder}/{versions[1]}"
    instruction = say(
        rng,
        f"Make a symbolic link called {link} that points to {target}.",
        f"{link} should be a symlink to {target}.",
        f"Create the soft link {link} leading to {target}.",
    )
    return task(instruction, [f"ln -s {target} {link}"], before, expect={"files": {link: {"symlink": target}}})


def list_names(rng: Random) -> Task:
    """Names of one extension directly in a folder, sorted."""
    folder = rng.choice(FOLDERS)
    ext, other = rng.sample(EXTENSIONS, 2)
    names = stems(rng, 5)
    wanted = [f"{name}.{ext}" for name in names[:3]]
    decoys = [
        f"{names[3]}.{other}",
        f"{names[3]}/{names[4]}.{ext}",
        f"{names[4]}.{ext}.{other}",
        f"{names[4]}.{ext}/x.txt",
    ]
    before = fill(rng, [f"{folder}/{path}" for path in [*wanted, *decoys]])
    instruction = say(
        rng,
        f"Print the names of the .{ext} files directly in {folder}, sorted, one per line.",
        f"Which files ending in .{ext} lie directly in {folder}? Bare names, alphabetical, no folders.",
        f"Show, in alphabetical order, the file names in {folder} (not below it) that end in .{ext}.",
    )
    command = f"find {folder} -maxdepth 1 -type f -name '*.{ext}' -printf '%f\\n' | sort"
    return task(instruction, [command], before, stdout=lines(sorted(wanted)))


def count_files(rng: Random) -> Task:
    """How many files of an extension there are at any depth."""
    folder, other = rng.sample(FOLDERS, 2)
    ext, wrong = rng.sample(EXTENSIONS, 2)
    a, b, c = stems(rng, 3)
    count = rng.randint(3, 12)
    wanted = [f"{folder}/{rng.choice(('', a + '/', a + '/' + b + '/'))}{c}{number}.{ext}" for number in range(count)]
    decoys = [f"{folder}/{a}/{b}.{wrong}", f"{folder}/{b}.{ext}/{c}.{wrong}", f"{other}/{c}1.{ext}"]
    instruction = say(
        rng,
        f"How many .{ext} files are there in {folder}, subfolders included? Print only the number.",
        f"Count the files ending in .{ext} anywhere under {folder}, folders not counted; just the number.",
    )
    command = f"find {folder} -type f -name '*.{ext}' | wc -l"
    return task(instruction, [command], fill(rng, wanted + decoys), stdout=f"{count}\n")


def gather_extension(rng: Random) -> Task:
    """Files of one extension from a whole tree into a new folder elsewhere."""
    source, target = (
        rng.choice(FOLDERS),
        f"{rng.choice(('papers', 'collected', 'sorted', 'picked', 'all'))}_{rng.randint(1, 60)}",
    )
    ext, other = rng.sample(EXTENSIONS, 2)
    a, b, c, d = stems(rng, 4)
    moved = {
        f"{source}/{a}.{ext}": f"{a}.{ext}",
        f"{source}/{b}/{c}.{ext}": f"{c}.{ext}",
        f"{source}/{b}/the {d}.{ext}": f"the {d}.{ext}",
    }
    before = fill(rng, [*moved, f"{source}/{a}.{other}", f"{source}/{b}/{c}.{ext}.{other}", f"{source}-old/{a}.{ext}"])
    after = {f"{target}/{moved[path]}" if path in moved else path: text for path, text in before.items()}
    instruction = say(
        rng,
        f"Find all .{ext} files in {source}, subfolders too, and move them into a new folder {target}.",
        f"Create {target} and move every .{ext} file from anywhere under {source} into it.",
        f"Collect the .{ext} files scattered under {source} in a new folder called {target}, moving them.",
    )
    commands = [f"mkdir {target}", f"find {source} -type f -name '*.{ext}' -exec mv -t {target} {{}} +"]
    return task(instruction, commands, before, after)


def back_up_each(rng: Random) -> Task:
    """A copy of each file of a kind beside it, with a suffix."""
    folder = rng.choice(FOLDERS)
    ext, other = rng.sample(EXTENSIONS, 2)
    suffix = rng.choice(("bak", "orig", "saved", "copy", "old"))
    a, b, c, d = stems(rng, 4)
    wanted = [f"{folder}/{a}.{ext}", f"{folder}/my {b}.{ext}"]
    before = fill(rng, [*wanted, f"{folder}/{c}.{other}", f"{folder}/{d}/{c}.{ext}"])
    after = before | {f"{path}.{suffix}": before[path] for path in wanted}
    instruction = say(
        rng,
        f"For each .{ext} file directly in {folder} make a copy beside it with .{suffix} added to the name.",
        f"Back up the .{ext} files in {folder}, not its subfolders, as the same name plus .{suffix}.",
    )
    command = f'for f in {folder}/*.{ext}; do cp "$f" "$f.{suffix}"; done'
    return task(instruction, [command], before, after)


def remove_empty_folders(rng: Random) -> Task:
    """Empty folders go, a file takes down what went."""
    top = rng.choice(FOLDERS)
    a, b, c, d = stems(rng, 4)
    note = f"{stem(rng)}.txt"
    before = fill(rng, [f"{top}/{a}/{b}.txt", f"{top}/{d}/.hidden"])
    empty = sorted([f"{top}/{b}", f"{top}/{a}/{c}"])
    after = before | {note: lines(empty)}
    instruction = say(
        rng,
        f"Write the sorted paths of all empty folders under {top} to {note}, then delete those folders.",
        f"List the empty folders below {top} in {note}, in alphabetical order, and remove them.",
    )
    commands = [f"find {top} -type d -empty | sort > {note}", f"find {top} -type d -empty -delete"]
    return task(instruction, commands, before, after, dirs=empty, gone=empty, safety_tags=["deletes_files"])


def new_project(rng: Random) -> Task:
    """A folder with two subfolders and a first file."""
    name = f"{rng.choice(('app', 'site', 'tool', 'game', 'book', 'demo'))}_{stem(rng)}"
    first, second = rng.sample(("src", "tests", "docs", "assets", "data", "bin"), 2)
    word = rng.choice(("draft", "started", "new", "todo", "empty"))
    before = fill(rng, [f"{name}.txt"])
    after = before | {f"{name}/STATUS": f"{word}\n"}
    instruction = say(
        rng,
        f"Set up a folder {name} with subfolders {first} and {second}, and a file STATUS in it that says {word}.",
        f"Create {name}/{first} and {name}/{second}, then put the word {word} in {name}/STATUS.",
    )
    commands = [f"mkdir -p {name}/{first} {name}/{second}", f"echo {word} > {name}/STATUS"]
    return task(instruction, commands, before, after, made=[f"{name}/{first}", f"{name}/{second}"])


def move_large_files(rng: Random) -> Task:
    """Files above a size in bytes; one of exactly that size stays."""
    source, target = rng.sample(FOLDERS, 2)
    limit = rng.randint(20, 900)
    a, b, c, d = stems(rng, 4)
    sizes = {
        f"{source}/{a}.dat": limit + 1,
        f"{source}/{b}.dat": limit,
        f"{source}/{c}.bin": limit + rng.randint(2, 99),
    }
    nested = f"{source}/{d}/{a}.dat"
    before = {path: "x" * size for path, size in (sizes | {nested: limit + 5}).items()}
    large = [path for path, size in sizes.items() if size > limit]
    after = {f"{target}/{path.rsplit('/', 1)[1]}" if path in large else path: text for path, text in before.items()}
    instruction = say(
        rng,
        f"Create {target} and move the files larger than {limit} "
        f"bytes from {source}, not from its subfolders, into it.",
        f"Files directly in {source} that exceed {limit} bytes should go into a new folder {target}.",
    )
    move = f"find {source} -maxdepth 1 -type f -size +{limit}c -exec mv -t {target} {{}} +"
    return task(instruction, [f"mkdir {target}", move], before, after)


def rename_extension(rng: Random) -> Task:
    """One extension becomes another in a whole tree, names with spaces among them."""
    top, other = rng.sample(FOLDERS, 2)
    old, new = rng.sample(EXTENSIONS, 2)
    a, b, c, d = stems(rng, 4)
    wanted = [f"{top}/{a}.{old}", f"{top}/{b}/our {c}.{old}"]
    before = fill(rng, [*wanted, f"{top}/{d}.{old}.gz", f"{top}/{d}{old}", f"{other}/{a}.{old}"])
    after = {path.removesuffix(old) + new if path in wanted else path: text for path, text in before.items()}
    instruction = say(
        rng,
        f"Rename every .{old} file under {top}, subfolders included, so that it ends in .{new} instead.",
        f"Change the extension of all .{old} files anywhere below {top} to .{new}.",
    )
    command = f"find {top} -type f -name '*.{old}' -exec bash -c 'mv \"$1\" \"${{1%.{old}}}.{new}\"' _ {{}} \\;"
    return task(instruction, [command], before, after)


def delete_older(rng: Random) -> Task:
    """Files last changed before a date; the seconds around midnight UTC decide."""
    folder, ext = rng.choice(FOLDERS), rng.choice(("log", "txt", "csv", "bak"))
    year, month, day = rng.randint(2018, 2024), rng.randint(1, 12), rng.randint(2, 28)
    midnight = _unix_seconds(year, month, day)
    a, b, c, d = stems(rng, 4)
    ages = {
        f"{folder}/{a}.{ext}": -1,
        f"{folder}/{b}/{c}.{ext}": -86400 * 40,
        f"{folder}/{c}.{ext}": 1,
        f"{folder}/{d}.{ext}": 86000,
    }
    before = fill(rng, [*ages, f"{folder}/{d}.{ext}.keep"])
    ages[f"{folder}/{d}.{ext}.keep"] = -86400
    stamped = {path: {"text": text, "mtime": midnight + ages[path]} for path, text in before.items()}
    after = {path: text for path, text in before.items() if ages[path] > 0 or path.endswith(".keep")}
    date = f"{year}-{month:02}-{day:02}"
    instruction = say(
        rng,
        f"Delete the .{ext} files under {folder}, subfolders too, that were last modified before {date}.",
        f"Remove every .{ext} file anywhere in {folder} whose last change is older than {date}.",
    )
    command = f"find {folder} -type f -name '*.{ext}' ! -newermt {date} -delete"
    return task(instruction, [command], before, after, fixture={"files": stamped}, safety_tags=["deletes_files"])


def _unix_seconds(year: int, month: int, day: int) -> int:
    from datetime import UTC, datetime

    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


def delete_duplicates(rng: Random) -> Task:
    """Files equal in name and content to one in another folder go; equal names alone are kept."""
    keep, clean = rng.sample(FOLDERS, 2)
    names = [f"{name}.{rng.choice(EXTENSIONS)}" for name in stems(rng, 5)]
    before = fill(rng, [f"{keep}/{name}" for name in names[:4]])
    before |= {f"{clean}/{name}": before[f"{keep}/{name}"] for name in names[:2]}
    before |= {
        f"{clean}/{names[2]}": before[f"{keep}/{names[2]}"] + "more\n",
        f"{clean}/{names[4]}": before[f"{keep}/{names[3]}"],
    }
    after = {path: text for path, text in before.items() if path not in (f"{clean}/{names[0]}", f"{clean}/{names[1]}")}
    instruction = say(
        rng,
        f"Delete from {clean} each file that is identical to the file of the same name in {keep}.",
        f"If a file in {clean} has the same name and content as one in {keep}, remove it from {clean}.",
    )
    command = f'for f in {clean}/*; do if cmp -s "$f" "{keep}/${{f##*/}}"; then rm "$f"; fi; done'
    return task(instruction, [command], before, after, safety_tags=["deletes_files"])


def sort_into_folders(rng: Random) -> Task:
    """Two extensions into a subfolder each, the rest stays."""
    folder = rng.choice(FOLDERS)
    one, two, rest = rng.sample(EXTENSIONS, 3)
    a, b, c, d = stems(rng, 4)
    before = fill(
        rng,
        [
            f"{folder}/{a}.{one}",
            f"{folder}/{b}.{two}",
            f"{folder}/my {c}.{two}",
            f"{folder}/{d}.{rest}",
            f"{folder}/{a}/{d}.{one}",
        ],
    )
    moved = {f"{folder}/{a}.{one}": one, f"{folder}/{b}.{two}": two, f"{folder}/my {c}.{two}": two}
    after = {path.replace("/", f"/{moved[path]}/") if path in moved else path: text for path, text in before.items()}
    instruction = say(
        rng,
        f"In {folder} make folders {one} and {two} and move the .{one} "
        f"and .{two} files lying directly in {folder} into them.",
        f"Tidy {folder}: its own .{one} files go to {folder}/{one}, its .{two} files to {folder}/{two}; create both.",
    )
    commands = [
        f"mkdir {folder}/{one} {folder}/{two}",
        f"mv {folder}/*.{one} {folder}/{one}/",
        f"mv {folder}/*.{two} {folder}/{two}/",
    ]
    return task(instruction, commands, before, after)


GENERATOR = ShellGenerator(
    "file_system",
    {
        1: (move_file, copy_folder, delete_by_extension, make_nested_folder, link_release, list_names, count_files),
        2: (gather_extension, back_up_each, remove_empty_folders, new_project),
        3: (move_large_files, rename_extension, delete_older, delete_duplicates, sort_into_folders),
    },
)
