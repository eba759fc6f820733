"""Converters that are files: what they declare, and which is chosen."""

import sys
from pathlib import Path

import pytest

from forgather_convert import (
    ConverterError,
    UnsupportedModelError,
)
from forgather_convert.discovery.choice import find_converters, resolve_converter
from forgather_convert.discovery.converter_files import find_in_path, load_file
from forgather_convert.discovery.declarations import read_declarations
from forgather_convert.discovery.found import Origin, Status
from support.distributions import SPECIFICATION, install, scanned, write

pytestmark = [pytest.mark.version_independent, pytest.mark.usefixtures("own_tree")]


def status_of(name: str) -> tuple[Status, str]:
    (found,) = [found for found in find_converters() if found.distribution == name]
    return found.status, found.problem


@pytest.mark.parametrize(
    ("text", "model_types", "may_have_more"),
    [
        (SPECIFICATION, ("my_model",), False),
        ("import forgather_convert as f\n@f.register_converter('a')\nclass A: pass", ("a",), False),
        ("from f import register_converter as r\n@r(model_type='a')\nclass A: pass", ("a",), False),
        ("register_converter('a')(Imported)", ("a",), False),
        ("for name in names: register_converter(name)(Imported)", (), True),
        ("helper(register_converter)", (), True),
        ("from .other import *", (), True),
        ("@register_converter('a')\nclass A: pass\nregister_converter(b)(A)", ("a",), True),
        ("class Currency: pass", (), False),
        ("@register_converter('a')\nclass A:\n  def", ("a",), False),
        ("def (", (), True),
        ("\x00", (), True),
    ],
)
def test_registrations_are_read_and_not_run(
    tmp_path: Path, text: str, model_types: tuple[str, ...], may_have_more: bool
) -> None:
    found = read_declarations(write(tmp_path / "converter.py", text))
    assert (found.model_types, found.may_have_more) == (model_types, may_have_more)


def test_only_the_file_that_is_needed_runs(tmp_path: Path) -> None:
    directory = tmp_path / "converters"
    write(directory / "a_converter.py", scanned("wanted"))
    write(directory / "deep" / "er" / "converter.py", "raise 1\n" + scanned("unwanted"))
    write(directory / "currency_converter.py", "raise RuntimeError('not a model converter')")
    write(directory / "c_converter.py", scanned("unreadable") + "\ndef (")
    write(directory / ".hidden" / "converter.py", "raise RuntimeError('hidden')")
    write(directory / "dynamic_converter.py", "register_converter(1 / 0)")
    assert resolve_converter("wanted", [directory]).model_type == "wanted"
    with pytest.raises(ConverterError) as caught:
        resolve_converter("unreadable", [directory])
    assert str(directory / "c_converter.py") in str(caught.value)
    assert "not valid Python" in str(caught.value)
    with pytest.raises(ConverterError, match=r"er.converter\.py cannot be imported: TypeError"):
        resolve_converter("unwanted", [directory])


def test_a_file_that_must_run_to_tell(tmp_path: Path) -> None:
    text = scanned("ignored").replace('("ignored")', '("dyna" + "mic")')
    file = write(tmp_path / "x" / "my_converter.py", text)
    assert resolve_converter("dynamic", [file]).origin == str(file)
    assert resolve_converter("dynamic", [file.parent]).origin == str(file)
    # A working tree's is not run on suspicion.
    write(tmp_path / "tree/examples/models/d/src/converter.py", text.replace("dyna", "tree"))
    with pytest.raises(UnsupportedModelError):
        resolve_converter("treemic")


def test_relative_imports_side_by_side_without_sys_path(tmp_path: Path) -> None:
    before = list(sys.path)
    for name in ("one", "two"):
        write(tmp_path / name / "converter.py", f"from .names import NAME\n{scanned(name)}")
        write(tmp_path / name / "names.py", f"NAME = '{name}'")
        write(tmp_path / name / "sub" / "__init__.py", "")
    handles = [resolve_converter(name, [tmp_path / name]) for name in ("one", "two")]
    modules = [sys.modules[type(hooks.converter).__module__] for hooks in handles]
    assert [module.NAME for module in modules] == ["one", "two"]
    assert sys.path == before
    assert not {"converter", "names"} & set(sys.modules)


def test_a_registration_in_a_neighbour(tmp_path: Path) -> None:
    file = write(tmp_path / "converter.py", "from . import family_converter")
    write(tmp_path / "family_converter.py", scanned("neighbour"))
    assert resolve_converter("neighbour", [file]).model_type == "neighbour"
    (registered,) = load_file(tmp_path / "family_converter.py")
    assert registered[0] == "neighbour"


def test_a_file_that_fails_is_named_and_can_be_corrected(tmp_path: Path) -> None:
    file = write(tmp_path / "converter.py", "from . import names\n" + scanned("later"))
    with pytest.raises(ConverterError) as caught:
        resolve_converter("later", [file])
    assert str(file) in str(caught.value)
    write(tmp_path / "names.py", "")
    assert resolve_converter("later", [file]).model_type == "later"


def test_a_subclass_of_another_family_has_its_own_type(tmp_path: Path) -> None:
    text = scanned("tiny_llama").replace("(HFConverter)", "(Llama)")
    file = write(
        tmp_path / "converter.py", "from forgather_convert_llama.llama import Llama\n" + text
    )
    assert resolve_converter("tiny_llama", [file]).model_type == "tiny_llama"
    assert resolve_converter("llama").model_type == "llama"


def test_two_files_for_one_type(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "converter.py", scanned("twice"))
    with pytest.raises(ConverterError) as caught:
        resolve_converter("twice", [tmp_path])
    for word in (tmp_path / "one" / "converter.py", tmp_path / "two" / "converter.py"):
        assert str(word) in str(caught.value)
    assert resolve_converter("twice", [tmp_path / "two", tmp_path / "one"]).origin == str(
        tmp_path / "two" / "converter.py"
    )


def test_paths_before_distributions_before_the_tree(site: Path, tmp_path: Path) -> None:
    tree = write(tmp_path / "tree/examples/models/x/src/converter.py", scanned("everywhere"))
    assert resolve_converter("everywhere").origin == str(tree)
    install(site, "vendor-k", "everywhere")
    assert resolve_converter("everywhere").origin == "vendor-k 1.0"
    path = write(tmp_path / "mine" / "converter.py", scanned("everywhere"))
    assert resolve_converter("everywhere", [path]).origin == str(path)
    statuses = [
        (found.origin, found.status)
        for found in find_converters([path])
        if found.model_type == "everywhere"
    ]
    assert statuses == [
        (Origin.PATH, Status.OK),
        (Origin.INSTALLED, Status.OVERRIDDEN),
        (Origin.TREE, Status.OVERRIDDEN),
    ]


def test_nothing_is_loaded_from_the_source(tmp_path: Path) -> None:
    source = tmp_path / "models" / "hf"
    trap = "raise RuntimeError('code of the source ran')\n" + scanned("trap")
    write(source / "converter.py", trap)
    with pytest.raises(ConverterError, match="is inside the source"):
        find_in_path(source, source)
    with pytest.raises(UnsupportedModelError):
        resolve_converter("trap", [source.parent], source)
    link = tmp_path / "tree/examples/models/x/src/converter.py"
    link.parent.mkdir(parents=True)
    link.symlink_to(source / "converter.py")
    with pytest.raises(UnsupportedModelError):
        resolve_converter("trap", source=source)
