"""The image of the Docker sandboxes: what goes in, that equal content is an equal image, and what is left of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import ConfigError, EnvironmentMissing
from validators.sandbox import debootstrap, image, leftovers
from validators.sandbox.backend import open_sandbox
from validators.sandbox.docker_run import check_runtime, connect
from validators.sandbox.image import Tree, build_from_host, ensure_image, host_tools, store
from validators.sandbox.tools import TOOLS


def written(tree: Tree) -> tuple[str, bytes]:
    file = BytesIO()
    return tree.write(file), file.getvalue()


def some_tree(folder: Path) -> Tree:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/real").write_text("#!/bin/sh\n")
    (folder / "bin/link").symlink_to("real")
    (folder / "empty").mkdir()
    tree = Tree()
    for path in ("bin/link", "empty"):
        tree.add(str(folder / path))
    return tree


def test_tree_follows_links_and_keeps_empty_folders(tmp_path: Path) -> None:
    tree = some_tree(tmp_path)
    assert tree.links == {f"{tmp_path}/bin/link": "real", "/var/tmp": "/tmp"}
    assert list(tree.files) == [f"{tmp_path}/bin/real"]
    assert tree.folders == {f"{tmp_path}/empty"}
    with tarfile.open(fileobj=BytesIO(written(tree)[1])) as archive:
        assert archive.getmember(f"{tmp_path}/empty".lstrip("/")).isdir()


def test_equal_content_is_equal_bytes_whatever_the_dates(tmp_path: Path) -> None:
    tree = some_tree(tmp_path)
    first = written(tree)
    os.utime(tmp_path / "bin/real", (1, 1))
    assert written(tree) == first
    (tmp_path / "bin/real").write_text("#!/bin/bash\n")
    assert written(tree)[0] != first[0]


def test_one_empty_folder_more_is_another_digest(tmp_path: Path) -> None:
    tree = some_tree(tmp_path)
    first, _ = written(tree)
    tree.folders.add("/srv/more")
    assert written(tree)[0] != first


def test_set_uid_bits_stay_behind(tmp_path: Path) -> None:
    tree = some_tree(tmp_path)
    (tmp_path / "bin/real").chmod(0o4755)
    with tarfile.open(fileobj=BytesIO(written(tree)[1])) as archive:
        assert archive.getmember(f"{tmp_path}/bin/real".lstrip("/")).mode == 0o755


def test_extra_tool_that_is_not_here_is_named() -> None:
    with pytest.raises(EnvironmentMissing, match="no frobnicate, grault"):
        host_tools(["frobnicate", "grault"])
    assert host_tools(["ldd"]).keys() - host_tools().keys() == {"ldd"}


def test_tar_file_without_an_engine_says_what_it_holds(tmp_path: Path) -> None:
    built = store(None, some_tree(tmp_path), {"bash", "ls"}, label="x", python="/p", output=str(tmp_path / "out.tar"))
    assert built.tag == f"frontier-sandbox:{built.digest[:12]}"
    assert built.size_bytes == (tmp_path / "out.tar").stat().st_size
    assert built.num_tools == 2
    assert built.missing.keys() == TOOLS.keys() - {"bash", "ls"}
    assert built.missing["jq"] == "jq"


def test_root_folder_is_taken_without_what_a_sandbox_never_needs(tmp_path: Path) -> None:
    for path in ("usr/bin", "usr/share/doc/x", "usr/empty", "var/cache/apt", "proc", "root", "etc/alternatives"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("usr/bin/ls", "usr/share/doc/x/copyright", "root/.bashrc", "etc/shadow", "etc/services"):
        (tmp_path / path).write_text("x")
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "etc/alternatives/awk").symlink_to("/usr/bin/mawk")
    tree = debootstrap.tree_of(str(tmp_path))
    assert tree.links == {"/bin": "usr/bin", "/etc/alternatives/awk": "/usr/bin/mawk", "/var/tmp": "/tmp"}
    assert tree.files == {path: f"{tmp_path}{path}" for path in ("/usr/bin/ls", "/etc/services")}
    assert tree.folders == {"/usr/empty"}
    assert debootstrap.find(str(tmp_path), "ls")
    assert not debootstrap.find(str(tmp_path), "jq")


def test_debootstrap_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debootstrap.shutil, "which", lambda *_, **__: None)
    with pytest.raises(EnvironmentMissing) as caught:
        debootstrap.build_from_suite(None, "bookworm", print)
    assert (caught.value.message, caught.value.hint) == (
        "no debootstrap on this machine", "apt-get install debootstrap",
    )  # fmt: skip


def test_debootstrap_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("debootstrap is refused to others than root before")
    program = tmp_path / "debootstrap"
    program.write_text('#!/bin/sh\necho I: Retrieving; echo "E: No such script: $3"; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(
        EnvironmentMissing, match="debootstrap of noodle from http://x failed: E: No such script: noodle"
    ):
        debootstrap.build_from_suite(None, "noodle", lambda _: None, mirror="http://x")


def test_runtime_the_engine_does_not_know_is_named_with_those_it_does() -> None:
    info = {"Runtimes": {"runc": {}, "crun": {}}}
    assert check_runtime("", info) == ""
    assert check_runtime("crun", info) == "crun"
    assert check_runtime("io.containerd.runsc.v1", info) == "io.containerd.runsc.v1"
    with pytest.raises(EnvironmentMissing, match="no runtime 'runsc'; it has crun, runc"):
        check_runtime("runsc", info)


def test_runtime_of_a_backend_without_any_is_refused() -> None:
    with pytest.raises(ConfigError, match="native-ns has no runtimes"):
        open_sandbox("native-ns", runtime="runsc")


def test_owner_is_alive_until_its_process_has_ended() -> None:
    assert leftovers.is_gone(leftovers.owner()) is False
    words = "from validators.sandbox.leftovers import owner; print(owner())"
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", words], cwd=root, capture_output=True, text=True, check=True)
    assert leftovers.is_gone(done.stdout.strip()) is True


@pytest.mark.parametrize("name", ["", "x", "other-boot/4026531836/1/2"])
def test_owner_of_another_machine_is_nobody_we_can_judge(name: str) -> None:
    assert leftovers.is_gone(name) is None


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    try:
        opened = connect()
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


@pytest.mark.docker
def test_containers_of_runs_that_are_gone_are_removed_and_no_others(client: Any) -> None:
    tag = ensure_image(client, lambda _: None)
    gone = leftovers.owner().rpartition("/")[0] + "/1"  # our id, but another start time
    labels = {"alive": leftovers.owner(), "gone": gone, "unknown": "elsewhere/1/2/3"}
    made = {
        name: client.containers.create(tag, ["true"], labels={leftovers.LABEL: "", leftovers.OWNER_LABEL: owner})
        for name, owner in labels.items()
    }
    try:
        leftovers.remove_leftovers(client)
        left = {container.id for container in client.containers.list(all=True)}
        assert {name for name, container in made.items() if container.id in left} == {"alive", "unknown"}
    finally:
        for container in client.containers.list(all=True):
            if container.id in {one.id for one in made.values()}:
                container.remove(force=True)


@pytest.mark.docker
@pytest.mark.slow
def test_image_is_built_once_and_building_it_again_gives_the_same(client: Any, tmp_path: Path) -> None:
    built = build_from_host(client)
    assert ensure_image(client, lambda _: None) == built.tag
    again = build_from_host(None, output=str(tmp_path / "image.tar"))
    assert (again.digest, again.size_bytes) == (built.digest, built.size_bytes)
    ids = [each.id for each in client.images.list(name=image.REPOSITORY) if built.tag in each.tags]
    assert len(ids) == 1


@pytest.mark.docker
@pytest.mark.slow
def test_runtime_is_handed_to_the_engine_and_described() -> None:
    # Every engine that takes names of shims has this one: runc by another name.
    try:
        sandbox = open_sandbox(runtime="io.containerd.runc.v2")
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    try:
        described = sandbox.describe()
        assert (described["backend"], described["runtime"]) == ("docker-run", "io.containerd.runc.v2")
        assert json.loads(json.dumps(described)) == described
        launch = sandbox.launch({})  # type: ignore[attr-defined]
        assert "--runtime io.containerd.runc.v2" in " ".join(launch.argv[:20])
    finally:
        sandbox.close()
