"""Converts the config of an adapter: the same settings, for modules of other names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgather_convert.adapters.parameter_links import Link, ParameterLinks
from forgather_convert.adapters.targets import (
    has_suffix,
    is_end,
    is_targeted,
    key_for,
    shortest_names,
)
from forgather_convert.adapters.tensor_names import (
    EMBEDDING_A,
    LORA_A,
    AdapterTensor,
    Part,
    parse_name,
)
from forgather_convert.errors import MappingError, SourceError, UnsupportedModelError
from forgather_convert.tensors.names import collapse_names

#: Fields that do not depend on module names.
_KEPT = frozenset(
    {
        "alora_invocation_tokens",
        "bias",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "inference_mode",
        "init_lora_weights",
        "loftq_config",
        "lora_alpha",
        "lora_bias",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "task_type",
        "use_dora",
        "use_rslora",
    }
)
#: Fields that name the adapter's base model; the name of the counterpart is unknown.
_OF_THE_BASE = ("auto_mapping", "base_model_name_or_path", "revision")
#: Fields that restrict the targets; the converted config lists exactly the remaining ones.
_RESTRICTIONS = ("exclude_modules", "layers_pattern", "layers_to_transform")
_MAPPED = frozenset(
    {
        *_OF_THE_BASE,
        *_RESTRICTIONS,
        "alpha_pattern",
        "fan_in_fan_out",
        "modules_to_save",
        "rank_pattern",
        "target_modules",
        "trainable_token_indices",
    }
)
_NAMES = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
#: Initializations that do not depend on the weight; others change it when an adapter is loaded.
_PLAIN_INITS = (None, True, False, "gaussian", "orthogonal")


@dataclass(frozen=True)
class AdaptedModules:
    """The modules of a base model that an adapter has tensors for.

    Attributes:
        adapted: The modules with LoRA matrices, and the modules that each becomes.
        parameters: The parameters that the adapter contains in full.
    """

    adapted: Mapping[str, tuple[str, ...]]
    parameters: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str], links: ParameterLinks) -> "AdaptedModules":
        """Finds them by the names of the adapter's tensors; every tensor must have a link."""
        tensors = [tensor for tensor in map(parse_name, names) if tensor is not None]
        return cls(
            {
                tensor.module: links.counterparts(tensor.module)
                for tensor in tensors
                if tensor.form in (LORA_A, EMBEDDING_A)
            },
            frozenset(_full_parameters(tensors)),
        )

    @property
    def counterparts(self) -> frozenset[str]:
        """The modules of the counterpart that get LoRA matrices."""
        return frozenset(name for names in self.adapted.values() for name in names)


def _full_parameters(tensors: Iterable[AdapterTensor]) -> Iterable[str]:
    return (tensor.parameter for tensor in tensors if tensor.part is Part.PARAMETER)


def convert_config(
    config: Mapping[str, Any], names: Iterable[str], links: ParameterLinks, origin: str
) -> dict[str, Any]:
    """Replaces module names by those of the counterpart in every field that has any.

    Args:
        config: The fields of ``adapter_config.json``.
        names: The names of the adapter's tensors.
        links: The links from the base model's parameters to the counterpart's.
        origin: The file, for messages.

    Raises:
        SourceError: It is damaged.
        MappingError: It does not target the modules that there are tensors for.
        UnsupportedModelError: It is not a LoRA adapter of a causal language model, or has fields
            whose meaning for other modules is unknown.
    """
    _check_kind(config, origin)
    _check_fields(config, origin)
    modules = AdaptedModules.of(names, links)
    untargeted = [name for name in modules.adapted if not is_targeted(config, name)]
    if untargeted:
        raise MappingError(
            f"{origin} does not target modules that the adapter has tensors for, so PEFT would "
            f"not load them:{collapse_names(untargeted)}\nSave the adapter again."
        )
    adapted_links = [links.by_source[f"{name}.weight"] for name in modules.adapted]
    _check_init(config, adapted_links, origin)
    _check_scales(config, adapted_links, origin)
    changes: dict[str, Any] = {
        **dict.fromkeys((*_OF_THE_BASE, *_RESTRICTIONS), None),
        "target_modules": _targets(config, modules, links),
        "modules_to_save": _saved(config, modules, links, origin),
        "trainable_token_indices": _tokens(config, links),
    }
    for field in ("rank_pattern", "alpha_pattern"):
        changes[field] = _patterns(config.get(field), modules)
    if adapted_links and all(link.is_transposed for link in adapted_links):
        changes["fan_in_fan_out"] = not config.get("fan_in_fan_out", False)
    added = {name: value for name, value in changes.items() if value and name not in config}
    return {**{name: changes.get(name, value) for name, value in config.items()}, **added}


