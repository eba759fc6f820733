"""Opens a directory as one of two models to compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.compare.result import VerifiedModel
from forgather_convert.discovery.choice import converter_for, is_family
from forgather_convert.discovery.extensions import load_extensions
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.extensions import CORE_FORMATS, ExtensionCalls
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.logit_check.logits import CheckedModel
from forgather_convert.models.model import SourceModel
from forgather_convert.models.targets import read_source
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plausible_size import check_against_tensors
from forgather_convert.source.detection import Detection, detect
from forgather_convert.source.directory_check import check_json_files
from forgather_convert.source.other_weights import refuse_other_weights
from forgather_convert.tensors.evaluation import have_equal_bits
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.parameters import ModelParameters


@dataclass(frozen=True)
class OpenModel:
    """A model read from its own directory alone.

    Attributes:
        detection: The content of the directory.
        hooks: The converter of its family.
        source: The model, as the source of a conversion.
        parameters: The parameters in its checkpoints.
        state: Its weights by their current names; of tied ones only the first.
    """

    detection: Detection
    hooks: FamilyHooks
    source: SourceModel
    parameters: ModelParameters
    state: Mapping[str, Expression]

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
        )


def open_model(
    path: Path, options: ConvertOptions, converter: HFConverter | None = None
) -> OpenModel:
    """Opens a model directory of either kind; reads headers and configs.

    Args:
        path: The directory.
        options: The options of a conversion of it.
        converter: The converter of its family; by default, it is looked up.

    Raises:
        ForgatherConvertError: It cannot be read.
    """
    extensions = load_extensions(options.use_plugins, path)
    detection = detect(
        path,
        options,
        ExtensionCalls(CORE_FORMATS, extensions).open_weights,
        lambda model_type: is_family(model_type, path, options, converter),
    )
    hooks = converter_for(detection.model_type, path, options, converter)
    hooks = hooks.with_extensions(extensions)
    refuse_other_weights(detection.checkpoint, detection.is_forgather, hooks.weight_mapping())
    check_json_files(detection.metadata_directory)
    check_against_tensors(detection.config, detection.checkpoint.tensors)
    source = read_source(detection, hooks, options).model
    parameters = source.parameters()
    return OpenModel(
        detection, hooks, source, parameters, _without_second_names(source.tensors, parameters)
    )


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
