"""The git domain: branch, commit, tag, revert, merge and inspect a local repository.

The fixture's setup script makes the repository; identity and dates are the sandbox's, so commits are the same
everywhere. What the plan did to the history is read back by checks; the working tree is compared like any files.
Remotes are not covered: there is no network.
"""

from __future__ import annotations

from random import Random
from typing import Any

from frontier_core.records import Record
from generators.procedural.shell.base import (
    ITEMS,
    WORDS,
    ShellGenerator,
    Task,
    Tree,
    lines,
    prose,
    say,
    stems,
    task,
)

REPOS = ("repo", "site", "app", "notes", "library", "website", "engine", "book", "thesis", "wiki")
BRANCHES = ("feature", "fix", "draft", "topic", "trial", "hotfix")
VERBS = ("add", "fix", "update", "improve", "rework", "extend", "polish")


def _branch(rng: Random) -> str:
    return f"{rng.choice(BRANCHES)}-{rng.choice(ITEMS)}"


def _message(rng: Random) -> str:
    return f"{rng.choice(VERBS)} {rng.choice(WORDS)} {rng.choice(('page', 'list', 'section', 'text', 'table'))}"


def _messages(rng: Random, count: int) -> list[str]:
    return [f"{rng.choice(VERBS)} {word} {rng.choice(('page', 'list', 'text'))}" for word in rng.sample(WORDS, count)]


def _write(path: str, text: str) -> str:
    return f"printf '{text.replace(chr(10), chr(92) + 'n')}' > {path}"


def _commit(files: Tree, message: str) -> list[str]:
    """Setup lines that write files, given by name inside the repository, and commit everything."""
    return [*(_write(path, text) for path, text in files.items()), "git add -A", f"git commit -q -m '{message}'"]


def _repo(repo: str, *steps: list[str]) -> Record:
    """The fixture of a repository on which `steps` ran, in its folder."""
    script = [f"mkdir {repo}", f"cd {repo}", "git init -q -b main", *(line for step in steps for line in step)]
    return {"setup": lines(script)}


def _git(repo: str, command: str, *out: object) -> Record:
    """A check that `git command` prints the lines `out`."""
    return {"command": f"git -C {repo} {command}", "stdout": lines(out)}


def _expect(repo: str, checks: list[Record], files: Tree | None = None, absent: tuple[str, ...] = ()) -> Record:
    """The expectation on a repository: checks on the history, and what changed in the working tree."""
    listed: Record = {f"{repo}/{path}": {"text": text} for path, text in (files or {}).items()}
    listed |= {f"{repo}/{path}": {"absent": True} for path in absent}
    return {"files": listed, "ignore": [f"{repo}/.git/**"], "checks": checks}


def _git_task(instruction: str, commands: list[str], **more: Any) -> Task:
    return task(instruction, commands, {}, **more)


def _history(rng: Random, count: int) -> tuple[list[str], list[list[str]], Tree]:
    """Messages of `count` commits, their setup steps, and the tree they lead to: one new file a commit."""
    messages, names = _messages(rng, count), stems(rng, count)
    trees = [{f"{name}.txt": prose(rng, 1)} for name in names]
    whole: Tree = {}
    for tree in trees:
        whole |= tree
    return messages, [_commit(tree, message) for tree, message in zip(trees, messages, strict=True)], whole


def start_branch(rng: Random) -> Task:
    """A new branch, switched to."""
    repo, branch = rng.choice(REPOS), _branch(rng)
    _, steps, _ = _history(rng, 2)
    instruction = say(
        rng,
        f"In the git repository {repo} create the branch {branch} and switch to it.",
        f"Start a new branch called {branch} in {repo} and check it out.",
        f"I want to work on a fresh branch {branch} in the repository {repo}.",
    )
    checks = [
        _git(repo, "branch --format='%(refname:short)'", *sorted([branch, "main"])),
        _git(repo, "branch --show-current", branch),
    ]
    return _git_task(
        instruction, [f"git -C {repo} switch -q -c {branch}"], fixture=_repo(repo, *steps), expect=_expect(repo, checks)
    )


