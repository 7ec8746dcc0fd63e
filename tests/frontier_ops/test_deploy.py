from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from frontier_core.errors import DataError, EnvironmentMissing, UsageError
from frontier_core.lineage import write_sidecar
from frontier_ops.deploy import deploy, prune, rollback
from frontier_ops.releases import current_id, find_release, list_releases, read_audit, status, verify
from frontier_ops.target_lock import LOCK, locked
from trainer.checkpoints import begin_checkpoint, commit_checkpoint


def make_checkpoint(folder: Path, weight: int = 1) -> Path:
    """A folder of the right shape; deploy looks at headers and bytes, not at what the numbers mean."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"a": 1}')
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<ff", weight, 0))
    return folder


def write_own_manifest(folder: Path) -> None:
    files = {
        path.name: {"sha256": sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in folder.iterdir()
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def leftovers(target: Path) -> list[str]:
    return [str(path.relative_to(target)) for path in target.rglob(".*")]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def test_a_release_is_read_only_hard_links_to_blobs_and_current_is_a_symlink(tmp_path: Path, target: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "run" / "checkpoint-4")
    (checkpoint / "optimizer.pt").write_bytes(b"pickle")
    notes: list[str] = []

    result = deploy(checkpoint, target, on_note=notes.append)

    assert os.readlink(target / "current") == f"releases/{result.release}"
    weights = target / "current" / "model.safetensors"
    digest = sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    assert os.path.samefile(weights, target / "blobs" / "sha256" / digest)
    assert weights.stat().st_mode & 0o777 == 0o444
    assert sorted(os.listdir(target / "current")) == [
        "config.json", "manifest.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert (result.changed, result.previous, result.num_files) == (True, "", 4)
    assert notes == ["not shipped: optimizer.pt"]
    assert leftovers(target) == []


def test_the_same_content_is_deployed_once_whatever_its_folder_and_says_so(tmp_path: Path, target: Path) -> None:
    first = deploy(make_checkpoint(tmp_path / "a"), target)
    notes: list[str] = []

    again = deploy(make_checkpoint(tmp_path / "b"), target, on_note=notes.append)

    assert (again.release, again.changed, again.copied_bytes) == (first.release, False, 0)
    assert notes == [f"model@{first.release} is current already; nothing to do"]
    assert len(read_audit(target)) == 2  # begin and done of the first; the second changed nothing


def test_only_changed_files_are_copied(tmp_path: Path, target: Path) -> None:
    deploy(make_checkpoint(tmp_path / "a"), target)

    result = deploy(make_checkpoint(tmp_path / "b", weight=2), target)

    assert result.copied_bytes == (tmp_path / "b" / "model.safetensors").stat().st_size
    assert len(list_releases(target)) == 2


def test_the_manifest_names_files_source_and_sidecar(tmp_path: Path, target: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "run" / "checkpoint-4")
    sidecar = write_sidecar(tmp_path / "run", stage="train", argv=["frontier", "train"])

    deploy(checkpoint, target)

    manifest = json.loads((target / "current" / "manifest.json").read_text())
    assert manifest["files"]["config.json"] == {
        "sha256": "86d49337f51b848491007eba678aaafb2f0960510a11980abdb063bb3b0d8530",
        "bytes": 23,
    }
    assert manifest["source"] == {
        "checkpoint": str(checkpoint),
        "sidecar": str(sidecar),
        "sidecar_sha256": sha256(sidecar.read_bytes()).hexdigest(),
    }


def test_of_a_run_the_newest_whole_checkpoint_is_shipped(tmp_path: Path, target: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for step in (2, 4, 6):
        temp = begin_checkpoint(run, step)
        temp.rmdir()
        commit_checkpoint(make_checkpoint(temp, weight=step), run, step, run_id="r")
    os.truncate(run / "checkpoint-6" / "model.safetensors", 60)
    notes: list[str] = []

    deploy(run, target, on_note=notes.append)

    manifest = json.loads((target / "current" / "manifest.json").read_text())
    assert manifest["source"] == {"checkpoint": str(run / "checkpoint-4")}
    assert "checkpoint-6 skipped" in notes[0]


def test_a_dry_run_writes_nothing(tmp_path: Path, target: Path) -> None:
    result = deploy(make_checkpoint(tmp_path / "a"), target, dry_run=True)

    assert (result.changed, result.dry_run) == (True, True)
    assert not target.exists()


def drop_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def drop_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def leave_only_an_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def cut_header(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 20)


def cut_to_nothing(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 0)


def cut_last_byte(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size - 1)


def break_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"{{{{" + b"\0" * 8)


def lose_a_shard(folder: Path) -> None:
    index = {"weight_map": {"w": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def name_a_shard_outside(folder: Path) -> None:
    index = {"weight_map": {"w": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def change_after_saving(folder: Path) -> None:
    write_own_manifest(folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def add_after_saving(folder: Path) -> None:
    write_own_manifest(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def lose_after_saving(folder: Path) -> None:
    write_own_manifest(folder)
    (folder / "tokenizer_config.json").unlink()


def ask_for_custom_code(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "x", "auto_map": {"AutoModel": "x.py"}}')


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (drop_config, UsageError, "holds no config.json"),
        (drop_weights, UsageError, "holds no model*.safetensors"),
        (drop_tokenizer, UsageError, "holds no tokenizer"),
        (leave_only_an_adapter, UsageError, "is an adapter whose base model"),
        (cut_header, DataError, "cut off or no safetensors (20 bytes)"),
        (cut_to_nothing, DataError, "cut off or no safetensors (0 bytes)"),
        (cut_last_byte, DataError, "cut off: 69 bytes where the header promises 70"),
        (break_header, DataError, "header can't be read"),
        (lose_a_shard, DataError, "the shard model-00001-of-00002.safetensors is missing"),
        (name_a_shard_outside, DataError, "the shard ../model.safetensors is missing"),
        (change_after_saving, DataError, "model.safetensors is not the file that was saved"),
        (add_after_saving, DataError, "chat_template.jinja is not listed"),
        (lose_after_saving, DataError, "tokenizer_config.json is listed but missing"),
        (ask_for_custom_code, DataError, "asks for custom code"),
    ],
)
def test_a_checkpoint_that_cant_be_served_is_refused_before_anything_is_written(
    tmp_path: Path, target: Path, spoil, kind, words: str
) -> None:
    checkpoint = make_checkpoint(tmp_path / "a")
    spoil(checkpoint)

    with pytest.raises(kind) as caught:
        deploy(checkpoint, target)

    assert words in caught.value.message
    assert str(checkpoint) in caught.value.message
    assert not target.exists()


def test_a_missing_checkpoint_and_a_bad_name_are_usage_errors(tmp_path: Path, target: Path) -> None:
    with pytest.raises(UsageError, match="no such checkpoint folder"):
        deploy(tmp_path / "nowhere", target)
    with pytest.raises(UsageError, match="can't be a model's name"):
        deploy(make_checkpoint(tmp_path / "a"), target, name="../up")


def test_a_target_that_is_a_file_is_a_usage_error_or_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises((UsageError, EnvironmentMissing), match="file"):
        deploy(make_checkpoint(tmp_path / "a"), tmp_path / "file")


def test_verify_finds_a_flipped_bit_a_missing_an_extra_file_and_a_changed_manifest(
    tmp_path: Path, target: Path
) -> None:
    release = deploy(make_checkpoint(tmp_path / "a"), target).release
    folder = target / "releases" / release
    assert verify(target).ok

    rewrite(folder / "model.safetensors", flip=True)
    (folder / "tokenizer.json").unlink()
    (folder / "extra.jinja").write_text("")

    assert verify(target).problems == (
        "model.safetensors: other content of the same size",
        "tokenizer.json: missing",
        "extra.jinja: not in the manifest",
    )
    rewrite(folder / "manifest.json", text=(folder / "manifest.json").read_text().replace('"model"', '"other"'))
    with pytest.raises(DataError, match="the manifest was changed"):
        verify(target, release)


def rewrite(path: Path, *, flip: bool = False, text: str = "") -> None:
    """Changes a read-only file in place, as a failing disk or a careless editor would."""
    data = bytearray(text.encode() if text else path.read_bytes())
    if flip:
        data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_deploying_again_repairs_a_damaged_release(tmp_path: Path, target: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "a")
    release = deploy(checkpoint, target).release
    folder = target / "releases" / release
    rewrite(folder / "model.safetensors", flip=True)
    (folder / "tokenizer.json").unlink()
    (folder / "extra.jinja").write_text("")
    (folder / "manifest.json").unlink()
    notes: list[str] = []

    deploy(checkpoint, target, on_note=notes.append)

    assert verify(target).ok
    assert len(notes) == 6  # blob, weights, tokenizer, extra file, manifest, and that it is current already


def test_rollback_walks_back_and_reads_every_byte_first(tmp_path: Path, target: Path) -> None:
    a, b, c = (deploy(make_checkpoint(tmp_path / str(n), weight=n), target).release for n in (1, 2, 3))

    assert rollback(target).release == b
    assert rollback(target).release == a
    with pytest.raises(UsageError, match="no earlier release"):
        rollback(target)
    assert rollback(target, c[:6]).release == c
    rewrite(target / "releases" / b / "model.safetensors", flip=True)
    with pytest.raises(DataError, match="the release is damaged"):
        rollback(target, b)
    assert current_id(target) == c
    assert [entry["action"] for entry in read_audit(target) if entry["state"] == "done"] == ["deploy"] * 3 + [
        "rollback"
    ] * 3


def test_rollback_of_an_unknown_release_or_target_writes_nothing(tmp_path: Path, target: Path) -> None:
    with pytest.raises(UsageError, match="no such deploy target"):
        rollback(target)
    assert not target.exists()
    release = deploy(make_checkpoint(tmp_path / "a"), target).release
    with pytest.raises(UsageError) as caught:
        rollback(target, "ffffff")
    assert caught.value.hint == f"it holds: {release}"


def test_prune_keeps_the_newest_the_current_and_the_one_before_it(tmp_path: Path, target: Path) -> None:
    ids = [deploy(make_checkpoint(tmp_path / str(n), weight=n), target).release for n in (1, 2, 3, 4, 5)]
    rollback(target, ids[1])  # its predecessor is ids[0]

    planned = prune(target, 1, dry_run=True)
    assert len(list_releases(target)) == 5
    result = prune(target, 1)

    assert set(result.removed) == set(planned.removed) == {ids[2], ids[3]}
    assert result.freed_bytes == planned.freed_bytes == 2 * 70
    assert {release.id for release in list_releases(target)} == {ids[0], ids[1], ids[4]}
    assert all(verify(target, release.id).ok for release in list_releases(target))
    assert len(os.listdir(target / "blobs" / "sha256")) == 6  # three weights, three shared files
    with pytest.raises(UsageError, match="at least 1"):
        prune(target, 0)


def test_find_release_takes_current_id_prefix_and_model_id(tmp_path: Path, target: Path) -> None:
    release = deploy(make_checkpoint(tmp_path / "a"), target, name="tutor").release

    for reference in ("current", release, release[:4], f"tutor@{release}"):
        assert find_release(target, reference).id == release
    for reference in ("", "..", "nope"):
        with pytest.raises(UsageError, match="no release"):
            find_release(target, reference)


def test_status_tells_current_releases_lock_and_audit(tmp_path: Path, target: Path) -> None:
    a = deploy(make_checkpoint(tmp_path / "a"), target).release
    b = deploy(make_checkpoint(tmp_path / "b", weight=2), target).release

    with locked(target):
        seen = status(target)

    assert (seen.current, [release.id for release in seen.releases]) == (b, [b, a])
    assert seen.locked_by.startswith(f"pid {os.getpid()} on ")
    assert [entry["state"] for entry in seen.audit] == ["begin", "done", "begin", "done"]


def test_a_living_owner_keeps_the_lock_and_is_named(tmp_path: Path, target: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "a")
    deploy(checkpoint, target)

    with locked(target), pytest.raises(EnvironmentMissing, match=f"pid {os.getpid()} on"):
        deploy(checkpoint, target, force=True)


@pytest.mark.parametrize(
    "change", [{"pid": 2**22 + 1}, {"started": "1"}, {"boot": "another"}], ids=["dead", "pid reused", "rebooted"]
)
def test_a_dead_owners_lock_is_taken_over(tmp_path: Path, target: Path, change: dict[str, object]) -> None:
    target.mkdir()
    with locked(target):
        owner = json.loads((target / LOCK / "owner.json").read_text())
    (target / LOCK).mkdir()
    (target / LOCK / "owner.json").write_text(json.dumps(owner | change))

    assert deploy(make_checkpoint(tmp_path / "a"), target).changed
    assert leftovers(target) == []


def test_a_lock_of_another_machine_needs_force(tmp_path: Path, target: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "a")
    (target / LOCK).mkdir(parents=True)
    (target / LOCK / "owner.json").write_text('{"pid": 1, "host": "elsewhere.invalid"}')

    with pytest.raises(EnvironmentMissing, match=r"pid 1 on elsewhere\.invalid") as caught:
        deploy(checkpoint, target)
    assert "--force" in caught.value.hint
    assert deploy(checkpoint, target, force=True).changed


def test_a_full_disk_is_noticed_before_copying(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    checkpoint = make_checkpoint(tmp_path / "a")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))

    with pytest.raises(EnvironmentMissing, match="bytes are needed and 5 are free"):
        deploy(checkpoint, target)
    assert list((target / "blobs" / "sha256").iterdir()) == []


def test_a_checkpoint_that_changes_while_it_is_copied_never_gets_out(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint(tmp_path / "a")
    copyfile = shutil.copyfile

    def copy_a_changed_file(source: Path, to: Path) -> None:
        rewrite(source, flip=True)
        copyfile(source, to)

    monkeypatch.setattr(shutil, "copyfile", copy_a_changed_file)

    with pytest.raises(DataError, match="changed while it was copied"):
        deploy(checkpoint, target)
    assert current_id(target) == ""
    assert leftovers(target) == []


EVENTS = {"open", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.chmod", "os.remove", "os.rmdir", "os.truncate"}


def killed_before_step(number: int, action) -> bool:
    """Runs `action` in a child that is killed (SIGKILL) before its number-th file operation; False when it ended first.

    Operations are what the interpreter audits (open, mkdir, rename, link, symlink, chmod, remove, rmdir) and fsync.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        fsync = os.fsync

        def counting_fsync(descriptor: int) -> None:
            step()
            fsync(descriptor)

        os.fsync = counting_fsync  # type: ignore[assignment]
        sys.addaudithook(lambda event, _: step() if event in EVENTS else None)
        try:
            action()
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, code = os.waitpid(child, 0)
    assert os.WIFSIGNALED(code) or os.WEXITSTATUS(code) == 0
    return os.WIFSIGNALED(code)


