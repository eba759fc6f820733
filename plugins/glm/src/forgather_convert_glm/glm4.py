"""GLM-4: norms around both blocks, a fused gate, and rotations of a part of each head."""

from forgather_convert import STANDARD, HFConverter


class Glm4(HFConverter):
    """The dense GLM-4-0414 models."""

    model_type = "glm4"
    hf_model = "Glm4ForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + ("attention_bias", "partial_rotary_factor")
    fixed_hyperparameters = {"attention_output_bias": False}
    layer_weights = {
        "post_self_attn_layernorm": "norm2",
        # It is before the feed-forward, not after the attention.
        "post_attention_layernorm": "norm3",
        "post_mlp_layernorm": "norm4",
        "mlp.gate_up_proj": "feedforward.gate_up_proj",
    }
    components = {
        "positional_encoding": "rotary_embedding:InterleavedRotaryEmbedding",
        "layer": "sandwich_norm_layer:SandwichNormLayer",
        "attention": "interleaved_attention:InterleavedAttention",
        "feedforward": "fused_gated_feedforward:FusedGatedFeedforward",
    }
