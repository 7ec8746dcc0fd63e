"""Start guard: our packages have generic names, so a stray `trainer.py` or another distribution could shadow one.

Compares where each package would be imported from with where this one lies, without importing anything.
"""

from __future__ import annotations

import os
import sys

PACKAGES = ("frontier_core", "validators", "generators", "trainer", "curriculum", "frontier_ops")


def shadowing_file(home: str) -> str:
    """Gives the path that would be imported instead of one of our packages, "" when there is none.

    Args:
        home: the folder that holds our packages.
    """
    home = os.path.realpath(home)
    for folder in sys.path:
        if os.path.realpath(folder or ".") == home:
            return ""  # everything after our own folder on the path comes too late to shadow
        for package in PACKAGES:
            for candidate in (os.path.join(folder, package, "__init__.py"), os.path.join(folder, f"{package}.py")):
                if os.path.isfile(candidate):
                    return candidate
    return ""
