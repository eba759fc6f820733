"""GLM: the standard decoder with a fused gate, and rotations of a part of each head."""

from forgather_convert import STANDARD, HFConverter


class Glm(HFConverter):
    """The GLM-4-9B models and GLM-Edge."""

    model_type = "glm"
    hf_model = "GlmForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + ("attention_bias", "partial_rotary_factor")
    fixed_hyperparameters = {"attention_output_bias": False}
    layer_weights = {"mlp.gate_up_proj": "feedforward.gate_up_proj"}
    components = {
        "positional_encoding": "rotary_embedding:InterleavedRotaryEmbedding",
        "attention": "interleaved_attention:InterleavedAttention",
        "feedforward": "fused_gated_feedforward:FusedGatedFeedforward",
    }
