"""Deploying over a real sshd on loopback: what arrives, what is sent again, what a kill leaves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from frontier_core.errors import EnvironmentMissing, ServiceUnavailable, UsageError
from frontier_ops import releases
from frontier_ops.deploy import Shipment, prepare
from frontier_ops.remote import Place, RemoteTarget, remote_place
from frontier_ops.target_lock import locked

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from sshd import is_available, running_sshd

pytestmark = pytest.mark.skipif(not is_available(), reason="no sshd here")

DEADLINE_S = 600.0
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as command:
        yield command


@pytest.fixture
def far(ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("FRONTIER_SSH", ssh)
    return Place(host="far", folder=str(tmp_path / "far away" / "release"))


def checkpoint(folder: Path, *, megabytes: int = 1, seed: int = 0) -> Path:
    """A folder of the right shape whose weights are noise."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "tokenizer.json").write_text("{}")
    size = megabytes * MEGABYTE
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    block = bytes((seed + 7 * i) % 251 for i in range(4093))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + (block * (size // len(block) + 1))[:size])
    return folder


def ship(place: Place, folder: Path, **options: object):
    with RemoteTarget(place) as remote:
        return remote.deploy(prepare(folder), **options)


def test_a_checkpoint_arrives_whole_and_the_second_time_no_file_data_is_sent(far: Place, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "a")

    first = ship(far, folder)
    again = ship(far, folder)

    target = Path(far.folder)
    assert (first.changed, again.changed, again.copied_bytes, again.sent_bytes) == (True, False, 0, 0)
    assert first.sent_bytes >= MEGABYTE
    assert releases.verify(target).ok
    assert os.readlink(target / "current") == f"releases/{first.release}"
    weights = target / "current" / "model.safetensors"
    assert weights.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert (weights.stat().st_mode & 0o777, weights.stat().st_nlink) == (0o444, 2)
    assert [entry["state"] for entry in releases.read_audit(target)] == ["begin", "done"]
    assert not list(target.glob(".lock*"))


def test_other_weights_of_the_same_size_and_time_are_shipped_and_the_old_release_is_not_touched(
    far: Place, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path / "a")
    ship(far, folder)
    old = releases.find_release(Path(far.folder))
    before = (old.path / "model.safetensors").read_bytes()
    times = (folder / "model.safetensors").stat()
    shutil.copyfile(checkpoint(tmp_path / "b", seed=3) / "model.safetensors", folder / "model.safetensors")
    os.utime(folder / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))

    result = ship(far, folder)

    assert (result.changed, result.previous) == (True, old.id)
    assert releases.verify(Path(far.folder)).ok
    assert (Path(far.folder) / "current" / "model.safetensors").read_bytes() != before
    assert (old.path / "model.safetensors").read_bytes() == before
    with RemoteTarget(far) as remote:
        assert remote.verify(old.id).ok
    with RemoteTarget(far) as remote:
        back = remote.rollback()
    assert (back.release, back.previous) == (old.id, result.release)
    assert releases.current_id(Path(far.folder)) == old.id


SENDER = """
import sys
import threading
from pathlib import Path
from frontier_ops.deploy import prepare
from frontier_ops.remote import Place, RemoteTarget
place, folder = Place(host="far", folder=sys.argv[1]), Path(sys.argv[2])
shipment = prepare(folder)
with RemoteTarget(place) as remote:
    result = remote.deploy(shipment)
print(result.sent_bytes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_sender_is_gone_on_from_and_current_never_points_at_half(
    far: Place, tmp_path: Path, number: signal.Signals
) -> None:
    megabytes = int(os.environ.get("FRONTIER_SHIP_MB", "8"))
    ship(far, checkpoint(tmp_path / "old"))
    old = releases.current_id(Path(far.folder))
    folder = checkpoint(tmp_path / "new", megabytes=megabytes, seed=1)
    # rsync is slowed down to sixteen seconds, so that the signal finds it on the way, however late it is sent.
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "rsync").write_text(f'#!/bin/sh\nexec {shutil.which("rsync")} --bwlimit={megabytes * 64}k "$@"\n')
    (tools / "rsync").chmod(0o755)
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", SENDER, far.folder, str(folder)]

    sender = subprocess.Popen(command, env=environ, cwd=Path(__file__).parents[2], start_new_session=True)
    incoming = Path(far.folder) / ".incoming"
    pause = threading.Event()
    while not any(path.stat().st_size > megabytes * MEGABYTE // 8 for path in incoming.glob("?" * 64)):
        assert sender.poll() is None
        pause.wait(0.02)
    os.killpg(sender.pid, number)
    sender.wait(DEADLINE_S)

    assert releases.current_id(Path(far.folder)) == old
    kept = sum(path.stat().st_size for path in incoming.iterdir())
    sent = int(subprocess.check_output(command, cwd=Path(__file__).parents[2], text=True, timeout=DEADLINE_S))
    assert megabytes * MEGABYTE // 8 < kept
    assert sent < megabytes * MEGABYTE - kept + MEGABYTE
    assert releases.verify(Path(far.folder)).ok
    assert releases.current_id(Path(far.folder)) != old


class Link(threading.Thread):
    """The wire to the far side: carries `budget` bytes of what is sent, then it is cut, with a reset or in silence."""

    def __init__(self, port: int, budget: int, *, is_silent: bool) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.budget, self.is_silent = port, budget, is_silent
        self.is_cut = False
        self.ends: list[socket.socket] = []
        self.carriers: list[threading.Thread] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.port))
            self.ends += [near, far]
            for way in ((near, far, True), (far, near, False)):
                self.carriers.append(threading.Thread(target=self.carry, args=way, daemon=True))
                self.carriers[-1].start()

    def carry(self, source: socket.socket, to: socket.socket, is_counted: bool) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(1 << 14)) and not self.is_cut:
                self.budget -= len(data) * is_counted
                if self.budget < 0:
                    self.is_cut = True
                    break
                to.sendall(data)
        if not (self.is_cut and self.is_silent):
            self.hang_up([source, to])

    def hang_up(self, ends: list[socket.socket]) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """What hung in the old connections is over; new ones carry everything."""
        self.hang_up(self.ends)
        self.is_cut, self.budget = False, 1 << 40

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join(DEADLINE_S)
        self.hang_up(self.ends)
        for thread in self.carriers:
            thread.join(DEADLINE_S)
        for end in (self.listener, *self.ends):
            end.close()


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_link_that_is_cut_is_noticed_and_the_next_deploy_goes_on_there(
    ssh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_silent: bool
) -> None:
    place = Place(host="far", folder=str(tmp_path / "release"))
    monkeypatch.setenv("FRONTIER_SSH", ssh)
    old = ship(place, checkpoint(tmp_path / "old")).release
    config = Path(ssh.split()[-1]).read_text()
    link = Link(int(config.split("Port ")[1].split()[0]), 4 * MEGABYTE, is_silent=is_silent)
    patience = "-o ServerAliveInterval=1 -o ServerAliveCountMax=2"
    monkeypatch.setenv("FRONTIER_SSH", f"{ssh} -p {link.listener.getsockname()[1]} {patience}")
    new = checkpoint(tmp_path / "new", megabytes=6, seed=1)

    with pytest.raises(ServiceUnavailable, match=r"did not finish") as caught:
        ship(place, new)

    assert "deploy again: it goes on there" in caught.value.hint
    assert releases.current_id(Path(place.folder)) == old
    assert releases.verify(Path(place.folder)).ok
    link.mend()
    kept = sum(path.stat().st_size for path in (Path(place.folder) / ".incoming").iterdir())
    result = ship_when_free(place, new)
    assert result.sent_bytes < 7 * MEGABYTE - kept
    assert releases.verify(Path(place.folder)).ok
    assert releases.current_id(Path(place.folder)) == result.release != old
    link.close()


def ship_when_free(place: Place, folder: Path):
    """The far side notices the end of the connection in its own time, and the lock goes with it."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return ship(place, folder)
        except EnvironmentMissing:
            assert time.monotonic() < deadline


def test_a_damaged_beginning_is_found_out_and_sent_again_whole(far: Place, tmp_path: Path) -> None:
    shipment = prepare(checkpoint(tmp_path / "a"))
    digest = shipment.found.files["model.safetensors"].sha256
    incoming = Path(far.folder) / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / digest).write_bytes(b"other bytes" * 1000)

    with RemoteTarget(far) as remote:
        remote.deploy(shipment)

    assert releases.verify(Path(far.folder)).ok


