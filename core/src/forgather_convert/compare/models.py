"""One of two models to compare."""

from collections.abc import Mapping
from dataclasses import dataclass

from forgather_convert.compare.result import VerifiedModel
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.logit_check.logits import CheckedModel
from forgather_convert.models.hugging_face import HuggingFaceSource
from forgather_convert.models.model import SourceModel
from forgather_convert.models.opening import ModelRequest, OpenedModel, open_model
from forgather_convert.source.detection import Detection
from forgather_convert.tensors.evaluation import have_equal_bits
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.parameters import ModelParameters


@dataclass(frozen=True)
class ComparedModel:
    """A model read from its own directory alone.

    Attributes:
        detection: The content of the directory.
        hooks: The converter of its family.
        source: The model, as the source of a conversion.
        parameters: The parameters in its checkpoints.
        state: Its weights by their current names; of tied ones only the first.
        carried: The tensors of a composite that are not its text model's.
    """

    detection: Detection
    hooks: FamilyHooks
    source: SourceModel
    parameters: ModelParameters
    state: Mapping[str, Expression]
    carried: Mapping[str, Expression]

    @property
    def is_forgather(self) -> bool:
        return self.detection.is_forgather

    @property
    def description(self) -> VerifiedModel:
        return VerifiedModel(
            path=self.detection.source,
            is_forgather=self.is_forgather,
            model_type=self.detection.model_type,
            dtype=self.detection.dtype,
            weights=self.source.weights_directory,
            converter=self.hooks.origin,
        )

    def checked(self, name: str) -> CheckedModel:
        """The model for a logit check, with a name for messages."""
        return CheckedModel(
            name=name,
            load=lambda: self.source.load(self.state),
            tokenizer_directory=self.source.directory,
            hf_config=self.source.config_object,
            code=self.source.code_owner,
            is_own_code=self.source.is_own_code,
            weights=self.state,
        )


def read_compared(request: ModelRequest) -> ComparedModel:
    """Opens a model directory of either kind; reads headers and configs.

    Raises:
        ForgatherConvertError: It cannot be read.
    """
    opened = open_model(request)
    source = opened.read().model
    parameters = source.parameters()
    state = _without_second_names(source.tensors, parameters)
    return ComparedModel(
        opened.detection, opened.hooks, source, parameters, state, _carried(opened, source)
    )


def _carried(opened: OpenedModel, source: SourceModel) -> dict[str, Expression]:
    if not opened.hooks.is_composite:
        return {}
    carried = (
        source.carried
        if isinstance(source, HuggingFaceSource)
        else opened.unused_tensors(gives_layout_back=False).tensors
    )
    # The versions of transformers save some models with this prefix, and some without it.
    return {name.removeprefix("model."): value for name, value in carried.items()}


def _without_second_names(
    tensors: Mapping[str, Expression], parameters: ModelParameters
) -> dict[str, Expression]:
    """A model's tensors; one of each tied pair, or both if both are stored and differ."""
    state = dict(tensors)
    for second, first in parameters.tied.items():
        if second not in state:
            continue
        if first not in state:
            state[first] = state.pop(second)
        elif have_equal_bits(state[first], state[second]):
            del state[second]
    return state
