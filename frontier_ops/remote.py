"""`frontier deploy` onto another machine, by plain ssh and rsync: same layout, same promises as a local target.

Content goes over once, under its own digest, appended to what an interrupted try left, and is compared by sha256 on the
far side before it gets its name. A release is hard links to read-only blobs, its manifest last, `current` moved by
rename. Nothing of ours must be installed there: a POSIX shell, coreutils, and rsync or tar (remote.sh).
LIMIT: the far side needs GNU `mv -T`, so Linux; a sender's death frees the lock only when ssh notices it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import orjson

from frontier_core.errors import (
    ConfigError,
    DataError,
    EnvironmentMissing,
    FrontierError,
    ServiceUnavailable,
    UsageError,
)
from frontier_core.jsonl import dumps
from frontier_core.records import Record
from frontier_core.version import __version__
from frontier_ops.checkpoint_files import FileEntry
from frontier_ops.deploy import DeployResult, PruneResult, Shipment
from frontier_ops.hosts import HOSTS_FILE, load_hosts
from frontier_ops.releases import CURRENT, ID_PATTERN, Release, TargetStatus, Verification, release_from
from frontier_ops.remote_shell import RemoteFailure, RemoteShell, ssh_command

SCRIPT = Path(__file__).with_name("remote.sh")
BUSY, OTHER_BYTES = 75, 74
_SENT = re.compile(r"^Total bytes sent: ([\d,.]+)", re.MULTILINE)
_REMOTE = re.compile(r"(?:[^/:@\s]+@)?(?:\[[0-9A-Fa-f:.]+\]|[^/:@\s]+):.*")
_NAME = re.compile(r"[A-Za-z0-9._/-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A deploy target on another machine: what ssh is told, and the folder there."""

    host: str
    folder: str
    options: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.host}:{self.folder}"


def remote_place(to: str, *, hosts: Path | None = None) -> Place | None:
    """Gives the other machine that `--to` names, None when it names a local folder.

    HOST:DIR and USER@HOST:DIR are remote, and so is a name of config/hosts.json whose host has /paths/releases.

    Raises:
        ConfigError: the hosts file can't be read, or that host has no folder for releases.
    """
    if _REMOTE.fullmatch(to) and not to.startswith(("./", "/")):
        host, _, folder = to.rpartition(":") if to.startswith("[") else to.partition(":")
        if not folder:
            raise UsageError(f"--to {to}: names no folder", hint=f"--to {to}/srv/frontier/release")
        return Place(host=host, folder=folder)
    if "/" in to or Path(to).exists():
        return None
    entry = load_hosts(hosts).get(to)
    if entry is None:
        return None
    releases = (entry.get("paths") or {}).get("releases")
    if not releases:
        raise ConfigError(f"{hosts or HOSTS_FILE} /hosts/{to}/paths: names no 'releases'", hint="or --to HOST:DIR")
    user = f"{entry['user']}@" if entry.get("user") else ""
    options = ("-p", str(entry["port"])) if entry.get("port") else ()
    return Place(host=f"{user}{entry['host']}", folder=str(releases), options=options)


