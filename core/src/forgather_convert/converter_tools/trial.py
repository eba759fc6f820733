"""Tries drafted converters: which of them computes what transformers computes?"""

import copy
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from forgather_convert.compare.verify import verify
from forgather_convert.converter_tools.component_choices import Alternative, Choice
from forgather_convert.converter_tools.family_survey import FamilySurvey
from forgather_convert.converter_tools.tiny_models import (
    build_forgather,
    project_of,
    write_tiny_model,
)
from forgather_convert.converter_tools.training_step import check_use, inputs_of, unequal_input
from forgather_convert.converter_tools.weight_places import part_role
from forgather_convert.dynamic_model.loading import import_modules
from forgather_convert.errors import MappingError, cause_of
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.logit_check.first_difference import FirstDifference, find_first_difference
from forgather_convert.models.loading import quiet_transformers
from forgather_convert.models.reference import ReferenceClasses
from forgather_convert.options import ConvertOptions

_MODULE = "drafted_converter"
_ORIGIN = "a draft"
#: The roles of modules by the ends of their names in a Forgather model.
_ROLES = (
    ("embedding", r"causal_lm\.input_encoder(\..*)?"),
    ("attention", r".*\.layers\.\d+\.attention(\..*)?"),
    ("feedforward", r".*\.layers\.\d+\.feedforward(\..*)?"),
    ("layer", r".*\.layers\.\d+"),
)


@dataclass(frozen=True)
class Found:
    """What trials found out.

    Attributes:
        picked: An alternative of each choice.
        is_alike: Whether a tiny model with them computes and trains like transformers' one.
        unequal: If not, the choice of which no alternative computes the same, if that is known.
        problem: If not, what differs, in a sentence.
        unequal_options: If so, the options with which it does not.
    """

    picked: tuple[Alternative, ...]
    is_alike: bool
    unequal: Choice | None = None
    problem: str = ""
    unequal_options: tuple[str, ...] = ()


def find_alike(
    survey: FamilySurvey,
    choices: Sequence[Choice],
    source_of: Callable[[Sequence[Alternative]], str],
) -> Found:
    """Finds alternatives with which a tiny model computes and trains like transformers' one.

    An alternative that computes something else than transformers from the same input is not tried
    again with other alternatives for the other roles.

    Args:
        survey: The survey of the family.
        choices: The choices. The mapping is the same for all alternatives.
        source_of: Makes the text of a converter's module.
    """
    wrong: dict[str, set[int]] = {choice.role: set() for choice in choices}
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="forgather-trial-") as directory:
        plain = survey.tiny_configs["plain"]
        trial = _Trial(survey, plain, Path(directory))
        for numbers in product(*(range(len(choice.alternatives)) for choice in choices)):
            tried = {choice.role: n for choice, n in zip(choices, numbers, strict=True)}
            if any(number in wrong[role] for role, number in tried.items()):
                continue
            picked = tuple(choice.alternatives[tried[choice.role]] for choice in choices)
            hooks = _hooks(source_of(picked))
            result = trial.result(hooks)
            if result.is_alike:
                options = _unequal_options(survey, hooks, Path(directory))
                return Found(picked, is_alike=True, unequal_options=options)
            problems.setdefault(result.role, result.problem)
            if result.role in wrong:
                wrong[result.role].add(tried[result.role])
    probable, unequal = [], None
    for choice in choices:
        left = [each for n, each in enumerate(choice.alternatives) if n not in wrong[choice.role]]
        unequal = choice if not left else unequal
        probable.append((left or choice.alternatives)[0])
    problem = next(iter(problems.values())) if unequal is None else problems[unequal.role]
    return Found(tuple(probable), False, unequal, problem)


def _unequal_options(survey: FamilySurvey, hooks: FamilyHooks, directory: Path) -> tuple[str, ...]:
    plain = survey.tiny_configs["plain"]
    options = survey.tiny_configs.get("options", plain)

    def is_alike(fields: Mapping[str, Any], name: str) -> bool:
        return _Trial(survey, fields, directory / name).result(hooks, False).is_alike

    if options == plain or is_alike(options, "all options"):
        return ()
    changed = (name for name in options if options[name] != plain.get(name))
    return tuple(name for name in changed if not is_alike({**plain, name: options[name]}, name))


def _hooks(source: str) -> FamilyHooks:
    module = import_modules({f"{_MODULE}.py": source}, (_MODULE,))[_MODULE]
    (converter_class,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, HFConverter) and value is not HFConverter
    )
    return FamilyHooks(converter_class(), _ORIGIN)


@dataclass(frozen=True)
class _Result:
    """The result of one trial: the role that computes something else, and what differs."""

    is_alike: bool
    role: str = ""
    problem: str = ""


