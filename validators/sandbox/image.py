"""Makes the Docker image of the sandbox out of the host's own tools: no registry, no network, a few seconds.

The image holds the known tools the host has (tools.py) with every library they load, git's helpers, and a Python for
the runner. It is tagged by the digest of its content; a label with the host tools' sizes and dates finds it again
without building. glibc and musl hosts alike, as long as `ldd` is there. Running it is docker_run.py; an image of a
Debian suite instead of the host is debootstrap.py.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.contract import MIB, Note
from validators.sandbox.namespaces import ETC
from validators.sandbox.tools import TOOLS

REPOSITORY = "frontier-sandbox"
LABEL = "frontier.host-tools"
FROM_DEBOOTSTRAP = "debootstrap"
"""The label's value on an image that owes nothing to the host."""
RECIPE = "4"
"""Part of the label: bump it when an image made before should not be found any more."""
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOP_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
EXTRAS = (
    "/usr/lib/git-core", "/usr/share/git-core/templates", "/usr/lib/locale/C.utf8", "/usr/share/misc/magic.mgc",
    "/usr/lib/file/magic.mgc", "/usr/share/zoneinfo", "/etc/protocols", "/etc/services",
    "/usr/lib/x86_64-linux-gnu/perl-base", "/usr/lib/aarch64-linux-gnu/perl-base",
)  # fmt: skip
NOT_NEEDED = {
    "__pycache__", "test", "tests", "idlelib", "tkinter", "ensurepip", "dist-packages", "site-packages", "turtledemo",
    "lib2to3", "posix", "right",
}  # fmt: skip
OWNER, NOBODY = 1000, 65534
"""Of folders that the other backends make themselves, and of what they bind from elsewhere; nothing can be written."""


def host_python() -> str:
    """Gives the interpreter that goes into the image: the system's, else the one running this."""
    return shutil.which("python3", path="/usr/local/bin:/usr/bin") or os.path.realpath(sys.executable)


def host_tools(extra: Iterable[str] = ()) -> dict[str, str]:
    """Gives the known tools the host has, and the extra ones: command -> path.

    Raises:
        EnvironmentMissing: the host lacks an extra one.
    """
    found = {name: shutil.which(name, path=SEARCH_PATH) for name in (*TOOLS, *extra)}
    if lacking := [name for name in extra if not found[name]]:
        raise EnvironmentMissing(f"this machine has no {', '.join(lacking)}", hint="install it, then build again")
    return {name: path for name, path in found.items() if path}


