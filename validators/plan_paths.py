"""Which paths a plan needs to be there before it starts, read off its text by a small shell-word reader.

Knows how the usual commands take their paths (`grep PATTERN FILE...`, `cp SOURCE... DEST`, `find DIR -name GLOB`,
`tar -xf ARCHIVE`), follows `cd`, simple assignments and redirections, and leaves out what the plan makes itself. Reads
text only; what the paths should hold is plausible.py.
LIMIT: no shell: words built at run time (command substitution, arithmetic, arrays, `for` variables) are skipped.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

HOME = "/home/user"
LONGEST_STEP = 20_000
LARGEST_FILE = 16 << 20
WILD = re.compile(r"[*?\[]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n(?:.*?\n)?[\t ]*\2(?=\n|$)", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<space>(?:[ \t\r]|\\\n)+)|(?P<comment>(?<![^\s;&|()])\#[^\n]*)"
    r"|(?P<redirect>\d*(?:<<<|<>|>>|>\||>&|<&|&>>|&>|<|>)(?!\())|(?P<end>\n|;;|;|\|\||\|&|\||&&|&|[()])"
    r"|(?P<word>(?:\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"|\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`|[<>]\((?:[^()]|\([^()]*\))*\)"
    r"|[^\s;&|()<>'\"\\`])+)|(?P<odd>.)",
    re.DOTALL,
)
_PIECE = re.compile(r"\\(.)|'([^']*)'|\"((?:\\.|[^\"\\])*)\"|([^\\'\"]+)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_INNER = re.compile(r"'[^']*'|\$\(((?:[^()]|\([^()]*\))*)\)|`([^`]*)`|[<>]\(((?:[^()]|\([^()]*\))*)\)")

_KEYWORDS = ("if", "then", "elif", "else", "while", "until", "do", "done", "fi", "!", "{", "}", "time")
_PREFIXES = {"sudo": "u", "nohup": "", "env": "u", "nice": "n", "timeout": "sk", "command": "", "exec": "", "time": "",
             "xargs": "InPLdEsa", "stdbuf": "oei", "ionice": "cn", "setsid": "", "builtin": ""}  # fmt: skip
# Options that take the next word, of commands whose other words are files.
_FILES = {
    "cat": "", "head": "nc", "tail": "nc", "wc": "", "sort": "kto", "uniq": "fsw", "nl": "sbw", "tac": "", "rev": "",
    "less": "", "more": "", "cut": "dfcb", "paste": "d", "join": "t12oje", "comm": "", "diff": "U", "cmp": "n",
    "file": "", "stat": "cf", "md5sum": "", "sha1sum": "", "sha256sum": "", "sha512sum": "", "cksum": "", "base64": "w",
    "xxd": "lsc", "od": "AtNj", "hexdump": "nse", "strings": "n", "gzip": "", "gunzip": "", "zcat": "", "bzip2": "",
    "bunzip2": "", "bzcat": "", "xz": "", "unxz": "", "xzcat": "", "source": "", ".": "", "fold": "w", "fmt": "w",
    "expand": "t", "unexpand": "t", "column": "tso", "split": "lbnCa", "csplit": "fn", "shuf": "noi", "iconv": "fto",
    "rm": "", "shred": "n", "readlink": "", "realpath": "", "ls": "I", "du": "d", "tree": "LIP", "unzip": "dx",
    "pr": "", "b2sum": "", "base32": "w", "crontab": "u", "python3": "cm", "unlink": "", "truncate": "s",
    "rmdir": "", "tsort": "", "look": "", "zgrep": "", "numfmt": "",
}  # fmt: skip
# The same, of commands whose first word is a pattern, a program or a mode.
_PATTERN_THEN_FILES = {
    "grep": "eABCmfd", "egrep": "eABCmf", "fgrep": "eABCmf", "sed": "efl", "awk": "Fvf", "gawk": "Fvf", "mawk": "Fvf",
    "jq": "", "perl": "eI", "chmod": "", "chown": "", "chgrp": "", "touch": "drt",
}  # fmt: skip
_COPIES = {"cp": "tS", "mv": "tS", "ln": "tS", "install": "mtog", "rsync": "e"}
_TESTS = ("test", "[", "[[")
_LISTS = ("ls", "du", "tree")
ANY_FILE = "notes.txt"


@dataclass(slots=True)
class FileNeed:
    """A file that ought to be there: what it ought to hold, whether last changed long ago, its least size in bytes."""

    words: list[str] = field(default_factory=list)
    is_old: bool = False
    size: int = 0


@dataclass(slots=True)
class Needs:
    """What a plan needs, by path under the home folder: files (globs too), folders, repositories and their branches."""

    files: dict[str, FileNeed] = field(default_factory=dict)
    dirs: set[str] = field(default_factory=set)
    repos: dict[str, list[str]] = field(default_factory=dict)


def read_paths(commands: list[str]) -> Needs:
    """Gives what a plan needs to be there before it starts. LIMIT: a step beyond 20,000 characters is not read."""
    reader = _Reader()
    for command in commands:
        if len(command) <= LONGEST_STEP:
            reader.script(command)
    return reader.needs


def words_of(script: str) -> Iterator[list[str]]:
    """Yields the simple commands of a script as raw words, quotes and redirections (`>`, `2>>`) still in them."""
    text = _HEREDOC.sub(lambda match: match[3] + "\n", script)
    words: list[str] = []
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind in ("word", "redirect"):
            words.append(token[0])
        elif kind == "end":
            if words:
                yield words
            words = []
    if words:
        yield words


class _Reader:
    """Goes through a plan as a shell would, with a folder and variables, and keeps what it needs."""

    def __init__(self) -> None:
        self.needs = Needs()
        self.made: set[str] = set()
        self.folder = HOME
        self.variables = {"HOME": HOME, "PWD": HOME, "USER": "user"}

    def script(self, text: str) -> None:
        """Reads a script."""
        for words in words_of(text):
            for word in words:
                for inner in _INNER.finditer(word):
                    self.script(inner[1] or inner[2] or inner[3] or "")
            self._command(words)

    def _command(self, words: list[str]) -> None:
        while words and (words[0] in _KEYWORDS or _ASSIGNMENT.match(words[0])):
            name, found, value = words[0].partition("=")
            if found and (known := self._plain(value)) is not None:
                self.variables[name] = known
            words = words[1:]
        words = self._redirected(words)
        if not words:
            return
        if words[0] in ("for", "select") and "in" in words:
            for word in words[words.index("in") + 1 :]:
                if WILD.search(word) or "." in word or "/" in word:
                    self._read(word)
            return
        name = posixpath.basename(self._plain(words[0]) or "")
        if name in _PREFIXES:
            self._command(self._without_options(words[1:], _PREFIXES[name], is_timeout=name == "timeout"))
            return
        handler = getattr(self, f"_do_{name}", None)
        if handler:
            handler(words[1:])
        elif name in _FILES:
            self._files(name, *self._split(words[1:], _FILES[name]))
        elif name in _PATTERN_THEN_FILES:
            self._pattern(name, *self._split(words[1:], _PATTERN_THEN_FILES[name]))
        elif name in _COPIES:
            self._copies(name, *self._split(words[1:], _COPIES[name]))
        elif name in _TESTS:
            self._test(words[1:])

    def _redirected(self, words: list[str]) -> list[str]:
        """Gives the words without redirections, after noting what those read and make."""
        left: list[str] = []
        todo = iter(words)
        for word in todo:
            if not re.fullmatch(r"\d*(?:<<<|<>|>>|>\||>&|<&|&>>|&>|<|>)", word):
                left.append(word)
                continue
            target = next(todo, "")
            if word.endswith("<<<") or "&" in word.strip("&") or re.fullmatch(r"\d+|-", target):
                continue
            if "<" in word:
                self._read(target)
            else:
                self._make(target)
        return left

    # --- Commands ---------------------------------------------------------------------------------------------------

    def _files(self, name: str, files: list[str], _options: dict[str, str]) -> None:
        for word in files or (["."] if name in _LISTS else []):
            if name in _LISTS and not _looks_like_file(word):
                self._read_dir(word, [ANY_FILE])
            elif name == "rmdir":
                self._read_dir(word)
            else:
                self._read(word)

    def _pattern(self, name: str, files: list[str], options: dict[str, str]) -> None:
        pattern = options.get("e") or ("" if "f" in options and name != "grep" else files.pop(0) if files else "")
        if name == "touch":
            for word in [pattern, *files]:
                self._make(word)
            return
        hints = _hints(name, self._plain(pattern) or "")
        if name in ("grep", "egrep", "fgrep") and {"r", "R"} & options.keys():
            for word in files or ["."]:
                self._read_dir(word, [ANY_FILE], FileNeed(words=hints))
            return
        for word in files:
            if not (name.endswith("awk") and _ASSIGNMENT.match(word)):
                self._read(word, hints)

    def _copies(self, name: str, files: list[str], options: dict[str, str]) -> None:
        target = options.get("t") or (files.pop() if len(files) > 1 else "")
        is_deep = bool({"r", "R", "a"} & options.keys()) or name in ("mv", "rsync")
        for word in files:
            if name == "ln" and "s" in options and "/" not in word and WILD.search(word) is None:
                continue  # a link's target is read from where the link lies
            if is_deep and not _looks_like_file(word):
                self._read_dir(word, [ANY_FILE])
            else:
                self._read(word)
        path = self._path(target)
        if len(files) > 1 or target.endswith("/") or any(WILD.search(word) for word in files) or "t" in options:
            if path and path not in self.made:
                self._read_dir(target)
        else:
            self._make(target)

    def _test(self, words: list[str]) -> None:
        for option, word in pairwise(words):
            if option in ("-f", "-e", "-s", "-r", "-w", "-x"):
                self._read(word)
            elif option == "-d":
                self._read_dir(word)

    def _do_bash(self, words: list[str]) -> None:
        files, options = self._split(words, "co")
        if "c" in options:
            self.script(self._plain(options["c"]) or "")
        elif files:
            self._read(files[0])

    _do_sh = _do_bash

    def _do_cd(self, words: list[str]) -> None:
        files, _ = self._split(words, "")
        word = files[0] if files else "~"
        self._read_dir(word)
        path = self._path(word)
        self.folder = posixpath.join(HOME, path) if path is not None else self.folder

    _do_pushd = _do_cd

    def _do_mkdir(self, words: list[str]) -> None:
        for word in self._split(words, "m")[0]:
            self._make(word)

    def _do_tee(self, words: list[str]) -> None:
        for word in self._split(words, "")[0]:
            self._make(word)

    def _do_find(self, words: list[str]) -> None:
        expression = next((n for n, word in enumerate(words) if word[0] in "-!(\\"), len(words))
        tests = words[expression:]
        names = [self._plain(tests[n + 1]) or "" for n in range(len(tests) - 1) if tests[n] in ("-name", "-iname")]
        is_dirs = "d" in [tests[n + 1] for n in range(len(tests) - 1) if tests[n] == "-type"]
        values = {tests[n]: tests[n + 1] for n in range(len(tests) - 1)}
        is_old = any(values.get(name, "").startswith("+") for name in ("-mtime", "-mmin", "-atime", "-ctime"))
        need = FileNeed(is_old=is_old, size=_size(values.get("-size", "")))
        for word in words[:expression] or ["."]:
            if is_dirs:
                self._read_dir(word)
                for name in names:
                    self._read_dir(posixpath.join(word, example(name)))
            else:
                self._read_dir(word, names or [ANY_FILE], need)
        for n in range(len(tests) - 1):
            if tests[n] == "-newer":
                self._read(tests[n + 1])
            elif tests[n] in ("-exec", "-execdir", "-ok"):
                self._command([word for word in tests[n + 1 :] if word not in ("{}", "\\;", ";", "+")])
                return

    def _do_tar(self, words: list[str]) -> None:
        if words and not words[0].startswith("-"):
            words = [f"-{words[0]}", *words[1:]]
        files, options = self._split(words, "fCTX")
        archive, folder = options.get("f", ""), self.folder
        if {"x", "t"} & options.keys():
            self._read(archive)
            if "C" in options:
                self._read_dir(options["C"])
            return
        if "C" in options and (path := self._path(options["C"])) is not None:
            self._read_dir(options["C"])
            self.folder = posixpath.join(HOME, path)
        for word in files:
            if _looks_like_file(word):
                self._read(word)
            else:
                self._read_dir(word, [ANY_FILE])
        self.folder = folder
        self._make(archive)

    def _do_zip(self, words: list[str]) -> None:
        files, options = self._split(words, "x")
        for word in files[1:]:
            if "r" in options and not _looks_like_file(word):
                self._read_dir(word, [ANY_FILE])
            else:
                self._read(word)
        self._make(files[0] if files else "")

    def _do_git(self, words: list[str]) -> None:
        files, options = self._split(words, "Cc")
        folder = self.folder
        if "C" in options and (path := self._path(options["C"])) is not None:
            self.folder = posixpath.join(HOME, path)
        repo = self._path(".")
        verb, rest = (files[0], files[1:]) if files else ("", [])
        if verb in ("init", "clone"):
            self.made.add(self._path(rest[-1]) or "." if rest else repo or ".")
        elif verb and verb not in ("config", "help", "version") and repo is not None and repo not in self.made:
            branches = self.needs.repos.setdefault(repo, [])
            if verb in ("add", "rm", "mv", "blame", "restore"):
                for word in rest:
                    if word != ".":
                        self._read(word)
            is_new = {"b", "c", "B", "C"} & options.keys()
            if verb in ("checkout", "switch", "merge", "rebase", "branch") and rest and not is_new:
                name = self._plain(rest[-1])
                if name and (verb != "branch" or {"d", "D"} & options.keys()) and not name.startswith(("HEAD", "-")):
                    branches.append(name)
        self.folder = folder

    # --- Words ------------------------------------------------------------------------------------------------------

    def _split(self, words: list[str], with_value: str) -> tuple[list[str], dict[str, str]]:
        """Gives the plain words and the options by letter; `with_value` letters take what follows them."""
        plain: list[str] = []
        options: dict[str, str] = {}
        todo = iter(words)
        for word in todo:
            if word == "--":
                plain += todo
            elif word.startswith("--"):
                name, _, value = word[2:].partition("=")
                options[{"recursive": "r", "directory": "C", "target-directory": "t"}.get(name, name)] = value
            elif word.startswith("-") and len(word) > 1:
                for at, letter in enumerate(word[1:], 2):
                    options[letter] = ""
                    if letter in with_value:
                        options[letter] = word[at:] or next(todo, "")
                        break
            else:
                plain.append(word)
        return plain, options

    def _without_options(self, words: list[str], with_value: str, *, is_timeout: bool) -> list[str]:
        at = 0
        while at < len(words) and (words[at].startswith("-") or _ASSIGNMENT.match(words[at])):
            at += 2 if words[at].startswith("-") and words[at][1:] in with_value and len(words[at]) == 2 else 1
        return words[at + 1 :] if is_timeout else words[at:]

    def _plain(self, word: str) -> str | None:
        """Gives a word without quotes and with known variables; None when it can't be known before the plan runs."""
        made = ""
        for match in _PIECE.finditer(word):
            escaped, single, double, bare = match.groups()
            if escaped is not None or single is not None:
                made += escaped or single or ""
                continue
            text = bare if double is None else re.sub(r"\\([$`\"\\])", r"\1", double)
            for variable in _VARIABLE.finditer(text):
                if (variable[1] or variable[2]) not in self.variables:
                    return None
            text = _VARIABLE.sub(lambda variable: self.variables[variable[1] or variable[2]], text)
            if re.search(r"\$[({\d@*#?!$-]|`|[<>]\(", text) or (bare is not None and _may_have_braces(text)):
                return None
            made += HOME + text[1:] if not made and double is None and re.match(r"~(?=/|$)", text) else text
        return made

    def _path(self, word: str) -> str | None:
        """Gives a word as a path under the home folder, "." for that itself; None when it is none."""
        text = self._plain(word)
        if (
            not text or text == "-" or re.search(r"[\0\n]|\{\}|^[\w.@-]+:", text)
        ):  # xargs' place-holder, another machine
            return None
        full = posixpath.normpath(posixpath.join(self.folder, text))
        if full == HOME:
            return "."
        return full.removeprefix(f"{HOME}/") if full.startswith(f"{HOME}/") else None

    def _is_made(self, path: str) -> bool:
        return any(path == made or path.startswith(f"{made}/") for made in self.made)

    def _read(self, word: str, hints: list[str] | None = None) -> None:
        path = self._path(word)
        if path is None or word.startswith("-"):
            return
        if path == "." or word.endswith("/"):
            self._read_dir(word, [ANY_FILE])
        elif not self._is_made(path):
            self._need(path, FileNeed(words=hints or []))

    def _read_dir(self, word: str, names: list[str] | None = None, need: FileNeed | None = None) -> None:
        path = self._path(word)
        if path is None or WILD.search(path) or self._is_made(path):
            return
        if path != ".":
            self.needs.dirs.add(path)
        for name in names or []:
            self._need(posixpath.normpath(posixpath.join(path, name)), need or FileNeed())

    def _need(self, path: str, need: FileNeed) -> None:
        known = self.needs.files.setdefault(path, FileNeed())
        known.words += [word for word in need.words if word not in known.words]
        known.is_old, known.size = known.is_old or need.is_old, max(known.size, need.size)

    def _make(self, word: str) -> None:
        """Notes a path that the plan makes; the folder it lies in must be there."""
        path = self._path(word)
        if path is None or path == ".":
            return
        parent = posixpath.dirname(path)
        if parent and not self._is_made(parent) and not WILD.search(parent):
            self.needs.dirs.add(parent)
        self.made.add(path)


