"""Makes the plan of a conversion."""

import hashlib
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from forgather_convert.detect import DEFAULT_DTYPE, Detection, Direction, stated_dtype
from forgather_convert.dialect import current_config, current_tensors
from forgather_convert.dynamic_model.code_generator import GeneratedCode, generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.dynamic_model.project import Project
from forgather_convert.files import WriteFile, encode_json
from forgather_convert.hf_config_file import complete_config, hf_config_fields, restored_config
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.layout import Layout, mirror_layout, mirrors_source, packed_layout
from forgather_convert.planning.model_skeleton import ModelSkeleton, skeleton_of
from forgather_convert.planning.operations import Cast, Move, Operation, ResizeRows
from forgather_convert.planning.original_layout import original_layout
from forgather_convert.planning.plan import ConversionPlan, TensorPlan
from forgather_convert.planning.side_files import plan_side_files, weights_paths
from forgather_convert.planning.tensor_matching import Match, match_tensors
from forgather_convert.plugins.converter import FORGATHER_FIELDS
from forgather_convert.plugins.manager import ConverterHandle
from forgather_convert.provenance import (
    PROVENANCE_FILE,
    Provenance,
    describe_weights,
    read_provenance,
)
from forgather_convert.rope import ROPE_FIELDS
from forgather_convert.source_config import CONFIG_FILE, SourceConfig, parse_config
from forgather_convert.tokenizer_directory import lacks_tokenizer_class
from forgather_convert.vocabulary.change import VocabularyChange
from forgather_convert.vocabulary.extension import plan_vocabulary
from forgather_convert.vocabulary.model_fields import changed_config, generation_config_writes
from forgather_convert.vocabulary.requests import TokenRequest
from forgather_convert.weights.checkpoint import SAFETENSORS, Checkpoint, open_checkpoint
from forgather_convert.weights.tensor_ref import TensorRef

logger = logging.getLogger(__name__)

#: Fields of a source config that describe the file or its format, not the model.
_NOT_CARRIED = ("_name_or_path", "architectures", "auto_map", "model_type", "torch_dtype", "dtype")


#: What trainers leave beside a model, apart from tensors.
_TRAINING_FILES = ("trainer_state.json",)


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


def plan_conversion(
    detection: Detection,
    handle: ConverterHandle,
    destination: Path,
    options: ConvertOptions,
    tokens: tuple[TokenRequest, ...] | None,
) -> PlannedConversion:
    """Plans a conversion completely; nothing is written.

    Args:
        detection: What the source is.
        handle: The family's converter.
        destination: The directory that will appear.
        options: What the user asks for.
        tokens: The tokens to add; ``None`` if the user does not say.

    Raises:
        ForgatherConvertError: It is not possible, with what stands in the way.
    """
    checkpoint = open_checkpoint(detection.weights)
    if detection.direction is Direction.TO_FORGATHER:
        return _plan_to_forgather(detection, handle, checkpoint, destination, options, tokens)
    return _plan_from_forgather(detection, handle, checkpoint, destination, options, tokens)


def _plan_to_forgather(
    detection: Detection,
    handle: ConverterHandle,
    checkpoint: Checkpoint,
    destination: Path,
    options: ConvertOptions,
    tokens: tuple[TokenRequest, ...] | None,
) -> PlannedConversion:
    handle.validate_source_config(detection.config, detection.direction.value)
    config = complete_config(handle, detection.config)
    vocabulary = _vocabulary(detection, handle, config, options, tokens)
    extended = config if vocabulary is None else changed_config(config, vocabulary)
    project = handle.project(extended, options.max_length)
    code = generate_code(project)
    forgather_config = _forgather_config(detection, project, code)
    if handle.converter.tokenizer_class and lacks_tokenizer_class(detection.metadata_directory):
        forgather_config.setdefault("tokenizer_class", handle.converter.tokenizer_class)
    module = load_generated_code(code)
    skeleton = skeleton_of(lambda: module.model_class(module.config_class(**forgather_config)))
    mapping = handle.weight_mapping()
    match = match_tensors(
        checkpoint.tensors,
        mapping,
        skeleton.with_vocabulary(config.vocab_size),
        config,
        str(checkpoint.files.directory),
    )
    tensors = _tensor_plans(match, detection, options)
    tensors = _with_vocabulary(tensors, skeleton, vocabulary)
    layout = _layout(tensors, checkpoint, options)

    files = plan_side_files(
        detection.metadata_directory,
        weights_paths(checkpoint.files.shards, checkpoint.files.index),
        replaced=(),
        chat_template=options.chat_template_path,
        writes=_vocabulary_writes(detection.metadata_directory, vocabulary),
    )
    provenance = Provenance(
        tool=_tool_versions(handle),
        options=_changed_options(options),
        hf_config=_read_text(detection.metadata_directory / CONFIG_FILE),
        weights=describe_weights(checkpoint, match.recomputed),
        generated={name: _sha256(text.encode()) for name, text in code.files.items()},
        carried=tuple(copy.name for copy in files.copies),
    )
    generated = tuple(WriteFile(name, text.encode()) for name, text in sorted(code.files.items()))
    plan = ConversionPlan(
        source=detection.source,
        destination=destination,
        direction=detection.direction,
        model_type=detection.model_type,
        dtype=detection.dtype,
        shards=layout.shards,
        writes=(
            *_index(layout),
            *generated,
            *files.writes,
            WriteFile(PROVENANCE_FILE, provenance.to_json().encode()),
            WriteFile(CONFIG_FILE, encode_json(forgather_config, sort_keys=True)),
        ),
        copies=files.copies,
        left_out=files.left_out,
        vocabulary=vocabulary,
    )
    return PlannedConversion(
        plan=plan,
        hf_config=handle.hf_config(config, options.max_length),
        code=code,
        forgather_config=forgather_config,
        tokenizer_directory=detection.metadata_directory,
        tied=skeleton.tied,
        source_state=match.source_state,
    )


