"""The config that a Hugging Face model had before it was converted, to be given back."""

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
from forgather_convert.source.config_file import CONFIG_FILE, parse_config
from forgather_convert.source.detection import DEFAULT_DTYPE, stated_dtype
from forgather_convert.source.quantization import read_quantization, without_quantization
from forgather_convert.tensors.dtypes import to_torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OriginalConfig:
    """The original config, as a text and as fields.

    Attributes:
        text: The content of its file.
        fields: The fields that the converter would write for the same model.
        states_dtype: Whether it says its dtype.
        dtypes: The types that its weights were stored as.
        rope_fields: The names of the fields that are about RoPE.
    """

    text: str
    fields: Mapping[str, Any]
    states_dtype: bool
    dtypes: frozenset[str]
    rope_fields: frozenset[str]

    def changed_to(self, current: Mapping[str, Any], dtypes: frozenset[str]) -> str:
        """Its text, with what has changed since.

        An original without a dtype comes back without one only if all weights are stored as
        they were, in one type: a loader then takes them for what it took the original's for.

        Args:
            current: The fields that the Forgather model stands for.
            dtypes: The types that the weights of the result are stored as.
        """
        before, now = dict(self.fields), dict(current)
        if not self.states_dtype:
            del before["dtype"]
            if len(dtypes) == 1 and dtypes == self.dtypes:
                del now["dtype"]
        return restored_config(self.text, before, now, self.rope_fields)

    def log_lost_precision(self, stored: frozenset[str]) -> None:
        """Logs it if the Forgather model's types hold less than the original's did.

        Args:
            stored: The types that the weights of the Forgather model are stored as.
        """
        import torch

        def holds(wide: str, narrow: str) -> bool:
            return torch.promote_types(to_torch(wide), to_torch(narrow)) == to_torch(wide)

        lost = sorted(name for name in self.dtypes if not any(holds(to, name) for to in stored))
        if lost:
            logger.info(
                "The original's weights were stored as %s, the Forgather model's are %s: what was "
                "rounded away does not come back",
                ", ".join(lost),
                ", ".join(sorted(stored)),
            )


def read_original_config(
    provenance: Provenance, hooks: FamilyHooks, path: Path
) -> OriginalConfig | None:
    """The config that a Forgather model came from; ``None`` if it is that of another family.

    Args:
        provenance: Where the model came from.
        hooks: The family that it goes to.
        path: The provenance's file, for messages.

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
        dtypes: The types that the original weights were stored as.
        hooks: The family that it goes to.

    Raises:
        ForgatherConvertError: It is not a config that could have been converted.
    """
    config = parse_config(text, f"the original {CONFIG_FILE}")
    if config.get("model_type", hooks.model_type) != hooks.model_type:
        return None
    read_quantization(config, dequantizes=False)
    config = without_quantization(config)
    hooks.validate_source_config(config, "to_forgather")
    try:
        config_object = ReferenceClasses.of(hooks).read(config, config.origin)
    except UnreadableConfigError:
        # The conversion to Forgather read it as the converter does; so does the reverse one.
        config_object = hooks.create_hf_config(config, None)
    complete = complete_config(config, config_object, hooks)
    stated = stated_dtype(config)
    written = hooks.create_hf_config(complete, None)
    fields = hf_config_fields(hooks, written, config, stated or DEFAULT_DTYPE)
    rope_fields = frozenset(rope_fields_of(written, hooks, config.origin))
    return OriginalConfig(text, fields, stated is not None, dtypes, rope_fields)
