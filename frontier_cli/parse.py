"""Turns a command's annotated function into a parser, by Typer, undecorated; defaults come from config."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException as ParseError
from typer.main import get_command

from frontier_cli.table import COMMANDS
from frontier_core.config import PREFIX, Setting, command_settings, config_files

__all__ = ["ParseError", "click_command", "option_defaults", "parse", "settings_of"]


def click_command(name: str) -> Any:
    """Gives the parser of one command; only that command's module is imported."""
    module = import_module(f"frontier_cli.commands.{COMMANDS[name][0]}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name)(module.command)
    command: Any = get_command(app)
    command.standalone_mode = False
    return command


def parse(name: str, arguments: list[str]) -> tuple[Any, Any]:
    """Gives a command and the context of one call: flags over environment over files over defaults.

    Raises:
        ParseError: the arguments can't be parsed.
        ConfigError: a config file holds what no command has.
    """
    command = click_command(name)
    defaults = {key: setting.value for key, setting in _settings(name, command).items()}
    return command, command.make_context(f"frontier {name}", list(arguments), default_map=defaults)


def settings_of(name: str) -> dict[str, Setting]:
    """Gives what config files and environment set for one command, by parameter name."""
    return _settings(name, click_command(name))


def option_defaults(name: str) -> dict[str, Any]:
    """Gives a command's options by parameter name, with the defaults they have when nobody says otherwise."""
    command = click_command(name)
    names = _parameters(command).values()
    return {param.name: param.default for param in command.params if param in names}


def _settings(name: str, command: Any) -> dict[str, Setting]:
    files = config_files(Path(), os.environ)
    if not files and not any(variable.startswith(PREFIX) for variable in os.environ):
        return {}
    parameters = _parameters(command)
    # Only a file can hold a key that no command has, and only then are the other commands needed.
    known = {other: list(_parameters(click_command(other))) for other in COMMANDS} if files else {name: [*parameters]}
    settings = command_settings(name, list(parameters), known=known)
    return {parameters[key].name: _as_list(setting, parameters[key]) for key, setting in settings.items()}


def _parameters(command: Any) -> dict[str, Any]:
    """The options of a command by long flag with underscores, `--max-rejects` -> max_rejects; help is none of them."""
    options = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
    return {max(param.opts, key=len).lstrip("-").replace("-", "_"): param for param in options}


def _as_list(setting: Setting, param: Any) -> Setting:
    """A repeatable option takes one value too: FRONTIER_SKILL=binary,math_mc."""
    if param.multiple and not isinstance(setting.value, list):
        return Setting([setting.value], setting.origin)
    return setting
