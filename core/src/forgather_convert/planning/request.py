"""What a plan is made from, and what planning gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.dynamic_model.code_generator import GeneratedCode
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan
from forgather_convert.source.detection import Detection
from forgather_convert.vocabulary.requests import TokenRequest
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.tensor_ref import TensorRef


@dataclass(frozen=True)
class PlanRequest:
    """Everything that is known before planning.

    Attributes:
        detection: What the source is.
        hooks: The family's converter.
        checkpoint: The source's weights.
        destination: The directory that will appear.
        options: What the user asks for.
        tokens: The tokens to add; ``None`` if the user does not say.
    """

    detection: Detection
    hooks: FamilyHooks
    checkpoint: Checkpoint
    destination: Path
    options: ConvertOptions
    tokens: tuple[TokenRequest, ...] | None

    @property
    def weights_origin(self) -> str:
        """Where the weights are, for messages."""
        return str(self.checkpoint.files.directory)


@dataclass(frozen=True)
class PlannedConversion:
    """A plan, and both sides of it as models that can be loaded and compared.

    Attributes:
        plan: What will be written.
        hf_config: The Hugging Face side's config object.
        code: The Forgather side's generated code.
        forgather_config: The Forgather side's ``config.json``.
        tokenizer_directory: Where the source's tokenizer is, if it has one.
        tied: Parameters of the result that are another one under a second name.
        source_state: The source's tensors, by the names that its model expects.
    """

    plan: ConversionPlan
    hf_config: Any
    code: GeneratedCode
    forgather_config: Mapping[str, Any]
    tokenizer_directory: Path
    tied: Mapping[str, str]
    source_state: Mapping[str, TensorRef]
