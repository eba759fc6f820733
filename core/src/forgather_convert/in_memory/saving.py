"""Writes a Forgather model in memory as a Hugging Face directory."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.api import ConversionResult, run
from forgather_convert.conversion.conversion import ConversionRequest
from forgather_convert.errors import (
    OptionError,
    ProcessError,
    UnsupportedModelError,
    first_line,
)
from forgather_convert.execution.executor import write_other_files
from forgather_convert.execution.flush import flush
from forgather_convert.execution.shard_parts import (
    ComputedPart,
    ShardPart,
    complete_shard,
    create_shard,
)
from forgather_convert.families.converter import HFConverter
from forgather_convert.files.file_errors import with_filename
from forgather_convert.in_memory.gathering import Gathering, Step, Values, steps_by_tensor
from forgather_convert.in_memory.live_model import (
    LiveModel,
    directory_of,
    is_peft,
    live_model,
    twin,
    unwrapped,
)
from forgather_convert.in_memory.processes import Processes, losses
from forgather_convert.in_memory.stand_in import write_stand_in
from forgather_convert.models.opening import WeightsInMemory
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.progress import Advance, Progress

if TYPE_CHECKING:
    import torch

#: After how many tensors processes ask one another whether one has failed.
_ROUND = 16


def save_as_hf(
    model: Any,
    out: Path | str,
    tokenizer: Any = None,
    options: ConvertOptions | None = None,
    progress: Progress | None = None,
    *,
    logit_check: bool = False,
    converter: HFConverter | None = None,
) -> ConversionResult | None:
    """Writes a Forgather model in memory as a Hugging Face directory.

    The result is what ``save_pretrained`` and ``forgather convert`` would have written together,
    byte for byte. If the model was loaded from a Forgather directory that still exists, it is what
    a checkpoint of that model becomes: config, provenance, tokenizer and other files come from
    there.

    All processes that hold parts of a sharded model (``DTensor``: FSDP2, tensor parallelism) must
    call it; they need a common file system. An adapter of PEFT becomes a Hugging Face adapter.

    Args:
        model: The model; wrappers of ``torch.compile`` and DDP are seen through.
        out: The directory to create.
        tokenizer: The tokenizer to save with it, instead of the model directory's.
        options: Options of ``convert`` that differ from the defaults.
        progress: Receives progress, in the first process.
        logit_check: Compare the logits of the model, which must be on the CPU, with the result's
            before that appears.
        converter: The converter to use; by default, it is found by the model's type.

    Returns:
        The result, in the first process; ``None`` in others.

    Raises:
        FlushError: The result is complete, but may not survive a power failure.
        ForgatherConvertError: The conversion failed; the destination is unchanged.
    """
    options = replace(options or ConvertOptions(), logit_check=logit_check)
    if options.generation_test or options.checkpoint_path:
        raise OptionError(
            "generation_test and checkpoint_path do not apply to a model in memory. Leave them out."
        )
    module = unwrapped(model)
    if is_peft(module):
        return save_adapter(module, Path(out), options, progress, converter)
    live = live_model(module)
    checkpoint = LiveCheckpoint(live, directory_of(live.module), tokenizer)
    return save_live(checkpoint, Path(out), options, progress, converter)


@dataclass(frozen=True)
class LiveCheckpoint:
    """A model in memory as a checkpoint of a model directory.

    Attributes:
        model: The model.
        model_directory: The directory; ``None`` for a model by itself.
        tokenizer: The tokenizer of the result, whatever the model directory has.
        trainer_tokenizer: The tokenizer that a trainer saves in its checkpoints.
    """

    model: LiveModel
    model_directory: Path | None
    tokenizer: Any = None
    trainer_tokenizer: Any = None


def save_live(
    live_checkpoint: LiveCheckpoint,
    out: Path,
    options: ConvertOptions,
    progress: Progress | None = None,
    converter: HFConverter | None = None,
) -> ConversionResult | None:
    """Writes a model in memory like a checkpoint of it; see :func:`save_as_hf`."""
    live, model_directory = live_checkpoint.model, live_checkpoint.model_directory
    tokenizer = live_checkpoint.tokenizer
    if options.logit_check and live.processes.count > 1:
        raise OptionError(
            "The logits of a sharded model cannot be compared. Leave out logit_check, and compare "
            "the results of saved checkpoints with forgather verify."
        )
    gathering = Gathering(live.tensors, live.processes, _cpu())
    if not live.processes.is_first:
        _follow(live, gathering)
        return None
    lead = _Lead(live, gathering)
    with lead, tempfile.TemporaryDirectory(prefix="forgather-") as temporary:
        stand_in, own_tokenizer = Path(temporary) / "model", None
        stand_in.mkdir()
        beside = live_checkpoint.trainer_tokenizer
        if tokenizer is not None and model_directory is None:
            beside = tokenizer
        elif tokenizer is not None:
            own_tokenizer = Path(temporary) / "tokenizer"
            tokenizer.save_pretrained(own_tokenizer)
        checkpoint = write_stand_in(live, stand_in, beside)
        weights = WeightsInMemory(
            checkpoint, model_directory, own_tokenizer, lambda: twin(live.module)
        )
        request = ConversionRequest.of(stand_in, out, options, converter, weights)
        return run(request, progress, write=lead.write)


@dataclass(frozen=True)
class _Work:
    """What all processes write together.

    Attributes:
        steps: The parts of weights files, each with its file.
    """

    steps: tuple[Step[tuple[Path, ShardPart]], ...]


@dataclass(frozen=True)
class _Failure:
    """Why the first process has nothing to write, or did not finish."""

    reason: str


class _Lead:
    """The first process's part. A context manager, which tells the others how it ended."""

    def __init__(self, live: LiveModel, gathering: Gathering) -> None:
        self._processes = live.processes
        self._names = tuple(live.tensors)
        self._gathering = gathering
        self._is_expected = True

    def __enter__(self) -> "_Lead":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._is_expected:
            told = None
            if error is not None:
                told = _Failure(first_line(error) or type(error).__name__)
            # If another one was lost, the error says so already.
            with suppress(*((ProcessError,) if told else ())):
                self._processes.broadcast(told)

    def write(self, plan: ConversionPlan, directory: Path, advance: Advance) -> None:
        """Writes all files of a plan, as ``execute`` does."""
        parts: list[tuple[Path, ShardPart]] = []
        for shard in plan.shards:
            path = directory / shard.file_name
            own = create_shard(shard, path)
            advance(shard.num_bytes - sum(part.num_bytes for part in own))
            parts += [(path, part) for part in own]
        steps = steps_by_tensor(_shared_out(parts, self._processes.count), self._names)
        work = _Work(tuple(steps))
        self._processes.broadcast(work)
        # From here on, the processes tell one another of errors themselves.
        self._is_expected = False
        _write_parts(work, self._gathering, self._processes, advance)
        self._is_expected = True
        for shard in plan.shards:
            complete_shard(shard, directory / shard.file_name, advance)
        write_other_files(plan, directory, advance)


