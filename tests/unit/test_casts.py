"""Casts have the bits that torch gives, and what becomes infinite is counted."""

from itertools import permutations
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forgather_convert.tensors.casts import cast_tensor, num_overflows
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.tensors.expressions import cast, stored
from forgather_convert.weights.safetensors_file import read_header

pytestmark = pytest.mark.version_independent

_ALL_16_BITS = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)


@pytest.mark.parametrize(("old", "new"), permutations([torch.bfloat16, torch.float16]))
def test_every_number_of_16_bits(old: torch.dtype, new: torch.dtype) -> None:
    numbers = _ALL_16_BITS.view(old)
    expected = numbers.to(new).view(torch.int16)
    assert torch.equal(cast_tensor(numbers, new).view(torch.int16), expected)


@pytest.mark.parametrize(
    ("numbers", "old", "new", "count"),
    [
        ([1e30, -7e4, 65280.0, 65536.0, 0.0], torch.bfloat16, torch.float16, 3),
        ([65519.0, 65520.0, -65520.0], torch.float32, torch.float16, 2),
        ([float("inf"), float("-inf"), 1.0], torch.bfloat16, torch.float16, 0),
        ([float("nan"), 1e30], torch.float32, torch.float16, 1),
        ([3.4e38], torch.float32, torch.bfloat16, 1),
        ([1e300, 1.0], torch.float64, torch.float32, 1),
        ([1e30], torch.bfloat16, torch.float32, 0),
        ([], torch.bfloat16, torch.float16, 0),
    ],
)
def test_overflows(numbers: list[float], old: torch.dtype, new: torch.dtype, count: int) -> None:
    before = torch.tensor(numbers, dtype=torch.float64).to(old)
    assert num_overflows(before, cast_tensor(before, new)) == count


def test_overflows_of_an_expression(tmp_path: Path) -> None:
    """They are counted over all of its pieces."""
    values = torch.full((100, 3), 1e6, dtype=torch.bfloat16)
    values[0] = 1.0
    save_file({"weight": values}, tmp_path / "model.safetensors")
    [ref] = read_header(tmp_path / "model.safetensors").tensors
    with Evaluator() as evaluator:
        pieces = [*evaluator.pieces(cast(stored(ref), "float16"), limit=32)]
        assert evaluator.num_overflows == 99 * 3
    assert len(pieces) > 10
