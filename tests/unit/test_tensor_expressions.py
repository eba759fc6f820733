"""The algebra of tensors: checked when made, computed in pieces, copied where it can be."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import MappingError, SourceError
from forgather_convert.tensors.byte_ranges import byte_ranges
from forgather_convert.tensors.evaluation import Evaluator, bytes_of, have_equal_bits
from forgather_convert.tensors.expressions import (
    Cast,
    Concatenate,
    Constant,
    Expression,
    Permute,
    Reshape,
    ResizeRows,
    Slice,
    Stored,
    cast,
    leaves,
    stacked,
    stored,
)
from forgather_convert.tensors.row_init import RowInit
from forgather_convert.tensors.tensor_ref import TensorRef

pytestmark = pytest.mark.version_independent

Pair = tuple[Expression, torch.Tensor]


class Files:
    """Writes random tensors to a file, one after the other."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.generator = torch.Generator().manual_seed(seed)
        path.write_bytes(b"")

    def write(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Pair:
        tensor = torch.randn(shape, generator=self.generator).to(dtype)
        offset = self.path.stat().st_size
        with self.path.open("ab") as file:
            file.write(bytes_of(tensor))
        ref = TensorRef(f"t{offset}", str(dtype).removeprefix("torch."), shape, self.path, offset)
        return Stored(ref), tensor


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "tensors", seed=0)


def computed(expression: Expression, limit: int) -> torch.Tensor:
    with Evaluator() as evaluator:
        pieces = [piece.reshape(-1) for piece in evaluator.pieces(expression, limit)]
    flat = torch.cat(pieces) if pieces else torch.empty(0)
    return flat.to(getattr(torch, expression.dtype)).reshape(expression.shape)


def copied(expression: Expression) -> bytes | None:
    ranges = byte_ranges(expression)
    if ranges is None:
        return None
    return b"".join(part.file.read_bytes()[part.offset : part.end] for part in ranges)


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


# Random compositions


