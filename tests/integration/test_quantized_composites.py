"""Quantized models for images and text are converted to their dequantized values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgather_convert import ConvertOptions, convert
from forgather_convert.compare.verify import VerifyOptions, verify
from support.command import run_convert
from support.composites import write_composite
from support.converting import edit_config, read_config
from support.directories import differences
from support.quantized_formats import GROUP, ct_int, ct_packed
from support.quantized_models import quantized

pytestmark = pytest.mark.version_independent

_BLOCK = (16, 16)
_FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3"}
State = dict[str, torch.Tensor]


def _in_fp8(block: tuple[int, int] | None) -> Callable[[torch.Tensor], tuple[State, torch.Tensor]]:
    """Returns a function that quantizes a matrix to FP8: parts by suffix, dequantized value."""

    def quantize(tensor: torch.Tensor) -> tuple[State, torch.Tensor]:
        numbers, scales = quantized(tensor, block or (tensor.shape[0], tensor.shape[1]))
        rows, columns = (
            torch.arange(size) // step
            for size, step in zip(tensor.shape, block or tensor.shape, strict=True)
        )
        value = numbers.float() * scales[rows][:, columns]
        if block is None:
            scales = scales[0, 0]
        return {"weight": numbers, "weight_scale_inv": scales}, value.to(tensor.dtype)

    return quantize


def _in_int4(tensor: torch.Tensor) -> tuple[State, torch.Tensor]:
    rows, columns = tensor.shape
    parts, value = ct_packed(4, symmetric=True)((rows, columns))
    return parts, value(tensor.dtype)


def _quantize(
    directory: Path,
    quantize: Callable[[torch.Tensor], tuple[State, torch.Tensor]],
    is_quantized: Callable[[str], bool],
) -> State:
    """Quantizes some matrices of a directory; returns the weights as dequantizing gives them."""
    path = directory / "model.safetensors"
    stored: State = {}
    expected: State = {}
    for name, tensor in load_file(path).items():
        expected[name] = stored[name] = tensor
        if tensor.dim() == 2 and name.endswith("_proj.weight") and is_quantized(name):
            del stored[name]
            parts, expected[name] = quantize(tensor)
            stem = name.removesuffix("weight")
            stored |= {stem + end: part.contiguous() for end, part in parts.items()}
    assert stored.keys() != expected.keys()
    save_file(stored, path, metadata={"format": "pt"})
    return expected


def _is_of_text(name: str) -> bool:
    return "language_model" in name


def _is_any(_: str) -> bool:
    return True


def _in_text_config(directory: Path, described: dict[str, Any]) -> None:
    """As Kimi K2.5 is published."""
    text = {**read_config(directory)["text_config"], "quantization_config": described}
    edit_config(directory, text_config=text)


CASES: dict[str, Any] = {
    # As Qwen3-VL and Qwen3.5.
    "blocks": (
        "qwen3_vl",
        _in_fp8(_BLOCK),
        _is_of_text,
        lambda directory: edit_config(
            directory, quantization_config={**_FP8, "weight_block_size": [*_BLOCK]}
        ),
    ),
    # As Ministral 3 and Mistral Small, with one scale for a matrix.
    "whole-matrices-and-the-vision-tower": (
        "mistral3",
        _in_fp8(None),
        _is_any,
        lambda directory: edit_config(
            directory, quantization_config={**_FP8, "weight_block_size": None}
        ),
    ),
    "int4": (
        "gemma3",
        _in_int4,
        _is_of_text,
        lambda directory: _in_text_config(
            directory, ct_int("pack-quantized", 4, strategy="group", group_size=GROUP)
        ),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_there_and_back(tmp_path: Path, case: Any) -> None:
    """With all checks; all other files come back as they were."""
    model_type, quantize, is_quantized, describe = case
    plain = write_composite(tmp_path / "plain", model_type)
    hf = write_composite(tmp_path / "hf", model_type)
    expected = _quantize(hf, quantize, is_quantized)
    describe(hf)
    dequantizes = ConvertOptions(dequantize=True)
    there = convert(hf, tmp_path / "fg", dequantizes)
    assert there.logits is not None
    assert there.logits.are_equal
    run_convert(tmp_path / "fg", tmp_path / "back")
    actual = load_file(tmp_path / "back" / "model.safetensors")
    assert actual.keys() == expected.keys()
    assert [name for name in actual if not torch.equal(actual[name], expected[name])] == []
    assert read_config(tmp_path / "back") == read_config(plain)
    differing = differences(plain, tmp_path / "back")
    assert {*differing} <= {"differs: model.safetensors", "differs: config.json"}
    assert verify(hf, tmp_path / "fg", VerifyOptions(dequantize=True)).are_equal
