"""A converter file gets this library by its import path, and nobody else's imports change."""

import builtins
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest

import forgather_convert
from forgather_convert import ConverterError, HFConverter
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.discovery.converter_files import load_file
from support.distributions import SPECIFICATION, write
from support.framework import importable_framework

pytestmark = [
    pytest.mark.version_independent,
    pytest.mark.usefixtures("own_tree"),
]
PATH = "forgather.ml.model_conversion"
#: Every form of an import statement, and how the module is called after it.
STATEMENTS = {
    "from forgather.ml.model_conversion import HFConverter, register_converter": "",
    "from forgather.ml.model_conversion import *": "",
    "from forgather.ml import model_conversion": "model_conversion.",
    "import forgather.ml.model_conversion": "forgather.ml.model_conversion.",
    "import forgather.ml.model_conversion as ours": "ours.",
    "import forgather": "forgather.ml.model_conversion.",
    "from forgather import ml": "ml.model_conversion.",
    "from .names import HFConverter, register_converter": "",
    "from .names.deeper import HFConverter, register_converter": "",
}
CLASS = """
@{name}register_converter("family")
class Converter({name}HFConverter):
    pass
"""


def test_nothing_is_left_beside_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor beside the modules that it imports: the directory may be a model's."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "names.py").write_text(f"from {PATH} import HFConverter, register_converter\n")
    path = tmp_path / "converter.py"
    path.write_text("from .names import HFConverter, register_converter\n" + CLASS.format(name=""))
    assert [name for name, _ in load_file(path)] == ["family"]
    assert sorted(found.name for found in tmp_path.iterdir()) == ["converter.py", "names.py"]


@pytest.fixture(params=["absent", "not imported", "imported"])
def framework(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether the framework can be imported; it may be so already."""
    if request.param == "absent":
        yield False
        return
    with importable_framework():
        if request.param == "imported":
            importlib.import_module(PATH)
        yield True


def of_the_framework() -> dict[str, object]:
    """The modules that Python has under the framework's names."""
    return {name: sys.modules[name] for name in sys.modules if name.startswith("forgather.")}


def with_neighbours(directory: Path, text: str) -> Path:
    """Writes a converter file beside a package that imports the library, too."""
    plain = "from forgather.ml.model_conversion import HFConverter, register_converter\n"
    write(directory / "names" / "__init__.py", plain)
    write(directory / "names" / "deeper.py", plain)
    return write(directory / "converter.py", text)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_file_gets_ours(statement: str, framework: bool, tmp_path: Path) -> None:
    file = with_neighbours(tmp_path, statement + CLASS.format(name=STATEMENTS[statement]))
    before, finders, path = of_the_framework(), builtins.__import__, list(sys.path)
    ((model_type, loaded),) = load_file(file)
    assert (model_type, loaded.__mro__[1]) == ("family", HFConverter)
    after = of_the_framework()
    assert {name: after[name] for name in before} == before
    assert (builtins.__import__, sys.path) == (finders, path)
    theirs = importlib.import_module(PATH)
    assert (theirs.HFConverter is forgather_convert.HFConverter) is not framework
    assert hasattr(theirs, "registered") is framework


def test_the_specifications_example(framework: bool, tmp_path: Path) -> None:
    file = write(tmp_path / "converter.py", SPECIFICATION)
    assert resolve_converter("my_model", [file]).origin == str(file)


def test_what_is_imported_later_is_ours_too(framework: bool, tmp_path: Path) -> None:
    statement = "from forgather.ml.model_conversion import HFConverter, register_converter"
    later = (
        f"    def later(self):\n        from {PATH} import HFConverter\n        return HFConverter"
    )
    text = statement + CLASS.format(name="").replace("    pass", later)
    hooks = resolve_converter("family", [write(tmp_path / "converter.py", text)])
    converter: Any = hooks.converter
    assert converter.later() is HFConverter


def test_the_framework_itself_stays_the_frameworks(tmp_path: Path) -> None:
    text = (
        "import forgather\nimport forgather.cli\nimport forgather.cli as cli\n"
        "from forgather import MetaConfig, ml\nfrom forgather.cli import main\n"
        "seen = forgather.MetaConfig, forgather.cli, cli, MetaConfig, main, ml.model_conversion\n"
    )
    with importable_framework():
        text = f"from {PATH} import *\n{text}{CLASS.format(name='')}"
        ((_, loaded),) = load_file(write(tmp_path / "converter.py", text))
        seen = sys.modules[loaded.__module__].seen
        cli, package = importlib.import_module("forgather.cli"), sys.modules["forgather"]
        assert seen[:5] == (package.MetaConfig, cli, cli, package.MetaConfig, cli.main)
        assert seen[5].HFConverter is HFConverter


def test_a_module_that_only_the_framework_has(framework: bool, tmp_path: Path) -> None:
    text = f"import {PATH}.resize_embeddings\n{CLASS.format(name='')}"
    with pytest.raises(ConverterError, match="forgather-convert's here"):
        load_file(write(tmp_path / "converter.py", text))


def test_another_thread_imports_the_frameworks_meanwhile(tmp_path: Path) -> None:
    """While the file runs, and has imported ours, another thread imports for the first time."""
    text = (
        f"import sys\nfrom {PATH} import *\n"
        "events = sys.modules['_events_of_the_test']\n"
        f"events.running.set()\nassert events.done.wait(60)\n{CLASS.format(name='')}"
    )
    file = write(tmp_path / "converter.py", text)
    with importable_framework(), pytest.MonkeyPatch.context() as patch:
        events = SimpleNamespace(running=Event(), done=Event())
        patch.setitem(sys.modules, "_events_of_the_test", cast("Any", events))
        thread = Thread(target=load_file, args=(file,))
        thread.start()
        assert events.running.wait(60)
        theirs = importlib.import_module(PATH)
        events.done.set()
        thread.join()
        assert hasattr(theirs, "registered")
        assert sys.modules[PATH] is theirs
        ((_, loaded),) = load_file(file)
        assert loaded.__mro__[1] is HFConverter


def test_files_that_threads_load_at_once_are_told_apart(tmp_path: Path) -> None:
    def text(model_type: str) -> str:
        body = CLASS.format(name="").replace("family", model_type)
        return f"from {PATH} import *\nimport time\ntime.sleep(0.05)\n{body}"

    types = [f"family-{number}" for number in range(4)]
    files = [write(tmp_path / name / "converter.py", text(name)) for name in types]
    threads = [Thread(target=load_file, args=(file,)) for file in (*files, *files)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[kind for kind, _ in load_file(file)] for file in files] == [[kind] for kind in types]
