"""Which directory's converters may run without being named."""

import os
import shutil
from pathlib import Path

import pytest

import forgather_convert
from forgather_convert import UnsupportedModelError
from forgather_convert.discovery.choice import find_converters, resolve_converter
from forgather_convert.discovery.converter_files import find_in_tree
from forgather_convert.discovery.forgather_tree import forgather_tree
from support.log import logged

pytestmark = pytest.mark.version_independent

ROOT = Path(__file__).parents[2]
#: Leaves a trace where it runs.
TRAP = """
from pathlib import Path
from forgather_convert import HFConverter, register_converter
Path(__file__).with_name("ran").touch()

@register_converter("trap")
class Trap(HFConverter):
    pass
"""


@pytest.fixture(autouse=True)
def _no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORGATHER_ROOT", raising=False)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that has all that a Forgather tree has, and to which the user changed."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "core/src/forgather_convert").mkdir(parents=True)
    (tmp_path / "core/src/forgather_convert/__init__.py").touch()
    (tmp_path / "core/pyproject.toml").write_text('[project]\nname = "forgather-convert"\n')
    (tmp_path / "src/forgather").mkdir(parents=True)
    trap = tmp_path / "examples/models/trap/src/converter.py"
    trap.parent.mkdir(parents=True)
    trap.write_text(TRAP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_code_of_a_directory_runs_because_the_user_is_in_it(hostile: Path) -> None:
    assert forgather_tree() is None
    with logged() as messages, pytest.raises(UnsupportedModelError):
        resolve_converter("trap")
    assert not list(hostile.rglob("ran"))
    (message,) = messages
    for word in ("examples/models/trap/src/converter.py", "--converter-path", "FORGATHER_ROOT"):
        assert word in message
    assert all(converter.model_type != "trap" for converter in find_converters())


def test_nor_with_an_environment_of_its_own_in_it(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `python -m venv .venv` in a clone makes it: the package lies below the directory."""
    site = hostile / ".venv/lib/python3/site-packages"
    (site / "forgather").mkdir(parents=True)
    monkeypatch.syspath_prepend(site)
    assert forgather_tree() is None


@pytest.mark.parametrize("through_link", [False, True])
def test_the_tree_that_python_imports_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through_link: bool
) -> None:
    """The framework's, here: the package's own tree may not be where this test runs."""
    tree = tmp_path / "tree"
    (tree / "src/forgather").mkdir(parents=True)
    monkeypatch.syspath_prepend(tree / "src")
    (tmp_path / "link").symlink_to(tree)
    monkeypatch.chdir(tmp_path / "link" if through_link else tree)
    found = forgather_tree()
    assert found is not None
    assert found.samefile(tree)


def test_a_copy_of_this_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    own = ROOT / "core/src/forgather_convert"
    is_imported = Path(forgather_convert.__file__).parent.samefile(own)
    assert (forgather_tree() is not None) is is_imported


def test_named_in_the_environment(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGATHER_ROOT", str(hostile))
    assert [converter.model_type for converter in find_in_tree()] == ["trap"]


def test_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_in_tree() == []


def test_what_is_no_file_is_passed_over(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named pipe would be read without end."""
    monkeypatch.setenv("FORGATHER_ROOT", str(hostile))
    models = hostile / "examples/models"
    for name in ("pipe", "loop"):
        (models / name / "src").mkdir(parents=True)
    os.mkfifo(models / "pipe/src/converter.py")
    (models / "loop/src/converter.py").symlink_to("converter.py")
    found = find_in_tree(hostile / "model")
    assert [converter.model_type for converter in found] == ["trap"]
