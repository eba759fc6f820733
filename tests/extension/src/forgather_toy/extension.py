"""Answers every hook that extensions have."""

import json
import os
import struct
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forgather_convert import Checkpoint, SourceConfig, SourceError, TensorRef, hookimpl
from forgather_convert.quantization.description import Dequantizer, Quantization
from forgather_convert.tensors.expressions import BlockScaled, Constant, Expression, stored
from forgather_convert.weights.checkpoint import Shard, WeightsFiles

if TYPE_CHECKING:
    from forgather_convert import ConversionResult

COMPONENTS = Path(__file__).parent / "components"
#: Weights without a header: their places are in a file beside them.
WEIGHTS, PLACES = "model.toy", "model.toy.json"


@hookimpl(wrapper=True)
def create_project_config(
    src_config: SourceConfig, max_length: int | None
) -> Generator[None, Mapping[str, Any], Mapping[str, Any]]:
    """Exchanges the norm of every family."""
    project = yield
    components = {**project["components"], "norm": "toy_norm:ToyNorm"}
    paths = [*project["component_paths"], COMPONENTS]
    return {**project, "components": components, "component_paths": paths}


@hookimpl
def open_weights(directory: Path) -> Checkpoint | None:
    """Reads weights of a toy format."""
    path, places = directory / WEIGHTS, directory / PLACES
    if not path.is_file():
        return None
    try:
        content = json.loads(places.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"{places} cannot be read: {error}.") from error
    refs = tuple(
        TensorRef(name, dtype, tuple(shape), path, offset)
        for name, (dtype, shape, offset) in content.items()
    )
    files = WeightsFiles(directory, "toy", (path,), places)
    return Checkpoint(files, (Shard(path, refs, None),))


@hookimpl
def dequantize(quantization: Quantization) -> Dequantizer | None:
    """Reads weights that are stored as integers, in steps that the config states."""
    if quantization.method != "toy":
        return None
    step = struct.pack("<f", quantization.fields["step"])

    def tensors(refs: Mapping[str, TensorRef], dtype: str) -> dict[str, Expression]:
        result = {}
        for name, ref in refs.items():
            value = stored(ref)
            if ref.dtype == "int8":
                rows, columns = ref.shape
                scale = Constant("float32", (1, 1), step)
                value = BlockScaled(value, scale, (rows, columns), dtype)
            result[name] = value
        return result

    return Dequantizer("toy", tensors)


@click.command("toy")
def toy_command() -> None:
    """Says something."""
    click.echo("toy says hello")


@hookimpl
def forgather_commands(group: click.Group) -> None:
    """Adds a command, and tries to replace one."""
    group.add_command(toy_command)
    group.add_command(toy_command, "convert")


@hookimpl
def conversion_finished(result: "ConversionResult") -> None:
    """Leaves a marker, or fails, as the environment asks."""
    marker = os.environ.get("FORGATHER_TOY_MARKER")
    if marker == "fail":
        raise RuntimeError("no marker")
    if marker:
        Path(marker).write_text(str(result.plan.destination))
