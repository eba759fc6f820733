"""Runs the command line in this process, where only text and exit code matter."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from forgather_convert.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int
    output: str
    errors: str


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> Ended:
    """Runs ``forgather`` as its entry point does."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["forgather", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    output, errors = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Ended(ended.value.code, output, errors)
