"""The modules that a class keeps in float32, by the names that the dynamic model has for them."""

import pytest
from transformers import LlamaForCausalLM, PreTrainedModel

from forgather_convert import STANDARD_WEIGHT_MAPPING, split
from forgather_convert.dynamic_model.full_precision import translated_modules
from forgather_convert.tensors.notation import Step
from forgather_convert.tensors.weight_mapping import WeightMapping

#: Whether transformers searches what is listed anywhere in a name, as version 5 does.
IS_SEARCHED = hasattr(PreTrainedModel, "_get_dtype_plan")
ALL_NORMS = ("k_norm", "layer_norm", "norm1", "norm2", "q_norm")
MAPPING: dict[str, str | Step] = {
    **STANDARD_WEIGHT_MAPPING,
    "model.layers.{layer}.mlp.gate.weight": "causal_lm.layers.{layer}.router.weight",
    "model.layers.{layer}.mlp.gate.correction": "causal_lm.layers.{layer}.router.correction",
    "model.layers.{layer}.both.weight": split(
        "causal_lm.layers.{layer}.one.weight", "causal_lm.layers.{layer}.other.weight"
    ),
}


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ([], ()),
        (["nowhere"], ()),
        (["lm_head"], ("lm_head",)),
        (["q_proj", "mlp.up_proj"], ("query_linear", "up_proj")),
        # Not in the other parameters of a module whose name may not stand for it.
        (["q_proj.weight"], ("query_linear.weight",)),
        (["gate"], ("gate_proj", "router") if IS_SEARCHED else ("router",)),
        (["gate.weight", "gate.correction"], ("router",)),
        (["correction"], ("correction",)),
        (["both"], ("one", "other")),
        (["norm"], ALL_NORMS if IS_SEARCHED else ("layer_norm",)),
        (
            ["norm", "input_layernorm", "post_attention_layernorm"],
            ALL_NORMS if IS_SEARCHED else ("layer_norm", "norm1", "norm2"),
        ),
    ],
)
def test_names_in_the_dynamic_model(modules: list[str], expected: tuple[str, ...]) -> None:
    mapping = WeightMapping.from_dict(MAPPING, "the test")
    assert translated_modules(modules, LlamaForCausalLM, mapping) == expected
