"""Which converter is chosen, and what a converter may look like; no model is needed."""

import inspect
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any
from zlib import crc32

import pluggy
import pytest

from forgather_convert import (
    STANDARD_WEIGHT_MAPPING,
    ConverterError,
    ConvertOptions,
    HFConverter,
    OptionError,
    SourceConfig,
    UnsupportedModelError,
)
from forgather_convert.converter_tools.hook_signatures import signature_problems
from forgather_convert.discovery.choice import find_converters, resolve_converter
from forgather_convert.discovery.converter_files import find_in_path, load_file
from forgather_convert.discovery.declarations import read_declarations
from forgather_convert.discovery.found import Origin, Status
from forgather_convert.discovery.installed import find_installed
from forgather_convert.families.hook_calls import HOOK_NAMES, FamilyHooks, _Implementations
from forgather_convert.families.hookspecs import ConverterHooks
from forgather_convert.tensors import WeightMapping
from support.distributions import CONVERTER, SPECIFICATION, imported, install


def scanned(model_type: str, body: str = "pass") -> str:
    return dedent(f"""
        from forgather_convert import HFConverter, register_converter

        @register_converter("{model_type}")
        class Converter(HFConverter):
            {body}
        """)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of installed packages, beside the real ones."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    return directory


@pytest.fixture(autouse=True)
def _own_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGATHER_ROOT", str(tmp_path / "tree"))
    monkeypatch.delenv("FORGATHER_CONVERTERS", raising=False)


def status_of(name: str) -> tuple[Status, str]:
    (found,) = [found for found in find_converters() if found.distribution == name]
    return found.status, found.problem


# Installed distributions


