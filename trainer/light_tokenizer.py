"""A model folder's tokenizer without transformers or torch: ids and chat text as the full one gives them, in 0.1 s.

For the dry run, which has to answer before a training library could even be imported. Reads tokenizer.json and the chat
template; a folder without a tokenizer.json (SentencePiece models) is not covered.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError


class LightTokenizer:
    """What trainer/chat_template.py and trainer/data.py ask of a tokenizer.

    Args:
        folder: the model's folder.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self.backend_tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            config = json.loads((folder / "tokenizer_config.json").read_bytes())
        except Exception as error:  # the Rust side raises bare Exceptions
            raise ConfigError(f"{folder}: the tokenizer can't be read: {error}") from error
        self.backend_tokenizer.no_padding()
        self.backend_tokenizer.no_truncation()
        self._tokens = {name: _text_of(config.get(name)) for name in ("bos_token", "eos_token", "pad_token")}
        self.eos_token = self._tokens["eos_token"]
        self.chat_template = _template(folder, config)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Gives the ids of a text."""
        ids: list[int] = self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def apply_chat_template(
        self, messages: list[Any], tokenize: bool = False, add_generation_prompt: bool = False
    ) -> str:
        """Gives the text of a conversation."""
        compiled = _compiled(self.chat_template)
        text: str = compiled.render(messages=messages, add_generation_prompt=add_generation_prompt, **self._tokens)
        return text


def _text_of(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _template(folder: Path, config: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template") or ""
    if isinstance(found, list):
        found = {entry["name"]: entry["template"] for entry in found}.get("default", "")
    return found if isinstance(found, str) else ""


@lru_cache(maxsize=8)
def _compiled(template: str) -> Any:
    """Compiles a template with what transformers offers it: loop controls, tojson, generation marks."""
    from datetime import datetime

    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 (as the base class has it)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    def fail(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, **more: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **more)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = fail
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)
