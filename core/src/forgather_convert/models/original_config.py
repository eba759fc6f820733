"""The original config of a converted Hugging Face model, restored in the reverse conversion."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import ForgatherConvertError
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.hf_config_file import hf_config_fields, restored_config
from forgather_convert.models.provenance import Provenance, damaged
from forgather_convert.models.reference import (
    ReferenceClasses,
    UnreadableConfigError,
    complete_config,
    rope_fields_of,
)
from forgather_convert.source.composite import text_config
from forgather_convert.source.config_file import CONFIG_FILE, parse_config
from forgather_convert.source.detection import DEFAULT_DTYPE, stated_dtype
from forgather_convert.source.quantization import refuse_quantized_config, without_quantization
from forgather_convert.tensors.dtypes import to_torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OriginalConfig:
    """The original config, as text and as fields.

    Attributes:
        text: The content of its file.
        fields: The fields that the converter would write for the same model.
        states_dtype: Whether it states the dtype.
        dtypes: The dtypes of the original weights.
        rope_fields: The names of the RoPE fields.
    """

    text: str
    fields: Mapping[str, Any]
    states_dtype: bool
    dtypes: frozenset[str]
    rope_fields: frozenset[str]

    def changed_to(self, current: Mapping[str, Any], dtypes: frozenset[str]) -> str:
        """Its text, with the changes made since.

        An original without a dtype is restored without one only if all weights have the same
        single dtype as before: then loaders treat them like the original's.
        """
        before, now = dict(self.fields), dict(current)
        if not self.states_dtype:
            del before["dtype"]
            if len(dtypes) == 1 and dtypes == self.dtypes:
                del now["dtype"]
        return restored_config(self.text, before, now, self.rope_fields)

    def log_lost_precision(self, stored: frozenset[str]) -> None:
        """Warns if the Forgather model's dtypes are less precise than the original's."""
        import torch

        def holds(wide: str, narrow: str) -> bool:
            return torch.promote_types(to_torch(wide), to_torch(narrow)) == to_torch(wide)

        lost = sorted(name for name in self.dtypes if not any(holds(to, name) for to in stored))
        if lost:
            logger.info(
                "The original's weights were stored as %s, the Forgather model's are %s: rounding "
                "cannot be undone",
                ", ".join(lost),
                ", ".join(sorted(stored)),
            )


def read_original_config(
    provenance: Provenance, hooks: FamilyHooks, path: Path
) -> OriginalConfig | None:
    """The original config of a Forgather model; ``None`` if it is that of another family.

    Raises:
        SourceError: It is not a config that could have been converted.
    """
    try:
        return original_config_of(provenance.hf_config, frozenset(provenance.dtypes), hooks)
    except ForgatherConvertError as error:
        raise damaged(path, "hf_config", str(error).rstrip(".")) from error


def original_config_of(
    text: str, dtypes: frozenset[str], hooks: FamilyHooks
) -> OriginalConfig | None:
    """The same from the text of the config.

    Args:
        text: The original ``config.json``.
        dtypes: The dtypes of the original weights.
        hooks: The converter of the target's family.

    Raises:
        ForgatherConvertError: It is not a config that could have been converted.
    """
    config = parse_config(text, f"the original {CONFIG_FILE}")
    if config.get("model_type", hooks.model_type) != hooks.model_type:
        return None
    refuse_quantized_config(config)
    file_config = config = without_quantization(config)
    if hooks.is_composite:
        config = text_config(file_config)
    hooks.validate_source_config(config, "to_forgather")
    try:
        config_object = ReferenceClasses.of(hooks).read(file_config, config.origin)
    except UnreadableConfigError:
        if hooks.is_composite:
            raise
        # The conversion to Forgather used the converter's reading; so does the reverse one.
        config_object = hooks.create_hf_config(config, None)
    complete = complete_config(config, config_object, hooks)
    stated = stated_dtype(config)
    written = hooks.create_hf_config(complete, None)
    fields = hf_config_fields(hooks, written, config, stated or DEFAULT_DTYPE)
    rope_fields = frozenset(rope_fields_of(written, hooks, config.origin))
    return OriginalConfig(text, fields, stated is not None, dtypes, rope_fields)
