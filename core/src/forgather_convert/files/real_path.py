"""Where links lead to."""

import os
from pathlib import Path


def real_path(path: Path) -> Path:
    """A path without links, as far as they can be followed: links may lead in a circle.

    ``Path.resolve`` fails for those, before Python 3.13.
    """
    return Path(os.path.realpath(path))
