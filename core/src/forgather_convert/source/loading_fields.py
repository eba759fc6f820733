"""Fields of a config that choose which code or files transformers loads, and not the model.

transformers makes a config object of whatever ``config.json`` holds, and obeys these fields when
it builds a model: an attention implementation ``"org/name"`` is downloaded from the Hub and
imported. A source does not decide what is imported here, so they never reach a config object.
transformers itself does not write them, either, when it saves a model.
"""

import re
from collections.abc import Mapping
from typing import Any

#: Attention, experts and caches: which code computes them, under any of transformers' names.
_IMPLEMENTATION = re.compile(r"_implementation(?:_internal|_autoset)?$")
_NAMES = frozenset(
    {
        # How a model is divided among processes, and what replaces or compiles its modules.
        "base_model_ep_plan",
        "base_model_fsdp_plan",
        "base_model_pp_plan",
        "base_model_tp_plan",
        "compile_config",
        "distributed_config",
        "fusion_config",
        "kernel_config",
        "use_kernels",
        # Where it is from.
        "name_or_path",
    }
)
#: Fields with which transformers reads other files, or the other fields as something else.
REDIRECTIONS: Mapping[str, str] = {
    "transformers_weights": "read other weights than those of the usual name",
    "configuration_files": "read other configs than those of the usual name",
    "extra_files": "read other weights beside those of the usual name",
    "extra_config_files": "read other configs beside those of the usual name",
    "attribute_map": "take the other fields for something else",
    "sub_configs": "take the other fields for something else",
    "sub_configs_defaults": "take the other fields for something else",
}


def without_loading_fields(fields: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A config without the fields that choose what transformers loads.

    Args:
        fields: The content of a ``config.json``.

    Returns:
        The other fields, and where those were that are left out, as ``text_config._name``.
    """
    ignored: list[str] = []
    return _kept(fields, "", True, ignored), tuple(ignored)


def _kept(value: Any, place: str, is_config: bool, ignored: list[str]) -> Any:
    if isinstance(value, list):
        return [_kept(item, f"{place}[{i}]", is_config, ignored) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, item in value.items():
        inner = f"{place}.{name}" if place else name
        if _chooses_code(name, is_config):
            ignored.append(inner)
        else:
            kept[name] = _kept(item, inner, str(name).endswith("config"), ignored)
    return kept


def _chooses_code(name: Any, is_config: bool) -> bool:
    # The fields of a config object may have numbers for keys, as its labels have.
    if not isinstance(name, str):
        return False
    # Only a config's own attributes are private: a label may be called anything.
    is_private = is_config and name.startswith("_")
    return is_private or name in _NAMES or _IMPLEMENTATION.search(name) is not None
