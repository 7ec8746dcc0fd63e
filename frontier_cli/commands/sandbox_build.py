"""frontier sandbox build."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier sandbox build
frontier sandbox build --tools rsync,sqlite3 -o sandbox.tar
frontier sandbox build --debootstrap bookworm --mirror http://deb.debian.org/debian"""


def command(
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="write the image as a tar file, without an engine")
    ] = "",
    tools: Annotated[
        list[str], typer.Option("--tools", metavar="NAME", help="more commands of this machine (repeat, or a,b)")
    ] = [],  # noqa: B006 (Typer copies it)
    debootstrap: Annotated[
        str,
        typer.Option("--debootstrap", metavar="SUITE", help="from a Debian suite's packages; auto = this machine's"),
    ] = "",
    mirror: Annotated[
        str, typer.Option("--mirror", metavar="URL", help="where debootstrap fetches them [this machine's apt source]")
    ] = "",
    json: options.Json = False,
) -> int:
    """Make the image that the Docker sandboxes run plans in, from this machine's tools: no registry, no network.

    The image built last is the one used. With --debootstrap, --tools names Debian packages.
    """
    from dataclasses import asdict

    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_ops.sandboxes import build_sandbox

    if mirror and not debootstrap:
        raise UsageError("--mirror is for --debootstrap", hint="frontier sandbox build --debootstrap auto --mirror URL")
    suite = {"": None, "auto": ""}.get(debootstrap, debootstrap)
    extra = options.split_names(tools)
    built = build_sandbox(suite=suite, mirror=mirror, extra=extra, output=output, on_note=console.note)
    if json:
        console.emit(dumps(asdict(built) | {"output": output}).decode())
        return 0
    where = f" in {output}" if output else ""
    console.emit(f"{built.tag}{where}  {built.size_bytes / 2**20:.0f} MiB, {built.num_tools} tools")
    console.emit(f"digest sha256:{built.digest}")
    for package in sorted(set(built.missing.values())):
        names = " ".join(name for name, needed in built.missing.items() if needed == package)
        console.emit(f"missing: {names}  (apt-get install {package})")
    return 0
