"""Finds the source tensor for every destination tensor, or says why there is none."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forgather_convert.dtypes import WEIGHT_DTYPES
from forgather_convert.errors import MappingError, UnsupportedModelError
from forgather_convert.mapping import collapse_names
from forgather_convert.planning.model_skeleton import ModelSkeleton
from forgather_convert.weights.tensor_ref import TensorRef, format_shape

#: Tells the names on both sides, for ``--debug-params``.
parameter_logger = logging.getLogger("forgather_convert.parameters")
#: Tables of the rotary embedding that older versions stored; they follow from the config.
_RECOMPUTED = re.compile(r".*\.(?:inv_freq|cos_cached|sin_cached)")
_CHUNK = 8 << 20


@dataclass(frozen=True)
class Match:
    """Which source tensor becomes which destination tensor.

    Attributes:
        inputs: For every destination tensor, its source.
        second_copies: Source tensors that repeat another one, because the two are tied.
        recomputed: Source tensors that the destination model computes itself.
    """

    inputs: Mapping[str, TensorRef]
    second_copies: tuple[TensorRef, ...]
    recomputed: tuple[TensorRef, ...]


def match_tensors(
    source: Mapping[str, TensorRef],
    rename: Callable[[str], str | None],
    skeleton: ModelSkeleton,
    origin: str,
) -> Match:
    """Matches a checkpoint with the model it is to fill.

    Args:
        source: The source's tensors.
        rename: Maps a source name to a destination name.
        skeleton: What the destination model expects.
        origin: The source, for messages.

    Raises:
        MappingError: Tensors are left over or missing, or have another shape.
        UnsupportedModelError: Tensors are quantized.
    """
    recomputed = tuple(ref for name, ref in source.items() if _RECOMPUTED.fullmatch(name))
    rest = {name: ref for name, ref in source.items() if not _RECOMPUTED.fullmatch(name)}
    _refuse_quantized(rest, origin)

    destinations = {name: rename(name) for name in rest}
    inputs: dict[str, TensorRef] = {}
    for name, destination in destinations.items():
        if destination is not None:
            if destination in inputs:
                raise MappingError(
                    f"'{name}' and '{inputs[destination].name}' in {origin} both become "
                    f"'{destination}'."
                )
            inputs[destination] = rest[name]
    _log_names(rest, destinations, skeleton)
    second_copies = _resolve_tied(inputs, skeleton, origin)

    unmapped = [
        name
        for name, destination in destinations.items()
        if destination is None or (destination in inputs and destination not in skeleton.shapes)
    ]
    missing = [name for name in skeleton.shapes if name not in inputs]
    if unmapped or missing:
        raise MappingError(_mismatch_message(origin, unmapped, missing, rest))
    for destination, ref in inputs.items():
        if ref.shape != skeleton.shapes[destination]:
            raise MappingError(
                f"'{ref.name}' in {ref.file} has the shape {format_shape(ref.shape)}, but the "
                f"config makes '{destination}' {format_shape(skeleton.shapes[destination])}. "
                "Check that config and weights belong to the same model."
            )
    return Match(
        inputs={name: inputs[name] for name in skeleton.shapes},
        second_copies=second_copies,
        recomputed=recomputed,
    )


def _log_names(
    source: Mapping[str, TensorRef],
    destinations: Mapping[str, str | None],
    skeleton: ModelSkeleton,
) -> None:
    for name, destination in destinations.items():
        shape = format_shape(source[name].shape)
        parameter_logger.info("%s %s -> %s", name, shape, destination or "(no place)")
    for name in sorted(set(skeleton.shapes) - set(destinations.values())):
        parameter_logger.info("(none) -> %s %s", name, format_shape(skeleton.shapes[name]))


def _resolve_tied(
    inputs: dict[str, TensorRef], skeleton: ModelSkeleton, origin: str
) -> tuple[TensorRef, ...]:
    """Leaves one tensor of every tied pair in ``inputs``; gives the others."""
    second_copies = []
    for second, first in skeleton.tied.items():
        if second not in inputs:
            continue
        copy = inputs.pop(second)
        if first not in inputs:
            inputs[first] = copy
        elif have_equal_bytes(copy, inputs[first]):
            second_copies.append(copy)
        else:
            raise MappingError(
                f"The config of {origin} ties '{copy.name}' to '{inputs[first].name}', but the two "
                "differ. transformers 4 would ignore the first and transformers 5 would use it. "
                "Set tie_word_embeddings to false in config.json to keep both, or delete the "
                "tensor that is stale."
            )
    return tuple(second_copies)


def have_equal_bytes(one: TensorRef, other: TensorRef) -> bool:
    """Whether two tensors are the same, bit for bit. Reads a few megabytes at a time."""
    if (one.dtype, one.shape, one.stride) != (other.dtype, other.shape, other.stride):
        return False
    if (one.file, one.offset) == (other.file, other.offset):
        return True
    remaining = one.num_bytes
    with one.file.open("rb") as left, other.file.open("rb") as right:
        left.seek(one.offset)
        right.seek(other.offset)
        while remaining:
            size = min(remaining, _CHUNK)
            if left.read(size) != right.read(size):
                return False
            remaining -= size
    return True


def _refuse_quantized(tensors: Mapping[str, TensorRef], origin: str) -> None:
    quantized = [ref for ref in tensors.values() if ref.dtype not in WEIGHT_DTYPES]
    if quantized:
        kinds = ", ".join(sorted({ref.dtype for ref in quantized}))
        raise UnsupportedModelError(
            f"{origin} has weights of the type {kinds}, which are quantized and cannot be "
            f"converted without loss:{collapse_names(ref.name for ref in quantized)}\n"
            "Use the model's unquantized weights."
        )


def _mismatch_message(
    origin: str, unmapped: list[str], missing: list[str], source: Mapping[str, TensorRef]
) -> str:
    parts = [f"The weights in {origin} do not fit the model that its config describes."]
    if unmapped:
        parts.append(f"{len(unmapped)} tensors have no place in it:{collapse_names(unmapped)}")
    if missing:
        parts.append(f"{len(missing)} of its tensors are missing:{collapse_names(missing)}")
    if any(re.match(r"(?:layers|embed_tokens|norm)\.", name) for name in source):
        parts.append("This looks like a base model without its language modelling head.")
    parts.append("Use --debug-params to see all names.")
    return "\n".join(parts)
