"""Detects what the source is: direction, family, dtype and weights.

Reads file names, JSON and tensor headers, and runs no code from the directory.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from forgather_convert.errors import OptionError, SourceError, UnsupportedModelError
from forgather_convert.files.plain_text import one_line
from forgather_convert.options import ConvertOptions
from forgather_convert.quantization.description import Dequantizer, FindDequantizer
from forgather_convert.quantization.formats import find_core_dequantizer
from forgather_convert.source.checkpoint_choice import find_checkpoint, numbered_checkpoints
from forgather_convert.source.composite import Composite, has_text_config, text_config
from forgather_convert.source.config_file import (
    CONFIG_FILE,
    DTYPE_FIELDS,
    SourceConfig,
    read_config,
)
from forgather_convert.source.directory_check import check_entries
from forgather_convert.source.forgather_signs import (
    DYNAMIC_MODEL_TYPE_PREFIX,
    DYNAMIC_PREFIX,
    is_forgather_config,
)
from forgather_convert.source.loading_fields import REDIRECTIONS
from forgather_convert.source.model_directory import (
    find_model_directory,
    refuse_other_tokens,
    report_lacking_tokenizer,
    trained_config,
)
from forgather_convert.source.quantization import read_quantization, without_quantization
from forgather_convert.source.readable_weights import (
    checkpoint_kinds,
    readable_weights,
    refuse_adapters,
)
from forgather_convert.tensors.dtypes import WEIGHT_DTYPES, config_dtype, is_dtype
from forgather_convert.tensors.names import enumerate_names
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.formats import OpenWeights, open_core_weights

logger = logging.getLogger(__name__)

#: Ignored fields that most configs have, and that are not worth a message.
_NOTHING_TO_SAY = ("_name_or_path", "_commit_hash", "_attn_implementation_autoset")
DEFAULT_MODEL_TYPE = "llama"
DEFAULT_DTYPE = "bfloat16"


class Direction(Enum):
    """The direction of a conversion; the value is the ``direction`` that hooks receive."""

    TO_FORGATHER = "to_forgather"
    FROM_FORGATHER = "from_forgather"


@dataclass(frozen=True)
class Detection:
    """What was detected about a source.

    Attributes:
        source: The model directory.
        direction: The direction to convert it in.
        model_type: The family.
        dtype: The data type of the output.
        dtype_is_stated: Whether an option or the config states it; otherwise it is the default.
        config: The content of its ``config.json`` with the changes of a training, without the
            fields about quantization.
        metadata_directory: The directory of config, tokenizer and provenance: the source; the
            model that it is a checkpoint of; or the checkpoint if neither has a config.
        checkpoint: The weights to convert.
        dequantizer: What dequantizes the weights; ``None`` if they are not quantized.
        composite: What the model is besides a text model; ``config`` is that of the text model.
            ``None`` if it is nothing else.
    """

    source: Path
    direction: Direction
    model_type: str
    dtype: str
    dtype_is_stated: bool
    config: SourceConfig
    metadata_directory: Path
    checkpoint: Checkpoint
    dequantizer: Dequantizer | None = None
    composite: Composite | None = None

    @property
    def tensors(self) -> Mapping[str, TensorRef]:
        """The tensors in the weights; those of a composite's text model by the latter's names."""
        return self.checkpoint.tensors if self.composite is None else self.composite.text

    @property
    def other_tensors(self) -> Mapping[str, TensorRef]:
        """The tensors of a composite that are not its text model's."""
        return {} if self.composite is None else self.composite.others

    @property
    def file_config(self) -> SourceConfig:
        """The content of ``config.json``, also where that is a composite's."""
        return self.config if self.composite is None else self.composite.config

    def as_text_model(self) -> "Detection":
        """The same directory of a composite, seen as its text model.

        Raises:
            SourceError: It has no text model.
        """
        origin = str(self.checkpoint.files.directory)
        composite = Composite.of(self.config, self.checkpoint.tensors, origin)
        return replace(self, config=text_config(self.config), composite=composite)

    @property
    def is_forgather(self) -> bool:
        """Whether the source is a Forgather model."""
        return self.direction is Direction.FROM_FORGATHER


#: Tells whether a model type is known.
IsFamily = Callable[[str], bool]


def _any_is_a_family(_: str) -> bool:
    return True


@dataclass(frozen=True)
class Formats:
    """What reads weights.

    Attributes:
        open_weights: Opens weights of all supported formats.
        find_dequantizer: Finds what dequantizes weights of all supported formats.
    """

    open_weights: OpenWeights = open_core_weights
    find_dequantizer: FindDequantizer = find_core_dequantizer


