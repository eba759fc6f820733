"""A model in both formats, to be compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import ConvertOptions, convert
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.testing.capabilities import DTYPES
from support.models import load_forgather, load_hf, write_hf_model
from support.variants import PLAIN, VARIANTS, Variant

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
every_family = pytest.mark.parametrize("variant", PLAIN, ids=lambda variant: variant.id)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_attention = pytest.mark.parametrize("attention", ["eager", "sdpa"])


@dataclass(frozen=True)
class Pair:
    """A Hugging Face directory and the Forgather directory that it was converted to."""

    variant: Variant
    dtype: str
    hf: Path
    fg: Path

    @classmethod
    def create(cls, parent: Path, variant: Variant, dtype: str) -> "Pair":
        """Writes and converts a model. The logits are left for the test to compare."""
        hf = write_hf_model(parent / "hf", variant, dtype)
        fg = parent / "fg"
        convert(hf, fg, ConvertOptions(logit_check=False))
        return cls(variant, dtype, hf, fg)

    def load(self, attention: str = "sdpa", **kwargs: Any) -> tuple[Any, Any]:
        """The Hugging Face and the Forgather model."""
        kwargs = {"dtype": getattr(torch, self.dtype), "attn_implementation": attention, **kwargs}
        return load_hf(self.hf, self.variant.family, **kwargs), load_forgather(self.fg, **kwargs)

    def forgather_names(self, hf_names: Iterable[str]) -> list[str | None]:
        """What the parameters of the Hugging Face model are called in the other one."""
        rename = resolve_converter(self.variant.family).weight_mapping().renamer()
        return [rename(name) for name in hf_names]
