"""Nothing in the working directory is imported, however the command is started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.models import write_hf_model
from support.variants import variant

pytestmark = pytest.mark.version_independent

#: What the command and the libraries that it uses import.
_IMPORTED = ("click", "rich", "torch", "transformers", "typing", "pluggy", "json", "logging")


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A model's directory with a file for every module that is imported."""
    directory = write_hf_model(tmp_path / "hf", variant("llama-mha"), dtype="bfloat16")
    for name in _IMPORTED:
        code = f"import sys\nsys.exit('{name}.py of the working directory ran')\n"
        (directory / f"{name}.py").write_text(code)
    return directory


def _python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_trap_works(trapped: Path) -> None:
    """The tests below prove nothing if Python would not run these files."""
    result = _python(trapped, "-m", "click")
    assert "of the working directory ran" in result.stderr


def test_python_m_imports_nothing_from_there(trapped: Path) -> None:
    result = _python(trapped, "-m", "forgather_convert", "convert", "--dry-run", ".", "../fg")
    assert result.returncode == 0, result.stderr
    assert "torch.py" in result.stdout


def test_processes_that_torchrun_starts_import_nothing_from_there(trapped: Path) -> None:
    # Isolated: this process is torchrun's own, which its script starts without that directory.
    torchrun = ("-I", "-c", "from torch.distributed.run import main; main()", "--standalone")
    result = _python(
        trapped, *torchrun, "--nproc-per-node=1", "-m", "forgather_convert", "convert", "--help"
    )
    assert result.returncode == 0, result.stderr
    assert "Usage: python -m forgather_convert convert" in result.stdout


@pytest.mark.parametrize("start", [("-m", "program"), ("-c", "import program")])
def test_other_programs_keep_their_directory(tmp_path: Path, start: tuple[str, str]) -> None:
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "__init__.py").write_text("import forgather_convert, beside\n")
    (tmp_path / "program" / "__main__.py").write_text("")
    (tmp_path / "beside.py").write_text("print('found')\n")
    assert _python(tmp_path, *start).stdout == "found\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no such option")
def test_a_safe_path_stays_as_it_is(tmp_path: Path) -> None:
    start = (
        "import os, sys; sys.argv = ['-m']; sys.orig_argv += ['-m', 'forgather_convert'];"
        "sys.path.insert(0, os.getcwd()); import forgather_convert; print(sys.path[0])"
    )
    assert _python(tmp_path, "-c", start).stdout != f"{tmp_path}\n"
    assert _python(tmp_path, "-P", "-c", start).stdout == f"{tmp_path}\n"
