"""The Forgather working tree whose converters may run without being named."""

import importlib.util
import os
from pathlib import Path

ROOT_VARIABLE = "FORGATHER_ROOT"
#: Where a working tree has its packages, and the packages.
_SOURCES = ("src", "core/src")
_PACKAGES = ("forgather_convert", "forgather")


def forgather_tree() -> Path | None:
    """The tree that the user names in FORGATHER_ROOT, or the current directory if it is one.

    What lies in a directory cannot show that it is Forgather's: anybody may have made it, and
    the user may only have changed to it. The current directory counts if Python imports this
    package or the framework from it, so that its code runs anyway.
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
    """Where Python imports the packages from; they need not be imported yet."""
    locations = set()
    for package in _PACKAGES:
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:  # it is imported and does not say from where
            continue
        found = () if spec is None else spec.submodule_search_locations or ()
        locations |= {os.path.realpath(location) for location in found}
    return locations
