"""Settings in layers, each value with its origin: flag > FRONTIER_* > ./frontier.toml > user file > default.

A key is an option's long name with underscores (`max_rejects`). At the top of a TOML file it is for every command that
has the option, in a table for one command only:

    sandbox = "native-ns"
    [synth.verify]
    timeout = 5.0

The environment works alike: FRONTIER_SANDBOX, FRONTIER_SYNTH_VERIFY_TIMEOUT. Flags are the command line's business; a
training run's own settings are trainer/config.py's.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean

PREFIX = "FRONTIER_"


class Setting(NamedTuple):
    """A value and where it came from: `environment FRONTIER_SANDBOX`, `frontier.toml`, ..."""

    value: Any
    origin: str


def config_files(cwd: Path, environ: Mapping[str, str]) -> list[Path]:
    """Gives the config files that exist, the weaker first: the user's, then the project's."""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    return [path for path in (home / "frontier" / "config.toml", cwd / "frontier.toml") if path.is_file()]


def command_settings(
    command: str,
    options: Collection[str],
    *,
    known: Mapping[str, Collection[str]],
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Setting]:
    """Gives what files and environment say about one command's options; the stronger layer wins.

    Args:
        command: its words, "synth verify".
        options: its option names with underscores.
        known: option names of every command, to tell a typo from another command's key.
        cwd: where frontier.toml is looked for; the working folder by default.
        environ: the environment; that of the process by default.
    Raises:
        ConfigError: a file can't be parsed, or holds a key or a table that no command has; names file and nearest.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Setting] = {}
    for path in config_files(cwd or Path(), environ):
        document = _read(path)
        _check(document, known, path)
        tables: list[tuple[Mapping[str, Any], str]] = [(document, str(path))]
        table: Any = document
        for word in command.split():
            table = table.get(word, {}) if isinstance(table, Mapping) else {}
        if isinstance(table, Mapping):
            tables.append((table, f"{path} [{command.replace(' ', '.')}]"))
        for values, origin in tables:
            found |= {key: Setting(values[key], origin) for key in options if _is_value(values.get(key))}
    return found | _from_environment(command, options, environ)


def _from_environment(command: str, options: Collection[str], environ: Mapping[str, str]) -> dict[str, Setting]:
    """One command's variables are stronger than those for every command."""
    found: dict[str, Setting] = {}
    for scope in ("", command.upper().replace(" ", "_") + "_"):
        for key in options:
            variable = f"{PREFIX}{scope}{key.upper()}"
            if variable in environ:
                found[key] = Setting(environ[variable], f"environment {variable}")
    return found


def _is_value(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping)


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _check(document: Mapping[str, Any], known: Mapping[str, Collection[str]], path: Path) -> None:
    everywhere = {key for names in known.values() for key in names}
    _check_table(document, (), everywhere, known, path)


def _check_table(
    table: Mapping[str, Any],
    words: tuple[str, ...],
    keys: Collection[str],
    known: Mapping[str, Collection[str]],
    path: Path,
) -> None:
    where = f"{path} [{'.'.join(words)}]" if words else str(path)
    for key, value in table.items():
        if not isinstance(value, Mapping):
            if key not in keys:
                raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(key, sorted(keys)))
            continue
        name = " ".join((*words, key))
        if not any(command == name or command.startswith(f"{name} ") for command in known):
            raise ConfigError(f"{where}: no command {name!r}", hint=did_you_mean(name, known))
        _check_table(value, (*words, key), known.get(name, ()), known, path)
