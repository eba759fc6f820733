"""Pauses Python's garbage collector."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collection() -> Iterator[None]:
    """Pauses the garbage collector, for code that produces hardly any garbage.

    Importing torch and transformers creates a million permanent objects; with the collector paused
    it takes a tenth less time. Does nothing if the collector is already disabled.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
