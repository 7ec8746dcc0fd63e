"""The archives domain: pack, unpack, list and compress with tar and gzip.

Archives of the fixture are made by its setup script from files that it then removes, because compressed bytes differ
between zlib versions; what is in them is known here all the same. Checksums and encryption are not covered.
"""

from __future__ import annotations

from random import Random

from frontier_core.records import Record
from generators.procedural.shell.base import (
    EXTENSIONS,
    FOLDERS,
    ITEMS,
    ShellGenerator,
    Task,
    Tree,
    fill,
    lines,
    paths,
    prose,
    say,
    stem,
    stems,
    task,
)

STAGE = ".stage"
"""Where members wait for the setup script; gone before the plan starts."""


def _packed(archives: dict[str, Tree]) -> Record:
    """The fixture keys that make tar archives with these members; a name ending in gz is compressed."""
    staged: Record = {}
    script: list[str] = []
    for number, (archive, members) in enumerate(archives.items()):
        stage = f"{STAGE}/{number}"
        staged |= {f"{stage}/{path}": {"text": text} for path, text in members.items()}
        tops = " ".join(sorted({path.split("/", 1)[0] for path in members}))
        script.append(f"mkdir -p {archive.rpartition('/')[0] or '.'}")
        script.append(f"tar {'-czf' if archive.endswith('gz') else '-cf'} {archive} -C {stage} {tops}")
    return {"files": staged, "setup": lines([*script, f"rm -r {STAGE}"])}


def _gzipped(texts: Tree) -> Record:
    """The fixture keys that make `path.gz` for each path of `texts`."""
    script = [f"gzip -n {path}" for path in texts]
    return {"files": {path: {"text": text} for path, text in texts.items()}, "setup": lines(script)}


def pack_folder(rng: Random) -> Task:
    """A folder into a compressed archive; hidden files go along, a look-alike folder does not."""
    folder, name = rng.choice(FOLDERS), stem(rng)
    a, b, c = stems(rng, 3)
    inside = [f"{folder}/{a}.txt", f"{folder}/{b}/{c}.md", f"{folder}/.{c}"]
    before = fill(rng, [*inside, f"{folder}-old/{a}.txt", f"{name}.txt"])
    instruction = say(
        rng,
        f"Pack the folder {folder} into the gzip-compressed tar archive {name}.tar.gz.",
        f"Make a compressed archive {name}.tar.gz of the whole folder {folder}.",
        f"Archive {folder} with all it holds as {name}.tar.gz, gzip-compressed.",
    )
    expect = {"files": {f"{name}.tar.gz": {"tar": {path: before[path] for path in inside}}}}
    # `tar -cf` would pass any check that reads through the compression, so the magic number is looked at too.
    magic = {"command": f"head -c 2 {name}.tar.gz | od -An -tx1", "stdout": " 1f 8b\n"}
    command = f"tar -czf {name}.tar.gz {folder}"
    return task(instruction, [command], before, expect=expect | {"checks": [magic]})


def compress_keep(rng: Random) -> Task:
    """A compressed copy beside a file that stays."""
    path = f"{rng.choice(FOLDERS)}/{stem(rng)}.{rng.choice(EXTENSIONS)}"
    before = {path: prose(rng, 4), f"{path}.1": prose(rng)}
    instruction = say(
        rng,
        f"Compress {path} with gzip but keep the original file too.",
        f"Make {path}.gz from {path} and leave {path} in place.",
        f"I want a gzipped copy of {path} beside it; do not remove the file itself.",
    )
    expect = {"files": {f"{path}.gz": {"gzip": before[path]}}}
    return task(instruction, [f"gzip -k {path}"], before, expect=expect)


def compress_replace(rng: Random) -> Task:
    """A file gives way to its compressed form."""
    folder, (a, b) = rng.choice(FOLDERS), stems(rng, 2)
    path = f"{folder}/{a}.{rng.choice(EXTENSIONS)}"
    before = {path: prose(rng, 4), f"{folder}/{b}.log": prose(rng)}
    after = {name: text for name, text in before.items() if name != path}
    instruction = say(
        rng,
        f"Replace {path} by its gzip-compressed version {path}.gz.",
        f"Squeeze {path} with gzip, leaving only the .gz file.",
        f"Turn {path} into {path}.gz to save space; the plain file should be gone.",
    )
    expect = {"files": {f"{path}.gz": {"gzip": before[path]}}}
    return task(instruction, [f"gzip {path}"], before, after, expect=expect)


