"""The config of one layer, for models whose layers differ in size."""

import copy
from typing import Any


def layer_config(config: Any, layer_idx: int) -> Any:
    """The config with the layer's own values of some fields.

    A model's config may have them in ``layer_overrides``: by the number of the layer, as a string,
    the fields that differ, such as ``{"5": {"head_dim": 512}}``.
    """
    overrides = getattr(config, "layer_overrides", None) or {}
    own = next((own for index, own in overrides.items() if int(index) == layer_idx), None)
    if not own:
        return config
    changed = copy.copy(config)
    vars(changed).update(own)
    return changed
