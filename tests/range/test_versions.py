"""The tests pass on every minor version of transformers that is supported.

Smoke tests, and with ``--families`` those of every family.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.side_by_side import installed, newest_of_each_minor
from support.workspace import ROOT

_SMOKE_TESTS = Path(__file__).with_name("smoke.py")
_FAMILIES = ROOT / "plugins"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("versions")
    available = newest_of_each_minor("transformers", dependency_of="forgather-convert")
    if chosen != "all":
        available = {minor: available[minor] for minor in chosen.split(",")}
    tests = [_SMOKE_TESTS, *([_FAMILIES] if metafunc.config.getoption("families") else [])]
    metafunc.parametrize("version", available.values(), ids=list(available))
    metafunc.parametrize("tests", tests, ids=lambda path: path.stem)


def test_version(version: str, tests: Path, tmp_path: Path) -> None:
    directory = installed("transformers", version)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", tests, "-q", "--basetemp", tmp_path / "tests"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")]),
            "FORGATHER_TRANSFORMERS": version,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
