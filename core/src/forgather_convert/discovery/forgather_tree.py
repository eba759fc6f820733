"""Finds the Forgather working tree, whose converters may run without being named."""

import importlib.util
import os
from pathlib import Path

ROOT_VARIABLE = "FORGATHER_ROOT"
#: The source directories of a working tree, and the packages in them.
_SOURCES = ("src", "core/src")
_PACKAGES = ("forgather_convert", "forgather")


def forgather_tree() -> Path | None:
    """The tree named by FORGATHER_ROOT, or the current directory if it is one.

    A directory's content cannot prove that it is Forgather's: anybody may have made it, and the
    user may merely have changed to it. The current directory is accepted if Python imports this
    package or the framework from it, since its code runs anyway then.
    """
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        return Path(named)
    try:
        current = os.path.realpath(Path.cwd())
    except OSError:  # it was deleted
        return None
    candidates = {
        os.path.join(current, *source.split("/"), package)  # noqa: PTH118 - compared as text
        for source in _SOURCES
        for package in _PACKAGES
    }
    return Path(current) if candidates & _import_locations() else None


def _import_locations() -> set[str]:
    """Where Python would import the packages from, or has imported them from."""
    locations = set()
    for package in _PACKAGES:
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:  # it is imported and does not tell from where
            continue
        directories = () if spec is None else spec.submodule_search_locations or ()
        locations |= {os.path.realpath(location) for location in directories}
    return locations
