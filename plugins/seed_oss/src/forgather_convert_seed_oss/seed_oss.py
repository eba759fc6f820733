"""Seed-OSS: the standard decoder, with biases by projection and dropout behind each block."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import STANDARD_HYPERPARAMETERS, HFConverter


class SeedOss(HFConverter):
    """The Seed-OSS models."""

    model_type = "seed_oss"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = (
        *STANDARD_HYPERPARAMETERS,
        "attention_bias",
        "attention_out_bias",
        "mlp_bias",
        "residual_dropout",
    )
    field_names: ClassVar[Mapping[str, str]] = {
        "attention_out_bias": "attention_output_bias",
        "residual_dropout": "layer_dropout",
    }

    def get_hf_model_class(self) -> Any:
        from transformers import SeedOssForCausalLM

        return SeedOssForCausalLM
