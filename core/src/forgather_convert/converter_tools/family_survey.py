"""Surveys what transformers knows about a family: fields, weights, and the order of its parts."""

import copy
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from forgather_convert.converter_tools.tiny_models import TINY_TOKENS
from forgather_convert.dynamic_model.assembly import NORM_EPSILONS
from forgather_convert.errors import OptionError, UnsupportedModelError, cause_of
from forgather_convert.families.tiny_decoder import TINY_DECODER
from forgather_convert.models.parameters import parameters_of
from forgather_convert.source.rope import ROPE_FIELDS, parameters_by_kind

#: The sizes of a survey's model by the names of the standard decoder. They all differ, so that
#: they can be recognized in the dimensions of weights.
SURVEY_SIZES: Mapping[str, int] = {
    **{
        name: TINY_DECODER[name]
        for name in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "max_position_embeddings",
        )
    },
    "head_dim": 16,
}
#: Small values for sizes that only some families have, by patterns of their names.
_SMALL_SIZES: tuple[tuple[str, int], ...] = (
    (r"num_experts_per_tok(en)?|.*top_?k|moe_k", 2),
    (r"(moe_)?(num|n)_shared_experts?", 1),
    (r".*num_.*experts|n_routed_experts", 6),
    (r"n_group|num_expert_groups?", 2),
    (r"topk_group", 1),
    (r".*intermediate_size|n_inner|ffn_dim", 48),
    (r".*_lora_rank", 24),
    (r"v_head_dim", 12),
    (r"qk_.*head_dim|rotary_dim", 8),
    (r"(query_pre_attn_scalar)", 24),
    (r".*window.*|attention_chunk_size", 8),
    (r"first_k_dense_replace|num_dense_layers", 1),
    (r"num_nextn_predict_layers|num_mtp_.*", 0),
)
#: The standard norms, each in another order of operations.
_NORMS = (
    "rms_norm:RMSNorm",
    "rms_norm:WideRMSNorm",
    "rms_norm:ZeroCenteredRMSNorm",
    "layer_norm:LayerNorm",
    "wide_layer_norm:WideLayerNorm",
    "zero_centered_layer_norm:ZeroCenteredLayerNorm",
)
_COMPONENTS = "forgather_convert.dynamic_model.components"
_PARTIAL = "partial_rotary_factor"
_ROPE = "rope_parameters"
_NO_OPTIONS = (
    "use_cache",
    "tie_word_embeddings",
    "is_decoder",
    "output_router_logits",
    "add_cross_attention",
)
_BIDIRECTIONAL = "A Forgather model attends to the past only."
_OTHER_WEIGHTS = "No component of this converter has the weights that it adds."
_NUMBER = re.compile(r"\.(\d+)(?=\.)")
_PLACEHOLDERS = ("layer", "expert")