def host_key() -> str:
    """Gives a short name for the state of the host's tools: equal key, equal image."""
    lines = [RECIPE]
    for path in sorted({*host_tools().values(), host_python()}):
        info = os.stat(path)
        lines.append(f"{path} {os.path.realpath(path)} {info.st_size} {info.st_mtime_ns}")
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image that was made: its tag (repository:digest), the digest of all it holds, and what it holds of tools.py.

    `size_bytes` is that of its tar file; `missing` maps each known tool it lacks to the Debian package that has it.
    """

    tag: str
    digest: str
    size_bytes: int
    num_tools: int
    missing: dict[str, str]


def ensure_image(client: Any, note: Note) -> str:
    """Gives the tag of the image to use: of those for this host's tools or of a Debian suite, the one built last.

    Args:
        client: a docker.DockerClient.
        note: told before a build, which takes seconds and happens when the engine has none.
    Raises:
        EnvironmentMissing: bash, ldd or a Python with its library can't be found on the host.
    """
    labels = [f"{LABEL}={host_key()}", f"{LABEL}={FROM_DEBOOTSTRAP}"]
    images = [image for label in labels for image in client.images.list(name=REPOSITORY, filters={"label": label})]
    tagged = sorted((str(image.attrs["Created"]), str(image.tags[0])) for image in images if image.tags)
    if tagged:
        return tagged[-1][1]
    note("building the sandbox image from this machine's tools (once; no network)")
    built = build_from_host(client)
    note(f"built {built.tag}, {built.size_bytes // MIB} MiB, {built.num_tools} tools")
    return built.tag


def build_from_host(client: Any | None, *, extra: Iterable[str] = (), output: str = "") -> Built:
    """Makes the image from this host's tools.

    Args:
        client: a docker.DockerClient to import it with; None to write the tar file only.
        extra: commands beyond those of tools.py.
        output: where to leave the tar file; "" for nowhere.
    Raises:
        EnvironmentMissing: bash, ldd, a Python with its library or an extra command can't be found on the host.
    """
    tools = host_tools(extra)
    tree = Tree()
    tree.collect(tools)
    return store(client, tree, tools, label=host_key(), python=host_python(), output=output)


def store(client: Any | None, tree: Tree, tools: Iterable[str], *, label: str, python: str, output: str = "") -> Built:
    """Writes a tree as a tar file and imports it; an image of the same content that was there before gives way.

    Args:
        client: a docker.DockerClient; None to write the tar file only.
        tree: what the image holds.
        tools: the commands in it.
        label: the value of LABEL, by which `ensure_image` finds it.
        python: path in the image of the Python that runs the runner.
        output: where to leave the tar file, written whole or not at all; "" for nowhere.
    """
    from frontier_core.atomic import AtomicFile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(output or f"{folder}/image.tar")
        with AtomicFile(path) as file:
            digest = tree.write(file)
        tag = f"{REPOSITORY}:{digest[:12]}"
        size_bytes = file.num_bytes
        if client is not None:
            _import(client, str(path), tag, [f"LABEL {LABEL}={label}", f"ENV PYTHON={python}"])
    known = TOOLS.keys() & set(tools)
    missing = {name: package for name, package in sorted(TOOLS.items()) if name not in known}
    return Built(tag=tag, digest=digest, size_bytes=size_bytes, num_tools=len(set(tools)), missing=missing)


def _import(client: Any, path: str, tag: str, changes: list[str]) -> None:
    from docker.errors import APIError

    repository, _, name = tag.partition(":")
    client.api.import_image_from_file(path, repository=repository, tag=name, changes=changes)
    for image in client.images.list(filters={"label": LABEL, "dangling": True}):
        with suppress(APIError):  # a container still uses it; the next build removes it
            client.images.remove(image.id)


class Tree:
    """What the image holds: path -> a file of the host, made text, or what a link says; and empty folders."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.texts: dict[str, bytes] = {f"/etc/{name}": text.encode() for name, text in ETC.items()}
        self.links["/var/tmp"] = "/tmp"
        self.folders: set[str] = set()
        """Those with nothing in them; the others follow from what they hold."""

    def collect(self, tools: dict[str, str]) -> None:
        """Gathers tools (command -> path), helpers, Python and every library any of them loads."""
        if "bash" not in tools or shutil.which("ldd") is None:
            raise EnvironmentMissing("no bash or no ldd to make an image from", hint="apt-get install bash libc-bin")
        for name in TOP_LINKS:
            if os.path.islink(f"/{name}"):
                self.links[f"/{name}"] = os.readlink(f"/{name}")
        for path in (*tools.values(), *EXTRAS):
            self.add(path)
        self._add_python()
        for library in self._libraries():
            self.add(library)
        self._add_locale_archive()

    def _add_locale_archive(self) -> None:
        """Packs C.UTF-8 into one file, where the host can: each process maps it instead of opening a dozen.

        Measured on a plan of 13 processes: the locale costs 0.9 ms of CPU this way, 2.5 ms as a dozen files.
        """
        source = "/usr/lib/locale/C.utf8"
        if shutil.which("localedef") is None or not os.path.isdir(source):
            return
        with tempfile.TemporaryDirectory() as root:
            archive = Path(f"{root}/usr/lib/locale/locale-archive")
            archive.parent.mkdir(parents=True)
            command = ["localedef", f"--prefix={root}", "--add-to-archive", source]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0 and archive.is_file():
                self.texts["/usr/lib/locale/locale-archive"] = archive.read_bytes()

    def add(self, path: str) -> None:
        """Adds a file, link (with what it leads to) or folder of the host; what is not there is left out."""
        folder, name = os.path.split(path)
        path = os.path.join(os.path.realpath(folder), name)  # so that /bin/x and /usr/bin/x are one
        if path in self.files or path in self.links:
            return
        if os.path.islink(path):
            self.links[path] = os.readlink(path)
            self.add(os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path))))
        elif os.path.isdir(path):
            entries = sorted(entry for entry in os.listdir(path) if entry not in NOT_NEEDED)
            if not entries:
                self.folders.add(path)
            for entry in entries:
                self.add(os.path.join(path, entry))
        elif os.path.isfile(path):
            self.files[path] = path

    def _add_python(self) -> None:
        python = host_python()
        self.add(python)
        words = "import sys, sysconfig; print(sysconfig.get_path('stdlib')); print(sysconfig.get_path('platstdlib'))"
        done = subprocess.run([python, "-I", "-S", "-c", words], capture_output=True, text=True, check=False)
        folders = done.stdout.split()
        if done.returncode != 0 or not folders or not os.path.isdir(f"{folders[0]}/ctypes"):
            raise EnvironmentMissing(f"{python} has no standard library with ctypes", hint="apt-get install python3")
        for folder in folders:
            self.add(folder)

    def _libraries(self) -> list[str]:
        """Asks ldd, in one call, for all that the binaries load; scripts and data make it say so and are skipped."""
        binaries = [path for path in self.files if _is_elf(path)]
        done = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False)
        words = done.stdout.replace("=>", " ").split()
        return sorted({word for word in words if word.startswith("/") and not word.endswith(":")})

    def write(self, target: Any) -> str:
        """Writes the tar file, the same bytes for the same content, and gives the digest of what it holds.

        Args:
            target: a binary file object; only its `write` is used.
        """
        digest = sha256()
        with tarfile.open(fileobj=target, mode="w|") as archive:
            for path in self._folders():
                self._put(archive, path, tarfile.DIRTYPE, 0o1777 if path == "/tmp" else 0o755)
                digest.update(f"{path}/\n".encode())
            for path, link in sorted(self.links.items()):
                self._put(archive, path, tarfile.SYMTYPE, 0o777, link=link)
                digest.update(f"{path} -> {link}\n".encode())
            for path, text in sorted(self.texts.items()):
                self._put(archive, path, tarfile.REGTYPE, 0o644, data=text)
                digest.update(f"{path} {sha256(text).hexdigest()}\n".encode())
            for path, source in sorted(self.files.items()):
                if path in self.texts:
                    continue
                data = Path(source).read_bytes()
                mode = 0o755 if os.stat(source).st_mode & stat.S_IXUSR else 0o644  # set-uid bits stay behind
                self._put(archive, path, tarfile.REGTYPE, mode, data=data)
                digest.update(f"{path} {mode:o} {sha256(data).hexdigest()}\n".encode())
        return digest.hexdigest()

    def _folders(self) -> list[str]:
        wanted = {"/tmp", "/home/user", "/proc", "/dev", "/sys", "/run", "/var"}
        for path in (*self.files, *self.links, *self.texts, *self.folders, "/home/user"):
            wanted |= {str(parent) for parent in Path(path).parents if str(parent) != "/"}
        return sorted((wanted | self.folders) - self.links.keys())

    @staticmethod
    def _put(archive: tarfile.TarFile, path: str, kind: bytes, mode: int, *, link: str = "", data: bytes = b"") -> None:
        import io

        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(data)
        entry.uid = entry.gid = NOBODY if path.startswith(("/usr/", *(f"/{name}/" for name in TOP_LINKS))) else OWNER
        archive.addfile(entry, io.BytesIO(data))


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
