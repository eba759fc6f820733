"""Recognizes Forgather models by their configs and files."""

from forgather_convert.source.config_file import SourceConfig

DYNAMIC_PREFIX = "forgather-dynamic-"
#: The prefix of ``model_type`` in the configs that this tool writes; the family follows.
DYNAMIC_MODEL_TYPE_PREFIX = f"{DYNAMIC_PREFIX}causal-"
#: The file that this tool writes beside a Forgather model.
PROVENANCE_FILE = "forgather_conversion.json"


def is_forgather_config(config: SourceConfig) -> bool:
    """Whether a config is that of a dynamic model."""
    model_type = config.get("model_type")
    return "hf_model_type" in config or (
        isinstance(model_type, str) and model_type.startswith(DYNAMIC_PREFIX)
    )
