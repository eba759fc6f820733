"""The conformance kit leaves out what a Hugging Face class does not have, and nothing else."""

import pytest
import transformers

from forgather_convert.testing.capabilities import attention_implementations, has_rope


@pytest.mark.parametrize(
    ("model_class", "implementations"),
    [("LlamaForCausalLM", ("eager", "sdpa")), ("XLNetLMHeadModel", ("eager",))],
)
def test_attention_implementations(model_class: str, implementations: tuple[str, ...]) -> None:
    found = attention_implementations(getattr(transformers, model_class))
    assert found == implementations


@pytest.mark.parametrize(
    ("config_class", "expected"),
    [
        ("LlamaConfig", True),
        ("GPTNeoXConfig", True),
        ("Gemma3TextConfig", True),
        ("GPT2Config", False),
    ],
)
def test_rotary_embedding(config_class: str, expected: bool) -> None:
    assert has_rope(getattr(transformers, config_class)) is expected
