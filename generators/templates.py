"""Prompt templates: one YAML file each, front matter that says what is made, Jinja2 bodies that say how to ask for it.

    name: shell_plan            the file's name without .yaml
    spec: plan_v1               what an answer becomes: plan_v1 or chat_sft_v1
    skill: ""                   metadata of the records; "" is taken from the task
    domain: ""
    tools: [bash]               metadata.tool_set; [] is taken from the task
    review: no                  yes: a person shall look at each record (metadata.review = "yes")
    slots: {tone: [plain, terse], audience: adults, instruction: }
                                a list is drawn from by seed, a value is a default, nothing means the task must bring it
    safety: {policy: "...", forbid: [REGEX], refuse_rate: 0.25, tags: [harm]}
    schema: {...}               JSON Schema of the answer; without one the answer is text
    verify: no                  yes: the skill's verifier must accept the answer
    reply_tokens: 200           length of a usual answer, for estimates
    system, user: ...           the prompt; sees the slots, the task's keys, `refuse` and `policy`
    turns: [{role, content}]    chat_sft_v1: the record's turns; sees `answer` as well

Bodies run in a sandbox and an unknown name is an error. `./templates/prompts` wins over what ships. The front matter
alone (`read_front`) serves other kinds of templates. Asking teachers is generators/teachers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from itertools import zip_longest
from math import floor
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.nearest import did_you_mean
from frontier_core.records import Message
from frontier_core.resources import shipped
from frontier_core.seeds import child_seed

FOLDER = "templates/prompts"
SPECS = ("plan_v1", "chat_sft_v1")
ROLES = ("system", "user", "assistant")
DEFAULT_REPLY_TOKENS = 200

_FRONT = ("name", "skill", "domain", "tools", "safety", "slots", "review")
_SAFETY = ("policy", "forbid", "refuse_rate", "tags")
_PROMPT = ("spec", "schema", "verify", "reply_tokens", "system", "user", "turns")


_PLAIN = re.compile(r"(?<!\{)\{\{ *([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*) *\}\}")
_MARKUP = re.compile(r"\{[{%#]|\}\}")
_LINE_END = re.compile("\r\n?")
_RESERVED = frozenset(
    ("and", "or", "not", "in", "is", "if", "else", "for", "true", "false", "none", "True", "False", "None",
     "self", "super", "caller", "loop", "varargs", "kwargs")
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """What a template's records must keep to.

    `policy` is text for the prompt, `forbid` patterns no answer may hold, `refuse_rate` the share of tasks whose right
    answer is a refusal, `tags` go into metadata.safety_tags.
    """

    policy: str = ""
    forbid: tuple[re.Pattern[str], ...] = ()
    refuse_rate: float = 0.0
    tags: tuple[str, ...] = ()

    def must_refuse(self, index: int) -> bool:
        """Says whether task `index` (from 0) shall be refused: of the first n, floor(n * refuse_rate) are."""
        return floor((index + 1) * self.refuse_rate + 1e-9) > floor(index * self.refuse_rate + 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMatter:
    """What every kind of template says about itself."""

    name: str
    skill: str = ""
    domain: str = ""
    tools: tuple[str, ...] = ()
    safety: Safety = field(default_factory=Safety)
    slots: dict[str, Any] = field(default_factory=dict)
    review: bool = False

    def draw(self, *path: object) -> dict[str, Any]:
        """Gives a value for each slot that has some; slots only a task can fill are left out.

        Args:
            path: names and numbers of the place, e.g. (seed, skill, level, index); same place, same values.
        """
        drawn = {}
        for name, value in self.slots.items():
            if isinstance(value, list):
                drawn[name] = value[child_seed("template", self.name, name, *path) % len(value)]
            elif value is not None:
                drawn[name] = value
        return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """A template that asks a teacher; `digest` (blake2b of the file) tells one version of it from another."""

    front: FrontMatter
    spec: str
    user: str
    digest: str
    system: str = ""
    turns: tuple[Message, ...] = ()
    schema: dict[str, Any] | None = None
    verify: bool = False
    reply_tokens: int = DEFAULT_REPLY_TOKENS

    def prompt(self, values: Mapping[str, Any]) -> list[Message]:
        """Gives the turns that ask the teacher. Raises DataError when a value is missing; names it."""
        user: Message = {"role": "user", "content": fill(self.user, values)}
        if not self.system:
            return [user]
        return [{"role": "system", "content": fill(self.system, values)}, user]

    def record_turns(self, values: Mapping[str, Any]) -> list[Message]:
        """Gives the turns of the chat record; turns that come out empty are left out. Raises DataError as `prompt`."""
        turns = [{"role": turn["role"], "content": fill(turn["content"], values)} for turn in self.turns]
        return [turn for turn in turns if turn["content"]]


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        def getattr(self, obj: Any, attribute: str) -> Any:
            """A key of the data comes before a method of dict (`task.items`), and without an exception first."""
            return obj[attribute] if type(obj) is dict and attribute in obj else super().getattr(obj, attribute)

    # Prompts are text for a model, not markup for a browser: nothing may be escaped.
    return Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)


@cache
def _compiled(body: str) -> tuple[Any, dict[str, Any]]:
    """Gives the compiled body and the names that every body knows."""
    from jinja2 import TemplateSyntaxError

    try:
        template = _environment().from_string(body)
    except TemplateSyntaxError as error:
        raise ConfigError(f"the template's line {error.lineno}: {error.message}") from error
    known, template.globals = dict(template.globals), {}
    return template, known


@cache
def _plain_parts(body: str) -> tuple[str | tuple[str, ...], ...] | None:
    """Gives texts and names in turn when a body has no markup but `{{ name.name }}`, None when it has other."""
    pieces = _PLAIN.split(body)
    texts, names = pieces[::2], [tuple(name.split(".")) for name in pieces[1::2]]
    if any(map(_MARKUP.search, texts)) or any(not _RESERVED.isdisjoint(name) for name in names):
        return None
    parts: list[str | tuple[str, ...]] = []
    for text, name in zip_longest(texts, names, fillvalue=()):
        parts += [_LINE_END.sub("\n", str(text)), name]
    return tuple(part for part in parts if part)


def _fill_plainly(body: str, values: Mapping[str, Any]) -> str | None:
    """Does what Jinja2 would for a body that only names keys, at a fifth of its CPU; None where it must be asked."""
    parts = _plain_parts(body)
    if parts is None:
        return None
    out: list[str] = []
    for part in parts:
        if isinstance(part, str):
            out.append(part)
            continue
        if part[0] not in values:
            return None
        value = values[part[0]]
        for name in part[1:]:
            if type(value) is not dict or name not in value:
                return None
            value = value[name]
        try:
            out.append(value if type(value) is str else str(value))
        except ValueError:  # an integer with more digits than Python will write
            return None
    return "".join(out)


def fill(body: str, values: Mapping[str, Any]) -> str:
    """Gives a body with its values, white space at both ends taken off.

    Raises:
        DataError: a name has no value, or an expression fails on the values; says which.
        ConfigError: the body is no Jinja2 template.
    """
    if (plain := _fill_plainly(body, values)) is not None:
        return plain.strip()
    from jinja2 import TemplateError

    compiled, known = _compiled(body)
    try:
        # What `render` does, without its two further copies of the values.
        context = compiled.new_context({**known, **values}, shared=True)
        text = "".join(compiled.root_render_func(context))
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        hint = "a task brings it as a key, or the template gives it under `slots`"
        raise DataError(f"the template can't be filled: {error}", code="slot", hint=hint) from error
    return text.strip()


def template_names() -> list[str]:
    """Gives the names of all prompt templates, those of the working folder first."""
    return list(dict.fromkeys(path.stem for folder in _folders() for path in sorted(folder.glob("*.yaml"))))


def load_template(name: str) -> PromptTemplate:
    """Gives the prompt template of that name, or of that path when it ends in .yaml.

    Raises:
        UsageError: no such template; names the nearest.
        DataError: not YAML. ConfigError: a key is unknown, missing or out of range; names file and key.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _find(name)
    document, digest = read_yaml(path)
    return _prompt_template(document, path, digest)


