"""Converts causal language models between Hugging Face and Forgather, losslessly.

``convert``, ``plan``, ``inspect`` and ``verify`` are the Python API; ``HFConverter`` is the base
class of converters. Names are imported when they are used: ``import forgather_convert`` loads
neither torch nor transformers.
"""

import sys

if sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)].endswith("forgather_convert"):
    # Python has put the working directory first, for its `-m` and torchrun's, and imports this file
    # before any other. What is in that directory may come from anybody: a click.py there would run.
    import os

    # Not Path.cwd: pathlib may not be imported yet.
    if sys.path[:1] == [os.getcwd()] and not getattr(sys.flags, "safe_path", False):  # noqa: PTH109
        del sys.path[0]

from functools import cache
from importlib import import_module
from typing import Any


@cache
def _modules() -> dict[str, str]:
    """The modules of the public names.

    What type checkers read is also what happens: the stub is the one list of public names. It is
    read when a name is used, for which commands need not wait.
    """
    import ast
    from pathlib import Path

    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    return {
        alias.name: statement.module
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom) and statement.module
        for alias in statement.names
    }


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return [*_modules()]
    if name not in _modules():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_modules()[name]), name)
