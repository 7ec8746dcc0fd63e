"""frontier serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console

EXAMPLES = """\
frontier serve release
frontier serve release --release current --port 8765 --request-log requests.jsonl
frontier serve release --backend http://127.0.0.1:8000 --backend-kind vllm"""


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="what frontier deploy --to was given")] = "release",
    release: Annotated[
        str, typer.Option("--release", metavar="ID", help="current, which is followed, or an id's first digits")
    ] = "current",
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="P", help="0 picks a free one")] = 8765,
    ready_file: Annotated[
        str, typer.Option("--ready-file", metavar="FILE", help="gets the URL once the first question can be answered")
    ] = "",
    request_log: Annotated[
        str, typer.Option("--request-log", metavar="FILE", help="a line per request, without any text")
    ] = "",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="answer profile at serving [the release's own]")
    ] = "",
    key_env: Annotated[
        str, typer.Option("--key-env", metavar="NAME", help="variable with the key clients must show; unset asks none")
    ] = "INFERENCE_API_KEY",
    soak: Annotated[
        float, typer.Option("--soak", min=0, metavar="SEC", help="trial time of a new release: if it dies, back")
    ] = 30.0,
    no_warm: Annotated[bool, typer.Option("--no-warm", help="unload the old release after the soak")] = False,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="don't ask releases their golden probe")] = False,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", min=0, metavar="N", help="requests that may wait; more get 429")
    ] = 16,
    backend: Annotated[
        str, typer.Option("--backend", metavar="URL", help="pass requests on to this server [one of our own]")
    ] = "",
    backend_kind: Annotated[
        str, typer.Option("--backend-kind", metavar="KIND", help="openai, vllm, sglang or llama")
    ] = "openai",
    backend_key_env: Annotated[
        str, typer.Option("--backend-key-env", metavar="NAME", help="variable with the key the backend wants")
    ] = "BACKEND_API_KEY",
) -> int:
    """Answer /v1/chat/completions and /v1/completions with a deployed release, as OpenAI's clients expect it.

    Follows `current`: what is deployed next is loaded beside, asked its golden probe and takes over without a dropped
    request; one that fails is rejected and `current` put back. Ends on SIGINT or SIGTERM, after answering what is
    being answered.
    """
    import os

    from frontier_core.atomic import write_bytes
    from frontier_core.errors import ConfigError
    from frontier_core.nearest import did_you_mean
    from frontier_ops.serve import ServeOptions, ServerInfo, serve
    from frontier_ops.serve_remote import KINDS

    def ready(info: ServerInfo) -> None:
        console.note(f"serving {info.model} on {info.url}")
        if ready_file:
            write_bytes(Path(ready_file), f"{info.url}\n".encode())

    if backend_kind not in KINDS:
        raise ConfigError(f"--backend-kind: unknown {backend_kind!r}", hint=did_you_mean(backend_kind, KINDS))
    options = ServeOptions(
        host=host,
        port=port,
        max_waiting=max_waiting,
        soak_s=soak,
        keep_warm=not no_warm,
        use_probe=not no_probe,
        profile=profile,
        api_key=os.environ.get(key_env, ""),
        backend=backend,
        backend_kind=backend_kind,
        backend_key=os.environ.get(backend_key_env, "") if backend else "",
    )
    log = Path(request_log) if request_log else None
    try:
        serve(
            Path(target), release=release, options=options, on_ready=ready, request_log=log, on_note=console.note
        )  # fmt: skip
    finally:
        if ready_file:
            Path(ready_file).unlink(missing_ok=True)
    return 0
