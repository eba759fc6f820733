"""Lets a test act as a user with few rights, whoever runs it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A user who owns nothing.
_NOBODY = 65534


@contextmanager
def unprivileged(directory: Path) -> Iterator[None]:
    """Takes the administrator's rights away; a directory, and all in it, becomes the new user's.

    The administrator may write everywhere, so that a missing right could not be tested.
    """
    own = os.geteuid()
    if own == 0:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, _NOBODY, -1, follow_symlinks=False)
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)