def test_an_installed_converter_is_found_without_its_import(site: Path) -> None:
    install(site, "vendor-one", "vendor_one")
    (found,) = [found for found in find_installed() if found.model_type == "vendor_one"]
    assert (found.place, found.target) == ("vendor-one 1.0", "vendor_one:Converter")
    assert (found.status, found.origin) == (Status.OK, Origin.INSTALLED)
    assert imported(site) == set()
    assert resolve_converter("vendor_one").origin == "vendor-one 1.0"
    assert imported(site) == {"vendor-one"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import a_package_that_is_not_there", ["ModuleNotFoundError", "Reinstall"]),
        ("raise RuntimeError('broken')", ["RuntimeError: broken"]),
        ("raise SystemExit(3)", ["SystemExit"]),
        ("Converter = 5", ["5", "not a subclass of HFConverter"]),
        ("class Converter: pass", ["not a subclass of HFConverter"]),
        ("Other = None", ["AttributeError"]),
        (CONVERTER.replace('"{model_type}"', '"other"'), ["registered for", "'other'"]),
        (
            CONVERTER + "\n    def __init__(self, argument): pass\n",
            ["cannot be created", "TypeError"],
        ),
    ],
)
def test_a_broken_plugin_hurts_only_who_needs_it(site: Path, code: str, words: list[str]) -> None:
    name = f"vendor-{crc32(code.encode()):x}"
    install(site, name, "broken_type", code)
    assert resolve_converter("llama").model_type == "llama"
    assert imported(site) == set()
    with pytest.raises(ConverterError) as caught:
        resolve_converter("broken_type")
    for word in [f"{name} 1.0", "broken_type", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("requires", ["forgather-convert>=99", "Forgather.Convert (<0.0.1)"])
def test_a_plugin_for_another_core_is_not_imported(site: Path, requires: str) -> None:
    install(site, "vendor-two", "vendor_two", requires=requires)
    status, problem = status_of("vendor-two")
    assert status is Status.INCOMPATIBLE
    with pytest.raises(ConverterError, match=r"vendor-two 1\.0.*cannot be used") as caught:
        resolve_converter("vendor_two")
    assert problem in str(caught.value)
    assert "99" in problem or "0.0.1" in problem
    assert imported(site) == set()


@pytest.mark.parametrize(
    "requires", ["forgather-convert>=99; extra == 'x'", "other>=99", "forgather-convert>=0.0.1"]
)
def test_requirements_that_do_not_concern_the_core(site: Path, requires: str) -> None:
    install(site, "vendor-two", "vendor_two", requires=requires)
    assert status_of("vendor-two")[0] is Status.OK


def test_a_missing_module(site: Path) -> None:
    install(site, "vendor-three", "vendor_three", code=None)
    assert status_of("vendor-three")[0] is Status.MISSING_MODULE
    with pytest.raises(ConverterError, match=r"module 'vendor_three' is not there"):
        resolve_converter("vendor_three")


def test_damaged_metadata_disturbs_nobody(site: Path) -> None:
    install(site, "vendor-four", "vendor_four")
    (site / "vendor_four-1.0.dist-info" / "entry_points.txt").write_text("[[[\nno = \x00")
    (site / "nothing-1.0.dist-info").mkdir()
    assert resolve_converter("llama").model_type == "llama"


def test_two_distributions_for_one_type(site: Path) -> None:
    install(site, "vendor-a", "shared_type")
    install(site, "vendor-b", "shared_type", version="2.5")
    with pytest.raises(ConverterError) as caught:
        resolve_converter("shared_type")
    for word in ("shared_type", "vendor-a 1.0", "vendor-b 2.5", "--converter vendor-a"):
        assert word in str(caught.value)
    assert imported(site) == set()
    assert status_of("vendor-a")[0] is status_of("vendor-b")[0] is Status.CONFLICT
    assert resolve_converter("shared_type", converter="Vendor_B").origin == "vendor-b 2.5"
    assert imported(site) == {"vendor-b"}


def test_one_that_cannot_be_used_is_no_rival(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "vendor-a", "shared_type", requires="forgather-convert>=99")
    install(site, "vendor-c", "shared_type")
    with caplog.at_level(logging.WARNING):
        assert resolve_converter("shared_type").origin == "vendor-c 1.0"
    assert "vendor-a 1.0" in caplog.text


def test_a_chosen_distribution_without_the_type() -> None:
    with pytest.raises(ConverterError) as caught:
        resolve_converter("llama", converter="nobody")
    for word in ("nobody", "llama", "forgather-convert-llama", "converters list"):
        assert word in str(caught.value)


def test_the_allow_list(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "vendor-d", "shared_type")
    install(site, "vendor-e", "shared_type")
    monkeypatch.setenv("FORGATHER_CONVERTERS", "Vendor_E, something-else")
    assert resolve_converter("shared_type").origin == "vendor-e 1.0"
    with pytest.raises(UnsupportedModelError, match="FORGATHER_CONVERTERS does not name"):
        resolve_converter("llama")
    with pytest.raises(ConverterError, match="switched off"):
        resolve_converter("shared_type", converter="vendor-d")
    monkeypatch.setenv("FORGATHER_CONVERTERS", "")
    with pytest.raises(UnsupportedModelError, match="Installed are: none"):
        resolve_converter("shared_type")
    assert imported(site) == {"vendor-e"}


def test_no_plugins(site: Path) -> None:
    install(site, "vendor-f", "vendor_f")
    with pytest.raises(UnsupportedModelError, match="--no-plugins"):
        resolve_converter("vendor_f", use_plugins=False)
    assert imported(site) == set()
    with pytest.raises(OptionError):
        ConvertOptions(converter="vendor-f", use_plugins=False)


def test_a_package_in_the_source_is_ignored(site: Path) -> None:
    install(site, "vendor-g", "vendor_g")
    with pytest.raises(UnsupportedModelError):
        resolve_converter("vendor_g", source=site)
    assert imported(site) == set()


def test_the_winner_is_logged(site: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "vendor-h", "vendor_h")
    file = write(tmp_path / "converters" / "converter.py", scanned("vendor_i"))
    tree = tmp_path / "tree/examples/models/j/src/converter.py"
    write(tree, scanned("vendor_j"))
    caplog.set_level(logging.DEBUG, "forgather_convert")
    resolve_converter("vendor_h")
    resolve_converter("vendor_h", converter="vendor-h")
    resolve_converter("vendor_i", [file.parent])
    resolve_converter("vendor_j")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "Converter for 'vendor_h': vendor-h 1.0"),
        ("INFO", "Converter for 'vendor_h': vendor-h 1.0"),
        ("INFO", f"Converter for 'vendor_i': {file}"),
        ("INFO", f"Converter for 'vendor_j': {tree}"),
    ]