@dataclass(frozen=True)
class Weight:
    """A weight, or one of each layer.

    Attributes:
        name: Its name in checkpoints, with ``{layer}`` and ``{expert}`` for numbers.
        shape: Its dimensions in the survey's model.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class FamilySurvey:
    """What transformers knows about a family.

    Attributes:
        model_type: Its ``model_type``.
        hf_class: The name of its causal language model.
        fields: The fields of its config that not all configs have, without RoPE's, with the sizes
            of the survey's model or their defaults.
        standard_names: The standard decoder's names of fields that have another name there.
        tiny_configs: Configs of tiny models that cover the options and kinds of layers, by name.
        weights: The weights of all kinds of layers, in the model's order.
        embedding: The name of the table of token vectors.
        head: The name of the head's matrix.
        layer: The prefix of a layer's names, such as ``"model.layers.{layer}."``.
        steps: The parts of the first layer in the order in which they run, by their names in it,
            without dropouts.
        classes: The class of every module, by its name with placeholders.
        norms: The standard component that computes the same as a norm, by the norm's name with
            placeholders; only of those that have one.
        norm_eps: The epsilon of a norm; ``None`` if there is no norm.
        bias_switches: The biases that a field turns on, by the field's name.
        sparse_layers: Which layers have experts, for every tiny config.
        has_rope: Whether the config has RoPE parameters.
        rope_options: The hyper-parameters for RoPE that only some families have.
        refused: The options that no draft can express, each with the reason, a sentence.
    """

    model_type: str
    hf_class: str
    fields: Mapping[str, Any]
    standard_names: Mapping[str, str]
    tiny_configs: Mapping[str, Mapping[str, Any]]
    weights: tuple[Weight, ...]
    embedding: str
    head: str
    layer: str
    steps: tuple[str, ...]
    classes: Mapping[str, str]
    norms: Mapping[str, str]
    norm_eps: float | None
    bias_switches: Mapping[str, frozenset[str]]
    sparse_layers: Mapping[str, tuple[bool, ...]]
    has_rope: bool
    rope_options: tuple[str, ...]
    refused: Mapping[str, str]


def survey_family(model_type: str) -> FamilySurvey:
    """Surveys a family in the installed transformers, with tiny models of it.

    Raises:
        OptionError: transformers has no causal language model of this type, or no tiny one can be
            built.
    """
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        config_class: Any = CONFIG_MAPPING[model_type]
        model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[config_class]
    except KeyError:
        raise OptionError(
            f"The installed transformers has no causal language model of the type '{model_type}'. "
            "Give the 'model_type' of a config.json that AutoModelForCausalLM loads, or install a "
            "version of transformers that has it."
        ) from None
    try:
        base, tiny_configs, refused = _tiny_configs(config_class, model_class)
        models = {
            name: parameters_of(partial(_build, config_class, model_class, fields))
            for name, fields in tiny_configs.items()
        }
        embedding, head = models["plain"].vocabulary_tensors[:2]
        run = _run(config_class, model_class, base)
        bias_switches = _bias_switches(config_class, model_class, base)
        config = config_class(**copy.deepcopy(base)).to_dict()
    # The classes of a family raise exceptions of many types for unsuitable sizes.
    except Exception as error:
        raise OptionError(
            f"No tiny model of '{model_type}' can be built: {cause_of(error)}. "
            "Leave --from out, and write what differs yourself."
        ) from error
    if not run.is_causal:
        raise OptionError(
            f"In a tiny model of '{model_type}', tokens attend to later ones. A Forgather model is "
            "causal: give a type whose models are."
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for model in models.values():
        for name, shape in model.shapes.items():
            shapes.setdefault(_template(name), shape)
    numbered = next((name for name in shapes if "{layer}" in name), "")
    layer = numbered[: numbered.find("{layer}.") + len("{layer}.")] if numbered else ""
    return FamilySurvey(
        model_type=model_type,
        hf_class=model_class.__name__,
        fields={name: base.get(name, value) for name, value in _own_fields(config_class).items()},
        standard_names={hf: name for name, hf in config_class.attribute_map.items()},
        tiny_configs=tiny_configs,
        weights=tuple(Weight(name, shape) for name, shape in shapes.items()),
        embedding=embedding,
        head=head,
        layer=layer,
        steps=run.steps,
        classes=run.classes,
        norms=_standard_norms(run.model),
        norm_eps=next(filter(None, map(_eps_of, run.model.modules())), None),
        bias_switches=bias_switches,
        sparse_layers={name: _sparse_layers(model.shapes, layer) for name, model in models.items()},
        has_rope=any(config.get(name) for name in ROPE_FIELDS),
        rope_options=_rope_options(config),
        refused=refused,
    )


def _rope_options(config: Mapping[str, Any]) -> tuple[str, ...]:
    parameters = config.get(_ROPE)
    by_kind = parameters_by_kind(parameters)
    is_partial = any(_PARTIAL in each for each in (config, parameters or {}, *by_kind.values()))
    return (*[_PARTIAL] * is_partial, *[_ROPE] * bool(by_kind))


def _sparse_layers(names: Iterable[str], layer: str) -> tuple[bool, ...]:
    start, _, _ = layer.partition("{layer}")
    has_experts: dict[int, bool] = {}
    for name in names:
        number, _, inside = name.removeprefix(start).partition(".")
        if start and name.startswith(start) and number.isdecimal():
            has_experts[int(number)] = has_experts.get(int(number), False) or ".experts." in inside
    return tuple(has_experts[number] for number in sorted(has_experts))


def _bias_switches(
    config_class: Any, model_class: Any, base: Mapping[str, Any]
) -> dict[str, frozenset[str]]:
    """The biases that the model has only if a field is true."""
    switches = {}
    for name, value in _own_fields(config_class).items():
        if isinstance(value, bool) and "bias" in name:
            # A family may support one value only.
            with suppress(UnsupportedModelError):
                off, on = (
                    {
                        _template(weight)
                        for weight in _on_meta(config_class, model_class, {**base, name: flag})
                        if weight.endswith(".bias")
                    }
                    for flag in (False, True)
                )
                switches[name] = frozenset(on - off)
    return switches


def _on_meta(config_class: Any, model_class: Any, fields: Mapping[str, Any]) -> Iterable[str]:
    return parameters_of(partial(_build, config_class, model_class, fields)).shapes


def _eps_of(module: Any) -> float | None:
    return getattr(module, "eps", None) or getattr(module, "variance_epsilon", None)


def _standard_norms(model: Any) -> dict[str, str]:
    """Compares the outputs of a model's norms with those of the standard components."""
    fields = model.config.to_dict()
    given = next((fields[name] for name in NORM_EPSILONS if fields.get(name) is not None), None)
    norms: dict[str, str] = {}
    for name, module in model.named_modules():
        template, vectors = _template(f"{name}.")[:-1], dict(module.named_parameters())
        if template in norms or not (
            vectors.keys() in ({"weight"}, {"weight", "bias"})
            and all(vector.dim() == 1 for vector in vectors.values())
        ):
            continue
        for component in _NORMS:
            make = component_class(component)
            size = len(vectors["weight"])
            eps = given or _eps_of(module)
            if _are_equal(module, make(size) if eps is None else make(size, eps=eps)):
                norms[template] = component
                break
    return norms