def _follow(live: LiveModel, gathering: Gathering) -> None:
    """The part of any other process."""
    told = live.processes.broadcast(None)
    if isinstance(told, _Work):
        _write_parts(told, gathering, live.processes, lambda _: None)
        told = live.processes.broadcast(None)
    if isinstance(told, _Failure):
        raise ProcessError(f"The first process failed: {told.reason}")


def _shared_out(
    parts: list[tuple[Path, ShardPart]], count: int
) -> list[Step[tuple[Path, ShardPart]]]:
    """Divides parts among processes; those that are made of the same tensor stay together."""
    groups: dict[object, list[Step[tuple[Path, ShardPart]]]] = {}
    for number, (path, part) in enumerate(parts):
        expressions = (part.tensor.expression,) if isinstance(part, ComputedPart) else ()
        step = Step((path, part), expressions)
        groups.setdefault(step.refs[0] if step.refs else number, []).append(step)
    sizes = [0] * count
    shared = []
    for group in groups.values():
        rank = sizes.index(min(sizes))
        sizes[rank] += sum(step.item[1].num_bytes for step in group)
        shared += [replace(step, rank=rank) for step in group]
    return shared


def _write_parts(work: _Work, gathering: Gathering, processes: Processes, advance: Advance) -> None:
    """Writes the parts of this process, and helps with the others'.

    Raises:
        ProcessError: Another process failed.
    """
    error: BaseException | None = None
    written: set[Path] = set()
    for number, ((path, part), values) in enumerate(gathering.run(work.steps), start=1):
        try:
            if values is not None and error is None:
                written.add(path)
                _write_part(path, part, values, advance)
            elif values is None and processes.is_first:
                advance(part.num_bytes)
        except BaseException as failure:
            # The others wait for this process's parts until they know.
            error = error or failure
        if number % _ROUND == 0:
            processes.agree(error)
    if error is None:
        try:
            for path in written:
                flush(path)
        except OSError as failure:
            error = failure
    processes.agree(error)


