"""The reference of the check is what a user gets from SRC: a wrong converter cannot fool it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    HFConverter,
    SourceConfig,
    UnsupportedModelError,
    ValidationError,
    convert,
)
from forgather_convert.dynamic_model.project import Project
from support.models import write_hf_model
from support.variants import Variant

PLAIN = Variant("llama", "plain")
WINDOW = Variant("mistral", "window", {"sliding_window": 8})
PROVENANCE = "forgather_conversion.json"


class Llama(HFConverter):
    """A right converter of Llama, to be spoilt."""

    model_type = "llama"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "attention_bias", "mlp_bias")

    def get_hf_model_class(self) -> Any:
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM


class Mistral(HFConverter):
    """A right converter of Mistral, to be spoilt."""

    model_type = "mistral"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "sliding_window")

    def get_hf_model_class(self) -> Any:
        from transformers import MistralForCausalLM

        return MistralForCausalLM


def losing(converter_class: type[HFConverter], field: str, value: Any) -> HFConverter:
    """A converter whose Hugging Face config has one wrong value, whatever the source says."""

    class Losing(converter_class):  # type: ignore[misc, valid-type]
        def create_hf_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
            return super().create_hf_config(src_config.updated({field: value}), max_length)

    return Losing()


LOSSES = [
    (Llama, PLAIN, "rms_norm_eps", 0.5),
    (Llama, PLAIN, "hidden_act", "gelu"),
    (Llama, PLAIN, "rope_theta", 10.0),
    (Mistral, WINDOW, "sliding_window", None),
]


@pytest.mark.parametrize(
    ("converter_class", "variant", "field", "value"), LOSSES, ids=[loss[2] for loss in LOSSES]
)
def test_a_field_that_is_lost_on_the_way_back_is_found(
    converter_class: type[HFConverter],
    variant: Variant,
    field: str,
    value: Any,
    tmp_path: Path,
) -> None:
    """Without the original config: with it the original's text, which is right, comes back."""
    source = write_hf_model(tmp_path / "hf", variant)
    convert(source, tmp_path / "fg", converter=converter_class())
    (tmp_path / "fg" / PROVENANCE).unlink()
    if field == "rope_theta":
        edit(tmp_path / "fg" / "config.json", remove=["rope_scaling", "rope_parameters"])
    # Another value is found in the config, another kind of value before that.
    errors = (ValidationError, UnsupportedModelError)
    with pytest.raises(errors, match=f"do not agree|'{field}' is .* in this model"):
        convert(tmp_path / "fg", tmp_path / "back", converter=losing(converter_class, field, value))
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("converter_class", "variant", "field", "value"), LOSSES, ids=[loss[2] for loss in LOSSES]
)
def test_a_field_that_is_lost_in_reading_is_found(
    converter_class: type[HFConverter],
    variant: Variant,
    field: str,
    value: Any,
    tmp_path: Path,
) -> None:
    """Towards Forgather: the converter's project has another value than the source."""

    class Losing(converter_class):  # type: ignore[misc, valid-type]
        def create_project_config(
            self, src_config: SourceConfig, max_length: int | None = None
        ) -> Mapping[str, Any]:
            changed = {field: value}
            if field == "rope_theta":
                changed |= {"rope_scaling": None, "rope_parameters": None}
            project: Mapping[str, Any] = super().create_project_config(
                src_config.updated(changed), max_length
            )
            return project

        def create_hf_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
            return super().create_hf_config(src_config.updated({field: value}), max_length)

    source = write_hf_model(tmp_path / "hf", variant)
    # What is lost shows in the configs, or before: it would not come back, either.
    errors = (ValidationError, UnsupportedModelError)
    with pytest.raises(errors, match=r"do not agree|could not be converted back"):
        convert(source, tmp_path / "fg", converter=Losing())
    assert not (tmp_path / "fg").exists()


def test_a_converter_that_names_another_class_is_found(tmp_path: Path) -> None:
    """A Mistral with a window is not the Llama that the converter takes it for."""

    class Confused(Mistral):
        def get_hf_model_class(self) -> Any:
            from transformers import LlamaForCausalLM

            return LlamaForCausalLM

        def create_project_config(
            self, src_config: SourceConfig, max_length: int | None = None
        ) -> Project | Mapping[str, Any]:
            changed = src_config.updated({"sliding_window": None})
            return super().create_project_config(changed, max_length)

    source = write_hf_model(tmp_path / "hf", WINDOW)
    with pytest.raises(UnsupportedModelError, match="sliding_window: 8 would be None"):
        convert(source, tmp_path / "fg", converter=Confused())
    assert not (tmp_path / "fg").exists()


class SmolLM3(Llama):
    """The rotary base that its config class has by default is not 10000."""

    model_type = "smollm3"

    def get_hf_model_class(self) -> Any:
        from transformers import SmolLM3ForCausalLM

        return SmolLM3ForCausalLM


def test_defaults_are_those_of_the_config_class(tmp_path: Path) -> None:
    """A config without ``rope_theta`` has the base that its class gives it, both ways."""
    fields = {
        **PLAIN.config(),
        "model_type": "smollm3",
        "architectures": ["SmolLM3ForCausalLM"],
        "no_rope_layers": [1] * PLAIN.config()["num_hidden_layers"],
        "dtype": "float32",
    }
    for name in ("rope_theta", "rope_scaling", "rope_parameters", "rms_norm_eps"):
        fields.pop(name, None)
    source = write_hf_model(tmp_path / "hf", PLAIN, config=fields)
    result = convert(source, tmp_path / "fg", converter=SmolLM3())
    assert result.logits is not None
    assert result.logits.are_equal
    config = json.loads((tmp_path / "fg" / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 2000000.0
    convert(tmp_path / "fg", tmp_path / "back", converter=SmolLM3())
    assert (tmp_path / "back" / "config.json").read_bytes() == (source / "config.json").read_bytes()


def edit(path: Path, remove: tuple[str, ...] | list[str] = (), **fields: Any) -> None:
    content = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: content[name] for name in content if name not in remove}))
