"""The ``config.json`` of a Forgather model."""

from collections.abc import Collection, Mapping
from typing import Any

from forgather_convert.dynamic_model.code_generator import GeneratedCode
from forgather_convert.dynamic_model.project import Project
from forgather_convert.families.converter import FORGATHER_FIELDS


def forgather_config_fields(
    original: Mapping[str, Any],
    dtype: str,
    project: Project,
    code: GeneratedCode,
    renamed: Collection[str],
) -> dict[str, Any]:
    """The Forgather ``config.json``: the model's fields, and all others of the source.

    Args:
        original: The content of the source's config file.
        dtype: The dtype to state.
        project: The dynamic model.
        code: Its code.
        renamed: The source's RoPE fields, and other fields that have another name here.
    """
    carried = {
        name: value for name, value in original.items() if name not in (*FORGATHER_FIELDS, *renamed)
    }
    return {
        **carried,
        **project.config,
        "architectures": ["DynamicCausalLM"],
        "auto_map": dict(code.auto_map),
        "model_type": project.dynamic_model_type,
        "hf_model_type": project.model_type,
        "dtype": dtype,
    }
