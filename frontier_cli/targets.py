"""What the deploy commands share: a target is a local folder or another machine's, and looks the same either way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frontier_cli import console

if TYPE_CHECKING:
    from frontier_ops.deploy import DeployResult, PruneResult
    from frontier_ops.releases import TargetStatus, Verification

Target = Annotated[str, typer.Argument(metavar="TARGET", help="what frontier deploy --to was given: DIR or HOST:DIR")]


def show_status(target: str, num_audit: int) -> TargetStatus:
    """Gives what a target holds."""
    from frontier_ops import releases
    from frontier_ops.remote import RemoteTarget, remote_place

    place = remote_place(target)
    if place is None:
        return releases.status(Path(target), num_audit=num_audit)
    with RemoteTarget(place) as remote:
        return remote.status(num_audit=num_audit)


def roll_back(target: str, release: str, *, force: bool) -> DeployResult:
    """Makes an older release current again; "" is the one before."""
    from frontier_ops import deploy
    from frontier_ops.remote import RemoteTarget, remote_place

    place = remote_place(target)
    if place is None:
        return deploy.rollback(Path(target), release or None, force=force)
    with RemoteTarget(place, console.note) as remote:
        return remote.rollback(release or None, force=force)


def verify(target: str, release: str) -> Verification:
    """Reads every byte of a release again, where it lies."""
    from frontier_ops import releases
    from frontier_ops.remote import RemoteTarget, remote_place

    place = remote_place(target)
    if place is None:
        return releases.verify(Path(target), release)
    with RemoteTarget(place) as remote:
        return remote.verify(release)


def prune(target: str, keep: int, *, dry_run: bool, force: bool) -> PruneResult:
    """Removes old releases."""
    from frontier_ops import deploy
    from frontier_ops.remote import RemoteTarget, remote_place

    place = remote_place(target)
    if place is None:
        return deploy.prune(Path(target), keep, dry_run=dry_run, force=force)
    with RemoteTarget(place) as remote:
        return remote.prune(keep, dry_run=dry_run, force=force)
