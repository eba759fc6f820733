"""Installed and scanned converters, as a user of the command meets them."""

import json
from pathlib import Path

import pytest

from forgather_convert import ConverterError
from forgather_convert.models.parameters import parameters_of
from support.command import forgather, forgather_copy
from support.directories import differences
from support.distributions import CONVERTER, SPECIFICATION, environment, imported, install
from support.models import write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

#: The specification's example, for a class that transformers has.
EXAMPLE = SPECIFICATION.replace("MyModelForCausalLM", "LlamaForCausalLM")
BROKEN = "raise RuntimeError('a broken plugin was imported')\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    directory = tmp_path / "site"
    directory.mkdir()
    return directory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model of the type ``my_model``, which is a Llama in all but name."""
    directory = write_hf_model(tmp_path / "hf", Variant("llama", "plain"))
    config = json.loads((directory / "config.json").read_text())
    config["model_type"] = "my_model"
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def write_converter(path: Path, text: str = EXAMPLE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def convert_there_and_back(
    source: Path, tmp_path: Path, *options: str | Path, **variables: str
) -> str:
    run = forgather_copy if "PYTHONPATH" in variables else forgather
    there = run("convert", *options, source, tmp_path / "fg", **variables)
    assert there.returncode == 0, there.stderr
    back = run("convert", *options, tmp_path / "fg", tmp_path / "back", **variables)
    assert back.returncode == 0, back.stderr
    assert differences(source, tmp_path / "back") == []
    return there.stderr


def test_an_installed_plugin_is_used_and_broken_ones_do_not_disturb(
    site: Path, source: Path, tmp_path: Path
) -> None:
    install(site, "vendor-my-model", "my_model")
    install(site, "vendor-broken", "broken", BROKEN)
    install(site, "vendor-exits", "exits", "raise SystemExit(7)")
    install(site, "vendor-future", "my_model", BROKEN, requires="forgather-convert>=99")
    install(site, "vendor-missing", "missing", code=None)
    log = convert_there_and_back(source, tmp_path, **environment(site))
    assert "Skipping vendor-future 1.0" in log
    assert "Converter for" not in log
    assert imported(site) == {"vendor-my-model"}


def test_two_distributions_and_a_choice(site: Path, source: Path, tmp_path: Path) -> None:
    install(site, "vendor-a", "my_model")
    install(site, "vendor-b", "my_model", version="2.5")
    variables = environment(site)
    result = forgather_copy("convert", source, tmp_path / "fg", **variables)
    assert result.returncode == 1
    for word in ("my_model", "vendor-a 1.0", "vendor-b 2.5", "--converter vendor-a"):
        assert word in result.stderr
    assert not (tmp_path / "fg").exists()
    assert imported(site) == set()
    log = convert_there_and_back(source, tmp_path, "--converter", "vendor-b", **variables)
    assert "Converter for 'my_model': vendor-b 2.5" in log
    assert imported(site) == {"vendor-b"}


def test_the_allow_list_switches_off_before_import(
    site: Path, source: Path, tmp_path: Path
) -> None:
    install(site, "vendor-a", "my_model")
    install(site, "vendor-b", "my_model", BROKEN)
    convert_there_and_back(
        source, tmp_path, **environment(site, FORGATHER_CONVERTERS="other,vendor_a")
    )
    assert imported(site) == {"vendor-a"}


def test_no_plugins(site: Path, source: Path, tmp_path: Path) -> None:
    install(site, "vendor-a", "my_model", BROKEN)
    result = forgather_copy("convert", "--no-plugins", source, tmp_path / "fg", **environment(site))
    assert result.returncode == 1
    assert "--no-plugins" in result.stderr
    both = ("--no-plugins", "--converter", "vendor-a")
    assert forgather("convert", *both, source, tmp_path / "fg").returncode == 2
    assert imported(site) == set()


def test_no_plugins_leaves_the_files(source: Path, tmp_path: Path) -> None:
    file = write_converter(tmp_path / "mine" / "my_model_converter.py")
    log = convert_there_and_back(source, tmp_path, "--no-plugins", "--converter-path", file)
    assert f"Converter for 'my_model': {file}" in log


@pytest.mark.parametrize("code", [BROKEN, "raise SystemExit(7)", "Converter = object()"])
def test_a_broken_plugin_is_reported_by_the_conversion_that_needs_it(
    site: Path, source: Path, tmp_path: Path, code: str
) -> None:
    install(site, "vendor-broken", "my_model", code)
    result = forgather_copy("convert", source, tmp_path / "fg", **environment(site))
    assert result.returncode == 1
    assert "vendor-broken 1.0" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "fg").exists()


def test_a_directory_of_converters(source: Path, tmp_path: Path) -> None:
    """With a neighbour that is imported relatively, and others that are broken."""
    directory = tmp_path / "converters"
    names = "from .names import NAME\n" + EXAMPLE.replace('"my_model"', "NAME")
    write_converter(directory / "deep" / "my_model_converter.py", EXAMPLE + "\nfrom . import names")
    write_converter(directory / "deep" / "names.py", "NAME = 'unused'")
    write_converter(directory / "broken_converter.py", BROKEN + EXAMPLE.replace("my_model", "b"))
    write_converter(directory / "syntax_converter.py", EXAMPLE.replace("my_model", "c") + "def (")
    write_converter(directory / "dynamic_converter.py", BROKEN + names)
    log = convert_there_and_back(source, tmp_path, "--converter-path", directory)
    assert str(directory / "deep" / "my_model_converter.py") in log


def test_a_working_tree(source: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    file = write_converter(tree / "examples" / "models" / "mine" / "src" / "converter.py")
    write_converter(tree / "examples" / "models" / "broken" / "src" / "converter.py", BROKEN)
    log = convert_there_and_back(source, tmp_path, FORGATHER_ROOT=str(tree))
    assert f"Converter for 'my_model': {file}" in log


def test_no_package_in_the_source_is_imported(source: Path, tmp_path: Path) -> None:
    """A download with package metadata in it, converted where Python looks for packages."""
    install(source, "trap", "my_model", CONVERTER)
    result = forgather_copy("convert", source, tmp_path / "fg", **environment(source))
    assert result.returncode == 1
    assert "No converter registered for model type 'my_model'" in result.stderr
    assert imported(source) == set()


def test_a_module_that_a_class_needs_is_named(source: Path, tmp_path: Path) -> None:
    """It is not blamed on arguments that the class would need."""
    needs = "    def __init__(self):\n        import not_installed\n\n    def get_hf_model_class"
    text = EXAMPLE.replace("    def get_hf_model_class", needs, 1)
    file = write_converter(tmp_path / "mine" / "converter.py", text)
    result = forgather("convert", "--converter-path", file, source, tmp_path / "fg")
    assert result.returncode == 1
    assert "ModuleNotFoundError: No module named 'not_installed'" in result.stderr
    assert "Install the missing dependency" in result.stderr
    assert "arguments" not in result.stderr


def test_a_module_that_a_component_needs_is_named() -> None:
    """It is not blamed on the config."""

    def build() -> None:
        raise ModuleNotFoundError("No module named 'not_installed'")

    with pytest.raises(ConverterError, match=r"'not_installed'\. Install it"):
        parameters_of(build)


def test_author_of_a_converter_is_told_what_was_passed_over(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    write_converter(mine / "my_model.py")
    write_converter(mine / "other_converter.py", EXAMPLE.replace('"my_model"', '"other"'))
    write_converter(mine / "empty_converter.py", "x = 1\n")
    bare = EXAMPLE.replace('@register_converter("my_model")\n', "")
    assert bare != EXAMPLE
    bare_file = write_converter(mine / "bare" / "converter.py", bare)
    (tmp_path / "nothing").mkdir()
    paths = ("--converter-path", mine, "--converter-path", tmp_path / "nothing")
    result = forgather("convert", *paths, source, tmp_path / "fg")
    assert result.returncode == 1
    for line in (
        f"{mine / 'my_model.py'} is skipped: it is not named converter.py or *_converter.py",
        f"{mine / 'other_converter.py'} registers 'other'",
        f"{mine / 'empty_converter.py'} is skipped: it registers no model type",
        f"{bare_file} has the class MyModelConverter, which is not registered: "
        'write @register_converter("my_model") above it',
        f"{tmp_path / 'nothing'} has no converter.py and no *_converter.py",
    ):
        assert f"\n  {line}\n" in result.stderr.replace(" Nothing was written.", "")
