"""Quantized checkpoints become the model that transformers' own dequantizer makes of them."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import (
    ConvertOptions,
    MappingError,
    SourceError,
    UnsupportedModelError,
    ValidationError,
    convert,
)
from forgather_convert.tensors import evaluation
from forgather_convert.tensors.quantized_numbers import scale_blocks
from support.command import forgather
from support.converting import edit_config, read_config
from support.models import TRANSFORMERS_MAJOR, hf_classes, write_hf_model
from support.quantized_models import fp8_state, write_fp8_model
from support.refusals import assert_command_refuses, assert_refused
from support.round_trips import assert_equal_tensors
from support.variants import Variant, variant

LLAMA = variant("llama-default")
QWEN3 = variant("qwen3-tied")
MISTRAL = variant("mistral-window")
#: Neither the hidden nor the intermediate size is a multiple of the block's.
CUT = Variant("llama", "cut", {"hidden_size": 72, "head_dim": 18, "intermediate_size": 88})
QUERY = "model.layers.0.self_attn.q_proj.weight"
DEQUANTIZE = ConvertOptions(dequantize=True)
needs_dequantizer = pytest.mark.skipif(
    TRANSFORMERS_MAJOR < 5, reason="transformers 4 does not dequantize FP8"
)


def expected_state(
    state: dict[str, torch.Tensor], block: tuple[int, int], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """DeepSeek's formula: the scale of its block times each number, in float32, rounded once."""
    result = {}
    for name, tensor in state.items():
        scales = state.get(f"{name}_scale_inv")
        if name.endswith("_scale_inv"):
            continue
        if scales is None:
            result[name] = tensor
            continue
        rows = scales.repeat_interleave(block[0], 0)[: tensor.shape[0]]
        factors = rows.repeat_interleave(block[1], 1)[:, : tensor.shape[1]]
        result[name] = (tensor.to(torch.float32) * factors).to(dtype)
    return result


def dequantized_by_transformers(directory: Path, family: str, dtype: torch.dtype) -> Any:
    from transformers import FineGrainedFP8Config

    _, model_class = hf_classes(family)
    block = read_config(directory)["quantization_config"]["weight_block_size"]
    config = FineGrainedFP8Config(dequantize=True, weight_block_size=block)
    return model_class.from_pretrained(directory, quantization_config=config, dtype=dtype)


@pytest.mark.version_independent
@pytest.mark.parametrize("model", [LLAMA, QWEN3, MISTRAL], ids=lambda model: model.family)
@pytest.mark.parametrize("dtype", [None, "float32", "float16"])
def test_there_and_back(tmp_path: Path, model: Variant, dtype: str | None) -> None:
    """With both logit checks; what comes back is the model that transformers dequantizes."""
    source = write_fp8_model(tmp_path / "hf", model, shards=2)
    fg, back = tmp_path / "fg", tmp_path / "back"
    there = convert(source, fg, ConvertOptions(dequantize=True, dtype=dtype))
    again = convert(fg, back)
    assert there.logits is not None
    assert there.logits.are_equal
    assert again.logits is not None
    actual = load_file(back / "model.safetensors")
    target = getattr(torch, dtype or "bfloat16")
    expected = expected_state(fp8_state(model, (16, 16)), (16, 16), target)
    if dtype is not None:
        expected = {name: tensor.to(target) for name, tensor in expected.items()}
    assert_equal_tensors(actual, expected)
    config = read_config(back)
    assert "quantization_config" not in config
    assert config["dtype"] == (dtype or "bfloat16")
    before = read_config(source)
    del before["quantization_config"]
    assert {**config, "dtype": "bfloat16"} == before
    for written in (fg, back):
        for path in written.glob("*.json"):
            assert "quantization_config" not in path.read_text()


@needs_dequantizer
@pytest.mark.parametrize("model", [LLAMA, QWEN3], ids=lambda model: model.family)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float16"])
def test_the_result_has_the_bits_that_transformers_gives(
    tmp_path: Path, model: Variant, dtype: str
) -> None:
    source = write_fp8_model(tmp_path / "hf", model)
    options = ConvertOptions(dequantize=True, dtype=dtype, logit_check=False)
    convert(source, tmp_path / "fg", options)
    convert(tmp_path / "fg", tmp_path / "back", ConvertOptions(logit_check=False))
    theirs = dequantized_by_transformers(source, model.family, getattr(torch, dtype))
    expected = dict(theirs.named_parameters())
    actual = load_file(tmp_path / "back" / "model.safetensors")
    assert_equal_tensors(actual, {name: value.detach() for name, value in expected.items()})


