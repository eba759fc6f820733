"""What families with experts share: which layers have them, and the scheme of DeepSeek-V3."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hyperparameters import STANDARD
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.tensors.feedforward_mapping import gated_feedforward, stacked_experts
from forgather_convert.tensors.notation import WeightMappingDict

#: The field with the kinds of feed-forward layers, one for each layer: ``dense`` or ``sparse``.
KINDS_FIELD = "mlp_layer_types"


def sparse_layers_by_step(config: SourceConfig) -> Mapping[str, Any]:
    """The own hyper-parameter of families in which every n-th layer has experts.

    Args:
        config: A config with ``decoder_sparse_step``, and ``mlp_only_layers`` as exceptions.
    """
    dense, step = config.get("mlp_only_layers") or (), config.get("decoder_sparse_step", 1)
    num_experts = config.get("num_experts") or 0
    return _kinds(
        num_experts > 0 and layer not in dense and (layer + 1) % step == 0
        for layer in range(config.num_hidden_layers)
    )


def sparse_layers_after(config: SourceConfig, field: str) -> Mapping[str, Any]:
    """The own hyper-parameter of families in which the first layers are dense.

    Args:
        config: A config.
        field: The field with the number of dense layers.
    """
    num_dense = config.get(field) or 0
    return _kinds(layer >= num_dense for layer in range(config.num_hidden_layers))


def _kinds(is_sparse: Iterable[bool]) -> Mapping[str, Any]:
    return {KINDS_FIELD: ["sparse" if each else "dense" for each in is_sparse]}


class DeepseekExperts(HFConverter):
    """Base class of families with the experts of DeepSeek-V3.

    The first ``first_k_dense_replace`` layers are dense. Each of the others has routed experts,
    which are chosen in groups, and shared experts, through which every token goes.
    """

    hyperparameters = (
        *STANDARD,
        "attention_bias",
        "first_k_dense_replace",
        "moe_intermediate_size",
        "n_routed_experts",
        "n_shared_experts",
        "num_experts_per_tok",
        "n_group",
        "topk_group",
        "norm_topk_prob",
        "routed_scaling_factor",
    )
    field_names: ClassVar[Mapping[str, str]] = {"n_routed_experts": "num_experts"}
    layer_weights: ClassVar[Mapping[str, str]] = {
        "mlp.gate": "feedforward.router",
        **gated_feedforward("mlp.shared_experts", "feedforward.shared_experts"),
    }
    layer_tensors: ClassVar[WeightMappingDict] = {
        "mlp.gate.e_score_correction_bias": "feedforward.router.e_score_correction_bias",
        **stacked_experts("mlp.experts.{expert}"),
    }
    components: ClassVar[Mapping[str, str | Mapping[str, str]]] = {
        "feedforward": {
            "dense": "gated_feedforward:GatedFeedforward",
            "sparse": "mixture_of_experts:SharedMixtureOfExperts",
        },
        "router": "group_limited_router:GroupLimitedRouter",
        "experts": "gated_experts:TokenOrderedExperts",
    }

    def own_hyperparameters(self, config: SourceConfig) -> Mapping[str, Any]:
        return sparse_layers_after(config, "first_k_dense_replace")


class DeepseekDecoder(DeepseekExperts):
    """Base class of families with the experts and the latent attention of DeepSeek-V3."""

    hyperparameters = (
        *DeepseekExperts.hyperparameters,
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "rope_interleave",
    )
    layer_weights: ClassVar[Mapping[str, str]] = {
        "self_attn.q_a_proj": "attention.query_down_linear",
        "self_attn.q_a_layernorm": "attention.query_norm",
        "self_attn.q_b_proj": "attention.query_up_linear",
        "self_attn.kv_a_proj_with_mqa": "attention.latent_linear",
        "self_attn.kv_a_layernorm": "attention.latent_norm",
        "self_attn.kv_b_proj": "attention.key_value_linear",
        **DeepseekExperts.layer_weights,
    }
    components: ClassVar[Mapping[str, str | Mapping[str, str]]] = {
        **DeepseekExperts.components,
        "attention": "latent_attention:LatentAttention",
    }
