"""Nemotron: layer norms with weights around zero, and a feed-forward block without a gate."""

from forgather_convert import STANDARD, HFConverter, without


class Nemotron(HFConverter):
    """Nemotron-3 8B, Nemotron-4, and Minitron from it."""

    model_type = "nemotron"
    hf_model = "NemotronForCausalLM"
    needs_transformers = "5.13"
    supports_version_4 = True
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = without(STANDARD, "rms_norm_eps") + (
        "norm_eps",
        "attention_bias",
        "mlp_bias",
        "partial_rotary_factor",
    )
    components = {
        "layer_stack": "additive_mask_layer_stack:AdditiveMaskLayerStack",
        "norm": "zero_centered_layer_norm:ZeroCenteredLayerNorm",
        "attention": "partly_rotated_attention:DividedPartlyRotatedAttention",
        "feedforward": "feedforward:Feedforward",
    }