def test_a_damaged_blob_and_release_over_there_are_mended(far: Place, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "a")
    ship(far, folder)
    weights = Path(far.folder) / "current" / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"x" * weights.stat().st_size)
    with RemoteTarget(far) as remote:
        assert remote.verify().problems == ("model.safetensors: other content",)

    ship(far, folder)

    assert releases.verify(Path(far.folder)).ok


def test_without_rsync_over_there_tar_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    tools = tmp_path / "bin"
    tools.mkdir()
    names = "sh uname cat sed cut sync sha256sum mkdir rm mv ln chmod readlink tar tail stat flock"
    for name in names.split():
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    with running_sshd(tmp_path / "sshd", path=str(tools)) as command:
        monkeypatch.setenv("FRONTIER_SSH", command)
        notes: list[str] = []
        place = Place(host="far", folder=str(tmp_path / "release"))
        with RemoteTarget(place, notes.append) as remote:
            remote.deploy(prepare(checkpoint(tmp_path / "a")))

    assert notes == ["no rsync on both sides; sending 3 files through tar"]
    assert releases.verify(tmp_path / "release").ok


def test_the_lock_is_one_with_local_deploys_and_dies_with_its_owner(far: Place, tmp_path: Path) -> None:
    shipment = prepare(checkpoint(tmp_path / "a"))
    target = Path(far.folder)
    target.mkdir(parents=True)
    with locked(target), RemoteTarget(far) as remote, pytest.raises(EnvironmentMissing, match=f"pid {os.getpid()} on"):
        remote.deploy(shipment)
    dead = subprocess.Popen(["true"])
    dead.wait()
    (target / ".lock").mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    owner = {"pid": dead.pid, "host": os.uname().nodename, "started": "1", "boot": boot}
    (target / ".lock" / "owner.json").write_text(json.dumps(owner, separators=(",", ":")))

    assert ship_locked_inside(far, shipment, target) == "held"
    assert not (target / ".lock").exists()