def test_the_check_does_not_take_this_tools_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong formula does not pass where transformers dequantizes; elsewhere the log says so."""
    source = write_fp8_model(tmp_path / "hf", LLAMA)

    def doubled(*arguments: Any) -> torch.Tensor:
        return 2 * scale_blocks(*arguments)

    monkeypatch.setattr(evaluation, "scale_blocks", doubled)
    with caplog.at_level(logging.WARNING):
        if TRANSFORMERS_MAJOR < 5:
            convert(source, tmp_path / "fg", DEQUANTIZE)
            assert (
                "the check compares names and code, but not the dequantized values" in caplog.text
            )
        else:
            with pytest.raises(ValidationError, match="dissimilar"):
                convert(source, tmp_path / "fg", DEQUANTIZE)
            assert "the check compares names and code" not in caplog.text


def test_blocks_that_are_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As DeepSeek-V3's 576 rows in blocks of 128, which transformers does not take."""
    source = write_fp8_model(tmp_path / "hf", CUT)
    with caplog.at_level(logging.WARNING):
        result = convert(source, tmp_path / "fg", DEQUANTIZE)
        convert(tmp_path / "fg", tmp_path / "back")
    assert result.logits is not None
    assert "21 quantized tensors cannot be divided into whole blocks" in caplog.text
    assert "the check compares names and code, but not the dequantized values" in caplog.text
    expected = expected_state(fp8_state(CUT, (16, 16)), (16, 16), torch.bfloat16)
    assert_equal_tensors(load_file(tmp_path / "back" / "model.safetensors"), expected)


@pytest.mark.version_independent
@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(torch.tensor(0.5), "float32"), (torch.tensor([0.5]), "bfloat16")],
    ids=["scalar", "one element"],
)
def test_one_scale_for_a_whole_tensor(tmp_path: Path, scale: torch.Tensor, dtype: str) -> None:
    """And scales of activations, which only a quantized model uses."""
    number_scale = scale.to(getattr(torch, dtype))

    def change(state: dict[str, torch.Tensor]) -> None:
        for name in [name for name in state if name.endswith("_scale_inv")]:
            state[name] = number_scale.clone()
            state[name.replace("weight_scale_inv", "activation_scale")] = number_scale.clone()

    quantization = {"weight_block_size": None, "activation_scheme": "static"}
    source = write_fp8_model(tmp_path / "hf", LLAMA, change=change, quantization=quantization)
    convert(source, tmp_path / "fg", DEQUANTIZE)
    convert(tmp_path / "fg", tmp_path / "back")
    query = fp8_state(LLAMA, (16, 16))[QUERY]
    actual = load_file(tmp_path / "back" / "model.safetensors")
    assert torch.equal(actual[QUERY], (query.float() * 0.5).to(torch.bfloat16))


@pytest.mark.version_independent
def test_modules_that_are_not_quantized(tmp_path: Path) -> None:
    plain = torch.full((64, 64), 0.25, dtype=torch.bfloat16)

    def change(state: dict[str, torch.Tensor]) -> None:
        state[QUERY] = plain
        del state[f"{QUERY}_scale_inv"]

    source = write_fp8_model(
        tmp_path / "hf",
        LLAMA,
        change=change,
        quantization={"modules_to_not_convert": ["model.layers.0.self_attn.q_proj", "lm_head"]},
    )
    convert(source, tmp_path / "fg", DEQUANTIZE)
    convert(tmp_path / "fg", tmp_path / "back")
    assert torch.equal(load_file(tmp_path / "back" / "model.safetensors")[QUERY], plain)


