"""The one place that names the version; hatchling, `frontier -V` and every sidecar read it here."""

__version__ = "0.1.0"
