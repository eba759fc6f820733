"""Makes the weight mapping of a family from its differences to the standard decoder's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forgather_convert.errors import ConverterError
from forgather_convert.tensors.notation import MappingValue, Step, WeightMappingDict
from forgather_convert.tensors.weight_mapping import (
    FORGATHER_LAYER,
    HF_LAYERS,
    STANDARD_WEIGHT_MAPPING,
)

_KINDS = ("weight", "bias")


def family_mapping(
    base: WeightMappingDict,
    hf_layers: str = HF_LAYERS,
    model_weights: Mapping[str, str] | None = None,
    layer_weights: Mapping[str, str] | None = None,
    layer_tensors: WeightMappingDict | None = None,
) -> WeightMappingDict:
    """Adds a family's own names to another mapping.

    If a name of the family also occurs in the other mapping, on either side, the family's entry
    replaces the other one.

    Args:
        base: The other mapping.
        hf_layers: The Hugging Face name of the list of layers.
        model_weights: Modules outside the layers, Hugging Face to Forgather. Each entry covers
            the module's weight and its bias.
        layer_weights: Modules of a layer, likewise, by their names within the layer.
        layer_tensors: Tensors of a layer by their names within the layer: those that are not a
            module's weight or bias, and those that an operation changes.

    Raises:
        ConverterError: A name is invalid.
    """
    own: dict[Any, MappingValue] = {}
    hf_layer = f"{hf_layers}.{{layer}}"
    for hf, fg in _tensors(model_weights or {}).items():
        own[hf] = fg
    for key, value in {**_tensors(layer_weights or {}), **(layer_tensors or {})}.items():
        own[_below(hf_layer, key)] = _value_below(FORGATHER_LAYER, value)
    sources = {name for key in own for name in _names(key)}
    destinations = {name for value in own.values() for name in _destinations(value)}
    others = {
        _moved(key, hf_layers): value
        for key, value in base.items()
        if not destinations.intersection(_destinations(value))
    }
    kept = {key: value for key, value in others.items() if not sources.intersection(_names(key))}
    return {**kept, **own}


@dataclass(frozen=True)
class OwnWeights:
    """A family's own weights, as the arguments of :func:`family_mapping`.

    Attributes:
        hf_layers: The Hugging Face name of the list of layers.
        model_weights: Modules outside the layers.
        layer_weights: Modules of a layer.
        layer_tensors: Tensors of a layer that are not a module's weight or bias.
        others: Tensors outside the layers that are not a module's weight or bias.
    """

    hf_layers: str
    model_weights: Mapping[str, str]
    layer_weights: Mapping[str, str]
    layer_tensors: Mapping[str, str]
    others: Mapping[str, str]


def own_weights(mapping: Mapping[str, str], hf_layers: str = HF_LAYERS) -> OwnWeights:
    """The part of a mapping that differs from the standard decoder's."""
    standard = {_moved(hf, hf_layers): fg for hf, fg in STANDARD_WEIGHT_MAPPING.items()}
    layer = (f"{hf_layers}.{{layer}}.", f"{FORGATHER_LAYER}.")
    parts: dict[tuple[bool, bool], dict[str, str]] = {
        (in_layer, of_module): {} for in_layer in (True, False) for of_module in (True, False)
    }
    for hf, fg in mapping.items():
        if standard.get(hf) == fg:
            continue
        in_layer = hf.startswith(layer[0]) and fg.startswith(layer[1])
        if in_layer:
            hf, fg = hf.removeprefix(layer[0]), fg.removeprefix(layer[1])
        module, _, kind = hf.rpartition(".")
        of_module = kind in _KINDS and fg.endswith(f".{kind}")
        if of_module:
            hf, fg = module, fg.removesuffix(f".{kind}")
        parts[in_layer, of_module][hf] = fg
    return OwnWeights(
        hf_layers=hf_layers,
        model_weights=parts[False, True],
        layer_weights=parts[True, True],
        layer_tensors=parts[True, False],
        others=parts[False, False],
    )


def _tensors(modules: Mapping[str, str]) -> dict[Any, MappingValue]:
    """The weights and the biases of modules."""
    for hf, fg in modules.items():
        if not (isinstance(hf, str) and isinstance(fg, str)):
            raise ConverterError(
                f"The weights of modules are mapped from a name to a name, not from {hf!r} to "
                f"{fg!r}. Use 'layer_tensors' for tensors that are not merely renamed."
            )
    return {f"{hf}.{kind}": f"{fg}.{kind}" for hf, fg in modules.items() for kind in _KINDS}


def _moved(key: Any, hf_layers: str) -> Any:
    """A key of the standard mapping for another name of the layers."""
    if hf_layers == HF_LAYERS:
        return key
    names = [
        f"{hf_layers}{name.removeprefix(HF_LAYERS)}" if name.startswith(f"{HF_LAYERS}.") else name
        for name in _names(key)
    ]
    return names[0] if isinstance(key, str) else tuple(names)


def _below(prefix: str, key: Any) -> Any:
    return f"{prefix}.{key}" if isinstance(key, str) else tuple(f"{prefix}.{one}" for one in key)


def _value_below(prefix: str, value: MappingValue) -> MappingValue:
    if isinstance(value, str):
        return f"{prefix}.{value}"
    if isinstance(value, Step):
        return replace(value, names=tuple(f"{prefix}.{name}" for name in value.names))
    return [step for each in value if isinstance(step := _value_below(prefix, each), Step)]


def _names(key: Any) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


def _destinations(value: MappingValue) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    steps: Sequence[Step] = [value] if isinstance(value, Step) else value
    return tuple(name for step in steps for name in step.names)
