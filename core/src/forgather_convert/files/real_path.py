"""Resolves links."""

import os
from pathlib import Path


def real_path(path: Path) -> Path:
    """Resolves the links in a path, except circular ones.

    Before Python 3.13, ``Path.resolve`` fails for circular links.
    """
    return Path(os.path.realpath(path))
