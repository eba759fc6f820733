"""The names that a composite's checkpoint has for the tensors of its text model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from forgather_convert.errors import SourceError
from forgather_convert.tensors.names import enumerate_names

_PREFIX = "model."
_HEAD = "lm_head."
_EMBEDDING = "embed_tokens.weight"

Value = TypeVar("Value")


@dataclass(frozen=True)
class TextNames:
    """The names that a composite's checkpoint has for the tensors of its text model.

    Attributes:
        prefix: What the names have instead of the text model's ``model.``.
    """

    prefix: str

    @classmethod
    def find(cls, names: Iterable[str], origin: str) -> "TextNames":
        """Finds the names in a checkpoint, by that of the embedding.

        Raises:
            SourceError: It has no embedding of tokens, or several.
        """
        embeddings = sorted(name for name in names if f".{name}".endswith(f".{_EMBEDDING}"))
        if len(embeddings) != 1:
            problem = f"several: {enumerate_names(embeddings)}" if embeddings else "none"
            raise SourceError(
                f"A composite model must have one tensor *{_EMBEDDING}, the embedding of its text "
                f"model; {origin} has {problem}. Download the model again."
            )
        return cls(embeddings[0].removesuffix(_EMBEDDING))

    @property
    def _head(self) -> str:
        return self.prefix.removesuffix(_PREFIX) if f".{self.prefix}".endswith(".model.") else ""

    def in_text_model(self, name: str) -> str | None:
        """The text model's name for a tensor; ``None`` if the tensor is not part of it."""
        for own, other in ((self.prefix, _PREFIX), (f"{self._head}{_HEAD}", _HEAD)):
            if name.startswith(own):
                return other + name.removeprefix(own)
        return None

    def divide(self, values: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, Value]]:
        """Divides what a composite has for each of its tensors.

        Args:
            values: The values, by the composite's names.

        Returns:
            The text model's, by the text model's names; and the others, by their own.
        """
        text, others = {}, {}
        for name, value in values.items():
            own = self.in_text_model(name)
            if own is None:
                others[name] = value
            else:
                text[own] = value
        return text, others

    def in_composite(self, name: str) -> str:
        """The composite's name for a tensor, or a pattern, of its text model."""
        if name.startswith(_PREFIX):
            return self.prefix + name.removeprefix(_PREFIX)
        return self._head + name
