"""What the two kinds of model have in common: a source that is read, a destination to write."""

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
    # What reads provenance takes a while to be imported; a refusal does not need it.
    from forgather_convert.models.carried_tensors import CarriedTensors
    from forgather_convert.models.original_weights import OriginalWeights
    from forgather_convert.models.side_file_rules import SideFileRules

#: Is told a sentence for the certificate.
Note = Callable[[str], None]


def ignore(_: str) -> None:
    """A ``Note`` for those who write no certificate."""


@dataclass(frozen=True)
class PlanFacts:
    """What a destination's own files record of the rest of the plan.

    Attributes:
        carried: The names of the files that are copied.
        tensor_files: The names of the files with tensors that the model does not use.
        source_dtypes: The types that the source's weights are stored as.
        dtypes: The types that the destination's weights are stored as.
    """

    carried: tuple[str, ...]
    tensor_files: tuple[str, ...]
    source_dtypes: frozenset[str]
    dtypes: frozenset[str]


@dataclass(frozen=True)
class TargetModel(ABC):
    """The model that a conversion writes.

    Attributes:
        hooks: The family.
        parameters: What its weights files must hold.
        mapping: From the source's tensor names to its own.
        config_object: Its config, as transformers has it; tokenizers are loaded with it.
        original: The division into files that its weights once had, to be given back.
        side_files: Which of the files in the source's directory are not copied.
        carried: The tensors that come along though the model does not use them.
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
        """The files that describe the model; ``config.json`` is the last."""

    @property
    @abstractmethod
    def code_owner(self) -> str:
        """Whose code runs when it is loaded, for the certificate."""

    @abstractmethod
    def load(self, directory: Path) -> Any:
        """Loads the written model from its own files, as a user would.

        The parameters keep the dtype that they are stored in, and stay in their files.
        """

    @abstractmethod
    def load_tensors(self, directory: Path, state: Mapping[str, Expression]) -> Any:
        """Loads the model from what its weights are made of, before they are written.

        Args:
            directory: Where that is, for messages.
            state: The weights, by their names.
        """


@dataclass(frozen=True)
class SourceModel(ABC):
    """The model that is converted, from its own directory alone.

    Attributes:
        hooks: The family.
        config: Its config, with everything stated that its file leaves to defaults.
        tensors: Its weights, by the names that they have today.
        unread: What its files hold beside them, and its model does not use.
        config_object: Its config, as transformers has it; tokenizers are loaded with it.
        directory: Where config and tokenizer are.
        weights_directory: Where the weights are.
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
        """Its config object, of the class that its directory is loaded with."""

    @property
    @abstractmethod
    def code_owner(self) -> str:
        """Whose code runs when it is loaded, for the certificate."""

    @property
    def is_own_code(self) -> bool:
        """Whether that is the code that its users run."""
        return True

    @abstractmethod
    def parameters(self) -> ModelParameters:
        """What its checkpoints hold, from the model itself without its memory.

        Raises:
            UnsupportedModelError: The model refuses its config.
        """

    @abstractmethod
    def load(self, state: Mapping[str, Expression], note: Note = ignore) -> Any:
        """Loads the model from its own config, code and weights; see ``TargetModel.load``.

        Args:
            state: The weights by the names that the model expects, for where the installed
                transformers does not find them by itself.
            note: Is told what was done otherwise than where a user loads it.
        """
