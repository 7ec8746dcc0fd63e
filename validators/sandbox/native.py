"""The `native-ns` backend: each plan in fresh kernel namespaces, without Docker and without root.

The tools are the host's own /usr, read-only. What is inside and how it is closed: namespaces.py.
LIMIT: memory is bounded per process by the kernel and in sum by a watch every 0.1 s, not by a cgroup.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from validators.sandbox.channel import Launch
from validators.sandbox.contract import Json, limits_json
from validators.sandbox.pool import WorkerPool
from validators.sandbox.tools import TOOLS

FIRST_KERNEL_COUNTING_PER_NAMESPACE = (5, 14)
"""Since then RLIMIT_NPROC counts within the user namespace; before, plans would share one count with the whole user."""


class NativeSandbox(WorkerPool):
    """Namespaces made by a helper program, which clones itself into new ones for every plan."""

    name = "native-ns"

    def launch(self, fixture: Json) -> Launch:
        """Gives the helper program; it runs under our own interpreter, isolated from its site-packages."""
        del fixture  # it comes with the job
        program = str(Path(__file__).with_name("namespaces.py"))
        return Launch(argv=[sys.executable, "-I", "-S", program], env={"LANG": "C.UTF-8", "PATH": os.defpath})

    def runner_limits(self) -> Json:
        """No cgroup here; processes are counted where the kernel counts them per namespace."""
        release = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in os.uname().release.split(".")[:2])
        return {"has_cgroup": False, "counts_processes": release >= FIRST_KERNEL_COUNTING_PER_NAMESPACE}

    def describe(self) -> Json:
        """Gives backend, kernel, limits, and which known tools the host lacks."""
        import shutil

        found = {name: shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in TOOLS}
        missing = [name for name, path in found.items() if path is None]
        return {
            "backend": self.name,
            "tools": "the host's /usr, read-only",
            "missing_tools": missing,
            "tools_digest": _tools_digest(found),
            "kernel": os.uname().release,
            "limits": limits_json(self.limits),
        }


def _tools_digest(tools: Mapping[str, str | None]) -> str:
    """Gives a name for the host's tools that changes when one of them does: by their sizes and times, unread."""
    stats = {name: os.stat(path) for name, path in tools.items() if path}
    text = " ".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats.items())
    return sha256(text.encode()).hexdigest()[:12]
