"""Layers that attend to the keys and values of earlier layers."""

from forgather_convert import SourceConfig


def kv_sharing_modes(config: SourceConfig) -> list[str | None] | None:
    """Which layers store their keys and values for others, and which reuse them."""
    kinds, num_reusing = config.get("layer_types"), config.get("num_kv_shared_layers")
    if not kinds or not num_reusing:
        return None
    first = len(kinds) - num_reusing
    stored = {kind: index for index, kind in enumerate(kinds[:first])}
    before: list[str | None] = [
        "store" if stored[kind] == index else None for index, kind in enumerate(kinds[:first])
    ]
    return [*before, *["reuse"] * num_reusing]
