"""Forgather models with checkpoints that can be told apart."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from support.converting import convert_unchecked
from support.models import write_weights

_FINAL_NORM = "causal_lm.layer_stack.layer_norm.weight"


class Checkpoints:
    """A Forgather model whose checkpoints differ in one value, by which they are told apart.

    Attributes:
        fg: The model's directory.
        own: The value that the model itself has.
    """

    def __init__(self, fg: Path) -> None:
        self.fg = fg
        self._state = {
            name: tensor.clone() for name, tensor in load_file(fg / "model.safetensors").items()
        }
        self.own = float(self._state[_FINAL_NORM][0])

    def add(self, name: str, value: float) -> Path:
        """Adds a checkpoint whose final norm has the given value."""
        directory = self.fg / name
        directory.mkdir(parents=True)
        norm = torch.full_like(self._state[_FINAL_NORM], value)
        write_weights(directory, {**self._state, _FINAL_NORM: norm})
        return directory

    def converted(self, destination: Path, **options: Any) -> float:
        """Converts the model and gives the value that the result has."""
        convert_unchecked(self.fg, destination, **options)
        return float(load_file(destination / "model.safetensors")["model.norm.weight"][0])
