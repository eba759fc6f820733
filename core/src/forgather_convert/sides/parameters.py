"""The parameters that a model expects, from the model itself without its memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from forgather_convert.errors import UnsupportedModelError


@dataclass(frozen=True)
class ModelSkeleton:
    """The names and shapes of a model's parameters.

    Attributes:
        shapes: Every parameter that a checkpoint must have.
        tied: Parameters that are another one under a second name, and the other one.
        vocabulary_matrices: The parameters with a row for every token.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, str]
    vocabulary_matrices: tuple[str, ...]

    def with_vocabulary(self, size: int) -> "ModelSkeleton":
        """The same model with another number of tokens."""
        resized = {name: (size, *self.shapes[name][1:]) for name in self.vocabulary_matrices}
        return replace(self, shapes={**self.shapes, **resized})


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
    names = {module: name for name, module in model.named_modules()}
    embedding = f"{names[model.get_input_embeddings()]}.weight"
    head = f"{names[model.get_output_embeddings()]}.weight"
    is_tied = getattr(model.config, "tie_word_embeddings", False)
    tied = {head: embedding} if is_tied else {}
    return ModelSkeleton(
        shapes={name: shapes[name] for name in shapes if name not in tied},
        tied=tied,
        vocabulary_matrices=(embedding,) if is_tied else (embedding, head),
    )