class RemoteTarget:
    """A deploy target behind ssh; use it as a context manager. Raises ServiceUnavailable when there is no connection.

    Args:
        place: where.
        on_note: gets remarks for people.
    """

    def __init__(self, place: Place, on_note: Callable[[str], None] = lambda _: None) -> None:
        self.place = place
        self._on_note = on_note
        self._shell = RemoteShell(place.host, place.options)
        self._is_inside = False

    def __enter__(self) -> RemoteTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.close()

    def deploy(
        self, shipment: Shipment, *, dry_run: bool = False, force: bool = False, extra: Record | None = None
    ) -> DeployResult:
        """Makes a checkpoint the target's current release; doing it twice sends nothing.

        Args:
            shipment: from `deploy.prepare`.
            dry_run: look, send nothing.
            force: take the lock of an owner on a third machine.
            extra: further words for the audit.
        Raises:
            ServiceUnavailable: the connection broke; the same call goes on where it stopped.
            EnvironmentMissing: another deploy holds the lock.
            DataError: what arrived is not what was sent, twice.
        """
        started = time.monotonic()
        files = shipment.found.files
        if any(not _NAME.fullmatch(name) for name in files):
            raise UsageError("a file's name holds characters that are not shipped", hint=", ".join(files))
        sizes = {entry.sha256: entry.num_bytes for entry in files.values()}
        if dry_run:
            is_there = self._enter(make=False)
            missing = self._absent(sizes) if is_there else list(sizes)
            previous, sent = (self._current() if is_there else ""), 0
            changed = previous != shipment.release
        else:
            self._enter(make=True)
            self._lock(force)
            missing = self._absent(sizes)
            sent = self._ship(shipment, missing)
            self._commit(shipment, files)
            previous = self._current()
            changed = self._point(shipment.release, "deploy", {"source": shipment.manifest["source"], **(extra or {})})
        return DeployResult(
            release=shipment.release,
            name=shipment.name,
            previous=previous,
            changed=changed,
            num_files=len(files),
            num_bytes=sum(entry.num_bytes for entry in files.values()),
            copied_bytes=sum(sizes[digest] for digest in missing),
            sent_bytes=sent,
            left_out=shipment.found.left_out,
            seconds=time.monotonic() - started,
            dry_run=dry_run,
        )

    def rollback(self, reference: str | None = None, *, force: bool = False) -> DeployResult:
        """Makes an older release current again after every byte of it was read there. Raises as `deploy.rollback`."""
        started = time.monotonic()
        self._require()
        self._lock(force)
        state = self.status(num_audit=1000)
        release = self._find(state, reference or _before(state, str(self.place)))
        report = self.verify(release.id)
        if not report.ok:
            raise DataError(
                f"the release is damaged: {report.problems[0]}", path=f"{self.place}/releases/{release.id}",
                code="damaged", hint="deploy it again",
            )  # fmt: skip
        changed = self._point(release.id, "rollback", {})
        return DeployResult(
            release=release.id,
            name=release.name,
            previous=state.current,
            changed=changed,
            num_files=len(release.files),
            num_bytes=release.num_bytes,
            copied_bytes=0,
            left_out=(),
            seconds=time.monotonic() - started,
            dry_run=False,
        )

    def status(self, *, num_audit: int = 10) -> TargetStatus:
        """Gives what the target holds, with the last lines of its audit. Raises UsageError when there is no target."""
        self._require()
        script = (
            'current; echo; [ -f .lock/owner.json ] && ! is_dead && echo "pid $(field pid) on $(field host)"; echo\n'
            f"tail -n {num_audit} audit.jsonl 2>/dev/null; echo ---\n"
            'for m in releases/*/manifest.json; do [ -f "$m" ] && { echo "$m"; cat "$m"; echo; echo ---; }; done; true'
        )
        head, *rest = re.split(r"^---\n?", self._shell.call(script), flags=re.MULTILINE)
        lines = head.split("\n")
        releases = [release for text in rest if (release := _parse(text)) is not None]
        return TargetStatus(
            target=Path(str(self.place)),
            current=lines[0] if ID_PATTERN.fullmatch(lines[0]) else "",
            releases=tuple(sorted(releases, key=lambda release: (release.created_at, release.id), reverse=True)),
            locked_by=next((line for line in lines[1:3] if line.startswith("pid ")), ""),
            audit=tuple(_rows(lines)),
        )

    def verify(self, reference: str = CURRENT) -> Verification:
        """Has every byte of a release read there and compared with its manifest."""
        started = time.monotonic()
        self._require()
        release = self._find(self.status(num_audit=0), reference)
        listing = "".join(f"{entry.sha256} {name}\n" for name, entry in release.files.items())
        output = self._shell.call(f"verify {release.id} {_here(listing)}")
        return Verification(
            release=release.id,
            problems=tuple(output.splitlines()),
            num_bytes=release.num_bytes,
            seconds=time.monotonic() - started,
        )

    def prune(self, keep: int, *, dry_run: bool = False, force: bool = False) -> PruneResult:
        """Removes old releases and blobs nothing refers to; the current one and the one before it stay."""
        if keep < 1:
            raise UsageError(f"keep {keep} releases: at least 1 must stay", hint="use --keep 1")
        self._require()
        if not dry_run:
            self._lock(force)
        state = self.status(num_audit=1000)
        newest = [release.id for release in state.releases]
        safe = {*newest[:keep], state.current, _previous(state)}
        removed = tuple(identity for identity in newest if identity not in safe)
        needed = {
            entry.sha256 for release in state.releases if release.id in safe for entry in release.files.values()
        }  # fmt: skip
        listed = self._shell.call("cd blobs/sha256 && stat -c '%s %n' -- * 2>/dev/null; cd ../..; true").splitlines()
        orphans = [
            (int(size), name) for size, _, name in (line.partition(" ") for line in listed) if name not in needed
        ]
        if not dry_run:
            for identity in removed:
                doomed = f"releases/.{identity}.$$.tmp"
                self._shell.call(f"mv -T releases/{identity} {doomed} && chmod -R u+w {doomed} && rm -rf {doomed}")
            for _, name in orphans:
                self._shell.call(f"rm -f blobs/sha256/{shlex.quote(name)}")
            self._shell.call("rm -rf .incoming")
            if removed:
                self._audit({"action": "prune", "removed": list(removed)})
        return PruneResult(
            removed=removed,
            kept=tuple(identity for identity in newest if identity in safe),
            freed_bytes=sum(size for size, _ in orphans),
            dry_run=dry_run,
        )

    # ---- one conversation with the far side ----
    def _enter(self, *, make: bool) -> bool:
        if self._is_inside:
            return True
        folder = _quoted(self.place.folder)
        made = f"mkdir -p {folder}/blobs/sha256 {folder}/releases {folder}/.incoming && " if make else ""
        output, status = self._shell.run(f"{made}cd {folder}")
        if status and make:
            raise RemoteFailure(f"{self.place}: {output.strip()}", status=status, hint="choose another --to")
        self._shell.call(SCRIPT.read_text(encoding="utf-8"))
        self._is_inside = status == 0
        return self._is_inside

    def _require(self) -> None:
        if not self._enter(make=False) or self._shell.run("[ -d releases ]")[1]:
            raise UsageError(
                f"{self.place}: no such deploy target", hint=f"frontier deploy CHECKPOINT --to {self.place}"
            )

    def _lock(self, force: bool) -> None:
        output, status = self._shell.run(f"take_lock {'force' if force else ''} && sweep")
        if status == BUSY:
            raise EnvironmentMissing(f"{self.place}: {output.strip()}", hint="wait for it to end")
        if status:
            raise RemoteFailure(f"{self.place}: can't be locked: {output.strip()}", status=status)

    def _current(self) -> str:
        return self._shell.run("current")[0].strip()

    def _absent(self, digests: Iterable[str]) -> list[str]:
        return self._shell.call(f"absent {_here(''.join(f'{digest}{chr(10)}' for digest in digests))}").split()

    def _ship(self, shipment: Shipment, missing: list[str]) -> int:
        """Sends absent blobs and has them compared; what arrived wrong is sent once more, whole. Gives bytes sent."""
        sources = {entry.sha256: shipment.found.path_of(name) for name, entry in shipment.found.files.items()}
        sent, tries = 0, 0
        while missing:
            if tries == 2:
                names = ", ".join(digest[:12] for digest in missing)
                raise DataError(f"{names}: arrived as other bytes, twice", path=str(self.place), code="changed")
            sent += self._send({digest: sources[digest] for digest in missing})
            listing = "".join(f"{digest}\n" for digest in missing)
            output, status = self._shell.run(f"place {_here(listing)}")
            if status not in (0, OTHER_BYTES):
                raise RemoteFailure(f"{self.place}: {output.strip()}", status=status)
            missing = output.split() if status else []
            tries += 1
        return sent

    def _send(self, sources: dict[str, Path]) -> int:
        has_rsync = shutil.which("rsync") and not self._shell.run("command -v rsync")[1]
        with tempfile.TemporaryDirectory(prefix="frontier-ship-") as name:
            staging = Path(name)
            for digest, source in sources.items():
                (staging / digest).symlink_to(source.resolve())
            if has_rsync:
                return self._rsync(staging)
            self._on_note(f"no rsync on both sides; sending {len(sources)} files through tar")
            return self._tar(staging, sources)

    def _rsync(self, staging: Path) -> int:
        # --append: a digest's partial file is a beginning of that very content; sha256 has the last word anyway.
        command = ["rsync", "-rL", "-s", "--append", "--stats", "--no-human-readable", "--chmod=F644",
                   "-e", shlex.join([*ssh_command(), *self.place.options]), f"{staging}/",
                   f"{self.place.host}:{_relative(self.place.folder)}/.incoming/"]  # fmt: skip
        done = _run(command)
        if done.returncode:
            raise self._interrupted("rsync", done)
        found = _SENT.search(done.stdout)
        return int(re.sub(r"\D", "", found.group(1))) if found else 0

    def _tar(self, staging: Path, sources: dict[str, Path]) -> int:
        unpack = f"cd {_quoted(self.place.folder)}/.incoming && tar -xf -"
        ssh = shlex.join([*ssh_command(), "-T", *self.place.options, "--", self.place.host, unpack])
        pack = shlex.join(["tar", "-chf", "-", "-C", str(staging), *sources])
        done = _run(["bash", "-o", "pipefail", "-c", f"{pack} | {ssh}"])
        if done.returncode:
            raise self._interrupted("tar", done)
        return sum(path.stat().st_size for path in sources.values())

    def _interrupted(self, tool: str, done: subprocess.CompletedProcess[str]) -> FrontierError:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        full = next((line for line in said if "No space left on device" in line or "quota exceeded" in line), "")
        if full:
            hint = f"frontier deploy prune {self.place} frees some; then deploy again: it goes on there"
            return EnvironmentMissing(f"{self.place}: no space left over there", hint=hint)
        why = said[0] if said else f"status {done.returncode}"
        return ServiceUnavailable(f"{self.place}: {tool} did not finish: {why}", hint="deploy again: it goes on there")

    def _commit(self, shipment: Shipment, files: dict[str, FileEntry]) -> None:
        text = orjson.dumps(shipment.manifest, option=orjson.OPT_INDENT_2).decode() + "\n"
        listing = "".join(f"{entry.sha256} {name}\n" for name, entry in files.items())
        identity = shipment.release
        self._shell.call(f"cat > .incoming/{identity}.json {_here(text)}\nrelease {identity} {_here(listing)}")

    def _point(self, identity: str, action: str, extra: Record) -> bool:
        previous = self._current()
        if previous == identity:
            return False
        entry = {"action": action, "release": identity, "previous": previous, **extra}
        self._audit({**entry, "state": "begin"})
        self._shell.call(f"point {identity}")
        self._audit({**entry, "state": "done"})
        return True

    def _audit(self, entry: Record) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = dumps({"time": stamp, **entry, "pid": os.getpid(), "code_version": __version__}).decode()
        self._shell.call(f"audit {shlex.quote(line)}")

    def _find(self, state: TargetStatus, reference: str) -> Release:
        wanted = state.current if reference == CURRENT else reference.rpartition("@")[2]
        found = [release for release in state.releases if wanted and release.id.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(release.id for release in state.releases)
        problem = f"several releases begin with {wanted!r}" if found else f"no release {reference!r}"
        raise UsageError(f"{self.place}: {problem}", hint=f"it holds: {known or 'nothing'}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # Its own group would outlive a killed sender; with ours, Ctrl-C and a broken connection end it too.
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _quoted(folder: str) -> str:
    """Quotes a folder for a shell; `~` at its start stays the home folder."""
    if folder == "~" or folder.startswith("~/"):
        return "~" + shlex.quote(folder[1:]) if folder != "~" else "~"
    return shlex.quote(folder)


def _relative(folder: str) -> str:
    """rsync does not expand `~`; paths that are not absolute begin at home for it."""
    return folder.removeprefix("~/") if folder != "~" else "."


def _here(text: str) -> str:
    """Gives a here-document; no line of what we send can be its end mark."""
    return f"<<'FRONTIER_END'\n{text}FRONTIER_END"


def _parse(text: str) -> Release | None:
    name, _, body = text.partition("\n")
    try:
        return release_from(json.loads(body), Path(PurePosixPath(name).parent))
    except (ValueError, DataError):
        return None


def _rows(lines: Iterable[str]) -> list[Record]:
    rows = []
    for line in lines:
        if line.startswith("{"):
            try:
                rows.append(json.loads(line))
            except ValueError:  # a torn last line
                continue
    return rows


def _previous(state: TargetStatus) -> str:
    for entry in reversed(state.audit):
        if entry.get("action") == "deploy" and entry.get("release") == state.current:
            return str(entry.get("previous", ""))
    return ""


def _before(state: TargetStatus, where: str) -> str:
    previous = _previous(state) if state.current else ""
    if not previous:
        raise UsageError(f"{where}: there is no earlier release to go back to", hint="name one: frontier deploy status")
    return previous
