"""Whether a plan only talks: prints fixed words, in whatever they are wrapped, and neither does nor looks up anything.

A small shell reader goes through the plan once and stops at the first thing that is more than talk: a command it does
not know, a file that is read or written, a substitution, a background process, or a computed word that is printed.
LIMIT: scripts read from stdin or from files are not looked into.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"(?P<space>[ \t\r]+|\\\n)|(?P<newline>\n)|(?P<comment>(?<![^\s;&|()])\#[^\n]*)"
    r"|(?P<dynamic>\$\(|`|[<>]\(|\(\()|(?P<function>\([ \t]*\))"
    r"|(?P<redirect>(?:(?<![^\s;&|()])\d+)?(?:<<<|<<-?|<>|>>|>\||>&|<&|<|>)|&>>?)"
    r"|(?P<end>;;|;|\|\||\|&|\||&&|[()])|(?P<background>&)"
    r"|(?P<fixed>\\.|\$?'(?:\\.|[^'\\])*'|[^\s;&|()<>'\"\\`$*?\[{~#]+|[{?#~\[])"
    r"|(?P<double>\$?\"(?:\\.|[^\"\\`$]|\$(?!\())*\")"
    r"|(?P<variable>\$(?:\w+|\{\w+\}))|(?P<glob>\*)|(?P<odd>.)",
    re.DOTALL,
)
_VARIABLE = re.compile(r"\\.|\$(?:(\w+)|\{(\w+)\}|([^\s\w\"']))", re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=", re.ASCII)
_FOUND_AT_RUN_TIME = re.compile(r"^~|\{[^{},]*+,|\{[^{}.]*+\.\.|\?(?=[\w.])|\[[^\[\]]++\]")

_DEVICES = ("/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/fd/1", "/dev/fd/2")
_ALWAYS_THERE = re.compile(r"(?:~|/|\.|\.\.|\$HOME|\$\{HOME\}|\$PWD|/(?:bin|etc|home|usr|tmp|dev|dev/null))/?")
_LOOKS_AT_FILES = re.compile(r"-(?:[a-hkprstuwxGLNOS]|nt|ot|ef)")
_TEST_WORD = re.compile(r"-\w+|!|\]\]?")
_KEYWORDS = ("if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "{", "}", "time")
_PREFIXES = ("command", "builtin", "exec", "env", "nohup")
_INERT = ("cd", "sleep", "true", ":", "false", "wait", "break", "continue", "exit", "return", "unset")
_DECLARES = ("export", "local", "declare", "readonly", "typeset")
_SHELLS = ("bash", "sh", "dash")
_SCRIPTS = ("python", "python3", "perl", "ruby", "node", "php")
_LITERAL = r"(?:(?:\w++\s*+=\s*+)?(?:'(?:\\.|[^'\\])*+'|\"(?:\\.|[^\"\\])*+\"|\d++))"
_CALL = rf"(?:print|puts|say|echo|printf|console\.log)\b\s*+\(?\s*+(?:{_LITERAL}(?:\s*+,\s*+{_LITERAL})*+)?\s*+\)?"
_PRINTS = re.compile(rf"\s*+(?:BEGIN\s*+\{{\s*+)?(?:{_CALL}\s*+;?\s*+)++\}}?\s*+", re.DOTALL)
_CONVERSION = re.compile(r"%[^%a-zA-Z]*+[xXoeEfFgGaA]|\)T")
_DEEPEST = 4


def is_narration(commands: list[str]) -> bool:
    """Says whether a plan prints something and does nothing else. Takes time linear in the length of the plan."""
    reader = _Reader()
    try:
        for command in commands:
            reader.script(command)
    except _MoreThanTalk:
        return False
    return reader.has_talked


class _MoreThanTalk(Exception):
    """The plan does something, looks something up, or can't be read."""


@dataclass(slots=True)
class _Word:
    """A word of a command: its text without quotes, how it is written, and whether the shell computes any of it."""

    text: str
    raw: str
    is_computed: bool


@dataclass(slots=True)
class _Heredoc:
    end: str
    is_literal: bool
    is_indented: bool