def test_the_command(tmp_path: Path) -> None:
    source = write_fp8_model(tmp_path / "hf", LLAMA)
    words = (source / "config.json", "quantized", "fp8", "--dequantize")
    assert_command_refuses(tmp_path, source, tmp_path / "fg", words=words)
    planned = forgather("convert", "--dequantize", "--dry-run", source, tmp_path / "fg")
    assert "scale blocks of [16, 16] to bfloat16" in planned.stdout
    there = forgather("convert", "--dequantize", source, tmp_path / "fg")
    assert there.returncode == 0, there.stderr
    assert "are quantized (fp8) and become bfloat16" in there.stderr
    assert "Logits are identical" in there.stderr
    back = forgather("convert", tmp_path / "fg", tmp_path / "back")
    assert back.returncode == 0, back.stderr
    assert "the result is the dequantized model" in back.stderr
    again = forgather("convert", tmp_path / "back", tmp_path / "again")
    assert again.returncode == 0, again.stderr


@pytest.mark.version_independent
def test_the_option_changes_nothing_where_nothing_is_quantized(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, "bfloat16")
    convert(source, tmp_path / "fg", DEQUANTIZE)
    convert(tmp_path / "fg", tmp_path / "back", DEQUANTIZE)
    assert {path.name: path.read_bytes() for path in source.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()
    }


