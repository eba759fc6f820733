"""The command line hands over to the framework what is the framework's."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import forgather_convert.cli.main as command_line
from support.command import forgather, forgather_process
from support.distributions import write
from support.framework import PACKAGES, importable_framework, write_metadata

pytestmark = pytest.mark.version_independent

#: Runs the command line, and tells in the last line of stderr what of the framework was imported.
TELL_IMPORTS = """
import sys
from forgather_convert.cli.main import main
try:
    main()
finally:
    sys.stderr.write("\\n" + " ".join({"forgather", "forgather.cli"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_metadata(tmp_path_factory.mktemp("site"))


@pytest.fixture
def _framework(site: Path) -> Iterator[None]:
    """The framework is installed."""
    with importable_framework(PACKAGES, site):
        yield


def handed_over(result: subprocess.CompletedProcess[str]) -> list[str]:
    arguments: list[str] = json.loads(result.stdout)["framework"]
    assert result.stderr == ""
    return arguments


@pytest.mark.usefixtures("_framework")
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--help"),
        ("-t", "train_config.yaml", "train"),
        ("--no-dyn", "convert", "one", "two"),
        ("unknown", "--version"),
        ("fail", "-x"),
    ],
)
def test_what_is_not_ours_is_handed_over(arguments: tuple[str, ...]) -> None:
    result = forgather(*arguments)
    assert handed_over(result) == ["forgather", *arguments]
    assert result.returncode == (3 if "fail" in arguments else 0)


def test_what_is_ours_does_not_import_it(site: Path) -> None:
    paths = [str(PACKAGES), str(site), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, "-c", TELL_IMPORTS, "converters", "list"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "DISTRIBUTION" in result.stdout
    assert result.stderr == "\n"


@pytest.mark.usefixtures("_framework")
@pytest.mark.parametrize("name", [*command_line.forgather.commands, "--version"])
def test_what_is_ours_stays_ours(name: str) -> None:
    result = forgather(*([name] if name == "--version" else [name, "--help"]))
    assert result.returncode == 0
    assert "Framework CLI" not in result.stdout
    assert "forgather.cli" not in sys.modules


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ()])
def test_the_help_shows_both(arguments: tuple[str, ...], site: Path) -> None:
    without = forgather(*arguments)
    with importable_framework(PACKAGES, site):
        result = forgather(*arguments)
    own, _, theirs = (result.stdout + result.stderr).partition("Framework CLI")
    assert all(name in own for name in command_line.forgather.commands)
    assert "framework 2024.0" in own
    assert "train        Train a model" in theirs
    assert result.returncode == without.returncode
    assert own.startswith((without.stdout + without.stderr).rstrip())
    assert "Framework" not in without.stdout + without.stderr


def test_without_the_framework_it_is_wrong_usage() -> None:
    result = forgather("train")
    assert (result.returncode, result.stdout) == (2, "")
    assert "No such command 'train'" in result.stderr
    assert forgather("-t", "x", "train").returncode == 2


def test_metadata_without_the_package_is_no_framework(site: Path) -> None:
    """As a framework leaves it whose directory was deleted; our own import path is still there."""
    with importable_framework(site):
        assert forgather("train").returncode == 2


@pytest.mark.parametrize("error", ["raise ImportError('no numpy')", "raise SystemExit(5)"])
def test_a_framework_that_cannot_be_imported(error: str, tmp_path: Path) -> None:
    write(tmp_path / "forgather" / "__init__.py", "")
    write(tmp_path / "forgather" / "cli.py", error)
    with importable_framework(write_metadata(tmp_path)):
        result = forgather("train")
        help_of_both = forgather("--help")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("ERROR: forgather.cli:main of forgather 2024.0 cannot be")
    assert "Traceback" not in result.stderr
    assert help_of_both.returncode == 0
    assert "cannot be imported" in help_of_both.stdout
    assert "Traceback" not in help_of_both.stderr


@pytest.mark.parametrize("arguments", [("convert", "--help"), ("train",)])
def test_as_a_module(arguments: tuple[str, ...]) -> None:
    result = forgather_process(*arguments)
    assert result.returncode == (0 if "convert" in arguments else 2)
    assert "Usage: python -m forgather_convert" in result.stdout + result.stderr
