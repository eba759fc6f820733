"""Plans of conversions from Hugging Face to Forgather."""

import platform
from importlib.metadata import version
from typing import Any

from forgather_convert.dynamic_model.code_generator import generate_code
from forgather_convert.dynamic_model.loading import load_generated_code
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.parts import (
    conversion_plan,
    planned_vocabulary,
    vocabulary_writes,
)
from forgather_convert.planning.provenance import PROVENANCE_FILE, Provenance, describe_weights
from forgather_convert.planning.request import PlannedConversion, PlanRequest
from forgather_convert.planning.side_files import plan_side_files
from forgather_convert.planning.tensor_plans import choose_layout, tensor_plans
from forgather_convert.sides.forgather_config import forgather_config_fields
from forgather_convert.sides.hf_config_file import complete_config
from forgather_convert.sides.parameters import skeleton_of
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.files import WriteFile, encode_json, sha256
from forgather_convert.source.tokenizer_directory import lacks_tokenizer_class
from forgather_convert.tensors.matching import match_tensors
from forgather_convert.vocabulary.model_fields import changed_config


def plan_to_forgather(request: PlanRequest) -> PlannedConversion:
    """Plans a Forgather model directory for a Hugging Face model."""
    detection, hooks, options = request.detection, request.hooks, request.options
    hooks.validate_source_config(detection.config, detection.direction.value)
    config = complete_config(hooks, detection.config)
    vocabulary = planned_vocabulary(request, config)
    extended = config if vocabulary is None else changed_config(config, vocabulary)
    project = hooks.project(extended, options.max_length)
    code = generate_code(project)
    forgather_config = forgather_config_fields(detection, project, code)
    if hooks.converter.tokenizer_class and lacks_tokenizer_class(detection.metadata_directory):
        forgather_config.setdefault("tokenizer_class", hooks.converter.tokenizer_class)
    module = load_generated_code(code)
    skeleton = skeleton_of(lambda: module.model_class(module.config_class(**forgather_config)))
    mapping = hooks.weight_mapping()
    match = match_tensors(
        request.checkpoint.tensors,
        mapping,
        skeleton.with_vocabulary(config.vocab_size),
        config,
        request.weights_origin,
    )
    tensors = tensor_plans(request, match, skeleton, vocabulary)
    layout = choose_layout(request, tensors)

    files = plan_side_files(
        detection.metadata_directory,
        request.checkpoint.files.paths,
        replaced=(),
        chat_template=options.chat_template_path,
        writes=vocabulary_writes(request, vocabulary),
    )
    provenance = Provenance(
        tool=_tool_versions(hooks),
        options=_changed_options(options),
        hf_config=(detection.metadata_directory / CONFIG_FILE).read_bytes().decode("utf-8"),
        weights=describe_weights(request.checkpoint, match.recomputed),
        generated={name: sha256(text.encode()) for name, text in code.files.items()},
        carried=tuple(copy.name for copy in files.copies),
    )
    generated = tuple(WriteFile(name, text.encode()) for name, text in sorted(code.files.items()))
    plan = conversion_plan(
        request,
        layout,
        files,
        vocabulary,
        generated=(
            *generated,
            WriteFile(PROVENANCE_FILE, provenance.to_json().encode()),
            WriteFile(CONFIG_FILE, encode_json(forgather_config, sort_keys=True)),
        ),
    )
    return PlannedConversion(
        plan=plan,
        hf_config=hooks.hf_config(config, options.max_length),
        code=code,
        forgather_config=forgather_config,
        tokenizer_directory=detection.metadata_directory,
        tied=skeleton.tied,
        source_state=match.source_state,
    )


def _tool_versions(hooks: FamilyHooks) -> dict[str, str]:
    packages = ("forgather-convert", "torch", "transformers")
    return {
        **{package: version(package) for package in packages},
        "python": platform.python_version(),
        "converter": hooks.origin,
    }


def _changed_options(options: ConvertOptions) -> dict[str, Any]:
    defaults = ConvertOptions()
    recorded = ("dtype", "max_length", "model_type", "weights_format", "max_shard_size")
    return {
        name: getattr(options, name)
        for name in recorded
        if getattr(options, name) != getattr(defaults, name)
    }