def random_step(value: Pair, files: Files, choose: random.Random) -> Pair:
    """One more operation, done by the algebra and by torch."""
    expression, tensor = value
    rank = tensor.ndim
    dim = choose.randrange(rank)
    match choose.choice(["slice", "join", "permute", "reshape", "stack", "cast", "flatten"]):
        case "slice":
            start = choose.randrange(tensor.shape[dim])
            length = choose.randint(1, tensor.shape[dim] - start)
            return Slice(expression, dim, start, length), tensor.narrow(dim, start, length)
        case "join":
            sizes = list(tensor.shape)
            sizes[dim] = choose.randint(1, 3)
            other, other_tensor = files.write(tuple(sizes), tensor.dtype)
            return (
                Concatenate((expression, other), dim),
                torch.cat([tensor, other_tensor], dim),
            )
        case "permute":
            dims = tuple(choose.sample(range(rank), rank))
            return Permute(expression, dims), tensor.permute(dims)
        case "reshape" if tensor.shape[dim] % 2 == 0:
            shape = (*tensor.shape[:dim], 2, tensor.shape[dim] // 2, *tensor.shape[dim + 1 :])
            return Reshape(expression, shape), tensor.reshape(shape)
        case "stack" if tensor.numel() < 500:
            return stacked([expression, expression]), torch.stack([tensor, tensor])
        case "cast":
            dtype = choose.choice(["float32", "bfloat16"])
            return cast(expression, dtype), tensor.to(getattr(torch, dtype))
        case "flatten" if rank > 1:
            merged = tensor.shape[dim - 1] * tensor.shape[dim] if dim else 0
            if not dim:
                return value
            shape = (*tensor.shape[: dim - 1], merged, *tensor.shape[dim + 1 :])
            return Reshape(expression, shape), tensor.reshape(shape)
    return value


@pytest.mark.parametrize("seed", range(150))
def test_any_composition_is_what_torch_computes(seed: int, tmp_path: Path) -> None:
    """In pieces of any size; and a copy wherever the algebra says that it is one."""
    choose = random.Random(seed)
    files = Files(tmp_path / "tensors", seed)
    value = files.write(tuple(choose.randint(1, 6) for _ in range(choose.randint(1, 3))))
    for _ in range(choose.randint(1, 6)):
        value = random_step(value, files, choose)
    expression, expected = value
    assert (expression.shape, expression.dtype) == (
        tuple(expected.shape),
        str(expected.dtype).removeprefix("torch."),
    )
    for limit in (4, 64, 1 << 20):
        assert same(computed(expression, limit), expected)
    data = copied(expression)
    assert data is None or data == bytes(bytes_of(expected.contiguous()))


def test_copies_are_found(files: Files) -> None:
    """The rows of a matrix, joined, stacked and with other dimensions, need no computing."""
    (one, a), (other, b) = files.write((4, 6)), files.write((4, 6))
    cases: list[Pair] = [
        (Slice(one, 0, 1, 2), a[1:3]),
        (Concatenate((one, other), 0), torch.cat([a, b])),
        (stacked([other, one]), torch.stack([b, a])),
        (Reshape(Slice(stacked([one, other]), 0, 1, 1), (4, 6)), b),
        (Slice(Reshape(one, (1, 4, 6)), 1, 2, 2), a[None, 2:]),
        (Permute(Reshape(one, (4, 1, 6)), (1, 0, 2)), a[None]),
    ]
    for expression, expected in cases:
        assert copied(expression) == bytes(bytes_of(expected.contiguous()))
    assert len(byte_ranges(Concatenate((one, other), 0)) or ()) == 1


def test_what_moves_elements_is_no_copy(files: Files) -> None:
    one, _ = files.write((4, 6))
    for expression in (
        Slice(one, 1, 0, 2),
        Permute(one, (1, 0)),
        Concatenate((one, one), 1),
        Cast(one, "bfloat16"),
        Constant("float32", (1,), b"\0" * 4),
    ):
        assert byte_ranges(expression) is None


def test_a_transposed_view_of_a_file_is_a_permutation(files: Files) -> None:
    expression, tensor = files.write((4, 6))
    (ref,) = leaves(expression)
    view = stored(replace(ref, shape=(6, 4), stride=(1, 6)))
    assert isinstance(view, Permute)
    assert same(computed(view, 16), tensor.T)


def test_a_view_with_gaps_is_read_where_its_elements_are(files: Files) -> None:
    expression, tensor = files.write((4, 6))
    (ref,) = leaves(expression)
    view = stored(replace(ref, shape=(4, 3), stride=(6, 2)))
    assert byte_ranges(view) is None
    assert same(computed(view, 16), tensor[:, ::2])


# Vocabulary matrices


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("limit", [16, 1 << 20])
def test_rows_are_kept_and_set(files: Files, dtype: str, limit: int) -> None:
    """Also of a matrix that is itself computed; averages are rounded once."""
    expression, tensor = files.write((3, 8))
    rows = {
        1: RowInit("zero"),
        8: RowInit("mean"),
        9: RowInit("rows", (2,)),
        10: RowInit("rows", (0, 3)),
    }
    resized = ResizeRows(Permute(expression, (1, 0)), 11, 6, rows, dtype)
    matrix, target = tensor.T, getattr(torch, dtype)
    expected = torch.zeros(11, 3, dtype=target)
    expected[:8] = matrix.to(target)
    expected[1] = 0
    expected[8] = matrix[:6].mean(0).to(target)
    expected[9] = matrix[2].to(target)
    expected[10] = matrix[[0, 3]].mean(0).to(target)
    assert same(computed(resized, limit), expected)


# What cannot be made


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a, b, c: Concatenate((a, b), 0), r"\[4, 6\].*\[4, 5\]"),
        (lambda a, b, c: Concatenate((a, Reshape(a, (24,))), 0), "other dimensions differ"),
        (lambda a, b, c: Concatenate((a, c), 0), "bfloat16 and float32"),
        (lambda a, b, c: stacked([a, b]), "differ"),
        (lambda a, b, c: Concatenate((), 0), "nothing to concatenate"),
        (lambda a, b, c: Concatenate((a, a), 2), "dimension 2"),
        (lambda a, b, c: Slice(a, 0, 3, 2), "3 to 5"),
        (lambda a, b, c: Slice(a, 2, 0, 1), "dimension 2"),
        (lambda a, b, c: Slice(a, 0, -1, 2), "-1"),
        (lambda a, b, c: Permute(a, (0, 0)), "order"),
        (lambda a, b, c: Permute(a, (0, 1, 2)), "order"),
        (lambda a, b, c: Reshape(a, (5, 5)), r"\[5, 5\]"),
        (lambda a, b, c: Reshape(a, (-4, -6)), r"\[-4, -6\]"),
        (lambda a, b, c: Constant("float32", (2,), b"\0" * 7), "7 bytes"),
        (lambda a, b, c: ResizeRows(a, 3, 3, {}, "float32"), "4 rows"),
        (lambda a, b, c: ResizeRows(a, 5, 4, {}, "float32"), "matrix of 5"),
        (lambda a, b, c: ResizeRows(a, 4, 4, {9: RowInit("zero")}, "float32"), "lacks rows"),
        (lambda a, b, c: ResizeRows(a, 4, 4, {0: RowInit("rows", (4,))}, "float32"), "lacks rows"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_made(
    make: Callable[..., Any], message: str, files: Files
) -> None:
    a, b = files.write((4, 6))[0], files.write((4, 5))[0]
    c = files.write((4, 6), torch.bfloat16)[0]
    with pytest.raises(MappingError, match=message):
        make(a, b, c)


# Files that change


def test_a_file_that_became_shorter_is_an_error(files: Files) -> None:
    """Not a signal that ends the process, as it would be for a mapped file."""
    expression, _ = files.write((64, 64))
    files.path.write_bytes(files.path.read_bytes()[:5000])
    with pytest.raises(SourceError, match="ended while it was read"):
        computed(Cast(expression, "bfloat16"), 1 << 20)


def test_equality_is_of_bits(files: Files, tmp_path: Path) -> None:
    """Not-a-numbers are equal if their bits are, and the two zeros are not."""
    one, tensor = files.write((3, 3))
    other = Files(tmp_path / "other", seed=0).write((3, 3))[0]
    assert have_equal_bits(one, other)
    assert not have_equal_bits(one, Permute(other, (1, 0)))
    assert not have_equal_bits(one, Reshape(other, (9,)))
    nan = Constant("float32", (2,), bytes(bytes_of(torch.tensor([float("nan"), 0.0]))))
    assert have_equal_bits(nan, nan)
    negative = Constant("float32", (2,), bytes(bytes_of(torch.tensor([float("nan"), -0.0]))))
    assert not have_equal_bits(nan, negative)
    assert tensor.shape == (3, 3)
