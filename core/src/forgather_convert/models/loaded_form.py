"""The form that a model's weights have in memory, if it is not that of its checkpoints.

transformers 5 renames parameters when it loads a model, and combines several into one: all experts
of a layer become two parameters. ``save_pretrained`` reverses this, except with
``save_original_format=False``. What it does is found out by letting it reverse this for tensors
without values, which record how they are rearranged.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from forgather_convert.errors import UnsupportedModelError
from forgather_convert.models.saved_state import as_saved, loaded_state
from forgather_convert.tensors.expressions import Expression, Stored, leaves
from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.rearrangements import applied, inverted, template
from forgather_convert.tensors.text_names import TextNames

_DTYPE = "float32"
#: What to do about files in this form that cannot be converted.
SAVE_AGAIN = (
    "Save the model with save_pretrained and without save_original_format=False. A model that was "
    "loaded from such files is saved in the same form again: load its state_dict() into a new "
    "model of its class and config, and save that."
)


@dataclass(frozen=True)
class LoadedForm:
    """The tensors that differ between a model in memory and its checkpoints.

    Attributes:
        saved: Those of checkpoints, as rearrangements of those in memory.
        loaded: Those in memory, as rearrangements of those of checkpoints.
    """

    saved: Mapping[str, Expression]
    loaded: Mapping[str, Expression]

    def as_saved(self, tensors: Mapping[str, Expression]) -> dict[str, Expression]:
        """Tensors in the form of checkpoints, made of those in the form in memory.

        Others remain as they are.

        Raises:
            MappingError: A tensor has a wrong shape.
        """
        return _rearranged(tensors, self.saved)

    def as_loaded(self, tensors: Mapping[str, Expression]) -> dict[str, Expression]:
        """Tensors in the form in memory, made of those in the form of checkpoints.

        Others remain as they are.

        Raises:
            MappingError: A tensor has a wrong shape.
        """
        return _rearranged(tensors, self.loaded)

    def loaded_name(self, saved: str) -> str | None:
        """The name in memory of a tensor of a checkpoint; ``None`` if it is not only renamed."""
        value = self.saved.get(saved)
        if value is None:
            return saved
        return value.ref.name if isinstance(value, Stored) else None

    def is_only_saved(self, name: str) -> bool:
        """Whether only checkpoints have a tensor of that name."""
        return name in self.saved and name not in self.loaded

    def with_loaded_names(self, parameters: ModelParameters) -> ModelParameters:
        """A model's parameters, with those in memory beside those of checkpoints."""
        shapes = {name: value.shape for name, value in self.loaded.items()}
        return replace(parameters, shapes={**shapes, **parameters.shapes})


@dataclass(frozen=True)
class LoadedTensors:
    """The tensors of a model that are stored in the form that they have in memory.

    Attributes:
        form: The form.
        tensors: The tensors, by their names in memory.
    """

    form: LoadedForm
    tensors: Mapping[str, Expression]

    def in_state(self, state: Mapping[str, Expression]) -> dict[str, Expression]:
        """A model's weights as transformers loads them from these tensors.

        Args:
            state: The weights in the form of checkpoints. Those that have only other names in
                memory are kept.
        """
        kept = {name: state[name] for name in state if self.form.loaded_name(name) is not None}
        renamed = {self.form.loaded_name(name) for name in kept}
        others = {
            name: value
            for name, value in self.tensors.items()
            if name in self.form.loaded and name not in renamed
        }
        return {**kept, **others}


def loaded_form_of(model_class: Any, config: Any, is_composite: bool) -> LoadedForm:
    """Finds out in which form the installed transformers has a model in memory.

    Args:
        model_class: The model's class.
        config: Its config, which is not changed.
        is_composite: Whether only the text model is meant, by the text model's names.

    Raises:
        UnsupportedModelError: Its tensors are not only rearranged.
    """
    from forgather_convert.models.meta_device import on_meta_device
    from forgather_convert.models.traced_tensors import TracedTensor, rearrangement_of

    with on_meta_device():
        model = model_class(copy.deepcopy(config))
    state = {name: TracedTensor.of(name, each) for name, each in loaded_state(model).items()}
    made = {name: rearrangement_of(each) for name, each in as_saved(model, state).items()}
    if is_composite:
        saved_name, loaded_name = (_in_text_model(names) for names in (made, state))
        values = {
            name: template(new, _DTYPE, tuple(state[name].shape))
            for name in state
            if (new := loaded_name(name))
        }
        made = {
            new: value if value is None else applied(value, values)
            for name, value in made.items()
            if (new := saved_name(name))
        }
    opaque = [name for name, value in made.items() if value is None]
    if opaque:
        raise UnsupportedModelError(
            "transformers computes these tensors of checkpoints from those in memory, in a way "
            f"that cannot be reversed:{collapse_names(opaque)}\n{SAVE_AGAIN}"
        )
    saved = {
        name: value
        for name, value in made.items()
        if value is not None and not (isinstance(value, Stored) and value.ref.name == name)
    }
    return LoadedForm(saved, inverted(saved))


def _in_text_model(names: Iterable[str]) -> Callable[[str], str | None]:
    return TextNames.find(names, "the model in transformers").in_text_model


def _rearranged(
    tensors: Mapping[str, Expression], rearrangements: Mapping[str, Expression]
) -> dict[str, Expression]:
    made, used = {}, set()
    for name, value in rearrangements.items():
        sources = {ref.name for ref in leaves(value)}
        if sources <= tensors.keys():
            made[name] = applied(value, tensors)
            used |= sources
    return {**{name: tensors[name] for name in tensors if name not in used}, **made}
