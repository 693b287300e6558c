"""Versions of installed packages, for reports."""

from collections.abc import Iterable
from importlib import metadata

from dwnet import __version__


def installed_versions(distributions: Iterable[str]) -> dict[str, str | None]:
    """Returns the version of each distribution; None if not installed. ``dwnet`` gives the version of this code."""
    return {name: _version(name) for name in distributions}


def _version(distribution: str) -> str | None:
    if distribution == "dwnet":  # a clone may not be installed
        return __version__
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
