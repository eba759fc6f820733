"""A model in both formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch

from forgather_convert.api import ConversionResult, convert, plan
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.in_memory.saving import save_as_hf
from forgather_convert.models.reference import ReferenceClasses
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.testing.capabilities import (
    KEEPS_LONG_FREQUENCIES,
    attention_implementations,
)
from forgather_convert.testing.models import save_model
from forgather_convert.testing.running import load_forgather, load_hf, logits, padding_mask, prompt

Output = TypeVar("Output")


@dataclass(frozen=True)
class Family:
    """A converter under test, and what the tests do with it.

    Attributes:
        converter: The converter.
    """

    converter: HFConverter

    @cached_property
    def hooks(self) -> FamilyHooks:
        return FamilyHooks(self.converter, origin="under test")

    @cached_property
    def reference(self) -> ReferenceClasses:
        """The classes with which users load its Hugging Face directories."""
        return ReferenceClasses.of(self.hooks)

    def convert(
        self, source: Path, destination: Path, logit_check: bool = False, **options: Any
    ) -> Path:
        """Converts; by default without comparing the logits, which is left to the test."""
        self.conversion(source, destination, logit_check, **options)
        return destination

    def conversion(
        self, source: Path, destination: Path, logit_check: bool = False, **options: Any
    ) -> ConversionResult:
        """Converts, and returns the result."""
        chosen = ConvertOptions(logit_check=logit_check, **options)
        return convert(source, destination, chosen, converter=self.converter)

    def save(self, model: Any, destination: Path) -> Path:
        """Saves a Forgather model in memory."""
        save_as_hf(model, destination, converter=self.converter)
        return destination

    def plan(self, source: Path) -> ConversionPlan:
        """Plans a conversion; unsuitable sources are refused here."""
        return plan(source, source.with_name("planned"), converter=self.converter)

    def load_hf(self, directory: Path, **options: Any) -> Any:
        """Loads a Hugging Face directory of this family, as its users do."""
        return load_hf(self.reference, directory, **options)


@dataclass(frozen=True)
class ConvertedModel:
    """A Hugging Face directory and the Forgather directory that it was converted to.

    Attributes:
        family: The converter that did it.
        fields: The fields of the config.
        dtype: The dtype of the weights, as configs write it.
        hf: The Hugging Face directory, as ``save_pretrained`` writes it.
        fg: The Forgather directory.
        plan: What the conversion did.
    """

    family: Family
    fields: Mapping[str, Any]
    dtype: str
    hf: Path
    fg: Path
    plan: ConversionPlan
    _loaded: dict[str, tuple[Any, Any]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def create(
        cls, parent: Path, family: Family, fields: Mapping[str, Any], dtype: str
    ) -> "ConvertedModel":
        """Writes a model and converts it."""
        hf, fg = parent / "hf", parent / "fg"
        hf.mkdir()
        save_model(hf, family.hooks, fields, dtype)
        return cls(family, fields, dtype, hf, fg, family.conversion(hf, fg).plan)

    @property
    def options(self) -> dict[str, Any]:
        """Options of ``from_pretrained``: the dtype of the weights."""
        return {"dtype": getattr(torch, self.dtype)}

    def on_both(
        self, compute: Callable[[Any], Output], attention: str | None = None
    ) -> tuple[Output, Output]:
        """The results of a function for the Hugging Face and the Forgather model.

        Both are loaded once for every attention implementation and shared between tests, so a test
        must not change them more than running a prompt does. Where a prompt changes the Hugging
        Face model (``KEEPS_LONG_FREQUENCIES``), they are loaded anew.

        Args:
            compute: Called with each model.
            attention: An implementation of transformers; by default, the last one that the
                Hugging Face class supports.
        """
        if attention is None:
            attention = attention_implementations(self.family.reference.model_class)[-1]
        if attention not in self._loaded:
            options = {**self.options, "attn_implementation": attention}
            hf = self.family.load_hf(self.hf, **options)
            self._loaded[attention] = hf, load_forgather(self.fg, **options)
        hf, fg = self._loaded.pop(attention)
        outputs = compute(hf), compute(fg)
        # Not after an error: only one of the two may have got that far.
        if not KEEPS_LONG_FREQUENCIES:
            self._loaded[attention] = hf, fg
        return outputs

    @cached_property
    def expected(self) -> torch.Tensor:
        """The freshly loaded original's logits for the prompt."""
        return logits(self.family.load_hf(self.hf, **self.options), prompt(self.fields))

    @cached_property
    def expected_with_padding(self) -> torch.Tensor:
        """The same for the padded prompt."""
        ids = prompt(self.fields)
        return logits(self.family.load_hf(self.hf, **self.options), ids, padding_mask(ids))