def decompress(rng: Random) -> Task:
    """A compressed file gives way to its plain form; another compressed file stays."""
    a, b = paths(rng, "csv", "csv")
    path, other = a, b
    texts = {path: prose(rng, 3), other: prose(rng, 2)}
    instruction = say(
        rng,
        f"Decompress {path}.gz so that only {path} is left of it.",
        f"Unpack the gzip file {path}.gz in place; the .gz may go.",
        f"Turn {path}.gz back into the plain file {path}, without keeping the .gz.",
    )
    expect = {"files": {f"{path}.gz": {"absent": True}, path: {"text": texts[path]}}}
    return task(instruction, [f"gunzip {path}.gz"], {}, fixture=_gzipped(texts), expect=expect)


def unpack_into(rng: Random) -> Task:
    """An archive into a folder that is there already."""
    target, (name, a, b) = rng.choice(FOLDERS), stems(rng, 3)
    members = fill(rng, [f"{a}.txt", f"{b}/{a}.md"])
    archive = f"{name}.tar.gz"
    before = fill(rng, [f"{target}/first.txt"])
    after = before | {f"{target}/{path}": text for path, text in members.items()}
    instruction = say(
        rng,
        f"Extract {archive} into the folder {target}.",
        f"Unpack the archive {archive} inside {target}.",
        f"The contents of {archive} should end up in {target}.",
    )
    fixture = _packed({archive: members})
    return task(instruction, [f"tar -xzf {archive} -C {target}"], before, after, fixture=fixture)


def list_members(rng: Random) -> Task:
    """The paths in an archive, sorted."""
    folder, (name, a, b, c) = rng.choice(FOLDERS), stems(rng, 4)
    ext, other = rng.sample(EXTENSIONS, 2)
    decoys = [f"{c}.{other}", f"{ext}/{c}", f"{b}/{a}{ext}", f"{b}.{ext}.{other}"]
    members = fill(rng, [f"{folder}/{name}" for name in (f"{a}.{ext}", f"{b}/{c}.{ext}", *decoys)])
    wanted = sorted(path for path in members if path.endswith(f".{ext}"))
    archive = f"{name}.tar.gz"
    instruction = say(
        rng,
        f"Print the paths of all .{ext} files inside the archive {archive}, sorted, without unpacking it.",
        f"Which entries of {archive} end in .{ext}? List them in alphabetical order and extract nothing.",
    )
    command = f"tar -tzf {archive} | grep '\\.{ext}$' | sort"
    return task(instruction, [command], {}, stdout=lines(wanted), fixture=_packed({archive: members}))


def pack_and_remove(rng: Random) -> Task:
    """A folder into an archive elsewhere, then the folder goes."""
    folder, shelf = rng.sample(FOLDERS, 2)
    name = stem(rng)
    a, b, c = stems(rng, 3)
    inside = [f"{folder}/{a}.txt", f"{folder}/{b}/{c}.md"]
    before = fill(rng, [*inside, f"{shelf}/first.txt", f"{folder}2/{a}.txt"])
    after = {path: text for path, text in before.items() if path not in inside}
    instruction = say(
        rng,
        f"Pack {folder} into {shelf}/{name}.tar.gz and then delete the folder {folder}.",
        f"Move {folder} out of the way: archive it as {shelf}/{name}.tar.gz, then remove the original folder.",
    )
    commands = [f"tar -czf {shelf}/{name}.tar.gz {folder}", f"rm -r {folder}"]
    expect = {"files": {f"{shelf}/{name}.tar.gz": {"tar": {path: before[path] for path in inside}}}}
    gone = [folder, f"{folder}/{b}"]
    return task(instruction, commands, before, after, gone=gone, expect=expect, safety_tags=["deletes_files"])


def unpack_one_member(rng: Random) -> Task:
    """One member into a new folder; the others stay packed."""
    folder, (name, target, a, b, c) = rng.choice(FOLDERS), stems(rng, 5)
    members = fill(rng, [f"{folder}/{a}.txt", f"{folder}/{b}.txt", f"{folder}/{c}/{a}.txt"])
    member, archive = f"{folder}/{a}.txt", f"{name}.tar.gz"
    instruction = say(
        rng,
        f"From {archive} extract only {member} into a new folder {target}, keeping its path.",
        f"Create {target} and unpack just {member} from {archive} there, with its folder.",
    )
    return task(
        instruction,
        [f"mkdir {target}", f"tar -xzf {archive} -C {target} {member}"],
        {},
        {f"{target}/{member}": members[member]},
        fixture=_packed({archive: members}),
    )


