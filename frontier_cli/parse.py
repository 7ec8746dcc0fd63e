"""Turns a command's annotated function into a parser, by Typer, with every decoration off."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.exceptions import TyperException as ParseError
from typer.main import get_command

from frontier_cli.table import COMMANDS

__all__ = ["ParseError", "click_command"]


def click_command(name: str) -> Any:
    """Gives the parser of one command; only that command's module is imported."""
    module = import_module(f"frontier_cli.commands.{COMMANDS[name][0]}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name)(module.command)
    command: Any = get_command(app)
    command.standalone_mode = False
    return command
