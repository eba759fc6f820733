"""What a family says about its weights, and what it has beside its converter's file."""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import (
    STANDARD,
    STANDARD_WEIGHT_MAPPING,
    ConverterError,
    HFConverter,
    SourceConfig,
    UnsupportedModelError,
    split,
    stacked_experts,
    without,
)
from forgather_convert.families.beside import components_beside, tiny_configs_beside
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.tensors.family_mapping import family_mapping
from forgather_convert.tensors.weight_mapping import WeightMapping

pytestmark = pytest.mark.version_independent

LAYER = "causal_lm.layer_stack.layers.{layer}"


def test_without_anything_of_its_own_it_is_the_other_mapping() -> None:
    assert family_mapping(STANDARD_WEIGHT_MAPPING) == STANDARD_WEIGHT_MAPPING


def test_a_module_of_a_layer_has_a_weight_and_a_bias() -> None:
    mapping = family_mapping({}, layer_weights={"mlp.gate": "feedforward.router"})
    assert mapping == {
        "model.layers.{layer}.mlp.gate.weight": f"{LAYER}.feedforward.router.weight",
        "model.layers.{layer}.mlp.gate.bias": f"{LAYER}.feedforward.router.bias",
    }


def test_a_name_of_the_family_takes_the_place_of_a_standard_one() -> None:
    """On either side: OLMo 2 has another tensor as its first norm, and none for the second."""
    own = {"post_attention_layernorm": "norm1", "post_feedforward_layernorm": "norm2"}
    mapping = family_mapping(STANDARD_WEIGHT_MAPPING, layer_weights=own)
    norms = {hf: fg for hf, fg in mapping.items() if ".norm1." in str(fg) or ".norm2." in str(fg)}
    assert norms == family_mapping({}, layer_weights=own)
    assert "model.layers.{layer}.input_layernorm.weight" not in mapping
    assert mapping.keys() >= {"lm_head.weight", "model.layers.{layer}.mlp.up_proj.weight"}


def test_layers_by_another_name() -> None:
    mapping = family_mapping(
        STANDARD_WEIGHT_MAPPING,
        hf_layers="transformer.h",
        model_weights={"transformer.ln_f": "causal_lm.layer_stack.layer_norm"},
        layer_weights={"ln_1": "norm1"},
    )
    names: Mapping[Any, Any] = mapping
    assert names["transformer.h.{layer}.ln_1.bias"] == f"{LAYER}.norm1.bias"
    assert (
        names["transformer.h.{layer}.mlp.up_proj.weight"] == f"{LAYER}.feedforward.up_proj.weight"
    )
    assert names["transformer.ln_f.weight"] == "causal_lm.layer_stack.layer_norm.weight"
    assert not [name for name in names if name.startswith(("model.layers", "model.norm"))]


def test_tensors_of_a_layer() -> None:
    """By their exact names, and with operations; experts, too."""
    mapping = family_mapping(
        STANDARD_WEIGHT_MAPPING,
        layer_tensors={
            "self_attn.sinks": "attention.sinks",
            "mlp.gate_up_proj.weight": split(
                "feedforward.gate_proj.weight", "feedforward.up_proj.weight"
            ),
            **stacked_experts("mlp.experts.{expert}"),
        },
    )
    rules = {rule.sources: rule for rule in WeightMapping.from_dict(mapping, "x").rules}
    layer = "model.layers.{layer}"
    assert rules[(f"{layer}.self_attn.sinks",)].destinations == (f"{LAYER}.attention.sinks",)
    assert rules[(f"{layer}.mlp.gate_up_proj.weight",)].destinations == (
        f"{LAYER}.feedforward.gate_proj.weight",
        f"{LAYER}.feedforward.up_proj.weight",
    )
    assert (f"{layer}.mlp.gate_proj.weight",) not in rules
    halves = tuple(f"{layer}.mlp.experts.{{expert}}.{part}_proj.weight" for part in ("gate", "up"))
    assert rules[halves].destinations == (f"{LAYER}.feedforward.experts.gate_up_proj",)


def test_experts_by_their_whole_names() -> None:
    relative = family_mapping({}, layer_tensors=stacked_experts("mlp.experts.{expert}"))
    whole = stacked_experts("model.layers.{layer}.mlp.experts.{expert}")
    assert WeightMapping.from_dict(relative, "x") == WeightMapping.from_dict(whole, "x")


def test_an_operation_is_no_module() -> None:
    wrong: Any = {"mlp.gate_up_proj": split("feedforward.gate_proj", "feedforward.up_proj")}
    with pytest.raises(ConverterError, match=r"'mlp\.gate_up_proj'.* 'layer_tensors'"):
        family_mapping({}, layer_weights=wrong)


def test_without_some_names() -> None:
    assert set(STANDARD) - set(without(STANDARD, "head_dim", "rms_norm_eps")) == {
        "head_dim",
        "rms_norm_eps",
    }


# The class in transformers


class Missing(HFConverter):
    model_type = "missing"
    hf_model = "NoSuchModelForCausalLM"


def test_a_class_that_transformers_does_not_have() -> None:
    with pytest.raises(ConverterError, match=r"transformers [\d.]+ has no class 'NoSuchModelFor"):
        FamilyHooks(Missing(), "here").get_hf_model_class()


def test_a_converter_that_names_no_class() -> None:
    with pytest.raises(ConverterError, match="HFConverter must set hf_model"):
        FamilyHooks(HFConverter(), "here").get_hf_model_class()


def test_a_field_that_must_not_be_set() -> None:
    converter = type("Strict", (Missing,), {"unsupported": {"twisted": "It cannot twist."}})()
    hooks = FamilyHooks(converter, "here")
    hooks.validate_source_config(SourceConfig({"twisted": False}, "it"), "to_forgather")
    with pytest.raises(UnsupportedModelError, match=r"In it, 'twisted' is 3, .* cannot twist\."):
        hooks.validate_source_config(SourceConfig({"twisted": 3}, "it"), "to_forgather")


# Beside the file


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A line of two model types, one of which has components."""
    root = tmp_path / "moons"
    (root / "components").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    for name in ("moon2", "moon-3"):
        (root / f"{name.replace('-', '_')}.py").write_text(
            "from forgather_convert import HFConverter\n"
            f"class Moon(HFConverter):\n    model_type = {name!r}\n"
        )
    (root / "tiny_configs.py").write_text("MOON2 = {'a': {'size': 2}}\nMOON_3 = {'b': {}}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "moons"
    for name in [name for name in sys.modules if name.partition(".")[0] == "moons"]:
        del sys.modules[name]


def test_tiny_configs_and_components_beside_a_converter(package: str, tmp_path: Path) -> None:
    moon2, moon3 = (import_module(f"{package}.{name}").Moon for name in ("moon2", "moon_3"))
    assert f"{package}.tiny_configs" not in sys.modules
    assert tiny_configs_beside(moon2) == {"a": {"size": 2}}
    assert tiny_configs_beside(moon3) == {"b": {}}
    assert components_beside(moon2) == [tmp_path / package / "components"]
    # A class elsewhere has what its base class has.
    below = type("Below", (moon2,), {"model_type": "below", "__module__": __name__})
    assert tiny_configs_beside(below) == {"a": {"size": 2}}
    assert tmp_path / package / "components" in components_beside(below)


def test_a_converter_with_nothing_beside_it() -> None:
    assert tiny_configs_beside(HFConverter) == {}
    assert components_beside(HFConverter) == []