def _may_have_braces(text: str) -> bool:
    """Says whether bash may make several words of this one (`{a,b}`, `{1..3}`)."""
    return "{" in text and "}" in text and ("," in text or ".." in text)


def _looks_like_file(word: str) -> bool:
    """Says whether a path is a file's by its name: it has an extension or a wildcard."""
    name = posixpath.basename(word.rstrip("/"))
    return not word.endswith("/") and (
        WILD.search(name) is not None or re.search(r"[^.]\.\w+['\"]?$", name) is not None
    )


def _hints(command: str, pattern: str) -> list[str]:
    """Gives the words that a file ought to hold for grep or sed to find something."""
    if command == "sed":
        found = re.match(r"(?:\d+,?\d*)?s([/|#,])(.*?)(?<!\\)\1", pattern)
        pattern = found[2] if found else ""
    elif command not in ("grep", "egrep", "fgrep", "zgrep"):
        return []
    parts = (part.strip("^$") for part in re.split(r"\\?\|", pattern))
    return [part for part in parts if part and re.fullmatch(r"[\w :,=@/#%-]+(?:\.\w+)?", part)]


def _size(test: str) -> int:
    """Gives the bytes of a file that find's `-size +N` takes; 0 for other tests and for sizes nobody should make."""
    found = re.fullmatch(r"\+(\d{1,6})([ckMGb]?)", test)
    if not found:
        return 0
    size = (int(found[1]) + 1) * {"c": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(found[2], 512)
    return size if size <= LARGEST_FILE else 0


def example(glob: str, word: str = "sample") -> str:
    """Gives a name that a glob matches, with `word` for each `*`."""
    return re.sub(r"\[(?![!^])(.)[^\]]*\]", r"\1", glob).replace("*", word).replace("?", "1")
