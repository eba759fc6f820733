"""What could not be converted back is refused before it is written."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import transformers

from forgather_convert import (
    STANDARD_HYPERPARAMETERS,
    ConverterError,
    ConvertOptions,
    HFConverter,
    SourceConfig,
    UnsupportedModelError,
    convert,
    plan,
)
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing import TINY_DECODER
from forgather_convert.testing.models import write_model
from forgather_convert_deepseek.deepseek_v3 import DeepseekV3
from forgather_convert_llama.llama import Llama
from forgather_convert_phi.phi3 import Phi3
from support.converting import convert_unchecked, edit_config
from support.directories import differences
from support.models import write_hf_model
from support.tokenizer_files import write_tokenizer
from support.variants import variant

LLAMA = variant("llama-default")


def _refused(source: Path, **keywords: Any) -> str:
    with pytest.raises(UnsupportedModelError, match="could not be converted back") as error:
        plan(source, source.with_name("fg"), **keywords)
    return str(error.value)


def test_a_default_that_the_reverse_conversion_refuses(tmp_path: Path) -> None:
    """The class's default is 128 heads, which this model does not have."""
    hooks = FamilyHooks(DeepseekV3(), "test")
    fields = {**DeepseekV3().get_tiny_configs()["options"]}
    source = write_model(tmp_path / "hf", hooks, fields, "bfloat16")
    edit_config(source, ("num_key_value_heads",))
    message = _refused(source)
    assert "'num_key_value_heads' is 128; it must divide the 4 attention heads" in message
    assert str(source / "config.json") in message


def test_a_field_that_the_family_loses(tmp_path: Path) -> None:
    """Its models compute with a ``head_dim`` that Phi-3's class does not name."""
    hooks = FamilyHooks(Phi3(), "test")
    fields = {**Phi3().get_tiny_configs()["plain"], "head_dim": 32}
    source = write_model(tmp_path / "hf", hooks, fields, "bfloat16")
    assert "'model.layers.0.self_attn.qkv_proj.weight'" in _refused(source)


def test_the_model_is_not_built_again_for_another_schema_of_rope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building DeepSeek-V3 once more takes 45 MB."""
    source = write_hf_model(tmp_path / "hf", LLAMA, schema="4")
    edit_config(source, rope_scaling={"type": "linear", "factor": 2.0})
    monkeypatch.setattr("forgather_convert.planning.reversal.parameters_of_class", None)
    assert plan(source, tmp_path / "fg").dtype == "float32"


class Forgetful(Llama):
    """Writes another value into the Hugging Face config than the Forgather one has."""

    def create_hf_config(self, src_config: SourceConfig, max_length: int | None = None) -> Any:
        config = super().create_hf_config(src_config, max_length)
        if not self.is_original(src_config):
            config.rms_norm_eps = 0.125
        return config

    @staticmethod
    def is_original(config: SourceConfig) -> bool:
        return "hf_model_type" not in config


def test_a_config_that_would_come_back_as_another(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, "bfloat16")
    message = _refused(source, converter=Forgetful())
    assert "rms_norm_eps: " in message
    assert "would be 0.125" in message
    assert "Forgetful" in message


class Failing(Llama):
    """Has nothing to say of a Forgather config."""

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        if direction == "from_forgather":
            raise ConverterError("This way is not ready. Come again.")


def test_a_converter_of_one_direction(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, "bfloat16")
    assert "This way is not ready" in _refused(source, converter=Failing())


def test_what_the_user_changes_is_no_loss(tmp_path: Path) -> None:
    """A padding token, a dtype and a length come back changed, as they are asked for."""
    source = write_hf_model(tmp_path / "hf", LLAMA, "float32")
    write_tokenizer(source, None)
    options = ConvertOptions(
        dtype="bfloat16", max_length=512, pad_vocab_to_multiple_of=7, logit_check=False
    )
    convert(source, tmp_path / "fg", options)
    back = convert_unchecked(tmp_path / "fg", tmp_path / "back")
    before, after = (json.loads((path / "config.json").read_text()) for path in (source, back))
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed >= {"max_position_embeddings", "vocab_size", "pad_token_id"}


class QkvConfig(transformers.LlamaConfig):  # type: ignore[misc]
    """Llama's config with a name of its own for the biases."""

    model_type = "llama_with_qkv_bias"
    attribute_map: ClassVar[dict[str, str]] = {"attention_bias": "qkv_bias"}


class QkvModel(transformers.LlamaForCausalLM):  # type: ignore[misc]
    config_class = QkvConfig


class QkvConverter(HFConverter):
    """Its field has the Forgather name of another family's field."""

    model_type = "llama_with_qkv_bias"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "qkv_bias", "mlp_bias")
    field_names: ClassVar[dict[str, str]] = {"qkv_bias": "attention_bias"}

    def get_hf_model_class(self) -> Any:
        return QkvModel


@pytest.mark.parametrize("bias", [True, False])
def test_names_of_fields_are_those_of_their_side(bias: bool, tmp_path: Path) -> None:
    converter = QkvConverter()
    fields = {**TINY_DECODER, "qkv_bias": bias}
    source = write_model(tmp_path / "hf", FamilyHooks(converter, "test"), fields, "bfloat16")
    convert(source, tmp_path / "fg", ConvertOptions(logit_check=False), converter=converter)
    config = json.loads((tmp_path / "fg" / "config.json").read_text())
    assert config["attention_bias"] is bias
    options = ConvertOptions(logit_check=False)
    convert(tmp_path / "fg", tmp_path / "back", options, converter=converter)
    assert differences(source, tmp_path / "back") == []


def test_two_fields_may_have_the_names_of_each_other() -> None:
    class Swapped(QkvConverter):
        hyperparameters = (*STANDARD_HYPERPARAMETERS, "attention_dropout", "initializer_range")
        field_names: ClassVar[dict[str, str]] = {
            "attention_dropout": "initializer_range",
            "initializer_range": "attention_dropout",
        }

    fields = {**TINY_DECODER, "attention_dropout": 0.25, "initializer_range": 0.5}
    config = Swapped().create_hf_config(SourceConfig(fields))
    assert (config.attention_dropout, config.initializer_range) == (0.5, 0.25)
