"""The text processing domain: filter, count, sort, cut, join and rewrite text files.

Orders are by code point (LANG=C.UTF-8), sums are whole numbers, and counts never tie where an order hangs on them.
"""

from __future__ import annotations

from random import Random

from generators.procedural.shell.base import (
    CITIES,
    FOLDERS,
    ITEMS,
    ShellGenerator,
    Task,
    bracketed,
    distinct,
    lines,
    paths,
    prose,
    say,
    stem,
    stems,
    task,
)

LEVEL_WORDS = ("ERROR", "WARN", "INFO", "DEBUG", "FATAL")
PARTS = ("disk", "login", "cache", "network", "upload", "timer", "printer", "backup", "mail", "queue")


def _log(rng: Random, count: int) -> list[str]:
    """Log lines `12:03:44 WARN disk message 7`; each level also turns up as a lower-case word in some message."""
    rows = []
    for number in range(count):
        level, part = rng.choice(LEVEL_WORDS), rng.choice(PARTS)
        tail = f"{rng.choice(LEVEL_WORDS).lower()} {number}" if number % 3 == 0 else f"message {number}"
        rows.append(f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02} {level} {part} {tail}")
    return rows


def _table(rng: Random, count: int) -> list[tuple[str, str, int]]:
    """Rows (city, item, amount); amounts differ from row to row."""
    amounts = rng.sample(range(10, 500), count)
    return [(rng.choice(CITIES[:6]), rng.choice(ITEMS[:6]), amount) for amount in amounts]


def _csv(rows: list[tuple[str, str, int]]) -> str:
    return lines(["city,item,amount", *(f"{city},{item},{amount}" for city, item, amount in rows)])


def count_matching(rng: Random) -> Task:
    """How many lines hold a word; the same word in lower case does not count."""
    path, level = f"{rng.choice(FOLDERS)}/{stem(rng)}.log", rng.choice(LEVEL_WORDS)
    rows = [
        *_log(rng, rng.randint(9, 25)),
        f"00:00:00 {level} disk {level} twice",
        f"00:00:01 IDLE disk {level.lower()}",
    ]
    rng.shuffle(rows)
    count = sum(1 for row in rows if level in row)
    instruction = say(
        rng,
        f"How many lines of {path} contain {level} in capitals? Print only the number.",
        f"Count the lines in {path} with the upper-case word {level}; just the number.",
    )
    return task(instruction, [f"grep -c {level} {path}"], {path: lines(rows)}, stdout=f"{count}\n")


def keep_lines(rng: Random) -> Task:
    """A range of line numbers into a new file."""
    source, target = paths(rng, "txt", "txt")
    first = rng.randint(2, 12)
    last = first + rng.randint(1, 8)
    rows = [f"{number} {rng.choice(ITEMS)}" for number in range(100, 100 + last + rng.randint(2, 9))]
    before = {source: lines(rows)}
    after = before | {target: lines(rows[first - 1 : last])}
    instruction = say(
        rng,
        f"Save lines {first} to {last} of {source} in {target}.",
        f"Copy only lines {first} through {last} of {source} to the new file {target}.",
    )
    return task(instruction, [f"sed -n '{first},{last}p' {source} > {target}"], before, after)


def sort_unique(rng: Random) -> Task:
    """Lines sorted, each once."""
    source, target = paths(rng, "txt", "txt")
    names = rng.sample(CITIES, rng.randint(5, 9))
    rows = [*names, *names[:3], names[0]]
    rng.shuffle(rows)
    before = {source: lines(rows)}
    after = before | {target: lines(sorted(names))}
    instruction = say(
        rng,
        f"Sort the lines of {source}, drop repeats and save the result as {target}.",
        f"Put each different line of {source} once, in alphabetical order, into {target}.",
    )
    return task(instruction, [f"sort -u {source} > {target}"], before, after)


