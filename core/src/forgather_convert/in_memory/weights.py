"""The weights of a Forgather model in memory, as Hugging Face's classes name them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.compare.conversion_configs import check_configs
from forgather_convert.conversion.conversion import ConversionRequest
from forgather_convert.conversion.model import open_model_conversion
from forgather_convert.errors import OptionError
from forgather_convert.execution.destination import resolve_destination
from forgather_convert.families.converter import HFConverter
from forgather_convert.in_memory.gathering import Gathering, Step, Values
from forgather_convert.in_memory.live_model import LiveModel, directory_of, live_model
from forgather_convert.in_memory.stand_in import write_stand_in
from forgather_convert.models.opening import WeightsInMemory
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.planner import plan_conversion
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.tensors.expressions import Expression

if TYPE_CHECKING:
    import torch


def hf_weights(
    model: Any,
    *,
    rank: int | None = None,
    options: ConvertOptions | None = None,
    converter: HFConverter | None = None,
) -> "Iterator[tuple[str, torch.Tensor]]":
    """The weights of a Forgather model in memory, by the names of its Hugging Face model.

    The order is that of the Hugging Face model's parameters; of tied ones there is only the first,
    as in files. Each tensor is made when it is asked for, and shares memory with the model where it
    is only renamed: use it, or copy it, before the model changes, and do not write to it.

    All processes that hold parts of a sharded model (``DTensor``) must call it and iterate to the
    end. Then a process needs memory for one tensor, or for the merged experts that it is a part of.

    Args:
        model: The model; wrappers of ``torch.compile`` and DDP are seen through.
        rank: The only process that gets the tensors of a sharded model; the others get none. By
            default, all get them.
        options: Options of ``convert``, such as ``dtype``.
        converter: The converter to use; by default, it is found by the model's type.

    Raises:
        ForgatherConvertError: It cannot be converted, for the reasons of ``convert``.
    """
    live = live_model(model)
    if rank is not None and live.processes.count > 1 and not 0 <= rank < live.processes.count:
        raise OptionError(
            f"There is no process {rank}; the model is divided among {live.processes.count}, "
            "counted from 0."
        )
    gathering = Gathering(live.tensors, live.processes)
    planned = live.processes.from_first(
        lambda: _planned(live, options or ConvertOptions(), converter)
    )
    only = rank if live.processes.count > 1 else None
    steps = [Step((name, value), (value,), only) for name, value in planned]
    return _evaluated(gathering, steps)


def _planned(
    live: LiveModel, options: ConvertOptions, converter: HFConverter | None
) -> list[tuple[str, Expression]]:
    with tempfile.TemporaryDirectory(prefix="forgather-") as temporary:
        stand_in = Path(temporary) / "model"
        stand_in.mkdir()
        weights = WeightsInMemory(write_stand_in(live, stand_in), directory_of(live.module))
        nowhere = resolve_destination(Path(temporary) / "result")
        request = ConversionRequest(stand_in, nowhere, options, converter, weights)
        planned = plan_conversion(open_model_conversion(request).request)
        check_configs(planned, options)
    return [*planned.tensors.items()]


def _evaluated(
    gathering: Gathering, steps: list[Step[tuple[str, Expression]]]
) -> "Iterator[tuple[str, torch.Tensor]]":
    for (name, expression), values in gathering.run(steps):
        if values is not None:
            yield name, _value(expression, values)


def _value(expression: Expression, values: Values) -> "torch.Tensor":
    with Evaluator(values) as evaluator:
        return evaluator.value(expression).contiguous()