def tag_release(rng: Random) -> Task:
    """A lightweight tag on the current commit."""
    repo, tag = rng.choice(REPOS), f"v{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}"
    messages, steps, _ = _history(rng, 2)
    instruction = say(
        rng,
        f"Tag the latest commit of the repository {repo} as {tag}.",
        f"Mark the current state of {repo} with the git tag {tag}.",
        f"Put the tag {tag} on the newest commit in {repo}.",
    )
    checks = [_git(repo, "tag", tag), _git(repo, f"log -1 --format=%s {tag}", messages[-1])]
    return _git_task(
        instruction, [f"git -C {repo} tag {tag}"], fixture=_repo(repo, *steps), expect=_expect(repo, checks)
    )


def rename_branch(rng: Random) -> Task:
    """A branch other than the current one gets a new name."""
    repo = rng.choice(REPOS)
    old, new = f"{rng.choice(BRANCHES)}-{rng.choice(ITEMS[:12])}", f"{rng.choice(BRANCHES)}-{rng.choice(ITEMS[12:])}"
    _, steps, _ = _history(rng, 1)
    instruction = say(
        rng,
        f"Rename the branch {old} of the repository {repo} to {new}.",
        f"In {repo} the git branch {old} should be called {new}.",
        f"Give the branch {old} in {repo} the new name {new}.",
    )
    checks = [
        _git(repo, "branch --format='%(refname:short)'", *sorted(["main", new, f"{old}-2"])),
        _git(repo, "branch --show-current", "main"),
    ]
    fixture = _repo(repo, *steps, [f"git branch {old}", f"git branch {old}-2"])
    return _git_task(
        instruction, [f"git -C {repo} branch -m {old} {new}"], fixture=fixture, expect=_expect(repo, checks)
    )


def delete_branch(rng: Random) -> Task:
    """A merged branch goes, a look-alike stays."""
    repo, branch = rng.choice(REPOS), _branch(rng)
    _, steps, _ = _history(rng, 2)
    instruction = say(
        rng,
        f"Delete the merged branch {branch} from the repository {repo}.",
        f"{branch} in {repo} is merged: remove that git branch.",
        f"Drop the branch {branch} in {repo}; it has been merged already.",
    )
    checks = [_git(repo, "branch --format='%(refname:short)'", *sorted(["main", f"{branch}-2"]))]
    fixture = _repo(repo, *steps, [f"git branch {branch}", f"git branch {branch}-2"])
    return _git_task(
        instruction, [f"git -C {repo} branch -q -d {branch}"], fixture=fixture, expect=_expect(repo, checks)
    )


def discard_changes(rng: Random) -> Task:
    """One edited file back to its committed state; another edit stays."""
    repo, (a, b) = rng.choice(REPOS), stems(rng, 2)
    files = {f"{a}.txt": prose(rng, 2), f"{b}.txt": prose(rng, 2)}
    edits = [f"echo edited >> {name}" for name in files]
    instruction = say(
        rng,
        f"Throw away the uncommitted changes to {a}.txt in the repository {repo}, and to no other file.",
        f"In {repo} put {a}.txt back to how it was last committed; leave other edits alone.",
    )
    checks = [_git(repo, "status --porcelain", f" M {b}.txt")]
    fixture, expect = (
        _repo(repo, _commit(files, _message(rng)), edits),
        _expect(repo, checks, {f"{a}.txt": files[f"{a}.txt"]}),
    )
    return _git_task(instruction, [f"git -C {repo} restore {a}.txt"], fixture=fixture, expect=expect)


def unstage_file(rng: Random) -> Task:
    """One file leaves the index, its edit stays in the working tree."""
    repo, (a, b) = rng.choice(REPOS), stems(rng, 2)
    files = {f"{a}.txt": prose(rng, 1), f"{b}.txt": prose(rng, 1)}
    edits = [f"echo edited >> {name}" for name in files]
    instruction = say(
        rng,
        f"Unstage {a}.txt in the repository {repo} but keep its changes; other files stay staged.",
        f"In {repo} take {a}.txt out of what is to be committed, without losing the edit.",
    )
    checks = [
        _git(
            repo,
            "status --porcelain",
            *(f"{'' if name == b else ' '}M{' ' if name == b else ''} {name}.txt" for name in sorted([a, b])),
        )
    ]
    fixture = _repo(repo, _commit(files, _message(rng)), edits, ["git add -A"])
    return _git_task(
        instruction, [f"git -C {repo} restore --staged {a}.txt"], fixture=fixture, expect=_expect(repo, checks)
    )


