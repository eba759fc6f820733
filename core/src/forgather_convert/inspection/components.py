"""Assigns parameters to components of a model, by their names."""

import re
from collections.abc import Callable, Iterable, Mapping

from forgather_convert.inspection.result import ComponentSize
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.tensors.weight_mapping import WeightMapping

EMBEDDING = "embedding"
_OTHER = "other"
#: Parts of module names for each component; the first match is used. A norm is a norm wherever it
#: is, by the name of the module that the parameter itself belongs to.
_MODULES = (
    ("head", r"(?:^|\.)(?:lm_head|embed_out)\."),
    (EMBEDDING, r"embed|(?:^|\.)w[tp]e\."),
    ("attention", r"attn|attention"),
    ("feed-forward", r"mlp|feed_?forward|ffn|moe|expert"),
)
_NORM = re.compile(r"norm[^.]*\.[^.]+$|(?:^|\.)ln_[^.]+\.[^.]+$")
_COMPONENTS = [(name, re.compile(pattern)) for name, pattern in _MODULES]
COMPONENTS = (EMBEDDING, "attention", "feed-forward", "norms", "head", _OTHER)


def by_component(
    tensors: Iterable[TensorRef], mapping: WeightMapping | None
) -> dict[str, list[TensorRef]]:
    """The parameters of each component that has any.

    Args:
        tensors: All parameters.
        mapping: The mapping to Forgather names, which are the same for every family; ``None`` if
            they have these names, or there is no mapping.
    """
    forgather_name = (lambda name: name) if mapping is None else _forgather_names(mapping)
    refs_by_component: dict[str, list[TensorRef]] = {name: [] for name in COMPONENTS}
    for ref in tensors:
        refs_by_component[component_of(forgather_name(ref.name))].append(ref)
    return {name: refs for name, refs in refs_by_component.items() if refs}


def component_sizes(components: Mapping[str, Iterable[TensorRef]]) -> tuple[ComponentSize, ...]:
    """The number of parameters and of bytes of each component."""
    return tuple(
        ComponentSize(
            name,
            sum(ref.num_elements for ref in refs),
            sum(ref.num_bytes for ref in refs),
        )
        for name, refs in components.items()
    )


def component_of(name: str) -> str:
    """The component of a parameter, by its Forgather name or a similar one."""
    if _NORM.search(name):
        return "norms"
    return next((component for component, pattern in _COMPONENTS if pattern.search(name)), _OTHER)


def _forgather_names(mapping: WeightMapping) -> Callable[[str], str]:
    """A function from a tensor's name to the Forgather pattern, or to itself if there is none."""

    def forgather_name(name: str) -> str:
        match = mapping.source_patterns.find(name)
        return name if match is None else match[0].destinations[0]

    return forgather_name