def _write_part(path: Path, part: ShardPart, values: Values, advance: Advance) -> None:
    with with_filename(path), path.open("r+b", buffering=0) as file:
        if isinstance(part, ComputedPart):
            part.write(file, advance, values)
        else:
            part.write(file, advance)


def save_adapter(
    model: Any,
    out: Path,
    options: ConvertOptions,
    progress: Progress | None = None,
    converter: HFConverter | None = None,
) -> ConversionResult | None:
    """Writes the adapter of a model that PEFT wraps as one for the Hugging Face model.

    It is small, so PEFT writes it for the Forgather model first, and it is converted. Of a sharded
    model, all processes gather it, and the first one writes it; see :func:`save_as_hf`.
    """
    processes = Processes.of(model.parameters())
    with_base = processes.from_first(lambda: options_of_adapter(model, options))
    state = {} if processes.count == 1 else {"state_dict": _whole_adapters(model)}

    def write() -> ConversionResult:
        with tempfile.TemporaryDirectory(prefix="forgather-") as temporary:
            saved = Path(temporary) / "adapter"
            model.save_pretrained(saved, **state)
            return run(ConversionRequest.of(saved, out, with_base, converter), progress)

    return processes.in_first(write)


def options_of_adapter(model: Any, options: ConvertOptions) -> ConvertOptions:
    """The options for converting the adapter of a model that PEFT wraps, with its base.

    Raises:
        OptionError: The directory of the base is unknown.
    """
    base = options.base or directory_of(model.get_base_model())
    if base is None:
        raise OptionError(
            "The base model was not loaded from a Forgather directory that still exists. Name the "
            "directory as ConvertOptions.base."
        )
    return replace(options, base=base)


def _whole_adapters(model: Any) -> "dict[str, torch.Tensor]":
    """The tensors of a sharded model's adapters by their names in the model.

    Raises:
        UnsupportedModelError: PEFT does not take them from the model as they are.
    """
    from peft import get_peft_model_state_dict
    from torch.distributed.tensor import DTensor

    state = model.state_dict()
    taken: set[int] = set()
    # Trained prompts are embedded while they are saved, which needs the whole model.
    is_computed = any(config.is_prompt_learning for config in model.peft_config.values())
    for name in () if is_computed else model.peft_config:
        own = get_peft_model_state_dict(model, state_dict=dict(state), adapter_name=name)
        taken.update(map(id, own.values()))
    chosen = {name: tensor for name, tensor in state.items() if id(tensor) in taken}
    if is_computed or len(set(map(id, chosen.values()))) != len(taken):
        raise UnsupportedModelError(
            "PEFT computes tensors of this sharded adapter while it saves them. Save it with "
            "PEFT's save_pretrained, and convert it with forgather convert --base."
        )
    with losses():
        return {
            name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            for name, tensor in chosen.items()
        }


def _cpu() -> Any:
    import torch

    return torch.device("cpu")
