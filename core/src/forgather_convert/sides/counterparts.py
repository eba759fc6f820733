"""Opens the source's side, and makes the destination's from it through the family's hooks."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.provenance import OriginalWeights, Provenance, read_provenance
from forgather_convert.sides.forgather import ForgatherDestination, ForgatherSource, read_forgather
from forgather_convert.sides.forgather_config import forgather_config_fields
from forgather_convert.sides.hf_config_file import hf_config_fields, restored_config
from forgather_convert.sides.hugging_face import (
    HuggingFaceDestination,
    HuggingFaceSource,
    read_hugging_face,
    with_changes,
)
from forgather_convert.sides.parameters import skeleton_of
from forgather_convert.sides.reference import ReferenceClasses, complete_config
from forgather_convert.sides.side import DestinationSide, SourceSide
from forgather_convert.source.config_file import CONFIG_FILE, SourceConfig, parse_config
from forgather_convert.source.detection import (
    DEFAULT_DTYPE,
    Detection,
    Direction,
    stated_dtype,
)
from forgather_convert.source.files import encode_json, sha256
from forgather_convert.source.json_file import read_text
from forgather_convert.source.tokenizer_directory import lacks_tokenizer_class
from forgather_convert.weights.checkpoint import SAFETENSORS, Checkpoint

logger = logging.getLogger(__name__)

#: What trainers leave beside a model, apart from tensors.
_TRAINING_FILES = ("trainer_state.json",)


@dataclass(frozen=True)
class OpenSource:
    """A source that is read, and what makes its counterpart.

    Attributes:
        detection: What the source is.
        checkpoint: Its weights.
        hooks: The family.
        options: What the user asks for.
        side: The source as a side.
    """

    detection: Detection
    checkpoint: Checkpoint
    hooks: FamilyHooks
    options: ConvertOptions
    side: SourceSide

    def counterpart(self, config: SourceConfig) -> DestinationSide:
        """The destination's side.

        Args:
            config: The source's complete config, with the changes that its vocabulary gets.

        Raises:
            UnsupportedModelError: The family cannot express it.
            ConverterError: A hook fails.
        """
        if isinstance(self.side, ForgatherSource):
            return _hugging_face_side(self, self.side, config)
        assert isinstance(self.side, HuggingFaceSource)
        return _forgather_side(self, self.side, config)


def open_source(
    detection: Detection, checkpoint: Checkpoint, hooks: FamilyHooks, options: ConvertOptions
) -> OpenSource:
    """Reads a source, of either kind.

    Raises:
        UnsupportedModelError: The family cannot express it.
    """
    directory, weights_directory = detection.metadata_directory, checkpoint.files.directory
    side: SourceSide
    if detection.direction is Direction.TO_FORGATHER:
        side = read_hugging_face(
            detection.config,
            directory,
            weights_directory,
            checkpoint.tensors,
            hooks,
            options.max_length,
        )
    else:
        side = read_forgather(
            detection.config,
            directory,
            weights_directory,
            checkpoint.tensors,
            hooks,
            options.max_length,
            options.trust_remote_code,
        )
    return OpenSource(detection, checkpoint, hooks, options, side)


def _forgather_side(
    source: OpenSource, side: HuggingFaceSource, config: SourceConfig
) -> ForgatherDestination:
    detection, hooks, options = source.detection, source.hooks, source.options
    project = hooks.project(config, options.max_length)
    code = generate_code(project)
    fields = forgather_config_fields(detection.config, detection.dtype, project, code)
    if hooks.converter.tokenizer_class and lacks_tokenizer_class(side.directory):
        fields.setdefault("tokenizer_class", hooks.converter.tokenizer_class)
    classes = load_generated_code(code)
    config_object = classes.config_class(**fields)
    return ForgatherDestination(
        hooks=hooks,
        parameters=skeleton_of(lambda: classes.model_class(config_object)),
        mapping=hooks.weight_mapping(),
        config_object=config_object,
        original=None,
        replaced=frozenset(),
        config=fields,
        code=code,
        checkpoint=source.checkpoint,
        original_config_text=read_text(side.directory / CONFIG_FILE),
        options=_changed_options(options),
    )


def _hugging_face_side(
    source: OpenSource, side: ForgatherSource, config: SourceConfig
) -> HuggingFaceDestination:
    detection, hooks, options = source.detection, source.hooks, source.options
    config_object = with_changes(side.config_object, side.config, config)
    fields = hf_config_fields(hooks, config_object, config, detection.dtype)
    provenance = read_provenance(side.directory)
    recorded = None if provenance is None else _original_config(provenance, hooks)
    original: OriginalWeights | None = None
    if provenance is None or recorded is None:
        config_text = encode_json(fields, sort_keys=True).decode("utf-8")
    else:
        if "tokenizer_class" not in recorded:
            fields.pop("tokenizer_class", None)
        config_text = restored_config(
            provenance.hf_config, _recorded_fields(hooks, recorded), fields
        )
        if options.max_shard_size is None and options.weights_format == SAFETENSORS:
            original = provenance.weights
    return HuggingFaceDestination(
        hooks=hooks,
        parameters=skeleton_of(lambda: hooks.hf_model_class()(config_object)),
        mapping=hooks.weight_mapping().inverted(),
        config_object=config_object,
        original=original,
        replaced=_forgather_only_files(side, provenance),
        config_text=config_text,
    )


def _original_config(provenance: Provenance, hooks: FamilyHooks) -> SourceConfig | None:
    """The config that a Forgather model came from, if it is the family's that it goes to."""
    original = parse_config(provenance.hf_config, f"the original {CONFIG_FILE}")
    return original if original.get("model_type", hooks.model_type) == hooks.model_type else None


def _recorded_fields(hooks: FamilyHooks, original: SourceConfig) -> dict[str, Any]:
    """The fields that the original config stands for, as the converter would write them."""
    config_object = ReferenceClasses.of(hooks).read(original, original.origin)
    complete = complete_config(original, config_object)
    dtype = stated_dtype(original) or DEFAULT_DTYPE
    return hf_config_fields(hooks, hooks.hf_config(complete, None), original, dtype)


def _forgather_only_files(side: ForgatherSource, provenance: Provenance | None) -> frozenset[str]:
    """The names of model code and training state, which a Hugging Face model has no use for."""
    code = {path.name for path in side.directory.glob("*.py")}
    if provenance is None:
        return frozenset({*code, *_TRAINING_FILES})
    edited = [
        name
        for name, digest in provenance.generated.items()
        if name in code and sha256((side.directory / name).read_bytes()) != digest
    ]
    if edited:
        logger.warning(
            "The model code was edited (%s); a Hugging Face model cannot follow it",
            ", ".join(edited),
        )
    return frozenset({*provenance.generated, *_TRAINING_FILES} - {*provenance.carried})


def _changed_options(options: ConvertOptions) -> Mapping[str, Any]:
    defaults = ConvertOptions()
    recorded = ("dtype", "max_length", "model_type", "weights_format", "max_shard_size")
    return {
        name: getattr(options, name)
        for name in recorded
        if getattr(options, name) != getattr(defaults, name)
    }