def component_class(component: str) -> Any:
    """The class of a component of core, which is given as ``module:Class``."""
    module, _, name = component.partition(":")
    return getattr(import_module(f"{_COMPONENTS}.{module}"), name)


def _are_equal(norm: Any, component: Any) -> bool:
    """Whether two norms compute the same in both dtypes, with random weights."""
    import torch

    if dict(norm.named_parameters()).keys() != dict(component.named_parameters()).keys():
        return False
    generator = torch.Generator().manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        values = torch.randn((4, len(norm.weight)), generator=generator).to(dtype)
        weights = {
            name: (torch.randn(len(vector), generator=generator) * 0.3 + 1).to(dtype)
            for name, vector in norm.named_parameters()
        }
        try:
            one, other = (
                torch.func.functional_call(each, weights, (values,)) for each in (norm, component)
            )
        # A module with a single vector need not be a norm, and may fail in any way.
        except Exception:
            return False
        if not torch.equal(one, other):
            return False
    return True


def _own_fields(config_class: Any) -> dict[str, Any]:
    from transformers import PretrainedConfig

    inherited = PretrainedConfig().to_dict().keys() - {*TINY_TOKENS, "tie_word_embeddings"}
    defaults = config_class().to_dict()
    return {
        name: value
        for name, value in defaults.items()
        if name not in inherited and name not in (*ROPE_FIELDS, _PARTIAL)
    }


def _tiny_configs(
    config_class: Any, model_class: Any
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, str]]:
    """The smallest config, those that cover options and kinds of layers, and refused options."""
    own = _own_fields(config_class)
    names = {name: config_class.attribute_map.get(name, name) for name in SURVEY_SIZES}
    base: dict[str, Any] = {
        names[name]: size for name, size in SURVEY_SIZES.items() if names[name] in own
    }
    base.update({name: value for name, value in TINY_TOKENS.items() if name in own})
    unset: dict[str, Any] = {}
    for name, value in own.items():
        size = next((size for pattern, size in _SMALL_SIZES if re.fullmatch(pattern, name)), None)
        if name in base or size is None:
            continue
        if type(value) is int and value:
            base[name] = size
        elif value is None:
            unset[name] = size
    kinds = list(dict.fromkeys(own.get("layer_types") or ()))
    layers = names["num_hidden_layers"]
    if kinds:
        base[layers] = max(base[layers], len(kinds))
        base["layer_types"] = [kinds[index % len(kinds)] for index in range(base[layers])]
    base = _buildable(config_class, model_class, base, names, unset)
    configs = {"plain": {**base, "tie_word_embeddings": False}}
    configs["tied"] = {**base, "tie_word_embeddings": True}
    flipped: dict[str, Any] = {}
    refused: dict[str, str] = {}
    matrices = _matrices(_run(config_class, model_class, base).model)
    for name, value in own.items():
        if not isinstance(value, bool) or name in _NO_OPTIONS:
            continue
        candidate = {**flipped, name: not value}
        run = _try_run(config_class, model_class, {**base, **candidate})
        if run is None:
            continue
        reason = "" if run.is_causal else _BIDIRECTIONAL
        if _matrices(run.model) != matrices:
            reason = _OTHER_WEIGHTS
        if not reason:
            flipped = candidate
        elif not value:
            refused[name] = reason
    if flipped:
        configs["options"] = {**base, **flipped, "tie_word_embeddings": False}
    return base, configs, refused