@pytest.mark.version_independent
class TestRefusals:
    """What cannot be dequantized, and what is damaged."""

    @pytest.mark.parametrize(
        ("quantization", "method"),
        [
            ({"quant_method": "gptq", "bits": 3}, "gptq"),
            ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "'marlin'"),
            ({"quant_method": "gptq", "bits": 4, "pack_dtype": "int8"}, "'int8'"),
            ({"quant_method": "awq", "bits": 8}, "awq"),
            ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "'gemv'"),
            ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes"),
            ({"load_in_4bit": True}, "bitsandbytes"),
            ({"quant_method": "compressed-tensors", "format": "marlin-24"}, "'marlin-24'"),
            (
                {"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse"}},
                "stored as sparse",
            ),
            (
                {
                    "quant_method": "compressed-tensors",
                    "transform_config": {"config_groups": {"u": {}}},
                },
                "'transform_config'",
            ),
            (
                {
                    "quant_method": "compressed-tensors",
                    "format": "pack-quantized",
                    "config_groups": {"g": {"weights": {"num_bits": 3, "type": "int"}}},
                },
                "3 bits",
            ),
            ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, "'W4A16_AWQ'"),
            (
                {
                    "quant_method": "modelopt",
                    "quant_algo": "MIXED_PRECISION",
                    "quantized_layers": {"a": {"quant_algo": "FP8"}, "b": {"quant_algo": "W8A16"}},
                },
                "'W8A16'",
            ),
            ({"quant_method": "fp8", "expert_dtype": "fp4"}, "fp8"),
            ({"quant_method": ["fp8"]}, "fp8"),
            ("fp8", "unknown method"),
        ],
    )
    def test_other_methods(self, tmp_path: Path, quantization: Any, method: str) -> None:
        source = write_hf_model(tmp_path / "hf", LLAMA, "bfloat16")
        edit_config(source, quantization_config=quantization)
        words = (source / "config.json", "quantized", method, "unquantized")
        assert_refused(source, UnsupportedModelError, *words, dequantize=True)

    @pytest.mark.parametrize("block", [[16], [16, 0], [16, True], "16", 16, [16, 1.5], [1, 2, 3]])
    def test_no_block_size(self, tmp_path: Path, block: Any) -> None:
        source = write_fp8_model(tmp_path / "hf", LLAMA, quantization={"weight_block_size": block})
        words = (source / "config.json", "weight_block_size")
        assert_refused(source, SourceError, *words, dequantize=True)

    def test_missing_scale(self, tmp_path: Path) -> None:
        scale = f"{QUERY}_scale_inv"
        source = write_fp8_model(
            tmp_path / "hf", LLAMA, change=lambda state: state.__delitem__(scale)
        )
        assert_refused(
            source, SourceError, source, QUERY, f"'{scale}', is missing", dequantize=True
        )

    def test_scale_without_weight(self, tmp_path: Path) -> None:
        source = write_fp8_model(
            tmp_path / "hf", LLAMA, change=lambda state: state.__delitem__(QUERY)
        )
        words = (source, f"{QUERY}_scale_inv", f"'{QUERY}', is missing")
        assert_refused(source, SourceError, *words, dequantize=True)

    @pytest.mark.parametrize("shape", [(4, 3), (8, 2), (4,), (1, 1), (1, 4, 4)])
    def test_scales_of_another_shape(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        name = f"{QUERY}_scale_inv"
        source = write_fp8_model(
            tmp_path / "hf", LLAMA, change=lambda state: state.update({name: torch.ones(shape)})
        )
        words = (source, QUERY, "[4, 4]", str(list(shape)))
        assert_refused(source, MappingError, *words, dequantize=True)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
    def test_a_weight_with_a_scale_that_is_of_another_type(
        self, tmp_path: Path, dtype: torch.dtype
    ) -> None:
        def change(state: dict[str, torch.Tensor]) -> None:
            state[QUERY] = state[QUERY].float().to(dtype)

        source = write_fp8_model(tmp_path / "hf", LLAMA, change=change)
        words = (source, QUERY, str(dtype).removeprefix("torch."))
        assert_refused(source, MappingError, *words, dequantize=True)

    def test_a_scale_that_is_no_number(self, tmp_path: Path) -> None:
        name = f"{QUERY}_scale_inv"

        def change(state: dict[str, torch.Tensor]) -> None:
            state[name] = state[name].to(torch.int32)

        source = write_fp8_model(tmp_path / "hf", LLAMA, change=change)
        assert_refused(source, MappingError, source, name, "int32", dequantize=True)

    def test_weights_that_the_config_does_not_describe(self, tmp_path: Path) -> None:
        """They would be taken for what is stored, without the scales."""
        source = write_fp8_model(tmp_path / "hf", LLAMA)
        edit_config(source, ("quantization_config",))
        words = (source, "float8_e4m3fn", "unquantized")
        assert_refused(source, UnsupportedModelError, *words, dequantize=True)

    def test_a_forgather_model(self, tmp_path: Path) -> None:
        source = write_hf_model(tmp_path / "hf", LLAMA, "bfloat16")
        fg = tmp_path / "fg"
        convert(source, fg, ConvertOptions(logit_check=False))
        edit_config(fg, quantization_config={"quant_method": "fp8"})
        assert_refused(fg, UnsupportedModelError, fg / "config.json", "fp8", dequantize=True)


def test_the_provenance_does_not_promise_the_quantized_files(tmp_path: Path) -> None:
    source = write_fp8_model(tmp_path / "hf", LLAMA, shards=2)
    convert(source, tmp_path / "fg", ConvertOptions(dequantize=True, logit_check=False))
    provenance = json.loads((tmp_path / "fg" / "forgather_conversion.json").read_text())
    assert provenance["weights"] is None
    assert provenance["options"] == {"dequantize": True}
    assert "quantization_config" not in json.loads(provenance["hf_config"])
    assert provenance["dtypes"] == ["bfloat16"]


@pytest.mark.parametrize(
    ("quantization", "reason"),
    [
        ({"quant_method": "quip"}, "this method is not supported .supported: fp8, fbgemm_fp8, "),
        ({"expert_dtype": "fp4"}, "its experts are stored as 'fp4'"),
    ],
)
def test_formats_that_are_not_read_are_refused_for_that_reason(
    quantization: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    source = write_fp8_model(tmp_path / "hf", LLAMA, quantization=quantization)
    with pytest.raises(UnsupportedModelError, match=reason) as error:
        convert(source, tmp_path / "fg", DEQUANTIZE)
    assert "Use --dequantize" not in str(error.value)


def test_scales_of_another_format_are_named(tmp_path: Path) -> None:
    """They are not missing: to download the model again would not help."""

    def rename(state: dict[str, torch.Tensor]) -> None:
        for name in [name for name in state if name.endswith("_scale_inv")]:
            state[name.removesuffix("_inv")] = state.pop(name)

    source = write_fp8_model(tmp_path / "hf", LLAMA, change=rename)
    with pytest.raises(UnsupportedModelError, match="the config describes") as error:
        convert(source, tmp_path / "fg", DEQUANTIZE)
    assert ".weight_scale' as its scale" in str(error.value)
