"""Inspects a directory: what it contains, and whether it could be converted."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from forgather_convert.errors import ForgatherConvertError, SourceError
from forgather_convert.families.config_checks import check_dimensions
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.inspection import config_facts
from forgather_convert.inspection.components import EMBEDDING, by_component, component_sizes
from forgather_convert.inspection.directories import checkpoints_of, files_of
from forgather_convert.inspection.result import Inspection, ProvenanceSummary, UsedConverter
from forgather_convert.inspection.token_ids import read_token_ids
from forgather_convert.models.opening import ModelRequest, Opening
from forgather_convert.options import ConvertOptions
from forgather_convert.quantities import counted
from forgather_convert.source.checkpoint_choice import numbered_checkpoints
from forgather_convert.source.composite import Composite, text_config
from forgather_convert.source.config_file import CONFIG_FILE, SourceConfig, read_config
from forgather_convert.source.detection import (
    Direction,
    model_type_in,
    require_directory,
)
from forgather_convert.source.directory_check import (
    FILES_THAT_ARE_READ,
    TOKENIZER_FILE,
    check_json_files,
)
from forgather_convert.source.files import sha256
from forgather_convert.source.forgather_signs import is_forgather_config
from forgather_convert.source.legacy import normalize_config, normalize_tensors
from forgather_convert.source.links import refuse_links_out, target_outside
from forgather_convert.source.other_weights import compare_other_headers
from forgather_convert.source.plausible_size import check_against_tensors
from forgather_convert.source.readable_weights import checkpoint_kinds
from forgather_convert.source.rope import ROPE_FIELDS, RopeParameters, read_rope
from forgather_convert.tensors.expressions import leaves, stored
from forgather_convert.tensors.matching import refuse_quantized
from forgather_convert.tensors.names import RECOMPUTED, enumerate_names
from forgather_convert.tensors.placing import find_places
from forgather_convert.tensors.tensor_ref import TensorRef
from forgather_convert.tensors.weight_mapping import WeightMapping
from forgather_convert.weights.checkpoint import Checkpoint
from forgather_convert.weights.linked_files import LINKS_FILE, read_links

Value = TypeVar("Value")


@dataclass
class _Problems:
    """Problems that prevent a conversion; the inspection continues nevertheless."""

    messages: list[str] = field(default_factory=list)

    def attempt(self, find: Callable[[], Value]) -> Value | None:
        """Calls a function; if it raises, records the problem and returns ``None``."""
        try:
            return find()
        except ForgatherConvertError as error:
            message = str(error)
        except OSError as error:
            message = f"{error.filename or 'A file'} cannot be read: {error.strerror or error}."
        if message not in self.messages:
            self.messages.append(message)
        return None


def inspect(
    path: Path, options: ConvertOptions | None = None, *, converter: HFConverter | None = None
) -> Inspection:
    """Inspects a directory by names, JSON and headers.

    Reads no weights, and imports neither torch nor transformers, unless the family's converter
    does. Problems that prevent a conversion do not stop the inspection: they are in the result's
    ``problems``.

    Args:
        path: The directory of a model, or of a checkpoint in one.
        options: The options of the conversion.
        converter: The converter to use; by default, it is found by the model's type.

    Raises:
        SourceError: There is no directory, or it contains nothing of a model.
    """
    path, options = Path(path), options or ConvertOptions()
    require_directory(path)
    problems = _Problems()
    request = ModelRequest(path, options, converter)
    opening = problems.attempt(lambda: Opening.start(request)) or Opening(request, ())
    contents = _read_contents(opening, problems)
    model_type, hooks = contents.model_type, None
    if model_type is not None:
        hooks = problems.attempt(lambda: opening.find_hooks(model_type, contents.config or {}))
    if hooks is not None and hooks.is_composite:
        contents = problems.attempt(contents.as_text_model) or contents
    mapping = None if hooks is None else problems.attempt(hooks.weight_mapping)
    problems.attempt(lambda: check_json_files(contents.metadata, with_tokenizer=False))
    token_ids = problems.attempt(lambda: read_token_ids(contents.metadata / TOKENIZER_FILE))
    contents = replace(contents, token_ids=token_ids)
    if hooks is not None:
        _check_conversion(contents, hooks, problems)
    return _describe(path, contents, hooks, mapping, problems)


@dataclass(frozen=True)
class _Contents:
    """What is known of a directory: everything that a conversion needs, or parts of it."""

    metadata: Path
    config: SourceConfig | None
    direction: Direction | None
    model_type: str | None
    quantization: str | None
    checkpoint: Checkpoint | None
    is_complete: bool
    composite: Composite | None = None
    token_ids: Collection[int] | None = None

    @property
    def tensors(self) -> Mapping[str, TensorRef]:
        if self.composite is not None:
            return {name: ref.renamed(name) for name, ref in self.composite.text.items()}
        return {} if self.checkpoint is None else self.checkpoint.tensors

    @property
    def file_config(self) -> SourceConfig | None:
        return self.config if self.composite is None else self.composite.config

    def as_text_model(self) -> "_Contents":
        """The same directory of a composite, seen as its text model."""
        if self.config is None or self.checkpoint is None or self.is_forgather:
            return self
        origin = str(self.checkpoint.files.directory)
        composite = Composite.of(self.config, self.checkpoint.tensors, origin)
        return replace(self, config=text_config(self.config), composite=composite)

    @property
    def is_forgather(self) -> bool:
        return self.direction is Direction.FROM_FORGATHER


def _read_contents(opening: Opening, problems: _Problems) -> _Contents:
    path, options = opening.request.path, opening.request.options
    detection = problems.attempt(opening.detect)
    if detection is not None:
        dequantizer = detection.dequantizer
        return _Contents(
            metadata=detection.metadata_directory,
            config=detection.config,
            direction=detection.direction,
            model_type=detection.model_type,
            quantization=None if dequantizer is None else dequantizer.method,
            checkpoint=detection.checkpoint,
            is_complete=True,
        )
    # Errors of the parts have already been recorded, or follow from recorded ones.
    parts = _Problems()
    config = parts.attempt(lambda: read_config(path)) if (path / CONFIG_FILE).is_file() else None
    checkpoint = parts.attempt(lambda: opening.extension_calls.open_weights(path))
    is_model = config is not None or checkpoint is not None or checkpoint_kinds(path)
    if not is_model and not parts.attempt(lambda: numbered_checkpoints(path)):
        raise SourceError(problems.messages[-1])
    direction = None
    if config is not None:
        is_forgather = options.reverse or is_forgather_config(config)
        direction = Direction.FROM_FORGATHER if is_forgather else Direction.TO_FORGATHER
    model_type = options.model_type
    if model_type is None and config is not None and direction is not None:
        model_type = model_type_in(config, direction)
    quantization = None
    if config is not None:
        quantization = parts.attempt(lambda: config_facts.quantization_of(config, path))
    return _Contents(
        metadata=path,
        config=config,
        direction=direction,
        model_type=model_type,
        quantization=quantization,
        checkpoint=checkpoint,
        is_complete=False,
    )


def _check_conversion(contents: _Contents, hooks: FamilyHooks, problems: _Problems) -> None:
    """Does those steps of planning that need no torch."""
    config, tensors = contents.config, contents.tensors
    if config is None:
        return
    problems.attempt(lambda: refuse_links_out(contents.metadata, FILES_THAT_ARE_READ))
    if tensors:
        problems.attempt(lambda: check_against_tensors(config, tensors))
    if contents.is_complete and contents.quantization is None:
        origin = str(contents.metadata)
        values = {name: stored(ref) for name, ref in tensors.items()}
        problems.attempt(lambda: refuse_quantized(values, origin))
    if not contents.is_forgather:
        problems.attempt(lambda: hooks.validate_source_config(config, "to_forgather"))
        return
    from forgather_convert.dynamic_model.stored_code import (
        complete_with_stored_defaults,
        read_stored_code,
    )

    def validate() -> None:
        completed = complete_with_stored_defaults(
            config, read_stored_code(contents.metadata, config)
        )
        current = normalize_config(
            completed, normalize_tensors(tensors), hooks.get_hyperparameters()
        )
        hooks.validate_source_config(current, "from_forgather")

    problems.attempt(validate)


def _describe(
    path: Path,
    contents: _Contents,
    hooks: FamilyHooks | None,
    mapping: WeightMapping | None,
    problems: _Problems,
) -> Inspection:
    config, checkpoint = contents.config, contents.checkpoint
    to_forgather = None if contents.is_forgather else mapping
    components = by_component(contents.tensors.values(), to_forgather)
    others = problems.attempt(lambda: _compare_other_weights(contents, mapping)) or ()
    weights = None if checkpoint is None else checkpoint.files.directory
    embeddings = components.get(EMBEDDING, ())
    origin = problems.attempt(lambda: _origin(contents.metadata)) if contents.is_forgather else None
    carried = problems.attempt(lambda: _carried(contents))
    is_tied = None if config is None else config.get("tie_word_embeddings")
    return Inspection(
        path=path,
        is_forgather=None if contents.direction is None else contents.is_forgather,
        model_type=contents.model_type,
        architectures=()
        if contents.file_config is None
        else config_facts.architectures_of(contents.file_config),
        dtype=None if config is None else config_facts.dtype_of(config),
        quantization=contents.quantization,
        dimensions={} if config is None else config_facts.dimensions_of(config),
        rope=None if config is None else problems.attempt(lambda: _rope(config, hooks)),
        window=None if config is None else config_facts.window_of(config),
        is_tied=is_tied if isinstance(is_tied, bool) else None,
        vocabulary=config_facts.vocabulary_of(config, embeddings, contents.token_ids),
        weights=weights,
        tensors=tuple(contents.tensors.values()),
        components=component_sizes(components),
        files=files_of(path),
        checkpoints=problems.attempt(lambda: checkpoints_of(path, weights)) or (),
        carried=carried or (),
        is_composite=hooks is not None and hooks.is_composite,
        links_out=problems.attempt(lambda: _links_out(contents)) or {},
        origin=origin,
        converter=None
        if hooks is None
        else UsedConverter(hooks.origin, type(hooks.converter).__name__),
        remarks=(*_linked(contents), *_remarks(contents, mapping), *others),
        # Last, because it includes the problems found by the others.
        problems=tuple(problems.messages),
    )


def _rope(config: SourceConfig, hooks: FamilyHooks | None) -> RopeParameters | None:
    check_dimensions(config, {} if hooks is None else hooks.get_field_names())
    if not any(map(config.get, ROPE_FIELDS)):
        return None
    return read_rope(config, config.origin, is_complete=False)


def _origin(directory: Path) -> ProvenanceSummary | None:
    from forgather_convert.models.provenance import read_provenance

    provenance = read_provenance(directory)
    if provenance is None:
        return None
    return ProvenanceSummary(
        tool=provenance.tool,
        options=provenance.options,
        keeps_layout=provenance.weights is not None,
        edited=tuple(
            name
            for name, digest in sorted(provenance.generated.items())
            if not (directory / name).is_file() or sha256((directory / name).read_bytes()) != digest
        ),
    )


def _carried(contents: _Contents) -> tuple[TensorRef, ...]:
    if not contents.is_forgather:
        return () if contents.composite is None else tuple(contents.composite.others.values())
    from forgather_convert.models.carried_tensors import read_carried
    from forgather_convert.models.provenance import read_provenance

    provenance = read_provenance(contents.metadata)
    names = () if provenance is None else provenance.carried_tensors
    carried = read_carried(contents.metadata, names).tensors
    return tuple(ref for value in carried.values() for ref in leaves(value))


def _links_out(contents: _Contents) -> dict[str, Path]:
    """The files beside config and weights that links of the directory lead to."""
    paths = [
        contents.metadata / file.name for file in files_of(contents.metadata) if not file.is_weights
    ]
    weights = () if contents.checkpoint is None else contents.checkpoint.files.paths
    targets = {
        path.name: target_outside(path)
        for path in paths
        # Without the others there is no conversion.
        if path not in weights and path.name not in FILES_THAT_ARE_READ
    }
    return {name: target for name, target in targets.items() if target is not None}


def _compare_other_weights(contents: _Contents, mapping: WeightMapping | None) -> tuple[str, ...]:
    if contents.checkpoint is None or not contents.is_complete:
        return ()
    # Names in a composite's files are not those of its text model.
    own = mapping if contents.composite is None else None
    return compare_other_headers(contents.checkpoint, contents.is_forgather, own)


def _linked(contents: _Contents) -> Iterator[str]:
    if contents.checkpoint is None or contents.checkpoint.files.index is None:
        return
    if contents.checkpoint.files.index.name == LINKS_FILE:
        files = read_links(contents.checkpoint.files.directory)
        (source, *_) = {file.source.parent: None for file in files.values()}
        yield (
            f"The weights are links to {counted(len(files), 'weights file')} of {source}. If they "
            "change, the model cannot be loaded any more."
        )


def _remarks(contents: _Contents, mapping: WeightMapping | None) -> tuple[str, ...]:
    """Remarks on what only the model's class could decide."""
    if mapping is None or contents.quantization is not None:
        return ()
    tensors = contents.tensors
    if contents.is_forgather:
        mapping, tensors = mapping.inverted(), normalize_tensors(tensors)
    unmapped = [
        name for name in find_places(tensors, mapping).unplaced if not re.search(RECOMPUTED, name)
    ]
    if not unmapped:
        return ()
    return (
        f"The converter's mapping does not cover {counted(len(unmapped), 'tensor')}: "
        f"{enumerate_names(unmapped)}. This prevents a conversion, unless the model's class in "
        "transformers does not read them either, or has its weights in memory in this form.",
    )
