"""Where the data that ships with the code lies: `domains.yaml`, `templates/`, `config/`.

In a checkout they are folders beside the packages; in a wheel they are packed under frontier_core/shipped.
"""

from __future__ import annotations

from pathlib import Path

from frontier_core.errors import EnvironmentMissing

_HOMES = (Path(__file__).parent.parent, Path(__file__).parent / "shipped")


def shipped(name: str) -> Path:
    """Gives the path of a file that ships, e.g. `shipped("domains.yaml")`."""
    for home in _HOMES:
        if (home / name).exists():
            return home / name
    raise EnvironmentMissing(f"{name} is missing from the installation", hint="install frontier-data-engine again")
