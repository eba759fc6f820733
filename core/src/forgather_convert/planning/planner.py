"""Makes the plan of a conversion from the source model."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from forgather_convert.errors import OptionError, SourceError
from forgather_convert.models.forgather import ForgatherTarget
from forgather_convert.models.hugging_face import HuggingFaceTarget
from forgather_convert.models.model import PlanFacts, SourceModel, TargetModel
from forgather_convert.planning.config_fields import match_config_fields
from forgather_convert.planning.layout import Layout
from forgather_convert.planning.links import plan_links
from forgather_convert.planning.max_length import report_rope_length, report_tokenizer_length
from forgather_convert.planning.plan import ConversionPlan, LinkPlan
from forgather_convert.planning.processor_class import (
    with_processor_class,
    without_processor_class,
)
from forgather_convert.planning.request import PlannedModel, PlanRequest
from forgather_convert.planning.reversal import check_reversible
from forgather_convert.planning.side_files import (
    SideFileChanges,
    SideFileSource,
    plan_side_files,
)
from forgather_convert.planning.target_tensors import target_tensors
from forgather_convert.planning.weights import WeightsPlan, plan_weights
from forgather_convert.planning.weights_content import WeightsContent
from forgather_convert.source.composite import text_config
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.detection import Direction
from forgather_convert.source.files import WriteFile
from forgather_convert.tensors.byte_ranges import put_together
from forgather_convert.tensors.expressions import Expression, leaves
from forgather_convert.tensors.matching import match_tensors
from forgather_convert.tensors.names import enumerate_names
from forgather_convert.vocabulary.change import VocabularyChange
from forgather_convert.vocabulary.extension import TokenizedModel, plan_vocabulary
from forgather_convert.vocabulary.model_fields import changed_config, generation_config_writes


def plan_conversion(request: PlanRequest, early: WeightsPlan | None = None) -> PlannedModel:
    """Plans a conversion completely; nothing is written.

    Args:
        request: The input.
        early: The weights files planned from names and headers, which are kept if the models
            confirm them.

    Raises:
        ForgatherConvertError: The conversion is not possible.
    """
    detection, options = request.detection, request.options
    if (options.code_only or options.link) and detection.is_forgather:
        flag, what = (
            ("--code-only", "writes the code of") if options.code_only else ("--link", "makes")
        )
        raise OptionError(
            f"{flag} {what} a Forgather model, but {detection.source} is one. Leave it out."
        )
    context = request.model.read()
    source = context.model
    vocabulary = _planned_vocabulary(request, source)
    if options.max_length is not None:
        report_tokenizer_length(source.directory, options.max_length)
        report_rope_length(source.config, request.hooks, options.max_length)
    config = source.config if vocabulary is None else changed_config(source.config, vocabulary)
    destination = context.build_target(config)
    match = match_tensors(
        source.tensors,
        destination.mapping,
        destination.parameters.with_vocabulary(source.config.vocab_size),
        source.config,
        str(source.weights_directory),
    )
    if source.is_in_loaded_form:
        whole = {name: put_together(value) for name, value in match.expressions.items()}
        match = replace(match, expressions=whole)
    content = WeightsContent(
        is_forgather=isinstance(destination, ForgatherTarget),
        tensors=target_tensors(request, match, destination.parameters, vocabulary),
        unused=_unused_tensors(destination, detection.metadata_directory),
        tied=destination.parameters.tied,
        original=destination.original,
        other_names=_other_names(destination),
    )
    stored = content
    if isinstance(destination, HuggingFaceTarget):
        if destination.form is not None:
            stored = content.in_loaded_form(destination.form)
        if destination.names is not None:
            content, stored = (each.in_composite(destination.names) for each in (content, stored))
    weights = early
    if weights is None or weights.content != stored:
        weights = plan_weights(request, stored)
    in_memory = request.model.in_memory
    files = plan_side_files(
        SideFileSource(
            detection.source,
            source.directory,
            request.checkpoint.files.paths,
            options.follow_links,
        ),
        destination.side_files,
        SideFileChanges(
            _vocabulary_writes(source, vocabulary),
            options.chat_template_path,
            None if in_memory is None else in_memory.tokenizer,
        ),
    )
    shards, index = weights.shards, _index(weights.layout)
    links: tuple[LinkPlan, ...] = ()
    if options.code_only:
        shards, index = (), ()
    if options.link is not None:
        linked = plan_links(request, content)
        shards, index, links = (), (linked.index,), linked.links
    if request.hooks.is_composite and not detection.is_forgather:
        files = without_processor_class(files, source.directory)
    elif isinstance(destination, HuggingFaceTarget) and destination.names is not None:
        files = with_processor_class(files)
    facts = PlanFacts(
        tensor_files=tuple(shard.file_name for shard in weights.apart),
        carried=tuple(copy.name for copy in files.copies),
        source_dtypes=frozenset(ref.dtype for ref in match.source_state.values()),
        dtypes=frozenset(value.dtype for value in content.tensors.values()),
    )
    own_files = destination.files(facts)
    plan = ConversionPlan(
        source=detection.source,
        destination=request.destination,
        direction=detection.direction,
        model_type=detection.model_type,
        dtype=detection.dtype,
        shards=shards,
        # The config is last: a directory without one is not mistaken for a model.
        writes=(*index, *files.writes, *own_files),
        copies=files.copies,
        left_out=files.left_out,
        checkpoint=request.checkpoint.files.directory,
        converter=request.hooks.name,
        vocabulary=vocabulary,
        config_fields=match_config_fields(
            detection.config,
            _fields_of_text_model(own_files[-1].content, request.hooks.is_composite),
            _field_names(request),
        ),
        links=links,
        weights_states={**request.checkpoint.files.states, **destination.carried.states},
    )
    planned = PlannedModel(plan, source, destination, config, match.source_state, content.tensors)
    if isinstance(destination, ForgatherTarget):
        check_reversible(request, planned, facts)
    return planned


def _unused_tensors(destination: TargetModel, directory: Path) -> dict[str, Expression]:
    """Tensors to copy that the model does not use.

    Raises:
        SourceError: A file for such tensors has one of the model's.
    """
    parameters, carried = destination.parameters, destination.carried.tensors
    if isinstance(destination, ForgatherTarget):
        # Their names differ there.
        return dict(carried)
    names = destination.names if isinstance(destination, HuggingFaceTarget) else None
    in_model = parameters.current_name if names is None else names.in_text_model
    own = [name for name in carried if in_model(name) in parameters]
    stored = [name for name in own if leaves(carried[name])]
    if stored:
        raise SourceError(
            f"{directory} has files forgather_carried*.tensors for unused tensors that contain "
            f"the model's own: {enumerate_names(stored)}. Use --drop-unused to ignore these files."
        )
    return {name: value for name, value in carried.items() if name not in own}


def _other_names(destination: TargetModel) -> dict[str, str]:
    """The model's names for tensors that have other names in its original, a base model."""
    if destination.original is None:
        return {}
    parameters = destination.parameters
    if isinstance(destination, HuggingFaceTarget) and destination.form is not None:
        parameters = destination.form.with_loaded_names(parameters)
    current_name = parameters.current_name
    return {
        ref.name: current_name(ref.name)
        for header in destination.original.headers.values()
        for ref in header.tensors
        if current_name(ref.name) != ref.name
    }


