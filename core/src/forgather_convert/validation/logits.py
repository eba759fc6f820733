"""The logit check: source and result must compute the same."""

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import ValidationError
from forgather_convert.planning.request import PlannedConversion
from forgather_convert.validation.model_loading import load_result, load_source
from forgather_convert.validation.prompts import prompt_ids

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogitComparison:
    """How far apart the two models' logits are.

    Attributes:
        are_equal: Whether they are the same, bit for bit.
        max_difference: The largest absolute difference.
        num_tokens: How many positions were compared.
    """

    are_equal: bool
    max_difference: float
    num_tokens: int


def check_logits(
    planned: PlannedConversion, directory: Path, prompt: str, device: str
) -> LogitComparison:
    """Runs one prompt through both models, one after the other.

    Both run in the result's dtype: where that is not the source's, the source's weights are
    rounded on loading as the conversion rounds them, so that equality is still exact. Where
    the vocabulary changes, the tokens that both have in common are compared.

    Raises:
        ValidationError: The logits differ.
    """
    shared = _shared_tokens(planned)
    ids = prompt_ids(planned.source.directory, planned.source.config_object, prompt, shared)
    model = load_source(planned, device)
    expected = _logits(model, ids, shared)
    del model
    gc.collect()
    model = load_result(planned, directory, device)
    actual = _logits(model, ids, shared)
    comparison = _compare(expected, actual)
    if not comparison.are_equal:
        raise ValidationError(
            "Model logits are dissimilar: the result does not compute what the source computes "
            f"(largest difference {comparison.max_difference:g} over {comparison.num_tokens} "
            "positions). Nothing was written. Check the names with --debug-params; if the "
            "difference is expected, use --no-logit-check."
        )
    logger.info("Logits are identical over %d positions", comparison.num_tokens)
    return comparison


def _shared_tokens(planned: PlannedConversion) -> Sequence[int]:
    """The ids whose rows are the same in source and result."""
    vocabulary = planned.plan.vocabulary
    if vocabulary is None:
        return range(planned.source.config.vocab_size)
    if vocabulary.size != vocabulary.size_before:
        logger.warning(
            "Vocab size mismatch: the source has %d tokens, the result %d; "
            "comparing the logits of the shared ones",
            vocabulary.size_before,
            vocabulary.size,
        )
    return vocabulary.untouched_rows


def _logits(model: Any, ids: list[int], shared: Sequence[int]) -> Any:
    """The logits of the shared tokens, ``[batch, sequence, tokens]``.

    The head's shared rows are applied apart: the last bits of a product may depend on the
    size of the matrix.
    """
    import torch
    from torch.nn.functional import linear

    with torch.no_grad():
        inputs = torch.tensor([ids], device=model.device)
        head = model.get_output_embeddings()
        if len(shared) == head.weight.shape[0]:
            return model(input_ids=inputs, use_cache=False).logits.cpu()
        hidden = model.base_model(input_ids=inputs, use_cache=False).last_hidden_state
        rows = torch.tensor(shared, device=model.device)
        return linear(hidden, head.weight[rows]).cpu()


def _compare(expected: Any, actual: Any) -> LogitComparison:
    import torch

    if expected.shape != actual.shape:
        return LogitComparison(False, float("inf"), expected.shape[1])
    are_equal = torch.equal(expected, actual)
    difference = 0.0
    if not are_equal:
        difference = (expected.double() - actual.double()).abs().max().item()
        # Two models that overflow in the same places agree.
        same = torch.equal(torch.nan_to_num(expected), torch.nan_to_num(actual))
        are_equal = same and torch.equal(expected.isnan(), actual.isnan())
    return LogitComparison(are_equal, difference, expected.shape[1])
