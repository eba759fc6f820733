"""Proposes a converter for a family, based on names, shapes and the order of its parts."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from forgather_convert.converter_tools.family_survey import (
    SURVEY_SIZES,
    FamilySurvey,
    Weight,
)
from forgather_convert.converter_tools.layer_kinds import expert_layers
from forgather_convert.dynamic_model.assembly import NORM_EPSILONS
from forgather_convert.families.hyperparameters import STANDARD

_MODEL = "causal_lm."
_INPUT = "input_encoder"
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
        "query_down_linear": r"q_a_proj",
        "query_norm": r"q_a_layernorm",
        "query_up_linear": r"q_b_proj",
        "latent_linear": r"kv_a_proj_with_mqa",
        "latent_norm": r"kv_a_layernorm",
        "key_value_linear": r"kv_b_proj",
    },
    "feedforward": {
        "gate_proj": r"gate_proj|w1|gate",
        "up_proj": r"up_proj|w3|fc1|c_fc|dense_h_to_4h|fc_in|up",
        "down_proj": r"down_proj|w2|fc2|c_proj|dense_4h_to_h|fc_out|down",
        "gate_up_proj": r"gate_up_proj|Wi",
    },
}
_IS_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_QKVO = ("query_linear", "key_linear", "value_linear", "output_linear")
_LATENTS = ("latent_linear", "latent_norm", "key_value_linear", "output_linear")
#: The standard components for sets of parts; those for one set have the same weights, and compute
#: with them in different ways.
_ATTENTIONS: Mapping[frozenset[str], tuple[str, ...]] = {
    frozenset(_QKVO): (
        "causal_attention:CausalAttention",
        "interleaved_attention:InterleavedAttention",
        "wide_interleaved_attention:WideInterleavedAttention",
    ),
    frozenset({*_QKVO, "q_norm", "k_norm"}): (
        "qk_norm_attention:QKNormAttention",
        "qk_norm_attention:TransposedQKNormAttention",
    ),
    frozenset({*_QKVO, "q_norm.all", "k_norm.all"}): (
        "projection_norm_attention:ProjectionNormAttention",
    ),
    frozenset({*_QKVO, "sinks"}): ("sink_attention:SinkAttention",),
    frozenset({"qkv_linear", "output_linear"}): ("fused_attention:FusedAttention",),
    frozenset({"query_linear", *_LATENTS}): ("latent_attention:LatentAttention",),
    frozenset({"query_down_linear", "query_norm", "query_up_linear", *_LATENTS}): (
        "latent_attention:LatentAttention",
    ),
}
#: Which layers have rotary positions, if only those with a window do.
_ONLY_SLIDING = '[int(kind == "sliding_attention") for kind in config.get("layer_types") or ()]'
#: The size of the part of a head that is rotated, if the other part is a field, too.
_ROTATED = "qk_rope_head_dim"
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
#: The standard components' names of fields that families name differently.
_FIELD_NAMES: Mapping[str, str] = {
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
#: The activations of families whose configs do not name one.
_ACTIVATIONS = ('"silu"', '"gelu"', '"gelu_pytorch_tanh"', '"gelu_new"', '"relu"')
#: A dropout that some families apply to a block's output, and others to nothing.
_AMBIGUOUS = {"residual_dropout": "layer_dropout"}
#: Fields that standard components require.
_NEEDED = tuple(
    name
    for name in STANDARD
    if name not in ("rms_norm_eps", "head_dim", "hidden_act", "use_cache", "initializer_range")
)
#: Values of required fields that families without them imply.
_IMPLIED: Mapping[str, str] = {
    "attention_dropout": "0.0",
    "pad_token_id": "None",
    "num_key_value_heads": 'config.get("num_attention_heads")',
}


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


@dataclass(frozen=True)
class StackedExperts:
    """The arguments of ``stacked_experts``: an expert's name in a layer, and its matrices."""

    name: str
    gate: str
    up: str
    down: str


