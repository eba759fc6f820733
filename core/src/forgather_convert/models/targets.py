"""Reads the source model, and makes the target model from it through the family's hooks."""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forgather_convert.dynamic_model.code_generator import GeneratedCode, generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.dynamic_model.project import Project
from forgather_convert.errors import ConverterError, OptionError, SourceError, cause_of
from forgather_convert.families.converter import FORGATHER_FIELDS
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.files.json_file import read_json_object, read_text
from forgather_convert.models.carried_tensors import CarriedTensors, carried_files
from forgather_convert.models.forgather import ForgatherSource, ForgatherTarget, read_forgather
from forgather_convert.models.hf_config_file import hf_config_fields
from forgather_convert.models.hugging_face import (
    HuggingFaceSource,
    HuggingFaceTarget,
    read_hugging_face,
    with_changes,
)
from forgather_convert.models.loaded_form import LoadedForm, loaded_form_of
from forgather_convert.models.model import SourceModel, TargetModel
from forgather_convert.models.opening import COMPOSITE_REMEDY, OpenedModel
from forgather_convert.models.original_config import OriginalConfig, read_original_config
from forgather_convert.models.original_weights import OriginalWeights, without_kept
from forgather_convert.models.parameters import parameters_of_class
from forgather_convert.models.reference import (
    ReferenceClasses,
    rope_fields_of,
    text_model_config,
)
from forgather_convert.models.side_file_rules import (
    SideFileRules,
    forgather_files,
    processor_files,
)
from forgather_convert.options import ConvertOptions
from forgather_convert.quantities import counted
from forgather_convert.source.composite import TEXT_MODEL_TYPE
from forgather_convert.source.config_file import CONFIG_FILE, SourceConfig, parse_config
from forgather_convert.source.detection import (
    Detection,
    Direction,
)
from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.source.quantization import SIDE_FILES, without_quantization_fields
from forgather_convert.source.tokenizer_directory import lacks_tokenizer_class
from forgather_convert.tensors.names import enumerate_names
from forgather_convert.tensors.text_names import TextNames

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceContext:
    """A source that has been read, from which the target model is built.

    Attributes:
        opened: What the source is, and who converts it.
        model: The source model.
    """

    opened: OpenedModel
    model: SourceModel

    def build_target(self, config: SourceConfig) -> TargetModel:
        """Builds the model to write.

        Args:
            config: The source's complete config, with the changes of the vocabulary.

        Raises:
            UnsupportedModelError: The family cannot express it.
            ConverterError: A hook fails.
        """
        if isinstance(self.model, ForgatherSource):
            return _hugging_face_target(self.opened, self.model, config)
        assert isinstance(self.model, HuggingFaceSource)
        return _forgather_target(self.opened, self.model, config)


def read_source(opened: OpenedModel) -> SourceContext:
    """Reads a source, of either kind.

    Raises:
        UnsupportedModelError: The family cannot express it.
    """
    detection, hooks, options = opened.detection, opened.hooks, opened.options
    model: SourceModel
    if detection.direction is Direction.TO_FORGATHER:
        model = read_hugging_face(detection, hooks, options.max_length)
    else:
        model = read_forgather(detection, hooks, options.max_length, options.trust_remote_code)
    return SourceContext(opened, model)


