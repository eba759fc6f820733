"""Opens the model in a directory, for ``convert``, ``inspect`` and ``verify``.

Quick checks come first; neither torch nor transformers is imported until
:meth:`OpenedModel.read`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.discovery.choice import converter_for, is_family
from forgather_convert.discovery.extensions import load_extensions
from forgather_convert.errors import OptionError
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.extensions import CORE_PARTS, Extension, ExtensionCalls
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.carried_tensors import CarriedTensors, read_carried
from forgather_convert.options import ConvertOptions
from forgather_convert.source.composite import text_model_type
from forgather_convert.source.detection import Detection, Formats, detect
from forgather_convert.source.directory_check import check_json_files
from forgather_convert.source.other_weights import refuse_other_weights
from forgather_convert.source.plausible_size import check_against_tensors
from forgather_convert.tensors.expressions import Expression
from forgather_convert.tensors.placing import find_places
from forgather_convert.weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from forgather_convert.models.composite_original import CompositeOriginal
    from forgather_convert.models.original_weights import OriginalWeights
    from forgather_convert.models.provenance import Provenance
    from forgather_convert.models.targets import SourceContext


#: What to do if a composite's Forgather model lacks the parts besides the text model.
COMPOSITE_REMEDY = (
    "Give the original, or a Forgather model that has these parts, with --base ORIGINAL; or "
    "convert the text model alone with --text-only."
)


@dataclass(frozen=True)
class WeightsInMemory:
    """The weights of a model that is in memory; its directory has all its other files.

    Attributes:
        checkpoint: The weights.
        model_directory: The directory that the model is a checkpoint of; ``None`` if there is none.
        tokenizer: A directory with tokenizer files to use instead of those in the model's;
            ``None`` to use those.
        load: Gives the model for a logit check; ``None`` if it cannot be checked.
    """

    checkpoint: Checkpoint
    model_directory: Path | None = None
    tokenizer: Path | None = None
    load: Callable[[], Any] | None = None


@dataclass(frozen=True)
class ModelRequest:
    """A model to open.

    Attributes:
        path: Its directory.
        options: The options of its conversion.
        converter: The converter of its family; by default, it is looked up.
        weights: Its weights, if they are not in files.
    """

    path: Path
    options: ConvertOptions
    converter: HFConverter | None = None
    weights: WeightsInMemory | None = None


@dataclass(frozen=True)
class Opening:
    """The individual steps of opening a model.

    :func:`open_model` runs all of them and stops at the first failure; an inspection attempts each
    one separately.

    Attributes:
        request: The model to open.
        extensions: The installed extensions.
    """

    request: ModelRequest
    extensions: Sequence[Extension]

    @classmethod
    def start(cls, request: ModelRequest) -> "Opening":
        """Loads the extensions.

        Raises:
            ConverterError: One cannot be used.
        """
        return cls(request, load_extensions(request.options.use_plugins, request.path))

    @cached_property
    def extension_calls(self) -> ExtensionCalls:
        return ExtensionCalls(CORE_PARTS, self.extensions)

    def detect(self) -> Detection:
        """Detects the content of the directory; see :func:`source.detection.detect`."""
        request, weights, calls = self.request, self.request.weights, self.extension_calls
        open_weights = calls.open_weights if weights is None else lambda _: weights.checkpoint
        return detect(
            request.path,
            request.options,
            Formats(open_weights, calls.dequantize),
            lambda name: is_family(name, request.path, request.options, request.converter),
            checkpoint_of=None if weights is None else weights.model_directory,
        )

    def find_hooks(self, model_type: str, config: Mapping[str, Any]) -> FamilyHooks:
        """Finds the converter of a family; see :func:`discovery.choice.converter_for`.

        Args:
            model_type: The family.
            config: The config, which states the type of a composite's text model.
        """
        request = self.request
        hooks = converter_for(model_type, request.path, request.options, request.converter)
        return hooks.with_extensions(self.extensions).for_text_model(text_model_type(config))


@dataclass(frozen=True)
class OpenedModel:
    """A model whose kind, family and weights are known from names, JSON and headers.

    Attributes:
        detection: What was detected about the directory.
        hooks: The converter of the family.
        options: The options of its conversion.
        extension_calls: The installed extensions.
        in_memory: Its weights, if they are not in files.
    """

    detection: Detection
    hooks: FamilyHooks
    options: ConvertOptions
    extension_calls: ExtensionCalls
    in_memory: WeightsInMemory | None = None
    _descriptions: "dict[frozenset[str], OriginalWeights | None]" = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def checkpoint(self) -> Checkpoint:
        """Its weights."""
        return self.detection.checkpoint

    @cached_property
    def provenance(self) -> "Provenance | None":
        """The provenance of a Forgather model; ``None`` if it has none.

        Raises:
            SourceError: The file is damaged.
        """
        if self.original is not None:
            return self.original.provenance
        return self.own_provenance

    @cached_property
    def own_provenance(self) -> "Provenance | None":
        """The provenance in its own directory, even if a composite's parts are in another one."""
        from forgather_convert.models.provenance import read_provenance

        return read_provenance(self.detection.metadata_directory)

    @cached_property
    def original(self) -> "CompositeOriginal | None":
        """The parts of a composite's original, if a directory is given for them.

        Raises:
            ForgatherConvertError: They cannot be read.
        """
        if self.options.base is None:
            return None
        from forgather_convert.models.composite_original import read_original

        options = replace(self.options, base=None, checkpoint_path=None, reverse=False)
        opened = open_model(ModelRequest(self.options.base, options, self.hooks.converter))
        return read_original(
            opened.detection, self.hooks.model_type, opened.has_weights_in_loaded_form
        )

    @property
    def has_weights_in_loaded_form(self) -> bool:
        """Whether it is a Hugging Face model with its weights as transformers has them in memory.

        Raises:
            ForgatherConvertError: It cannot be read.
        """
        if self.detection.is_forgather:
            return False
        names = self.detection.tensors
        if not find_places(names, self.hooks.weight_mapping()).unplaced:
            # Importing transformers takes a while.
            return False
        return self.read().model.is_in_loaded_form

    @cached_property
    def _carried(self) -> CarriedTensors:
        if self.original is not None:
            return self.original.carried
        expected = () if self.provenance is None else self.provenance.carried_tensors
        directory = self.detection.metadata_directory
        if self.hooks.is_composite:
            return read_carried(directory, expected, COMPOSITE_REMEDY)
        return read_carried(directory, expected)

    def unused_tensors(self, gives_layout_back: bool) -> CarriedTensors:
        """The tensors of a Forgather model's original that the model itself does not use.

        Raises:
            SourceError: A file with them is missing or damaged.
        """
        from forgather_convert.models.provenance import unused_tensors

        return unused_tensors(self._carried, self.provenance, gives_layout_back)

    def describe_weights(self, unread: Mapping[str, Expression]) -> "OriginalWeights | None":
        """Describes the division of a Hugging Face model's weights, for the reverse conversion.

        Args:
            unread: The tensors that the model does not use.

        Returns:
            ``None`` if it cannot be restored.
        """
        from forgather_convert.models.original_weights import describe_weights

        names = frozenset(unread)
        if names not in self._descriptions:
            self._descriptions[names] = describe_weights(self.checkpoint, unread)
        return self._descriptions[names]

    def read(self) -> "SourceContext":
        """Reads it with the classes of its family, which takes seconds to import.

        Raises:
            SourceError: A file that transformers would read is damaged.
            UnsupportedModelError: The family cannot express it.
        """
        check_json_files(self.detection.metadata_directory)
        from forgather_convert.models.targets import read_source

        return read_source(self)


