"""Checks that an adapter and its conversion have the same effect on their models.

The base model and its counterpart are loaded by PEFT with their adapters, and run on the same
tokens. The counterpart is made in memory from the base's weights, and needs no directory. Without
PEFT, nothing is compared.
"""

import contextlib
import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import ValidationError, cause_of
from forgather_convert.logit_check.logits import LogitComparison
from forgather_convert.logit_check.prompts import fixed_ids
from forgather_convert.models.model import SourceModel, TargetModel
from forgather_convert.options import ConvertOptions
from forgather_convert.tensors.expressions import Expression

_LENGTH = 11
_PADDING = 3
_RUNS = (f"{_LENGTH} tokens", "a batch of 2 with left padding")


@dataclass(frozen=True)
class AdaptedModels:
    """A base model and its counterpart, whose adapters are compared.

    Attributes:
        source: The base.
        source_state: Its weights, by the names that it expects.
        destination: Its counterpart.
        destination_state: The expressions of the counterpart's weights.
        dtype: The dtype of the base.
    """

    source: SourceModel
    source_state: Mapping[str, Expression]
    destination: TargetModel
    destination_state: Mapping[str, Expression]
    dtype: str


def check_adapter(
    models: AdaptedModels, adapter: Path, converted: Path, options: ConvertOptions
) -> LogitComparison | None:
    """Compares the logits of both models with their adapters, bit for bit.

    Returns:
        ``None`` if PEFT is not installed.

    Raises:
        ValidationError: They differ, or a model does not run with its adapter.
    """
    if importlib.util.find_spec("peft") is None:
        return None
    from forgather_convert.logit_check.comparison import compare

    source, destination = models.source, models.destination
    notes: list[str] = []
    base = source.load(models.source_state, notes.append)
    expected = _logits(base, adapter, "source", models.dtype, options)
    del base
    counterpart = destination.load_tensors(source.weights_directory, models.destination_state)
    actual = _logits(counterpart, converted, "result", models.dtype, options)
    differences = [compare(*pair) for pair in zip(expected, actual, strict=True)]
    largest = max(difference.largest for difference in differences)
    comparison = LogitComparison(
        are_equal=all(difference.are_equal for difference in differences),
        max_difference=largest,
        num_tokens=sum(difference.num_positions for difference in differences),
        runs=_RUNS,
        codes=(source.code_owner, destination.code_owner),
        is_own_code=source.is_own_code,
        num_undefined=sum(difference.num_undefined for difference in differences),
        num_logits=sum(difference.num_logits for difference in differences),
        tolerance=options.logit_tolerance,
        notes=tuple(notes),
    )
    if not comparison.is_accepted:
        raise ValidationError(
            "Model logits are dissimilar: with the converted adapter, the model does not compute "
            f"what the base computes with the original (largest difference {largest:g} over "
            f"{comparison.num_tokens} positions). Nothing was written. --no-logit-check converts "
            "without comparing."
        )
    return comparison


def _logits(model: Any, adapter: Path, name: str, dtype: str, options: ConvertOptions) -> list[Any]:
    """The logits of each run, ``[1, positions, tokens]``, on the CPU."""
    import torch
    from peft import PeftModel

    from forgather_convert.logit_check.streamed_parameters import (
        LogitSelection,
        StreamingMode,
        streaming,
    )
    from forgather_convert.tensors.dtypes import to_torch

    tokens = range(model.config.get_text_config().vocab_size)
    one = torch.tensor([fixed_ids(tokens, _LENGTH)], device=options.device)
    both = torch.tensor(fixed_ids(tokens, 2 * _LENGTH), device=options.device).view(2, -1)
    mask = torch.ones_like(both)
    mask[0, :_PADDING] = 0
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            # PEFT already showed its warnings about the config when the adapter was made.
            warnings.simplefilter("ignore")
            parameters = stack.enter_context(
                streaming(model, to_torch(dtype), options.device, lambda count: None)
            )
            adapted = PeftModel.from_pretrained(model, adapter, torch_device=options.device).eval()
            stack.enter_context(torch.no_grad())
            stack.enter_context(StreamingMode(parameters, LogitSelection()))
            alone = adapted(input_ids=one, use_cache=False).logits.cpu()
            padded = adapted(input_ids=both, attention_mask=mask, use_cache=False).logits.cpu()
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValidationError(
            f"The {name} does not run with its adapter: {cause_of(error)}. Nothing "
            "was written. Use --no-logit-check to convert anyway."
        ) from error
    first, second = padded
    return [alone, torch.cat((first[_PADDING:], second)).unsqueeze(0)]
