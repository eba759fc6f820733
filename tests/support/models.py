"""Writes tiny models to disk and loads them with transformers."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from support.variants import PROMPT_LENGTH, VOCAB_SIZE, Variant

TRANSFORMERS_MAJOR = int(transformers.__version__.split(".")[0])

_CLASSES = {"llama": "Llama", "mistral": "Mistral", "qwen3": "Qwen3"}


def hf_classes(family: str) -> tuple[type[Any], type[Any]]:
    """The config and the model class of a family in transformers."""
    stem = _CLASSES[family]
    return getattr(transformers, f"{stem}Config"), getattr(transformers, f"{stem}ForCausalLM")


def random_state(variant: Variant, dtype: torch.dtype, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights for a variant by Hugging Face's names, the tied head left out."""
    config_class, model_class = hf_classes(variant.family)
    fields = variant.config()
    with torch.device("meta"):
        model = model_class(config_class(**fields))
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and fields["tie_word_embeddings"]:
            continue
        center = 1.0 if "norm" in name else 0.0
        values = torch.randn(tensor.shape, generator=generator) * 0.3 + center
        state[name] = values.to(dtype)
    return state


def write_hf_model(
    directory: Path,
    variant: Variant,
    dtype: str = "float32",
    schema: str = "both",
    shards: int = 1,
    weights_format: str = "safetensors",
    state: dict[str, torch.Tensor] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """Writes a Hugging Face model directory, without a tokenizer.

    Args:
        directory: Where; it is created.
        variant: The model.
        dtype: The dtype of weights and config.
        schema: The RoPE schema: ``"4"``, ``"5"`` or ``"both"``.
        shards: Into how many files the weights are divided.
        weights_format: ``"safetensors"`` or ``"pytorch"``.
        state: Weights to use instead of random ones.
        config: Content of ``config.json`` to use instead of the variant's.
    """
    directory.mkdir(parents=True)
    if config is None:
        config = {**variant.config(schema), "dtype": dtype}
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": 0}
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    if state is None:
        state = random_state(variant, getattr(torch, dtype))
    write_weights(directory, state, shards, weights_format)
    return directory


def write_weights(
    directory: Path,
    state: dict[str, torch.Tensor],
    shards: int = 1,
    weights_format: str = "safetensors",
) -> None:
    """Writes weights as transformers does, into one file or several with an index."""
    stem, suffix = {
        "safetensors": ("model", "safetensors"),
        "pytorch": ("pytorch_model", "bin"),
    }[weights_format]

    def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if weights_format == "safetensors":
            save_file(tensors, path, metadata={"format": "pt"})
        else:
            torch.save(tensors, path)

    if shards == 1:
        save(state, directory / f"{stem}.{suffix}")
        return
    names = list(state)
    weight_map = {}
    for number in range(shards):
        own = names[number::shards]
        file_name = f"{stem}-{number + 1:05d}-of-{shards:05d}.{suffix}"
        save({name: state[name] for name in own}, directory / file_name)
        weight_map.update(dict.fromkeys(own, file_name))
    total = sum(tensor.nbytes for tensor in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    path = directory / f"{stem}.{suffix}.index.json"
    path.write_text(json.dumps(index, indent=2) + "\n")


def load_hf(directory: Path, family: str, **kwargs: Any) -> Any:
    """Loads a Hugging Face directory with its built-in class."""
    _, model_class = hf_classes(family)
    return model_class.from_pretrained(directory, local_files_only=True, **kwargs).eval()


def load_forgather(directory: Path, **kwargs: Any) -> Any:
    """Loads a Forgather directory as its users do."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        directory, trust_remote_code=True, local_files_only=True, **kwargs
    ).eval()


def prompt(batch: int = 2, length: int = PROMPT_LENGTH, seed: int = 1) -> torch.Tensor:
    """Random token ids, ``[batch, length]``, without special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, VOCAB_SIZE, (batch, length), generator=generator)


def padding_mask(ids: torch.Tensor, padding: int = 5) -> torch.Tensor:
    """A mask that leaves out the first tokens of the first row."""
    mask = torch.ones_like(ids)
    mask[0, :padding] = 0
    return mask