def _forgather_target(
    opened: OpenedModel, model: HuggingFaceSource, config: SourceConfig
) -> ForgatherTarget:
    detection, hooks, options = opened.detection, opened.hooks, opened.options
    project = hooks.project(config, options.max_length)
    code = generate_code(project, has_links=options.link is not None)
    rope_fields = rope_fields_of(model.config_object, hooks, config.origin)
    fields = _forgather_config_fields(
        detection.config,
        detection.dtype,
        project,
        code,
        (*rope_fields, *hooks.get_field_names()),
    )
    if hooks.is_composite:
        fields[TEXT_MODEL_TYPE] = hooks.converter.text_model_type
    tokenizer_class = hooks.get_tokenizer_class()
    if tokenizer_class and lacks_tokenizer_class(model.directory):
        fields.setdefault("tokenizer_class", tokenizer_class)
    weights = None
    if detection.dequantizer is None:
        weights = opened.describe_weights({} if options.drop_unused else model.unread)
    classes = load_generated_code(code)
    try:
        config_object = classes.config_class(**fields)
    # transformers' checks of a config raise their own exceptions.
    except Exception as error:
        raise ConverterError(
            f"The Forgather config that {hooks.name} makes from {config.origin} is refused by "
            f"transformers: {cause_of(error)}. Fix create_project_config."
        ) from error
    return ForgatherTarget(
        hooks=hooks,
        parameters=parameters_of_class(
            classes.model_class,
            config_object,
            lambda error: ConverterError(
                f"The Forgather model that {hooks.name} makes from {config.origin} does not run: "
                f"{cause_of(error)}. Fix its components."
            ),
        ),
        mapping=hooks.weight_mapping(),
        config_object=config_object,
        original=None,
        side_files=SideFileRules(
            generated=frozenset({PROVENANCE_FILE, *code.files, *carried_files(model.directory)}),
            unused=frozenset(SIDE_FILES if detection.dequantizer is not None else ()),
            renamed=processor_files() if hooks.is_composite else {},
        ),
        carried=_carried_tensors(model, weights, options),
        config=fields,
        code=code,
        weights=weights,
        names=None if detection.composite is None else detection.composite.names,
        original_config_text=_original_config_text(detection, model.directory),
        options=_changed_options(options),
        is_from_loaded_form=model.is_in_loaded_form,
    )


def _carried_tensors(
    model: HuggingFaceSource, weights: OriginalWeights | None, options: ConvertOptions
) -> CarriedTensors:
    """What the model does not use, apart from what is kept in the provenance."""
    carried = without_kept(model.unread, weights)
    if carried and (options.drop_unused or options.code_only):
        logger.warning(
            "Dropped (%s): %s of %s that the model does not use: %s",
            "--drop-unused" if options.drop_unused else "--code-only",
            counted(len(carried), "tensor"),
            model.weights_directory,
            enumerate_names(carried),
        )
        return CarriedTensors()
    if carried and model.expected.text_names is not None:
        logger.info(
            "The text model is converted. Copied for the reverse conversion: %s of %s: %s",
            counted(len(carried), "other tensor"),
            model.weights_directory,
            enumerate_names(carried),
        )
    elif carried:
        logger.info(
            "The model does not use %s of %s, copied for the reverse conversion: %s",
            counted(len(carried), "tensor"),
            model.weights_directory,
            enumerate_names(carried),
        )
    return CarriedTensors(carried)


def _hugging_face_target(
    opened: OpenedModel, model: ForgatherSource, config: SourceConfig
) -> HuggingFaceTarget:
    detection, hooks, options = opened.detection, opened.hooks, opened.options
    if options.text_only:
        hooks = hooks.of_text_model()
    config_object = with_changes(model.config_object, model.config, config)
    provenance = opened.provenance
    original_config: OriginalConfig | None = None
    original: OriginalWeights | None = None
    if provenance is not None:
        original_config = read_original_config(provenance, hooks, model.directory / PROVENANCE_FILE)
    if provenance is not None and provenance.options.get("dequantize"):
        logger.info(
            "The original of %s was quantized; the result is the dequantized model",
            model.directory,
        )
    if provenance is not None and original_config is not None and options.keeps_division:
        original = provenance.weights
    carried = CarriedTensors()
    if not (options.drop_unused or options.text_only):
        carried = opened.unused_tensors(gives_layout_back=original is not None)
    fields = written_fields(hooks, config_object, config, detection.dtype, original_config)
    model_class: Any
    whole_config, names = config_object, None
    if hooks.is_composite:
        names = _names_in_original(opened, original_config, carried)
        assert original_config is not None
        classes = ReferenceClasses.of(hooks)
        text = original_config.changed_to(fields, original_config.dtypes)
        is_tied = bool(config.tie_word_embeddings)
        whole_config = classes.read_whole(parse_config(text, CONFIG_FILE), config.origin, is_tied)
        config_object, model_class = text_model_config(whole_config), classes.model_class
    else:
        model_class = hooks.get_hf_model_class()
    side_files = forgather_files(model.directory, opened.own_provenance, hooks.is_composite)
    if opened.original is not None:
        side_files = replace(side_files, elsewhere=opened.original.files_besides(model.directory))
    return HuggingFaceTarget(
        hooks=hooks,
        parameters=parameters_of_class(
            model_class,
            whole_config,
            lambda error: ReferenceClasses.of(hooks).cannot_run(config.origin, error),
            hooks.is_composite,
        ),
        mapping=hooks.weight_mapping().inverted(),
        config_object=config_object,
        original=original,
        side_files=side_files,
        carried=carried,
        config=fields,
        original_config=original_config,
        whole_config=whole_config,
        names=names,
        form=_original_form(opened, model_class, whole_config),
    )


