"""frontier top."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier top
frontier top --json --once | head -c 300"""


def command(
    once: Annotated[bool, typer.Option("--once", help="one picture, then end")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, metavar="SEC", help="how often it is drawn")] = 2.0,
    home: jobs.Home = "",
    json: options.Json = False,
) -> int:
    """Show the loop live in a terminal: state, accuracy and weight per skill, the queue, this machine.

    Off a terminal it prints once; with --json a JSON object, once or every SEC seconds. Ctrl-C ends it.
    """
    import shutil
    import sys
    import time
    from pathlib import Path

    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_ops.monitor.top import lines, snapshot

    folder = Path(home or ".")
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="frontier top --home DIR")
    is_live = sys.stderr.isatty() and not once and not json

    def picture() -> str:
        size = shutil.get_terminal_size()
        return "\n".join(lines(snapshot(folder), width=size.columns, height=size.lines - 1))

    if is_live:
        return live(picture, every)
    while True:
        console.emit(dumps(snapshot(folder)).decode() if json else picture())
        if once or not json:
            return 0
        time.sleep(every)


def live(picture: object, every: float) -> int:
    """Draws a picture again and again on the terminal until Ctrl-C."""
    import time

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    assert callable(picture)
    screen = Console(stderr=True, no_color=not console.has_color())
    try:
        with Live(Text(console.visible(picture())), console=screen, screen=True, auto_refresh=False) as view:
            while True:
                view.update(Text(console.visible(picture())), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return 0
