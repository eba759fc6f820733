"""Tiny models of images and text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.testing import composites

_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_WHOLE = {
    "gemma3": {
        "vision_config": {**_TOWER, "model_type": "siglip_vision_model"},
        "mm_tokens_per_image": 4,
        "boi_token_index": 2,
        "eoi_token_index": 3,
        "image_token_index": 4,
    },
    "mistral3": {
        "vision_config": {**_TOWER, "model_type": "pixtral"},
        "image_token_index": 4,
    },
    "qwen2_5_vl": {
        "vision_config": {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "window_size": 28,
            "fullatt_block_indexes": [1],
            "model_type": "qwen2_5_vl",
        },
        "image_token_id": 2,
        "video_token_id": 3,
        "vision_start_token_id": 4,
        "vision_end_token_id": 1,
    },
    "llava": {
        "vision_config": {**_TOWER, "model_type": "clip_vision_model"},
        "image_token_index": 4,
        "image_seq_length": 4,
    },
}


def write_composite(directory: Path, model_type: str, **fields: Any) -> Path:
    """Writes a composite as transformers saves it, with files of a processor.

    Args:
        directory: The directory, which is created.
        model_type: The type.
        fields: Fields of the text model to change.
    """
    hooks = resolve_converter(model_type)
    text = {**next(iter(hooks.get_tiny_configs().values())), **fields}
    return composites.write_composite(directory, hooks, text, _WHOLE[model_type])


def rename_tensors(directory: Path, rename: Callable[[str], str]) -> None:
    """Gives the tensors of a directory other names."""
    path = directory / "model.safetensors"
    state = {rename(name): tensor for name, tensor in load_file(path).items()}
    save_file(state, path, metadata={"format": "pt"})
