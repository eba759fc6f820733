"""Help and refusals come at once: the libraries that take seconds are not imported for them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.converting import edit_config
from support.models import write_hf_model
from support.variants import variant

pytestmark = pytest.mark.version_independent

_LARGE = ("torch", "transformers", "safetensors", "numpy", "pydantic", "jinja2", "yaml", "rich")
_RUN = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps([name for name in {large} if name in sys.modules])))
from forgather_convert.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("models") / "hf", variant("llama-default"))


def imported(*arguments: str | Path, code: int) -> tuple[list[str], str]:
    """Which large libraries a command imports, and what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", _RUN.format(large=_LARGE), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout.splitlines()[-1]), result.stdout + result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"], ["converters", "--help"]])
def test_help(arguments: list[str]) -> None:
    found, text = imported(*arguments, code=0)
    assert found == []
    assert "Usage:" in text


def test_a_destination_that_exists(source: Path, tmp_path: Path) -> None:
    found, text = imported("convert", source, tmp_path, code=1)
    assert found == []
    assert f"The destination {tmp_path} exists" in text


def test_a_family_that_nobody_knows(source: Path, tmp_path: Path) -> None:
    edit_config(source, model_type="unheard_of")
    found, text = imported("convert", source, tmp_path / "out", code=1)
    assert found == []
    assert "No converter registered for model type 'unheard_of'" in text
    found, text = imported("convert", source, tmp_path / "out", "--model-type", "no", code=2)
    assert found == []
    assert "'no' is not one of " in text
