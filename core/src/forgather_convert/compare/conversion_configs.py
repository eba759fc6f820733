"""Checks that the config that a conversion writes means the same as the source's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.compare.configs import (
    NOT_COMPARED,
    READ_BY_TRANSFORMERS,
    compare_across,
    compare_configs,
    known_fields,
)
from forgather_convert.compare.result import FieldDifference
from forgather_convert.errors import ValidationError
from forgather_convert.files.plain_text import one_line
from forgather_convert.logit_check.positions import Limit, limits_of
from forgather_convert.models.forgather import ForgatherTarget
from forgather_convert.models.hugging_face import (
    HuggingFaceSource,
    HuggingFaceTarget,
    with_changes,
)
from forgather_convert.models.reference import (
    UnreadableConfigError,
    defaults_of,
    rope_fields_of,
    text_model_config,
    with_max_length,
)
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.request import PlannedModel
from forgather_convert.source.composite import text_config
from forgather_convert.source.config_file import (
    CONFIG_FILE,
    SourceConfig,
    is_same_value,
    parse_config,
)

_LONGEST = "max_position_embeddings"
#: Longer values are cut in messages.
_LONGEST_VALUE = 80


@dataclass(frozen=True)
class ConfigComparison:
    """The comparison of the configs of a conversion's source and result, which agree.

    Attributes:
        num_fields: How many fields were compared.
        limits: The lengths at which both models change their behaviour.
        not_compared: Why they were not compared; empty if they were.
    """

    num_fields: int
    limits: tuple[Limit, ...] = ()
    not_compared: str = ""


def check_configs(planned: PlannedModel, options: ConvertOptions) -> ConfigComparison:
    """Compares the config that is about to be written with the source's, field by field.

    Requested changes, such as the maximum length or the vocabulary, are first applied to the
    source's. The two are compared directly, and the Hugging Face config is also compared with what
    the converter makes of the Forgather one, so that a loss in one direction is found even if the
    same is lost in the other.

    Raises:
        ValidationError: They differ.
    """
    source, destination = planned.source, planned.destination
    fields = parse_config(planned.plan.config_text, f"the result's {CONFIG_FILE}")
    before = with_changes(source.own_config, source.config, planned.source_config)
    differences: Iterator[FieldDifference]
    if isinstance(destination, ForgatherTarget):
        hf = with_max_length(before, options.max_length, source.config.origin)
        forgather = destination.config_object
        differences = _lost_towards_forgather(planned, fields, before, hf, forgather)
        limits = limits_of(hf), limits_of(forgather)
    else:
        assert isinstance(destination, HuggingFaceTarget)
        try:
            hf = text_model_config(destination.read_whole_config(fields))
        except UnreadableConfigError as error:
            return ConfigComparison(0, not_compared=str(error))
        forgather = before
        differences = _lost_from_forgather(planned, destination, fields, hf, forgather)
        limits = limits_of(forgather), limits_of(hf)
    by_name = {difference.name: difference for difference in differences}
    if by_name:
        raise ValidationError(_message(planned, by_name))
    if limits[0] != limits[1]:
        raise ValidationError(
            f"The source changes its behaviour past {_enumerate(limits[0])}, and the result past "
            f"{_enumerate(limits[1])}. Nothing was written. Fix the converter: "
            f"{planned.plan.converter}."
        )
    # A config that only the converter can read was not compared by a class of transformers.
    problem = source.config_problem if isinstance(source, HuggingFaceSource) else ""
    return ConfigComparison(len(known_fields(hf)), tuple(sorted(limits[0])), problem)


def _lost_towards_forgather(
    planned: PlannedModel, fields: SourceConfig, before: Any, hf: Any, forgather: Any
) -> Iterator[FieldDifference]:
    yield from _across(planned, hf, forgather)
    # With the source's length: some classes derive the scaling of RoPE from it.
    is_longer = getattr(before, _LONGEST, None) != getattr(hf, _LONGEST, None)
    read_back = planned.destination.hooks.create_hf_config(
        fields, getattr(before, _LONGEST) if is_longer else None
    )
    yield from compare_configs(before, read_back)
    for name in READ_BY_TRANSFORMERS - {"auto_map"}:
        if fields.get(name) != planned.source.config.get(name):
            yield FieldDifference(name, planned.source.config.get(name), fields.get(name))


def _lost_from_forgather(
    planned: PlannedModel,
    destination: HuggingFaceTarget,
    fields: SourceConfig,
    hf: Any,
    forgather: Any,
) -> Iterator[FieldDifference]:
    for difference in (
        *_across(planned, hf, forgather),
        *compare_configs(hf, destination.config_object),
    ):
        yield FieldDifference(difference.name, difference.b, difference.a)
    # A field that no class knows must have been in the source.
    names = {own_name: name for name, own_name in destination.hooks.get_field_names().items()}
    before = {
        names.get(name, name): value
        for name, value in planned.source_config.items()
        # The Forgather model's own code.
        if name != "auto_map"
    }
    if destination.original_config is not None:
        original = parse_config(destination.original_config.text, CONFIG_FILE)
        if destination.names is not None:
            original, fields = text_config(original), text_config(fields)
        before.update(original)
    known = {
        *defaults_of(type(hf)).to_dict(),
        *hf.attribute_map,
        *NOT_COMPARED,
    } - READ_BY_TRANSFORMERS
    known |= {*rope_fields_of(hf, destination.hooks, fields.origin)}
    for name, value in fields.items():
        if name not in known and not (name in before and is_same_value(before[name], value)):
            yield FieldDifference(name, before.get(name), value)


def _across(planned: PlannedModel, hf: Any, forgather: Any) -> tuple[FieldDifference, ...]:
    hooks = planned.destination.hooks
    rope_fields = rope_fields_of(hf, hooks, "the config")
    return compare_across(hf, forgather, hooks.get_field_names(), tuple(rope_fields))


def _message(planned: PlannedModel, differences: Mapping[str, FieldDifference]) -> str:
    lines = "".join(
        f"\n  {one_line(name)}: {_short(values.a)} in the source, {_short(values.b)} in the result"
        for name, values in sorted(differences.items())
    )
    return (
        f"The configs of source and result do not agree:{lines}\nNothing was written. "
        f"Fix the converter: {planned.plan.converter}."
    )


def _short(value: Any) -> str:
    text = one_line(repr(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _enumerate(limits: frozenset[Limit]) -> str:
    return " and ".join(map(str, sorted(limits))) or "no length"
