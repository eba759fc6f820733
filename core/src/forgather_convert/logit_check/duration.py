"""Estimates how long a check will take, from a sample of its work.

Almost all of the time goes into the parameters: reading them from the files of both models,
comparing them, and multiplying. All runs share the product with a matrix, if it is not that of an
expert: each run of each model multiplies with the experts that its tokens are routed to.
"""

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from forgather_convert.logit_check.positions import Run
from forgather_convert.logit_check.streamed_parameters import (
    Parameter,
    Product,
    StreamedParameters,
)

#: How many parameters are sampled, and how many bytes of each.
_SAMPLES = 3
_SAMPLE_BYTES = 8 * 2**20
#: The name of an expert that is a module of its own.
_EXPERT = re.compile(r"\.experts\.\d+\.")
#: The names of config fields: for the number of experts, and how many of them each token uses.
_NUM_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
_NUM_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk")

#: Uses rows of a parameter.
_Use = Callable[[Parameter, slice], object]


def estimate_seconds(model: Any, parameters: StreamedParameters, runs: Sequence[Run]) -> float:
    """How long the runs of two models will take, within a factor of about two.

    Args:
        model: The source.
        parameters: Its parameters.
        runs: The inputs of both.
    """
    passes = [
        tokens
        for run in runs
        for tokens in (len(run.rows) * run.length, *(len(run.rows) for _ in run.steps))
    ]
    values = parameters.values

    def compare(one: Parameter, rows: slice) -> object:
        stored = values.of(one)[rows]
        return torch.equal(stored, stored)

    def multiply(tokens: int) -> _Use:
        def use(one: Parameter, rows: slice) -> object:
            input = torch.zeros((tokens, one.stored.shape[-1]), dtype=one.dtype, device=one.device)
            if one.is_stack:
                return torch.nn.functional.linear(input, one.matrix_rows(0, rows))
            numbers = range(rows.start, rows.stop)
            return Product(input, one, None, numbers, values).compute_together([input])

        return use

    read = _read_whole(model, parameters)
    matrices = _Part.of([one for one in read if not _is_expert(one)])
    experts = _Part.of([one for one in read if _is_expert(one)])
    # Reads the sample from the disk; the products then find it in memory, as in the check.
    seconds = matrices.seconds(compare)
    # The first product is slower than all others.
    matrices.seconds(multiply(1))
    seconds += matrices.seconds(multiply(sum(passes)))
    seconds += sum(len(run.steps) for run in runs) * matrices.seconds(multiply(1))
    used = [_routed_share(model, tokens) for tokens in passes]
    few = multiply(max(1, round(max(passes) * _routed_share(model, 1))))
    first = experts.seconds(few)
    # What was read once is read from memory, if there is room for it.
    again = experts.seconds(few) if matrices.size + experts.size < _memory() / 2 else first
    return seconds + max(used) * first + (2 * sum(used) - max(used)) * again


@dataclass(frozen=True)
class _Part:
    """Parameters that are used in the same way.

    Attributes:
        size: Their size as they are stored, in bytes.
        sample: Some of the largest of them, from different layers.
    """

    size: int
    sample: Sequence[Parameter]

    @classmethod
    def of(cls, parameters: Sequence[Parameter]) -> "_Part":
        sizes = [one.stored.nbytes for one in parameters]
        largest = [one for one, size in zip(parameters, sizes, strict=True) if size == max(sizes)]
        step = -(-len(largest) // _SAMPLES) or 1
        return cls(sum(sizes), largest[::step])

    def seconds(self, use: _Use) -> float:
        """How long it takes to use all of them, judged by a part of the sample."""
        used, start = 0, time.perf_counter()
        with torch.no_grad():
            for one in self.sample:
                row = one.stored.shape[-1] * one.stored.dtype.itemsize
                count = min(one.stored.shape[-2], max(1, _SAMPLE_BYTES // row))
                use(one, slice(0, count))
                used += count * row
        return (time.perf_counter() - start) * self.size / max(1, used)


def _read_whole(model: Any, parameters: StreamedParameters) -> list[Parameter]:
    """The matrices of a model, without a table of which only some rows are looked up."""
    table = model.get_input_embeddings().weight
    is_head = table is parameters.head
    names = [name for name, one in model.named_parameters() if one is table and not is_head]
    return [one for one in parameters.all() if one.stored.dim() > 1 and one.name not in names]


def _is_expert(parameter: Parameter) -> bool:
    return parameter.is_stack or bool(_EXPERT.search(parameter.name))


def _routed_share(model: Any, tokens: int) -> float:
    """Which part of a layer's experts some tokens use, if all are equally likely."""
    config = model.config.get_text_config()
    total, chosen = (
        next((value for name in names if (value := getattr(config, name, None))), None)
        for names in (_NUM_EXPERTS, _NUM_CHOSEN)
    )
    if not isinstance(total, int) or not isinstance(chosen, int):
        return 1.0
    return 1.0 - (1.0 - min(1.0, chosen / total)) ** tokens


def _memory() -> int:
    """The memory of the machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