def detect(
    source: Path,
    options: ConvertOptions,
    formats: Formats = Formats(),
    is_family: IsFamily = _any_is_a_family,
    checkpoint_of: Path | None = None,
) -> Detection:
    """Detects the content of a directory from file names, JSON files and tensor headers.

    Args:
        source: The directory.
        options: The options of the conversion.
        formats: What reads weights; by default, core.
        is_family: Tells whether a model type is that of a family; the one in a Forgather model's
            config may be just the model's name.
        checkpoint_of: The model that the directory is a checkpoint of, if its location does not
            say so.

    Raises:
        SourceError: It is not a model directory, or has no weights.
        UnsupportedModelError: Its family is unknown and not given.
        OptionError: An option does not fit the source.
    """
    require_directory(source)
    check_entries(source)
    open_weights = formats.open_weights
    metadata_directory, checkpoint = _find_metadata(source, options, open_weights, checkpoint_of)
    config = read_config(metadata_directory)
    _refuse_redirections(config)
    _report_ignored_fields(config)
    dequantizer = read_quantization(
        config, metadata_directory, options.dequantize, formats.find_dequantizer
    )
    config = without_quantization(config)
    direction = _detect_direction(config, options)
    if dequantizer is not None and direction is Direction.FROM_FORGATHER:
        raise UnsupportedModelError(
            f"{config.origin} describes quantized weights ({dequantizer.method}), which a "
            "Forgather model cannot have. Convert the model that it was made from."
        )
    model_type = _detect_model_type(config, direction, options, is_family)
    dtype, is_stated = _detect_dtype(config, options)
    if direction is Direction.TO_FORGATHER:
        if options.checkpoint_path is not None:
            raise OptionError(
                "--checkpoint-path selects a checkpoint of a Forgather model, but "
                f"{source} is a Hugging Face model. Remove the option, or use --reverse."
            )
        if checkpoint is None:
            checkpoint = readable_weights(source, open_weights)
            _report_checkpoints(source)
    else:
        checkpoint = checkpoint or find_checkpoint(source, options.checkpoint_path, open_weights)
        config = trained_config(config, checkpoint.files.directory)
        refuse_other_tokens(metadata_directory, checkpoint.files.directory)
    refuse_adapters(metadata_directory)
    report_lacking_tokenizer(config, metadata_directory, checkpoint.files.directory)
    return Detection(
        source=source,
        direction=direction,
        model_type=model_type,
        dtype=dtype,
        dtype_is_stated=is_stated,
        config=config,
        metadata_directory=metadata_directory,
        checkpoint=checkpoint,
        dequantizer=dequantizer,
    )


def require_directory(source: Path) -> None:
    """Refuses a source that is not a directory.

    Raises:
        SourceError: It is not a directory.
    """
    if not source.is_dir():
        what = "is not a directory" if source.exists() else "does not exist"
        raise SourceError(f"The source {source} {what}. Give the directory of a model.")


def _find_metadata(
    source: Path,
    options: ConvertOptions,
    open_weights: OpenWeights,
    checkpoint_of: Path | None,
) -> tuple[Path, Checkpoint | None]:
    """Finds the directory of the config, and the weights if they had to be found first."""
    requested = options.checkpoint_path
    model_directory = checkpoint_of or find_model_directory(source, options.reverse)
    if model_directory is not None:
        logger.info(
            "%s is a checkpoint of %s; using the config and tokenizer from there",
            source,
            model_directory,
        )
        checkpoint = readable_weights(source, open_weights) if requested is None else None
        return model_directory, checkpoint or find_checkpoint(source, requested, open_weights)
    if (source / CONFIG_FILE).is_file():
        return source, None
    if requested is None and not checkpoint_kinds(source) and not numbered_checkpoints(source):
        raise SourceError(
            f"Could not auto-detect model type: {source} has no {CONFIG_FILE}: is this the model "
            "directory? It holds neither config nor weights. Give the directory that has them."
        )
    checkpoint = find_checkpoint(source, requested, open_weights)
    # Such as the directory "checkpoints" of a model.
    model_directory = find_model_directory(checkpoint.files.directory, options.reverse)
    if model_directory is not None:
        return model_directory, checkpoint
    if (checkpoint.files.directory / CONFIG_FILE).is_file():
        return checkpoint.files.directory, checkpoint
    raise SourceError(
        f"{source} has no {CONFIG_FILE}, and no checkpoint with one. Give the directory of a model."
    )


def _report_checkpoints(source: Path) -> None:
    """Tells that a Hugging Face model contains training checkpoints."""
    numbered = numbered_checkpoints(source)
    if numbered:
        logger.warning(
            "%s contains training checkpoints, the latest of which is %s. They are not converted, "
            "only the model's own weights. To convert a checkpoint, give it as the source",
            source,
            numbered[0].path,
        )


def _refuse_redirections(config: SourceConfig) -> None:
    """Refuses configs that make transformers read other files, or fields by other names."""
    for field, effect in REDIRECTIONS.items():
        if config.get(field):
            raise UnsupportedModelError(
                f"{config.origin} has the field '{field}', which makes transformers {effect}. Use "
                "the usual names, and remove the field."
            )