def _plan_from_forgather(
    detection: Detection,
    handle: ConverterHandle,
    checkpoint: Checkpoint,
    destination: Path,
    options: ConvertOptions,
    tokens: tuple[TokenRequest, ...] | None,
) -> PlannedConversion:
    source_tensors = current_tensors(checkpoint.tensors)
    config = current_config(detection.config, source_tensors)
    handle.validate_source_config(config, detection.direction.value)
    vocabulary = _vocabulary(detection, handle, config, options, tokens)
    extended = config if vocabulary is None else changed_config(config, vocabulary)
    hf_config = handle.hf_config(extended, options.max_length)
    now = hf_config_fields(handle, extended, options.max_length, detection.dtype)
    skeleton = skeleton_of(lambda: handle.hf_model_class()(hf_config))
    mapping = handle.weight_mapping()
    match = match_tensors(
        source_tensors,
        mapping.inverted(),
        skeleton.with_vocabulary(config.vocab_size),
        config,
        str(checkpoint.files.directory),
    )
    tensors = _tensor_plans(match, detection, options)
    tensors = _with_vocabulary(tensors, skeleton, vocabulary)

    provenance = read_provenance(detection.metadata_directory)
    original = None if provenance is None else _original_config(provenance, handle)
    layout = None
    if provenance is None or original is None:
        config_bytes = encode_json(now, sort_keys=True)
    else:
        then = hf_config_fields(handle, original, None, stated_dtype(original) or DEFAULT_DTYPE)
        if "tokenizer_class" not in original:
            now.pop("tokenizer_class", None)
        config_bytes = restored_config(provenance.hf_config, then, now).encode("utf-8")
        if provenance.weights is not None and not _asks_for_layout(options):
            layout = original_layout(tensors, provenance.weights, skeleton)
    if layout is None:
        layout = _layout(tensors, checkpoint, options)

    files = plan_side_files(
        detection.metadata_directory,
        weights_paths(checkpoint.files.shards, checkpoint.files.index),
        replaced=_forgather_only_files(detection.metadata_directory, provenance),
        chat_template=options.chat_template_path,
        writes=_vocabulary_writes(detection.metadata_directory, vocabulary),
    )
    plan = ConversionPlan(
        source=detection.source,
        destination=destination,
        direction=detection.direction,
        model_type=detection.model_type,
        dtype=detection.dtype,
        shards=layout.shards,
        writes=(*_index(layout), *files.writes, WriteFile(CONFIG_FILE, config_bytes)),
        copies=files.copies,
        left_out=files.left_out,
        vocabulary=vocabulary,
    )
    # The Forgather side as it is, from its config alone: the source's own code is not run.
    before = hf_config_fields(handle, config, options.max_length, detection.dtype)
    project = handle.project(complete_config(handle, SourceConfig(before)), None)
    code = generate_code(project)
    return PlannedConversion(
        plan=plan,
        hf_config=hf_config,
        code=code,
        forgather_config=_forgather_config(detection, project, code),
        tokenizer_directory=detection.metadata_directory,
        tied=skeleton.tied,
        source_state=match.source_state,
    )


def _forgather_config(
    detection: Detection, project: Project, code: GeneratedCode
) -> dict[str, Any]:
    """The Forgather ``config.json``: the model's fields, and all others of the source."""
    carried = {
        name: value
        for name, value in detection.config.items()
        if name not in ROPE_FIELDS and name not in _NOT_CARRIED and name not in FORGATHER_FIELDS
    }
    return {
        **carried,
        **project.config,
        "architectures": ["DynamicCausalLM"],
        "auto_map": dict(code.auto_map),
        "model_type": project.dynamic_model_type,
        "hf_model_type": project.model_type,
        "dtype": detection.dtype,
    }