def read_yaml(path: Path) -> tuple[dict[str, Any], str]:
    """Gives a template file's mapping and its digest (32 hex digits). Raises UsageError, DataError or ConfigError."""
    import yaml

    try:
        raw = path.read_bytes()
        document = yaml.safe_load(raw.decode())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"{path}: no such file", hint=f"templates there are: {', '.join(template_names())}") from error
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", path=str(path), code="invalid_utf8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "can't be parsed"
        line = mark.line + 1 if mark else 0
        raise DataError(f"not valid YAML: {problem}", path=str(path), line=line, code="yaml") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: is no mapping", hint="a template has name, spec and user at least")
    return document, blake2b(raw, digest_size=16).hexdigest()


def read_front(document: Mapping[str, Any], where: str) -> FrontMatter:
    """Gives the front matter of a template's mapping; keys of other parts are left to the caller.

    Args:
        document: the file's mapping.
        where: the file's name, for messages.
    Raises:
        ConfigError: a key has the wrong type; names it.
    """
    name = _typed(document, "name", str, "", where)
    if not name:
        raise ConfigError(f"{where}: 'name' is missing")
    slots = _typed(document, "slots", dict, {}, where)
    for slot, value in slots.items():
        if not isinstance(slot, str) or not slot.isidentifier():
            raise ConfigError(f"{where}: slots: {slot!r} is no name")
        if value == []:
            raise ConfigError(f"{where}: slots.{slot}: the list is empty")
    return FrontMatter(
        name=name,
        skill=_typed(document, "skill", str, "", where),
        domain=_typed(document, "domain", str, "", where),
        tools=_texts(document, "tools", where),
        safety=_safety(_typed(document, "safety", dict, {}, where), where),
        slots=slots,
        review=_typed(document, "review", bool, False, where),
    )


