"""Makes the sandbox's image from packages of a Debian or Ubuntu suite, by the debootstrap of the host.

The other way than image.py's: what plans run with is then the same on every machine, at the price of a download and a
few minutes. Needs root, as debootstrap does. Nothing of the packages' own set-up stays but files: no set-uid bits, no
devices, no owners.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.contract import Note
from validators.sandbox.image import FROM_DEBOOTSTRAP, SEARCH_PATH, TOP_LINKS, Built, Tree, store
from validators.sandbox.namespaces import HOST_ETC
from validators.sandbox.tools import PACKAGES, TOOLS

PYTHON = "/usr/bin/python3"
KEPT = ("usr", *TOP_LINKS, *(f"etc/{name}" for name in HOST_ETC))
"""What the other backends show of a host, too."""
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/include")


def build_from_suite(
    client: Any | None, suite: str, note: Note, *, mirror: str = "", extra: tuple[str, ...] = (), output: str = ""
) -> Built:
    """Makes the image from a suite's packages: those of tools.py, and `extra`.

    Args:
        client: a docker.DockerClient to import it with; None to write the tar file only.
        suite: `bookworm`, `noble`...; "" for the host's own.
        note: told what is fetched from where.
        mirror: where packages come from; "" for the first of the host's own apt sources.
        extra: more Debian packages.
        output: where to leave the tar file; "" for nowhere.
    Raises:
        EnvironmentMissing: no debootstrap, no root, no mirror, or debootstrap failed; says its last words.
    """
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:{SEARCH_PATH}")
    if program is None:
        raise EnvironmentMissing("no debootstrap on this machine", hint="apt-get install debootstrap")
    if os.geteuid() != 0:
        raise EnvironmentMissing("debootstrap needs root", hint="build as root; the image is usable by everyone")
    suite = suite or host_suite()
    mirror = mirror or host_mirror()
    packages = sorted({*PACKAGES, *extra})
    note(f"fetching {len(packages)} packages and what they need of {suite} from {mirror} (some minutes)")
    with tempfile.TemporaryDirectory(prefix="frontier-debootstrap-") as folder:
        root = f"{folder}/root"
        words = [program, "--variant=minbase", f"--include={','.join(packages)}", suite, root, mirror]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            said = done.stdout.decode("utf-8", "replace").strip().splitlines() or ["without a word"]
            hint = f"--debootstrap SUITE, --mirror URL; packages: {', '.join(packages)}"
            raise EnvironmentMissing(f"debootstrap of {suite} from {mirror} failed: {said[-1]}", hint=hint)
        tree = tree_of(root)
        tools = {name for name in TOOLS if find(root, name)}
        return store(client, tree, tools, label=FROM_DEBOOTSTRAP, python=PYTHON, output=output)


def host_suite() -> str:
    """Gives the code name of the host's own release.

    Raises:
        EnvironmentMissing: it has none.
    """
    path = Path("/etc/os-release")
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME" and value.strip('"'):
            return value.strip('"')
    raise EnvironmentMissing("this machine is of no named release", hint="name one: --debootstrap bookworm")


def host_mirror() -> str:
    """Gives where the host's own packages come from: the first of its apt sources, as apt itself reads them.

    Raises:
        EnvironmentMissing: it has no apt or no source.
    """
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise EnvironmentMissing("this machine has no apt to ask for a mirror", hint="--mirror URL") from error
    mirrors = done.stdout.split()
    if done.returncode != 0 or not mirrors:
        raise EnvironmentMissing("this machine has no apt source", hint="--mirror http://deb.debian.org/debian")
    return mirrors[0].rstrip("/")


def tree_of(root: str) -> Tree:
    """Gives the tools of an unpacked root folder, without what a sandbox never needs."""
    tree = Tree()
    for top in KEPT:
        _take(tree, root, f"/{top}")
    return tree


def _take(tree: Tree, root: str, path: str) -> None:
    full = root + path
    if os.path.islink(full):
        tree.links[path] = os.readlink(full)
    elif os.path.isfile(full):
        tree.files[path] = full
    elif os.path.isdir(full) and path.lstrip("/") not in LEFT_OUT:
        names = sorted(os.listdir(full))
        if not names:
            tree.folders.add(path)
        for name in names:
            _take(tree, root, f"{path}/{name}")


def find(root: str, name: str) -> bool:
    """Says whether a command lies in a root folder."""
    return any(os.path.lexists(f"{root}{folder}/{name}") for folder in SEARCH_PATH.split(":"))
