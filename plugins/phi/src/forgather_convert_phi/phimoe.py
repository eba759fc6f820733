"""Phi-3.5-MoE: layer norms, a head with a bias, and two experts for each token in every layer."""

from forgather_convert import STANDARD, HFConverter, stacked_experts, without


class Phimoe(HFConverter):
    """Phi-3.5-MoE."""

    model_type = "phimoe"
    hf_model = "PhimoeForCausalLM"
    tokenizer_class = "LlamaTokenizer"
    # Version 4 chooses other frequencies for long sequences, fails where positions are given, and
    # masks other tokens than those beyond a window.
    needs_transformers = "5.16"
    hyperparameters = without(STANDARD, "head_dim") + (
        "attention_bias",
        "lm_head_bias",
        "sliding_window",
        "num_local_experts",
        "num_experts_per_tok",
        "input_jitter_noise",
        "router_jitter_noise",
        "output_router_logits",
        "router_aux_loss_coef",
    )
    field_names = {"num_local_experts": "num_experts"}
    layer_weights = {"block_sparse_moe.gate": "feedforward.router"}
    layer_tensors = stacked_experts(
        "block_sparse_moe.experts.{expert}", gate="w1", up="w3", down="w2"
    )
    components = {
        "positional_encoding": "phimoe_rotary_embedding:PhimoeRotaryEmbedding",
        "feedforward": "phimoe_experts:PhimoeExperts",
        "router": "sparse_mixer_router:SparseMixerRouter",
        "norm": "layer_norm:LayerNorm",
    }
