"""Proposes a converter for a family, based on names, shapes and the order of its parts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forgather_convert.converter_tools.family_survey import (
    SURVEY_SIZES,
    FamilySurvey,
    Weight,
)
from forgather_convert.dynamic_model.assembly import NORM_EPSILONS
from forgather_convert.families.hyperparameters import STANDARD

_MODEL = "causal_lm."
_LAYER = f"{_MODEL}layer_stack.layers.{{layer}}."
#: Families' names for the parts of the two blocks.
_PARTS: Mapping[str, Mapping[str, str]] = {
    "attention": {
        "query_linear": r"q_proj|query|q_linear|wq|query_proj",
        "key_linear": r"k_proj|key|k_linear|wk|key_proj",
        "value_linear": r"v_proj|value|v_linear|wv|value_proj",
        "output_linear": r"o_proj|out_proj|dense|wo|c_proj|out",
        "qkv_linear": r"qkv_proj|qkv|Wqkv|query_key_value|c_attn",
        "q_norm": r"q_norm|query_norm|q_layernorm|query_layernorm",
        "k_norm": r"k_norm|key_norm|k_layernorm|key_layernorm",
    },
    "feedforward": {
        "gate_proj": r"gate_proj|w1|gate",
        "up_proj": r"up_proj|w3|fc1|c_fc|dense_h_to_4h|fc_in|up",
        "down_proj": r"down_proj|w2|fc2|c_proj|dense_4h_to_h|fc_out|down",
        "gate_up_proj": r"gate_up_proj|Wi",
    },
}
_IS_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
#: The standard components for sets of parts.
_ATTENTIONS: Mapping[frozenset[str], str | None] = {
    frozenset({"query_linear", "key_linear", "value_linear", "output_linear"}): None,
    frozenset(
        {"query_linear", "key_linear", "value_linear", "output_linear", "q_norm", "k_norm"}
    ): "qk_norm_attention:QKNormAttention",
    frozenset({"qkv_linear", "output_linear"}): "fused_attention:FusedAttention",
}
_FEEDFORWARDS: Mapping[frozenset[str], str | None] = {
    frozenset({"gate_proj", "up_proj", "down_proj"}): None,
    frozenset({"gate_up_proj", "down_proj"}): "fused_gated_feedforward:FusedGatedFeedforward",
    frozenset({"up_proj", "down_proj"}): "feedforward:Feedforward",
}
#: The standard components for orders of parts: n is a norm, a the attention, f the feed-forward.
_LAYERS: Mapping[str, str | None] = {
    "nanf": None,
    "nannfn": "sandwich_norm_layer:SandwichNormLayer",
    "naf": "parallel_layer:ParallelLayer",
}
#: The standard decoder's names of fields that families name differently.
_FIELD_NAMES: Mapping[str, str] = {
    "activation_function": "hidden_act",
    "hidden_activation": "hidden_act",
    "resid_pdrop": "layer_dropout",
    "hidden_dropout": "layer_dropout",
    "embd_pdrop": "embedding_dropout",
    "attn_pdrop": "attention_dropout",
    "n_inner": "intermediate_size",
}
#: Fields that standard components require.
_NEEDED = tuple(
    name
    for name in STANDARD
    if name not in ("rms_norm_eps", "head_dim", "use_cache", "initializer_range")
)


@dataclass(frozen=True)
class Skeleton:
    """A component that has to be written.

    Attributes:
        role: The role that it fills.
        base: The most similar standard component, as ``module:Class``; empty for none.
        weights: Its weights that no standard component has, by their names in it.
        hf_classes: The classes in transformers that compute it.
    """

    role: str
    base: str
    weights: Mapping[str, tuple[str, ...]]
    hf_classes: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """A proposed converter.

    Attributes:
        mapping: The weight mapping, Hugging Face to Forgather.
        components: The standard components that differ from the standard decoder's, by role.
        skeletons: The components that have to be written.
        hyperparameters: The config fields that the model needs.
        field_names: The Forgather names of fields that have another name there.
        fixed: Additional fields of the Forgather config.
        open_points: Open questions, in sentences.
    """

    mapping: Mapping[str, str]
    components: Mapping[str, str]
    skeletons: tuple[Skeleton, ...]
    hyperparameters: tuple[str, ...]
    field_names: Mapping[str, str]
    fixed: Mapping[str, Any]
    open_points: tuple[str, ...]


@dataclass
class _Block:
    """The weights of one block of a layer."""

    role: str
    parts: set[str] = field(default_factory=set)
    biased: set[str] = field(default_factory=set)
    foreign: dict[str, Weight] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)


def propose(survey: FamilySurvey) -> Proposal:
    """Matches names and shapes with those of the standard components."""
    mapping: dict[str, str] = {}
    blocks = {role: _Block(role) for role in ("attention", "feedforward")}
    norms = _layer_norms(survey)
    head_dim = _head_dim(survey)
    open_points: list[str] = []
    has_norm_bias = False
    for weight in survey.weights:
        target = _outside_layers(weight, survey)
        if target is None and weight.name.startswith(survey.layer) and survey.layer:
            inside = weight.name.removeprefix(survey.layer)
            module, _, kind = inside.rpartition(".")
            if module in norms:
                target = f"{_LAYER}norm{norms.index(module) + 1}.{kind}"
                has_norm_bias |= kind == "bias"
            else:
                target = _LAYER + _in_block(weight, inside, blocks, head_dim)
        if target is None:
            open_points.append(f"`{weight.name}` {list(weight.shape)} has no place in the mapping.")
            continue
        mapping[weight.name] = target

    components: dict[str, str] = {}
    skeletons: list[Skeleton] = []
    field_names, hyperparameters = _fields(survey, open_points)
    sizes = _symbols(survey, field_names)
    _choose_blocks(blocks, survey, sizes, components, skeletons)
    _choose_norm(survey, norms, has_norm_bias, components, skeletons)
    order = _order(survey, norms)
    if order not in _LAYERS:
        skeletons.append(Skeleton("layer", "pre_norm_layer:PreNormLayer", {}, _layer_class(survey)))
        open_points.append(
            f"The parts of a layer run in the order {' -> '.join(survey.steps)}; core has no layer "
            "like that."
        )
    elif _LAYERS[order]:
        components["layer"] = str(_LAYERS[order])
    known = {field_names.get(name, name) for name in hyperparameters}
    return Proposal(
        mapping=mapping,
        components=components,
        skeletons=tuple(skeletons),
        hyperparameters=hyperparameters,
        field_names=field_names,
        fixed=_fixed(blocks, known, mapping),
        open_points=tuple(open_points),
    )


def _head_dim(survey: FamilySurvey) -> int:
    if survey.fields.get("head_dim"):
        return int(survey.fields["head_dim"])
    return SURVEY_SIZES["hidden_size"] // SURVEY_SIZES["num_attention_heads"]


def _outside_layers(weight: Weight, survey: FamilySurvey) -> str | None:
    if weight.name == survey.embedding:
        return f"{_MODEL}input_encoder.embedding.word_embedding.weight"
    if weight.name.rpartition(".")[0] == survey.head.rpartition(".")[0]:
        return f"lm_head.{weight.name.rpartition('.')[2]}"
    if "{layer}" not in weight.name and len(weight.shape) == 1:
        return f"{_MODEL}layer_stack.layer_norm.{weight.name.rpartition('.')[2]}"
    return None


def _layer_norms(survey: FamilySurvey) -> list[str]:
    """The norms between the blocks, in the order in which they run."""
    vectors = {
        weight.name.removeprefix(survey.layer).removesuffix(".weight")
        for weight in survey.weights
        if survey.layer and weight.name.startswith(survey.layer) and len(weight.shape) == 1
    }
    return [step for step in dict.fromkeys(survey.steps) if step in vectors]


def _in_block(weight: Weight, inside: str, blocks: Mapping[str, _Block], head_dim: int) -> str:
    """The name of a weight in the attention or the feed-forward."""
    module, _, rest = inside.partition(".")
    role = "attention" if _IS_ATTENTION.search(module) else "feedforward"
    block = blocks[role]
    block.modules.add(module)
    path, _, kind = rest.rpartition(".")
    for part, pattern in _PARTS[role].items():
        is_norm = part.endswith("_norm")
        if is_norm and weight.shape != (head_dim,):
            continue
        if re.fullmatch(pattern, path) and kind in ("weight", "bias"):
            (block.biased if kind == "bias" else block.parts).add(part)
            return f"{role}.{part}.{kind}"
    block.foreign[rest or module] = weight
    return f"{role}.{rest or module}"


def _choose_blocks(
    blocks: Mapping[str, _Block],
    survey: FamilySurvey,
    sizes: Mapping[int, str],
    components: dict[str, str],
    skeletons: list[Skeleton],
) -> None:
    standard = {"attention": _ATTENTIONS, "feedforward": _FEEDFORWARDS}
    bases = {
        "attention": "causal_attention:CausalAttention",
        "feedforward": "gated_feedforward:GatedFeedforward",
    }
    for role, block in blocks.items():
        if any("{expert}" in name for name in block.foreign):
            # Here, "gate" is the router.
            block.parts.clear()
        chosen = standard[role].get(frozenset(block.parts), "") if not block.foreign else ""
        if chosen == "":
            weights = {
                name: tuple(sizes.get(size, str(size)) for size in weight.shape)
                for name, weight in block.foreign.items()
            }
            classes = {survey.classes.get(survey.layer + module, "?") for module in block.modules}
            base = bases[role] if block.parts else ""
            skeletons.append(Skeleton(role, base, weights, tuple(sorted(classes))))
        elif chosen is not None:
            components[role] = chosen


def _choose_norm(
    survey: FamilySurvey,
    norms: list[str],
    has_bias: bool,
    components: dict[str, str],
    skeletons: list[Skeleton],
) -> None:
    classes = {survey.classes.get(survey.layer + norm, "?") for norm in norms}
    if has_bias:
        components["norm"] = "layer_norm:LayerNorm"
    elif not all("RMSNorm" in name for name in classes):
        skeletons.append(Skeleton("norm", "rms_norm:RMSNorm", {}, tuple(sorted(classes))))


def _order(survey: FamilySurvey, norms: list[str]) -> str:
    return "".join(
        "n" if step in norms else "a" if _IS_ATTENTION.search(step) else "f"
        for step in survey.steps
        if step in norms or survey.classes.get(survey.layer + step) not in ("Dropout", "Identity")
    )


def _layer_class(survey: FamilySurvey) -> tuple[str, ...]:
    return (survey.classes.get(survey.layer.rstrip("."), "?"),)


def _fields(survey: FamilySurvey, open_points: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    field_names = {
        name: standard
        for name in survey.fields
        for standard in (survey.standard_names.get(name) or _FIELD_NAMES.get(name),)
        if standard is not None and standard not in survey.fields
        if standard in (*STANDARD, *_FIELD_NAMES.values())
    }
    known = {field_names.get(name, name) for name in survey.fields}
    for name in _NEEDED:
        if name not in known:
            open_points.append(
                f"The config has no `{name}`: give it in `fixed_hyperparameters`, or override "
                "`own_hyperparameters`."
            )
    if not known & set(NORM_EPSILONS):
        epsilons = ", ".join(f"`{name}`" for name in NORM_EPSILONS)
        open_points.append(f"The config has none of {epsilons}: norms take their epsilon from it.")
    return field_names, tuple(survey.fields)


def _symbols(survey: FamilySurvey, field_names: Mapping[str, str]) -> dict[int, str]:
    """The config fields by their values, if only one field has the value."""
    owners: dict[int, list[str]] = {}
    for name, value in survey.fields.items():
        standard = field_names.get(name, name)
        if type(value) is int and value >= min(SURVEY_SIZES.values()):
            owners.setdefault(value, []).append(standard)
    symbols = {value: names[0] for value, names in owners.items() if len(names) == 1}
    symbols |= {size: name for name, size in SURVEY_SIZES.items() if name in owners.get(size, ())}
    return {value: f"config.{name}" for value, name in symbols.items()}


def _fixed(
    blocks: Mapping[str, _Block], known: set[str], mapping: Mapping[str, str]
) -> dict[str, Any]:
    fixed: dict[str, Any] = {}
    attention, feedforward = blocks["attention"], blocks["feedforward"]
    if "attention_bias" not in known:
        fixed["attention_bias"] = bool(attention.biased - {"output_linear", "q_norm", "k_norm"})
        fixed["attention_output_bias"] = "output_linear" in attention.biased
    if "mlp_bias" not in known:
        fixed["mlp_bias"] = bool(feedforward.biased)
    if "lm_head.bias" in mapping.values():
        fixed["lm_head_bias"] = True
    return {name: value for name, value in fixed.items() if value or name.endswith("output_bias")}
