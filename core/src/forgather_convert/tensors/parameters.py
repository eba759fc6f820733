"""The parameters in a model's checkpoints, as a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from forgather_convert.tensors.text_names import TextNames


@dataclass(frozen=True)
class ModelParameters:
    """The names and shapes of a model's parameters in its checkpoints.

    Attributes:
        shapes: Every parameter that a checkpoint must have.
        tied: The second names of tied parameters, with the first names.
        vocabulary_tensors: The parameters with a row for every token.
        base_prefix: The prefix, without the dot, that names have in a checkpoint with a head but
            not in one of the base model; empty if there is no difference.
        unread: Patterns of the names of additional tensors in a checkpoint that the model does not
            read.
        loaded_names: The names of the parameters in memory. Some have other names in checkpoints,
            or consist of several tensors there.
        kept_in_float32: For each dtype that a model may be loaded in, the parameters that stay in
            float32.
        text_names: The names that transformers has for these parameters in a composite; ``None``
            if the model is none.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, str]
    vocabulary_tensors: tuple[str, ...]
    base_prefix: str = ""
    unread: re.Pattern[str] | None = None
    loaded_names: frozenset[str] = frozenset()
    kept_in_float32: Mapping[str, frozenset[str]] = field(default_factory=dict)
    text_names: TextNames | None = None

    def __contains__(self, name: object) -> bool:
        return name in self.shapes or name in self.tied

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter, also by its second name."""
        return self.shapes[self.tied.get(name, name)]

    def current_name(self, stored: str) -> str:
        """The parameter with a name in a checkpoint; the name itself if there is none.

        Checkpoints of the base model and of the model with a head name the same parameters
        with and without a prefix; both kinds are loaded into both.
        """
        if stored in self or not self.base_prefix:
            return stored
        other = self._other_name(stored)
        return other if other in self else stored

    def has_loaded_name(self, stored: str) -> bool:
        """Whether a tensor in a checkpoint has a name that only parameters in memory have."""
        names = {stored, self._other_name(stored)} if self.base_prefix else {stored}
        return self.current_name(stored) not in self and not names.isdisjoint(self.loaded_names)

    def _other_name(self, stored: str) -> str:
        """The name with the prefix of the base model, or without it."""
        prefix = f"{self.base_prefix}."
        return stored.removeprefix(prefix) if stored.startswith(prefix) else prefix + stored

    def loaded_name(self, name: str) -> str:
        """A parameter's name in the checkpoints that transformers saves."""
        return name if self.text_names is None else self.text_names.in_composite(name)

    def is_unread(self, stored: str) -> bool:
        """Whether the model does not read a tensor in a checkpoint."""
        if self.unread is None or self.current_name(stored) in self:
            return False
        return any(self.unread.search(name) for name in (stored, f"{self.base_prefix}.{stored}"))

    def dtype_in_cast(self, name: str, stored: str, dtype: str) -> str:
        """The dtype of a parameter when the model is cast."""
        is_kept = stored != dtype and name in self.kept_in_float32.get(dtype, ())
        return "float32" if is_kept else dtype

    def of_text_model(self) -> "ModelParameters":
        """The parameters of a composite's text model, by the text model's names."""
        names, loaded_names = (
            TextNames.find(names, "the model in transformers")
            for names in (self.shapes, self.loaded_names)
        )

        def renamed(name: str) -> str:
            return names.in_text_model(name) or name

        text = {name: new for name in self.shapes if (new := names.in_text_model(name))}
        return ModelParameters(
            shapes={new: self.shapes[name] for name, new in text.items()},
            tied={renamed(second): renamed(first) for second, first in self.tied.items()},
            vocabulary_tensors=tuple(map(renamed, self.vocabulary_tensors)),
            unread=self.unread,
            loaded_names=frozenset(
                new for name in self.loaded_names if (new := loaded_names.in_text_model(name))
            ),
            kept_in_float32={
                dtype: frozenset(text[name] for name in kept & text.keys())
                for dtype, kept in self.kept_in_float32.items()
            },
            text_names=names,
        )

    def with_vocabulary(self, size: int) -> "ModelParameters":
        """The parameters of the same model with another number of tokens."""
        resized = {name: (size, *self.shapes[name][1:]) for name in self.vocabulary_tensors}
        return replace(self, shapes={**self.shapes, **resized})