def _original_form(opened: OpenedModel, model_class: Any, config: Any) -> LoadedForm | None:
    """The form in which the original's weights were, if it is that in memory."""
    provenance = opened.provenance
    if provenance is None or not provenance.in_loaded_form or opened.options.text_only:
        return None
    form = loaded_form_of(model_class, config, opened.hooks.is_composite)
    if form.loaded:
        return form
    logger.warning(
        "The weights of the original of %s were in the form that another version of transformers "
        "has in memory; they become those of a checkpoint",
        opened.detection.metadata_directory,
    )
    return None


def _names_in_original(
    opened: OpenedModel, original: OriginalConfig | None, carried: CarriedTensors
) -> TextNames:
    """The names of a composite's tensors, if its parts besides the text model are available.

    Raises:
        SourceError: It is not.
        OptionError: It is not wanted.
    """
    if opened.options.drop_unused:
        raise OptionError(
            "--drop-unused would leave out everything but the text model. Leave it out, or use "
            "--text-only to convert the text model alone."
        )
    provenance = opened.provenance
    prefix = None if provenance is None else provenance.text_prefix
    if original is None or prefix is None or not carried.tensors:
        lacking = "the original's config" if original is None else "the original's other tensors"
        raise SourceError(
            f"{opened.detection.metadata_directory} is the text model of a composite "
            f"('{opened.hooks.model_type}') and lacks {lacking}, which belong to the Hugging Face "
            f"model. {COMPOSITE_REMEDY}"
        )
    return TextNames(prefix)


def written_fields(
    hooks: FamilyHooks,
    config_object: Any,
    config: SourceConfig,
    dtype: str,
    original: OriginalConfig | None,
) -> dict[str, Any]:
    """The fields of the Hugging Face config that correspond to a Forgather model."""
    fields = hf_config_fields(hooks, config_object, config, dtype)
    if original is not None and "tokenizer_class" not in parse_config(original.text, CONFIG_FILE):
        # It was only stated for the Forgather model.
        fields.pop("tokenizer_class", None)
    return fields


def _original_config_text(detection: Detection, directory: Path) -> str:
    """The config to restore; for a quantized model, that of the dequantized one."""
    if detection.dequantizer is None:
        return read_text(directory / CONFIG_FILE)
    fields = without_quantization_fields(read_json_object(directory / CONFIG_FILE))
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def _changed_options(options: ConvertOptions) -> Mapping[str, Any]:
    defaults = ConvertOptions()
    recorded = (
        "dtype",
        "dequantize",
        "max_length",
        "model_type",
        "weights_format",
        "max_shard_size",
        "drop_unused",
        "code_only",
        "link",
    )
    return {
        name: getattr(options, name)
        for name in recorded
        if getattr(options, name) != getattr(defaults, name)
    }


def _forgather_config_fields(
    original: Mapping[str, Any],
    dtype: str,
    project: Project,
    code: GeneratedCode,
    renamed: Collection[str],
) -> dict[str, Any]:
    """The Forgather ``config.json``: the model's fields, and all others of the source.

    Args:
        original: The content of the source's config file.
        dtype: The dtype to state.
        project: The dynamic model.
        code: Its code.
        renamed: The source's RoPE fields, and other fields that have another name here.
    """
    carried = {
        name: value for name, value in original.items() if name not in (*FORGATHER_FIELDS, *renamed)
    }
    return {
        **carried,
        **project.config,
        "architectures": ["DynamicCausalLM"],
        "auto_map": dict(code.auto_map),
        "model_type": project.dynamic_model_type,
        "hf_model_type": project.model_type,
        "dtype": dtype,
    }
