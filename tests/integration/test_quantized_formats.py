"""Models in the published formats of quantized weights become what these stand for, bit for bit."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import (
    ConvertOptions,
    ForgatherConvertError,
    MappingError,
    SourceError,
    UnsupportedModelError,
    convert,
)
from forgather_convert.quantization.description import Quantization
from forgather_convert.quantization.formats import find_core_dequantizer
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.weights.safetensors_file import read_header
from support.command import forgather
from support.converting import read_config
from support.models import random_state, write_hf_model, write_weights
from support.quantized_formats import FORMATS, Format
from support.refusals import assert_refused
from support.round_trips import assert_equal_tensors
from support.variants import variant

#: On transformers 4, FP8 and MXFP4 of experts are converted.
pytestmark = pytest.mark.version_independent

LLAMA = variant("llama-default")
ATTENTION = "model.layers.0.self_attn."
QUERY = f"{ATTENTION}q_proj."
Values = dict[str, Callable[[torch.dtype], torch.Tensor]]


def quantized_state(form: Format) -> tuple[dict[str, torch.Tensor], Values]:
    """The tensors of a checkpoint, and the values of the model's."""
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    values: Values = {}
    for name, tensor in random_state(LLAMA, torch.bfloat16).items():
        if not name.endswith("_proj.weight"):
            state[name] = tensor
            values[name] = partial(_as_it_is, tensor)
            continue
        assert tensor.dim() == 2
        parts, values[name] = form.quantize((tensor.shape[0], tensor.shape[1]))
        state |= {name.removesuffix("weight") + end: part for end, part in parts.items()}
    state |= {ATTENTION + name: tensor for name, tensor in form.others.items()}
    return state, values


def _as_it_is(tensor: torch.Tensor, _: torch.dtype) -> torch.Tensor:
    return tensor


def write_quantized(
    directory: Path,
    form: Format,
    change: Callable[[dict[str, torch.Tensor]], None] = lambda state: None,
    config: Mapping[str, Any] | None = None,
) -> tuple[Path, Values]:
    state, values = quantized_state(form)
    change(state)
    fields: dict[str, Any] = {**LLAMA.config(), "dtype": "bfloat16"}
    if form.config is not None:
        fields["quantization_config"] = config or form.config
    write_hf_model(directory, LLAMA, state=state, config=fields)
    if form.side_file is not None:
        (directory / form.side_file[0]).write_text(json.dumps(form.side_file[1]))
    return directory, values


@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back(tmp_path: Path, name: str) -> None:
    """With the command and its checks; nothing of the format remains in either result."""
    form = FORMATS[name]
    source, values = write_quantized(tmp_path / "hf", form)
    fg, back = tmp_path / "fg", tmp_path / "back"
    refused = forgather("convert", source, fg)
    assert refused.returncode == 1
    assert "Use --dequantize" in refused.stderr
    there = forgather("convert", "--dequantize", source, fg)
    assert there.returncode == 0, there.stderr
    assert "Logits are identical" in there.stderr
    assert forgather("convert", fg, back).returncode == 0
    expected = {key: value(torch.bfloat16) for key, value in values.items()}
    assert_equal_tensors(load_file(back / "model.safetensors"), expected)
    before, config = read_config(source), read_config(back)
    before.pop("quantization_config", None)
    assert config == before
    if form.side_file is not None:
        assert not (fg / form.side_file[0]).exists()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float16"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_dtype_in_pieces_of_any_size(tmp_path: Path, name: str, dtype: str) -> None:
    state, values = quantized_state(FORMATS[name])
    write_weights(tmp_path, state)
    refs = {ref.name: ref for ref in read_header(tmp_path / "model.safetensors").tensors}
    dequantizer = find_core_dequantizer(description(FORMATS[name]))
    assert dequantizer is not None
    expressions = dequantizer.tensors(refs, dtype)
    assert expressions.keys() == values.keys()
    with Evaluator() as evaluator:
        for key, expression in expressions.items():
            target = getattr(torch, dtype)
            expected = values[key](target)
            assert torch.equal(evaluator.value(expression), expected)
            for limit in (3000, 20000):
                pieces = [*evaluator.pieces(expression, limit)]
                assert max(piece.nbytes for piece in pieces) <= limit
                flat = torch.cat([piece.reshape(-1) for piece in pieces])
                assert torch.equal(flat, expected.reshape(-1))


