"""The interfaces of source and target models."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.files import WriteFile
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.weight_mapping import WeightMapping

if TYPE_CHECKING:
    # Importing what reads provenance takes a while, and a refusal does not need it.
    from forgather_convert.models.carried_tensors import CarriedTensors
    from forgather_convert.models.original_weights import OriginalWeights
    from forgather_convert.models.side_file_rules import SideFileRules

#: Receives a sentence for the certificate.
Note = Callable[[str], None]


def ignore(_: str) -> None:
    """A ``Note`` for callers that write no certificate."""


@dataclass(frozen=True)
class PlanFacts:
    """Facts about the rest of the plan that a target's own files record.

    Attributes:
        carried: The names of the copied files.
        tensor_files: The names of the files with tensors that the model does not use.
        source_dtypes: The dtypes of the source's weights.
        dtypes: The dtypes of the target's weights.
    """

    carried: tuple[str, ...]
    tensor_files: tuple[str, ...]
    source_dtypes: frozenset[str]
    dtypes: frozenset[str]


@dataclass(frozen=True)
class TargetModel(ABC):
    """The model that a conversion writes.

    Attributes:
        hooks: The converter of the family.
        parameters: The parameters that its weights files must contain.
        mapping: The mapping from the source's tensor names to its own.
        config_object: Its Hugging Face config object, which tokenizers are loaded with.
        original: The original division of its weights into files, to be restored.
        side_files: Which files in the source's directory are not copied.
        carried: The tensors that are copied although the model does not use them.
    """

    hooks: FamilyHooks
    parameters: ModelParameters
    mapping: WeightMapping
    config_object: Any
    original: "OriginalWeights | None"
    side_files: "SideFileRules"
    carried: "CarriedTensors"

    @abstractmethod
    def files(self, written: PlanFacts) -> tuple[WriteFile, ...]:
        """The files that describe the model; ``config.json`` is last."""

    @property
    @abstractmethod
    def code_owner(self) -> str:
        """The code that runs when it is loaded, for the certificate."""

    @abstractmethod
    def load(self, directory: Path) -> Any:
        """Loads the written model from its own files, as a user would.

        The parameters stay in their files, in the dtype that they are stored in.
        """

    @abstractmethod
    def load_tensors(self, directory: Path, state: Mapping[str, Expression]) -> Any:
        """Loads the model from the expressions of its weights, before they are written."""


@dataclass(frozen=True)
class SourceModel(ABC):
    """The model that is converted, from its own directory alone.

    Attributes:
        hooks: The converter of the family.
        config: Its config, including the defaults of fields missing from the file.
        tensors: Its weights, by their current names.
        unread: Additional tensors in its files, which its model does not use.
        config_object: Its Hugging Face config object, which tokenizers are loaded with.
        directory: The directory of config and tokenizer.
        weights_directory: The directory of the weights.
    """

    hooks: FamilyHooks
    config: SourceConfig
    tensors: Mapping[str, Expression]
    unread: Mapping[str, Expression]
    config_object: Any
    directory: Path
    weights_directory: Path

    @property
    @abstractmethod
    def own_config(self) -> Any:
        """Its config object, of the class that loads its directory."""

    @property
    @abstractmethod
    def code_owner(self) -> str:
        """The code that runs when it is loaded, for the certificate."""

    @property
    def is_own_code(self) -> bool:
        """Whether that is the code that users of the model run."""
        return True

    @property
    def is_in_loaded_form(self) -> bool:
        """Whether its weights are stored as transformers has them in memory, unlike others."""
        return False

    @abstractmethod
    def parameters(self) -> ModelParameters:
        """The parameters in its checkpoints, from the model on the meta device.

        Raises:
            UnsupportedModelError: The model refuses its config.
        """

    def loaded_name(self, name: str) -> str:
        """The name that transformers has for a tensor in the checkpoints that it saves."""
        return name

    @abstractmethod
    def load(self, state: Mapping[str, Expression], note: Note = ignore) -> Any:
        """Loads the model from its own config, code and weights; see ``TargetModel.load``.

        Args:
            state: The weights by the names that the model expects, in case the installed
                transformers cannot find them by itself.
            note: Receives remarks on deviations from how a user would load it.
        """
