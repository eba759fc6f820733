"""``forgather inspect``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forgather_convert.cli.command_state import CommandState
from forgather_convert.cli.console import echo, echo_json, set_up_logging
from forgather_convert.cli.converter_options import CONVERTER_GROUP, converter_options
from forgather_convert.cli.help import GroupedCommand
from forgather_convert.cli.parameters import (
    CheckpointParameter,
    DirectoryParameter,
    ModelTypeParameter,
)
from forgather_convert.cli.verbosity import VERBOSITY_OPTIONS, Verbosity, verbosity_options
from forgather_convert.files.plain_text import one_line
from forgather_convert.options import ConvertOptions
from forgather_convert.quantities import counted
from forgather_convert.source.hub import resolve_source, stay_offline
from forgather_convert.tensors.dtypes import to_safetensors
from forgather_convert.tensors.names import enumerate_names
from forgather_convert.tensors.tensor_ref import format_shape

if TYPE_CHECKING:
    from forgather_convert.inspection.result import (
        CheckpointContents,
        Inspection,
        ProvenanceSummary,
    )
    from forgather_convert.inspection.tensor_groups import TensorGroup
    from forgather_convert.tensors.tensor_ref import TensorRef

_MAX_FILES = 12


@click.command(
    "inspect",
    cls=GroupedCommand,
    option_groups={
        "Detection overrides": ("--reverse", "--model-type", "--checkpoint-path", "--dequantize"),
        CONVERTER_GROUP[0]: CONVERTER_GROUP[1],
        "Reporting options": ("--tensors", "--json", *VERBOSITY_OPTIONS),
    },
    examples=("forgather inspect path/to/model", "forgather inspect --tensors path/to/model"),
    short_help="Describe a model directory.",
)
@click.argument("path", type=DirectoryParameter(path_type=Path))
@click.option(
    "--tensors",
    is_flag=True,
    help="List all tensors; tensors repeated in every layer share one line.",
)
@click.option("--reverse", is_flag=True, help="Treat PATH as a Forgather model.")
@click.option(
    "--model-type",
    metavar="TYPE",
    type=ModelTypeParameter(),
    help="Model family, if the config does not state it.",
)
@click.option(
    "-c",
    "--checkpoint-path",
    metavar="PATH",
    type=CheckpointParameter(path_type=Path),
    help="Checkpoint of a Forgather model to inspect. Default: the latest.",
)
@click.option(
    "--dequantize", is_flag=True, help="Check whether PATH can be converted with --dequantize."
)
@converter_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@verbosity_options("WARNING")
def inspect_command(
    path: Path, tensors: bool, as_json: bool, verbosity: Verbosity, **options: Any
) -> None:
    """Describes the model directory PATH and what would prevent its conversion.

    Reads file names, JSON files and tensor headers, but no weights.
    """
    state = click.get_current_context().ensure_object(CommandState)
    set_up_logging(verbosity.level, warnings=state.warnings)
    # Before the path is resolved: inspecting a model must not download it.
    stay_offline()
    path = resolve_source(path)
    from forgather_convert.inspection.inspect import inspect
    from forgather_convert.inspection.tensor_groups import group_tensors

    inspection = inspect(path, ConvertOptions(**options))
    groups = group_tensors(inspection.tensors) if tensors else ()
    if as_json:
        content = inspection_object(inspection)
        if tensors:
            content["tensors"] = [_group_object(group) for group in groups]
        echo_json(content)
        return
    from forgather_convert.cli.tables import Labelled, print_labelled

    print_labelled(Labelled(label, text) for label, text in _rows(inspection))
    if groups:
        echo("\n".join(one_line(_group_line(group)) for group in groups))


def inspection_object(inspection: "Inspection") -> dict[str, Any]:
    """An inspection as JSON."""
    rope, window, vocabulary = inspection.rope, inspection.window, inspection.vocabulary
    origin, converter = inspection.origin, inspection.converter
    return {
        "path": str(inspection.path),
        "format": _format(inspection),
        "model_type": inspection.model_type,
        "architectures": list(inspection.architectures),
        "dtype": inspection.dtype,
        "quantization": inspection.quantization,
        "dimensions": dict(inspection.dimensions),
        "parameters": inspection.parameters,
        "bytes": inspection.num_bytes,
        "num_tensors": len(inspection.tensors),
        "components": {
            component.name: {"parameters": component.parameters, "bytes": component.num_bytes}
            for component in inspection.components
        },
        "stored_dtypes": dict(inspection.stored_dtypes),
        "rope": None if rope is None else rope.to_fields()["rope_parameters"],
        "window": None if window is None else {"length": window.length, "layers": window.layers},
        "tied": inspection.is_tied,
        "vocabulary": {
            "config": vocabulary.config,
            "rows": vocabulary.rows,
            "tokens": vocabulary.tokens,
            "highest_id": vocabulary.highest_id,
        },
        "weights": None if inspection.weights is None else str(inspection.weights),
        "files": [{"name": file.name, "bytes": file.num_bytes} for file in inspection.files],
        "checkpoints": [
            {
                "path": str(checkpoint.path),
                "step": checkpoint.step,
                "contents": [contents.value for contents in checkpoint.contents],
                "bytes": checkpoint.num_bytes,
                "converted": checkpoint.is_converted,
            }
            for checkpoint in inspection.checkpoints
        ],
        "carried": [_tensor_object(ref) for ref in inspection.carried],
        "is_composite": inspection.is_composite,
        "links_out": {name: str(target) for name, target in inspection.links_out.items()},
        "provenance": None
        if origin is None
        else {
            "tool": dict(origin.tool),
            "options": dict(origin.options),
            "keeps_layout": origin.keeps_layout,
            "edited": list(origin.edited),
        },
        "converter": None
        if converter is None
        else {"origin": converter.origin, "class": converter.name},
        "problems": list(inspection.problems),
        "remarks": list(inspection.remarks),
    }


def _rows(inspection: "Inspection") -> Iterator[tuple[str, str]]:
    yield "Directory", str(inspection.path)
    yield "Model", _model_text(inspection)
    if inspection.dimensions:
        yield "Shape", _shape_text(inspection.dimensions)
    if inspection.tensors:
        yield from _parameter_rows(inspection)
    yield "RoPE", _rope_text(inspection)
    yield "Window", _window_text(inspection)
    yield "Vocabulary", _vocabulary_text(inspection)
    yield "Files", _files_text(inspection)
    label = "Checkpoints"
    for checkpoint in inspection.checkpoints:
        yield label, _checkpoint_text(checkpoint)
        label = ""
    if inspection.carried:
        yield "Carried", _carried_text(inspection)
    label = "Not copied"
    for name, target in inspection.links_out.items():
        yield label, f"{name}: a link to {target} (copied with --follow-links)"
        label = ""
    if inspection.origin is not None:
        yield "Provenance", _origin_text(inspection.origin)
    if inspection.converter is not None:
        yield "Converter", f"{inspection.converter.origin} ({inspection.converter.name})"
    yield from _conversion_rows(inspection)


def _model_text(inspection: "Inspection") -> str:
    parts = [_format(inspection) or "unknown", inspection.model_type or "unknown family"]
    parts += inspection.architectures
    if inspection.quantization is not None:
        parts.append(f"quantized ({inspection.quantization})")
    return ", ".join(parts)


def _format(inspection: "Inspection") -> str | None:
    if inspection.is_forgather is None:
        return None
    return "Forgather" if inspection.is_forgather else "Hugging Face"


def _shape_text(dimensions: Mapping[str, int]) -> str:
    wording = {
        "num_hidden_layers": "{} layers",
        "hidden_size": "hidden size {}",
        "intermediate_size": "intermediate size {}",
        "num_attention_heads": "{} heads",
        "num_key_value_heads": "{} key-value heads",
        "head_dim": "head size {}",
        "num_local_experts": "{} experts",
        "num_experts": "{} experts",
        "num_experts_per_tok": "{} experts per token",
        "max_position_embeddings": "{} positions",
    }
    return ", ".join(
        text.format(dimensions[name]) for name, text in wording.items() if name in dimensions
    )


def _parameter_rows(inspection: "Inspection") -> Iterator[tuple[str, str]]:
    dtypes = [
        dtype if len(inspection.stored_dtypes) == 1 else f"{dtype} ({_bytes(num_bytes)})"
        for dtype, num_bytes in inspection.stored_dtypes.items()
    ]
    stated = inspection.dtype or "no dtype"
    said = "" if dtypes == [inspection.dtype] else f"; the config says {stated}"
    yield (
        "Parameters",
        f"{_count(inspection.parameters)} in {counted(len(inspection.tensors), 'tensor')}, "
        f"{_bytes(inspection.num_bytes)}, {', '.join(dtypes)}{said}",
    )
    width = max(len(component.name) for component in inspection.components)
    for component in inspection.components:
        size = f"{_count(component.parameters):>8}  {_bytes(component.num_bytes):>9}"
        yield "", f"{component.name:<{width}}  {size}"
    head = any(component.name == "head" for component in inspection.components)
    tying = {True: "tied to the embedding", False: "not tied to the embedding", None: "not stated"}
    text = tying[inspection.is_tied]
    stored = "stored" if head else "not stored"
    yield "Head", f"{text}, {stored}"


def _rope_text(inspection: "Inspection") -> str:
    rope = inspection.rope
    if rope is None:
        return "unknown" if inspection.problems else "not stated"

    def text(kind: str, theta: float, options: Mapping[str, Any]) -> str:
        more = [
            f"{name} {'[...]' if isinstance(value, list) else value}"
            for name, value in options.items()
        ]
        return ", ".join([kind, f"theta {theta:g}", *more])

    parts = [text(rope.rope_type, rope.theta, rope.options)]
    parts += [
        f"{kind}: {text(own.rope_type, own.theta, own.options)}"
        for kind, own in rope.by_kind.items()
    ]
    return "; ".join(parts)


def _window_text(inspection: "Inspection") -> str:
    window = inspection.window
    if window is None:
        return "none"
    if window.layers is None:
        return str(window.length)
    total = inspection.dimensions.get("num_hidden_layers")
    layers = f"{window.layers} of {total} layers" if total else f"{window.layers} layers"
    return f"{window.length}, in {layers}"


def _vocabulary_text(inspection: "Inspection") -> str:
    vocabulary = inspection.vocabulary
    tokens = "no tokenizer vocabulary found"
    if vocabulary.tokens is not None:
        tokens = f"{vocabulary.tokens} tokens up to id {vocabulary.highest_id} in the tokenizer"
    parts = [
        f"{'?' if vocabulary.config is None else vocabulary.config} in the config",
        f"{'?' if vocabulary.rows is None else vocabulary.rows} rows",
        tokens,
    ]
    return ", ".join(parts)


def _files_text(inspection: "Inspection") -> str:
    weights = [file for file in inspection.files if file.is_weights]
    code = [file for file in inspection.files if file.name.endswith(".py")]
    others = [file for file in inspection.files if not file.is_weights and file not in code]
    parts = []
    if weights:
        size = _bytes(sum(file.num_bytes for file in weights))
        parts.append(f"{counted(len(weights), 'file')} of weights ({size})")
    if code:
        parts.append(counted(len(code), "Python file"))
    parts += [f"{file.name} ({_bytes(file.num_bytes)})" for file in others[:_MAX_FILES]]
    if len(others) > _MAX_FILES:
        parts.append(f"{len(others) - _MAX_FILES} more")
    return ", ".join(parts) or "none"


def _carried_text(inspection: "Inspection") -> str:
    carried = inspection.carried
    size = _bytes(sum(ref.num_bytes for ref in carried))
    count = counted(len(carried), "tensor")
    names = enumerate_names(ref.name for ref in carried)
    what = (
        "besides the text model"
        if inspection.is_composite
        else "that the model itself does not use"
    )
    return f"{count} {what} ({size}): {names}"


def _checkpoint_text(checkpoint: "CheckpointContents") -> str:
    unknown = "unknown content" if checkpoint.num_bytes else "empty"
    contents = ", ".join(contents.value for contents in checkpoint.contents) or unknown
    chosen = " <- converted" if checkpoint.is_converted else ""
    return f"{checkpoint.path.name}: {contents} ({_bytes(checkpoint.num_bytes)}){chosen}"


def _origin_text(origin: "ProvenanceSummary") -> str:
    parts = [", ".join(f"{name} {version}" for name, version in origin.tool.items())]
    if origin.options:
        options = ", ".join(f"{name} {value}" for name, value in origin.options.items())
        parts.append(f"with {options}")
    if not origin.keeps_layout:
        parts.append("the original files cannot be restored")
    if origin.edited:
        parts.append(f"edited or missing: {', '.join(origin.edited)}")
    return "; ".join(parts)


def _conversion_rows(inspection: "Inspection") -> Iterator[tuple[str, str]]:
    if not inspection.problems:
        text = "no problems found (config and tensor headers checked; weights not read)"
        yield "Conversion", text
    label = "Blocked by"
    for problem in inspection.problems:
        for line in problem.split("\n"):
            yield label, line
            label = ""
    label = "Remarks"
    for remark in inspection.remarks:
        yield label, remark
        label = ""


def _group_line(group: "TensorGroup") -> str:
    """``model.layers.{0..31}.self_attn.q_proj.weight bf16 [4096, 4096]``."""
    return f"{group.name} {to_safetensors(group.dtype).lower()} {format_shape(group.shape)}"


def _tensor_object(ref: "TensorRef") -> dict[str, Any]:
    return {
        "name": ref.name,
        "dtype": ref.dtype,
        "shape": list(ref.shape),
        "file": ref.file.name,
        "bytes": ref.num_bytes,
    }


def _group_object(group: "TensorGroup") -> dict[str, Any]:
    return {
        "name": group.name,
        "count": group.count,
        "dtype": group.dtype,
        "shape": list(group.shape),
    }


def _count(number: int) -> str:
    return _scaled(number, ("", "k", "M", "B", "T"), "")


def _bytes(number: int) -> str:
    return _scaled(number, ("B", "kB", "MB", "GB", "TB"), " ")


def _scaled(number: int, units: tuple[str, ...], space: str) -> str:
    size = float(number)
    unit = units[0]
    for unit in units:
        if size < 1000 or unit == units[-1]:
            break
        size /= 1000
    text = str(number) if unit == units[0] else f"{size:.3g}" if size < 100 else f"{size:.1f}"
    return f"{text}{space if unit else ''}{unit}"
