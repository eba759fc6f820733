"""The parameters that a model's checkpoint holds, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ModelParameters:
    """The names and shapes of a model's parameters.

    Attributes:
        shapes: Every parameter that a checkpoint must have.
        tied: Parameters that are another one under a second name, and the other one.
        vocabulary_matrices: The parameters with a row for every token.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, str]
    vocabulary_matrices: tuple[str, ...]

    def __contains__(self, name: str) -> bool:
        return name in self.shapes or name in self.tied

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter, also by a second name."""
        return self.shapes[self.tied.get(name, name)]

    def with_vocabulary(self, size: int) -> "ModelParameters":
        """The same model with another number of tokens."""
        resized = {name: (size, *self.shapes[name][1:]) for name in self.vocabulary_matrices}
        return replace(self, shapes={**self.shapes, **resized})
