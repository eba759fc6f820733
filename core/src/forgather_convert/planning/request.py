"""The input and the result of planning."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.model import SourceModel, TargetModel
from forgather_convert.models.opening import OpenedModel
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.source.config_file import SourceConfig
from forgather_convert.source.detection import Detection
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.weight_mapping import WeightMapping
from forgather_convert.vocabulary.requests import TokenRequest
from forgather_convert.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class PlanRequest:
    """Everything that is known before planning.

    Attributes:
        model: The source model; for an adapter, its base model.
        destination: The directory to create.
        tokens: The tokens to add; ``None`` without a token file.
    """

    model: OpenedModel
    destination: Path
    tokens: tuple[TokenRequest, ...] | None

    @property
    def detection(self) -> Detection:
        """What was detected about the source."""
        return self.model.detection

    @property
    def hooks(self) -> FamilyHooks:
        """The family's converter."""
        return self.model.hooks

    @property
    def options(self) -> ConvertOptions:
        """The options of the conversion."""
        return self.model.options

    @property
    def checkpoint(self) -> Checkpoint:
        """The source's weights."""
        return self.model.checkpoint


@dataclass(frozen=True)
class PlannedModel:
    """A plan and both of its models, which can be loaded and compared.

    Attributes:
        plan: The plan.
        source: The source model.
        destination: The target model.
        source_config: The source's complete config, with the changes of the vocabulary.
        source_state: The source's tensors, by the names that its model expects.
        tensors: The target's tensors, by their names.
    """

    plan: ConversionPlan
    source: SourceModel
    destination: TargetModel
    source_config: SourceConfig
    source_state: Mapping[str, Expression]
    tensors: Mapping[str, Expression]

    @property
    def mapping_as_loaded(self) -> WeightMapping:
        """The mapping between the names that transformers saves both models with."""
        return self.destination.mapping.renamed(
            self.source.loaded_name, self.destination.parameters.loaded_name
        )
