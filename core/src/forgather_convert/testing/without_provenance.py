"""A conversion in both directions without the stored original config."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.testing.converted import ConvertedModel
from forgather_convert.testing.models import config_content, write_json
from forgather_convert.testing.running import load_forgather, logits, prompt


@dataclass(frozen=True)
class WithoutProvenance:
    """A model whose config is made from its Forgather config alone.

    Attributes:
        model: The model that this is a copy of.
        custom: Fields that its config has beside the model's.
        source: A Hugging Face directory with RoPE in both schemas.
        fg: The Forgather directory that it was converted to, without the original config.
        back: The Hugging Face directory that this was converted to.
    """

    model: ConvertedModel
    custom: Mapping[str, Any]
    source: Path
    fg: Path
    back: Path

    @classmethod
    def create(
        cls, parent: Path, model: ConvertedModel, custom: Mapping[str, Any]
    ) -> "WithoutProvenance":
        """Writes the model with other fields, and converts it both ways."""
        source = _write(model, custom, "both", parent / "hf")
        fg = model.family.convert(source, parent / "fg")
        (fg / PROVENANCE_FILE).unlink()
        return cls(model, custom, source, fg, model.family.convert(fg, parent / "back"))

    @cached_property
    def logits(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the two results compute for the prompt, the Forgather model first."""
        options, ids = self.model.options, prompt(self.model.fields)
        fg = logits(load_forgather(self.fg, **options), ids)
        return fg, logits(self.model.family.load_hf(self.back, **options), ids)

    def with_schema(self, schema: str, directory: Path) -> Path:
        """Writes the source with RoPE in the schema of transformers ``"4"`` or ``"5"``."""
        return _write(self.model, self.custom, schema, directory)


def _write(model: ConvertedModel, custom: Mapping[str, Any], schema: str, directory: Path) -> Path:
    shutil.copytree(model.hf, directory)
    content = config_content(model.family.hooks, model.fields, schema)
    write_json(directory / "config.json", {**content, "dtype": model.dtype, **custom})
    return directory
