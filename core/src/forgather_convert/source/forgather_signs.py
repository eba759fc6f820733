"""The signs by which the config of a Forgather model is recognised."""

from forgather_convert.source.config_file import SourceConfig

DYNAMIC_PREFIX = "forgather-dynamic-"
#: The prefix of ``model_type`` in the configs that are written; the family follows.
DYNAMIC_MODEL_TYPE_PREFIX = f"{DYNAMIC_PREFIX}causal-"


def is_forgather_config(config: SourceConfig) -> bool:
    """Whether a config is a dynamic model's."""
    model_type = config.get("model_type")
    return "hf_model_type" in config or (
        isinstance(model_type, str) and model_type.startswith(DYNAMIC_PREFIX)
    )