# Files


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
    text = scanned("tiny_llama").replace("(HFConverter)", "(LlamaConverter)")
    file = write(
        tmp_path / "converter.py", "from forgather_convert_llama import LlamaConverter\n" + text
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
    with pytest.raises(ConverterError, match="lies in the source"):
        find_in_path(source, source)
    with pytest.raises(UnsupportedModelError):
        resolve_converter("trap", [source.parent], source)
    link = tmp_path / "tree/examples/models/x/src/converter.py"
    link.parent.mkdir(parents=True)
    link.symlink_to(source / "converter.py")
    with pytest.raises(UnsupportedModelError):
        resolve_converter("trap", source=source)


# Implementations of hooks: pluggy's versions differ in which arguments they pass


class OldStyle(HFConverter):
    """As an implementation from before the hooks had all their arguments."""

    model_type = "old"

    def get_weight_mapping(self) -> Any:
        return {"a.{layer}": "b.{layer}"}

    def create_project_config(self, src_config: Any) -> Any:
        return {"model_type": "old", "config": dict(src_config)}

    def create_hf_config(self) -> Any:
        return "a config"

    def validate_source_config(self, direction: str) -> None:
        raise UnsupportedModelError(direction)


class WithDefaults(HFConverter):
    """As the specification's example, with defaults and more."""

    model_type = "defaults"

    def get_weight_mapping(self, direction: str = "none", own: int = 3) -> Any:
        return {f"{direction}.{own}": "b"}

    def create_project_config(self, src_config: Any = None, max_length: int | None = None) -> Any:
        return {"model_type": "defaults", "config": {"length": max_length}}

    def create_hf_config(self, src_config: Any, max_length: int | None = None) -> Any:
        return max_length

    def validate_source_config(self, **arguments: Any) -> None:
        raise UnsupportedModelError(",".join(sorted(arguments)))


def test_implementations_with_fewer_arguments() -> None:
    hooks = FamilyHooks(OldStyle(), "here")
    config = SourceConfig({"size": 1})
    assert hooks.weight_mapping() == WeightMapping.from_dict({"a.{layer}": "b.{layer}"}, "x")
    assert hooks.project(config, 8).config == {"size": 1}
    assert hooks.hf_config(config, 8) == "a config"
    with pytest.raises(UnsupportedModelError, match=r"^to_forgather$"):
        hooks.validate_source_config(config, "to_forgather")
    assert signature_problems(OldStyle) == []


def test_implementations_with_defaults_get_the_arguments() -> None:
    hooks = FamilyHooks(WithDefaults(), f"pluggy {pluggy.__version__}")
    config = SourceConfig({})
    assert hooks.weight_mapping().rules[0].sources == ("to_forgather.3",)
    assert hooks.project(config, 8).config == {"length": 8}
    assert hooks.hf_config(config, 8) == 8
    with pytest.raises(UnsupportedModelError, match=r"^direction,src_config$"):
        hooks.validate_source_config(config, "to_forgather")
    assert signature_problems(WithDefaults) == []


def test_a_hook_can_get_a_new_argument() -> None:
    """An implementation of today is not called with an argument that it does not know."""

    def call(method: Callable[..., Any]) -> Any:
        return _Implementations({"hook": method})._answer("hook", old=1, new=2)

    assert call(lambda old: old) == 1
    assert call(lambda old, **rest: rest) == {"new": 2}


def test_every_hook_has_an_implementation_in_the_base_class() -> None:
    """With the same arguments, so that the specification of a hook can be read there."""
    for name in HOOK_NAMES:
        specified = inspect.signature(getattr(ConverterHooks, name)).parameters
        assert list(inspect.signature(getattr(HFConverter, name)).parameters) == list(specified)


class WrongArguments(HFConverter):
    def get_weight_mapping(self, way: str) -> Any:
        return STANDARD_WEIGHT_MAPPING

    def create_hf_config(self, src_config: Any, /, max_length: Any = None) -> Any:
        return None

    def get_hf_model_clas(self) -> Any:
        return None


def test_wrong_signatures_are_told() -> None:
    problems = "\n".join(signature_problems(WrongArguments))
    for word in ("unknown argument 'way'", "direction", "'src_config' by position"):
        assert word in problems
    assert "get_hf_model_clas is never called" in problems
    assert "Is it get_hf_model_class?" in problems


def test_the_specifications_example_is_loaded_as_it_is(tmp_path: Path) -> None:
    """What its methods do not give, the base class gives."""
    hooks = resolve_converter(
        "my_model", [write(tmp_path / "my_model_converter.py", SPECIFICATION)]
    )
    expected = WeightMapping.from_dict(STANDARD_WEIGHT_MAPPING, "x")
    assert hooks.weight_mapping() == expected
    assert signature_problems(type(hooks.converter)) == []
    with pytest.raises(ConverterError, match="MyModelForCausalLM"):
        hooks.hf_model_class()
