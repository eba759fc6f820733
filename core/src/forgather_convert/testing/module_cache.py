"""Where transformers puts the code of the models that the tests load."""

import os
import sys
from pathlib import Path


def use_module_cache(directory: Path) -> None:
    """Has transformers copy the code of remote models to a directory of the tests' own.

    Otherwise the copies would stay in the user's cache. It is left as it is where the
    environment chooses one, and where code was loaded already: transformers keeps all code
    in one package, which has one place.
    """
    from transformers import dynamic_module_utils

    if "HF_MODULES_CACHE" not in os.environ and "transformers_modules" not in sys.modules:
        dynamic_module_utils.HF_MODULES_CACHE = str(directory)