@dataclass(slots=True)
class _Reader:
    """Reads scripts as a shell would; raises _MoreThanTalk at the first thing that is more than talk."""

    has_talked: bool = False
    depth: int = 0
    constants: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    words: list[_Word] = field(default_factory=list)
    pieces: list[_Word] = field(default_factory=list)
    redirect: str = ""
    heredocs: list[_Heredoc] = field(default_factory=list)

    def script(self, text: str) -> None:
        place = 0
        while place < len(text):
            token = _TOKEN.match(text, place)
            assert token is not None  # `odd` takes any character
            place = token.end()
            kind = token.lastgroup
            if kind in ("fixed", "double", "variable", "glob"):
                self.pieces.append(self._piece(kind, token[0]))
                continue
            if kind in ("dynamic", "background", "odd"):
                raise _MoreThanTalk
            self._end_word()
            if kind == "redirect":
                self.redirect = token[0].lstrip("0123456789")
            elif kind == "function":
                self._define()
            elif kind in ("end", "newline"):
                self._end_command()
                if kind == "newline":
                    place = self._bodies(text, place)
        self._end_word()
        self._end_command()
        self.heredocs.clear()

    def _piece(self, kind: str, raw: str) -> _Word:
        if kind == "double":
            inner = raw[raw.index('"') + 1 : -1]
            text = re.sub(r"\\([\"\\$`\n])", r"\1", inner)
            return _Word(text, inner if _ALWAYS_THERE.fullmatch(inner) else '""', self._is_computed(inner))
        if kind == "fixed" and raw[0] in "\\'$":
            return _Word(raw[1] if raw[0] == "\\" else raw[raw.index("'") + 1 : -1], "''", False)
        return _Word(raw, raw, kind == "glob" or (kind == "variable" and self._is_computed(raw)))

    def _is_computed(self, text: str) -> bool:
        """Says whether a text holds a variable whose value the plan's text does not give, or a substitution."""
        for found in _VARIABLE.finditer(text):
            name = found[1] or found[2]
            if name is not None and not name.isdigit() and (name not in self.constants or name in self.computed):
                return True
            if found[3] is not None and found[3] not in "@*":
                return True
        return False

    def _end_word(self) -> None:
        pieces, self.pieces = self.pieces, []
        if not pieces:
            return
        text, raw = "".join(piece.text for piece in pieces), "".join(piece.raw for piece in pieces)
        word = _Word(text, raw, any(piece.is_computed for piece in pieces))
        if not self.redirect:
            self.words.append(word)
        elif self.redirect.startswith("<<") and self.redirect != "<<<":
            is_literal = word.raw != word.text
            self.heredocs.append(_Heredoc(word.text, is_literal, self.redirect == "<<-"))
        elif self.redirect == "<<<":
            if _at_run_time(word):
                raise _MoreThanTalk
        elif word.text not in _DEVICES and not (self.redirect in (">&", "<&") and re.fullmatch(r"\d+|-", word.text)):
            raise _MoreThanTalk
        self.redirect = ""

    def _bodies(self, text: str, place: int) -> int:
        """Reads the heredocs that start here; gives the place after them."""
        for heredoc in self.heredocs:
            start, is_over = place, False
            while place < len(text) and not is_over:
                end = text.find("\n", place)
                end = len(text) if end < 0 else end
                line = text[place:end]
                is_over = (line.lstrip("\t") if heredoc.is_indented else line) == heredoc.end
                place = end + 1
            body = text[start:place]
            if not heredoc.is_literal and ("`" in body or self._is_computed(body)):
                raise _MoreThanTalk
        self.heredocs.clear()
        return min(place, len(text))

    def _define(self) -> None:
        if not self.words:
            raise _MoreThanTalk
        self.functions.add(self.words[-1].text)
        self.words.clear()

    def _end_command(self) -> None:
        words, self.words = self.words, []
        start = 0
        while start < len(words) and (words[start].raw in _KEYWORDS or self._assign(words[start])):
            start += 1
        if start < len(words) and words[start].raw == "function" and len(words) > start + 1:
            self.functions.add(words[start + 1].text)
            start += 2
            while start < len(words) and words[start].raw == "{":
                start += 1
        while start < len(words) - 1 and words[start].raw in _PREFIXES:
            start += 1
        if start < len(words):
            self._command(words[start].text, words[start + 1 :])

    def _assign(self, word: _Word) -> bool:
        found = _ASSIGNMENT.match(word.raw)
        if found is None:
            return False
        value = _Word(word.text[found.end() :], word.raw[found.end() :], word.is_computed)
        is_computed = value.is_computed or value.raw.startswith("~") or found[0].endswith("+=")
        (self.computed if is_computed else self.constants).add(found[1])
        return True

    def _command(self, name: str, words: list[_Word]) -> None:
        name = re.sub(r"^(?:/usr)?/bin/", "", name)
        texts = [word.text for word in words]
        if name in self.functions:
            is_known = not any(map(_at_run_time, words))
        elif name in _INERT:
            is_known = True
        elif name == "set":
            is_known = bool(texts) and texts[0][:1] in ("-", "+")
        elif name in _DECLARES:
            is_known = bool(words) and all(self._assign(word) for word in words)
        elif name in ("test", "[", "[["):
            is_known = _decides_nothing(words)
        elif name == "for":
            # What the variable holds changes; printing it is more than fixed words.
            self.computed.update(texts[:1])
            is_known = True
        elif name == "tee":
            is_known = all(text in (*_DEVICES, "-a") for text in texts)
        else:
            self._talk(name, words)
            return
        if not is_known:
            raise _MoreThanTalk

    def _talk(self, name: str, words: list[_Word]) -> None:
        texts = [word.text for word in words]
        is_fixed = not any(map(_at_run_time, words))
        if name in _SHELLS and texts[:1] == ["-c"] and len(words) > 1 and is_fixed:
            self._nested(texts[1])
        elif name == "eval" and is_fixed:
            self._nested(" ".join(texts))
        elif not is_fixed or not _prints_words(name, texts):
            raise _MoreThanTalk
        self.has_talked = True

    def _nested(self, script: str) -> None:
        if self.depth >= _DEEPEST:
            raise _MoreThanTalk
        inner = _Reader(depth=self.depth + 1, constants=self.constants, computed=self.computed)
        inner.functions = self.functions
        inner.script(script)


