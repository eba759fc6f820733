"""Prepares the process that the tests run in."""

import functools
import gc
import os
import sys
from pathlib import Path


@functools.cache
def prepare_process(directory: Path) -> None:
    """Redirects transformers' copies of code to the tests' directory, and spares time.

    Args:
        directory: The directory of the tests.
    """
    _use_module_cache(directory / "transformers-modules")
    # What tests write does not have to survive a power cut.
    os.fsync = lambda fd: None
    # Searching for garbage would search all of torch and transformers each time.
    gc.collect()
    gc.freeze()


def _use_module_cache(directory: Path) -> None:
    """Makes transformers copy the code of remote models to a directory.

    Otherwise the copies would remain in the user's cache. Does nothing if the environment sets a
    directory, or if code was already loaded: transformers keeps all code in one package, which has
    one location.
    """
    from transformers import dynamic_module_utils

    if "HF_MODULES_CACHE" not in os.environ and "transformers_modules" not in sys.modules:
        dynamic_module_utils.HF_MODULES_CACHE = str(directory)
