"""The conformance kit leaves out what a Hugging Face class does not have, and nothing else."""

import pytest
import transformers

from forgather_convert import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing.capabilities import attention_implementations, why_absent


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
