"""A model in both formats."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from forgather_convert.api import convert, plan
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.sides.reference import ReferenceClasses
from forgather_convert.testing.models import write_model
from forgather_convert.testing.running import load_forgather, load_hf


@dataclass(frozen=True)
class Family:
    """A converter under test, and what the tests do with it.

    Attributes:
        converter: The converter.
    """

    converter: HFConverter

    @property
    def hooks(self) -> FamilyHooks:
        return FamilyHooks(self.converter, origin="under test")

    def convert(
        self, source: Path, destination: Path, logit_check: bool = False, **options: Any
    ) -> Path:
        """Converts; the logits are left for the test to compare unless it says otherwise."""
        chosen = ConvertOptions(logit_check=logit_check, **options)
        convert(source, destination, chosen, converter=self.converter)
        return destination

    def plan(self, source: Path) -> ConversionPlan:
        """Plans a conversion, which is where a source is refused."""
        return plan(source, source.with_name("planned"), converter=self.converter)

    def load_hf(self, directory: Path, **options: Any) -> Any:
        """Loads a Hugging Face directory of this family, as its users do."""
        return load_hf(ReferenceClasses.of(self.hooks), directory, **options)


@dataclass(frozen=True)
class ConvertedModel:
    """A Hugging Face directory and the Forgather directory that it was converted to.

    Attributes:
        family: The converter that did it.
        fields: The fields of the config.
        dtype: The dtype of the weights, as configs write it.
        hf: The Hugging Face directory.
        fg: The Forgather directory.
    """

    family: Family
    fields: Mapping[str, Any]
    dtype: str
    hf: Path
    fg: Path

    @classmethod
    def create(
        cls, parent: Path, family: Family, fields: Mapping[str, Any], dtype: str
    ) -> "ConvertedModel":
        """Writes a model and converts it."""
        hf = write_model(parent / "hf", family.hooks, fields, dtype)
        return cls(family, fields, dtype, hf, family.convert(hf, parent / "fg"))

    def load(self, attention: str = "sdpa") -> tuple[Any, Any]:
        """The Hugging Face and the Forgather model, in the dtype of the weights."""
        options = {"dtype": getattr(torch, self.dtype), "attn_implementation": attention}
        return self.family.load_hf(self.hf, **options), load_forgather(self.fg, **options)
