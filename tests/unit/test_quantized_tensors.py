"""Quantized tensors: the numbers are those of transformers' own dequantizers, bit for bit."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers
from packaging.version import Version
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from forgather_convert import MappingError
from forgather_convert.quantization.fp4 import mxfp4
from forgather_convert.tensors.byte_ranges import byte_ranges
from forgather_convert.tensors.dtypes import to_torch
from forgather_convert.tensors.evaluation import Evaluator, bytes_of
from forgather_convert.tensors.expressions import (
    BlockScaled,
    Cast,
    Concatenate,
    Expression,
    Permute,
    Reshape,
    Slice,
    Stored,
    describe,
    leaves,
    stacked,
)
from forgather_convert.tensors.tensor_ref import TensorRef

DTYPES = ("bfloat16", "float32", "float16")
needs_fp8_dequantizer = pytest.mark.skipif(
    Version(transformers.__version__).major < 5, reason="transformers 4 has no dequantizer for FP8"
)


class Files:
    """Writes tensors to a file, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"")

    def write(self, tensor: torch.Tensor) -> Stored:
        offset = self.path.stat().st_size
        with self.path.open("ab") as file:
            file.write(bytes_of(tensor))
        dtype = str(tensor.dtype).removeprefix("torch.")
        return Stored(TensorRef(f"t{offset}", dtype, tuple(tensor.shape), self.path, offset))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "data")


def all_fp8(shape: Sequence[int], dtype: torch.dtype = torch.float8_e4m3fn) -> torch.Tensor:
    """Every number of 8 bits that is finite, in a random order."""
    numbers = torch.arange(256, dtype=torch.uint8).view(dtype)
    numbers = numbers[numbers.float().isfinite()]
    chosen = torch.randint(len(numbers), tuple(shape))
    return numbers.view(torch.uint8)[chosen].view(dtype)


def extreme_scales(shape: Sequence[int]) -> torch.Tensor:
    """Scales from where products vanish to where they are infinite."""
    return torch.randn(tuple(shape)) * torch.exp2(torch.randint(-140, 127, tuple(shape)).float())


