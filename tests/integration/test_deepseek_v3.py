"""DeepSeek-V3 as it is published: code of its own, a bias in float32, MTP layers, and FP8."""

from pathlib import Path
from typing import Any

import torch

from forgather_convert import ConvertOptions, convert
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import read_json, read_weights, write_json, write_model
from forgather_convert_deepseek.deepseek_v3 import DeepseekV3
from support.models import write_weights
from support.quantized_models import quantized
from support.round_trips import assert_equal_tensors

#: Fields that only the original code reads, or that are as old as version 4.
PUBLISHED: dict[str, Any] = {
    "auto_map": {
        "AutoConfig": "configuration_deepseek.DeepseekV3Config",
        "AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM",
    },
    "aux_loss_alpha": 0.001,
    "ep_size": 1,
    "moe_layer_freq": 1,
    "num_nextn_predict_layers": 1,
    "pretraining_tp": 1,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 4,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 32,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "scoring_func": "sigmoid",
    "seq_aux": True,
    "topk_method": "noaux_tc",
}
BLOCK = (16, 16)


def write_published(directory: Path) -> dict[str, torch.Tensor]:
    """Writes the model, in bfloat16, and gives its tensors."""
    converter = DeepseekV3()
    fields = {**converter.get_tiny_configs()["plain"], "attention_bias": False}
    write_model(directory, FamilyHooks(converter, "test"), fields, "bfloat16")
    config = read_json(directory / "config.json")
    del config["rope_parameters"]
    write_json(directory / "config.json", {**config, **PUBLISHED})
    state = read_weights(directory)
    for name in [name for name in state if name.endswith("e_score_correction_bias")]:
        # No number of bfloat16.
        state[name] = torch.linspace(0.1, 0.2, len(state[name]))
    for name in ("eh_proj", "shared_head.head", "self_attn.o_proj", "mlp.experts.0.up_proj"):
        state[f"model.layers.61.{name}.weight"] = torch.randn(32, 64).to(torch.bfloat16)
    (directory / "model.safetensors").unlink()
    write_weights(directory, state, shards=2)
    return state


def there_and_back(source: Path, options: ConvertOptions) -> Path:
    """With both logit checks."""
    directory, converter = source.parent, DeepseekV3()
    there = convert(source, directory / "fg", options, converter=converter)
    again = convert(directory / "fg", directory / "back", converter=converter)
    for result in (there, again):
        assert result.logits is not None
        assert result.logits.are_equal
    return directory / "back"


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    write_published(tmp_path / "hf")
    back = there_and_back(tmp_path / "hf", ConvertOptions())
    assert differences(tmp_path / "hf", back) == []


def test_it_comes_back_dequantized(tmp_path: Path) -> None:
    source = tmp_path / "hf"
    state = write_published(source)
    expected = dict(state)
    for name in [name for name in state if name.endswith("_proj.weight")]:
        numbers, scales = quantized(state[name], BLOCK)
        state.update({name: numbers, f"{name}_scale_inv": scales})
        rows, columns = numbers.shape
        factors = scales.repeat_interleave(BLOCK[0], 0)[:rows].repeat_interleave(BLOCK[1], 1)
        expected[name] = (numbers.float() * factors[:, :columns]).to(torch.bfloat16)
    write_weights(source, state, shards=2)
    config = read_json(source / "config.json")
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [*BLOCK]}
    write_json(source / "config.json", {**config, "quantization_config": quantization})
    back = there_and_back(source, ConvertOptions(dequantize=True))
    assert_equal_tensors(read_weights(back), expected)
