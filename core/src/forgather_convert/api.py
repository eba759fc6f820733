"""The library's entry points, which the command line calls, too."""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forgather_convert.conversion.conversion import Conversion, ConversionRequest
from forgather_convert.conversion.opening import open_conversion
from forgather_convert.execution.commit import OnWritten, commit
from forgather_convert.execution.executor import execute
from forgather_convert.execution.free_space import check_free_space, free_bytes
from forgather_convert.execution.hashing import hash_files
from forgather_convert.execution.staging import Staging, staging_directory
from forgather_convert.execution.weights_writer import WeightsWriter
from forgather_convert.families.converter import HFConverter
from forgather_convert.files.file_state import check_unchanged
from forgather_convert.logit_check.generation import Generation
from forgather_convert.logit_check.logits import LogitComparison
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.progress import Phase, Progress, TimedProgress

if TYPE_CHECKING:
    from forgather_convert.compare.conversion_configs import ConfigComparison

logger = logging.getLogger(__name__)

#: Writes the files of a plan into a directory, and reports the bytes written since the last call.
Write = Callable[[ConversionPlan, Path, Callable[[int], None]], None]


@dataclass(frozen=True)
class ConversionResult:
    """The result of a conversion.

    Attributes:
        plan: The plan that was executed.
        configs: The result of comparing the configs; ``None`` for an adapter.
        logits: The result of the logit check; ``None`` if it was not run.
        generation: The result of the generation test; ``None`` if it was not requested.
        seconds: How long each phase took. Weights are written while the plan is made, so that
            the sum may be more than ``elapsed_seconds``.
        elapsed_seconds: How long the conversion took.
        hashes: The SHA-256 of every file, by name; ``None`` if they were not requested.
    """

    plan: ConversionPlan
    configs: "ConfigComparison | None"
    logits: LogitComparison | None
    generation: Generation | None
    seconds: Mapping[Phase, float]
    elapsed_seconds: float
    hashes: Mapping[str, str] | None


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
        source: The directory of the model, or of an adapter if the options give its base.
        destination: The directory that would be created.
        options: Options that differ from the defaults.
        progress: Receives progress.
        converter: The converter to use; by default, it is found by the model's type.

    Raises:
        ForgatherConvertError: The conversion is not possible.
    """
    request = ConversionRequest.of(source, destination, options, converter)
    progress = progress or Progress()
    conversion = _open(request, progress)
    progress.start(Phase.PLAN)
    with _paused_collection():
        planned = conversion.plan()
    progress.finish()
    return planned.plan


def convert(
    source: Path,
    destination: Path,
    options: ConvertOptions | None = None,
    progress: Progress | None = None,
    *,
    converter: HFConverter | None = None,
) -> ConversionResult:
    """Converts a model directory, in the direction that its config determines, or an adapter.

    The destination appears when everything is written and checked, or not at all.

    Args:
        source: The directory of the model, or of an adapter if the options give its base.
        destination: The directory to create.
        options: Options that differ from the defaults.
        progress: Receives progress.
        converter: The converter to use; by default, it is found by the model's type.

    Raises:
        FlushError: The result is complete, but may not survive a power failure.
        ForgatherConvertError: The conversion failed; the destination is unchanged.
    """
    return run(ConversionRequest.of(source, destination, options, converter), progress)


def run(
    request: ConversionRequest,
    progress: Progress | None = None,
    on_plan: Callable[[ConversionPlan], None] | None = None,
    on_written: OnWritten | None = None,
    write: Write | None = None,
) -> ConversionResult:
    """Runs a requested conversion; see :func:`convert`.

    Args:
        request: What to convert.
        progress: Receives progress.
        on_plan: Called with the plan. Weights may already be being written, beside the destination.
        on_written: Called with the destination when the result is complete there. Exceptions after
            that, raised by a signal for example, do not undo it.
        write: Writes the files, such as ``ShardWriters.execute`` with several processes; by
            default, this process does.
    """
    timed = TimedProgress(progress or Progress())
    conversion = _open(request, timed)
    options = request.options
    with (
        staging_directory(request.destination) as staging,
        WeightsWriter(staging.content) as writer,
    ):
        # Again, because an old model may have been put back there.
        request.check_destination()
        free = free_bytes(staging.content)
        if write is None:
            _begin(writer, conversion, free)
        timed.start(Phase.PLAN)
        with _paused_collection():
            logger.info("%s", conversion.title)
            planned = conversion.plan()
        if on_plan is not None:
            on_plan(planned.plan)
        _write(planned.plan, staging, free, write or _with(writer, timed), timed)
        checks = planned.check(staging.content, timed)
        hashes = _hash(staging, timed) if options.hashes else None
        # Again, because the checks may have taken long, and have also read the source.
        check_unchanged(planned.plan.source_states)
        timed.start(Phase.COMMIT, _size(staging.content))
        commit(
            planned.plan.source, staging, options.overwrite, on_written or _ignore, timed.advance
        )
        timed.finish()
    result = ConversionResult(
        plan=planned.plan,
        configs=checks.configs,
        logits=checks.logits,
        generation=checks.generation,
        seconds=timed.seconds(),
        elapsed_seconds=timed.elapsed(),
        hashes=hashes,
    )
    logger.info("Conversion complete: %s", request.destination.given)
    conversion.extension_calls.conversion_finished(result)
    return result


def _open(request: ConversionRequest, progress: Progress) -> Conversion:
    progress.start(Phase.READ)
    return open_conversion(request)


def _begin(writer: WeightsWriter, conversion: Conversion, free: int | None) -> None:
    """Starts writing weights while the plan is made, which takes seconds."""
    shards = conversion.early_shards()
    if free is None or sum(shard.num_bytes for shard in shards) <= free:
        writer.begin(shards)


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
    # Before the checks, which map the source's files: accessing a truncated part would crash.
    check_unchanged(plan.source_states)


def _hash(staging: Staging, progress: Progress) -> Mapping[str, str]:
    progress.start(Phase.HASH, _size(staging.content))
    return hash_files(staging.content, progress.advance)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def _ignore(_: object) -> None:
    pass


@contextmanager
def _paused_collection() -> Iterator[None]:
    """Pauses the garbage collector, for code that produces hardly any garbage.

    Importing torch and transformers creates a million permanent objects; with the collector paused
    it takes a tenth less time. Does nothing if the collector is already disabled.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
