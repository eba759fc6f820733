"""What counts as equal logits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forgather_convert.logit_check import comparison
from forgather_convert.logit_check.comparison import compare, find_non_finite_weight
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.weights.checkpoint import find_weights, open_checkpoint

INF, NAN = float("inf"), float("nan")


def logits(*positions: list[float], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor([positions], dtype=dtype)


def test_equal_bits_are_equal() -> None:
    values = logits([1.0, -2.5], [0.0, 3.0])
    found = compare(values, values.clone())
    assert (found.are_equal, found.largest, found.num_positions) == (True, 0.0, 2)
    assert (found.num_undefined, found.num_logits) == (0, 4)


def test_one_unit_in_the_last_place_is_a_difference() -> None:
    values = logits([1.0, 2.0])
    other = values.clone()
    other[0, 0, 1] = torch.nextafter(other[0, 0, 1], torch.tensor(3.0))
    found = compare(values, other)
    assert not found.are_equal
    assert found.largest == 2.0**-22


def test_smallest_difference_is_one() -> None:
    smallest = torch.finfo(torch.float32).smallest_normal * torch.finfo(torch.float32).eps
    assert not compare(logits([0.0, 1.0]), logits([smallest, 1.0])).are_equal


def test_zeros_of_both_signs_are_the_same_number() -> None:
    assert compare(logits([0.0, 1.0]), logits([-0.0, 1.0])).are_equal


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_value_in_one_model_only_is_a_difference(value: float) -> None:
    for pair in [(value, 1.0), (1.0, value)]:
        found = compare(*(logits([one, 2.0]) for one in pair))
        assert (found.are_equal, found.largest, found.num_undefined) == (False, INF, 0)


def test_infinities_of_both_signs_differ() -> None:
    assert not compare(logits([INF, 1.0]), logits([-INF, 1.0])).are_equal


def test_tokens_that_are_never_wanted_are_compared() -> None:
    found = compare(logits([-INF, 1.0]), logits([-INF, 1.0]))
    assert (found.are_equal, found.num_undefined) == (True, 0)


def test_nan_on_both_sides_is_undefined_and_the_rest_is_compared() -> None:
    found = compare(logits([NAN, 1.0], [2.0, 3.0]), logits([NAN, 1.0], [2.0, 3.0]))
    assert (found.are_equal, found.num_undefined) == (True, 1)
    found = compare(logits([NAN, 1.0], [2.0, 3.0]), logits([NAN, 1.0], [2.0, 4.0]))
    assert (found.are_equal, found.largest) == (False, 1.0)


def test_position_without_any_number_is_undefined() -> None:
    """Two models that overflow agree there, whatever they are."""
    found = compare(logits([INF, INF], [1.0, 2.0]), logits([INF, INF], [1.0, 2.0]))
    assert (found.are_equal, found.num_undefined) == (True, 2)


def test_other_shapes_and_dtypes_differ() -> None:
    values = logits([1.0, 2.0])
    assert not compare(values, logits([1.0, 2.0, 3.0])).are_equal
    assert not compare(values, values.double()).are_equal


# Weights that are not numbers


def written(directory: Path, tensors: dict[str, torch.Tensor]) -> dict[str, Expression]:
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    files = find_weights(directory)
    assert files is not None
    return {name: stored(ref) for name, ref in open_checkpoint(files).tensors.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_weight_that_is_not_finite_is_named(
    value: float, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is in the last of several pieces."""
    monkeypatch.setattr(comparison, "PIECE_BYTES", 16)
    bad = torch.ones(3, 3, dtype=dtype)
    bad[2, 2] = value
    found = written(tmp_path, {"good": torch.ones(5, dtype=dtype), "bad": bad})
    assert find_non_finite_weight(found) == "bad"


def test_finite_weights_have_no_name(tmp_path: Path) -> None:
    tensors = {"a": torch.full((9,), 3e38), "empty": torch.ones(0, 3), "scalar": torch.tensor(1.0)}
    assert find_non_finite_weight(written(tmp_path, tensors)) is None


def test_weights_that_are_stored_by_columns_are_looked_at(tmp_path: Path) -> None:
    matrix = torch.ones(4, 3)
    matrix[1, 2] = NAN
    torch.save({"columns": matrix.T}, tmp_path / "pytorch_model.bin")
    files = find_weights(tmp_path)
    assert files is not None
    (ref,) = open_checkpoint(files).tensors.values()
    assert ref.stride is not None
    assert find_non_finite_weight({"columns": stored(ref)}) == "columns"
