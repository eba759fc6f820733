"""Chooses the components that may be those of a family: they have the right weights."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from forgather_convert.converter_tools.family_survey import SURVEY_SIZES, FamilySurvey
from forgather_convert.converter_tools.layer_kinds import expert_layers
from forgather_convert.converter_tools.weight_places import INPUT, Block, WeightPlaces, part_role

QKVO = ("query_linear", "key_linear", "value_linear", "output_linear")
_LATENTS = ("latent_linear", "latent_norm", "key_value_linear", "output_linear")
#: The standard components for sets of parts; those for one set have the same weights, and compute
#: with them in different ways.
_ATTENTIONS: Mapping[frozenset[str], tuple[str, ...]] = {
    frozenset(QKVO): (
        "causal_attention:CausalAttention",
        "interleaved_attention:InterleavedAttention",
        "wide_interleaved_attention:WideInterleavedAttention",
    ),
    frozenset({*QKVO, "q_norm", "k_norm"}): (
        "qk_norm_attention:QKNormAttention",
        "qk_norm_attention:TransposedQKNormAttention",
    ),
    frozenset({*QKVO, "q_norm.all", "k_norm.all"}): (
        "projection_norm_attention:ProjectionNormAttention",
    ),
    frozenset({*QKVO, "sinks"}): ("sink_attention:SinkAttention",),
    frozenset({"qkv_linear", "output_linear"}): ("fused_attention:FusedAttention",),
    frozenset({"query_linear", *_LATENTS}): ("latent_attention:LatentAttention",),
    frozenset({"query_down_linear", "query_norm", "query_up_linear", *_LATENTS}): (
        "latent_attention:LatentAttention",
    ),
}
#: Which layers have rotary positions, if only those with a window do.
_ONLY_SLIDING = '[int(kind == "sliding_attention") for kind in config.get("layer_types") or ()]'
#: The size of the part of a head that is rotated, if the other part is a field, too.
ROTATED = "qk_rope_head_dim"
_SOFTCAPPED = "softcapped_attention:SoftcappedAttention"
_ROTATIONS = ("RotaryEmbedding", "WideRotaryEmbedding")
_INTERLEAVED = ("InterleavedRotaryEmbedding", "WideInterleavedRotaryEmbedding")
_FEEDFORWARDS: Mapping[frozenset[str], str] = {
    frozenset({"gate_proj", "up_proj", "down_proj"}): "gated_feedforward:GatedFeedforward",
    frozenset({"gate_up_proj", "down_proj"}): "fused_gated_feedforward:FusedGatedFeedforward",
    frozenset({"up_proj", "down_proj"}): "feedforward:Feedforward",
}
_MIXTURES: Mapping[frozenset[str], str] = {
    frozenset(): "mixture_of_experts:MixtureOfExperts",
    frozenset({"shared_experts"}): "mixture_of_experts:SharedMixtureOfExperts",
    frozenset({"shared_expert", "shared_expert_gate"}): (
        "mixture_of_experts:GatedSharedMixtureOfExperts"
    ),
}
#: The routers for the parts of a router.
_ROUTERS: Mapping[frozenset[str], tuple[str, ...]] = {
    frozenset({"weight"}): ("softmax_router:SoftmaxRouter", "softmax_router:PreciseSoftmaxRouter"),
    frozenset({"weight", "bias"}): ("chosen_softmax_router:ChosenSoftmaxRouter",),
    frozenset({"weight", "e_score_correction_bias"}): ("group_limited_router:GroupLimitedRouter",),
}
#: What routers read of the config, and its value if a family has no such field.
_ROUTER_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "softmax_router": {"norm_topk_prob": True},
    "chosen_softmax_router": {},
    "group_limited_router": {
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
    },
}
#: The standard components for orders of parts: n is a norm, a the attention, f the feed-forward.
_LAYERS: Mapping[str, tuple[str, ...]] = {
    "nanf": ("pre_norm_layer:PreNormLayer",),
    "anfn": ("post_norm_layer:PostNormLayer",),
    "nannfn": ("sandwich_norm_layer:SandwichNormLayer",),
    "naf": ("parallel_layer:ParallelLayer", "parallel_layer:BlocksFirstParallelLayer"),
}
#: The heads for fields of the config.
_HEADS: Mapping[str, str] = {
    "final_logit_softcapping": "softcapped_head:SoftcappedHead",
    "logit_scale": "scaled_head:ScaledHead",
    "logits_scaling": "scaled_head:ScaledHead",
}
_EMBEDDINGS = (
    "token_embedding:TokenEmbedding",
    "token_embedding:ScaledTokenEmbedding",
    "token_embedding:UnpaddedTokenEmbedding",
)
#: The activations of families whose configs do not name one.
_ACTIVATIONS = ('"silu"', '"gelu"', '"gelu_pytorch_tanh"', '"gelu_new"', '"relu"')


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
class Alternative:
    """One way to fill some roles.

    Attributes:
        components: The standard components, by role.
        fields: The fields of the Forgather config with which they compute that, as Python
            expressions of ``config``.
    """

    components: Mapping[str, Any]
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """The ways to fill a role, which have the right weights.

    Attributes:
        role: The role.
        alternatives: The ways, the most probable first; none if core has no such component.
        skeleton: The component to write if none of them computes what transformers computes.
    """

    role: str
    alternatives: tuple[Alternative, ...]
    skeleton: Skeleton


class ComponentChoices:
    """The choices of components for a family.

    Attributes:
        choices: The choices, the roles in any order.
        fixed: Additional fields of the Forgather config that the components need.
        derived: Those that depend on other fields, as Python expressions of ``config``.
        open_points: Open questions, in sentences.
    """

    def __init__(self, places: WeightPlaces, field_names: Mapping[str, str]) -> None:
        self.survey, self.blocks, self.norms = places.survey, places.blocks, places.norms
        self.stacked = places.stacked()
        self.sizes = _symbols(self.survey, field_names)
        self.known = {field_names.get(name, name) for name in self.survey.fields}
        self.fixed: dict[str, Any] = {}
        self.derived: dict[str, str] = {}
        self.open_points: list[str] = []
        embeddings = [{"embedding": each} for each in _EMBEDDINGS]
        self.choices = (
            self._attention(),
            self._positions(),
            self._feedforward(),
            self._norm(),
            self._layer(),
            self._input(),
            self._choice("head", self._head(), "linear_head:LinearHead"),
            self._choice("embedding", embeddings, _EMBEDDINGS[0]),
        )

    def _choice(
        self,
        role: str,
        alternatives: Iterable[Mapping[str, Any] | Alternative],
        base: str,
        hf_names: Iterable[str] = (),
    ) -> Choice:
        """A choice, of which each alternative may be components alone.

        Args:
            role: The role.
            alternatives: The alternatives.
            base: The component that one to write can be derived from; empty for none.
            hf_names: The modules of transformers' model that compute it.
        """
        block = self.blocks.get(role, Block(role))
        names = hf_names or (
            each if role == INPUT else self.survey.layer + each for each in block.modules
        )
        skeleton = Skeleton(
            role,
            base,
            {
                name: tuple(self.sizes.get(size, str(size)) for size in weight.shape)
                for name, weight in block.foreign.items()
            },
            tuple(sorted({self.survey.classes.get(name, "?") for name in names})),
        )
        return Choice(
            role,
            tuple(
                each if isinstance(each, Alternative) else Alternative(each)
                for each in alternatives
            ),
            skeleton,
        )

    def _attention(self) -> Choice:
        block = self.blocks["attention"]
        components = () if block.foreign else _ATTENTIONS.get(frozenset(block.parts), ())
        if not components:
            base = "causal_attention:CausalAttention" if block.parts else ""
            return self._choice("attention", (), base)
        if self.survey.fields.get("attn_logit_softcapping") and components[0].startswith("causal"):
            components = (_SOFTCAPPED,)
        alternatives: list[Mapping[str, Any] | Alternative]
        if not self.survey.has_rope:
            alternatives = [{"attention": component} for component in components]
        else:
            own = {"head_dim": f'config.get("{ROTATED}")'} if ROTATED in self.survey.fields else {}
            kinds = {*(self.survey.fields.get("layer_types") or ())}
            fields = [own]
            if kinds == {"full_attention", "sliding_attention"}:
                fields.append({**own, "no_rope_layers": _ONLY_SLIDING})
            alternatives = [
                Alternative(
                    {"attention": component, "positional_encoding": f"rotary_embedding:{rotation}"},
                    each,
                )
                for each in fields
                for component in components
                for rotation in (_INTERLEAVED if "interleaved" in component else _ROTATIONS)
            ]
        return self._choice("attention", alternatives, components[0])

    def _positions(self) -> Choice:
        none = {"positional_encoding": "no_positional_encoding:NoPositionalEncoding"}
        return self._choice("positional_encoding", [{} if self.survey.has_rope else none], "")

    def _feedforward(self) -> Choice:
        block = self.blocks["feedforward"]
        dense = _FEEDFORWARDS.get(frozenset(block.parts), "")
        if not block.experts:
            if dense and not block.foreign:
                alternatives = [
                    Alternative({"feedforward": dense}, fields) for fields in self._activations()
                ]
                return self._choice("feedforward", alternatives, dense)
            base = "gated_feedforward:GatedFeedforward" if block.parts else ""
            return self._choice("feedforward", (), base)
        mixture = _MIXTURES.get(frozenset(block.shared), "")
        routers = _ROUTERS.get(frozenset(block.router), ())
        kinds = expert_layers(self.survey)
        is_mixed = bool(block.parts)
        is_stacked = all("{expert}" not in path for path in block.experts) or self.stacked
        is_known = mixture and routers and is_stacked and not block.foreign
        if not is_known or (is_mixed and (not dense or kinds is None)):
            if is_mixed and kinds is None:
                self.open_points.append("Which layers have experts is not known.")
            return self._choice("feedforward", (), "")
        feedforward: Any = mixture
        if is_mixed:
            feedforward = {"dense": dense, "sparse": mixture}
            if kinds:
                self.derived[""] = kinds
        for name, value in _ROUTER_FIELDS[routers[0].partition(":")[0]].items():
            if name not in self.known:
                self.fixed[name] = value
        has_biases = any(kind.endswith("_bias") for kind in block.experts.values())
        experts = {"experts": "biased_experts:BiasedExperts"} if has_biases else {}
        if "shared_experts" in block.shared and "n_shared_experts" not in self.known:
            self.fixed["n_shared_experts"] = 1
        if block.shared and not self.survey.fields.get("moe_intermediate_size"):
            self.derived["moe_intermediate_size"] = 'config.get("intermediate_size")'
        alternatives = [
            Alternative({"feedforward": feedforward, "router": router, **experts}, fields)
            for router in routers
            for fields in self._activations()
        ]
        return self._choice("feedforward", alternatives, mixture)

    def _activations(self) -> list[Mapping[str, str]]:
        """The fields for the activation, if the config has none."""
        return (
            [{}] if "hidden_act" in self.known else [{"hidden_act": each} for each in _ACTIVATIONS]
        )

    def _norm(self) -> Choice:
        survey = self.survey
        names = {survey.layer + norm for norm in self.norms}
        found = {survey.norms.get(name, "") for name in names}
        alternatives: list[Mapping[str, Any]] = []
        if not names:
            alternatives = [{}]
        elif len(found) == 1 and "" not in found:
            alternatives = [{"norm": found.pop()}]
        return self._choice("norm", alternatives, "rms_norm:RMSNorm", names)

    def _layer(self) -> Choice:
        order = _order(self.survey, self.norms)
        layers = _LAYERS.get(order, ())
        if not layers:
            self.open_points.append(
                f"The parts of a layer run in the order {' -> '.join(self.survey.steps)}; core has "
                "no layer like that."
            )
        base = layers[0] if layers else "pre_norm_layer:PreNormLayer"
        alternatives = [{"layer": each} for each in layers]
        return self._choice("layer", alternatives, base, [self.survey.layer.rstrip(".")])

    def _input(self) -> Choice:
        alternatives: list[Mapping[str, Any]] = [] if self.blocks[INPUT].foreign else [{}]
        return self._choice(INPUT, alternatives, f"{INPUT}:InputEncoder")

    def _head(self) -> list[Mapping[str, Any]]:
        heads = (head for name, head in _HEADS.items() if name in self.survey.fields)
        return [{"head": next(heads, "linear_head:LinearHead")}]


def _order(survey: FamilySurvey, norms: list[str]) -> str:
    order = "".join("n" if step in norms else part_role(step)[0] for step in survey.steps)
    # The matrices of a feed-forward block may be parts of the layer itself.
    return re.sub("f+", "f", order)


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
