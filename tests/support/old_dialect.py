"""Writes Forgather models as the framework's own converter and trainer wrote them.

Their code is not written: a conversion must not need it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from support.models import write_weights

_EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"
OLD_EMBEDDING = "causal_lm.input_encoder.embedding.weight"
_HEAD = "lm_head.weight"

#: What such a config takes over from the model; the rest is the same in all of them.
_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "sliding_window",
    "vocab_size",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "attention_dropout",
)
_SETTINGS: dict[str, Any] = {
    "activation_dropout": 0.0,
    "embedding_dropout": 0.0,
    "layer_dropout": 0.0,
    "residual_dropout": 0.0,
    "enable_activation_checkpoint": False,
    "checkpoint_stride": 1,
    "compile_flex": True,
    "flex_attn_kernel_options": None,
    "code_generator": "meta",
    "transformers_version": "4.57.1",
}


@dataclass(frozen=True)
class OldDialect:
    """How a model is written.

    Attributes:
        name: What is special about it.
        weights: Where the weights are, relative to the model.
        weights_format: ``"pytorch"`` or ``"safetensors"``.
        shards: Into how many files they are divided.
        has_family: Whether the config has ``hf_model_type``.
        dtype_field: ``"dtype"`` or, in older ones, ``"torch_dtype"``.
        has_caches: Whether the checkpoint holds tables of the rotary embedding.
    """

    name: str
    weights: str = "."
    weights_format: str = "pytorch"
    shards: int = 2
    has_family: bool = True
    dtype_field: str = "dtype"
    has_caches: bool = False


def write_old_model(directory: Path, fg: Path, dialect: OldDialect) -> Path:
    """Writes a model of today as an old one; both compute the same."""
    directory.mkdir(parents=True)
    today = json.loads((fg / "config.json").read_text())
    family = today["hf_model_type"]
    config = {name: today[name] for name in _FIELDS if name in today}
    config |= {
        **_SETTINGS,
        "architectures": ["DynamicCasualLM"],
        "model_type": f"forgather-dynamic-causal-{family}",
        "auto_map": {
            "AutoConfig": f"{family}.DynamicCausalLMConfig",
            "AutoModel": f"{family}.DynamicCasualLM",
        },
        dialect.dtype_field: today["dtype"],
    }
    if dialect.has_family:
        config["hf_model_type"] = family
    is_tied = today["tie_word_embeddings"]
    if not is_tied:
        config["tie_word_embeddings"] = False
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in (f"{family}.py", "causal_rms_norm.py"):
        (directory / name).write_text("raise RuntimeError('not to be run')\n")
    generation = (fg / "generation_config.json").read_bytes()
    (directory / "generation_config.json").write_bytes(generation)
    (directory / "chat_template.jinja").write_text("{{ messages }}")

    weights = directory / dialect.weights
    weights.mkdir(parents=True, exist_ok=True)
    state = _old_state(load_file(fg / "model.safetensors"), is_tied, dialect.has_caches)
    write_weights(weights, state, dialect.shards, dialect.weights_format)
    if is_tied and dialect.shards > 1:
        _note_sharing(weights, dialect.weights_format)
    return directory


def _old_state(
    state: dict[str, torch.Tensor], is_tied: bool, has_caches: bool
) -> dict[str, torch.Tensor]:
    embedding = state.pop(_EMBEDDING)
    old = {OLD_EMBEDDING: embedding, **state}
    if is_tied:
        old[_HEAD] = embedding.clone()
    if has_caches:
        for name in ("cos_cached", "sin_cached"):
            old[f"causal_lm.positional_encoder.{name}"] = torch.rand(32, 16)
    return old


def _note_sharing(directory: Path, weights_format: str) -> None:
    stem = {"pytorch": "pytorch_model.bin", "safetensors": "model.safetensors"}[weights_format]
    path = directory / f"{stem}.index.json"
    index = json.loads(path.read_text())
    index["metadata"]["param_sharing"] = [[_HEAD, OLD_EMBEDDING]]
    if index["weight_map"][_HEAD] == index["weight_map"][OLD_EMBEDDING]:
        raise ValueError("The tied pair was to lie in two files.")
    path.write_text(json.dumps(index, indent=2) + "\n")
