"""Converts a few layers of real width of each kind of model, generates, and converts back.

As a user would, on the command line. The results are compared: the tokens that both models
generate, and each file that comes back; of int4 weights, which come back dequantized, the weights.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from conversions import CONVERT
from metered_process import Usage, run
from safetensors.torch import load_file, save_file

VERIFY = (sys.executable, "-m", "forgather_convert", "verify", "-q")
GENERATE = """
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True, dtype="bfloat16")
ids = torch.arange(1, 17).unsqueeze(0)
print(model.generate(ids, do_sample=False, min_new_tokens=8, max_new_tokens=8).tolist())
"""
TITLES = ("model", "GB", "to Forgather, s", "MB", "back, s", "MB", "tokens", "what came back")
#: Weights that share a scale in int4.
_GROUP = 32


@dataclass(frozen=True)
class Case:
    """A model.

    Attributes:
        name: What it is a part of.
        config: Its config.
        architecture: Its class in transformers.
        prepare: Changes the directory after the model was saved.
        options: Options of ``forgather convert``.
    """

    name: str
    config: Callable[[], Any]
    architecture: str
    prepare: Callable[[Path], None] = lambda directory: None
    options: tuple[str, ...] = ()


def in_int4(directory: Path) -> None:
    """Packs the matrices of the layers as compressed-tensors does (``pack-quantized``)."""
    path = directory / "model.safetensors"
    state = {}
    for name, tensor in load_file(path).items():
        if ".layers." not in name or tensor.dim() != 2:
            state[name] = tensor
            continue
        rows, columns = tensor.shape
        groups = tensor.float().view(rows, -1, _GROUP)
        scales = (groups.abs().amax(-1, keepdim=True) / 7).to(torch.bfloat16)
        numbers = (groups / scales.float()).round().clamp(-8, 7).to(torch.int64) + 8
        places = torch.arange(0, 32, 4)
        words = (numbers.view(rows, -1, 8) << places).sum(-1)
        stem = name.removesuffix("weight")
        state[f"{stem}weight_packed"] = (words - ((words >> 31) << 32)).to(torch.int32)
        state[f"{stem}weight_scale"] = scales.squeeze(-1)
        state[f"{stem}weight_shape"] = torch.tensor([rows, columns])
    save_file(state, path, metadata={"format": "pt"})
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    weights = {
        "num_bits": 4,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": _GROUP,
        "dynamic": False,
    }
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": ["lm_head"],
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _gemma3() -> Any:
    text = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "num_hidden_layers": 6,
        "vocab_size": 262208,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }
    vision = {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 2,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 896,
    }
    return transformers.Gemma3Config(text_config=text, vision_config=vision)


def _llama() -> Any:
    return transformers.LlamaConfig(
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=4,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        tie_word_embeddings=True,
    )


CASES = (
    Case(
        "Qwen3 4B, 2 layers",
        lambda: transformers.Qwen3Config(
            hidden_size=2560,
            intermediate_size=9728,
            num_hidden_layers=2,
            num_attention_heads=32,
            num_key_value_heads=8,
            vocab_size=151936,
            tie_word_embeddings=True,
        ),
        "Qwen3ForCausalLM",
    ),
    Case(
        "Qwen3 30B-A3B, 2 layers (experts)",
        lambda: transformers.Qwen3MoeConfig(
            hidden_size=2048,
            moe_intermediate_size=768,
            num_experts=128,
            num_experts_per_tok=8,
            norm_topk_prob=True,
            num_hidden_layers=2,
            num_attention_heads=32,
            num_key_value_heads=4,
            head_dim=128,
            vocab_size=151936,
        ),
        "Qwen3MoeForCausalLM",
    ),
    Case(
        "Falcon-H1 7B, 2 layers (hybrid)",
        lambda: transformers.FalconH1Config(
            hidden_size=3072,
            intermediate_size=12288,
            num_hidden_layers=2,
            num_attention_heads=12,
            num_key_value_heads=2,
            head_dim=128,
            mamba_d_ssm=3072,
            mamba_n_heads=24,
            mamba_d_head=128,
            mamba_d_state=256,
            vocab_size=130048,
        ),
        "FalconH1ForCausalLM",
    ),
    Case("Gemma 3 4B, 6 and 2 layers (images)", _gemma3, "Gemma3ForConditionalGeneration"),
    Case("Llama 3.2 1B, 4 layers (int4)", _llama, "LlamaForCausalLM", in_int4, ("--dequantize",)),
)


def write(case: Case, directory: Path) -> None:
    """Writes a model with random weights in bfloat16."""
    torch.manual_seed(0)
    config = case.config()
    with torch.device("meta"):
        model = getattr(transformers, case.architecture)(config)
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float(name.endswith("norm.weight")), 0.02)
        for buffer in model.buffers():
            buffer.zero_()
    model.tie_weights()
    model.save_pretrained(directory, max_shard_size="100GB")
    case.prepare(directory)


def rows(room: Path) -> Iterator[tuple[str, ...]]:
    """A row of the table for each case."""
    for case in CASES:
        hf, fg, back = (room / case.name / side for side in ("hf", "fg", "back"))
        write(case, hf)
        gigabytes = sum(path.stat().st_size for path in hf.iterdir()) / 1e9
        there = run((*CONVERT, *case.options, hf, fg))
        again = run((*CONVERT, fg, back))
        original = back if case.options else hf
        same = _generated(original) == _generated(fg)
        command = (*VERIFY, fg, back) if case.options else ("diff", "-r", hf, back)
        is_back = subprocess.run([*map(str, command)], capture_output=True, check=False)
        result = "equal" if is_back.returncode == 0 else "DIFFERENT"
        yield (
            case.name,
            f"{gigabytes:.1f}",
            *_usage(there),
            *_usage(again),
            "equal" if same else "DIFFERENT",
            f"{result} weights" if case.options else f"{result} files",
        )
        shutil.rmtree(room / case.name)


def _generated(directory: Path) -> str:
    command = [sys.executable, "-c", GENERATE, str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _usage(usage: Usage) -> tuple[str, str]:
    return f"{usage.wall:.1f}", f"{usage.anonymous / 1e6:.0f}"
