"""Converters of installed distributions: which is chosen, and which cannot be."""

import logging
from pathlib import Path
from zlib import crc32

import pytest

from forgather_convert import (
    ConverterError,
    ConvertOptions,
    OptionError,
    UnsupportedModelError,
)
from forgather_convert.discovery.choice import find_converters, resolve_converter
from forgather_convert.discovery.found import Origin, Status
from forgather_convert.discovery.installed import find_installed
from support.distributions import CONVERTER, imported, install, scanned, write

pytestmark = [pytest.mark.version_independent, pytest.mark.usefixtures("own_tree")]


def status_of(name: str) -> tuple[Status, str]:
    (found,) = [found for found in find_converters() if found.distribution == name]
    return found.status, found.problem


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
    with pytest.raises(ConverterError, match=r"module 'vendor_three' does not exist"):
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
    with pytest.raises(UnsupportedModelError, match="FORGATHER_CONVERTERS does not list"):
        resolve_converter("llama")
    with pytest.raises(ConverterError, match="is disabled"):
        resolve_converter("shared_type", converter="vendor-d")
    monkeypatch.setenv("FORGATHER_CONVERTERS", "")
    with pytest.raises(UnsupportedModelError, match="Installed converters: none"):
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
    messages = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [message for message in messages if message[1].startswith("Converter for")] == [
        ("DEBUG", "Converter for 'vendor_h': vendor-h 1.0"),
        ("INFO", "Converter for 'vendor_h': vendor-h 1.0"),
        ("INFO", f"Converter for 'vendor_i': {file}"),
        ("INFO", f"Converter for 'vendor_j': {tree}"),
    ]
