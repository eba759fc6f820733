"""Turns an adapter's tensors into those of its counterpart.

An adapter adds ``B @ A`` to the weight of a module, ``[outputs, inputs]``: ``lora_B`` is
``[outputs, rank]`` and ``lora_A`` ``[rank, inputs]``. So operations of a mapping on the rows of the
weight are applied to ``lora_B``, and ``lora_A`` does not change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from forgather_convert.adapters.parameter_links import Link, ParameterLinks
from forgather_convert.adapters.tensor_names import (
    EMBEDDING_A,
    EMBEDDING_B,
    LORA_A,
    LORA_B,
    ROWS_OF_TOKENS,
    AdapterTensor,
    Part,
    parse_name,
)
from forgather_convert.errors import MappingError, UnsupportedModelError
from forgather_convert.source.detection import Direction
from forgather_convert.tensors.evaluation import have_equal_bits
from forgather_convert.tensors.expressions import Expression, Permute, Reshape, name_of
from forgather_convert.tensors.names import collapse_names
from forgather_convert.tensors.operations import (
    Config,
    Deinterleave,
    Join,
    Operation,
    PermuteHeads,
    Split,
    Transpose,
    apply_operations,
)
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.tensor_ref import format_shape

_TRANSPOSED = (1, 0)


@dataclass(frozen=True)
class Counterpart:
    """The model that an adapter is converted for, and its relation to the base model.

    Attributes:
        direction: The direction of the conversion.
        links: The links from the base model's parameters to its own.
        parameters: Its parameters.
        config: The base model's config, for operations that depend on it.
        base: The base model's directory, for messages.
    """

    direction: Direction
    links: ParameterLinks
    parameters: ModelParameters
    config: Config
    base: str


@dataclass(frozen=True)
class _Group:
    """The tensors of one kind that belong to one link, by the parameters of the base model."""

    link: Link
    form: str
    part: Part
    values: dict[str, Expression]


def convert_tensors(
    tensors: Mapping[str, Expression], counterpart: Counterpart
) -> dict[str, Expression]:
    """Makes every tensor of the converted adapter.

    Raises:
        MappingError: Tensors do not belong to the base model, are missing, or have a wrong shape.
        UnsupportedModelError: The counterpart cannot have an equal adapter of the same kind.
    """
    parsed = _parsed(tensors, counterpart)
    _check_pairs(parsed.values())
    groups: dict[tuple[Link, str], _Group] = {}
    for name, tensor in parsed.items():
        link = counterpart.links.by_source[tensor.parameter]
        group = groups.setdefault((link, tensor.form), _Group(link, tensor.form, tensor.part, {}))
        group.values[tensor.parameter] = tensors[name]
    converted: dict[str, Expression] = {}
    for group in groups.values():
        values = _converted(group, counterpart)
        for parameter, value in zip(group.link.destinations, values, strict=True):
            tensor = AdapterTensor(parameter, group.form, group.part)
            _check_shape(tensor, value, group.link, counterpart)
            converted[tensor.name_for(parameter)] = value
    return converted


def _parsed(
    tensors: Mapping[str, Expression], counterpart: Counterpart
) -> dict[str, AdapterTensor]:
    links = counterpart.links
    parsed: dict[str, AdapterTensor] = {}
    unknown = []
    for name in tensors:
        tensor = parse_name(name)
        if tensor is not None and links.is_in_series(tensor.parameter):
            raise UnsupportedModelError(
                f"The adapter changes '{tensor.module}', one of the experts of {counterpart.base}. "
                "The two formats store experts differently, separately or all in one tensor, and "
                "PEFT's adapters for the two cannot be equal. Merge the adapter into the model, "
                "and convert that."
            )
        if tensor is None or tensor.parameter not in links.by_source:
            unknown.append(name)
        else:
            parsed[name] = tensor
    if unknown:
        raise MappingError(
            f"{len(unknown)} of the adapter's tensors do not belong to {counterpart.base}:"
            f"{collapse_names(unknown)}\n"
            "Give with --base the model that the adapter was made for, in the same format: the "
            "names in the adapter are those of its base model."
        )
    embeddings = {tensor.module for tensor in parsed.values() if tensor.form == EMBEDDING_A}
    for name, tensor in parsed.items():
        if tensor.module in embeddings and tensor.part is Part.OUTPUTS:
            # A linear module has an element for every output, an embedding for every column.
            parsed[name] = replace(tensor, part=Part.TOKENS)
    return parsed


def _check_pairs(tensors: Iterable[AdapterTensor]) -> None:
    forms: dict[str, set[str]] = {}
    for tensor in tensors:
        forms.setdefault(tensor.module, set()).add(tensor.form)
    for module, own in forms.items():
        for one, other in ((LORA_A, LORA_B), (EMBEDDING_A, EMBEDDING_B)):
            if (one in own) != (other in own):
                there, missing = (one, other) if one in own else (other, one)
                raise MappingError(
                    f"The adapter has '{module}{there}', but not '{module}{missing}': its file is "
                    "incomplete. Save the adapter again."
                )


def _converted(group: _Group, counterpart: Counterpart) -> Sequence[Expression]:
    """The tensors for the destinations of a group's link, in their order."""
    link = group.link
    missing = [name for name in link.sources if name not in group.values]
    if missing:
        raise UnsupportedModelError(
            f"{' and '.join(map(repr, link.sources))} of {counterpart.base} become "
            f"{' and '.join(map(repr, link.destinations))}, but the adapter has "
            f"'{group.form or 'a full tensor'}' for some of them only, and not for "
            f"{' and '.join(map(repr, missing))}. Merge the adapter into the model, and convert "
            "that."
        )
    values = [group.values[name] for name in link.sources]
    if link.is_renaming:
        return values
    if group.part is Part.PARAMETER:
        return _applied(values, link, counterpart)
    if group.part is Part.TOKENS:
        raise UnsupportedModelError(
            f"The adapter changes '{link.sources[0]}', whose rows are in another order in the "
            "converted model. An adapter of an embedding can only be renamed. Merge it into the "
            "model, and convert that."
        )
    to_forgather = counterpart.direction is Direction.TO_FORGATHER
    # In a Forgather model, weights have a row for every output.
    _check_rows_only(link, output_dim=int(link.is_transposed and to_forgather))
    if group.part is Part.INPUTS:
        return [_only_one(values, link)] * len(link.destinations)
    return _outputs(values, link, counterpart)


