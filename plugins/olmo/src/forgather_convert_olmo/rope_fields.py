"""RoPE in the form that the config classes of OLMo and OLMo 2 read."""

from typing import Any

from forgather_convert import RopeParameters


def two_key_rope_fields(rope: RopeParameters) -> dict[str, Any]:
    """Returns exactly two keys for transformers 4, which knows only two types."""
    if rope.rope_type not in ("linear", "dynamic"):
        return rope.to_fields()
    return {
        **rope.to_fields(),
        "rope_scaling": {"type": rope.rope_type, "factor": float(rope.options["factor"])},
    }