def _prints_words(name: str, texts: list[str]) -> bool:
    """Says whether a command with these fixed words prints nothing else."""
    if name == "echo":
        return True
    if name == "printf":
        return bool(texts) and texts[0] != "-v" and not _converts(texts[0], texts[1:])
    if name == "cat":
        return all(text == "-" or re.fullmatch(r"-[a-zA-Z]+", text) for text in texts)
    if name in ("awk", "gawk", "mawk"):
        return len(texts) == 1 and "BEGIN" in texts[0] and _prints_literals(texts[0])
    if name in _SCRIPTS and len(texts) == 2 and texts[0] in ("-c", "-e", "-E", "-r"):
        return _prints_literals(texts[1], has_variables=not name.startswith("python"))
    return False


def _converts(form: str, values: list[str]) -> bool:
    """Says whether a printf makes something of its words: a date, another base, a rounded number, a code."""
    return _CONVERSION.search(form) is not None or any(re.match(r"0[xX\d]|['\"].", value) for value in values)


def _prints_literals(script: str, *, has_variables: bool = False) -> bool:
    if has_variables and re.search(r"[$@]\w|#\{", script):
        return False
    return _PRINTS.fullmatch(script) is not None


def _at_run_time(word: _Word) -> bool:
    """Says whether a word is what the shell makes of it: a variable's value, names of files, a folder, a sequence."""
    return word.is_computed or _FOUND_AT_RUN_TIME.search(word.raw) is not None


def _decides_nothing(words: list[_Word]) -> bool:
    """Says whether a test comes out the same in every world, so that it looks nothing up."""
    operands = [word for word in words if not _TEST_WORD.fullmatch(word.raw)]
    if any(_LOOKS_AT_FILES.fullmatch(word.raw) for word in words):
        return all(_ALWAYS_THERE.fullmatch(word.raw) for word in operands)
    return not any(word.is_computed for word in operands)
