"""What plans of both directions have in common."""

from forgather_convert.planning.layout import Layout
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.planning.side_files import SideFiles
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.detection import Direction
from forgather_convert.source.files import WriteFile
from forgather_convert.vocabulary.change import VocabularyChange
from forgather_convert.vocabulary.extension import plan_vocabulary
from forgather_convert.vocabulary.model_fields import generation_config_writes


def conversion_plan(
    request: PlanRequest,
    layout: Layout,
    files: SideFiles,
    vocabulary: VocabularyChange | None,
    generated: tuple[WriteFile, ...],
) -> ConversionPlan:
    """Puts a plan together; the config is the last of the generated files, and written last."""
    index = () if layout.index is None else (layout.index,)
    detection = request.detection
    return ConversionPlan(
        source=detection.source,
        destination=request.destination,
        direction=detection.direction,
        model_type=detection.model_type,
        dtype=detection.dtype,
        shards=layout.shards,
        writes=(*index, *files.writes, *generated),
        copies=files.copies,
        left_out=files.left_out,
        vocabulary=vocabulary,
    )


def planned_vocabulary(request: PlanRequest, config: SourceConfig) -> VocabularyChange | None:
    """What changes in the vocabulary; ``None`` if nothing does."""
    detection, options = request.detection, request.options
    is_original = detection.direction is Direction.TO_FORGATHER
    return plan_vocabulary(
        detection.metadata_directory,
        config,
        request.hooks.hf_config(config, None),
        request.tokens,
        adds_defaults=is_original and not options.skip_default_tokens,
        multiple=options.pad_vocab_to_multiple_of,
    )


def vocabulary_writes(
    request: PlanRequest, vocabulary: VocabularyChange | None
) -> tuple[WriteFile, ...]:
    """The files of tokenizer and generation config that change with the vocabulary."""
    if vocabulary is None:
        return ()
    return (
        *vocabulary.writes,
        *generation_config_writes(request.detection.metadata_directory, vocabulary),
    )
