"""The tensors that ``save_pretrained`` writes for a model: names and shapes, without values.

transformers 5 loads some models in another form than they are stored in: it renames parameters,
and combines several into one (the experts of a layer). It reverses this when it saves them
(``transformers.core_model_loading``). Checkpoints have the saved form, which is also transformers
4's form in memory; so this is the form that a converter maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SavedState:
    """The tensors of a checkpoint of a model.

    Attributes:
        shapes: Their shapes, by their names in the checkpoint.
        names: The checkpoint names of the model's parameters and buffers, by their names in the
            model, except for those that have another form in the checkpoint.
        loaded_names: The names in the model.
    """

    shapes: Mapping[str, tuple[int, ...]]
    names: Mapping[str, str]
    loaded_names: frozenset[str]


def saved_state(model: Any) -> SavedState:
    """Finds out what ``save_pretrained`` would write for a model, without reading its values."""
    state = loaded_state(model)
    written = as_saved(model, state)
    # A tensor that is merely renamed remains the same object.
    names = {id(tensor): name for name, tensor in written.items()}
    shapes: dict[tuple[int, ...], tuple[int, ...]] = {}
    return SavedState(
        # Thousands of tensors have few shapes.
        shapes={
            name: shapes.setdefault(shape := tuple(tensor.shape), shape)
            for name, tensor in written.items()
        },
        names={name: names[id(tensor)] for name, tensor in state.items() if id(tensor) in names},
        loaded_names=frozenset(state),
    )


def loaded_state(model: Any) -> Mapping[str, "torch.Tensor"]:
    """The tensors of a model that are saved, by its own names, without values."""
    return {
        name: tensor.to("meta")
        for name, tensor in model.state_dict().items()
        if name not in (getattr(model, "_keys_to_ignore_on_save", None) or ())
    }


def as_saved(model: Any, state: Mapping[str, "torch.Tensor"]) -> Mapping[str, "torch.Tensor"]:
    """The tensors that ``save_pretrained`` writes for the state of a model."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:
        # transformers 4 saves the tensors that it has in memory.
        return state
    written: Mapping[str, torch.Tensor] = revert_weight_conversion(model, dict(state))
    return written
