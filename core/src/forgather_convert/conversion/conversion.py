"""One conversion, whether of a model or of an adapter."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forgather_convert.execution.destination import (
    Destination,
    check_destination,
    resolve_destination,
)
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.extensions import ExtensionCalls
from forgather_convert.logit_check.generation import Generation
from forgather_convert.logit_check.logits import LogitComparison
from forgather_convert.models.opening import WeightsInMemory
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan, ShardPlan
from forgather_convert.progress import Progress

if TYPE_CHECKING:
    from forgather_convert.compare.conversion_configs import ConfigComparison


@dataclass(frozen=True)
class ConversionRequest:
    """A requested conversion.

    Attributes:
        source: The directory of the model, or of an adapter if the options give its base.
        destination: The destination.
        options: The options.
        converter: The converter to use; by default, it is found by the model's type.
        weights: The source's weights, if they are not in files.
    """

    source: Path
    destination: Destination
    options: ConvertOptions
    converter: HFConverter | None = None
    weights: WeightsInMemory | None = None

    @classmethod
    def of(
        cls,
        source: Path,
        destination: Path,
        options: ConvertOptions | None = None,
        converter: HFConverter | None = None,
        weights: WeightsInMemory | None = None,
    ) -> "ConversionRequest":
        """The request to convert to a path as the user gives it.

        Raises:
            DestinationError: It cannot be a destination.
        """
        resolved = resolve_destination(Path(destination))
        return cls(Path(source), resolved, options or ConvertOptions(), converter, weights)

    def check_destination(self) -> None:
        """Refuses a destination that must not be written.

        Raises:
            DestinationError: It exists, is inside a directory that is read, or contains one.
        """
        for path in (self.source, self.options.base):
            if path is not None:
                check_destination(path, self.destination, self.options.overwrite)


@dataclass(frozen=True)
class Checks:
    """The checks of a result before it is committed.

    Attributes:
        configs: The result of comparing the configs; ``None`` for an adapter.
        logits: The result of the logit check; ``None`` if it was not run.
        generation: The result of the generation test; ``None`` if it was not requested.
    """

    configs: "ConfigComparison | None" = None
    logits: LogitComparison | None = None
    generation: Generation | None = None


class PlannedConversion(ABC):
    """A plan, and the models that its result is checked against."""

    @property
    @abstractmethod
    def plan(self) -> ConversionPlan:
        """What will be written."""

    @abstractmethod
    def check(self, written: Path, progress: Progress) -> Checks:
        """Runs the checks that the options request.

        Raises:
            ValidationError: It does not compute what the source computes.
        """


class Conversion(ABC):
    """A conversion whose source has been opened: its kind and its converter are known."""

    @property
    @abstractmethod
    def extension_calls(self) -> ExtensionCalls:
        """The installed extensions."""

    @property
    @abstractmethod
    def title(self) -> str:
        """A description of the conversion, for the log."""

    @abstractmethod
    def early_shards(self) -> tuple[ShardPlan, ...]:
        """The weights files that can be written while the plan is made, which takes seconds."""

    @abstractmethod
    def plan(self) -> PlannedConversion:
        """Plans it completely; nothing is written.

        Raises:
            ForgatherConvertError: The conversion is not possible.
        """