def _planned_vocabulary(request: PlanRequest, source: SourceModel) -> VocabularyChange | None:
    """The changes of the vocabulary; ``None`` if there are none."""
    options = request.options
    is_original = request.detection.direction is Direction.TO_FORGATHER
    return plan_vocabulary(
        TokenizedModel(source.directory, source.config, source.config_object),
        request.tokens,
        adds_defaults=is_original and not options.skip_default_tokens,
        multiple=options.pad_vocab_to_multiple_of,
    )


def _vocabulary_writes(
    source: SourceModel, vocabulary: VocabularyChange | None
) -> tuple[WriteFile, ...]:
    """The tokenizer files and generation config that change with the vocabulary."""
    if vocabulary is None:
        return ()
    return (*vocabulary.writes, *generation_config_writes(source.directory, vocabulary))


def _field_names(request: PlanRequest) -> Mapping[str, str]:
    """The destination's names of config fields, by the source's, if they differ."""
    names = request.hooks.get_field_names()
    if request.detection.direction is Direction.TO_FORGATHER:
        return names
    return {own_name: name for name, own_name in names.items()}


def _fields_of_text_model(content: bytes, is_composite: bool) -> Mapping[str, Any]:
    fields: dict[str, Any] = json.loads(content)
    return text_config(SourceConfig(fields)) if is_composite else fields


def _index(layout: Layout) -> tuple[WriteFile, ...]:
    return () if layout.index is None else (layout.index,)