def _only_one(values: Sequence[Expression], link: Link) -> Expression:
    """The value shared by several modules that become one."""
    first = values[0]
    if not all(have_equal_bits(first, other) for other in values[1:]):
        raise UnsupportedModelError(
            f"{' and '.join(map(repr, link.sources))} become one module, "
            f"{' and '.join(map(repr, link.destinations))}, which has one 'lora_A', but the "
            "adapter has a different 'lora_A' for each: no adapter of the same rank is equal to "
            "it. Merge it into the model, and convert that."
        )
    return first


def _outputs(
    values: Sequence[Expression], link: Link, counterpart: Counterpart
) -> list[Expression]:
    """Applies the operations on the weight to tensors with an element or row for every output."""
    to_forgather = counterpart.direction is Direction.TO_FORGATHER
    starts_transposed = link.is_transposed and to_forgather
    ends_transposed = link.is_transposed and not to_forgather
    is_vector = len(values[0].shape) == 1
    matrices = [Reshape(value, (*value.shape, 1)) if is_vector else value for value in values]
    if starts_transposed:
        matrices = [Permute(value, _TRANSPOSED) for value in matrices]
    made = _applied(matrices, link, counterpart)
    if ends_transposed:
        made = [Permute(value, _TRANSPOSED) for value in made]
    return [Reshape(value, value.shape[:1]) if is_vector else value for value in made]


def _applied(
    values: Sequence[Expression], link: Link, counterpart: Counterpart
) -> list[Expression]:
    shapes = [counterpart.parameters.shape_of(name) for name in link.destinations]
    (group,) = apply_operations(link.rule.operations, [tuple(values)], shapes, counterpart.config)
    return list(group)


def _check_rows_only(link: Link, output_dim: int) -> None:
    """Refuses operations on the inputs of a weight, which would also change ``lora_A``."""
    for operation in link.rule.operations:
        if isinstance(operation, Transpose):
            output_dim = 1 - output_dim
        elif _dimension(operation) != output_dim:
            raise UnsupportedModelError(
                f"The adapter changes {' and '.join(map(repr, link.sources))}, whose inputs are in "
                "another order or divided in the converted model. Only operations on the outputs "
                "can be applied to an adapter. Merge it into the model, and convert that."
            )


def _dimension(operation: Operation) -> int | None:
    if isinstance(operation, Split | Join):
        return operation.dim
    return 0 if isinstance(operation, PermuteHeads | Deinterleave) else None


def _check_shape(
    tensor: AdapterTensor, value: Expression, link: Link, counterpart: Counterpart
) -> None:
    weight = counterpart.parameters.shape_of(tensor.parameter)
    expected = weight
    if tensor.part is not Part.PARAMETER:
        if len(weight) != 2:
            raise MappingError(
                f"{name_of(value)} is an adapter of a weight with the shape "
                f"{format_shape(weight)}. Check that adapter and base model belong together."
            )
        expected = _expected(tensor, value, weight)
        is_transposed = link.is_transposed and counterpart.direction is Direction.FROM_FORGATHER
        # If a weight is merely renamed, both models may have a row of it for every input.
        if is_transposed or (link.is_renaming and value.shape != expected):
            expected = _expected(tensor, value, weight[::-1])
    if value.shape != expected:
        raise MappingError(
            f"{name_of(value)} has the shape {format_shape(value.shape)}, which does not fit "
            f"'{tensor.parameter}', {format_shape(weight)}. Check that the adapter and "
            f"{counterpart.base} belong together; an adapter with rows for tokens needs a model "
            "with the same number of rows."
        )


def _expected(tensor: AdapterTensor, value: Expression, weight: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a tensor must have for a weight, with its own rank."""
    rank = value.shape[-1] if value.shape else 0
    first = value.shape[0] if value.shape else 0
    outputs, inputs = weight
    if tensor.form == LORA_A:
        return (first, inputs)
    if tensor.form == LORA_B:
        return (outputs, rank)
    # The weight of an embedding is [tokens, size].
    if tensor.form == EMBEDDING_A:
        return (first, outputs)
    if tensor.form == EMBEDDING_B:
        return (inputs, rank)
    if tensor.form == ROWS_OF_TOKENS:
        return (first, inputs)
    return (inputs,) if tensor.part is Part.TOKENS else (outputs,)