def compress_logs(rng: Random) -> Task:
    """Each file of one extension in a tree is compressed, other files stay."""
    top, other = rng.sample(FOLDERS, 2)
    ext, wrong = rng.sample(EXTENSIONS, 2)
    a, b, c, d = stems(rng, 4)
    hits = [f"{top}/{a}.{ext}", f"{top}/{b}/my {c}.{ext}"]
    before = fill(rng, [*hits, f"{top}/{d}.{wrong}", f"{top}/{b}/{c}.{ext}.{wrong}", f"{other}/{a}.{ext}"])
    after = {path: text for path, text in before.items() if path not in hits}
    instruction = say(
        rng,
        f"Compress every .{ext} file under {top}, subfolders too, with gzip, each replaced by its .gz.",
        f"Gzip all .{ext} files anywhere below {top} in place, one .gz per file.",
    )
    command = f"find {top} -type f -name '*.{ext}' -exec gzip {{}} +"
    expect = {"files": {f"{path}.gz": {"gzip": before[path]} for path in hits}}
    return task(instruction, [command], before, after, expect=expect)


def pack_without(rng: Random) -> Task:
    """A folder into an archive, one extension left out."""
    folder, name, (a, b, c) = rng.choice(FOLDERS), stem(rng), stems(rng, 3)
    ext, junk = rng.choice(EXTENSIONS), rng.choice(("tmp", "bak", "swp", "cache", "part"))
    inside = [f"{folder}/{a}.{ext}", f"{folder}/{b}/{c}.{ext}", f"{folder}/{junk}.{ext}"]
    before = fill(rng, [*inside, f"{folder}/{a}.{junk}", f"{folder}/{b}/{c}.{junk}"])
    instruction = say(
        rng,
        f"Pack {folder} into {name}.tar.gz, leaving out all .{junk} files.",
        f"Make a compressed archive {name}.tar.gz of {folder} without any file ending in .{junk}.",
    )
    expect = {"files": {f"{name}.tar.gz": {"tar": {path: before[path] for path in inside}}}}
    command = f"tar -czf {name}.tar.gz --exclude='*.{junk}' {folder}"
    return task(instruction, [command], before, expect=expect)


def count_in_compressed(rng: Random) -> Task:
    """Matching lines of a compressed log that stays compressed, their number into a file."""
    folder, (a, b) = rng.choice(FOLDERS), stems(rng, 2)
    word = rng.choice(ITEMS)
    rows = [
        f"{rng.choice(('got', 'sold', 'lost'))} {rng.choice((word, word, *ITEMS[:4]))}"
        for _ in range(rng.randint(9, 30))
    ]
    rows.append(f"{word} and {word}")
    count = sum(1 for row in rows if word in row)
    path = f"{folder}/{a}.log"
    instruction = say(
        rng,
        f"Count the lines with {word} in the compressed {path}.gz, "
        f"keep it compressed, and save the number in {folder}/{b}.txt.",
        f"How many lines of {path}.gz mention {word}? Write the number to {folder}/{b}.txt; leave the .gz as it is.",
    )
    command = f"zcat {path}.gz | grep -c {word} > {folder}/{b}.txt"
    expect = {"files": {f"{folder}/{b}.txt": {"text": f"{count}\n"}}}
    return task(instruction, [command], {}, fixture=_gzipped({path: lines(rows)}), expect=expect)


def merge_archives(rng: Random) -> Task:
    """Two archives become one; the second one's file wins where both have it."""
    one, two, three, a, b, c = stems(rng, 6)
    folder = rng.choice(FOLDERS)
    first = fill(rng, [f"{folder}/{a}.txt", f"{folder}/{b}.txt"])
    second = {f"{folder}/{b}.txt": f"newer {prose(rng, 1)}", f"{folder}/{c}.txt": prose(rng, 1)}
    names = [f"{name}.tar.gz" for name in (one, two, three)]
    work = f"{three}_work"
    instruction = say(
        rng,
        f"Unpack {names[0]}, then {names[1]} over it, in a new folder {work}, and pack its {folder} as {names[2]}.",
        f"Combine {names[0]} and {names[1]} (it wins) by unpacking both "
        f"in a new folder {work}; pack {work}'s {folder} as {names[2]}.",
    )
    commands = [
        f"mkdir {work}",
        f"tar -xzf {names[0]} -C {work}",
        f"tar -xzf {names[1]} -C {work}",
        f"tar -czf {names[2]} -C {work} {folder}",
    ]
    merged = first | second
    return task(
        instruction,
        commands,
        {},
        {f"{work}/{path}": text for path, text in merged.items()},
        fixture=_packed({names[0]: first, names[1]: second}),
        expect={"files": {names[2]: {"tar": merged}}},
    )


