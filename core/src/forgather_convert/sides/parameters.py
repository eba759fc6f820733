"""The parameters that a model expects, from the model itself without its memory."""

from collections.abc import Callable
from typing import Any

from forgather_convert.errors import UnsupportedModelError
from forgather_convert.tensors.parameters import ModelParameters


def parameters_of(build: Callable[[], Any]) -> ModelParameters:
    """Builds a model on the meta device and reads its parameters.

    Raises:
        UnsupportedModelError: The model refuses its config.
    """
    import torch

    try:
        with torch.device("meta"):
            model = build()
    except Exception as error:
        raise UnsupportedModelError(
            f"The model cannot be built from its config: {type(error).__name__}: {error}. "
            "Correct the config, or install another version of transformers."
        ) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = {module: name for name, module in model.named_modules()}
    embedding = f"{names[model.get_input_embeddings()]}.weight"
    head = f"{names[model.get_output_embeddings()]}.weight"
    is_tied = getattr(model.config, "tie_word_embeddings", False)
    tied = {head: embedding} if is_tied else {}
    return ModelParameters(
        shapes={name: shapes[name] for name in shapes if name not in tied},
        tied=tied,
        vocabulary_matrices=(embedding,) if is_tied else (embedding, head),
    )
