"""The smoke tests pass on every minor version of transformers that is supported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.side_by_side import installed, newest_of_each_minor
from support.workspace import ROOT

_SMOKE_TESTS = Path(__file__).with_name("smoke.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("versions")
    available = newest_of_each_minor("transformers", dependency_of="forgather-convert")
    if chosen != "all":
        available = {minor: available[minor] for minor in chosen.split(",")}
    metafunc.parametrize("version", available.values(), ids=list(available))


def test_smoke(version: str, tmp_path: Path) -> None:
    directory = installed("transformers", version)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", _SMOKE_TESTS, "-q", "--basetemp", tmp_path / "smoke"],
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