def count_commits(rng: Random) -> Task:
    """How many commits lead to a branch that is not the current one."""
    repo, branch = rng.choice(REPOS), _branch(rng)
    shared, own = rng.randint(1, 5), rng.randint(1, 5)
    _, steps, _ = _history(rng, shared + own)
    instruction = say(
        rng,
        f"How many commits does the branch {branch} of {repo} have in all? Print only the number.",
        f"Count the commits reachable from {branch} in the repository {repo}; just the number.",
    )
    fixture = _repo(repo, *steps[:shared], [f"git switch -q -c {branch}"], *steps[shared:], ["git switch -q main"])
    expect = _expect(repo, [_git(repo, "branch --show-current", "main")])
    return _git_task(
        instruction,
        [f"git -C {repo} rev-list --count {branch}"],
        fixture=fixture,
        expect=expect,
        stdout=f"{shared + own}\n",
    )


def commit_all(rng: Random) -> Task:
    """Edits and new files in one commit."""
    repo, message, (a, b) = rng.choice(REPOS), _message(rng), stems(rng, 2)
    first = _commit({f"{a}.txt": prose(rng, 1)}, "start")
    edits = [f"echo edited >> {a}.txt", _write(f"{b}.txt", "new\n")]
    instruction = say(
        rng,
        f"Commit all changes in the repository {repo}, new files included, with the message '{message}'.",
        f"Record everything changed or new in {repo} as one git commit saying '{message}'.",
    )
    commands = [f"git -C {repo} add -A", f"git -C {repo} commit -q -m '{message}'"]
    checks = [
        _git(repo, "log --format=%s", message, "start"),
        _git(repo, "status --porcelain"),
        _git(repo, f"show HEAD:{b}.txt", "new"),
    ]
    return _git_task(instruction, commands, fixture=_repo(repo, first, edits), expect=_expect(repo, checks))


def commit_one(rng: Random) -> Task:
    """Only one of two edited files is committed."""
    repo, message, (a, b) = rng.choice(REPOS), _message(rng), stems(rng, 2)
    files = {f"{a}.txt": prose(rng, 1), f"{b}.txt": prose(rng, 1)}
    edits = [f"echo edited >> {name}" for name in files]
    instruction = say(
        rng,
        f"In {repo} commit only {a}.txt with the message '{message}'; other edits stay uncommitted.",
        f"Make a commit '{message}' in the repository {repo} that holds the change to {a}.txt and nothing else.",
    )
    commands = [f"git -C {repo} add {a}.txt", f"git -C {repo} commit -q -m '{message}'"]
    checks = [
        _git(repo, "log --format=%s", message, "start"),
        _git(repo, "status --porcelain", f" M {b}.txt"),
        _git(repo, "show --format= --name-only HEAD", f"{a}.txt"),
    ]
    return _git_task(
        instruction, commands, fixture=_repo(repo, _commit(files, "start"), edits), expect=_expect(repo, checks)
    )


def ignore_pattern(rng: Random) -> Task:
    """A new .gitignore, committed; the ignored file stays untracked."""
    repo, message = rng.choice(REPOS), _message(rng)
    ext = rng.choice(("log", "tmp", "bak", "swp", "cache", "out", "pid"))
    a, b = stems(rng, 2)
    first, edits = _commit({f"{a}.txt": prose(rng, 1)}, "start"), [f"touch {b}.{ext}"]
    instruction = say(
        rng,
        f"Make git ignore all .{ext} files in {repo} by a .gitignore "
        f"there, and commit it with the message '{message}'.",
        f"Add a .gitignore with the line *.{ext} to the repository {repo} and commit it as '{message}'.",
    )
    commands = [
        f"echo '*.{ext}' > {repo}/.gitignore",
        f"git -C {repo} add .gitignore",
        f"git -C {repo} commit -q -m '{message}'",
    ]
    checks = [
        _git(repo, "log --format=%s", message, "start"),
        _git(repo, "ls-tree --name-only HEAD", ".gitignore", f"{a}.txt"),
        _git(repo, "status --porcelain"),
    ]
    expect = _expect(repo, checks, {".gitignore": f"*.{ext}\n"})
    return _git_task(instruction, commands, fixture=_repo(repo, first, edits), expect=expect)


