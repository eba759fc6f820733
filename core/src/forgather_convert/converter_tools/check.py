"""The steps of a converter's check, each with its result."""

import filecmp
import inspect
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from forgather_convert.converter_tools.hook_signatures import overridden_hooks, signature_problems
from forgather_convert.converter_tools.tiny_models import (
    build_forgather,
    project_of,
    tiny_cases,
    write_tiny_model,
)
from forgather_convert.errors import ConverterError, ForgatherConvertError, cause_of
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.parameters import parameters_of
from forgather_convert.quantities import counted
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.tensors.matching import match_tensors
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.tensor_ref import TensorRef

IMPORTED = "it is imported"


class Outcome(Enum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckStep:
    """One step of a check.

    Attributes:
        name: The property that is checked.
        outcome: The result.
        detail: Details; for a failure, what is wrong.
    """

    name: str
    outcome: Outcome
    detail: str = ""


def attempt(name: str, check: Callable[[], str]) -> CheckStep:
    """Runs one step; exceptions of a converter become the step's result."""
    try:
        return CheckStep(name, Outcome.OK, check())
    except ForgatherConvertError as error:
        return CheckStep(name, Outcome.FAILED, str(error))
    except Exception as error:
        # Finding out how a converter fails is the purpose of the step.
        return CheckStep(name, Outcome.FAILED, cause_of(error))


def check_converter(hooks: FamilyHooks) -> Iterator[CheckStep]:
    """Checks an imported converter; yields each step when it is done.

    A step that depends on a failed one is skipped. Of a composite, the text model is checked.
    """
    if hooks.is_composite:
        hooks = hooks.of_text_model()
    basics = {
        "its hooks have the arguments of the specifications": partial(_check_signatures, hooks),
        "it names its classes in transformers": partial(_check_classes, hooks),
        "its mapping is a bijection": partial(_check_bijection, hooks),
    }
    has_failed = False
    for name, check in basics.items():
        step = attempt(name, check)
        has_failed |= step.outcome is Outcome.FAILED
        yield step
    if has_failed:
        yield CheckStep("tiny models convert both ways", Outcome.SKIPPED)
        return
    for case, make_config in tiny_cases(hooks).items():
        converts = f"a tiny model converts both ways, {case}"
        step = attempt(
            f"its mapping covers both models, {case}", partial(_check_coverage, hooks, make_config)
        )
        yield step
        if step.outcome is Outcome.FAILED:
            yield CheckStep(converts, Outcome.SKIPPED)
            continue
        step = attempt(converts, partial(_check_conversion, hooks, make_config))
        yield step
        uses = f"it computes and trains alike, {case}"
        if step.outcome is Outcome.FAILED:
            yield CheckStep(uses, Outcome.SKIPPED)
        else:
            yield attempt(uses, partial(_check_use, hooks, make_config))


def _check_signatures(hooks: FamilyHooks) -> str:
    converter_class = type(hooks.converter)
    problems = signature_problems(converter_class)
    if problems:
        raise ConverterError("\n".join(problems))
    return "overrides " + ", ".join(overridden_hooks(converter_class))


def _check_classes(hooks: FamilyHooks) -> str:
    model_class, config_class = hooks.get_hf_model_class(), hooks.get_hf_config_class()
    for hook, value in {
        "get_hf_model_class": model_class,
        "get_hf_config_class": config_class,
    }.items():
        if not inspect.isclass(value):
            raise ConverterError(f"{hook} returns {value!r}, which is not a class.")
    family = getattr(config_class, "model_type", "")
    # The config files of a family that borrows its classes state the family's own name.
    borrowed = "" if family == hooks.model_type else f" (of the model type '{family}')"
    return f"{model_class.__name__} with {config_class.__name__}{borrowed}"


def _check_bijection(hooks: FamilyHooks) -> str:
    mapping = hooks.weight_mapping()
    backwards = hooks.weight_mapping("from_forgather")
    # Conversions request the first and invert it; a converter may ignore the direction.
    if set(backwards.rules) not in (set(mapping.inverted().rules), set(mapping.rules)):
        raise ConverterError(
            "get_weight_mapping('from_forgather') is not the inverse of "
            "get_weight_mapping('to_forgather'). Return the same mapping for both directions: it "
            "is inverted for the reverse conversion."
        )
    return counted(len(mapping.rules), "rule")


def _check_coverage(hooks: FamilyHooks, make_config: Callable[[], Any]) -> str:
    hf_config = make_config()
    config, project = project_of(hooks, hf_config)
    model_class = hooks.get_hf_model_class()
    theirs = parameters_of(lambda: model_class(hf_config))
    ours = parameters_of(lambda: build_forgather(project))
    mapping = hooks.weight_mapping()
    fields = {**config, **project.config}
    match_tensors(_placeholders(theirs), mapping, ours, fields, model_class.__name__)
    match_tensors(
        _placeholders(ours), mapping.inverted(), theirs, fields, "the generated Forgather model"
    )
    return f"{len(theirs.shapes)} and {len(ours.shapes)} tensors"


def _placeholders(parameters: ModelParameters) -> dict[str, Expression]:
    """Placeholders for a checkpoint's tensors, of which only names and shapes are used."""
    return {
        name: stored(TensorRef(name, "bfloat16", shape, Path("a tiny checkpoint"), 0))
        for name, shape in parameters.shapes.items()
    }


def _check_conversion(hooks: FamilyHooks, make_config: Callable[[], Any]) -> str:
    # Imported here because the other steps do not need it.
    from forgather_convert import api

    with tempfile.TemporaryDirectory(prefix="forgather-check-") as directory:
        source, there, back = (Path(directory) / name for name in ("hf", "fg", "back"))
        write_tiny_model(source, hooks, make_config())
        results = [
            api.convert(source, there, converter=hooks.converter),
            api.convert(there, back, converter=hooks.converter),
        ]
        differing = _differences(source, back)
        if differing:
            raise ConverterError(f"The round trip changes {', '.join(differing)}.")
    positions = min(_positions(result) for result in results)
    return f"identical logits over {positions} positions, identical files"


def _check_use(hooks: FamilyHooks, make_config: Callable[[], Any]) -> str:
    from forgather_convert.converter_tools.training_step import check_use

    return check_use(hooks, make_config())


def _positions(result: Any) -> int:
    return 0 if result.logits is None else int(result.logits.num_tokens)


def _differences(one: Path, other: Path) -> list[str]:
    names = sorted({path.name for root in (one, other) for path in root.iterdir()})
    _, mismatched, missing = filecmp.cmpfiles(one, other, names, shallow=False)
    return mismatched + missing