def replace_word(rng: Random) -> Task:
    """One whole word becomes another everywhere in a file; longer words that hold it stay."""
    path = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt"
    old, new = rng.sample(ITEMS, 2)
    rows = [f"{old} and {old} again", f"{old}s are not it", f"no {old}", f"pine{old} stays", *prose(rng).splitlines()]
    rng.shuffle(rows)
    changed = [" ".join(new if word == old else word for word in row.split(" ")) for row in rows]
    instruction = say(
        rng,
        f"In {path} replace the whole word {old} by {new} everywhere; longer words stay.",
        f"Change every {old} in {path} to {new}, but only where it is a word of its own.",
    )
    before = {path: lines(rows), f"{path}.bak": lines(rows)}
    return task(instruction, [f"sed -i 's/\\b{old}\\b/{new}/g' {path}"], before, before | {path: lines(changed)})


def cut_column(rng: Random) -> Task:
    """One column of a CSV file, header left in."""
    source, target = paths(rng, "csv", "txt")
    rows, column = _table(rng, rng.randint(4, 8)), rng.randint(1, 3)
    header = ("city", "item", "amount")
    before = {source: _csv(rows)}
    after = before | {target: lines([header[column - 1], *(row[column - 1] for row in rows)])}
    instruction = say(
        rng,
        f"Write column {column} of the comma-separated {source}, heading included, to {target}.",
        f"Take only column number {column} of {source} (commas between columns) into {target}.",
    )
    command = f"cut -d, -f{column} {source} > {target}"
    return task(instruction, [command], before, after)


def last_lines(rng: Random) -> Task:
    """The end of a file."""
    path, count = f"{rng.choice(FOLDERS)}/{stem(rng)}.log", rng.randint(2, 15)
    rows = [f"{number} {rng.choice(PARTS)}" for number in range(1, count + rng.randint(3, 12))]
    instruction = say(
        rng, f"Show the last {count} lines of {path}.", f"Print how {path} ends: its final {count} lines."
    )
    return task(instruction, [f"tail -n {count} {path}"], {path: lines(rows)}, stdout=lines(rows[-count:]))


def files_with_word(rng: Random) -> Task:
    """Which files of a tree mention a word, in whatever case."""
    folder, word = rng.choice(FOLDERS), rng.choice(PARTS)
    a, b, c, d, e = stems(rng, 5)
    hits = {f"{folder}/{a}.txt": f"the {word} is full\n", f"{folder}/{b}/{c}.md": f"{word.upper()} check\n"}
    before = hits | {f"{folder}/{d}.txt": prose(rng), f"{folder}/{word}/{e}.txt": "nothing here\n"}
    instruction = say(
        rng,
        f"List the files under {folder}, subfolders included, that contain {word} in any case, sorted by path.",
        f"Which files below {folder} mention {word}, capitals or not? Paths only, in alphabetical order.",
    )
    return task(instruction, [f"grep -rli {word} {folder} | sort"], before, stdout=lines(sorted(hits)))


def top_values(rng: Random) -> Task:
    """The most frequent values of a column, most frequent first; no two counts are equal."""
    path, wanted = f"{rng.choice(FOLDERS)}/{stem(rng)}.csv", rng.randint(2, 4)
    items = rng.sample(ITEMS, 5)
    rows = [(rng.choice(CITIES), item, rng.randint(1, 99)) for times, item in enumerate(items, 1) for _ in range(times)]
    rng.shuffle(rows)
    best = items[::-1][:wanted]
    instruction = say(
        rng,
        f"Print the {wanted} most frequent items (column 2, below "
        f"the heading) of {path}, most frequent first, names only.",
        f"Which {wanted} items occur most often in column 2 of {path}? Skip the heading; just names, commonest first.",
    )
    command = f"tail -n +2 {path} | cut -d, -f2 | sort | uniq -c | sort -rn | head -n {wanted} | awk '{{print $2}}'"
    return task(instruction, [command], {path: _csv(rows)}, stdout=lines(best))