def _report_ignored_fields(config: SourceConfig) -> None:
    """Tells which fields are ignored, except those about the model's origin."""
    named = [name for name in config.ignored if not name.endswith(_NOTHING_TO_SAY)]
    if named:
        logger.info(
            "Ignored in %s: %s (internal fields of transformers, some of which choose code)",
            config.origin,
            enumerate_names(named),
        )


def _detect_direction(config: SourceConfig, options: ConvertOptions) -> Direction:
    if is_forgather_config(config):
        return Direction.FROM_FORGATHER
    if options.reverse:
        logger.info("Converting from Forgather because of --reverse; the config does not say so")
        return Direction.FROM_FORGATHER
    if model_type_in(config, Direction.TO_FORGATHER) or options.model_type:
        return Direction.TO_FORGATHER
    raise UnsupportedModelError(
        f"Could not auto-detect model type: {config.origin} has neither 'model_type' nor "
        "'hf_model_type'. Name its type with --model-type, and add --reverse if it is a "
        "Forgather model."
    )


def _detect_model_type(
    config: SourceConfig, direction: Direction, options: ConvertOptions, is_family: IsFamily
) -> str:
    stated = model_type_in(config, direction)
    how = "Auto-detected"
    if options.model_type is not None:
        if stated is not None and stated != options.model_type:
            logger.warning(
                "The config states the model type '%s'; using '%s' because of --model-type",
                stated,
                options.model_type,
            )
        model_type, how = options.model_type, "Using"
    elif stated is not None and (not _is_only_a_name(config, direction) or is_family(stated)):
        model_type = stated
    else:
        logger.warning(
            "Could not auto-detect model type: %s %s; using the default '%s'. If that is wrong, "
            "name the type with --model-type",
            config.origin,
            f"states '{one_line(stated[:80])}', which is not a known type"
            if stated
            else "does not say",
            DEFAULT_MODEL_TYPE,
        )
        model_type, how = DEFAULT_MODEL_TYPE, "Using"
    if direction is Direction.TO_FORGATHER:
        logger.info("%s HuggingFace model (type: %s)", how, model_type)
    else:
        logger.info("%s Forgather model (original type: %s)", how, model_type)
    return model_type


def _is_only_a_name(config: SourceConfig, direction: Direction) -> bool:
    """Whether the family stated in a config may be just the name of one model.

    The framework derives the model type of a new model from the short name in its project.
    """
    return direction is Direction.FROM_FORGATHER and not config.get("hf_model_type")


def model_type_in(config: SourceConfig, direction: Direction) -> str | None:
    """The family that a config states; ``None`` if it states none.

    Raises:
        UnsupportedModelError: The field is not a string.
    """
    model_type = config.get("model_type")
    if model_type is not None and not isinstance(model_type, str):
        raise UnsupportedModelError(
            f"In {config.origin}, 'model_type' is {repr(model_type)[:80]}; it must be a string. "
            "Fix it."
        )
    if direction is Direction.FROM_FORGATHER:
        original = config.get("hf_model_type")
        if isinstance(original, str) and original:
            return original
        if isinstance(model_type, str):
            for prefix in (DYNAMIC_MODEL_TYPE_PREFIX, DYNAMIC_PREFIX):
                if model_type.startswith(prefix):
                    return model_type.removeprefix(prefix) or None
    return model_type if isinstance(model_type, str) and model_type else None


def _detect_dtype(config: SourceConfig, options: ConvertOptions) -> tuple[str, bool]:
    if options.dtype is not None:
        _named_dtypes(config)
        return options.dtype, True
    dtype = stated_dtype(config)
    if dtype is not None:
        logger.info("Auto-detected dtype from source model: %s", dtype)
        return dtype, True
    logger.info("The source model states no dtype; using the default: %s", DEFAULT_DTYPE)
    return DEFAULT_DTYPE, False


def stated_dtype(config: SourceConfig) -> str | None:
    """The dtype that a config states, in its current field or the deprecated one.

    Raises:
        UnsupportedModelError: It is not one that weights can have.
    """
    for dtype in _named_dtypes(config):
        if dtype not in WEIGHT_DTYPES:
            raise UnsupportedModelError(
                f"{config.origin} states the dtype '{dtype}', which is not a type that weights "
                f"can be converted in. It must be one of {', '.join(WEIGHT_DTYPES)}."
            )
        return dtype
    return None


def _named_dtypes(config: SourceConfig) -> list[str]:
    """The dtypes in a config's fields, the current field first.

    Raises:
        UnsupportedModelError: One is not the name of a dtype.
    """
    # A composite may state it for its text model only.
    places = (config, text_config(config)) if has_text_config(config) else (config,)
    values = [
        place[field] for place in places for field in DTYPE_FIELDS if place.get(field) is not None
    ]
    for value in values:
        name = config_dtype(value)
        if not isinstance(value, str) or (name is not None and not is_dtype(name)):
            raise UnsupportedModelError(
                f"{config.origin} states the dtype {value!r}, which is not the name of a type. "
                f"It must be one of {', '.join(WEIGHT_DTYPES)}."
            )
    return [name for name in map(config_dtype, values) if name is not None]
