"""Nemotron-H: a state space, attention without positions, or a feed-forward in each layer."""

from collections.abc import Mapping
from typing import Any, ClassVar

from forgather_convert import STANDARD, HFConverter, SourceConfig, stack, without

#: The kind of layers without a mixer in the Forgather config's ``layer_types``, since transformers
#: allows "mlp" only in the family's own. ``mlp_layer_types`` tells which of them have experts.
_BARE = "moe"


class NemotronH(HFConverter):
    """Nemotron-H, Nemotron Nano 2 and Nemotron 3."""

    model_type = "nemotron_h"
    hf_model = "NemotronHForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    has_rope = False
    needs_transformers = "5.18"
    field_names = {
        "mlp_hidden_act": "hidden_act",
        "n_routed_experts": "num_experts",
    }
    hyperparameters = (
        *without(STANDARD, "hidden_act", "num_hidden_layers", "rms_norm_eps"),
        *field_names,
        "layers_block_type",
        "layer_norm_epsilon",
        "mlp_bias",
        "use_bias",
        "use_conv_bias",
        "use_mamba_kernels",
        "mamba_num_heads",
        "mamba_head_dim",
        "mamba_hidden_act",
        "ssm_state_size",
        "conv_kernel",
        "n_groups",
        "chunk_size",
        "time_step_min",
        "time_step_max",
        "time_step_floor",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "moe_latent_size",
        "n_group",
        "topk_group",
        "norm_topk_prob",
        "routed_scaling_factor",
    )
    hf_layers = "backbone.layers"
    layer_weights = {
        "norm": "norm",
        "mixer.q_proj": "attention.query_linear",
        "mixer.k_proj": "attention.key_linear",
        "mixer.v_proj": "attention.value_linear",
        "mixer.o_proj": "attention.output_linear",
        "mixer.up_proj": "feedforward.up_proj",
        "mixer.down_proj": "feedforward.down_proj",
        "mixer.gate": "feedforward.router",
        "mixer.shared_experts.up_proj": "feedforward.shared_experts.up_proj",
        "mixer.shared_experts.down_proj": "feedforward.shared_experts.down_proj",
        "mixer.fc1_latent_proj": "feedforward.latent_in",
        "mixer.fc2_latent_proj": "feedforward.latent_out",
        "mixer.conv1d": "mixer.conv1d",
        "mixer.in_proj": "mixer.in_proj",
        "mixer.norm": "mixer.norm",
        "mixer.out_proj": "mixer.out_proj",
    }
    layer_tensors: ClassVar[Mapping[str, Any]] = {
        "mixer.A_log": "mixer.A_log",
        "mixer.D": "mixer.D",
        "mixer.dt_bias": "mixer.dt_bias",
        "mixer.gate.e_score_correction_bias": "feedforward.router.e_score_correction_bias",
        "mixer.experts.{expert}.up_proj.weight": stack(
            "feedforward.experts.up_proj", over="expert"
        ),
        "mixer.experts.{expert}.down_proj.weight": stack(
            "feedforward.experts.down_proj", over="expert"
        ),
    }
    model_weights = {
        "backbone.embeddings": "causal_lm.input_encoder.embedding.word_embedding",
        "backbone.norm_f": "causal_lm.layer_stack.layer_norm",
    }
    components = {
        "embedding": "token_embedding:UnpaddedTokenEmbedding",
        "positional_encoding": "no_positional_encoding:NoPositionalEncoding",
        "layer": {
            "linear_attention": "single_block:MixerBlock",
            "full_attention": "single_block:AttentionBlock",
            _BARE: "single_block:FeedforwardBlock",
        },
        "mixer": "state_space:StateSpace",
        "norm": "rms_norm:WideRMSNorm",
        "head": "float_head:FloatHead",
        "feedforward": {
            "dense": "feedforward:Feedforward",
            "sparse": "latent_experts:LatentMixtureOfExperts",
        },
        "router": "group_limited_router:GroupLimitedRouter",
        "experts": "latent_experts:UngatedExperts",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        kinds = config.get("layers_block_type") or ()
        return {
            "num_hidden_layers": len(kinds),
            "layer_types": [_BARE if kind == "mlp" else kind for kind in kinds],
            "mlp_layer_types": ["sparse" if kind == "moe" else "dense" for kind in kinds],
        }
