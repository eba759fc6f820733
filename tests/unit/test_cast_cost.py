"""What a cast costs, as numbers."""

import math

import pytest
import torch

from forgather_convert.logit_check.alignment import layer_numbers
from forgather_convert.logit_check.cast_cost import logit_statistics
from forgather_convert.tensors.dtypes import lossy_cast_from

pytestmark = pytest.mark.version_independent

INF = float("inf")


def logits(*positions: list[float]) -> list[torch.Tensor]:
    """The logits of one run."""
    return [torch.tensor([positions])]


def test_the_statistics_are_what_their_names_say() -> None:
    """Two positions over two tokens; the numbers are from the formulas."""
    found = logit_statistics(logits([0.0, 0.0], [1.0, 3.0]), logits([math.log(3), 0.0], [3.0, 1.0]))
    assert found is not None
    divergences = [
        0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75),
        2.0 * math.tanh(1.0),
    ]
    assert found.num_positions == 2
    assert found.num_same_choice == 1
    assert found.max_difference == 2.0
    assert found.mean_difference == pytest.approx((math.log(3) + 4.0) / 4)
    assert found.mean_divergence == pytest.approx(sum(divergences) / 2)
    assert found.max_divergence == pytest.approx(max(divergences))


def test_nothing_differs_from_itself() -> None:
    values = [torch.randn(1, 7, 50), torch.randn(1, 3, 50)]
    found = logit_statistics(values, values)
    assert found is not None
    assert (found.max_difference, found.max_divergence) == (0.0, 0.0)
    assert found.num_same_choice == found.num_positions == 10


def test_tokens_that_are_never_wanted_and_positions_that_are_no_numbers() -> None:
    one = logits([1.0, -INF, 2.0], [1.0, 2.0, float("nan")], [-INF, -INF, -INF])
    found = logit_statistics(one, one)
    assert found is not None
    assert (found.num_positions, found.mean_divergence) == (1, 0.0)
    assert logit_statistics(logits([INF, 0.0]), logits([INF, 0.0])) is None
    excluded = logit_statistics(logits([1.0, 2.0]), logits([1.0, -INF]))
    assert excluded is not None
    assert excluded.max_divergence == INF


@pytest.mark.parametrize(
    ("stored", "dtype", "expected"),
    [
        ({"float32"}, "bfloat16", "float32"),
        ({"float32"}, "float32", None),
        ({"bfloat16"}, "float32", None),
        ({"bfloat16", "float32"}, "float32", None),
        ({"bfloat16"}, "float16", "bfloat16"),
        ({"bfloat16", "float16"}, "float16", "float32"),
        ({"float64", "bfloat16"}, "float32", "float64"),
    ],
)
def test_which_casts_lose_something(stored: set[str], dtype: str, expected: str | None) -> None:
    assert lossy_cast_from(stored, dtype) == expected


def test_experts_are_no_layers() -> None:
    names = ["model.layers", "model.layers.1", "model.layers.1.mlp.experts.0", "model.norm"]
    assert layer_numbers(names) == {"model.layers.1": 1}
