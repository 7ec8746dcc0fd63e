"""Makes the Docker image of the sandbox out of the host's own tools: no registry, no network, a few seconds.

The image holds the known tools the host has (tools.py) with every library they load, git's helpers, and a Python for
the runner. It is tagged by the digest of its content; a label with the host tools' sizes and dates finds it again
without building. glibc and musl hosts alike, as long as `ldd` is there. Running it is docker_run.py.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.contract import MIB, Note
from validators.sandbox.tools import TOOLS

REPOSITORY = "frontier-sandbox"
LABEL = "frontier.host-tools"
RECIPE = "1"
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
ETC = {
    "passwd": "root:x:0:0::/:/bin/bash\nuser:x:1000:1000:user:/home/user:/bin/bash\n",
    "group": "root:x:0:\nuser:x:1000:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "hosts": "127.0.0.1 localhost\n",
    "hostname": "sandbox\n",
}


def host_python() -> str:
    """Gives the interpreter that goes into the image: the system's, else the one running this."""
    return shutil.which("python3", path="/usr/local/bin:/usr/bin") or os.path.realpath(sys.executable)


def host_tools() -> dict[str, str]:
    """Gives the known tools the host has: command -> path."""
    found = {name: shutil.which(name, path=SEARCH_PATH) for name in TOOLS}
    return {name: path for name, path in found.items() if path}


def host_key() -> str:
    """Gives a short name for the state of the host's tools: equal key, equal image."""
    lines = [RECIPE]
    for path in sorted({*host_tools().values(), host_python()}):
        info = os.stat(path)
        lines.append(f"{path} {os.path.realpath(path)} {info.st_size} {info.st_mtime_ns}")
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def ensure_image(client: Any, note: Note) -> str:
    """Gives the tag of the image for this host's tools, building it when the engine has none.

    Args:
        client: a docker.DockerClient.
        note: told before a build, which takes seconds.
    Raises:
        EnvironmentMissing: bash, ldd or a Python with its library can't be found on the host.
    """
    key = host_key()
    for image in client.images.list(name=REPOSITORY, filters={"label": f"{LABEL}={key}"}):
        if image.tags:
            return str(image.tags[0])
    note("building the sandbox image from this machine's tools (once; no network)")
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        tree = Tree()
        tree.collect()
        digest = tree.write(file.name)
        tag = digest[:12]
        changes = [f"LABEL {LABEL}={key}", f"ENV PYTHON={host_python()}"]
        client.api.import_image_from_file(file.name, repository=REPOSITORY, tag=tag, changes=changes)
        note(f"built {REPOSITORY}:{tag}, {os.path.getsize(file.name) // MIB} MiB, {len(host_tools())} tools")
    return f"{REPOSITORY}:{tag}"


class Tree:
    """The files of the image: path -> its bytes on the host, made text, or a link."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.texts: dict[str, bytes] = {f"/etc/{name}": text.encode() for name, text in ETC.items()}

    def collect(self) -> None:
        """Gathers tools, helpers, Python and every library any of them loads."""
        tools = host_tools()
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
            for entry in sorted(os.listdir(path)):
                if entry not in NOT_NEEDED:
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

    def write(self, target: str) -> str:
        """Writes the tar file, the same bytes for the same content, and gives the digest of what it holds."""
        digest = sha256()
        with tarfile.open(target, "w") as archive:
            for path in self._folders():
                self._put(archive, path, tarfile.DIRTYPE, 0o1777 if path == "/tmp" else 0o755)
            for path, link in sorted(self.links.items()):
                self._put(archive, path, tarfile.SYMTYPE, 0o777, link=link)
                digest.update(f"{path} -> {link}\n".encode())
            for path, text in sorted(self.texts.items()):
                self._put(archive, path, tarfile.REGTYPE, 0o644, data=text)
                digest.update(f"{path} {sha256(text).hexdigest()}\n".encode())
            for path, source in sorted(self.files.items()):
                data = Path(source).read_bytes()
                mode = 0o755 if os.stat(source).st_mode & stat.S_IXUSR else 0o644  # set-uid bits stay behind
                self._put(archive, path, tarfile.REGTYPE, mode, data=data)
                digest.update(f"{path} {mode:o} {sha256(data).hexdigest()}\n".encode())
        return digest.hexdigest()

    def _folders(self) -> list[str]:
        wanted = {"/tmp", "/home/user", "/proc", "/dev", "/sys", "/run", "/var"}
        for path in (*self.files, *self.links, *self.texts, "/home/user"):
            wanted |= {str(parent) for parent in Path(path).parents if str(parent) != "/"}
        return sorted(wanted - self.links.keys())

    @staticmethod
    def _put(archive: tarfile.TarFile, path: str, kind: bytes, mode: int, *, link: str = "", data: bytes = b"") -> None:
        import io

        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(data)
        archive.addfile(entry, io.BytesIO(data))


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
