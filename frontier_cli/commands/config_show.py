"""frontier config show."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier config show --origin
frontier config show synth verify --origin"""


def command(
    words: Annotated[list[str], typer.Argument(metavar="[COMMAND]", help="only this command's options")] = [],  # noqa: B006 (Typer copies it)
    origin: Annotated[bool, typer.Option("--origin", help="say where each value came from")] = False,
    json: options.Json = False,
) -> int:
    """Show what each option is set to by files and environment, and which of them won.

    Flag > FRONTIER_* > ./frontier.toml > ~/.config/frontier/config.toml > default.
    """
    from frontier_cli.parse import option_defaults, settings_of
    from frontier_cli.table import COMMANDS
    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_core.nearest import did_you_mean

    wanted = " ".join(words)
    names = [name for name in COMMANDS if not wanted or name == wanted or name.startswith(f"{wanted} ")]
    if not names:
        raise UsageError(f"no such command: frontier {wanted}", hint=did_you_mean(wanted, COMMANDS))
    is_anything_set = False
    for name in names:
        settings = settings_of(name)
        is_anything_set = is_anything_set or bool(settings)
        for key, default in option_defaults(name).items():
            value, source = settings.get(key, (default, "default"))
            if json:
                entry = {"command": name, "option": key, "value": value, "origin": source}
                console.emit(dumps(entry).decode())
            elif key in settings or wanted or origin:
                console.emit(f"{name}: {key} = {value!r}" + (f"  ({source})" if origin else ""))
    if not (is_anything_set or wanted or origin or json):
        console.note("nothing is set by files or environment; --origin shows the defaults")
    return 0