def _safety(entries: dict[str, Any], where: str) -> Safety:
    where = f"{where}: safety"
    _refuse_unknown(entries, _SAFETY, where)
    rate = entries.get("refuse_rate", 0.0)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        raise ConfigError(f"{where}: refuse_rate must be a number from 0 to 1")
    try:
        forbid = tuple(re.compile(pattern) for pattern in _texts(entries, "forbid", where))
    except re.error as error:
        raise ConfigError(f"{where}: forbid: {error.pattern!r} is no regular expression: {error}") from error
    policy = _typed(entries, "policy", str, "", where).strip()
    return Safety(policy=policy, forbid=forbid, refuse_rate=float(rate), tags=_texts(entries, "tags", where))


def _prompt_template(document: dict[str, Any], path: Path, digest: str) -> PromptTemplate:
    where = str(path)
    _refuse_unknown(document, (*_FRONT, *_PROMPT), where)
    front = read_front(document, where)
    if front.name != path.stem:
        raise ConfigError(f"{where}: its name is {front.name!r}", hint="name and file name must agree")
    spec = _typed(document, "spec", str, "chat_sft_v1", where)
    if spec not in SPECS:
        raise ConfigError(f"{where}: spec {spec!r}", hint=did_you_mean(spec, SPECS))
    schema = _typed(document, "schema", dict, {}, where) or None
    turns = _turns(_typed(document, "turns", list, [], where), where)
    if not _typed(document, "user", str, "", where).strip():
        raise ConfigError(f"{where}: 'user' is missing", hint="it is the prompt")
    if (spec == "chat_sft_v1") != bool(turns):
        raise ConfigError(f"{where}: 'turns' must be given for chat_sft_v1, and for it alone")
    if spec == "plan_v1" and "steps" not in (schema or {}).get("properties", {}):
        raise ConfigError(f"{where}: a plan_v1 template needs a schema with 'steps'", hint="see shell_plan.yaml")
    refused = (schema or {}).get("properties", {}).get("refused", {})
    if front.safety.refuse_rate and refused.get("type") != "boolean":
        raise ConfigError(f"{where}: with a refuse_rate the schema needs a boolean 'refused'")
    template = PromptTemplate(
        front=front,
        spec=spec,
        system=_typed(document, "system", str, "", where),
        user=document["user"],
        turns=turns,
        schema=schema,
        verify=_typed(document, "verify", bool, False, where),
        reply_tokens=_typed(document, "reply_tokens", int, DEFAULT_REPLY_TOKENS, where),
        digest=digest,
    )
    for body in (template.system, template.user, *(turn["content"] for turn in turns)):
        try:
            if _plain_parts(body) is None:
                _compiled(body)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error.message}") from error
    return template


def _turns(entries: list[Any], where: str) -> tuple[Message, ...]:
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or set(entry) != {"role", "content"} or entry["role"] not in ROLES:
            raise ConfigError(f"{where}: turns[{number}] must have a role ({', '.join(ROLES)}) and a content")
        if not isinstance(entry["content"], str):
            raise ConfigError(f"{where}: turns[{number}]: content must be a text")
    return tuple(entries)


def _folders() -> list[Path]:
    return [Path(FOLDER), shipped(FOLDER)]


def _find(name: str) -> Path:
    for folder in _folders():
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    raise UsageError(f"there is no template {name!r}", hint=did_you_mean(name, template_names()))


def _refuse_unknown(entries: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entries:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(str(key), known))


def _typed(entries: Mapping[str, Any], key: str, kind: type, default: Any, where: str) -> Any:
    value = entries.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {str: "a text", dict: "a mapping", bool: "yes or no", list: "a list", int: "a whole number"}
        raise ConfigError(f"{where}: {key!r} must be {words[kind]}")
    return value


def _texts(entries: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = _typed(entries, key, list, [], where)
    if not all(isinstance(value, str) for value in values):
        raise ConfigError(f"{where}: {key!r} must be a list of texts")
    return tuple(values)
