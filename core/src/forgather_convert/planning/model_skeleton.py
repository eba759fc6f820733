"""The parameters that a model expects, from the model itself without its memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.errors import UnsupportedModelError


@dataclass(frozen=True)
class ModelSkeleton:
    """The names and shapes of a model's parameters.

    Attributes:
        shapes: Every parameter that a checkpoint must have.
        tied: Parameters that are another one under a second name, and the other one.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, str]


def skeleton_of(build: Callable[[], Any]) -> ModelSkeleton:
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
            f"The model cannot be built from its config: {type(error).__name__}: {error}"
        ) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = {}
    if getattr(model.config, "tie_word_embeddings", False):
        names = {module: name for name, module in model.named_modules()}
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        tied[f"{names[head]}.weight"] = f"{names[embedding]}.weight"
    return ModelSkeleton({name: shapes[name] for name in shapes if name not in tied}, tied)
