"""Parses the names of an adapter's tensors.

PEFT names them after the module of the base model that they belong to; see
``get_peft_model_state_dict`` in its ``utils/save_and_load.py``.
"""

from dataclasses import dataclass
from enum import Enum

_PREFIX = "base_model.model."
_BASE_LAYER = ".base_layer"


class Part(Enum):
    """Which dimension of a module's weight corresponds to the first or last one of a tensor."""

    INPUTS = "inputs"
    OUTPUTS = "outputs"
    TOKENS = "tokens"
    PARAMETER = "parameter"


LORA_A, LORA_B = ".lora_A.weight", ".lora_B.weight"
EMBEDDING_A, EMBEDDING_B = ".lora_embedding_A", ".lora_embedding_B"
LORA_BIAS = ".lora_B.bias"
MAGNITUDE = ".lora_magnitude_vector"
ROWS_OF_TOKENS = ".token_adapter.trainable_tokens_delta"
#: The suffixes after the module's name for tensors that are not parameters of the base model.
_FORMS = {
    LORA_A: Part.INPUTS,
    LORA_B: Part.OUTPUTS,
    LORA_BIAS: Part.OUTPUTS,
    MAGNITUDE: Part.OUTPUTS,
    EMBEDDING_A: Part.TOKENS,
    EMBEDDING_B: Part.TOKENS,
    ROWS_OF_TOKENS: Part.TOKENS,
}


@dataclass(frozen=True)
class AdapterTensor:
    """A tensor of an adapter.

    Attributes:
        parameter: The parameter of the base model that it changes, or that it is.
        form: The part between the module's name and the parameter's own, or instead of it.
        part: The corresponding dimension of that parameter.
    """

    parameter: str
    form: str
    part: Part

    @property
    def module(self) -> str:
        """The module of the base model."""
        return module_of(self.parameter)

    def name_for(self, parameter: str) -> str:
        """The name of the same tensor for another parameter."""
        module, _, own = parameter.rpartition(".")
        end = f".{own}" if self.part is Part.PARAMETER else ""
        return f"{_PREFIX}{module}{self.form}{end}"


def parse_name(name: str) -> AdapterTensor | None:
    """Parses a tensor's name; ``None`` if it is not that of an adapter's tensor."""
    if not name.startswith(_PREFIX):
        return None
    own = name.removeprefix(_PREFIX)
    for form, part in _FORMS.items():
        if own.endswith(form):
            return AdapterTensor(f"{own.removesuffix(form)}.weight", form, part)
    module, _, last = own.rpartition(".")
    if module.endswith(_BASE_LAYER):
        return AdapterTensor(
            f"{module.removesuffix(_BASE_LAYER)}.{last}", _BASE_LAYER, Part.PARAMETER
        )
    return AdapterTensor(own, "", Part.PARAMETER)


def module_of(parameter: str) -> str:
    """The name of the module that contains a parameter."""
    return parameter.rpartition(".")[0]
