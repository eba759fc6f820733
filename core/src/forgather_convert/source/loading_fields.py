"""Config fields that do not describe the model, but choose which code or files are loaded.

transformers turns any content of ``config.json`` into a config object, and obeys these fields when
it builds a model: an attention implementation ``"org/name"`` is downloaded from the Hub and
imported. A source must not decide what is imported here, so these fields never reach a config
object. Neither do private fields (``_name``), since some of them choose code. The only one known to
describe a model, OPT's ``_remove_final_layer_norm``, is therefore unsupported.
"""

import re
from collections.abc import Mapping
from typing import Any

#: The code for attention, experts and caches, under all names that transformers uses.
_IMPLEMENTATION = re.compile(r"_implementation(?:_internal|_autoset)?$")
_NAMES = frozenset(
    {
        # How to divide a model among processes, and how to replace or compile its modules.
        "base_model_ep_plan",
        "base_model_fsdp_plan",
        "base_model_pp_plan",
        "base_model_tp_plan",
        "compile_config",
        "distributed_config",
        "fusion_config",
        "kernel_config",
        "use_kernels",
        # Where the model comes from.
        "name_or_path",
    }
)
#: Fields that make transformers read other files, or change the meaning of other fields.
REDIRECTIONS: Mapping[str, str] = {
    "transformers_weights": "read weights from other files than usual",
    "configuration_files": "read configs from other files than usual",
    "extra_files": "read weights from additional files",
    "extra_config_files": "read configs from additional files",
    "attribute_map": "interpret other fields differently",
    "sub_configs": "interpret other fields differently",
    "sub_configs_defaults": "interpret other fields differently",
}


def without_loading_fields(fields: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A config without the fields that choose what transformers loads.

    Args:
        fields: The content of a ``config.json``.

    Returns:
        The other fields, and the paths of those left out, such as ``text_config._name``.
    """
    ignored: list[str] = []
    return _kept(fields, "", True, ignored), tuple(ignored)


def _kept(value: Any, path: str, is_config: bool, ignored: list[str]) -> Any:
    if isinstance(value, list):
        return [_kept(item, f"{path}[{i}]", is_config, ignored) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, item in value.items():
        inner = f"{path}.{name}" if path else name
        if _chooses_code(name, is_config):
            ignored.append(inner)
        else:
            kept[name] = _kept(item, inner, str(name).endswith("config"), ignored)
    return kept


def _chooses_code(name: Any, is_config: bool) -> bool:
    # The keys of an object in a config may be numbers, as in its labels.
    if not isinstance(name, str):
        return False
    # Only the config's own attributes can be private: a label may have any name.
    is_private = is_config and name.startswith("_")
    return is_private or name in _NAMES or _IMPLEMENTATION.search(name) is not None
