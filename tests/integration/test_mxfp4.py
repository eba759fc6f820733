"""MXFP4 checkpoints, such as GPT-OSS's: the tensors that transformers' dequantizer makes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from forgather_convert import ConvertOptions, MappingError, SourceError, convert
from forgather_convert.models.dequantized_loading import load_dequantized
from forgather_convert.models.loading import StoredModel
from forgather_convert.models.merged_parameters import materializer
from forgather_convert.models.parameters import parameters_of
from forgather_convert.source.detection import Detection, detect
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.tensors.expressions import Expression
from forgather_convert_gpt.gpt_oss import GptOss
from support.converting import read_config
from support.models import TRANSFORMERS_MAJOR, write_weights
from support.round_trips import assert_equal_tensors

FIELDS = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_local_experts": 3,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
}
GATE_UP = "model.layers.0.mlp.experts.gate_up_proj"
GROUP = 32


def gpt_oss_state() -> dict[str, torch.Tensor]:
    """Random weights by the names of the published checkpoints."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = transformers.GptOssForCausalLM(transformers.GptOssConfig(**FIELDS))
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            experts, inner, outer = tensor.shape
            groups = (experts, outer, inner // GROUP)
            state[f"{name}_blocks"] = torch.randint(
                0, 256, (*groups, GROUP // 2), dtype=torch.uint8
            )
            state[f"{name}_scales"] = torch.randint(110, 130, groups, dtype=torch.uint8)
        else:
            state[name] = torch.randn(tensor.shape).to(torch.bfloat16)
    return state


def write_gpt_oss(directory: Path, state: dict[str, torch.Tensor]) -> Path:
    directory.mkdir()
    config = {
        "model_type": "gpt_oss",
        "architectures": ["GptOssForCausalLM"],
        "dtype": "bfloat16",
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
        **FIELDS,
    }
    (directory / "config.json").write_text(json.dumps(config))
    write_weights(directory, state, shards=2)
    return directory


def detected(source: Path, dtype: str | None = None) -> Detection:
    return detect(source, ConvertOptions(dequantize=True, dtype=dtype))


def expressions(detection: Detection) -> dict[str, Expression]:
    assert detection.dequantizer is not None
    tensors = detection.checkpoint.tensors
    return dict(detection.dequantizer.tensors(tensors, detection.dtype))


def parameters(model: Any) -> dict[str, torch.Tensor]:
    values = {}
    for name, parameter in model.named_parameters():
        make = materializer(parameter)
        values[name] = parameter.detach() if make is None else make().detach()
    return values


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float16"])
def test_the_tensors_are_those_that_transformers_loads(tmp_path: Path, dtype: str) -> None:
    source = write_gpt_oss(tmp_path / "hf", gpt_oss_state())
    model = transformers.GptOssForCausalLM.from_pretrained(
        source,
        quantization_config=transformers.Mxfp4Config(dequantize=True),
        dtype=getattr(torch, dtype),
    )
    with Evaluator() as evaluator:
        ours = {
            name: evaluator.value(value).to(getattr(torch, dtype))
            for name, value in expressions(detected(source, dtype)).items()
        }
    assert ours[GATE_UP].shape == (3, 64, 192)
    # transformers 4 makes the experts in bfloat16, whatever is asked for.
    theirs = {name: value.to(getattr(torch, dtype)) for name, value in parameters(model).items()}
    assert_equal_tensors(ours, theirs)


def test_the_check_loads_what_transformers_makes(tmp_path: Path) -> None:
    source = write_gpt_oss(tmp_path / "hf", gpt_oss_state())
    detection = detected(source)
    assert detection.dequantizer is not None
    state = expressions(detection)
    config = transformers.GptOssConfig.from_dict(dict(detection.config))
    stored_model = StoredModel(
        transformers.GptOssForCausalLM,
        config,
        source,
        state,
        lambda: parameters_of(lambda: transformers.GptOssForCausalLM(config)),
        stored_tensors=detection.checkpoint.tensors,
    )
    model = load_dequantized(stored_model, detection.dequantizer)
    with Evaluator() as evaluator:
        ours = {name: evaluator.value(value) for name, value in state.items()}
    assert_equal_tensors(ours, parameters(model))
    # They are made when they are used: no memory holds all of them.
    assert materializer(model.get_parameter(GATE_UP)) is not None


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_there_and_back(
    tmp_path: Path, dtype: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """With both logit checks; what comes back is the model that transformers dequantizes."""
    source, back = write_gpt_oss(tmp_path / "hf", gpt_oss_state()), tmp_path / "back"
    converter = GptOss()
    options = ConvertOptions(dequantize=True, dtype=dtype)
    there = convert(source, tmp_path / "fg", options, converter=converter)
    again = convert(tmp_path / "fg", back, converter=converter)
    assert there.logits is not None
    assert there.logits.are_equal
    assert again.logits is not None
    assert again.logits.are_equal
    # Where transformers dequantizes one tensor at a time, the check takes its numbers.
    assert ("the check compares names and code" in caplog.text) is (TRANSFORMERS_MAJOR < 5)
    # Of what transformers gives, in bfloat16 whatever it is asked for.
    model = transformers.GptOssForCausalLM.from_pretrained(
        source, quantization_config=transformers.Mxfp4Config(dequantize=True), dtype="bfloat16"
    )
    target = getattr(torch, dtype or "bfloat16")
    # Norms stay in float32 where the model is loaded in float16.
    expected = {
        name: value.to(torch.float32 if dtype is not None and "norm" in name else target)
        for name, value in parameters(model).items()
    }
    assert_equal_tensors(load_file(back / "model.safetensors"), expected)
    before, config = read_config(source), read_config(back)
    del before["quantization_config"]
    assert {name: config[name] for name in before} == {**before, "dtype": dtype or "bfloat16"}
    assert "quantization_config" not in config


@pytest.mark.parametrize(("missing", "other"), [("scales", "blocks"), ("blocks", "scales")])
def test_a_missing_part_is_named(tmp_path: Path, missing: str, other: str) -> None:
    state = gpt_oss_state()
    del state[f"{GATE_UP}_{missing}"]
    detection = detected(write_gpt_oss(tmp_path / "hf", state))
    with pytest.raises(SourceError, match=f"{GATE_UP}_{other}.*'{GATE_UP}_{missing}', is missing"):
        expressions(detection)


def test_parts_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = gpt_oss_state()
    state[f"{GATE_UP}_scales"] = state[f"{GATE_UP}_scales"][:, 1:].contiguous()
    detection = detected(write_gpt_oss(tmp_path / "hf", state))
    with pytest.raises(MappingError, match=r"scales of the shape \[3, 192, 2\]"):
        expressions(detection)


def test_blocks_that_are_no_experts(tmp_path: Path) -> None:
    state = gpt_oss_state()
    for part in ("blocks", "scales"):
        state[f"{GATE_UP}_{part}"] = state[f"{GATE_UP}_{part}"][0].contiguous()
    detection = detected(write_gpt_oss(tmp_path / "hf", state))
    with pytest.raises(SourceError, match="four dimensions"):
        expressions(detection)
