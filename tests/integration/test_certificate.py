"""What the certificate says is what was run and compared, and nothing that differs is delivered."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from forgather_convert import (
    ConvertOptions,
    ForgatherConvertError,
    OptionError,
    UnsupportedModelError,
    ValidationError,
    convert,
)
from forgather_convert.compare import conversion_configs
from forgather_convert.logit_check.positions import Limit
from forgather_convert.models.loading import StoredModel, load_model
from forgather_convert.reporting.certificate import describe_certificate, is_verified
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert_llama.llama import Llama
from support.command import run_convert
from support.converting import edit_config, read_config
from support.directories import differences
from support.lies import LIES
from support.lying import assert_refused
from support.models import write_hf_model
from support.unchecked_configs import skip_reverse_plan
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")
#: A Mistral without a window is the Llama architecture.
MISTRAL = Variant("mistral", "no-window", {"sliding_window": None, "head_dim": 16})
_TINY = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def write_model(directory: Path, model_type: str, **fields: Any) -> Path:
    """A model as transformers saves it, with random weights everywhere."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(model_type, **{**_TINY, **fields})
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    model.save_pretrained(directory)
    return directory


# The reference


@pytest.mark.parametrize(
    ("model_type", "fields"),
    [("gemma", {}), ("helium", {}), ("granite", {"logits_scaling": 4.0})],
)
def test_an_override_does_not_choose_the_reference(
    model_type: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    """The tensors have the names of a Llama's, and the model computes something else."""
    source = write_model(tmp_path / "hf", model_type, **fields)
    with pytest.raises(ForgatherConvertError):
        convert(source, tmp_path / "fg", ConvertOptions(model_type="llama"))
    assert not (tmp_path / "fg").exists()


def test_an_override_is_compared_with_the_class_of_the_own_type(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", MISTRAL)
    result = convert(source, tmp_path / "fg", ConvertOptions(model_type="llama"))
    assert result.logits is not None
    assert result.logits.codes[0] == "MistralForCausalLM of transformers"
    assert read_config(tmp_path / "fg")["hf_model_type"] == "llama"


def test_a_type_without_a_causal_model_has_no_reference(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA)
    edit_config(source, model_type="vit")
    with pytest.raises(UnsupportedModelError, match="no causal language model of the type 'vit'"):
        convert(source, tmp_path / "fg", ConvertOptions(model_type="llama"))


def test_a_borrowed_reference_is_named(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA)
    edit_config(source, model_type="unheard_of")
    converter = type("Unheard", (Llama,), {"model_type": "unheard_of"})()
    there = convert(source, tmp_path / "fg", converter=converter)
    back = convert(tmp_path / "fg", tmp_path / "back", converter=converter)
    borrowed = (
        "was loaded as LlamaForCausalLM of transformers, which does not know the model type "
        "'unheard_of'."
    )
    assert f"The source {borrowed}" in describe_certificate(there)
    assert f"The result {borrowed}" in describe_certificate(back)
    assert "does not know" not in describe_certificate(
        convert(write_hf_model(tmp_path / "llama", LLAMA), tmp_path / "fg_llama")
    )


# Aliases

_ALIAS = """
from forgather.ml.model_conversion import register_converter
from forgather_convert_llama.llama import Llama


@register_converter("llama")
class Converter(Llama):
    aliases = ("my_llama", "mistral")
"""


def test_an_alias_keeps_its_type(tmp_path: Path) -> None:
    """A converter file that declares it is found by it; test_aliases has those of the plugins."""
    source = write_hf_model(tmp_path / "hf", LLAMA)
    edit_config(source, model_type="my_llama")
    (tmp_path / "converter.py").write_text(_ALIAS)
    options = ConvertOptions(converter_paths=(tmp_path / "converter.py",))
    convert(source, tmp_path / "fg", options)
    config = read_config(tmp_path / "fg")
    assert config["hf_model_type"] == "my_llama"
    assert config["model_type"] == "forgather-dynamic-causal-my_llama"
    convert(tmp_path / "fg", tmp_path / "back", options)
    assert differences(source, tmp_path / "back") == []


def test_a_type_that_only_seems_to_be_the_same_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Llama cannot say that a Mistral has no window."""
    skip_reverse_plan(monkeypatch)
    source = write_hf_model(tmp_path / "hf", MISTRAL)
    (tmp_path / "converter.py").write_text(_ALIAS)
    options = ConvertOptions(converter_paths=(tmp_path / "converter.py",))
    with pytest.raises(ForgatherConvertError):
        convert(source, tmp_path / "fg", options)
    assert not (tmp_path / "fg").exists()


def test_an_alias_keeps_its_type_without_the_original_config(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA)
    edit_config(source, model_type="my_llama")
    (tmp_path / "converter.py").write_text(_ALIAS)
    options = ConvertOptions(converter_paths=(tmp_path / "converter.py",))
    convert(source, tmp_path / "fg", options)
    (tmp_path / "fg" / "forgather_conversion.json").unlink()
    convert(tmp_path / "fg", tmp_path / "back", options)
    assert read_config(tmp_path / "back")["model_type"] == "my_llama"


def test_a_type_that_is_no_alias_is_refused(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA)
    edit_config(source, model_type="other_llama")
    (tmp_path / "converter.py").write_text(_ALIAS)
    options = ConvertOptions(converter_paths=(tmp_path / "converter.py",))
    with pytest.raises(UnsupportedModelError, match="No converter registered"):
        convert(source, tmp_path / "fg", options)


# Loading


class _Loaded(torch.nn.Module):
    """What a class of transformers gives."""

    report: ClassVar[Mapping[str, Any]]

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> Any:
        return cls(), cls.report


def load(report: Mapping[str, Any], directory: Path, is_result: bool) -> Any:
    (directory / "model.safetensors").touch()
    model_class = type("Model", (_Loaded,), {"report": report})
    parameters = ModelParameters(shapes={}, tied={}, vocabulary_tensors=())
    model = StoredModel(model_class, None, directory, _STATE, lambda: parameters)
    return load_model(model, is_result=is_result)


_STATE: Any = {"a": type("Value", (), {"dtype": "float32"})()}
_COMPLETE: dict[str, Any] = {
    "missing_keys": set(),
    "unexpected_keys": set(),
    "mismatched_keys": set(),
}


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"missing_keys": ["layers.0.experts.up"]}, r"layers\.0\.experts\.up \(missing\)"),
        ({"unexpected_keys": {"layers.0.bias"}}, r"layers\.0\.bias \(unexpected\)"),
        ({"mismatched_keys": [("head", (2, 3), (3, 2))]}, r"head \(of another shape\)"),
        ({"error_msgs": ["It is torn"]}, "It is torn"),
    ],
)
@pytest.mark.parametrize("is_result", [False, True], ids=["source", "result"])
def test_an_incomplete_load_is_an_error_of_who_is_loaded(
    report: Mapping[str, Any], expected: str, is_result: bool, tmp_path: Path
) -> None:
    whose = "result does not load completely by itself" if is_result else "nothing to compare"
    with pytest.raises(ValidationError, match=expected) as caught:
        load({**_COMPLETE, **report}, tmp_path, is_result)
    assert whose in str(caught.value)
    assert ("result does not load" in str(caught.value)) is is_result


def test_a_result_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    class Broken(_Loaded):
        @classmethod
        def from_pretrained(cls, *_: Any, **__: Any) -> Any:
            raise OSError("no such module")

    (tmp_path / "model.safetensors").touch()
    parameters = ModelParameters(shapes={}, tied={}, vocabulary_tensors=())
    model = StoredModel(Broken, None, tmp_path, _STATE, lambda: parameters)
    with pytest.raises(ValidationError, match="The result does not load by itself: OSError: no"):
        load_model(model, is_result=True)


def test_a_source_that_loads_incompletely_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA)
    load_class = LlamaForCausalLM.from_pretrained

    def load_without_a_tensor(*arguments: Any, **options: Any) -> Any:
        model, report = load_class(*arguments, **options)
        return model, {**dict(report), "missing_keys": {"model.layers.1.mlp.experts"}}

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", load_without_a_tensor)
    with pytest.raises(ValidationError, match=f"does not load {source} completely"):
        convert(source, tmp_path / "fg")
    assert not (tmp_path / "fg").exists()


# Limits


def test_limits_that_only_one_side_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far behind what can be run, and even if no field of a config tells."""

    def limits_of(config: Any) -> frozenset[Limit]:
        is_forgather = config.model_type.startswith("forgather")
        return frozenset({Limit(10**6, "window")} if is_forgather else ())

    monkeypatch.setattr(conversion_configs, "limits_of", limits_of)
    source = write_hf_model(tmp_path / "hf", LLAMA)
    with pytest.raises(ValidationError, match="past no length, and the result past the window"):
        convert(source, tmp_path / "fg", ConvertOptions(logit_check=False))


# Certificates


def test_skipped_is_not_verified(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA)
    result = convert(source, tmp_path / "fg", ConvertOptions(logit_check=False))
    assert describe_certificate(result) == (
        "Not verified: the logit check was skipped (--no-logit-check). Configs agree."
    )
    assert not is_verified(result)


def test_code_that_did_not_run_is_not_verified(tmp_path: Path) -> None:
    """A model of other code than the standard one is not said to equal its source."""
    convert(write_hf_model(tmp_path / "hf", LLAMA), tmp_path / "fg")
    (norm,) = (tmp_path / "fg").glob("rms_norm_*.py")
    norm.write_text(norm.read_text() + "\n# Mine.\n")
    result = convert(tmp_path / "fg", tmp_path / "back")
    assert describe_certificate(result).startswith("Not verified against the source's own code")
    assert "With the standard code, on 5 runs" in describe_certificate(result)
    assert not is_verified(result)
    trusted = convert(tmp_path / "fg", tmp_path / "own", ConvertOptions(trust_remote_code=True))
    assert describe_certificate(trusted).startswith(
        "Verified on 5 runs over 51 positions: logits bit"
    )
    assert is_verified(trusted)


def test_a_tolerance_is_part_of_the_certificate(tmp_path: Path) -> None:
    (lie,) = (lie for lie in LIES if lie.id == "to-feedforward wrong for a batch")
    source = write_hf_model(tmp_path / "hf", lie.variant)
    converter = lie.make(tmp_path / "components")
    with pytest.raises(ValidationError, match="accept it with --logit-tolerance"):
        convert(source, tmp_path / "no", ConvertOptions(logit_tolerance=1e-9), converter=converter)
    result = convert(
        source, tmp_path / "fg", ConvertOptions(logit_tolerance=1.0), converter=converter
    )
    assert result.logits is not None
    assert not result.logits.are_equal
    assert 0.0 < result.logits.max_difference <= 1.0
    difference = f"logits within {result.logits.max_difference:g} of the source's."
    assert describe_certificate(result).startswith("Verified within 1 on ")
    assert difference in describe_certificate(result)


def test_tolerance_on_the_command_line(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA)
    output = run_convert("--json", "--logit-tolerance", "0.5", source, tmp_path / "fg").stdout
    content = json.loads(output)
    assert content["logits"]["tolerance"] == 0.5
    assert content["certificate"].startswith("Verified on 5 runs")


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("inf"), float("nan")])
def test_tolerances_that_are_none(tolerance: float) -> None:
    with pytest.raises(OptionError, match="must be a positive number"):
        ConvertOptions(logit_tolerance=tolerance)


def test_tolerance_of_no_check() -> None:
    with pytest.raises(OptionError, match="no meaning without the logit check"):
        ConvertOptions(logit_tolerance=0.1, logit_check=False)


# Lies

_EVERY_DAY = {
    "to-loses eos_token_id",
    "to-changes max_position_embeddings and back",
    "to-injects quantization_config",
    "to-changes longrope's original length",
    "to-attention wrong for a filled cache",
    "to-attention wrong for padding",
    "to-feedforward wrong for a single token",
    "to-feedforward wrong for an odd number of tokens",
    "to-norm wrong for a single token",
    "from-injects auto_map",
    "from-changes use_cache",
    "from-swaps gates and ups-restored",
}


@pytest.mark.parametrize("name", sorted(_EVERY_DAY))
def test_lies_are_refused(name: str, tmp_path: Path) -> None:
    """A few; tests/fuzz has all of them."""
    (lie,) = (lie for lie in LIES if lie.id == name)
    assert_refused(lie, tmp_path)
