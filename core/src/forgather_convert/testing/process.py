"""What the tests ask of the process that they run in."""

import functools
import gc
import os
import sys
from pathlib import Path


@functools.cache
def prepare_process(directory: Path) -> None:
    """Has transformers copy code to a place of the tests' own, and lets collections be quick.

    Args:
        directory: Where the tests write.
    """
    _use_module_cache(directory / "transformers-modules")
    # Every conversion collects garbage between two models. That looks at all of torch and
    # transformers each time, unless it is told that they stay.
    gc.collect()
    gc.freeze()


def _use_module_cache(directory: Path) -> None:
    """Has transformers copy the code of remote models to a directory.

    Otherwise the copies would stay in the user's cache. It is left as it is where the
    environment chooses one, and where code was loaded already: transformers keeps all code
    in one package, which has one place.
    """
    from transformers import dynamic_module_utils

    if "HF_MODULES_CACHE" not in os.environ and "transformers_modules" not in sys.modules:
        dynamic_module_utils.HF_MODULES_CACHE = str(directory)
