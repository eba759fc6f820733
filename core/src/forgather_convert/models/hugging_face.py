"""Hugging Face models, as sources and as targets."""

import copy
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import ConverterError, MappingError, ValidationError
from forgather_convert.families.config_checks import check_windows
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.dequantized_loading import load_dequantized
from forgather_convert.models.loaded_form import (
    SAVE_AGAIN,
    LoadedForm,
    LoadedTensors,
    loaded_form_of,
)
from forgather_convert.models.loading import (
    StoredModel,
    load_model,
    load_tensors,
    written_state,
)
from forgather_convert.models.merged_parameters import can_note_merges
from forgather_convert.models.model import Note, PlanFacts, SourceModel, TargetModel, ignore
from forgather_convert.models.original_config import OriginalConfig
from forgather_convert.models.parameters import parameters_of_class
from forgather_convert.models.reference import (
    ReferenceClasses,
    UnreadableConfigError,
    complete_config,
    text_model_config,
    warn_of_other_reading,
    with_max_length,
)
from forgather_convert.quantities import counted
from forgather_convert.quantization.description import Dequantizer
from forgather_convert.source.config_file import CONFIG_FILE, SourceConfig, read_config
from forgather_convert.source.detection import Detection, Direction, model_type_in
from forgather_convert.source.files import WriteFile, encode_json
from forgather_convert.source.quantization import refuse_quantized_config, without_quantization
from forgather_convert.tensors.evaluation import have_equal_bits
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.tensors.text_names import TextNames

logger = logging.getLogger(__name__)

_HEAD = "lm_head.weight"
_EMBEDDING = "model.embed_tokens.weight"


@dataclass(frozen=True)
class HuggingFaceSource(SourceModel):
    """A Hugging Face model as the source of a conversion.

    Attributes:
        classes: The classes that load it.
        max_length: The maximum length that the user requested.
        dequantizer: What dequantizes its weights; ``None`` if they are not quantized.
        stored_tensors: All tensors in its files.
        expected: The parameters in its checkpoints.
        whole_config: The config object that its class takes, which contains ``config_object`` if
            the model is a composite.
        carried: The tensors of a composite beside its text model, by their own names.
        config_problem: Why the converter read the config; empty if transformers did.
        loaded: Its weights by their names in memory, if they are stored in that form.
    """

    classes: ReferenceClasses
    max_length: int | None
    dequantizer: Dequantizer | None
    stored_tensors: Mapping[str, TensorRef]
    expected: ModelParameters
    whole_config: Any
    carried: Mapping[str, Expression]
    config_problem: str = ""
    loaded: LoadedTensors | None = None

    @property
    def own_config(self) -> Any:
        return self.config_object

    @property
    def code_owner(self) -> str:
        return self.classes.describe()

    @property
    def is_in_loaded_form(self) -> bool:
        return self.loaded is not None

    def parameters(self) -> ModelParameters:
        return self.expected

    def loaded_name(self, name: str) -> str:
        return self.expected.loaded_name(name)

    def load(self, state: Mapping[str, Expression], note: Note = ignore) -> Any:
        config = with_max_length(self.whole_config, self.max_length, self.config.origin)
        rest: Mapping[str, Expression] = {}
        if self.loaded is not None:
            state = self.loaded.in_state(state)
        if self.expected.text_names is not None:
            state = {self.loaded_name(name): value for name, value in state.items()}
            rest = self.unread
        model = StoredModel(
            self.classes.model_class,
            copy.deepcopy(config),
            self.weights_directory,
            state,
            self.parameters,
            rest,
            {} if self.dequantizer is None else self.stored_tensors,
        )
        if self.dequantizer is None:
            return load_model(model, note)
        return load_dequantized(model, self.dequantizer, note)


