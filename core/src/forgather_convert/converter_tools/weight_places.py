"""Places the weights of a family: what they are in a Forgather model, by names and shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from forgather_convert.converter_tools.family_survey import SURVEY_SIZES, FamilySurvey, Weight
from forgather_convert.converter_tools.standard_fields import FIELD_NAMES, field_of

#: The role of what turns token ids into the first hidden states.
INPUT = "input_encoder"
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


@dataclass(frozen=True)
class StackedExperts:
    """The arguments of ``stacked_experts``: an expert's name in a layer, and its matrices."""

    name: str
    gate: str
    up: str
    down: str


@dataclass
class Block:
    """The weights of one block of a layer, or of what comes before the layers.

    Attributes:
        role: Its role.
        parts: The parts that standard components have, by their names in these; those of a norm
            over all heads end with ``.all``.
        biased: The parts with a bias, each with the name of the bias in checkpoints.
        foreign: The other weights, by their names in the block.
        modules: The names of its modules in transformers.
        experts: The names of experts' matrices, each with the last part of the name.
        router: The parts of the router.
        shared: The parts that a mixture of experts has besides router and experts.
    """

    role: str
    parts: set[str] = field(default_factory=set)
    biased: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, Weight] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    experts: dict[str, str] = field(default_factory=dict)
    router: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)


class WeightPlaces:
    """The places of a family's weights.

    Attributes:
        survey: The survey of the family.
        norms: The norms between the blocks of a layer, in the order in which they run.
        blocks: The blocks, by role.
        mapping: The weight mapping, Hugging Face to Forgather, without stacked experts.
        without_place: The weights that have no place.
        up_projections: The names of the matrices that give the feed-forward block its size.
    """

    def __init__(self, survey: FamilySurvey) -> None:
        self.survey = survey
        self.blocks = {role: Block(role) for role in ("attention", "feedforward", INPUT)}
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
        self.heads, groups = (
            int(field_of(survey, name) or SURVEY_SIZES[name])
            for name in ("num_attention_heads", "num_key_value_heads")
        )
        hidden = int(field_of(survey, "hidden_size") or SURVEY_SIZES["hidden_size"])
        self.head_dim = int(field_of(survey, "head_dim") or hidden // self.heads)
        self.all_heads = {"q_norm": self.heads * self.head_dim, "k_norm": groups * self.head_dim}
        self.num_experts = next(
            (
                int(value)
                for name, value in survey.fields.items()
                if FIELD_NAMES.get(name, name) == "num_experts" and value
            ),
            0,
        )
        self.router_shape = (self.num_experts, hidden)
        self.mapping: dict[str, str] = {}
        self.without_place: list[Weight] = []
        for weight in survey.weights:
            target = self._target(weight)
            if target is None or (target and target in self.mapping.values()):
                self.without_place.append(weight)
            elif target:
                self.mapping[weight.name] = target

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
            own = module.rpartition(".")[2]
            block = self.blocks[INPUT]
            block.modules.add(module)
            block.foreign[f"{own}.{kind}"] = weight
            return f"{_MODEL}{INPUT}.{own}.{kind}"
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

    def stacked(self) -> StackedExperts | None:
        """The experts that are separate tensors in a checkpoint, if there are any."""
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


def part_role(name: str) -> str:
    """The role of a part of a layer that is not a norm."""
    return "attention" if _IS_ATTENTION.search(name) else "feedforward"


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
