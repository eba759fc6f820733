"""Tries drafted converters: which of them computes what transformers computes?"""

import copy
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from forgather_convert.converter_tools.family_survey import FamilySurvey
from forgather_convert.converter_tools.tiny_models import (
    build_forgather,
    project_of,
    write_tiny_model,
)
from forgather_convert.converter_tools.training_step import check_use, logits_problem
from forgather_convert.dynamic_model.loading import import_modules
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.loading import quiet_transformers
from forgather_convert.models.reference import ReferenceClasses
from forgather_convert.options import ConvertOptions

_MODULE = "drafted_converter"
_ORIGIN = "a draft"


def first_alike(survey: FamilySurvey, sources: Iterable[str]) -> int | None:
    """The first of several drafts whose tiny model computes and trains like transformers' one.

    Args:
        survey: The survey of the family.
        sources: The text of each draft's module. The mappings of all drafts are the same.
    """
    with tempfile.TemporaryDirectory(prefix="forgather-trial-") as directory:
        trial = _Trial(survey, Path(directory))
        for index, source in enumerate(sources):
            if trial.is_alike(_hooks(source)):
                return index
    return None


def _hooks(source: str) -> FamilyHooks:
    module = import_modules({f"{_MODULE}.py": source}, (_MODULE,))[_MODULE]
    (converter_class,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, HFConverter) and value is not HFConverter
    )
    return FamilyHooks(converter_class(), _ORIGIN)


class _Trial:
    """The tiny model of a family in transformers, and its weights."""

    def __init__(self, survey: FamilySurvey, directory: Path) -> None:
        self.fields = {**survey.tiny_configs["plain"], "model_type": survey.model_type}
        self.source, self.converted = directory / "hf", directory / "fg"
        self.model: Any = None

    def is_alike(self, hooks: FamilyHooks) -> bool:
        """Compares the logits of a draft's model, and then everything that a check compares."""
        # Finding out which drafts fail is the purpose of a trial; they may fail in any way.
        with suppress(Exception):
            if self.model is None:
                self._prepare(hooks)
            if logits_problem(self.model, self._forgather(hooks)) is None:
                check_use(hooks, self._config(hooks))
                return True
        return False

    def _config(self, hooks: FamilyHooks) -> Any:
        config = ReferenceClasses.of(hooks).read(copy.deepcopy(self.fields), "the tiny config")
        config.architectures = [hooks.get_hf_model_class().__name__]
        return config

    def _prepare(self, hooks: FamilyHooks) -> None:
        import torch

        from forgather_convert import api

        if not self.source.exists():
            write_tiny_model(self.source, hooks, self._config(hooks))
        api.convert(
            self.source,
            self.converted,
            ConvertOptions(logit_check=False),
            converter=hooks.converter,
        )
        with quiet_transformers():
            model = hooks.get_hf_model_class().from_pretrained(
                self.source,
                config=self._config(hooks),
                dtype=torch.bfloat16,
                attn_implementation="eager",
                local_files_only=True,
            )
        self.model = model.eval()

    def _forgather(self, hooks: FamilyHooks) -> Any:
        import torch
        from safetensors.torch import load_file

        _, project = project_of(hooks, self._config(hooks))
        with torch.random.fork_rng():
            model = build_forgather(project).to(torch.bfloat16)
        model.load_state_dict(load_file(self.converted / "model.safetensors"), strict=False)
        model.set_attn_implementation("eager")
        return model.eval()