@dataclass(frozen=True)
class Proposal:
    """A proposed converter.

    Attributes:
        mapping: The weight mapping, Hugging Face to Forgather, without the stacked experts.
        stacked: The experts that are separate tensors in a checkpoint, if there are any.
        choices: The standard components that may be those of the family.
        hyperparameters: The config fields that the model needs.
        field_names: The Forgather names of fields that have another name there.
        fixed: Additional fields of the Forgather config.
        derived: Those that depend on other fields, as Python expressions of ``config``; an
            expression that begins with ``**`` gives several.
        open_points: Open questions, in sentences.
    """

    mapping: Mapping[str, str]
    stacked: StackedExperts | None
    choices: tuple[Choice, ...]
    hyperparameters: tuple[str, ...]
    field_names: Mapping[str, str]
    fixed: Mapping[str, Any]
    derived: Mapping[str, str]
    open_points: tuple[str, ...]


@dataclass
class _Block:
    """The weights of one block of a layer."""

    role: str
    parts: set[str] = field(default_factory=set)
    biased: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, Weight] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    # Of a mixture of experts.
    experts: dict[str, str] = field(default_factory=dict)
    router: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)


class _Proposer:
    """Matches names and shapes with those of the standard components."""

    def __init__(self, survey: FamilySurvey) -> None:
        self.survey = survey
        self.blocks = {role: _Block(role) for role in ("attention", "feedforward", _INPUT)}
        self.norms = _layer_norms(survey)
        names = [*survey.classes]
        start = names.index(survey.layer[:-1]) if survey.layer[:-1] in names else 0
        self.before_layers = {*names[:start]}
        self.has_norm_after_layers = any(
            "{layer}" not in each.name
            and len(each.shape) == 1
            and each.name.rpartition(".")[0] in names[start:]
            for each in survey.weights
        )
        self.up_projections: set[str] = set()
        self.open_points: list[str] = []
        self.fixed: dict[str, Any] = {}
        self.derived: dict[str, str] = {}
        self.heads, groups = (
            int(self._field(name) or SURVEY_SIZES[name])
            for name in ("num_attention_heads", "num_key_value_heads")
        )
        hidden = int(self._field("hidden_size") or SURVEY_SIZES["hidden_size"])
        self.head_dim = int(self._field("head_dim") or hidden // self.heads)
        self.all_heads = {"q_norm": self.heads * self.head_dim, "k_norm": groups * self.head_dim}
        self.num_experts = next(
            (
                int(value)
                for name, value in survey.fields.items()
                if _FIELD_NAMES.get(name, name) == "num_experts" and value
            ),
            0,
        )
        self.router_shape = (self.num_experts, hidden)

    def propose(self) -> Proposal:
        survey = self.survey
        mapping: dict[str, str] = {}
        for weight in survey.weights:
            target = self._target(weight)
            if target is None or (target and target in mapping.values()):
                self.open_points.append(
                    f"`{weight.name}` {list(weight.shape)} has no place in the mapping."
                )
            elif target:
                mapping[weight.name] = target
        field_names = self._field_names()
        hyperparameters = (*survey.fields, *survey.rope_options)
        known = {field_names.get(name, name) for name in hyperparameters}
        self._complete_fields(known)
        choices = (
            self._attention(),
            self._positions(),
            self._feedforward(known),
            self._norm(),
            self._layer(),
            self._choice(
                _INPUT, [] if self.blocks[_INPUT].foreign else [{}], f"{_INPUT}:InputEncoder"
            ),
            self._choice("head", self._head(), "linear_head:LinearHead"),
            self._choice(
                "embedding", [{"embedding": each} for each in _EMBEDDINGS], _EMBEDDINGS[0]
            ),
        )
        self._biases(known, mapping)
        return Proposal(
            mapping=mapping,
            stacked=self._stacked(),
            choices=choices,
            hyperparameters=hyperparameters,
            field_names=field_names,
            fixed=self.fixed,
            derived=self.derived,
            open_points=tuple(self.open_points),
        )

    def _field(self, standard: str) -> Any:
        names = {own: name for name, own in self.survey.standard_names.items()}
        return self.survey.fields.get(names.get(standard, standard))

    # Weights

    def _target(self, weight: Weight) -> str | None:
        """The Forgather name; empty if it is one of several that are stacked."""
        layer = self.survey.layer
        if not layer or not weight.name.startswith(layer):
            return self._outside_layers(weight)
        inside = weight.name.removeprefix(layer)
        module, _, kind = inside.rpartition(".")
        if module in self.norms:
            return f"{_LAYER}norm{self.norms.index(module) + 1}.{kind}"
        name = self._in_block(weight, inside)
        return name and _LAYER + name

    def _outside_layers(self, weight: Weight) -> str | None:
        survey = self.survey
        module, _, kind = weight.name.rpartition(".")
        if weight.name == survey.embedding:
            return f"{_MODEL}input_encoder.embedding.word_embedding.weight"
        if module == survey.head.rpartition(".")[0]:
            return f"lm_head.{kind}"
        is_vector = len(weight.shape) == 1
        if module in self.before_layers and (not is_vector or self.has_norm_after_layers):
            own = weight.name.rpartition(".")[0].rpartition(".")[2]
            block = self.blocks[_INPUT]
            block.modules.add(module)
            block.foreign[f"{own}.{kind}"] = weight
            return f"{_MODEL}{_INPUT}.{own}.{kind}"
        return f"{_MODEL}layer_stack.layer_norm.{kind}" if is_vector else None

    def _in_block(self, weight: Weight, inside: str) -> str:
        module, _, rest = inside.partition(".")
        role = part_role(module)
        block = self.blocks[role]
        block.modules.add(module)
        in_mixture = self._in_mixture(weight, inside) if role == "feedforward" else None
        if in_mixture is not None:
            return in_mixture
        path, _, kind = rest.rpartition(".")
        # A matrix may be part of the layer itself.
        path = path or module
        for part, pattern in _PARTS[role].items():
            if not re.fullmatch(pattern, path) or kind not in ("weight", "bias"):
                continue
            name = part
            if part in self.all_heads and weight.shape != (self.head_dim,):
                if weight.shape != (self.all_heads[part],):
                    continue
                name = f"{part}.all"
            if kind == "bias":
                block.biased[part] = weight.name
            else:
                block.parts.add(name)
            if part == "up_proj":
                self.up_projections.add(weight.name)
            return f"{role}.{part}.{kind}"
        if role == "attention" and path == module and weight.shape == (self.heads,):
            block.parts.add("sinks")
            return f"{role}.sinks"
        block.foreign[rest or module] = weight
        return f"{role}.{rest or module}"

    def _in_mixture(self, weight: Weight, inside: str) -> str | None:
        """The name of a weight in a mixture of experts."""
        block = self.blocks["feedforward"]
        path, _, kind = inside.rpartition(".")
        parent, _, last = path.rpartition(".")
        if "{expert}" in inside:
            block.experts[path] = kind
            return ""
        if last == "experts" and weight.shape[0] == self.num_experts:
            block.experts[f"{path}.{kind}"] = kind
            return f"feedforward.experts.{kind}"
        if not self.num_experts:
            return None
        if re.search("correction_bias|expert_bias", kind) and weight.shape == (self.num_experts,):
            block.router.add("e_score_correction_bias")
            return "feedforward.router.e_score_correction_bias"
        if weight.shape == self.router_shape or (
            kind == "bias" and weight.shape == self.router_shape[:1]
        ):
            block.router.add(kind)
            return f"feedforward.router.{kind}"
        if last == "shared_expert_gate":
            block.shared.add(last)
            return f"feedforward.{last}.{kind}"
        shared = parent.rpartition(".")[2]
        if shared.startswith("shared_"):
            is_gated = any("shared_expert_gate" in each.name for each in self.survey.weights)
            own = "shared_expert" if is_gated else "shared_experts"
            for part, pattern in _PARTS["feedforward"].items():
                if part != "gate_up_proj" and re.fullmatch(pattern, last):
                    block.shared.add(own)
                    return f"feedforward.{own}.{part}.{kind}"
        return None

    def _stacked(self) -> StackedExperts | None:
        block = self.blocks["feedforward"]
        names: dict[str, str] = {}
        prefixes = set()
        for path in block.experts:
            prefix, _, last = path.rpartition(".")
            for part, pattern in _PARTS["feedforward"].items():
                if "{expert}" in path and re.fullmatch(pattern, last):
                    names[part] = last
                    prefixes.add(prefix)
        if names.keys() != {"gate_proj", "up_proj", "down_proj"} or len(prefixes) != 1:
            return None
        (prefix,) = prefixes
        return StackedExperts(prefix, names["gate_proj"], names["up_proj"], names["down_proj"])

    # Components

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
        block = self.blocks.get(role, _Block(role))
        sizes = _symbols(self.survey, self._field_names())
        names = hf_names or (
            each if role == _INPUT else self.survey.layer + each for each in block.modules
        )
        skeleton = Skeleton(
            role,
            base,
            {
                name: tuple(sizes.get(size, str(size)) for size in weight.shape)
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
            own = (
                {"head_dim": f'config.get("{_ROTATED}")'} if _ROTATED in self.survey.fields else {}
            )
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

    def _feedforward(self, known: set[str]) -> Choice:
        block = self.blocks["feedforward"]
        dense = _FEEDFORWARDS.get(frozenset(block.parts), "")
        if not block.experts:
            if dense and not block.foreign:
                alternatives = [
                    Alternative({"feedforward": dense}, fields)
                    for fields in self._activations(known)
                ]
                return self._choice("feedforward", alternatives, dense)
            base = "gated_feedforward:GatedFeedforward" if block.parts else ""
            return self._choice("feedforward", (), base)
        mixture = _MIXTURES.get(frozenset(block.shared), "")
        routers = _ROUTERS.get(frozenset(block.router), ())
        kinds = expert_layers(self.survey)
        is_mixed = bool(block.parts)
        is_stacked = all("{expert}" not in path for path in block.experts) or self._stacked()
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
            if name not in known:
                self.fixed[name] = value
        has_biases = any(kind.endswith("_bias") for kind in block.experts.values())
        experts = {"experts": "biased_experts:BiasedExperts"} if has_biases else {}
        if "shared_experts" in block.shared and "n_shared_experts" not in known:
            self.fixed["n_shared_experts"] = 1
        if block.shared and not self.survey.fields.get("moe_intermediate_size"):
            self.derived["moe_intermediate_size"] = 'config.get("intermediate_size")'
        alternatives = [
            Alternative({"feedforward": feedforward, "router": router, **experts}, fields)
            for router in routers
            for fields in self._activations(known)
        ]
        return self._choice("feedforward", alternatives, mixture)

    def _activations(self, known: set[str]) -> list[Mapping[str, str]]:
        """The fields for the activation, if the config has none."""
        return [{}] if "hidden_act" in known else [{"hidden_act": each} for each in _ACTIVATIONS]

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

    def _head(self) -> list[Mapping[str, Any]]:
        heads = (head for name, head in _HEADS.items() if name in self.survey.fields)
        return [{"head": next(heads, "linear_head:LinearHead")}]

    # Fields

    def _field_names(self) -> dict[str, str]:
        survey = self.survey
        names = {**_FIELD_NAMES}
        if not survey.fields.get("embedding_dropout") and "hidden_dropout" not in survey.fields:
            names |= _AMBIGUOUS
        for own, switched in survey.bias_switches.items():
            # A switch for biases that the standard one of another name turns on.
            standard = self._standard_switch(switched)
            if standard and own != standard and standard not in survey.fields:
                names[own] = standard
        components = {*STANDARD, *names.values()}
        return {
            name: standard
            for name, value in survey.fields.items()
            for standard in (survey.standard_names.get(name), names.get(name))
            if standard in components and standard not in survey.fields and name != _ROTATED
            if value is not None or standard != "intermediate_size"
        }

    def _standard_switch(self, switched: frozenset[str]) -> str:
        attention, feedforward = self.blocks["attention"].biased, self.blocks["feedforward"].biased
        query = {name for part, name in attention.items() if part in (*_QKVO[:3], "qkv_linear")}
        output = {attention["output_linear"]} if "output_linear" in attention else set()
        others = {*feedforward.values()}
        for name, biases in (
            ("attention_bias", (query, query | output)),
            ("attention_output_bias", (output,)),
            ("mlp_bias", (others,)),
        ):
            if switched and any(switched == each for each in biases):
                return name
        return ""

    def _complete_fields(self, known: set[str]) -> None:
        for name in _NEEDED:
            if name in known:
                continue
            if name in _IMPLIED:
                self.derived[name] = _IMPLIED[name]
            elif name == "intermediate_size" and self._inner_size():
                self.derived[name] = self._inner_size()
            else:
                self.open_points.append(
                    f"The config has no `{name}`: give it in `fixed_hyperparameters`, or override "
                    "`own_hyperparameters`."
                )
        if not known & set(NORM_EPSILONS) and self.survey.norm_eps is not None:
            self.fixed[NORM_EPSILONS[0]] = self.survey.norm_eps

    def _inner_size(self) -> str:
        """The size of the feed-forward block as an expression; empty if it is none of the usual."""
        hidden = self._field("hidden_size")
        rows = {each.shape[0] for each in self.survey.weights if each.name in self.up_projections}
        if rows == {4 * hidden}:
            return '4 * config.get("hidden_size", 0)'
        return ""

    def _biases(self, known: set[str], mapping: Mapping[str, str]) -> None:
        """What turns on the biases of the standard components."""
        attention, feedforward = self.blocks["attention"].biased, self.blocks["feedforward"].biased
        query = next(
            (attention[part] for part in (*_QKVO[:3], "qkv_linear") if part in attention), ""
        )
        places = {
            "attention_bias": query,
            "attention_output_bias": attention.get("output_linear", ""),
            "mlp_bias": next(iter(feedforward.values()), ""),
        }
        switches = {
            name: next(
                (own for own, biases in self.survey.bias_switches.items() if weight in biases), None
            )
            for name, weight in places.items()
        }
        for name, weight in places.items():
            if name in known:
                continue
            is_output = name == "attention_output_bias"
            if is_output and (bool(weight), switches[name]) == (
                bool(query),
                switches["attention_bias"],
            ):
                # By default, it is that of the others.
                continue
            own = switches[name]
            if own is not None:
                self.derived[name] = f'bool(config.get("{own}"))'
            elif weight or is_output:
                self.fixed[name] = bool(weight)
        if "lm_head.bias" in mapping.values() and "lm_head_bias" not in known:
            self.fixed["lm_head_bias"] = True


def part_role(name: str) -> str:
    """The role of a part of a layer that is not a norm."""
    return "attention" if _IS_ATTENTION.search(name) else "feedforward"


def propose(survey: FamilySurvey) -> Proposal:
    """Matches names and shapes with those of the standard components."""
    return _Proposer(survey).propose()


def _layer_norms(survey: FamilySurvey) -> list[str]:
    """The norms between the blocks, in the order in which they run."""
    vectors = {
        weight.name.removeprefix(survey.layer).removesuffix(".weight")
        for weight in survey.weights
        if survey.layer and weight.name.startswith(survey.layer) and len(weight.shape) == 1
    }
    return [
        step
        for step in dict.fromkeys(survey.steps)
        # Some norms have no weights.
        if step in vectors or "norm" in survey.classes.get(survey.layer + step, "").lower()
    ]


def _order(survey: FamilySurvey, norms: list[str]) -> str:
    order = "".join(
        "n" if step in norms else part_role(step)[0]
        for step in survey.steps
        if step in norms or survey.classes.get(survey.layer + step) not in ("Dropout", "Identity")
    )
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