def pack_extension(rng: Random) -> Task:
    """Only the files of one extension of a tree, paths kept, names with spaces among them."""
    top, name = rng.choice(FOLDERS), stem(rng)
    ext, wrong = rng.sample(EXTENSIONS, 2)
    a, b, c, d = stems(rng, 4)
    hits = [f"{top}/{a}.{ext}", f"{top}/{b}/the {c}.{ext}"]
    before = fill(rng, [*hits, f"{top}/{d}.{wrong}", f"{top}/{c}.{ext}.{wrong}", f"{top}/{d}.{ext}/{a}.{wrong}"])
    instruction = say(
        rng,
        f"Pack only the .{ext} files from anywhere under {top}, with their paths, into {name}.tar.gz.",
        f"Put every .{ext} file of {top} and its subfolders, nothing else, into the compressed archive {name}.tar.gz.",
    )
    command = f"find {top} -type f -name '*.{ext}' -print0 | tar -czf {name}.tar.gz --null -T -"
    expect = {"files": {f"{name}.tar.gz": {"tar": {path: before[path] for path in hits}}}}
    return task(instruction, [command], before, expect=expect)


def archive_each_folder(rng: Random) -> Task:
    """One archive per subfolder; files beside them are not packed."""
    top, (a, b, c, d) = rng.choice(FOLDERS), stems(rng, 4)
    before = fill(rng, [f"{top}/{a}/{c}.txt", f"{top}/{b}/{d}.md", f"{top}/{b}/x/{c}.txt", f"{top}/{d}.txt"])
    shelf = f"{rng.choice(('packed', 'bundles', 'shelf', 'vault'))}{rng.randint(1, 60)}"
    members = {
        name: {p.removeprefix(f"{top}/"): t for p, t in before.items() if p.startswith(f"{top}/{name}/")}
        for name in (a, b)
    }
    instruction = say(
        rng,
        f"Create {shelf} and pack each folder in {top} there as NAME.tar.gz, with paths starting at NAME.",
        f"For each subfolder NAME directly in {top} make {shelf}/NAME.tar.gz holding NAME; create {shelf} first.",
    )
    loop = f'for d in {top}/*/; do n=$(basename "$d"); tar -czf "{shelf}/$n.tar.gz" -C {top} "$n"; done'
    expect = {"files": {f"{shelf}/{name}.tar.gz": {"tar": inside} for name, inside in members.items()}}
    return task(instruction, [f"mkdir {shelf}", loop], before, made=[shelf], expect=expect)


def changed_since_archive(rng: Random) -> Task:
    """Which files of a folder differ from those an archive holds."""
    folder, (name, report, work) = rng.choice(FOLDERS), stems(rng, 3)
    paths = [f"{folder}/{part}.txt" for part in stems(rng, 5)]
    packed = fill(rng, paths)
    now = packed | {
        path: f"{packed[path]}changed {rng.randint(1, 99)}\n" for path in rng.sample(paths, rng.randint(2, 3))
    }
    changed = sorted(path for path in paths if now[path] != packed[path])
    instruction = say(
        rng,
        f"Unpack {name}.tar.gz into a new folder {work} and list in "
        f"{report}.txt the sorted paths of {folder} files that differ from it.",
        f"Write to {report}.txt, sorted, which files of {folder} differ "
        f"from {name}.tar.gz, after unpacking it in a new folder {work}.",
    )
    commands = [
        f"mkdir {work}",
        f"tar -xzf {name}.tar.gz -C {work}",
        f'for f in {folder}/*; do cmp -s "$f" "{work}/$f" || echo "$f"; done | sort > {report}.txt',
    ]
    after = now | {f"{work}/{path}": text for path, text in packed.items()} | {f"{report}.txt": lines(changed)}
    fixture = _packed({f"{name}.tar.gz": packed})
    return task(instruction, commands, now, after, fixture=fixture)


GENERATOR = ShellGenerator(
    "archives",
    {
        1: (pack_folder, compress_keep, compress_replace, decompress, unpack_into, list_members),
        2: (pack_and_remove, unpack_one_member, compress_logs, pack_without, count_in_compressed),
        3: (merge_archives, pack_extension, archive_each_folder, changed_since_archive),
    },
)
