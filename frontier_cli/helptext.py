"""Writes help/*.txt and docs/commands.md from the commands themselves: `make docs`. A test keeps them true.

The text ships, so that `-h` is one file read; the man page and the docs have the same source.
"""

from __future__ import annotations

import inspect
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

from frontier_cli.parse import click_command
from frontier_cli.table import COMMANDS

WIDTH = 100
EXIT_CODES = (
    "0 ok; 1 the answer is no (records rejected, gate failed); 2 usage or config; 3 environment missing; "
    "4 input data; 5 service; 70 our bug; 130 SIGINT; 141 SIGPIPE; 143 SIGTERM"
)
SHARED = (
    ("-q, --quiet", "no remarks on standard error"),
    ("-v, -vv", "more remarks; -vv shows traces"),
    ("--color WHEN", "auto, always or never"),
    ("-h, --help", "this text"),
)
SEE_ALSO = {
    "synth gen": ("synth verify", "synth replay", "reweight"),
    "synth verify": ("synth gen", "validate"),
    "synth format": ("synth verify", "train"),
    "synth replay": ("synth gen", "lineage show"),
    "synth teach": ("synth verify", "synth dedup", "synth review"),
    "synth dedup": ("synth coverage", "validate"),
    "synth coverage": ("synth gen", "synth dedup"),
    "synth review": ("synth teach", "synth format"),
    "synth spar": ("synth format", "train", "eval"),
    "import": ("convert", "validate", "synth dedup"),
    "convert": ("synth format", "validate"),
    "sandbox build": ("sandbox check",),
    "sandbox check": ("sandbox build", "synth verify"),
    "validate": ("synth verify", "train"),
    "lake add": ("lake ls", "lake query", "stream"),
    "lake ls": ("lake stats", "lake verify"),
    "lake stats": ("lake query", "lake ls"),
    "lake query": ("lake stats", "lake export", "stream"),
    "lake export": ("lake query",),
    "lake compact": ("lake gc", "lake ls"),
    "lake retire": ("lake ls", "lake gc", "lineage show"),
    "lake gc": ("lake compact", "lake verify"),
    "lake verify": ("lake ls", "lake gc"),
    "stream": ("reweight", "train"),
    "model init": ("train",),
    "model layers": ("model drift", "train"),
    "model drift": ("model layers", "train"),
    "train": ("model init", "eval", "telemetry ingest"),
    "checkpoints list": ("checkpoints verify", "checkpoints prune"),
    "checkpoints verify": ("checkpoints list", "train"),
    "checkpoints prune": ("checkpoints list", "checkpoints snapshot"),
    "checkpoints snapshot": ("checkpoints prune", "deploy"),
    "eval": ("train", "compare", "telemetry ingest"),
    "telemetry ingest": ("eval", "reweight"),
    "reweight": ("telemetry ingest", "synth gen", "reweight plot", "reweight replay"),
    "reweight plot": ("reweight", "report"),
    "reweight replay": ("reweight", "lineage show"),
    "curriculum status": ("curriculum advance", "telemetry ingest"),
    "curriculum advance": ("curriculum status", "curriculum set"),
    "curriculum set": ("curriculum advance", "reweight"),
    "compare": ("eval", "deploy"),
    "deploy": ("compare", "serve"),
    "deploy status": ("deploy", "deploy rollback"),
    "deploy rollback": ("deploy status", "serve"),
    "deploy verify": ("deploy status",),
    "deploy prune": ("deploy status",),
    "serve": ("deploy", "ask"),
    "ask": ("serve",),
    "hosts check": ("doctor", "deploy"),
    "doctor": ("hosts check", "sandbox check", "deploy"),
    "lineage show": ("lineage verify", "lineage graph", "report"),
    "lineage verify": ("lineage show", "lineage report"),
    "lineage report": ("lineage verify", "validate"),
    "lineage graph": ("lineage show", "lineage export"),
    "lineage export": ("lineage graph", "lineage verify"),
    "top": ("dashboard", "jobs watch"),
    "dashboard": ("top", "api", "report"),
    "api": ("dashboard", "jobs list"),
    "skills serve": ("skills generate", "synth gen"),
    "skills generate": ("skills serve", "synth gen"),
    "daemon run": ("daemon status", "jobs list"),
    "daemon status": ("daemon run", "jobs warnings"),
    "daemon pause": ("daemon resume",),
    "daemon resume": ("daemon pause",),
    "daemon stop": ("daemon run", "daemon pause"),
    "jobs submit": ("jobs work", "jobs list"),
    "jobs work": ("jobs submit", "jobs watch"),
    "jobs list": ("jobs watch", "jobs history"),
    "jobs watch": ("jobs list", "jobs warnings"),
    "jobs pause": ("jobs resume", "jobs stop"),
    "jobs resume": ("jobs pause",),
    "jobs stop": ("jobs cancel", "jobs retry"),
    "jobs cancel": ("jobs stop", "jobs retry"),
    "jobs retry": ("jobs list",),
    "jobs history": ("jobs list", "jobs rebuild"),
    "jobs warnings": ("jobs list", "jobs retry"),
    "jobs rebuild": ("jobs history",),
    "config show": ("validate",),
    "report": ("lineage show",),
}