def sum_for(rng: Random) -> Task:
    """The sum of a column over the rows of one city."""
    path = f"{rng.choice(FOLDERS)}/{stem(rng)}.csv"
    rows = _table(rng, rng.randint(8, 14))
    city = rows[0][0]
    total = sum(amount for place, _, amount in rows if place == city)
    instruction = say(
        rng,
        f"Add up the amounts (column 3) of all {city} rows (column 1) in {path} and print the sum.",
        f"What is the total of column 3 in {path} over the rows whose first column is {city}?",
    )
    command = f"awk -F, '$1 == \"{city}\" {{s += $3}} END {{print s}}' {path}"
    return task(instruction, [command], {path: _csv([*rows, (f"{city}ville", "salt", 777)])}, stdout=f"{total}\n")


def strip_comments(rng: Random) -> Task:
    """A configuration file without comment lines and empty lines, in place."""
    path = f"{rng.choice(FOLDERS)}/{stem(rng)}.{rng.choice(('cfg', 'conf', 'ini'))}"
    keep = [f"{name}={rng.randint(1, 99)}" for name in distinct(rng, 3)] + ["color=#ff0000"]
    rows = [*keep, f"# {rng.choice(ITEMS)}", "", "#off=1", ""]
    rng.shuffle(rows)
    before = {path: lines(rows), f"{path}.orig": lines(rows)}
    after = before | {path: lines(row for row in rows if row and not row.startswith("#"))}
    instruction = say(
        rng,
        f"Delete the empty lines and the lines starting with # from {path}, in the file itself.",
        f"Strip {path} of blank lines and of comment lines (those that begin with #).",
    )
    return task(instruction, [f"sed -i '/^#/d' {path}", f"sed -i '/^$/d' {path}"], before, after)


def lines_missing(rng: Random) -> Task:
    """Lines of one list that are not in another, as whole lines."""
    full, done, rest = paths(rng, "txt", "txt", "txt")
    items = rng.sample(ITEMS, 9)
    rows = [*items[:6], f"{items[6]} pie"]
    missing = [row for row in rows if row not in items[3:]]
    before = {full: lines(rows), done: lines(items[3:][::-1])}
    instruction = say(
        rng,
        f"Write the lines of {full} that are not in {done}, sorted, to {rest}.",
        f"Which lines does {full} have that {done} lacks? Save them sorted as {rest}.",
    )
    command = f"grep -vxFf {done} {full} | sort > {rest}"
    return task(instruction, [command], before, before | {rest: lines(sorted(missing))})


def merge_sorted(rng: Random) -> Task:
    """Two number lists into one, sorted as numbers, with a count."""
    folder, (one, two, both) = rng.choice(FOLDERS), stems(rng, 3)
    numbers = rng.sample(range(5, 2000), rng.randint(7, 12))
    before = {f"{folder}/{one}.txt": lines(numbers[:4]), f"{folder}/{two}.txt": lines([*numbers[4:], 3, 10])}
    ordered = sorted([*numbers, 3, 10])
    instruction = say(
        rng,
        f"Merge {folder}/{one}.txt and {folder}/{two}.txt, smallest "
        f"number first, into {folder}/{both}.txt; print its line count.",
        f"Put all numbers of {folder}/{one}.txt and {folder}/{two}.txt "
        f"in rising order into {folder}/{both}.txt, then print how many.",
    )
    commands = [
        f"sort -n {folder}/{one}.txt {folder}/{two}.txt > {folder}/{both}.txt",
        f"wc -l < {folder}/{both}.txt",
    ]
    return task(
        instruction, commands, before, before | {f"{folder}/{both}.txt": lines(ordered)}, stdout=f"{len(ordered)}\n"
    )


def totals_by_group(rng: Random) -> Task:
    """Sum per city, as `city,total`, sorted by city."""
    source, target = paths(rng, "csv", "csv")
    rows = _table(rng, rng.randint(8, 14))
    totals: dict[str, int] = {}
    for city, _, amount in rows:
        totals[city] = totals.get(city, 0) + amount
    before = {source: _csv(rows)}
    after = before | {target: lines(f"{city},{totals[city]}" for city in sorted(totals))}
    instruction = say(
        rng,
        f"Sum column 3 of {source} per city (column 1), skip the "
        f"heading, and save sorted city,total lines in {target}.",
        f"Make {target} with one city,total line per city of {source}: totals of column 3, sorted, no heading.",
    )
    command = f"awk -F, 'NR > 1 {{s[$1] += $3}} END {{for (c in s) print c \",\" s[c]}}' {source} | sort > {target}"
    return task(instruction, [command], before, after)


