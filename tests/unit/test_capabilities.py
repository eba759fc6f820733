"""The conformance kit leaves out what a Hugging Face class does not have, and nothing else."""

from typing import Any

import pytest
import torch
import transformers

from forgather_convert import (
    STANDARD_WEIGHT_MAPPING,
    TINY_DECODER,
    HFConverter,
    OptionError,
    Project,
    SourceConfig,
    UnsupportedModelError,
)
from forgather_convert.dynamic_model.capabilities import Capabilities
from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.families.transformers_classes import is_transformers_at_least
from forgather_convert.tensors.weight_mapping import WeightMapping
from forgather_convert.testing.capabilities import attention_implementations, why_absent

_OWN_FIELDS = {
    "head_dim": 16,
    "attention_bias": False,
    "mlp_bias": False,
    "sliding_window": None,
    "rope_theta": 10000.0,
}


@pytest.mark.parametrize(
    ("model_class", "implementations"),
    [("LlamaForCausalLM", ("eager", "sdpa")), ("XLNetLMHeadModel", ("eager",))],
)
def test_attention_implementations(model_class: str, implementations: tuple[str, ...]) -> None:
    found = attention_implementations(getattr(transformers, model_class))
    assert found == implementations


@pytest.mark.parametrize(
    ("model_type", "hf_model", "is_absent"),
    [
        ("llama", "LlamaForCausalLM", False),
        ("not_there_yet", "NotThereYetForCausalLM", True),
        # A family that borrows a class, and a class that is misspelt.
        ("not_there_yet", "LlamaForCausalLM", False),
        ("llama", "LamaForCausalLM", False),
    ],
)
def test_families_that_transformers_does_not_have(
    model_type: str, hf_model: str, is_absent: bool
) -> None:
    converter_class = type("New", (HFConverter,), {"model_type": model_type, "hf_model": hf_model})
    reason = why_absent(FamilyHooks(converter_class(), origin="under test"))
    assert (reason is not None and hf_model in reason) == is_absent


@pytest.mark.parametrize(("version", "is_absent"), [("4.57", False), ("5.99", True)])
def test_families_that_need_a_newer_version(version: str, is_absent: bool) -> None:
    """The kit is skipped, and a conversion refused, before anything is read."""

    class New(HFConverter):
        model_type = "llama"
        hf_model = "LlamaForCausalLM"
        needs_transformers = version

    assert (why_absent(FamilyHooks(New(), origin="under test")) is not None) == is_absent
    if is_absent:
        with pytest.raises(UnsupportedModelError, match=r"needs transformers 5\.99 or later"):
            New().validate_source_config(SourceConfig({}), "to_forgather")


def test_families_that_need_a_newer_version_5_or_any_version_4() -> None:
    class New(HFConverter):
        model_type = "llama"
        hf_model = "LlamaForCausalLM"
        needs_transformers = "5.99"
        supports_version_4 = True

    is_absent = why_absent(FamilyHooks(New(), origin="under test")) is not None
    assert is_absent == is_transformers_at_least("5")


@pytest.mark.parametrize("keeps_all", [False, True])
def test_generation_keeps_the_logits_that_the_original_does(keeps_all: bool) -> None:
    """Otherwise the product would have another shape, and other last bits."""

    def forward(self: Any, input_ids: Any, logits_to_keep: int = 0) -> None: ...

    def without(self: Any, input_ids: Any) -> None: ...

    original = type("Original", (), {"forward": without if keeps_all else forward})
    mapping = WeightMapping.from_dict(STANDARD_WEIGHT_MAPPING, "a test")
    capabilities = Capabilities.of(original, mapping)
    config = {**TINY_DECODER, **_OWN_FIELDS}
    project = Project("moon", config, capabilities=capabilities)
    model_class = load_generated_code(generate_code(project)).model_class
    model = model_class(model_class.config_class())
    assert model._supports_logits_to_keep() is not keeps_all


def test_vectors_may_have_a_size_of_their_own() -> None:
    """The head has it, too: it may be tied to them."""
    project = Project("moon", {**TINY_DECODER, **_OWN_FIELDS, "embedding_size": 24})
    model_class = load_generated_code(generate_code(project)).model_class
    model = model_class(model_class.config_class())
    shape = torch.Size((TINY_DECODER["vocab_size"], 24))
    assert model.get_input_embeddings().weight.shape == model.lm_head.weight.shape == shape


def test_learned_positions_have_a_number_that_stays() -> None:
    """In both directions; the number itself may be stated."""

    class New(HFConverter):
        model_type = "llama"
        hf_model = "LlamaForCausalLM"
        has_learned_positions = True

    config = SourceConfig({**TINY_DECODER, "rope_theta": 10000.0})
    longest = TINY_DECODER["max_position_embeddings"]
    for change in (New().create_project_config, New().create_hf_config):
        change(config, longest)
        with pytest.raises(OptionError, match="each with a learned vector"):
            change(config, longest + 1)