def command_help(name: str) -> str:
    """Gives the help text of one command: purpose, usage, examples, what it does, options, exit codes, see also."""
    module = import_module(f"frontier_cli.commands.{COMMANDS[name][0]}")
    purpose, _, rest = (inspect.getdoc(module.command) or "").partition("\n")
    parameters = click_command(name).params
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    options = [p for p in parameters if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join([f"frontier {name}", *(p.metavar or p.name.upper() for p in arguments), "[OPTIONS]"])
    rows = [(p.metavar or p.name.upper(), p.help or "") for p in arguments]
    rows += [(_flags(option), _explain(option)) for option in options]
    parts = [
        f"frontier {name} - {purpose}",
        f"Usage: {usage}",
        "Examples:\n" + textwrap.indent(module.EXAMPLES, "  "),
        *([_fill(rest)] if rest.strip() else []),
        "Arguments and options:\n" + _rows([*rows, *SHARED]),
        "Exit codes:\n" + textwrap.fill(EXIT_CODES, WIDTH, initial_indent="  ", subsequent_indent="  "),
        "See also: " + ", ".join(f"frontier {other}" for other in SEE_ALSO[name]),
    ]
    return "\n\n".join(parts) + "\n"


def front_help() -> str:
    """Gives the text of `frontier -h`: the loop in two lines, every command, the shared options."""
    lines = [f"  {name:22}{line}" for name, (_, line) in COMMANDS.items()]
    parts = [
        "frontier - close the loop between training telemetry and training data",
        "Usage: frontier COMMAND [OPTIONS]",
        "Examples:\n  frontier synth gen -n 300 --seed 7 | frontier synth verify | frontier validate > train.jsonl\n"
        "  frontier telemetry ingest run eval.jsonl | frontier reweight - -o policy.jsonl",
        "Commands:\n" + "\n".join(lines),
        "Every command reads and writes JSON Lines; - is a pipe; X.jsonl.meta.json says what made X.jsonl.\n"
        "Records go to standard output, remarks to standard error.",
        "Options:\n" + _rows([*SHARED, ("-V, --version", "the version")]),
        "Exit codes:\n" + textwrap.fill(EXIT_CODES, WIDTH, initial_indent="  ", subsequent_indent="  "),
    ]
    return "\n\n".join(parts) + "\n"


def documents() -> dict[str, str]:
    """Gives every generated file by its path from the root of the checkout."""
    texts = {name: command_help(name) for name in COMMANDS}
    pages = [f"## frontier {name}\n\n```text\n{text}```\n" for name, text in texts.items()]
    intro = "# Commands\n\nWritten by `make docs` from the commands; the same text as `frontier COMMAND -h`.\n\n"
    return {
        "frontier_cli/help/frontier.txt": front_help(),
        **{f"frontier_cli/help/{name.replace(' ', '-')}.txt": text for name, text in texts.items()},
        "docs/commands.md": intro + "\n".join(pages),
    }


def _flags(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    return names if option.is_flag else f"{names} {option.metavar or option.type.name.upper()}"


def _explain(option: Any) -> str:
    shown = option.default if not callable(option.default) else None
    has_default = shown not in (None, "", False, [], ()) and not option.required and "[" not in (option.help or "")
    tail = f" [{shown}]" if has_default else " (required)" if option.required else ""
    return f"{option.help or ''}{tail}"


def _fill(text: str) -> str:
    paragraphs = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    return "\n\n".join(textwrap.fill(part, WIDTH) for part in paragraphs)


def _rows(rows: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> str:
    indent = 28
    lines = []
    for left, right in rows:
        head = f"  {left}"
        filled = textwrap.wrap(right, WIDTH - indent) or [""]
        if len(head) > indent - 2:
            lines.append(head)
            lines += [" " * indent + line for line in filled]
        else:
            lines.append(f"{head:{indent}}{filled[0]}".rstrip())
            lines += [" " * indent + line for line in filled[1:]]
    return "\n".join(lines)


def main() -> None:
    """Writes every generated file into the checkout."""
    root = Path(__file__).parent.parent
    for name, text in documents().items():
        (root / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