def crash_everywhere(action, check) -> int:
    """Kills `action` before each of its steps in turn, calling `check` after each; returns the number of steps."""
    step = 1
    while killed_before_step(step, action):
        check()
        step += 1
    return step - 1


def test_kill_at_any_step_of_a_deploy_leaves_the_old_release_or_the_new_one(tmp_path: Path) -> None:
    old, new = make_checkpoint(tmp_path / "old"), make_checkpoint(tmp_path / "new", weight=2)
    pristine = tmp_path / "pristine"
    old_id = deploy(old, pristine).release
    new_id = deploy(new, tmp_path / "elsewhere").release
    target = tmp_path / "target"
    shutil.copytree(pristine, target, symlinks=True)
    seen: set[str] = set()

    def check() -> None:
        seen.add(current_id(target))
        assert current_id(target) in (old_id, new_id)
        assert (target / "current" / "manifest.json").is_file()
        assert all(verify(target, release.id).ok for release in list_releases(target))
        assert {old_id} <= {release.id for release in list_releases(target)} <= {old_id, new_id}
        assert deploy(new, target).release == new_id == current_id(target)
        assert verify(target).ok
        assert leftovers(target) == []
        shutil.rmtree(target)
        shutil.copytree(pristine, target, symlinks=True)

    assert crash_everywhere(lambda: deploy(new, target), check) > 30
    assert seen == {old_id, new_id}