def _matrices(model: Any) -> set[str]:
    """The names of a model's parameters without biases, which fields of the config turn on."""
    return {name for name, _ in model.named_parameters() if not name.endswith("bias")}


def _buildable(
    config_class: Any,
    model_class: Any,
    base: dict[str, Any],
    names: Mapping[str, str],
    unset: dict[str, Any],
) -> dict[str, Any]:
    """The sizes, without those that a family derives from others or does not vary.

    Args:
        config_class: The class of its configs.
        model_class: The class of its models.
        base: The sizes.
        names: Its names of standard ones.
        unset: Sizes that have no default, in case the family needs them.
    """
    without_head_dim = {name: size for name, size in base.items() if name != names["head_dim"]}
    ungrouped = {names["num_key_value_heads"]: base.get(names["num_attention_heads"])}
    attempts = (base, without_head_dim, {**base, **ungrouped}, {**without_head_dim, **ungrouped})
    for attempt in (*attempts, *({**attempt, **unset} for attempt in attempts if unset)):
        if _try_run(config_class, model_class, attempt) is not None:
            return attempt
    return base


def _try_run(config_class: Any, model_class: Any, fields: Mapping[str, Any]) -> "_Run | None":
    """Builds and runs a model; an option may need something that is missing."""
    try:
        return _run(config_class, model_class, fields)
    except Exception:
        return None


def _build(config_class: Any, model_class: Any, fields: Mapping[str, Any]) -> Any:
    # Config classes modify their arguments.
    return model_class(config_class(**copy.deepcopy(dict(fields))))


def _template(name: str) -> str:
    placeholders = iter(_PLACEHOLDERS)
    return _NUMBER.sub(lambda match: f".{{{next(placeholders, 'number')}}}", name)


@dataclass(frozen=True)
class _Run:
    """A model that was run.

    Attributes:
        model: The model.
        steps: The parts of its first layer in the order in which they ran.
        classes: The class of every module.
        is_causal: Whether no token influences earlier ones.
    """

    model: Any
    steps: tuple[str, ...]
    classes: Mapping[str, str]
    is_causal: bool


def _run(config_class: Any, model_class: Any, fields: Mapping[str, Any]) -> _Run:
    import torch

    with torch.random.fork_rng():
        model = _build(config_class, model_class, fields).eval()
    names = {module: name for name, module in model.named_modules()}
    steps: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda module, _: steps.append(names[module]))
        for module, name in names.items()
        if re.fullmatch(r"[^\d]+\.0\.\w+", name)
        and not isinstance(module, torch.nn.Dropout | torch.nn.Identity)
    ]
    ids = torch.arange(3, 11).unsqueeze(0)
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits
        for handle in handles:
            handle.remove()
        others = model(torch.cat((ids[:, :-1], ids[:, :1]), dim=-1), use_cache=False).logits
    classes = {_template(f"{name}.")[:-1]: type(module).__name__ for module, name in names.items()}
    return _Run(
        model,
        tuple(name.rpartition(".")[2] for name in steps),
        classes,
        # Other tokens for an expert may change the last bits of a product.
        torch.allclose(logits[:, :-1], others[:, :-1], rtol=1e-3, atol=1e-5),
    )