def _check_kind(config: Mapping[str, Any], origin: str) -> None:
    kind, task = config.get("peft_type"), config.get("task_type")
    if kind != "LORA":
        raise UnsupportedModelError(
            f"{origin} describes an adapter of the kind {str(kind)[:40]!r}; only LoRA is "
            "supported. Merge it into the model, and convert that."
        )
    if task not in (None, "CAUSAL_LM"):
        raise UnsupportedModelError(
            f"{origin} describes an adapter for {str(task)[:40]!r}; only adapters of causal "
            "language models (CAUSAL_LM) are supported."
        )
    unknown = [name for name, value in config.items() if value and name not in _KEPT | _MAPPED]
    if unknown:
        raise UnsupportedModelError(
            f"{origin} sets {', '.join(repr(name[:40]) for name in unknown)}, whose meaning for "
            "modules of other names is unknown. Merge the adapter into the model, and "
            "convert that."
        )


def _check_fields(config: Mapping[str, Any], origin: str) -> None:
    """Refuses fields that do not have the type that PEFT expects."""
    for field in _NAMES:
        value = config.get(field)
        is_list = isinstance(value, list) and all(isinstance(name, str) for name in value)
        may_be_text = field != "modules_to_save"
        if value is not None and not is_list and not (may_be_text and isinstance(value, str)):
            raise _wrong(origin, field, "a list of names")
    for field in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(field) or {}, dict):
            raise _wrong(origin, field, "an object with a number for each name")
    numbers = config.get("layers_to_transform")
    for number in numbers if isinstance(numbers, list) else [numbers]:
        if number is not None and type(number) is not int:
            raise _wrong(origin, "layers_to_transform", "a list of numbers")
    tokens = config.get("trainable_token_indices")
    if tokens is not None and not isinstance(tokens, list | dict):
        raise _wrong(origin, "trainable_token_indices", "a list of numbers, or one for each name")


def _wrong(origin: str, field: str, expected: str) -> SourceError:
    return SourceError(f"In {origin}, '{field}' must be {expected}. Save the adapter again.")


def _check_init(config: Mapping[str, Any], links: Iterable[Link], origin: str) -> None:
    init = config.get("init_lora_weights")
    if init not in _PLAIN_INITS and not all(link.is_renaming for link in links):
        raise UnsupportedModelError(
            f"{origin} sets 'init_lora_weights' to {str(init)[:40]!r}, with which PEFT changes "
            "the model's weights when it loads the adapter, but the converted model's weights are "
            "in another order. Save it with PEFT as a plain LoRA adapter "
            "(path_initial_model_for_weight_conversion), and convert that."
        )


def _check_scales(config: Mapping[str, Any], links: Iterable[Link], origin: str) -> None:
    for link in links:
        modules = [name.rpartition(".")[0] for name in link.sources]
        for field, default in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha")):
            patterns = config.get(field) or {}
            keys = (key_for(patterns, module) for module in modules)
            values = [config.get(default) if key is None else patterns[key] for key in keys]
            if any(value != values[0] for value in values):
                raise UnsupportedModelError(
                    f"{' and '.join(map(repr, modules))} become one module, but '{field}' in "
                    f"{origin} is not the same for each. Merge the adapter into the model, and "
                    "convert that."
                )