class _Trial:
    """The tiny model of a family in transformers, and its weights."""

    def __init__(self, survey: FamilySurvey, fields: Mapping[str, Any], directory: Path) -> None:
        self.fields = {**fields, "model_type": survey.model_type}
        self.steps = survey.steps
        self.source, self.converted = directory / "hf", directory / "fg"
        self.model: Any = None

    def result(self, hooks: FamilyHooks, and_use: bool = True) -> _Result:
        """Compares the logits of a draft's model, and then everything that a check compares.

        Args:
            hooks: The hooks of the draft.
            and_use: Whether to compare more than the logits in one dtype.
        """
        # Finding out which drafts fail is the purpose of a trial; they may fail in any way.
        running: list[str] = []
        try:
            forgather = self._forgather(hooks)
            with _running(forgather) as running:
                forgather(**inputs_of(forgather, 2, 1))
            if self.model is None:
                self._prepare(hooks)
            self._load(forgather)
            unequal = unequal_input(self.model, forgather)
            difference: FirstDifference | None = None
            if unequal is not None:
                difference = self._first_difference(hooks, forgather, unequal)
            elif and_use:
                difference = self._difference_at_limits(hooks)
                if difference is None:
                    check_use(hooks, self._config(hooks))
        except Exception as error:
            role = _role_of_error(error, running)
            return _Result(False, role, f"A tiny model fails: {cause_of(error)}.")
        if difference is None:
            return _Result(is_alike=True)
        role = _role_of(difference, self.steps)
        return _Result(False, role, difference.describe("the draft"))

    def _first_difference(
        self, hooks: FamilyHooks, forgather: Any, unequal: tuple[int, int]
    ) -> FirstDifference:
        import torch

        inputs = inputs_of(self.model, *unequal)
        with torch.no_grad():
            return find_first_difference(
                self.model, forgather, hooks.weight_mapping(), lambda model: model(**inputs)
            )

    def _difference_at_limits(self, hooks: FamilyHooks) -> FirstDifference | None:
        """The first difference for the inputs that a conversion compares."""
        self._convert(hooks)
        return verify(self.source, self.converted, converter=hooks.converter).first_difference

    def _convert(self, hooks: FamilyHooks) -> None:
        from forgather_convert import api

        options = ConvertOptions(logit_check=False, overwrite=True)
        api.convert(self.source, self.converted, options, converter=hooks.converter)

    def _config(self, hooks: FamilyHooks) -> Any:
        config = ReferenceClasses.of(hooks).read(copy.deepcopy(self.fields), "the tiny config")
        config.architectures = [hooks.get_hf_model_class().__name__]
        return config

    def _prepare(self, hooks: FamilyHooks) -> None:
        import torch

        if not self.source.exists():
            write_tiny_model(self.source, hooks, self._config(hooks))
        self._convert(hooks)
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

        _, project = project_of(hooks, self._config(hooks))
        with torch.random.fork_rng():
            model = build_forgather(project).to(torch.bfloat16)
        model.set_attn_implementation("eager")
        return model.eval()

    def _load(self, forgather: Any) -> None:
        from safetensors.torch import load_file

        forgather.load_state_dict(load_file(self.converted / "model.safetensors"), strict=False)


def _role_of(difference: FirstDifference, steps: Sequence[str]) -> str:
    """The role whose component computes something else from the same input; empty if unknown.

    Args:
        difference: The first difference.
        steps: The parts of transformers' layer in the order in which they run.
    """
    if difference.source is None:
        return "head"
    last = re.fullmatch(r"\D+\d+\.(\w+)(\..+)?", difference.last_equal or "")
    if not difference.input_is_equal:
        # What the next module gets is not the output of a module if it is computed in between.
        if last is not None and last[2]:
            return part_role(last[1])
        return "embedding" if difference.layer == 0 else ""
    role = _role_of_module(difference.result or "")
    is_last_output = difference.first_output == (difference.source, difference.result)
    if role == "layer" and is_last_output and last is not None and last[1] in steps[:-1]:
        # The part after the last equal one has no counterpart.
        role = part_role(steps[steps.index(last[1]) + 1])
    return role


def _role_of_module(name: str) -> str:
    return next((role for role, pattern in _ROLES if re.fullmatch(pattern, name)), "")


def _role_of_error(error: Exception, running: Sequence[str]) -> str:
    """The role of the module in which an error arose, or whose tensors have other shapes."""
    if running:
        return _role_of_module(running[-1])
    named = re.search(r"causal_lm\.[\w.]+", str(error))
    return _role_of_module(named[0]) if named and isinstance(error, MappingError) else ""


@contextmanager
def _running(model: Any) -> Iterator[list[str]]:
    """Keeps the names of the modules that run; after an error, of those that it is in."""
    names: list[str] = []

    def end(*_: Any) -> None:
        names.pop()

    with ExitStack() as stack:
        for name, module in model.named_modules():
            begin = module.register_forward_pre_hook(lambda *_, name=name: names.append(name))
            stack.callback(begin.remove)
            stack.callback(module.register_forward_hook(end).remove)
        yield names
