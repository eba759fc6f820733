"""What is no adapter that can be converted is refused, with a reason, and nothing is left."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgather_convert import (
    ConvertOptions,
    DestinationError,
    ForgatherConvertError,
    MappingError,
    OptionError,
    SourceError,
    UnsupportedModelError,
    convert,
)
from support.adapters import write_adapter
from support.command import forgather
from support.models import load_hf, write_hf_model
from support.variants import variant

pytestmark = pytest.mark.version_independent

TENSORS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf_model(tmp_path_factory.mktemp("base") / "hf", variant("llama-default"))


@pytest.fixture(scope="module")
def original(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = load_hf(base, "llama")
    directory = tmp_path_factory.mktemp("adapters") / "hf"
    return write_adapter(
        directory, model, target_modules=["q_proj", "up_proj"], modules_to_save=["lm_head"]
    )


@pytest.fixture
def adapter(original: Path, tmp_path: Path) -> Path:
    """An adapter that a test may damage."""
    copy = tmp_path / "adapter"
    copy.mkdir()
    for path in original.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def set_fields(adapter: Path, **fields: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def save(adapter: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, adapter / TENSORS, metadata={"format": "pt"})


def without(adapter: Path, text: str) -> None:
    kept = {name: value for name, value in load_file(adapter / TENSORS).items() if text not in name}
    save(adapter, kept)


def in_half_the_ranks(adapter: Path) -> None:
    tensors = load_file(adapter / TENSORS)
    save(adapter, {name: value[:, ::2].contiguous() for name, value in tensors.items()})


Damage = Callable[[Path], Any]
CONFIGS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "kind": ({"peft_type": "IA3"}, UnsupportedModelError, "of the kind 'IA3'; only LoRA"),
    "task": ({"task_type": "SEQ_CLS"}, UnsupportedModelError, "for 'SEQ_CLS'"),
    "parameters": (
        {"target_parameters": ["mlp.experts.down_proj"]},
        UnsupportedModelError,
        "sets 'target_parameters'",
    ),
    "layers twice": (
        {"layer_replication": [[0, 2], [1, 3]]},
        UnsupportedModelError,
        "sets 'layer_replication'",
    ),
    "unknown field": ({"new_kind": {"a": 1}}, UnsupportedModelError, "sets 'new_kind'"),
    "other targets": (
        {"target_modules": ["up_proj"]},
        MappingError,
        r"does not target modules .*\n.*layers\.{0..2}\.self_attn\.q_proj",
    ),
    "excluded": ({"exclude_modules": r".*\.0\..*"}, MappingError, r"layers\.0\.self_attn\.q_proj"),
    "no pattern": (
        {"target_modules": "(q_proj"},
        SourceError,
        "'\\(q_proj', which is not a valid regular",
    ),
    "a pattern without end": (
        {"target_modules": r"(\w+)+!"},
        SourceError,
        "could take exponential time to match: .* Write the names in a list",
    ),
    "many repetitions": ({"target_modules": ".*" * 20}, SourceError, "could take exponential time"),
    "no names": ({"target_modules": [1]}, SourceError, "'target_modules' must be a list of names"),
    "a pattern without a number": (
        {"layers_pattern": ["|"], "layers_to_transform": [0]},
        MappingError,
        "does not target modules",
    ),
    "no numbers": ({"layers_to_transform": "1"}, SourceError, "must be a list of numbers"),
    "no object": ({"rank_pattern": [3]}, SourceError, "'rank_pattern' must be an object"),
    "unsaved": (
        {"modules_to_save": ["lm_head", "input_layernorm"]},
        MappingError,
        "has 'model.layers.0.input_layernorm' in 'modules_to_save'",
    ),
}
FILES: dict[str, tuple[Damage, type[Exception], str]] = {
    "half an adapter": (
        lambda adapter: without(adapter, "lora_B"),
        MappingError,
        "but not 'model.layers.0.*lora_B",
    ),
    "another base": (
        in_half_the_ranks,
        MappingError,
        "Check that the adapter and .* belong together",
    ),
    "no tensors": (
        lambda adapter: (adapter / TENSORS).unlink(),
        SourceError,
        "neither adapter_model.safetensors nor adapter_model.bin",
    ),
    "damaged": (
        lambda adapter: (adapter / TENSORS).write_bytes(b"0" * 40),
        SourceError,
        "not a safetensors file",
    ),
    "no config": (
        lambda adapter: (adapter / "adapter_config.json").unlink(),
        SourceError,
        "contains no adapter .* Leave it out to convert a model",
    ),
    "beside a model": (
        lambda adapter: save_file({}, adapter / "model.safetensors"),
        SourceError,
        "a model's weights beside the adapter",
    ),
    "quantized": (
        lambda adapter: save(adapter, {"a": torch.zeros(2, dtype=torch.int8)}),
        UnsupportedModelError,
        "'a' in .* is stored as int8",
    ),
    "a file of ours": (
        lambda adapter: (adapter / "forgather_adapter.json").write_text("{}"),
        SourceError,
        "has the name of a file that the conversion writes",
    ),
}


def assert_refused(
    adapter: Path, base: Path, kind: type[Exception], message: str, **options: Any
) -> None:
    before = set(adapter.parent.iterdir())
    with pytest.raises(kind, match=message) as caught:
        convert(adapter, adapter.parent / "fg", ConvertOptions(base=base, **options))
    assert isinstance(caught.value, ForgatherConvertError)
    assert set(adapter.parent.iterdir()) == before


@pytest.mark.parametrize("case", CONFIGS)
def test_configs(adapter: Path, base: Path, case: str) -> None:
    fields, kind, message = CONFIGS[case]
    set_fields(adapter, **fields)
    assert_refused(adapter, base, kind, message)


@pytest.mark.parametrize("case", FILES)
def test_files(adapter: Path, base: Path, case: str) -> None:
    damage, kind, message = FILES[case]
    damage(adapter)
    assert_refused(adapter, base, kind, message)


def test_a_base_of_the_other_format(adapter: Path, base: Path) -> None:
    """The names tell: an adapter of the original is none of the converted model."""
    fg = adapter.parent / "base"
    convert(base, fg, ConvertOptions(logit_check=False))
    message = r"do not belong to .*\n.*in the same format"
    assert_refused(adapter, fg, MappingError, f"(?s){message}")


@pytest.mark.parametrize("name", ["nowhere", "adapter"])
def test_a_base_that_is_no_model(adapter: Path, base: Path, name: str) -> None:
    assert_refused(adapter, adapter.parent / name, SourceError, name)


def test_a_base_without_a_converter(adapter: Path, base: Path) -> None:
    other = adapter.parent / "other"
    other.mkdir()
    for path in base.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    assert_refused(adapter, other, UnsupportedModelError, "bert")


def test_destinations_that_would_harm_the_base(adapter: Path, base: Path) -> None:
    for place in (base, base / "adapter", base.parent):
        with pytest.raises(DestinationError):
            convert(adapter, place, ConvertOptions(base=base, overwrite=True))
    assert (base / "model.safetensors").is_file()


def test_options_of_models(adapter: Path, base: Path) -> None:
    message = "--dtype, --format cannot be used with --base"
    options = {"dtype": "bfloat16", "weights_format": "pytorch"}
    assert_refused(adapter, base, OptionError, message, **options)


def test_without_the_base_the_message_names_it(adapter: Path) -> None:
    result = forgather("convert", adapter, adapter.parent / "fg")
    assert result.returncode == 1
    assert "only contains adapters (PEFT)" in result.stderr
    assert "--base DIR" in result.stderr