def expected_product(
    value: torch.Tensor, scales: torch.Tensor, block: tuple[int, int], dtype: str
) -> torch.Tensor:
    """DeepSeek's formula: each element by the scale of its block, in float32."""
    result = torch.empty(value.shape, dtype=to_torch(dtype))
    for row in range(0, value.shape[-2], block[0]):
        for column in range(0, value.shape[-1], block[1]):
            part = (..., slice(row, row + block[0]), slice(column, column + block[1]))
            scale = scales[..., row // block[0], column // block[1]].to(torch.float32)
            product = value[part].to(torch.float32) * scale[..., None, None]
            result[part] = product.to(result.dtype)
    return result


def assert_same_bits(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    assert bytes(bytes_of(actual.contiguous())) == bytes(bytes_of(expected.contiguous()))


def in_pieces(expression: Expression, limit: int) -> torch.Tensor:
    with Evaluator() as evaluator:
        pieces = list(evaluator.pieces(expression, limit))
    assert all(piece.numel() * 10 <= max(limit, 10) for piece in pieces)
    return torch.cat([piece.reshape(-1) for piece in pieces]).view(expression.shape)


@pytest.mark.version_independent
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "block"),
    [
        ((32, 48), (16, 16)),
        ((37, 53), (16, 16)),
        ((5, 3), (16, 16)),
        ((64, 31), (1, 32)),
        ((7, 129), (128, 128)),
        ((3, 18, 20), (8, 16)),
        ((24, 32), (16, 16)),
        ((9, 1), (9, 1)),
    ],
    ids=str,
)
def test_scaled_blocks(
    files: Files, shape: tuple[int, ...], block: tuple[int, int], dtype: str
) -> None:
    torch.manual_seed(0)
    value = all_fp8(shape)
    grid = (*shape[:-2], -(-shape[-2] // block[0]), -(-shape[-1] // block[1]))
    scales = extreme_scales(grid)
    expression = BlockScaled(files.write(value), files.write(scales), block, dtype)
    expected = expected_product(value, scales, block, dtype)
    assert expression.dtype == dtype
    with Evaluator() as evaluator:
        assert_same_bits(evaluator.value(expression), expected)
    for limit in (1, 100, 1000):
        assert_same_bits(in_pieces(expression, limit), expected)
    whole = shape[-2] % block[0] == 0 and shape[-1] % block[1] == 0
    assert expression.has_whole_blocks == whole
    assert byte_ranges(expression) is None


@pytest.mark.version_independent
def test_any_part_of_scaled_blocks(files: Files) -> None:
    random.seed(0)
    torch.manual_seed(0)
    value, scales = all_fp8((45, 70)), extreme_scales((3, 5))
    expression = BlockScaled(files.write(value), files.write(scales), (16, 16), "bfloat16")
    expected = expected_product(value, scales, (16, 16), "bfloat16")
    with Evaluator() as evaluator:
        for _ in range(60):
            row, column = random.randrange(46), random.randrange(71)
            height, width = random.randrange(46 - row), random.randrange(71 - column)
            part = Slice(Slice(expression, 0, row, height), 1, column, width)
            cut = expected[row : row + height, column : column + width]
            assert_same_bits(evaluator.value(part), cut)
            assert_same_bits(evaluator.value(Permute(part, (1, 0))), cut.T)
        both = Concatenate((expression, Reshape(Cast(expression, "bfloat16"), (45, 70))), 1)
        assert_same_bits(evaluator.value(both), torch.cat([expected, expected], dim=1))
        pair = stacked((expression, expression))
        assert_same_bits(evaluator.value(pair), torch.stack([expected, expected]))


@needs_fp8_dequantizer
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "scale_dtype", ["float32", "bfloat16", "float16", "float8_e8m0fnu", "uint8"]
)
@pytest.mark.parametrize("element_dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_scaled_blocks_are_those_of_transformers(
    files: Files, dtype: str, scale_dtype: str, element_dtype: str
) -> None:
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    torch.manual_seed(1)
    value = all_fp8((48, 80), to_torch(element_dtype))
    if scale_dtype in ("uint8", "float8_e8m0fnu"):
        scales = torch.randint(0, 255, (3, 5), dtype=torch.uint8)
        scales[0, 0] = 0
        scales = scales.view(to_torch(scale_dtype))
    else:
        scales = extreme_scales((3, 5)).to(to_torch(scale_dtype))
    expected = Fp8Dequantize(None)._dequantize_one(value, scales, to_torch(dtype))
    expression = BlockScaled(files.write(value), files.write(scales), (16, 16), dtype)
    with Evaluator() as evaluator:
        assert_same_bits(evaluator.value(expression), expected)
    assert_same_bits(in_pieces(expression, 300), expected)


@needs_fp8_dequantizer
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_a_number_stays_so(files: Files, dtype: str) -> None:
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    value = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).view(16, 16)
    scales = torch.tensor([[1.0, float("nan")], [float("inf"), 0.0]])
    expected = Fp8Dequantize(None)._dequantize_one(value, scales, to_torch(dtype))
    expression = BlockScaled(files.write(value), files.write(scales), (8, 8), dtype)
    assert value.isnan().any()
    with Evaluator() as evaluator:
        actual = evaluator.value(expression)
    assert torch.equal(actual.isnan(), expected.isnan())
    assert_same_bits(actual.nan_to_num(nan=7.0), expected.nan_to_num(nan=7.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 6, 3, 16), (1, 1, 1, 1), (3, 5, 7, 4)], ids=str)
def test_mxfp4_is_that_of_transformers(files: Files, shape: tuple[int, ...], dtype: str) -> None:
    torch.manual_seed(2)
    blocks = torch.randint(0, 256, shape, dtype=torch.uint8)
    scales = torch.randint(0, 255, shape[:-1], dtype=torch.uint8)
    scales.view(-1)[0] = 0
    expected = convert_moe_packed_tensors(blocks, scales, dtype=to_torch(dtype))
    expression = mxfp4(files.write(blocks), files.write(scales), dtype)
    transposed = Permute(expression, (0, 2, 1))
    assert transposed.shape == tuple(expected.shape)
    with Evaluator() as evaluator:
        assert_same_bits(evaluator.value(transposed), expected)
    for limit in (1, 100, 2000):
        assert_same_bits(in_pieces(transposed, limit), expected)
        assert_same_bits(in_pieces(expression, limit), expected.transpose(1, 2))


