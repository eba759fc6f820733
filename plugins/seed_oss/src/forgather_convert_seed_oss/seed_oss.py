"""Seed-OSS: the standard decoder, with biases by projection and dropout after each block."""

from forgather_convert import STANDARD, HFConverter


class SeedOss(HFConverter):
    """The Seed-OSS models."""

    model_type = "seed_oss"
    hf_model = "SeedOssForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + (
        "attention_bias",
        "attention_out_bias",
        "mlp_bias",
        "residual_dropout",
    )
    field_names = {
        "attention_out_bias": "attention_output_bias",
        "residual_dropout": "layer_dropout",
    }
