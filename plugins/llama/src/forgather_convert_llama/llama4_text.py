"""Llama 4: chunks of attention, layers without positions, and experts that see every token."""

from collections.abc import Mapping
from typing import Any

from forgather_convert import STANDARD, HFConverter, SourceConfig, gated_feedforward


class Llama4Text(HFConverter):
    """The text models of Llama 4 Scout and Maverick."""

    model_type = "llama4_text"
    hf_model = "Llama4ForCausalLM"
    needs_transformers = "5.19"
    supports_version_4 = True
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + (
        "attention_bias",
        "attention_chunk_size",
        "layer_types",
        "no_rope_layers",
        "use_qk_norm",
        "attn_temperature_tuning",
        "floor_scale",
        "attn_scale",
        "intermediate_size_mlp",
        "moe_layers",
        "num_local_experts",
        "num_experts_per_tok",
    )
    layer_weights = {
        **gated_feedforward("feed_forward"),
        "feed_forward.router": "feedforward.router",
        **gated_feedforward("feed_forward.shared_expert", "feedforward.shared_expert"),
    }
    layer_tensors = {
        "feed_forward.experts.gate_up_proj": "feedforward.experts.gate_up_proj",
        "feed_forward.experts.down_proj": "feedforward.experts.down_proj",
    }
    components = {
        "positional_encoding": "tempered_rotary_embedding:TemperedRotaryEmbedding",
        "norm": "llama4_rms_norm:Llama4RMSNorm",
        "attention": "tempered_attention:TemperedAttention",
        "feedforward": {
            "dense": "wide_feedforward:WideFeedforward",
            "sparse": "scored_experts:ScoredMixtureOfExperts",
        },
        "router": "score_router:ScoreRouter",
        "experts": "scored_experts:ScoredExperts",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        sparse = config.get("moe_layers") or ()
        kinds = ["sparse" if i in sparse else "dense" for i in range(config.num_hidden_layers)]
        return {"mlp_layer_types": kinds}