def read_hugging_face(
    detection: Detection,
    hooks: FamilyHooks,
    max_length: int | None,
) -> HuggingFaceSource:
    """Reads a model from its directory, with transformers' classes.

    Raises:
        UnsupportedModelError: The family cannot express it, or no config object can be made.
        SourceError: transformers builds the model, but cannot run it.
        MappingError: Its weights do not have the names of a checkpoint.
    """
    config, file_config = detection.config, detection.file_config
    hooks.validate_source_config(config, "to_forgather")
    config_problem = ""
    classes = ReferenceClasses.of(hooks, model_type_in(file_config, Direction.TO_FORGATHER))
    try:
        is_tied = False if _has_own_head(detection) else None
        whole_config = classes.read_whole(file_config, config.origin, is_tied)
    except UnreadableConfigError as error:
        if hooks.is_composite:
            raise
        try:
            whole_config = hooks.create_hf_config(config, None)
        except ConverterError:
            # The converter's reading is the same, so there is nothing more to report.
            raise error from error.__cause__
        logger.warning(
            "%s The converter's reading of it is used instead: the logit check compares weights "
            "and code, but cannot detect that the config is misread",
            error,
        )
        config_problem = str(error)
    else:
        warn_of_other_reading(config, classes.config_class)
    config_object = text_model_config(whole_config)
    completed = complete_config(config, config_object, hooks)
    check_windows(completed, hooks.get_hyperparameters())
    parameters = _parameters(classes, whole_config, config.origin)
    if detection.dequantizer is not None:
        logger.info(
            "The weights of %s are quantized (%s) and become %s; the reverse conversion gives the "
            "dequantized model, not the quantized files",
            detection.source,
            detection.dequantizer.method,
            detection.dtype,
        )
    tensors, carried = _dequantized_tensors(detection)
    unread = {name: value for name, value in tensors.items() if parameters.is_unread(name)}
    form = _loaded_form(detection, parameters, classes, whole_config)
    loaded = None
    if form is None:
        current = _current_tensors(tensors, parameters)
    else:
        loaded = LoadedTensors(form, _current_tensors(tensors, form.with_loaded_names(parameters)))
        current = form.as_saved(loaded.tensors)
    return HuggingFaceSource(
        hooks=hooks,
        config=completed,
        tensors=current,
        unread={**unread, **carried},
        config_object=config_object,
        directory=detection.metadata_directory,
        weights_directory=detection.checkpoint.files.directory,
        classes=classes,
        max_length=max_length,
        dequantizer=detection.dequantizer,
        stored_tensors=detection.checkpoint.tensors,
        expected=parameters,
        whole_config=whole_config,
        carried=carried,
        config_problem=config_problem,
        loaded=loaded,
    )


def _has_own_head(detection: Detection) -> bool:
    """Whether the weights of a composite, and not its config, say that its head is not tied.

    The classes of some composites have another default in transformers 4 and 5; version 5 then
    goes by the weights.
    """
    head, embedding = (detection.tensors.get(name) for name in (_HEAD, _EMBEDDING))
    if detection.composite is None or "tie_word_embeddings" in detection.config:
        return False
    if head is None or embedding is None:
        return False
    return not have_equal_bits(stored(head), stored(embedding))


def _parameters(classes: ReferenceClasses, config_object: Any, origin: str) -> ModelParameters:
    return parameters_of_class(
        classes.model_class,
        config_object,
        lambda error: classes.cannot_run(origin, error),
        classes.hooks.is_composite,
    )


def _dequantized_tensors(
    detection: Detection,
) -> tuple[dict[str, Expression], dict[str, Expression]]:
    """The tensors of a checkpoint, dequantized.

    Returns:
        Those of the text model, by its names; and the other ones of a composite, by their own.
    """
    tensors, dequantizer = detection.checkpoint.tensors, detection.dequantizer
    values = (
        {name: stored(ref) for name, ref in tensors.items()}
        if dequantizer is None
        else dict(dequantizer.tensors(tensors, detection.dtype))
    )
    return (values, {}) if detection.composite is None else detection.composite.names.divide(values)


def _loaded_form(
    detection: Detection,
    parameters: ModelParameters,
    classes: ReferenceClasses,
    config_object: Any,
) -> LoadedForm | None:
    """The form that the weights have in memory, if they are stored in that form.

    Raises:
        MappingError: They are stored in that form in part, or in one that cannot be converted.
    """
    mapping = classes.hooks.weight_mapping()
    in_memory = [
        name
        for name in detection.tensors
        if parameters.has_loaded_name(name)
        and not parameters.is_unread(name)
        and name not in mapping.source_patterns
    ]
    if not in_memory:
        _refuse_unknown_form(detection, parameters)
        return None
    directory = detection.checkpoint.files.directory
    what = (
        f"{directory} has {counted(len(in_memory), 'tensor')} in the form that transformers has in "
        f"memory, not in that of checkpoints:{collapse_names(in_memory)}\n"
    )
    if detection.dequantizer is not None:
        raise MappingError(f"{what}They are quantized, which is not supported. {SAVE_AGAIN}")
    form = loaded_form_of(classes.model_class, config_object, classes.hooks.is_composite)
    others = [
        name for name in detection.tensors if form.is_only_saved(parameters.current_name(name))
    ]
    if others:
        raise MappingError(
            f"{what}It has others in the form of checkpoints:{collapse_names(others)}\n"
            "A directory must have all weights in one form. Save the model again."
        )
    logger.info(
        "%s has weights in the form that transformers has in memory; the reverse conversion gives "
        "them back in that form",
        directory,
    )
    return form


