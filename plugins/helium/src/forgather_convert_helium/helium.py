"""Helium: the standard decoder with rotations of neighbouring dimensions."""

from forgather_convert import STANDARD, HFConverter


class Helium(HFConverter):
    """Helium 1."""

    model_type = "helium"
    hf_model = "HeliumForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + ("attention_bias", "mlp_bias")
    fixed_hyperparameters = {"attention_output_bias": False}
    components = {
        "positional_encoding": "rotary_embedding:InterleavedRotaryEmbedding",
        "attention": "helium_attention:HeliumAttention",
        "norm": "rms_norm:WideRMSNorm",
    }
