"""Extensions: they wrap every family's hooks, read formats, add commands, hear of conversions."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import (
    ConverterError,
    ConvertOptions,
    SourceError,
    UnsupportedModelError,
    convert,
)
from forgather_convert.weights.safetensors_file import read_header
from support.command import forgather_copy
from support.distributions import environment
from support.models import load_forgather, load_hf, prompt, random_state, write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

TOY = Path(__file__).parents[1] / "extension"
NAME = "forgather-toy"
BROKEN = "raise RuntimeError('no such luck')\n"


def install_toy(site: Path, module: str | None = None, requires: str = "forgather-convert") -> None:
    """Writes what an installer would; with another module, one that is broken."""
    metadata = site / "forgather_toy-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\nRequires-Dist: {requires}\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[forgather.extensions]\ntoy = forgather_toy.extension\n"
    )
    (metadata / "RECORD").write_text("")
    shutil.copytree(TOY / "src" / "forgather_toy", site / "forgather_toy")
    if module is not None:
        (site / "forgather_toy" / "extension.py").write_text(module)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in which distributions look installed to this process."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield tmp_path / "site"
    for name in [name for name in sys.modules if name.partition(".")[0] == "forgather_toy"]:
        del sys.modules[name]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", Variant("llama", "plain"))


def test_a_wrapper_changes_every_family(site: Path, tmp_path: Path) -> None:
    """The norm is exchanged in the generated code; the result is equal, and comes back."""
    install_toy(site)
    for family in ("llama", "mistral"):
        hf, fg, back = (tmp_path / f"{family}-{name}" for name in ("hf", "fg", "back"))
        write_hf_model(hf, Variant(family, "plain"))
        result = convert(hf, fg)
        assert result.logits is not None
        assert result.logits.are_equal
        assert list(fg.glob("toy_norm_*.py"))
        assert type(load_forgather(fg).causal_lm.layer_stack.layer_norm).__name__ == "ToyNorm"
        convert(fg, back)
        assert torch.equal(
            load_hf(back, family)(prompt()).logits, load_forgather(fg)(prompt()).logits
        )


def test_a_format_of_an_extension_is_read(site: Path, source: Path, tmp_path: Path) -> None:
    install_toy(site)
    convert(source, tmp_path / "expected")
    weights = source / "model.safetensors"
    header = read_header(weights)
    places = {ref.name: (ref.dtype, ref.shape, ref.offset) for ref in header.tensors}
    (source / "model.toy.json").write_text(json.dumps(places))
    weights.rename(source / "model.toy")
    convert(source, tmp_path / "fg")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("expected", "fg"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    (source / "model.toy.json").write_text("{")
    with pytest.raises(SourceError, match=r"model\.toy\.json"):
        convert(source, tmp_path / "again")


def test_a_quantization_of_an_extension_is_read(site: Path, tmp_path: Path) -> None:
    install_toy(site)
    state = random_state(Variant("llama", "plain"), torch.float32)
    name = "model.layers.0.mlp.up_proj.weight"
    state[name] = (state[name] * 50).to(torch.int8)
    config = {**Variant("llama", "plain").config(), "dtype": "float32"}
    config["quantization_config"] = {"quant_method": "toy", "step": 0.02}
    source = write_hf_model(tmp_path / "hf", Variant("llama", "plain"), state=state, config=config)
    convert(source, tmp_path / "fg", ConvertOptions(dequantize=True))
    convert(tmp_path / "fg", tmp_path / "back")
    expected = {**state, name: state[name].float() * 0.02}
    actual = load_file(tmp_path / "back" / "model.safetensors")
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[key], expected[key]) for key in expected)
    with pytest.raises(UnsupportedModelError, match=r"\(toy\).*not supported"):
        convert(source, tmp_path / "x", ConvertOptions(dequantize=True, use_plugins=False))


def test_a_conversion_is_told_when_it_is_finished(
    site: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_toy(site)
    marker = tmp_path / "marker"
    monkeypatch.setenv("FORGATHER_TOY_MARKER", str(marker))
    convert(source, tmp_path / "fg")
    assert marker.read_text() == str(tmp_path / "fg")


def test_what_fails_afterwards_does_not_undo_the_result(site: Path, source: Path) -> None:
    install_toy(site)
    destination = source.with_name("fg")
    result = forgather_copy(
        "convert",
        source,
        destination,
        **environment(site, FORGATHER_TOY_MARKER="fail"),
    )
    assert result.returncode == 1
    assert "conversion_finished" in result.stderr
    assert NAME in result.stderr
    assert "complete" in result.stderr.splitlines()[-1]
    assert (destination / "config.json").is_file()


def test_commands_are_added_and_none_is_replaced(site: Path) -> None:
    install_toy(site)
    variables = environment(site)
    assert "toy" in forgather_copy("--help", **variables).stdout
    assert forgather_copy("toy", **variables).stdout == "toy says hello\n"
    assert "SOURCE_PATH" in forgather_copy("convert", "--help", **variables).stdout


def test_a_broken_extension_stops_conversions_and_is_named(
    site: Path, source: Path, tmp_path: Path
) -> None:
    install_toy(site, BROKEN)
    with pytest.raises(ConverterError, match=f"{NAME} 1.0.*no such luck"):
        convert(source, tmp_path / "fg")
    assert not (tmp_path / "fg").exists()
    convert(source, tmp_path / "fg", ConvertOptions(use_plugins=False, converter_paths=CONVERTERS))


CONVERTERS = (Path(__file__).parents[1] / "support" / "llama_converter.py",)


def test_a_broken_extension_leaves_the_other_commands_alone(site: Path) -> None:
    install_toy(site, BROKEN)
    variables = environment(site)
    helped = forgather_copy("--help", **variables)
    assert helped.returncode == 0
    assert "convert" in helped.stdout
    listed = forgather_copy("converters", "list", **variables)
    assert listed.returncode == 0
    assert NAME in listed.stdout


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            "from forgather_convert import hookimpl\n\n\n"
            "@hookimpl\ndef get_weight_maping(direction):\n    return None\n",
            "get_weight_maping",
        ),
        (
            "from forgather_convert import hookimpl\n\n\n"
            "@hookimpl\ndef open_weights(path):\n    return None\n",
            "path",
        ),
    ],
    ids=["unknown-hook", "unknown-argument"],
)
def test_a_hook_that_does_not_exist_is_named(
    module: str, words: str, site: Path, source: Path, tmp_path: Path
) -> None:
    install_toy(site, module)
    with pytest.raises(ConverterError, match=f"(?s){NAME} 1.0.*does not match the hooks.*{words}"):
        convert(source, tmp_path / "fg")


def test_an_extension_for_another_core_is_refused(site: Path, source: Path, tmp_path: Path) -> None:
    install_toy(site, requires="forgather-convert>=99")
    with pytest.raises(ConverterError, match=f"{NAME} 1.0.*>=99"):
        convert(source, tmp_path / "fg")


def test_extensions_are_held_to_the_allow_list(
    site: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_toy(site)
    monkeypatch.setenv("FORGATHER_CONVERTERS", "forgather-convert-llama")
    convert(source, tmp_path / "fg")
    assert not list((tmp_path / "fg").glob("toy_norm_*.py"))
    listed = forgather_copy("converters", "list", "--json", **environment(site))
    (row,) = [row for row in json.loads(listed.stdout) if row.get("extension")]
    assert (row["extension"], row["distribution"], row["status"]) == ("toy", NAME, "disabled")


def test_an_extension_that_lies_in_the_source_is_not_used(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_toy(source, BROKEN)
    monkeypatch.syspath_prepend(str(source))
    convert(source, tmp_path / "fg")
    assert os.environ.get("FORGATHER_TOY_MARKER") is None
