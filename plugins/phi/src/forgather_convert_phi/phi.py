"""Phi: both blocks of a layer have the same input, and a part of each head is rotated."""

from forgather_convert import STANDARD, HFConverter, without


class Phi(HFConverter):
    """Phi-1, Phi-1.5 and Phi-2."""

    model_type = "phi"
    hf_model = "PhiForCausalLM"
    tokenizer_class = "CodeGenTokenizer"
    hyperparameters = without(STANDARD, "rms_norm_eps") + (
        "layer_norm_eps",
        "qk_layernorm",
        "resid_pdrop",
        "embd_pdrop",
        "partial_rotary_factor",
    )
    field_names = {"resid_pdrop": "layer_dropout", "embd_pdrop": "embedding_dropout"}
    fixed_hyperparameters = {"attention_bias": True, "mlp_bias": True, "lm_head_bias": True}
    layer_weights = {
        "self_attn.dense": "attention.output_linear",
        "self_attn.q_layernorm": "attention.q_norm",
        "self_attn.k_layernorm": "attention.k_norm",
        "mlp.fc1": "feedforward.up_proj",
        "mlp.fc2": "feedforward.down_proj",
    }
    model_weights = {"model.final_layernorm": "causal_lm.layer_stack.layer_norm"}
    components = {
        "norm": "layer_norm:LayerNorm",
        "feedforward": "feedforward:Feedforward",
        "layer": "parallel_layer:BlocksFirstParallelLayer",
        "attention": "phi_attention:PhiAttention",
    }
