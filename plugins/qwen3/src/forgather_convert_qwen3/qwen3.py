"""Qwen3: the standard decoder, with normalised queries and keys and windows by layer."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter


class Qwen3(HFConverter):
    """The dense Qwen3 models."""

    model_type = "qwen3"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = (
        *STANDARD_HYPERPARAMETERS,
        "attention_bias",
        "use_sliding_window",
        "sliding_window",
        "max_window_layers",
        "layer_types",
    )
    components: ClassVar[Mapping[str, str]] = {"attention": "qk_norm_attention:QKNormAttention"}

    def get_hf_model_class(self) -> Any:
        from transformers import Qwen3ForCausalLM

        return Qwen3ForCausalLM