def _refuse_unknown_form(detection: Detection, parameters: ModelParameters) -> None:
    """Refuses weights in the form that only transformers 5 knows, on transformers 4."""
    if can_note_merges():
        return
    names = {name: parameters.current_name(name) for name in detection.tensors}
    unknown = [
        name
        for name, current in names.items()
        if current not in parameters and not parameters.is_unread(name)
    ]
    missing = parameters.shapes.keys() - {*names.values()}
    sizes = (
        sum(detection.tensors[name].num_elements for name in unknown),
        sum(math.prod(parameters.shapes[name]) for name in missing),
    )
    if unknown and sizes[0] == sizes[1]:
        raise MappingError(
            f"{detection.checkpoint.files.directory} has {counted(len(unknown), 'tensor')} that "
            f"transformers 4 does not know:{collapse_names(unknown)}\n"
            "They have as many elements as those that are missing:"
            f"{collapse_names(sorted(missing))}\n"
            "Transformers 5 may have saved them as it has them in memory "
            "(save_original_format=False). Convert them with transformers 5, or save the model "
            "there in the form of checkpoints."
        )


def _current_tensors(
    available: Mapping[str, Expression], parameters: ModelParameters
) -> dict[str, Expression]:
    """The tensors that a model reads, by its names for them."""
    tensors: dict[str, Expression] = {}
    for name, value in available.items():
        current = parameters.current_name(name)
        if not parameters.is_unread(name):
            # If it exists both with and without the prefix, one is superfluous: keep both names.
            tensors[name if current in available else current] = value
    return tensors


@dataclass(frozen=True)
class HuggingFaceTarget(TargetModel):
    """A Hugging Face model as the target of a conversion.

    Attributes:
        config: The fields of its config.
        original_config: The original config to restore.
        whole_config: The config object that its class takes, which contains ``config_object`` if
            the model is a composite.
        names: The names of a composite's tensors; ``None`` for another model.
        form: The form that its weights have in memory, if they are written in that form.
    """

    config: Mapping[str, Any]
    original_config: OriginalConfig | None
    whole_config: Any
    names: TextNames | None = None
    form: LoadedForm | None = None

    def files(self, written: PlanFacts) -> tuple[WriteFile, ...]:
        if self.original_config is None:
            return (WriteFile(CONFIG_FILE, encode_json(self.config, sort_keys=True)),)
        self.original_config.log_lost_precision(written.source_dtypes)
        text = self.original_config.changed_to(self.config, written.dtypes)
        return (WriteFile(CONFIG_FILE, text.encode("utf-8")),)

    @property
    def code_owner(self) -> str:
        return ReferenceClasses.of(self.hooks).describe()

    def read_whole_config(self, fields: SourceConfig) -> Any:
        """The config object that its class takes, from the content of its ``config.json``.

        Raises:
            UnreadableConfigError: The installed transformers cannot read it.
        """
        is_tied = None if self.names is None else self.whole_config.tie_word_embeddings
        return ReferenceClasses.of(self.hooks).read_whole(fields, fields.origin, is_tied)

    def load(self, directory: Path) -> Any:
        classes = ReferenceClasses.of(self.hooks)
        config = read_config(directory)
        refuse_quantized_config(config)
        config = without_quantization(config)
        try:
            config_object = self.read_whole_config(config)
        except UnreadableConfigError as error:
            raise ValidationError(
                f"The result does not load by itself. {error} Nothing was written. "
                "--no-logit-check converts without loading it."
            ) from error
        state = written_state(directory, self.parameters)
        model = StoredModel(
            classes.model_class, config_object, directory, state, lambda: self.parameters
        )
        return load_model(model, is_result=True)

    def load_tensors(self, directory: Path, state: Mapping[str, Expression]) -> Any:
        model_class = ReferenceClasses.of(self.hooks).model_class
        return load_tensors(model_class, copy.deepcopy(self.config_object), directory, state)


def with_changes(config_object: Any, before: SourceConfig, after: SourceConfig) -> Any:
    """A copy of a config object with the changed fields of a config."""
    changed = copy.deepcopy(config_object)
    for name, value in after.items():
        if name not in before or before[name] != value:
            setattr(changed, name, value)
    return changed