def test_kill_at_any_step_of_the_first_deploy_leaves_nothing_or_the_release(tmp_path: Path, target: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "a")

    def check() -> None:
        if target.exists() and current_id(target):
            assert verify(target).ok
        deploy(checkpoint, target)
        assert verify(target).ok
        assert leftovers(target) == []
        shutil.rmtree(target)

    assert crash_everywhere(lambda: deploy(checkpoint, target), check) > 40


def test_kill_at_any_step_of_prune_or_rollback_leaves_whole_releases(tmp_path: Path, target: Path) -> None:
    pristine = tmp_path / "pristine"
    ids = [deploy(make_checkpoint(tmp_path / str(n), weight=n), pristine).release for n in (1, 2, 3, 4)]
    shutil.copytree(pristine, target, symlinks=True)

    def check() -> None:
        assert current_id(target) in ids
        assert all(verify(target, release.id).ok for release in list_releases(target))
        prune(target, 4)
        assert leftovers(target) == []
        shutil.rmtree(target)
        shutil.copytree(pristine, target, symlinks=True)

    assert crash_everywhere(lambda: prune(target, 1), check) > 10
    shutil.rmtree(target)
    shutil.copytree(pristine, target, symlinks=True)
    assert crash_everywhere(lambda: rollback(target), check) > 10


def test_every_rename_is_preceded_by_fsync_of_the_data_and_followed_by_fsync_of_the_folder(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def record_fsync(descriptor: int) -> None:
        calls.append("sync " + os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def record_replace(source: Path, to: Path) -> None:
        calls.append(f"move {source} {to}")
        replace(source, to)

    def record_rename(source: Path, to: Path) -> None:
        calls.append(f"move {source} {to}")
        rename(source, to)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    monkeypatch.setattr(os, "rename", record_rename)

    deploy(make_checkpoint(tmp_path / "a"), target)

    moves = [(place, *call.split()[1:]) for place, call in enumerate(calls) if call.startswith("move")]
    moves = [move for move in moves if not move[2].endswith(LOCK)]  # a lock need not outlive a power loss
    assert len(moves) == 7  # four blobs, the manifest, the release folder, current
    for place, source, to in moves:
        if not to.endswith("/current"):  # a symlink has no data of its own
            assert f"sync {source}" in calls[:place]
        assert calls[place + 1] == f"sync {Path(to).parent}"
