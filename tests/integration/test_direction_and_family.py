"""In which direction a model is converted, and by which family's converter."""

import logging
import shutil
from pathlib import Path

import pytest
import torch

from forgather_convert import ConvertOptions, UnsupportedModelError, convert, inspect
from support.command import run_convert
from support.converting import edit_config, logits_of, read_config
from support.directories import differences
from support.models import load_hf, write_hf_model
from support.old_dialect import OldDialect, write_old_model
from support.variants import variant

LLAMA = variant("llama-default")


_CONVERTER = """
from forgather.ml.model_conversion import HFConverter, register_converter
from forgather_convert import STANDARD_WEIGHT_MAPPING


@register_converter("my_model")
class MyModelConverter(HFConverter):
    model_type = "my_model"

    def get_hf_model_class(self):
        from transformers import LlamaForCausalLM
        return LlamaForCausalLM

    def get_weight_mapping(self, direction):
        if direction == "to_forgather":
            return STANDARD_WEIGHT_MAPPING
        return {ours: theirs for theirs, ours in STANDARD_WEIGHT_MAPPING.items()}

    def create_project_config(self, src_config, max_length=None):
        return super().create_project_config(src_config, max_length)

    def create_hf_config(self, src_config, max_length=None):
        return super().create_hf_config(src_config, max_length)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Forgather model to convert from; its source is beside it. Not to be changed."""
    root = tmp_path_factory.mktemp("models")
    convert(write_hf_model(root / "hf", LLAMA, dtype="bfloat16"), root / "fg")
    return root / "fg"


def strip_metadata(forgather_model: Path, directory: Path) -> Path:
    """A Forgather model that does not say so."""
    shutil.copytree(forgather_model, directory)
    (directory / "forgather_conversion.json").unlink()
    edit_config(directory, ("hf_model_type", "model_type", "auto_map"))
    return directory


def test_reverse_without_metadata_takes_llama(forgather_model: Path, tmp_path: Path) -> None:
    stripped = strip_metadata(forgather_model, tmp_path / "fg")
    result = run_convert("--reverse", stripped, tmp_path / "back")
    assert "WARNING: Could not auto-detect model type" in result.stderr
    assert "Auto-detected Forgather model" not in result.stderr
    assert "'llama'" in result.stderr
    assert read_config(tmp_path / "back")["model_type"] == "llama"
    original = load_hf(forgather_model.parent / "hf", "llama")
    assert torch.equal(logits_of(load_hf(tmp_path / "back", "llama")), logits_of(original))


@pytest.mark.parametrize("name", ["llama2", "llama3_2", "dynllama"])
def test_the_name_of_a_new_model_is_no_family(
    name: str, forgather_model: Path, tmp_path: Path
) -> None:
    """The framework makes the model type of the name that a project gives its model."""
    source = write_old_model(tmp_path / "old", forgather_model, OldDialect("new", has_family=False))
    edit_config(source, model_type=f"forgather-dynamic-causal-{name}")
    result = run_convert(source, tmp_path / "back")
    (warning,) = (line for line in result.stderr.splitlines() if "auto-detect model" in line)
    for word in ("Could not auto-detect model type", f"'{name}'", "'llama'", "--model-type"):
        assert word in warning
    assert "Auto-detected Forgather model" not in result.stderr
    assert read_config(tmp_path / "back")["model_type"] == "llama"
    assert inspect(source).model_type == "llama"


@pytest.mark.parametrize("model_type", ["bloom", "gemma2"])
def test_a_family_that_cannot_be_converted_is_not_taken_for_llama(
    model_type: str, forgather_model: Path, tmp_path: Path
) -> None:
    source = strip_metadata(forgather_model, tmp_path / "fg")
    edit_config(source, model_type=f"forgather-dynamic-causal-{model_type}")
    with pytest.raises(UnsupportedModelError, match=f"No converter.*'{model_type}'"):
        convert(source, tmp_path / "back", ConvertOptions(use_plugins=False))


def test_model_type_where_the_config_does_not_say(
    forgather_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stripped = strip_metadata(forgather_model, tmp_path / "fg")
    options = ConvertOptions(reverse=True, model_type="mistral")
    with caplog.at_level(logging.WARNING):
        convert(stripped, tmp_path / "back", options)
    config = read_config(tmp_path / "back")
    assert config["model_type"] == "mistral"
    assert config["architectures"] == ["MistralForCausalLM"]
    assert caplog.messages == []


def test_model_type_that_contradicts_the_config(forgather_model: Path, tmp_path: Path) -> None:
    """The user is right, but is told."""
    result = run_convert("--model-type", "mistral", forgather_model, tmp_path / "back")
    assert "WARNING: " in result.stderr
    assert "'llama'" in result.stderr
    assert "'mistral'" in result.stderr
    assert "Converting Forgather model to HuggingFace Mistral" in result.stderr
    config = read_config(tmp_path / "back")
    assert config["model_type"] == "mistral"
    assert config["architectures"] == ["MistralForCausalLM"]


def test_reverse_of_a_forgather_model_changes_nothing(
    forgather_model: Path, tmp_path: Path
) -> None:
    convert(forgather_model, tmp_path / "back", ConvertOptions(reverse=True))
    assert differences(forgather_model.parent / "hf", tmp_path / "back") == []


def test_converter_of_the_specification(source: Path, tmp_path: Path) -> None:
    """Several directories can be given; the class needs no decoration of its methods."""
    edit_config(source, model_type="my_model")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my_model_converter.py").write_text(_CONVERTER)
    paths = ("--converter-path", tmp_path / "empty", "--converter-path", tmp_path / "mine")
    there = run_convert(*paths, source, tmp_path / "fg")
    assert "Auto-detected HuggingFace model (type: my_model)" in there.stderr
    config = read_config(tmp_path / "fg")
    assert config["hf_model_type"] == "my_model"
    assert config["model_type"] == "forgather-dynamic-causal-my_model"
    run_convert(*paths, tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []
