"""Config fields: what families call those that standard components read."""

from collections.abc import Mapping
from typing import Any

from forgather_convert.converter_tools.family_survey import FamilySurvey
from forgather_convert.families.hyperparameters import STANDARD

#: The standard components' names of fields that families name differently.
FIELD_NAMES: Mapping[str, str] = {
    "activation_function": "hidden_act",
    "hidden_activation": "hidden_act",
    "resid_pdrop": "layer_dropout",
    "hidden_dropout": "layer_dropout",
    "embd_pdrop": "embedding_dropout",
    "attn_pdrop": "attention_dropout",
    "n_inner": "intermediate_size",
    "num_local_experts": "num_experts",
    "n_routed_experts": "num_experts",
    "moe_num_experts": "num_experts",
    "moe_k": "num_experts_per_tok",
    "num_experts_per_token": "num_experts_per_tok",
    "num_shared_experts": "n_shared_experts",
    "num_shared_expert": "n_shared_experts",
    "moe_num_shared_experts": "n_shared_experts",
    "router_scaling_factor": "routed_scaling_factor",
}
#: A dropout that some families apply to a block's output, and others to nothing.
AMBIGUOUS = {"residual_dropout": "layer_dropout"}
#: Fields that standard components require.
NEEDED = tuple(
    name
    for name in STANDARD
    if name not in ("rms_norm_eps", "head_dim", "hidden_act", "use_cache", "initializer_range")
)
#: Values of required fields that families without them imply.
IMPLIED: Mapping[str, str] = {
    "attention_dropout": "0.0",
    "pad_token_id": "None",
    "num_key_value_heads": 'config.get("num_attention_heads")',
}


def field_of(survey: FamilySurvey, standard: str) -> Any:
    """The value of a field by its name in the standard decoder."""
    names = {own: name for name, own in survey.standard_names.items()}
    return survey.fields.get(names.get(standard, standard))