def rename_tracked(rng: Random) -> Task:
    """A tracked file is renamed and the renaming committed."""
    repo, message, (a, b, c) = rng.choice(REPOS), _message(rng), stems(rng, 3)
    files = {f"{a}.txt": prose(rng, 3), f"{c}.txt": prose(rng, 1)}
    instruction = say(
        rng,
        f"In {repo} rename the tracked file {a}.txt to {b}.txt and commit with the message '{message}'.",
        f"Give {a}.txt in the repository {repo} the name {b}.txt, and commit that as '{message}'.",
    )
    commands = [f"git -C {repo} mv {a}.txt {b}.txt", f"git -C {repo} commit -q -m '{message}'"]
    checks = [
        _git(repo, "log --format=%s", message, "start"),
        _git(repo, "ls-tree --name-only HEAD", *sorted([f"{b}.txt", f"{c}.txt"])),
        _git(repo, "status --porcelain"),
    ]
    expect = _expect(repo, checks, {f"{b}.txt": files[f"{a}.txt"]}, (f"{a}.txt",))
    return _git_task(instruction, commands, fixture=_repo(repo, _commit(files, "start")), expect=expect)


def new_repository(rng: Random) -> Task:
    """A folder of files becomes a repository with one commit."""
    repo, message, (a, b) = f"{rng.choice(REPOS)}{rng.randint(2, 40)}", _message(rng), stems(rng, 2)
    before = {f"{repo}/{a}.txt": prose(rng, 1), f"{repo}/{b}/{a}.md": prose(rng, 1)}
    instruction = say(
        rng,
        f"Turn the folder {repo} into a git repository on branch main and commit all its files as '{message}'.",
        f"Put {repo} under git, branch main, with a first commit '{message}' of everything in it.",
    )
    commands = [f"git init -q -b main {repo}", f"git -C {repo} add -A", f"git -C {repo} commit -q -m '{message}'"]
    checks = [
        _git(repo, "log --format=%s main", message),
        _git(repo, "ls-tree -r --name-only HEAD", *sorted([f"{a}.txt", f"{b}/{a}.md"])),
        _git(repo, "status --porcelain"),
    ]
    expect = {"ignore": [f"{repo}/.git/**", f"{repo}/.git"], "checks": checks}
    return task(instruction, commands, before, expect=expect)


def merge_branch(rng: Random) -> Task:
    """A branch merged with a merge commit, then deleted."""
    repo, branch = rng.choice(REPOS), _branch(rng)
    messages, steps, tree = _history(rng, 3)
    instruction = say(
        rng,
        f"In {repo} merge the branch {branch} into main with a merge "
        f"commit saying 'merge {branch}', then delete {branch}.",
        f"Bring {branch} into main of the repository {repo} by a merge commit 'merge {branch}', and remove the branch.",
    )
    commands = [f"git -C {repo} merge -q --no-ff -m 'merge {branch}' {branch}", f"git -C {repo} branch -q -d {branch}"]
    fixture = _repo(repo, steps[0], [f"git switch -q -c {branch}"], *steps[1:], ["git switch -q main"])
    checks = [
        _git(repo, "log --format=%s --first-parent main", f"merge {branch}", messages[0]),
        _git(repo, "branch --format='%(refname:short)'", "main"),
    ]
    added = dict(list(tree.items())[1:])
    return _git_task(instruction, commands, fixture=fixture, expect=_expect(repo, checks, added))


