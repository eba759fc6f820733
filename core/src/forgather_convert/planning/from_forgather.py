"""Plans of conversions from Forgather to Hugging Face."""

import logging
from pathlib import Path

from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.planning.original_layout import original_layout
from forgather_convert.planning.parts import (
    conversion_plan,
    planned_vocabulary,
    vocabulary_writes,
)
from forgather_convert.planning.provenance import Provenance, read_provenance
from forgather_convert.planning.request import PlannedConversion, PlanRequest
from forgather_convert.planning.side_files import plan_side_files
from forgather_convert.planning.tensor_plans import asks_for_layout, choose_layout, tensor_plans
from forgather_convert.sides.forgather_config import forgather_config_fields
from forgather_convert.sides.hf_config_file import (
    complete_config,
    hf_config_fields,
    restored_config,
)
from forgather_convert.sides.parameters import skeleton_of
from forgather_convert.source.config_file import CONFIG_FILE, SourceConfig, parse_config
from forgather_convert.source.detection import DEFAULT_DTYPE, stated_dtype
from forgather_convert.source.dialect import current_config, current_tensors
from forgather_convert.source.files import WriteFile, encode_json, sha256
from forgather_convert.tensors.matching import match_tensors
from forgather_convert.vocabulary.model_fields import changed_config

logger = logging.getLogger(__name__)

#: What trainers leave beside a model, apart from tensors.
_TRAINING_FILES = ("trainer_state.json",)


def plan_from_forgather(request: PlanRequest) -> PlannedConversion:
    """Plans a Hugging Face model directory for a Forgather model."""
    detection, hooks, options = request.detection, request.hooks, request.options
    source_tensors = current_tensors(request.checkpoint.tensors)
    config = current_config(detection.config, source_tensors)
    hooks.validate_source_config(config, detection.direction.value)
    vocabulary = planned_vocabulary(request, config)
    extended = config if vocabulary is None else changed_config(config, vocabulary)
    hf_config = hooks.hf_config(extended, options.max_length)
    now = hf_config_fields(hooks, extended, options.max_length, detection.dtype)
    skeleton = skeleton_of(lambda: hooks.hf_model_class()(hf_config))
    mapping = hooks.weight_mapping()
    match = match_tensors(
        source_tensors,
        mapping.inverted(),
        skeleton.with_vocabulary(config.vocab_size),
        config,
        request.weights_origin,
    )
    tensors = tensor_plans(request, match, skeleton, vocabulary)

    provenance = read_provenance(detection.metadata_directory)
    original = None if provenance is None else _original_config(provenance, hooks)
    layout = None
    if provenance is None or original is None:
        config_bytes = encode_json(now, sort_keys=True)
    else:
        then = hf_config_fields(hooks, original, None, stated_dtype(original) or DEFAULT_DTYPE)
        if "tokenizer_class" not in original:
            now.pop("tokenizer_class", None)
        config_bytes = restored_config(provenance.hf_config, then, now).encode("utf-8")
        if provenance.weights is not None and not asks_for_layout(options):
            layout = original_layout(tensors, provenance.weights, skeleton)
    if layout is None:
        layout = choose_layout(request, tensors)

    files = plan_side_files(
        detection.metadata_directory,
        request.checkpoint.files.paths,
        replaced=_forgather_only_files(detection.metadata_directory, provenance),
        chat_template=options.chat_template_path,
        writes=vocabulary_writes(request, vocabulary),
    )
    plan = conversion_plan(
        request, layout, files, vocabulary, generated=(WriteFile(CONFIG_FILE, config_bytes),)
    )
    # The Forgather side as it is, from its config alone: the source's own code is not run.
    before = hf_config_fields(hooks, config, options.max_length, detection.dtype)
    project = hooks.project(complete_config(hooks, SourceConfig(before)), None)
    code = generate_code(project)
    return PlannedConversion(
        plan=plan,
        hf_config=hf_config,
        code=code,
        forgather_config=forgather_config_fields(detection, project, code),
        tokenizer_directory=detection.metadata_directory,
        tied=skeleton.tied,
        source_state=match.source_state,
    )


def _original_config(provenance: Provenance, hooks: FamilyHooks) -> SourceConfig | None:
    """The config that a Forgather model came from, if it is the family's that it goes to."""
    original = parse_config(provenance.hf_config, f"the original {CONFIG_FILE}")
    return original if original.get("model_type", hooks.model_type) == hooks.model_type else None


def _forgather_only_files(directory: Path, provenance: Provenance | None) -> frozenset[str]:
    """The names of model code and training state, which a Hugging Face model has no use for."""
    code = {path.name for path in directory.glob("*.py")}
    if provenance is None:
        return frozenset({*code, *_TRAINING_FILES})
    edited = [
        name
        for name, digest in provenance.generated.items()
        if name in code and sha256((directory / name).read_bytes()) != digest
    ]
    if edited:
        logger.warning(
            "The model code was edited (%s); a Hugging Face model cannot follow it",
            ", ".join(edited),
        )
    return frozenset({*provenance.generated, *_TRAINING_FILES} - {*provenance.carried})