def _original_config(provenance: Provenance, handle: ConverterHandle) -> SourceConfig | None:
    """The config that a Forgather model came from, if it is the family's that it goes to."""
    original = parse_config(provenance.hf_config, f"the original {CONFIG_FILE}")
    return original if original.get("model_type", handle.model_type) == handle.model_type else None


def _tensor_plans(
    match: Match, detection: Detection, options: ConvertOptions
) -> tuple[TensorPlan, ...]:
    """A plan for every tensor that is stored; bytes change only if a dtype was asked for.

    A config may misstate what its weights are stored as; loaders convert on reading, so
    that the stored values are kept. Only where nothing says what the dtype is, the
    default is applied to the weights.
    """
    is_cast = options.dtype is not None or not detection.dtype_is_stated
    others = {made.dtype for made in match.sources.values()} - {detection.dtype}
    if others and options.dtype is None:
        stored = ", ".join(sorted(others))
        if is_cast:
            logger.warning(
                "The config does not say its dtype; weights stored as %s become %s. "
                "Use --dtype to choose",
                stored,
                detection.dtype,
            )
        else:
            logger.warning(
                "The config says %s, but there are weights stored as %s; they stay as they are. "
                "Use --dtype to change them",
                detection.dtype,
                stored,
            )
    plans = []
    for name, made in match.sources.items():
        dtype = detection.dtype if is_cast else made.dtype
        operation: Operation = Move() if dtype == made.dtype else Cast(dtype)
        plans.append(TensorPlan(name, dtype, made.shape, operation, made.inputs, made.transform))
    return tuple(plans)


def _vocabulary(
    detection: Detection,
    handle: ConverterHandle,
    config: SourceConfig,
    options: ConvertOptions,
    tokens: tuple[TokenRequest, ...] | None,
) -> VocabularyChange | None:
    is_original = detection.direction is Direction.TO_FORGATHER
    return plan_vocabulary(
        detection.metadata_directory,
        config,
        handle.hf_config(config, None),
        tokens,
        adds_defaults=is_original and not options.skip_default_tokens,
        multiple=options.pad_vocab_to_multiple_of,
    )


def _with_vocabulary(
    tensors: tuple[TensorPlan, ...], skeleton: ModelSkeleton, vocabulary: VocabularyChange | None
) -> tuple[TensorPlan, ...]:
    """The plans with those of the vocabulary's matrices exchanged."""
    if vocabulary is None or not vocabulary.changes_matrices:
        return tensors
    operation = ResizeRows(vocabulary.size, vocabulary.num_tokens_before, vocabulary.rows)
    return tuple(
        replace(tensor, shape=skeleton.shapes[tensor.name], operation=operation)
        if tensor.name in skeleton.vocabulary_matrices
        else tensor
        for tensor in tensors
    )


def _vocabulary_writes(
    directory: Path, vocabulary: VocabularyChange | None
) -> tuple[WriteFile, ...]:
    if vocabulary is None:
        return ()
    return (*vocabulary.writes, *generation_config_writes(directory, vocabulary))


def _layout(
    tensors: tuple[TensorPlan, ...], checkpoint: Checkpoint, options: ConvertOptions
) -> Layout:
    keeps_division = options.max_shard_size is None
    if keeps_division and mirrors_source(tensors, checkpoint, options.weights_format):
        return mirror_layout(tensors, checkpoint)
    return packed_layout(tensors, options.weights_format, options.max_shard_size)


def _asks_for_layout(options: ConvertOptions) -> bool:
    return options.max_shard_size is not None or options.weights_format != SAFETENSORS


def _index(layout: Layout) -> tuple[WriteFile, ...]:
    return () if layout.index is None else (layout.index,)


def _forgather_only_files(directory: Path, provenance: Provenance | None) -> frozenset[str]:
    """The names of model code and training state, which a Hugging Face model has no use for."""
    code = {path.name for path in directory.glob("*.py")}
    if provenance is None:
        return frozenset({*code, *_TRAINING_FILES})
    edited = [
        name
        for name, digest in provenance.generated.items()
        if name in code and _sha256((directory / name).read_bytes()) != digest
    ]
    if edited:
        logger.warning(
            "The model code was edited (%s); a Hugging Face model cannot follow it",
            ", ".join(edited),
        )
    return frozenset({*provenance.generated, *_TRAINING_FILES} - {*provenance.carried})


def _read_text(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tool_versions(handle: ConverterHandle) -> dict[str, str]:
    packages = ("forgather-convert", "torch", "transformers")
    return {
        **{package: version(package) for package in packages},
        "python": platform.python_version(),
        "converter": handle.origin,
    }


def _changed_options(options: ConvertOptions) -> dict[str, Any]:
    defaults = ConvertOptions()
    recorded = ("dtype", "max_length", "model_type", "weights_format", "max_shard_size")
    return {
        name: getattr(options, name)
        for name in recorded
        if getattr(options, name) != getattr(defaults, name)
    }
