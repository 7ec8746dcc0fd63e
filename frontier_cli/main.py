"""The front door: finds the command, runs it, and turns every way of ending into an exit code.

`-V` and `-h` are answered from static text, before anything is imported. Typer only parses the one command that runs;
we call it ourselves (make_context, invoke), so that exits are ours.
"""

from __future__ import annotations

import gc
import os
import sys
from errno import EDQUOT, EFBIG, EIO, ENOSPC

from frontier_cli.table import COMMANDS, find_command, group_commands

EXTRAS = dict.fromkeys(("torch", "transformers", "tokenizers", "accelerate", "safetensors", "peft"), "train")
EXTRAS |= dict.fromkeys(("starlette", "uvicorn", "httpx"), "serve") | dict.fromkeys(("httptools", "jinja2"), "llm")
EXTRAS |= {"rdflib": "graphs", "ray": "ray", "pyarrow": "parquet", "reasoning_gym": "rg"}
YOUNG_OBJECTS = 20_000
"""New objects before garbage is looked for: imports make thousands that all stay, a tenth of the start went there."""
EXIT_MISSING = 3
EXIT_USAGE, EXIT_BUG, EXIT_SIGINT, EXIT_SIGPIPE, EXIT_SIGTERM = 2, 70, 130, 141, 143


def run() -> None:
    """The console script: runs the process's command line and ends the process."""
    if sys.stdout is None or sys.stdin is None:
        os.write(2, b"error: standard input or output is closed\n")
        os._exit(EXIT_USAGE)
    gc.set_threshold(YOUNG_OBJECTS)
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if "torch" not in sys.modules:
        # Files are committed and children gone by now; tearing modules down one by one is 10 ms nobody needs.
        os._exit(code)
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Runs one command line and gives its exit code.

    Args:
        argv: the words after `frontier`; those of the process by default.
    """
    words = sys.argv[1:] if argv is None else argv
    before_dashes = words[: words.index("--")] if "--" in words else words
    if before_dashes and before_dashes[0] in ("-V", "--version"):
        from frontier_core.version import __version__

        return _print(f"frontier {__version__}\n")
    name, length = find_command(words)
    if not words or words[0] in ("-h", "--help", "help"):
        topic, _ = find_command(words[1:])
        return _print(_help_text(topic or "frontier"))
    if name and any(word in ("-h", "--help") for word in before_dashes):
        return _print(_help_text(name))
    if not name:
        return _unknown(words)
    return _run(name, words[length:])


def _help_text(name: str) -> str:
    path = os.path.join(os.path.dirname(__file__), "help", f"{name.replace(' ', '-')}.txt")
    with open(path, encoding="utf-8") as file:
        return file.read()


def _print(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_SIGPIPE
    except OSError as error:
        _drop_stdout()
        sys.stderr.write(f"error: standard output: {error.strerror}\n")
        return EXIT_MISSING
    return 0


def _unknown(words: list[str]) -> int:
    from frontier_core.nearest import did_you_mean

    group = group_commands(words[0])
    if group:
        if len(words) == 1 or words[1] in ("-h", "--help"):
            width = max(map(len, group)) + 2
            lines = [f"  frontier {name:{width}}{COMMANDS[name][1]}" for name in group]
            return _print("\n".join([f"{words[0]}: one of", *lines, "", "frontier COMMAND -h tells more", ""]))
        hint = did_you_mean(" ".join(words[:2]), group)
        sys.stderr.write(f"error: no such command: frontier {' '.join(words[:2])}\nhint: {hint}\n")
        return EXIT_USAGE
    known = dict.fromkeys(word for name in COMMANDS for word in (name, name.split()[0]))
    sys.stderr.write(f"error: no such command: frontier {words[0]}\nhint: {did_you_mean(words[0], known)}\n")
    return EXIT_USAGE


def _run(name: str, arguments: list[str]) -> int:
    from frontier_cli.guard import shadowing_file

    shadow = shadowing_file(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if shadow:
        sys.stderr.write(f"error: {shadow} shadows a package of frontier\nhint: run from another folder or rename it\n")
        return EXIT_MISSING
    from frontier_cli import console
    from frontier_core.atomic import drop_unfinished
    from frontier_core.errors import DataError, FrontierError

    try:
        arguments = console.take_global_options(arguments)
        with console.owning_stdout():
            return _invoke(name, arguments)
    except FrontierError as error:
        console.error(error.message, error.hint)
        console.trace()
        return error.exit_code
    except KeyboardInterrupt:
        console.error("interrupted")
        return EXIT_SIGINT
    except console.Terminated:
        console.error("terminated")
        return EXIT_SIGTERM
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_SIGPIPE
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT, EIO, EFBIG):
            return _bug(error)
        _drop_stdout()
        console.error(f"{error.filename or 'standard output'}: {error.strerror}", "free some space")
        return EXIT_MISSING
    except RecursionError:
        console.error("the input is nested too deep")
        return DataError.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            return _bug(error)
        console.error(f"{package} is not installed", f"pip install 'frontier-data-engine[{EXTRAS[package]}]'")
        return EXIT_MISSING
    except Exception as error:
        return _bug(error)
    finally:
        drop_unfinished()


def _bug(error: Exception) -> int:
    """Says that the fault is ours; -vv gets the trace."""
    from frontier_cli import console

    console.error(f"{type(error).__name__}: {error}", "this is a bug in frontier; -vv shows the trace")
    console.trace()
    return EXIT_BUG


def _invoke(name: str, arguments: list[str]) -> int:
    """Parses with Typer and runs the command's function; its return value is the exit code, None is 0."""
    from frontier_cli.console import error
    from frontier_cli.parse import ParseError, parse

    try:
        command, context = parse(name, arguments)
    except ParseError as mistake:
        error(mistake.format_message(), f"frontier {name} -h")
        return EXIT_USAGE
    with context:
        code = command.invoke(context)
    return int(code or 0)


def _drop_stdout() -> None:
    """Points fd 1 at nothing, so that the interpreter's last flush has nothing to complain about."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    run()
