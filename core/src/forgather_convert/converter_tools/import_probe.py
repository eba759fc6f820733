"""Imports a converter in a separate process, to find out whether that works."""

import json
import os
import subprocess
import sys
from pathlib import Path

from forgather_convert.discovery.choice import find_converters, load_converter
from forgather_convert.discovery.found import PluginCandidate
from forgather_convert.discovery.installed import find_installed
from forgather_convert.errors import ForgatherConvertError

_TIMEOUT_SECONDS = 120
# The module search path is this process's: it may have been changed.
_CODE = """
import os, sys
sys.path[:] = sys.argv[1].split(os.pathsep)
from forgather_convert.converter_tools.import_probe import main
main()
"""


def import_problem(converter: PluginCandidate) -> str | None:
    """Why a converter cannot be imported; ``None`` if it can."""
    what = {
        "target": converter.target,
        "distribution": converter.distribution,
        "model_type": converter.model_type,
    }
    command = [sys.executable, "-c", _CODE, os.pathsep.join(sys.path), json.dumps(what)]
    try:
        result = subprocess.run(  # noqa: S603 - this very program
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"Its import does not end within {_TIMEOUT_SECONDS} seconds."
    if result.returncode == 0:
        return None
    lines = result.stderr.strip().splitlines()
    return lines[-1] if lines else f"Its import ends Python with exit code {result.returncode}."


def main() -> None:
    """Imports the converter described by the second argument; prints any problem as last line."""
    what = json.loads(sys.argv[2])
    if what["distribution"] is None:
        candidates = find_converters([Path(what["target"])])
    else:
        candidates = find_installed()
    (converter,) = [
        candidate
        for candidate in candidates
        if (candidate.target, candidate.distribution, candidate.model_type)
        == (what["target"], what["distribution"], what["model_type"])
    ][:1]
    try:
        load_converter(converter)
    except ForgatherConvertError as error:
        sys.exit(" ".join(str(error).split()))