def pick_commit(rng: Random) -> Task:
    """The newest commit of another branch onto main, its older ones not."""
    repo, branch = rng.choice(REPOS), _branch(rng)
    messages, steps, tree = _history(rng, 3)
    path, text = list(tree.items())[-1]
    instruction = say(
        rng,
        f"Copy only the latest commit of the branch {branch} onto main in the repository {repo}.",
        f"In {repo} apply the newest commit of {branch}, and no other, to main.",
    )
    fixture = _repo(repo, steps[0], [f"git switch -q -c {branch}"], *steps[1:], ["git switch -q main"])
    checks = [
        _git(repo, "log --format=%s main", messages[2], messages[0]),
        _git(repo, f"log --format=%s {branch}", *messages[::-1]),
        _git(repo, "status --porcelain"),
    ]
    commands = [f"git -C {repo} cherry-pick {branch}"]
    return _git_task(instruction, commands, fixture=fixture, expect=_expect(repo, checks, {path: text}))


def squash_commits(rng: Random) -> Task:
    """The last few commits become one."""
    repo, message, count = rng.choice(REPOS), _message(rng), rng.randint(2, 4)
    messages, steps, tree = _history(rng, count + 2)
    instruction = say(
        rng,
        f"Squash the last {count} commits of the repository {repo} into one with the message '{message}'.",
        f"In {repo} turn the newest {count} commits into a single commit '{message}', keeping all their changes.",
    )
    commands = [f"git -C {repo} reset -q --soft HEAD~{count}", f"git -C {repo} commit -q -m '{message}'"]
    checks = [
        _git(repo, "log --format=%s main", message, *messages[:2][::-1]),
        _git(repo, "ls-tree --name-only HEAD", *sorted(tree)),
        _git(repo, "status --porcelain"),
    ]
    return _git_task(instruction, commands, fixture=_repo(repo, *steps), expect=_expect(repo, checks))


def revert_latest(rng: Random) -> Task:
    """The newest commit is undone by a new one, which is then tagged."""
    repo, tag = rng.choice(REPOS), f"v{rng.randint(1, 9)}.{rng.randint(0, 30)}"
    messages, steps, tree = _history(rng, 3)
    lost = list(tree)[-1]
    instruction = say(
        rng,
        f"Undo the latest commit of {repo} with a new revert commit, default message, and tag the result {tag}.",
        f"Revert the newest commit in the repository {repo} (history kept, usual message), then tag that {tag}.",
    )
    commands = [f"git -C {repo} revert --no-edit HEAD", f"git -C {repo} tag {tag}"]
    subject = f'Revert "{messages[-1]}"'
    checks = [
        _git(repo, "log --format=%s main", subject, *messages[::-1]),
        _git(repo, f"log -1 --format=%s {tag}", subject),
        _git(repo, "status --porcelain"),
    ]
    return _git_task(instruction, commands, fixture=_repo(repo, *steps), expect=_expect(repo, checks, absent=(lost,)))


def who_added_line(rng: Random) -> Task:
    """The subject of the commit that brought a word into a file, saved outside the repository."""
    repo, (name, report) = rng.choice(REPOS), stems(rng, 2)
    messages, words = _messages(rng, 6), rng.sample(ITEMS, 4)
    wanted = rng.randint(1, 2)
    states = [words[: number + 1] for number in range(4)]
    # The word goes and comes back: only the first of the commits that touch it is the one.
    states += [[word for word in words if word != words[wanted]], words]
    steps = [_commit({f"{name}.txt": lines(state)}, message) for state, message in zip(states, messages, strict=True)]
    instruction = say(
        rng,
        f"Find the commit in {repo} that first added {words[wanted]} "
        f"to {name}.txt and save its subject line in {report}.txt.",
        f"Which commit of the repository {repo} brought {words[wanted]} "
        f"into {name}.txt? Write its subject to {report}.txt.",
    )
    command = f"git -C {repo} log --reverse --format=%s -S {words[wanted]} -- {name}.txt | head -n 1 > {report}.txt"
    expect = _expect(repo, [_git(repo, "status --porcelain")])
    expect["files"] = {f"{report}.txt": {"text": f"{messages[wanted]}\n"}}
    return _git_task(instruction, [command], fixture=_repo(repo, *steps), expect=expect)


GENERATOR = ShellGenerator(
    "git",
    {
        1: (start_branch, tag_release, rename_branch, delete_branch, discard_changes, unstage_file, count_commits),
        2: (commit_all, commit_one, ignore_pattern, rename_tracked, new_repository),
        3: (merge_branch, pick_commit, squash_commits, revert_latest, who_added_line),
    },
)