def description(form: Format) -> Quantization:
    fields = form.config
    if fields is None:
        assert form.side_file is not None
        name, content = form.side_file
        method = {"hf_quant_config.json": "modelopt", "quantize_config.json": "gptq"}
        fields = {"quant_method": method.get(name, "awq"), **content.get("quantization", content)}
    return Quantization(fields["quant_method"], fields, "config.json")


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("ct-")])
def test_the_values_are_those_of_compressed_tensors(name: str) -> None:
    """The formulas above are the library's own, where it is installed."""
    compressors = pytest.importorskip("compressed_tensors.compressors")
    quantization = pytest.importorskip("compressed_tensors.quantization")
    form = FORMATS[name]
    config = quantization.QuantizationConfig.model_validate(dict(form.config or {}))
    compressor = compressors.BaseCompressor.get_value_from_registry(config.format)
    torch.manual_seed(0)
    parts, value = form.quantize((64, 96))
    decompressed = compressor.decompress(parts, config.config_groups["group_0"])["weight"]
    assert torch.equal(decompressed.to(torch.bfloat16), value(torch.bfloat16))


class TestDamage:
    """What does not fit is refused, and named."""

    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("ct-int4", "weight_scale"),
            ("ct-int4", "weight_shape"),
            ("ct-int4", "weight_packed"),
            ("ct-nvfp4", "weight_scale"),
            ("modelopt-nvfp4", "weight_scale_2"),
            ("gptq", "scales"),
            ("gptq", "g_idx"),
            ("gptq", "qweight"),
            ("awq", "qzeros"),
        ],
    )
    def test_a_missing_part(self, tmp_path: Path, name: str, part: str) -> None:
        source, _ = write_quantized(
            tmp_path / "hf", FORMATS[name], lambda state: state.__delitem__(QUERY + part)
        )
        words = (source, f"'{QUERY}{part}', is missing")
        assert_refused(source, SourceError, *words, dequantize=True)

    @pytest.mark.parametrize(
        ("name", "part", "value", "error"),
        [
            ("ct-int4", "weight_shape", torch.tensor([64, 72]), MappingError),
            ("ct-int4", "weight_shape", torch.tensor([32, 64]), MappingError),
            ("ct-int4", "weight_shape", torch.tensor([64.0, 64.0]), SourceError),
            ("ct-int4", "weight_scale", torch.ones(64, 3, dtype=torch.bfloat16), MappingError),
            ("ct-int4", "weight_scale", torch.ones(64, 4, dtype=torch.uint8), MappingError),
            ("ct-int4-zeros", "weight_zero_point", torch.ones(64, 4).int(), MappingError),
            ("ct-int8", "weight_zero_point", torch.ones(64, 1), MappingError),
            ("ct-nvfp4", "weight_scale", torch.ones(64, 4), MappingError),
            ("ct-nvfp4", "weight_global_scale", torch.ones(2), MappingError),
            ("gptq", "g_idx", torch.zeros(60, dtype=torch.int32), MappingError),
            ("gptq", "g_idx", torch.zeros(64), MappingError),
            ("gptq", "scales", torch.ones(4), MappingError),
            ("gptq", "qzeros", torch.ones(4, 7).int(), MappingError),
            ("awq", "scales", torch.ones(4), MappingError),
            ("awq", "qweight", torch.ones(64, 8), MappingError),
        ],
    )
    def test_parts_that_do_not_fit(
        self,
        tmp_path: Path,
        name: str,
        part: str,
        value: torch.Tensor,
        error: type[ForgatherConvertError],
    ) -> None:
        source, _ = write_quantized(
            tmp_path / "hf", FORMATS[name], lambda state: state.update({QUERY + part: value})
        )
        assert_refused(source, error, source, QUERY, dequantize=True)

    @pytest.mark.parametrize("group", [-1, 4])
    def test_an_index_of_no_group(self, tmp_path: Path, group: int) -> None:
        def change(state: dict[str, torch.Tensor]) -> None:
            state[f"{QUERY}g_idx"][7] = group

        source, _ = write_quantized(tmp_path / "hf", FORMATS["gptq"], change)
        with pytest.raises(SourceError, match=r"q_proj\.g_idx.* has only 4 groups"):
            convert(source, tmp_path / "fg", ConvertOptions(dequantize=True, logit_check=False))
        assert not (tmp_path / "fg").exists()

    def test_a_damaged_side_file(self, tmp_path: Path) -> None:
        source, _ = write_quantized(tmp_path / "hf", FORMATS["modelopt-fp8"])
        (source / "hf_quant_config.json").write_text("{")
        assert_refused(source, SourceError, source / "hf_quant_config.json", dequantize=True)
        assert forgather("inspect", source).returncode == 0

    def test_a_side_file_of_another_algorithm(self, tmp_path: Path) -> None:
        source, _ = write_quantized(tmp_path / "hf", FORMATS["modelopt-fp8"])
        content = {"quantization": {"quant_algo": "W4A8_AWQ"}}
        (source / "hf_quant_config.json").write_text(json.dumps(content))
        words = (source / "hf_quant_config.json", "modelopt", "'W4A8_AWQ'", "unquantized")
        assert_refused(source, UnsupportedModelError, *words, dequantize=True)