def test_every_number_and_every_exponent_of_mxfp4(files: Files) -> None:
    """The exponent 255 included, which the format calls NaN and transformers takes as infinite."""
    blocks = torch.arange(256, dtype=torch.uint8).repeat(256, 1).view(1, 256, 1, 256)
    scales = torch.arange(256, dtype=torch.uint8).view(1, 256, 1)
    for dtype in DTYPES:
        expected = convert_moe_packed_tensors(blocks, scales, dtype=to_torch(dtype))
        expression = mxfp4(files.write(blocks), files.write(scales), dtype)
        with Evaluator() as evaluator:
            actual = evaluator.value(Permute(expression, (0, 2, 1)))
        assert torch.equal(actual.isnan(), expected.isnan())
        assert_same_bits(actual.nan_to_num(nan=7.0), expected.nan_to_num(nan=7.0))


@pytest.mark.version_independent
def test_any_part_of_mxfp4(files: Files) -> None:
    random.seed(3)
    torch.manual_seed(3)
    blocks = torch.randint(0, 256, (9, 5, 4), dtype=torch.uint8)
    scales = torch.randint(100, 150, (9, 5), dtype=torch.uint8)
    expression = mxfp4(files.write(blocks), files.write(scales), "bfloat16")
    with Evaluator() as evaluator:
        whole = evaluator.value(expression)
        for _ in range(60):
            row, column = random.randrange(10), random.randrange(41)
            height, width = random.randrange(10 - row), random.randrange(41 - column)
            part = Slice(Slice(expression, 0, row, height), 1, column, width)
            assert_same_bits(
                evaluator.value(part), whole[row : row + height, column : column + width]
            )


@pytest.mark.version_independent
class TestChecks:
    """What is wrong is said when an expression is made."""

    def test_scales_of_another_shape(self, files: Files) -> None:
        value = files.write(all_fp8((32, 48)))
        for shape in ((3, 2), (2,), (1, 2, 3), (1, 1)):
            scales = files.write(torch.ones(shape))
            with pytest.raises(MappingError, match=r"scales of the shape \[2, 3\]"):
                BlockScaled(value, scales, (16, 16), "bfloat16")

    def test_elements_and_scales_of_other_types(self, files: Files) -> None:
        value, scales = files.write(all_fp8((16, 16))), files.write(torch.ones(1, 1))
        with pytest.raises(MappingError, match="stored as float32"):
            BlockScaled(files.write(torch.ones(16, 16)), scales, (16, 16), "bfloat16")
        wrong = files.write(torch.ones(1, 1, dtype=torch.int64))
        with pytest.raises(MappingError, match="stored as int64"):
            BlockScaled(value, wrong, (16, 16), "bfloat16")

    def test_no_matrix_and_no_block(self, files: Files) -> None:
        scales = files.write(torch.ones(1))
        with pytest.raises(MappingError, match="cannot be divided into blocks"):
            BlockScaled(files.write(all_fp8((16,))), scales, (16, 16), "bfloat16")
        with pytest.raises(MappingError, match="cannot be divided into blocks"):
            BlockScaled(files.write(all_fp8((16, 16))), scales, (0, 16), "bfloat16")

    def test_mxfp4_parts_that_do_not_fit(self, files: Files) -> None:
        blocks = files.write(torch.zeros(4, 3, 16, dtype=torch.uint8))
        with pytest.raises(MappingError, match=r"scales of the shape \[4, 3\]"):
            mxfp4(blocks, files.write(torch.zeros(3, 4, dtype=torch.uint8)), "bfloat16")
        with pytest.raises(MappingError, match="stored as float32"):
            mxfp4(blocks, files.write(torch.zeros(4, 3)), "bfloat16")

    def test_a_plan_says_what_is_done(self, files: Files) -> None:
        value, scales = files.write(all_fp8((16, 16))), files.write(torch.ones(1, 1))
        scaled = BlockScaled(value, scales, (16, 16), "bfloat16")
        assert describe(scaled) == "scale blocks of [16, 16] to bfloat16"
        assert leaves(scaled) == (value.ref, scales.ref)
        blocks = files.write(torch.zeros(4, 3, 16, dtype=torch.uint8))
        decoded = mxfp4(blocks, files.write(torch.zeros(4, 3, dtype=torch.uint8)), "float32")
        assert describe(decoded) == (
            "reshape to [4, 48], unpack 96 numbers of 4 bits in dimension 1, "
            "scale blocks of [1, 32] to float32"
        )
