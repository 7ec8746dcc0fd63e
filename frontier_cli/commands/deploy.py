"""frontier deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier deploy run --to release
frontier deploy run --to inference --wait 60
frontier deploy run/checkpoint-400 --to ml@gpu1:/srv/frontier/release --name tutor --dry-run"""


def command(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="run, checkpoint, adapter or model folder")],
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="DIR, HOST:DIR over ssh, or a host of config/hosts.json")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="the model's name for clients")] = "model",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="answer profile at serving [the run's own]")
    ] = "",
    base: Annotated[
        str, typer.Option("--base", metavar="DIR", help="the model an adapter belongs to [as its config says]")
    ] = "",
    no_probe: Annotated[bool, typer.Option("--no-probe", help="ship without a golden probe")] = False,
    evaluation: Annotated[
        str, typer.Option("--eval", metavar="FILE", help="its evaluation: no promotion when it got worse")
    ] = "",
    baseline: Annotated[
        str, typer.Option("--against", metavar="FILE", help="the evaluation of what is in service")
    ] = "",
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SEC", help="wait for a server's word; exit 1 if it rejects")
    ] = 0.0,
    dry_run: options.DryRun = False,
    force: options.Force = False,
    json: options.Json = False,
) -> int:
    """Put a checkpoint into service: blobs by sha256, a manifest last, `current` swapped in one rename.

    The same content twice sends nothing. An interrupted deploy leaves the old release or the new one, and the next
    goes on where it stopped. The run's verdict and the comparison gate it; --force promotes all the same and the audit
    says so.
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from frontier_core.errors import FrontierError, UsageError
    from frontier_core.jsonl import dumps
    from frontier_ops import deploy
    from frontier_ops.probe import probe_folder
    from frontier_ops.promotion import objections, wait_for_server
    from frontier_ops.remote import RemoteTarget, remote_place

    if bool(evaluation) != bool(baseline):
        raise UsageError("--eval and --against go together", hint="frontier eval writes both")
    place = remote_place(to)
    shipment = deploy.prepare(
        Path(checkpoint),
        name=name,
        profile=profile,
        base=Path(base) if base else None,
        probe=None if no_probe or dry_run else lambda folder, trained: probe_folder(folder, profile=trained),
        target=Path(to) if place is None else None,
        on_note=console.note,
    )
    against = objections(shipment.found.folder, evaluation=evaluation, baseline=baseline)
    for words in against:
        console.note(f"{'promoted all the same' if force else 'not promoted'}: {words}")
    if against and not force:
        raise FrontierError(f"{checkpoint}: {against[0]}", hint="--force promotes it all the same")
    extra = {"forced": against} if against else {}
    since = datetime.now(UTC).isoformat(timespec="milliseconds")
    if place is None:
        result = deploy.deploy(
            Path(checkpoint), Path(to), dry_run=dry_run, force=force, shipment=shipment, extra=extra,
            on_note=console.note,
        )  # fmt: skip
    else:
        with RemoteTarget(place, console.note) as remote:
            result = remote.deploy(shipment, dry_run=dry_run, force=force, extra=extra)
    done = "would put" if dry_run else "put" if result.changed else "already has"
    copied = f"{result.copied_bytes / 1e6:.1f} of {result.num_bytes / 1e6:.1f} MB copied"
    console.note(f"{to}: {done} {result.name}@{result.release} in service, {copied}")
    outcome = None
    if wait and result.changed and not dry_run:
        outcome = wait_for_server(place or Path(to), result.release, since=since, timeout_s=wait)
        console.note(f"server: {outcome.state or f'nothing after {wait:g} s'} {outcome.reason}".rstrip())
    if json:
        console.emit(dumps(asdict(result) | ({"server": asdict(outcome)} if outcome else {})).decode())
    return 1 if outcome is not None and outcome.state != "serving" else 0
