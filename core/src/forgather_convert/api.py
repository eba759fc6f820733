"""The library's entry points: what the command line calls, too."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forgather_convert.discovery.choice import converter_for, is_family
from forgather_convert.discovery.extensions import load_extensions
from forgather_convert.execution.commit import OnWritten, commit
from forgather_convert.execution.destination import (
    Destination,
    check_destination,
    resolve_destination,
)
from forgather_convert.execution.executor import execute
from forgather_convert.execution.free_space import check_free_space, free_bytes
from forgather_convert.execution.hashing import hash_files
from forgather_convert.execution.staging import Staging, staging_directory
from forgather_convert.execution.weights_writer import WeightsWriter
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.extensions import CORE_FORMATS, ExtensionCalls
from forgather_convert.files.file_state import check_unchanged
from forgather_convert.garbage import paused_collection
from forgather_convert.logit_check.device import check_device
from forgather_convert.logit_check.generation import Generation, generate
from forgather_convert.logit_check.logits import CheckedModel, LogitComparison, check_logits
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.planning.request import PlannedConversion, PlanRequest
from forgather_convert.progress import Phase, Progress, TimedProgress
from forgather_convert.source.detection import Direction, detect
from forgather_convert.source.other_weights import refuse_other_weights
from forgather_convert.tensors.dtypes import lossy_cast_from
from forgather_convert.vocabulary.requests import TokenRequest

if TYPE_CHECKING:
    from forgather_convert.adapters.logit_check import AdaptedModels
    from forgather_convert.compare.conversion_configs import ConfigComparison

logger = logging.getLogger(__name__)

#: Writes the files of a plan into a directory, and tells the number of bytes after each part.
Write = Callable[[ConversionPlan, Path, Callable[[int], None]], None]


@dataclass(frozen=True)
class ConversionResult:
    """What a conversion did.

    Attributes:
        plan: What was written.
        configs: The result of comparing the configs; ``None`` for an adapter.
        logits: The result of the logit check; ``None`` if it was not asked for.
        generation: The result of the generation test; ``None`` if it was not asked for.
        seconds: How long each phase took. Weights are written while the plan is made, so that
            the sum may be more than ``elapsed_seconds``.
        elapsed_seconds: How long the conversion took.
        hashes: The SHA-256 of every file, by name; ``None`` if they were not asked for.
    """

    plan: ConversionPlan
    configs: "ConfigComparison | None"
    logits: LogitComparison | None
    generation: Generation | None
    seconds: Mapping[Phase, float]
    elapsed_seconds: float
    hashes: Mapping[str, str] | None


@dataclass(frozen=True)
class _PlannedAdapter:
    plan: ConversionPlan
    models: "AdaptedModels"
    calls: ExtensionCalls


def plan(
    source: Path,
    destination: Path,
    options: ConvertOptions | None = None,
    progress: Progress | None = None,
    *,
    converter: HFConverter | None = None,
) -> ConversionPlan:
    """Plans a conversion: reads headers and configs, and writes nothing.

    Args:
        source: The directory of the model; of an adapter, where the options give its base.
        destination: The directory that would be created.
        options: What to do differently from the defaults.
        progress: Is told what goes on.
        converter: The converter to use; without it, one is looked up by the model's type.

    Raises:
        ForgatherConvertError: The conversion is not possible.
    """
    place, options = resolve_destination(Path(destination)), options or ConvertOptions()
    progress = progress or Progress()
    if options.base is not None:
        plan = _plan_adapter(Path(source), place, options, options.base, converter, progress).plan
    else:
        request, _ = _read(Path(source), place, options, converter, progress)
        with paused_collection():
            plan = _plan(request, progress)[0].plan
    progress.finish()
    return plan


def convert(
    source: Path,
    destination: Path,
    options: ConvertOptions | None = None,
    on_plan: Callable[[ConversionPlan], None] | None = None,
    progress: Progress | None = None,
    on_written: OnWritten | None = None,
    *,
    converter: HFConverter | None = None,
    write: Write | None = None,
) -> ConversionResult:
    """Converts a model directory, in the direction that its config tells; or an adapter.

    The destination appears when everything is written and checked, or not at all.

    Args:
        source: The directory of the model; of an adapter, where the options give its base.
        destination: The directory to create.
        options: What to do differently from the defaults.
        on_plan: Called with the plan. Weights may be written already, beside the destination.
        progress: Is told what goes on.
        on_written: Called with the destination when the result is in its place. Whatever is
            raised after that, by a signal for example, does not undo it.
        converter: The converter to use; without it, one is looked up by the model's type.
        write: Writes the files, such as ``ShardWriters.execute`` with several processes; by
            default, this process does.

    Raises:
        FlushError: The result is in its place, but may not survive a power failure.
        ForgatherConvertError: The conversion failed; the destination is as it was.
    """
    source, place = Path(source), resolve_destination(Path(destination))
    options = options or ConvertOptions()
    timed = TimedProgress(progress or Progress())
    if options.base is not None:
        return _convert_adapter(
            source, place, options, options.base, on_plan, timed, on_written, converter, write
        )
    request, calls = _read(source, place, options, converter, timed)
    logits = generation = None
    with staging_directory(place) as staging, WeightsWriter(staging.content) as writer:
        # Again: an old model may have been put back there.
        check_destination(source, place, options.overwrite)
        free = free_bytes(staging.content)
        if write is None:
            _begin(writer, request, free)
        timed.start(Phase.PLAN)
        with paused_collection():
            _announce(request)
            planned, configs = _plan(request, timed)
        if on_plan is not None:
            on_plan(planned.plan)
        _write(planned.plan, staging, free, write or _with(writer, timed), timed)
        if options.logit_check:
            timed.start(Phase.CHECK)
            logits = _check_logits(planned, staging.content, options, timed)
        if options.generation_test:
            timed.start(Phase.GENERATE)
            source_dtype = _cast_from(planned, options) or planned.plan.dtype
            generation = generate(planned, staging.content, options, source_dtype, timed)
        hashes = _hash(staging, options, timed)
        _commit(planned.plan, staging, options, on_written, timed)
    result = ConversionResult(
        planned.plan, configs, logits, generation, timed.seconds(), timed.elapsed(), hashes
    )
    return _finished(result, place, calls)


def _convert_adapter(
    source: Path,
    place: Destination,
    options: ConvertOptions,
    base: Path,
    on_plan: Callable[[ConversionPlan], None] | None,
    progress: TimedProgress,
    on_written: OnWritten | None,
    converter: HFConverter | None,
    write: Write | None,
) -> ConversionResult:
    planned = _plan_adapter(source, place, options, base, converter, progress)
    plan, logits = planned.plan, None
    is_original = plan.direction is Direction.TO_FORGATHER
    logger.info("Converting an adapter to %s", "Forgather" if is_original else "HuggingFace")
    if on_plan is not None:
        on_plan(plan)
    with staging_directory(place) as staging:
        check_destination(source, place, options.overwrite)
        check_destination(base, place, options.overwrite)
        free = free_bytes(staging.content)
        _write(plan, staging, free, write or execute, progress)
        if options.logit_check:
            from forgather_convert.adapters.logit_check import check_adapter

            progress.start(Phase.CHECK)
            logits = check_adapter(planned.models, source, staging.content, options)
        hashes = _hash(staging, options, progress)
        _commit(plan, staging, options, on_written, progress)
    result = ConversionResult(
        plan, None, logits, None, progress.seconds(), progress.elapsed(), hashes
    )
    return _finished(result, place, planned.calls)


def _hash(
    staging: Staging, options: ConvertOptions, progress: Progress
) -> Mapping[str, str] | None:
    if not options.hashes:
        return None
    progress.start(Phase.HASH, _size(staging.content))
    return hash_files(staging.content, progress.advance)


def _begin(writer: WeightsWriter, request: PlanRequest, free: int | None) -> None:
    """Lets weights be written while the plan is made, which takes seconds."""
    from forgather_convert.planning.draft import draft_shards

    shards = draft_shards(request)
    if free is None or sum(shard.num_bytes for shard in shards) <= free:
        writer.begin(shards)


def _announce(request: PlanRequest) -> None:
    if request.detection.direction is Direction.TO_FORGATHER:
        logger.info("Converting HuggingFace model to Forgather format")
    else:
        logger.info("Converting Forgather model to HuggingFace %s", request.hooks.display_name)


def _with(writer: WeightsWriter, progress: Progress) -> Write:
    def write(plan: ConversionPlan, directory: Path, advance: Callable[[int], None]) -> None:
        execute(plan, directory, advance, writer)
        progress.head_start(writer.head_start)

    return write


def _write(
    plan: ConversionPlan, staging: Staging, free: int | None, write: Write, progress: Progress
) -> None:
    check_free_space(plan, staging, free)
    progress.start(Phase.WRITE, plan.num_bytes)
    write(plan, staging.content, progress.advance)
    # Before the checks, which map the source's files: touching what is cut off ends the process.
    check_unchanged(plan.source_states)


def _commit(
    plan: ConversionPlan,
    staging: Staging,
    options: ConvertOptions,
    on_written: OnWritten | None,
    progress: Progress,
) -> None:
    # Again: the checks may have taken their time, and have read the source, too.
    check_unchanged(plan.source_states)
    progress.start(Phase.COMMIT, _size(staging.content))
    commit(plan.source, staging, options.overwrite, on_written or _ignore, progress.advance)
    progress.finish()


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def _finished(
    result: ConversionResult, place: Destination, calls: ExtensionCalls
) -> ConversionResult:
    logger.info("Conversion complete: %s", place.given)
    calls.conversion_finished(result)
    return result


def _read(
    source: Path,
    destination: Destination,
    options: ConvertOptions,
    converter: HFConverter | None,
    progress: Progress,
) -> tuple[PlanRequest, ExtensionCalls]:
    # What is quickly refused comes first: the imports of the planner and of torch take seconds.
    progress.start(Phase.READ)
    check_destination(source, destination, options.overwrite)
    tokens = _read_files_of_the_user(options)
    return _request(source, destination, options, converter, tokens)


def _plan(request: PlanRequest, progress: Progress) -> "tuple[PlannedConversion, ConfigComparison]":
    progress.start(Phase.PLAN)
    options = request.options
    if options.logit_check or options.generation_test:
        check_device(options.device)
    from forgather_convert.compare.conversion_configs import check_configs
    from forgather_convert.planning.planner import plan_conversion

    planned = plan_conversion(request)
    return planned, check_configs(planned, options)


def _plan_adapter(
    source: Path,
    destination: Destination,
    options: ConvertOptions,
    base: Path,
    converter: HFConverter | None,
    progress: Progress,
) -> _PlannedAdapter:
    from forgather_convert.adapters.adapter_directory import read_adapter
    from forgather_convert.adapters.planner import (
        options_of_base,
        plan_adapter,
        refuse_options_of_models,
    )

    progress.start(Phase.READ)
    refuse_options_of_models(options)
    adapter = read_adapter(source)
    check_destination(source, destination, options.overwrite)
    options = options_of_base(options)
    request, calls = _request(base, destination, options, converter)
    progress.start(Phase.PLAN)
    return _PlannedAdapter(*plan_adapter(adapter, request), calls)


def _request(
    model: Path,
    destination: Destination,
    options: ConvertOptions,
    converter: HFConverter | None,
    tokens: tuple[TokenRequest, ...] | None = None,
) -> tuple[PlanRequest, ExtensionCalls]:
    """Finds out what a model is, and who converts it."""
    extensions = load_extensions(options.use_plugins, model)
    calls = ExtensionCalls(CORE_FORMATS, extensions)
    detection = detect(
        model,
        options,
        calls.open_weights,
        lambda model_type: is_family(model_type, model, options, converter),
    )
    check_destination(model, destination, options.overwrite)
    hooks = converter_for(detection.model_type, model, options, converter)
    refuse_other_weights(detection.checkpoint, detection.is_forgather, hooks.weight_mapping())
    request = PlanRequest(
        detection=detection,
        hooks=hooks.with_extensions(extensions),
        destination=destination.given,
        options=options,
        tokens=tokens,
    )
    return request, calls


def _read_files_of_the_user(options: ConvertOptions) -> tuple[TokenRequest, ...] | None:
    """The tokens to add; the chat template is looked at, too."""
    tokens = None
    if options.token_file is not None:
        from forgather_convert.vocabulary.token_file import read_token_file

        tokens = read_token_file(options.token_file)
    if options.chat_template_path is not None:
        from forgather_convert.vocabulary.chat_template import read_template

        read_template(options.chat_template_path)
    return tokens


def _check_logits(
    planned: PlannedConversion, staged: Path, options: ConvertOptions, progress: Progress
) -> LogitComparison:
    source, destination = planned.source, planned.destination
    return check_logits(
        CheckedModel(
            name="source",
            load=lambda: source.load(planned.source_state),
            tokenizer_directory=source.directory,
            hf_config=source.config_object,
            code=source.code_owner,
            is_own_code=source.is_own_code,
        ),
        CheckedModel(
            name="result",
            load=lambda: destination.load(staged),
            tokenizer_directory=staged,
            hf_config=destination.config_object,
            code=destination.code_owner,
        ),
        mapping=destination.mapping,
        weights=planned.source_state,
        vocabulary=planned.plan.vocabulary,
        prompt=options.prompt,
        dtype=planned.plan.dtype,
        device=options.device,
        cast_from=_cast_from(planned, options),
        tolerance=options.logit_tolerance,
        progress=progress,
    )


def _cast_from(planned: PlannedConversion, options: ConvertOptions) -> str | None:
    """The dtype that the weights have before they are rounded; ``None`` if they are not."""
    if options.dtype is None:
        return None
    stored = {value.dtype for value in planned.source_state.values()}
    return lossy_cast_from(stored, planned.plan.dtype)


def _ignore(_: object) -> None:
    pass
