"""Plans links to the source's weights files, where the target only renames tensors."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import UnsupportedModelError
from forgather_convert.files.real_path import real_path
from forgather_convert.planning.plan import LinkPlan
from forgather_convert.planning.request import PlanRequest
from forgather_convert.planning.weights_content import WeightsContent
from forgather_convert.quantities import counted
from forgather_convert.source.files import WriteFile
from forgather_convert.tensors.expressions import ResizeRows, Stored, describe
from forgather_convert.tensors.names import enumerate_names
from forgather_convert.weights.file_names import SAFETENSORS
from forgather_convert.weights.linked_files import (
    LINKS_FILE,
    LinkedFile,
    link_name,
    links_content,
)


@dataclass(frozen=True)
class Links:
    """Links, and the file with the names of their tensors."""

    links: tuple[LinkPlan, ...]
    index: WriteFile


def plan_links(request: PlanRequest, content: WeightsContent) -> Links:
    """Plans links to all weights files of the source.

    Raises:
        UnsupportedModelError: The target is not made of the same tensors.
    """
    source = request.detection.source
    for reason in _reasons(request, content):
        raise UnsupportedModelError(
            f"{source} cannot be linked: {reason}. Convert it without --link."
        )
    names: dict[Path, dict[str, str]] = {}
    for name, value in content.tensors.items():
        assert isinstance(value, Stored)
        names.setdefault(value.ref.file, {})[value.ref.name] = name
    states = request.checkpoint.files.states
    files = {
        link_name(path.name): LinkedFile(real_path(path), states[path], stored)
        for path, stored in names.items()
    }
    is_symbolic = request.options.link == "symbolic"
    links = tuple(LinkPlan(link_name(path.name), path, is_symbolic) for path in names)
    return Links(links, WriteFile(LINKS_FILE, links_content(files)))


def _reasons(request: PlanRequest, content: WeightsContent) -> Iterator[str]:
    if request.checkpoint.files.format != SAFETENSORS:
        yield f"its weights are in the format {request.checkpoint.files.format}"
    if request.detection.dequantizer is not None:
        yield "its weights are quantized"
    if content.unused:
        yield (
            f"its files have {counted(len(content.unused), 'tensor')} that the model does not use "
            f"({enumerate_names(content.unused)}; with --drop-unused, they do not matter)"
        )
    changed = [
        (name, value)
        for name, value in content.tensors.items()
        if not isinstance(value, Stored) or value.ref.stride is not None
    ]
    if any(isinstance(value, ResizeRows) for _, value in changed):
        yield "its vocabulary gets more rows (--skip-default-tokens adds no padding token)"
    if changed:
        name, value = changed[0]
        yield (
            f"{counted(len(changed), 'tensor')} would not only be renamed, such as {name!r} "
            f"({describe(value) or 'its layout differs'})"
        )