def _targets(
    config: Mapping[str, Any], modules: AdaptedModules, links: ParameterLinks
) -> list[str]:
    targets = config.get("target_modules")
    # In the order of the list, so that the reverse conversion restores it.
    entries = [
        [module for module in modules.adapted if is_end(entry, module)]
        for entry in (targets if isinstance(targets, list) else ())
    ] or [list(modules.adapted)]
    part = _all(modules.adapted[module] for entry in entries for module in entry)
    return shortest_names(part, modules.counterparts, links.destination_modules, is_end)


def _saved(
    config: Mapping[str, Any], modules: AdaptedModules, links: ParameterLinks, origin: str
) -> list[str] | None:
    names = config.get("modules_to_save")
    if names is None:
        return None
    entries = [
        [module for module in links.source_modules if has_suffix(name, module)] for name in names
    ]
    counterparts = {
        module: _counterparts_of_saved(module, modules, links, origin)
        for entry in entries
        for module in entry
    }
    part = _all(counterparts[module] for entry in entries for module in entry)
    wanted = set(part)
    # Everything inside a saved module is saved with it.
    wanted |= {
        module
        for module in links.destination_modules
        if any(module.startswith(f"{name}.") for name in part)
    }
    return shortest_names(part, wanted, links.destination_modules, has_suffix)


def _counterparts_of_saved(
    module: str, modules: AdaptedModules, links: ParameterLinks, origin: str
) -> list[str]:
    """The modules with exactly the parameters that those of a saved module become."""
    own = [name for name in links.by_source if name.startswith(f"{module}.")]
    missing = [name for name in own if name not in modules.parameters]
    if missing:
        raise MappingError(
            f"{origin} has '{module}' in 'modules_to_save', but the adapter has no tensors for:"
            f"{collapse_names(missing)}\nSave the adapter again."
        )
    reached = {name for each in own for name in links.by_source[each].destinations}
    around = _common_module(reached)
    to_save = [around] if around else []
    if not to_save or _inside(around, links) != reached:
        to_save = sorted({name.rpartition(".")[0] for name in reached})
    if any(not _inside(name, links) <= reached for name in to_save):
        raise UnsupportedModelError(
            f"{origin} has '{module}' in 'modules_to_save', but in the converted model its "
            f"parameters are in {' and '.join(map(repr, to_save))}, together with others. Merge "
            "the adapter into the model, and convert that."
        )
    return to_save


def _inside(module: str, links: ParameterLinks) -> set[str]:
    return {name for name in links.destination_parameters if name.startswith(f"{module}.")}


def _common_module(parameters: Iterable[str]) -> str:
    """The innermost module that contains all parameters."""
    split = [name.split(".")[:-1] for name in parameters]
    common = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def _tokens(config: Mapping[str, Any], links: ParameterLinks) -> Any:
    tokens = config.get("trainable_token_indices")
    if not isinstance(tokens, dict):
        return tokens
    converted = {}
    for name, indices in tokens.items():
        modules = [
            module
            for module in links.source_modules
            if has_suffix(name, module) and f"{module}.weight" in links.by_source
        ]
        part = _all(links.counterparts(module) for module in modules)
        names = shortest_names(part, part, links.destination_modules, has_suffix)
        converted.update(dict.fromkeys(names, indices))
    return converted


def _patterns(patterns: Mapping[str, Any] | None, modules: AdaptedModules) -> Any:
    if not patterns:
        return patterns
    counterparts_by_key: dict[str, list[str]] = {key: [] for key in patterns}
    for module, counterparts in modules.adapted.items():
        key = key_for(patterns, module)
        if key is not None:
            counterparts_by_key[key] += counterparts
    return {
        name: patterns[key]
        for key, part in counterparts_by_key.items()
        for name in shortest_names(part, part, modules.counterparts, is_end)
    }


def _all(names: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))
