"""Generated code is imported from files, which last as long as the process and no longer."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forgather_convert.converter_tools.tiny_models import build_forgather, project_of, tiny_cases
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.dynamic_model.loading import import_modules

_FILES = {
    "model.py": "from .part import Part\n\n\nclass Model(Part):\n    pass\n",
    "part.py": "class Part:\n    pass\n",
}


def test_files_can_be_read_after_the_import() -> None:
    """Some versions of transformers open the file of a class; others use ``inspect``."""
    modules = import_modules(_FILES, ("model", "part"))
    for name, module in modules.items():
        assert module.__file__ is not None
        assert Path(module.__file__).read_text() == _FILES[f"{name}.py"]
    assert inspect.getsource(modules["part"].Part) == _FILES["part.py"]


def test_same_code_is_imported_once() -> None:
    first = import_modules(_FILES, ("model",))["model"]
    second = import_modules(dict(reversed(_FILES.items())), ("model",))["model"]
    assert first is second


def test_code_that_failed_is_imported_again() -> None:
    files = {"model.py": "import os\nassert 'FORGATHER_TEST_READY' in os.environ\n"}
    with pytest.raises(AssertionError):
        import_modules(files, ("model",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGATHER_TEST_READY", "1")
        assert import_modules(files, ("model",))["model"].os is os


def test_nothing_is_left_when_the_process_ends(tmp_path: Path) -> None:
    program = (
        "import os\n"
        "from forgather_convert.dynamic_model.loading import import_modules\n"
        f"modules = import_modules({_FILES!r}, ('model',))\n"
        "assert os.path.exists(modules['model'].__file__)\n"
        "print(modules['model'].__file__)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(result.stdout).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["llama", "qwen3_moe"])
def test_the_attention_implementation_can_be_set(family: str) -> None:
    """Some versions look into the source of the model's module for whether it may be."""
    hooks = resolve_converter(family)
    make_config, *_ = tiny_cases(hooks).values()
    _, project = project_of(hooks, make_config())
    model = build_forgather(project)
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        assert model.causal_lm.config._attn_implementation == implementation
