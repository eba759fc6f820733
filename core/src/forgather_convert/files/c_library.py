"""Functions of the C library that Python has no name for."""

import ctypes
import os
from typing import Any


def c_function(name: str) -> Any:
    """A function of the C library, of which ``ctypes.get_errno()`` gives the error.

    Returns:
        The function; ``None`` if the library has none of this name.
    """
    # Only POSIX systems name the libraries of the process itself by None.
    return getattr(ctypes.CDLL(None, use_errno=True), name, None) if os.name == "posix" else None