def ship_locked_inside(far: Place, shipment: Shipment, target: Path) -> str:
    with RemoteTarget(far) as remote:
        remote.deploy(shipment)
        with pytest.raises(EnvironmentMissing), locked(target):
            pass
    return "held"


def test_status_and_prune_see_what_lies_there(far: Place, tmp_path: Path) -> None:
    made = [ship(far, checkpoint(tmp_path / str(seed), seed=seed)).release for seed in range(4)]

    with RemoteTarget(far) as remote:
        state = remote.status()
    with RemoteTarget(far) as remote:
        planned = remote.prune(1, dry_run=True)
    with RemoteTarget(far) as remote:
        done = remote.prune(1)

    assert (state.current, [release.id for release in state.releases]) == (made[3], made[::-1])
    assert (planned.removed, done.removed, done.kept) == ((made[1], made[0]), (made[1], made[0]), (made[3], made[2]))
    assert done.freed_bytes > 2 * MEGABYTE
    assert sorted(path.name for path in (Path(far.folder) / "releases").iterdir()) == sorted(made[2:])
    assert releases.verify(Path(far.folder)).ok


def test_a_dry_run_sends_nothing_and_makes_nothing(far: Place, tmp_path: Path) -> None:
    result = ship(far, checkpoint(tmp_path / "a"), dry_run=True)

    assert (result.changed, result.sent_bytes, result.dry_run) == (True, 0, True)
    assert not Path(far.folder).exists()


def test_a_full_disk_over_there_is_said_as_such_and_what_arrived_is_kept(
    far: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = 'rsync: [receiver] write failed on "/x/.incoming/ab": No space left on device (28)\nrsync error: code 11\n'

    def full(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 11, "", said)

    with monkeypatch.context() as patch:
        patch.setattr("frontier_ops.remote._run", full)
        with pytest.raises(EnvironmentMissing, match="no space left over there") as caught:
            ship(far, checkpoint(tmp_path / "a"))
    assert "frontier deploy prune" in caught.value.hint
    assert ship(far, tmp_path / "a").changed


def test_no_connection_is_said_in_sshs_words(far: Place, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=r"nowhere\.invalid: ssh: "):
        ship(Place(host="nowhere.invalid", folder="/x"), checkpoint(tmp_path / "a"))
    with pytest.raises(UsageError, match="no such deploy target"), RemoteTarget(far) as remote:
        remote.status()


@pytest.mark.parametrize(
    ("to", "place"),
    [
        ("release", None), ("./a:b", None), ("/srv/a:b", None), ("gpu1:/srv/x", ("gpu1", "/srv/x")),
        ("ml@gpu1:~/x", ("ml@gpu1", "~/x")), ("ml@gpu1:x", ("ml@gpu1", "x")),
    ],
)  # fmt: skip
def test_what_names_another_machine(to: str, place: tuple[str, str] | None) -> None:
    found = remote_place(to)
    assert (found and (found.host, found.folder)) == place


def test_a_host_of_the_hosts_file_is_a_target(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.json"
    entry = {"host": "10.0.0.9", "user": "ml", "port": 2222, "paths": {"releases": "/srv/release"}}
    hosts.write_text(json.dumps({"hosts": {"inference": entry}}))

    place = remote_place("inference", hosts=hosts)

    assert place == Place(host="ml@10.0.0.9", folder="/srv/release", options=("-p", "2222"))
