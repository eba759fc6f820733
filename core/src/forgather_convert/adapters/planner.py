"""Makes the plan of an adapter's conversion."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forgather_convert.adapters.adapter_directory import AdapterDirectory
from forgather_convert.adapters.config import convert_config
from forgather_convert.adapters.logit_check import AdaptedModels
from forgather_convert.adapters.parameter_links import ParameterLinks
from forgather_convert.adapters.provenance import (
    ADAPTER_PROVENANCE_FILE,
    AdapterProvenance,
    read_adapter_provenance,
)
from forgather_convert.adapters.tensors import Counterpart, convert_tensors
from forgather_convert.errors import ForgatherConvertError, OptionError
from forgather_convert.files.json_file import parse_json_object
from forgather_convert.models.side_file_rules import SideFileRules
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.plan import ConversionPlan, ShardPlan, TensorPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.planning.side_files import SideFiles, SideFileSource, plan_side_files
from forgather_convert.source.config_file import CONFIG_FILE, read_config
from forgather_convert.source.detection import Direction
from forgather_convert.source.files import WriteFile, encode_json
from forgather_convert.source.forgather_signs import is_forgather_config
from forgather_convert.source.readable_weights import ADAPTER_CONFIG_FILE, ADAPTER_SAFETENSORS_FILE
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.tensors.matching import match_tensors
from forgather_convert.weights.formats import has_weights
from forgather_convert.weights.safetensors_file import build_header, encode_header

logger = logging.getLogger(__name__)

#: Options that apply only to conversions of models.
_OF_MODELS = {
    "dtype": "--dtype",
    "max_length": "--max-length",
    "checkpoint_path": "--checkpoint-path",
    "token_file": "--add-tokens",
    "pad_vocab_to_multiple_of": "--pad-vocab-to-multiple-of",
    "chat_template_path": "--chat-template-path",
    "generation_test": "--generation-test",
    "weights_format": "--format",
    "max_shard_size": "--max-shard-size",
    "code_only": "--code-only",
    "link": "--link",
    "text_only": "--text-only",
}
#: transformers and PEFT do not load a file without this metadata.
_METADATA = {"format": "pt"}


def refuse_options_of_models(options: ConvertOptions) -> None:
    """Refuses options that apply only to conversions of models.

    Raises:
        OptionError: There are such options.
    """
    defaults = ConvertOptions()
    given = [
        flag
        for name, flag in _OF_MODELS.items()
        if getattr(options, name) != getattr(defaults, name)
    ]
    if given:
        raise OptionError(
            f"{', '.join(given)} cannot be used with --base: adapters are converted unchanged. "
            "Leave it out, or merge the adapter into the model and convert that."
        )


def options_of_base(options: ConvertOptions, base: Path) -> ConvertOptions:
    """The options for opening a base model, without its training checkpoints.

    These may contain only the adapter.
    """
    options = replace(options, base=None)
    if not ((base / CONFIG_FILE).is_file() and has_weights(base)):
        return options
    if options.reverse or is_forgather_config(read_config(base)):
        return replace(options, checkpoint_path=base)
    return options


@dataclass(frozen=True)
class PlannedAdapter:
    """A plan, and the models for the adapter and its counterpart."""

    plan: ConversionPlan
    models: AdaptedModels


def plan_adapter(adapter: AdapterDirectory, request: PlanRequest) -> PlannedAdapter:
    """Plans the conversion of an adapter completely; nothing is written.

    Raises:
        ForgatherConvertError: The conversion is not possible.
    """
    detection = request.detection
    context = request.model.read()
    source = context.model
    destination = context.build_target(source.config)
    links = ParameterLinks.of(destination.mapping, destination.parameters)
    counterpart = Counterpart(
        direction=detection.direction,
        links=links,
        parameters=destination.parameters,
        config=source.config,
        base=str(detection.source),
    )
    values = {name: stored(ref) for name, ref in adapter.tensors.items()}
    converted = convert_tensors(values, counterpart)
    config = convert_config(adapter.config, adapter.tensors, links, str(adapter.config_path))
    original: AdapterProvenance | None = None
    writes: list[WriteFile] = []
    if detection.direction is Direction.TO_FORGATHER:
        writes.append(_provenance_write(adapter))
    else:
        original = read_adapter_provenance(adapter.path)
    shard = _shard(adapter, converted, original)
    # The config is last: a directory without one is not mistaken for an adapter.
    content = encode_json(config)
    if original is not None and _leads_to(original.config, adapter.config, converted, links):
        content = original.config.encode("utf-8")
    writes.append(WriteFile(ADAPTER_CONFIG_FILE, content))
    files = _side_files(adapter, detection.direction, request.options.follow_links)
    plan = ConversionPlan(
        source=adapter.path,
        destination=request.destination,
        direction=detection.direction,
        model_type=detection.model_type,
        dtype=", ".join(sorted({value.dtype for value in converted.values()})),
        shards=(shard,),
        writes=tuple(writes),
        copies=files.copies,
        left_out=files.left_out,
        checkpoint=adapter.path,
        converter=request.hooks.name,
        weights_states=adapter.weights_states,
    )
    match = match_tensors(
        source.tensors,
        destination.mapping,
        destination.parameters,
        source.config,
        str(source.weights_directory),
    )
    models = AdaptedModels(
        source, match.source_state, destination, match.expressions, detection.dtype
    )
    return PlannedAdapter(plan, models)


def _provenance_write(adapter: AdapterDirectory) -> WriteFile:
    provenance = AdapterProvenance(config=adapter.config_text, header=adapter.header)
    text = provenance.model_dump_json(indent=2) + "\n"
    return WriteFile(ADAPTER_PROVENANCE_FILE, text.encode("utf-8"))


def _leads_to(
    original: str, current: Mapping[str, Any], names: Iterable[str], links: ParameterLinks
) -> bool:
    """Whether converting a config gives another one, whose original it then is."""
    fields = parse_json_object(original, ADAPTER_PROVENANCE_FILE)
    try:
        again = convert_config(fields, names, links.inverted(), ADAPTER_PROVENANCE_FILE)
    except ForgatherConvertError as error:
        # It was trained further, or belongs to another adapter: its own config is used.
        logger.debug("The original config is not that of this adapter: %s", error)
        return False
    return again == current


def _shard(
    adapter: AdapterDirectory,
    converted: Mapping[str, Expression],
    original: AdapterProvenance | None,
) -> ShardPlan:
    """The weights file: like the original's if it has the same tensors, else in source order."""
    header = None if original is None else original.header
    if header is not None:
        entries = {ref.name: (ref.dtype, ref.shape) for ref in header.tensors}
        if entries == {name: (value.dtype, value.shape) for name, value in converted.items()}:
            tensors = (TensorPlan(ref.name, converted[ref.name]) for ref in header.tensors)
            return ShardPlan(ADAPTER_SAFETENSORS_FILE, tuple(tensors), encode_header(header.text))
    metadata = _METADATA if adapter.header is None else adapter.header.metadata
    text = build_header(
        ((name, value.dtype, value.shape) for name, value in converted.items()), metadata
    )
    planned = (TensorPlan(name, value) for name, value in converted.items())
    return ShardPlan(ADAPTER_SAFETENSORS_FILE, tuple(planned), encode_header(text))


def _side_files(adapter: AdapterDirectory, direction: Direction, follows_links: bool) -> SideFiles:
    is_forward = direction is Direction.TO_FORGATHER
    own = frozenset({ADAPTER_PROVENANCE_FILE})
    rules = SideFileRules(
        generated=own if is_forward else frozenset(),
        replaced=frozenset({ADAPTER_CONFIG_FILE}) | (frozenset() if is_forward else own),
    )
    place = SideFileSource(adapter.path, adapter.path, {adapter.weights_file}, follows_links)
    files = plan_side_files(place, rules)
    if (adapter.path / CONFIG_FILE).is_file():
        logger.info("Not copied: %s, which is the base model's", CONFIG_FILE)
        return replace(files, left_out=(*files.left_out, CONFIG_FILE))
    return files