def open_model(request: ModelRequest) -> OpenedModel:
    """Opens a model directory of either kind.

    Raises:
        ForgatherConvertError: It cannot be converted, judging by names and headers.
    """
    opening = Opening.start(request)
    detection = opening.detect()
    hooks = opening.find_hooks(detection.model_type, detection.config)
    detection = seen_as_text_model(detection, hooks)
    _check_options(detection, hooks, request.options)
    check_against_tensors(detection.config, detection.checkpoint.tensors)
    mapping = hooks.weight_mapping() if detection.composite is None else None
    refuse_other_weights(detection.checkpoint, detection.is_forgather, mapping)
    return OpenedModel(detection, hooks, request.options, opening.extension_calls, request.weights)


def seen_as_text_model(detection: Detection, hooks: FamilyHooks) -> Detection:
    """A directory as the converter of its family sees it: of a composite, the text model.

    Raises:
        ForgatherConvertError: A composite has no text model, or one that cannot be converted.
    """
    is_whole = hooks.is_composite and not detection.is_forgather
    return detection.as_text_model() if is_whole else detection


def _check_options(detection: Detection, hooks: FamilyHooks, options: ConvertOptions) -> None:
    """Refuses options that only apply when a composite is converted back."""
    given = [
        name
        for name, value in (("--base", options.base), ("--text-only", options.text_only))
        if value
    ]
    if given and not (hooks.is_composite and detection.is_forgather):
        raise OptionError(
            f"{given[0]} is for Forgather models of composites, such as models of images and text; "
            f"{detection.source} is none. Leave it out."
        )
