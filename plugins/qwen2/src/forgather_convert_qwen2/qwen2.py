"""Qwen2 and Qwen2.5: the standard decoder, with biases on queries, keys and values only."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter


class Qwen2(HFConverter):
    """The dense Qwen2 and Qwen2.5 models."""

    model_type = "qwen2"
    tokenizer_class = "Qwen2Tokenizer"
    hyperparameters = (
        *STANDARD_HYPERPARAMETERS,
        "use_sliding_window",
        "sliding_window",
        "max_window_layers",
        "layer_types",
    )
    fixed_hyperparameters: ClassVar[Mapping[str, Any]] = {
        "attention_bias": True,
        "attention_output_bias": False,
    }

    def get_hf_model_class(self) -> Any:
        from transformers import Qwen2ForCausalLM

        return Qwen2ForCausalLM