def filter_and_rank(rng: Random) -> Task:
    """Rows of at least an amount, largest first, below the heading; a row of exactly that amount counts."""
    source, target = paths(rng, "csv", "csv")
    rows = _table(rng, rng.randint(7, 12))
    limit = sorted(row[2] for row in rows)[len(rows) // 2]
    rows = bracketed(rows, [limit - 1, limit, limit + 1], 2)
    rows.sort(key=lambda row: row[2] < limit)  # a row that counts comes first: skipping it shows
    chosen = sorted((row for row in rows if row[2] >= limit), key=lambda row: -row[2])
    before = {source: _csv(rows)}
    after = before | {target: _csv(chosen)}
    instruction = say(
        rng,
        f"Save the heading of {source} and its rows with amount "
        f"(column 3) {limit} or more, largest first, as {target}.",
        f"{target} should have the heading of {source}, then its rows of at least {limit} in column 3, largest first.",
    )
    commands = [
        f"head -n 1 {source} > {target}",
        f"awk -F, 'NR > 1 && $3 >= {limit}' {source} | sort -t, -k3,3nr >> {target}",
    ]
    return task(instruction, commands, before, after)


def replace_in_tree(rng: Random) -> Task:
    """A word in every file of one extension of a tree; other files stay."""
    top, other = rng.sample(FOLDERS, 2)
    ext, wrong = rng.sample(("md", "txt", "cfg", "html", "yml"), 2)
    old, new = rng.sample(CITIES, 2)
    a, b, c, d = stems(rng, 4)
    body = f"from {old} to {old}\n{prose(rng)}"
    hits = [f"{top}/{a}.{ext}", f"{top}/{b}/the {c}.{ext}"]
    before = dict.fromkeys([*hits, f"{top}/{d}.{wrong}", f"{top}/{c}.{ext}.{wrong}", f"{other}/{a}.{ext}"], body)
    after = before | {path: body.replace(old, new) for path in hits}
    instruction = say(
        rng,
        f"Replace {old} by {new} everywhere in all .{ext} files under {top}, subfolders included.",
        f"In each .{ext} file anywhere below {top} every {old} should become {new}.",
    )
    command = f"find {top} -type f -name '*.{ext}' -exec sed -i 's/{old}/{new}/g' {{}} +"
    return task(instruction, [command], before, after)


def join_tables(rng: Random) -> Task:
    """Two unsorted tables joined on their first column; keys of one alone fall out."""
    left, right, target = paths(rng, "txt", "txt", "txt")
    keys = rng.sample(ITEMS, 7)
    prices = {key: rng.randint(1, 90) for key in keys[:5]}
    stock = {key: rng.randint(100, 900) for key in keys[2:][::-1]}
    before = {
        left: lines(f"{key} {value}" for key, value in prices.items()),
        right: lines(f"{key} {value}" for key, value in stock.items()),
    }
    joined = lines(f"{key} {prices[key]} {stock[key]}" for key in sorted(prices) if key in stock)
    instruction = say(
        rng,
        f"Join {left} and {right} on their first word and save the sorted result as {target}.",
        f"For names in both {left} and {right} write name, first value, second value, sorted, to {target}.",
    )
    command = f"join <(sort {left}) <(sort {right}) > {target}"
    return task(instruction, [command], before, before | {target: joined})


GENERATOR = ShellGenerator(
    "text_processing",
    {
        1: (count_matching, keep_lines, sort_unique, replace_word, cut_column, last_lines, files_with_word),
        2: (top_values, sum_for, strip_comments, lines_missing, merge_sorted),
        3: (totals_by_group, filter_and_rank, replace_in_tree, join_tables),
    },
)
