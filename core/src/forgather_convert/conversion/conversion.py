"""One conversion, whether of a model or of an adapter."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forgather_convert.execution.destination import Destination, check_destination
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.extensions import ExtensionCalls
from forgather_convert.logit_check.generation import Generation
from forgather_convert.logit_check.logits import LogitComparison
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan, ShardPlan
from forgather_convert.progress import Progress

if TYPE_CHECKING:
    from forgather_convert.compare.conversion_configs import ConfigComparison


@dataclass(frozen=True)
class ConversionRequest:
    """What a user asks for.

    Attributes:
        source: The directory of the model; of an adapter, where the options give its base.
        destination: The place of the result.
        options: What to do differently from the defaults.
        converter: The converter to use; without it, one is looked up by the model's type.
    """

    source: Path
    destination: Destination
    options: ConvertOptions
    converter: HFConverter | None = None

    def check_destination(self) -> None:
        """Refuses a destination that must not be written.

        Raises:
            DestinationError: It exists, or lies in what is read, or what is read lies in it.
        """
        for path in (self.source, self.options.base):
            if path is not None:
                check_destination(path, self.destination, self.options.overwrite)


@dataclass(frozen=True)
class Checks:
    """What was found out about a result before it was put in its place.

    Attributes:
        configs: The result of comparing the configs; ``None`` for an adapter.
        logits: The result of the logit check; ``None`` if it was not asked for.
        generation: The result of the generation test; ``None`` if it was not asked for.
    """

    configs: "ConfigComparison | None" = None
    logits: LogitComparison | None = None
    generation: Generation | None = None


class PlannedConversion(ABC):
    """A plan, and what its result is checked against."""

    @property
    @abstractmethod
    def plan(self) -> ConversionPlan:
        """What will be written."""

    @abstractmethod
    def check(self, written: Path, progress: Progress) -> Checks:
        """Checks the result as the options ask.

        Args:
            written: The directory of what was written.
            progress: Is told what goes on.

        Raises:
            ValidationError: It does not compute what the source computes.
        """


class Conversion(ABC):
    """A conversion whose source is opened: it is known what it is, and who converts it."""

    @property
    @abstractmethod
    def extension_calls(self) -> ExtensionCalls:
        """The installed extensions."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What is converted to what, for the log."""

    @abstractmethod
    def early_shards(self) -> tuple[ShardPlan, ...]:
        """The weights files that can be written while the plan is made, which takes seconds."""

    @abstractmethod
    def plan(self) -> PlannedConversion:
        """Plans it completely; nothing is written.

        Raises:
            ForgatherConvertError: It is not possible, with what stands in the way.
        """