def test_inspection_names_a_side_file(tmp_path: Path) -> None:
    source, _ = write_quantized(tmp_path / "hf", FORMATS["modelopt-fp8"])
    found = forgather("inspect", source)
    assert "modelopt" in found.stdout
    assert "hf_quant_config.json describes quantized weights (modelopt)" in found.stdout
    assert "no problems found" in forgather("inspect", "--dequantize", source).stdout


def test_a_side_file_of_a_model_that_is_not_quantized(tmp_path: Path) -> None:
    """Such as ModelOpt's with only the cache quantized: it is copied like any other file."""
    source = write_hf_model(tmp_path / "hf", LLAMA, "bfloat16")
    content = {"quantization": {"quant_algo": None, "kv_cache_quant_algo": "FP8"}}
    (source / "hf_quant_config.json").write_text(json.dumps(content))
    convert(source, tmp_path / "fg", ConvertOptions(logit_check=False))
    assert (tmp_path / "fg" / "hf_quant_config.json").exists()


def test_indices_of_compressed_tensors(tmp_path: Path) -> None:
    """Earlier versions of the library wrote the group of each column (``actorder``)."""
    form = FORMATS["ct-int4"]
    torch.manual_seed(0)
    parts, _ = form.quantize((8, 64))
    index = torch.randperm(64) // 16
    state = {f"x.{end}": part for end, part in parts.items()}
    state["x.weight_g_idx"] = index.to(torch.int32)
    write_weights(tmp_path, state)
    refs = {ref.name: ref for ref in read_header(tmp_path / "model.safetensors").tensors}
    dequantizer = find_core_dequantizer(description(form))
    assert dequantizer is not None
    words = parts["weight_packed"]
    numbers = torch.stack([words >> shift & 15 for shift in range(0, 32, 4)], -1).view(8, 64) - 8
    with Evaluator() as evaluator:
        actual = evaluator.value(dequantizer.tensors(refs, "bfloat16")["x.weight"])
    assert torch.equal(actual, numbers.bfloat16() * parts["weight_scale"][:, index])
