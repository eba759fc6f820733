"""The import path of converter files is typed, where the core is installed."""

import sys
import venv
from pathlib import Path

import pytest

from support.workspace import ROOT

pytestmark = pytest.mark.version_independent

CONVERTER = """
from forgather.ml.model_conversion import HFConverter, register_converter


@register_converter("my_model")
class MyModelConverter(HFConverter):
    hf_model = 1


reveal_type(MyModelConverter().get_tokenizer_class())
"""


def test_a_type_checker_finds_the_types(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("*/site-packages")
    for path in (ROOT / "core" / "src").iterdir():
        (site / path.name).symlink_to(path)
    (tmp_path / "my_converter.py").write_text(CONVERTER)
    python = tmp_path / "env" / "bin" / Path(sys.executable).name
    options = ["--strict", "--no-incremental", "--config-file", "", "--python-executable", python]
    output, _, _ = api.run([*map(str, options), str(tmp_path / "my_converter.py")])
    errors = [line.partition("my_converter.py:")[2] for line in output.splitlines()]
    assert errors[0].startswith("7: error: Incompatible types in assignment"), output
    assert errors[1] == '10: note: Revealed type is "str | None"', output
    assert "Found 1 error" in output
