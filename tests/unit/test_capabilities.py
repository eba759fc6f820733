"""The conformance kit leaves out what a Hugging Face class does not have, and nothing else."""

import pytest
import transformers

from forgather_convert.testing.capabilities import attention_implementations


@pytest.mark.parametrize(
    ("model_class", "implementations"),
    [("LlamaForCausalLM", ("eager", "sdpa")), ("XLNetLMHeadModel", ("eager",))],
)
def test_attention_implementations(model_class: str, implementations: tuple[str, ...]) -> None:
    found = attention_implementations(getattr(transformers, model_class))
    assert found == implementations
