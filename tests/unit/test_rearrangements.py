"""Rearrangements of tensors: recorded from torch, applied to other tensors, and inverted."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from forgather_convert import MappingError
from forgather_convert.models.traced_tensors import TracedTensor, rearrangement_of
from forgather_convert.tensors.byte_ranges import byte_ranges, put_together
from forgather_convert.tensors.evaluation import Evaluator, bytes_of
from forgather_convert.tensors.expressions import Cast, Concatenate, Expression, Slice, Stored
from forgather_convert.tensors.rearrangements import applied, inverted, part_of, template
from forgather_convert.tensors.tensor_ref import TensorRef

Tensors = Mapping[str, torch.Tensor]

SHAPES = {"a": (4, 6, 5), "b": (4, 6, 3), "c": (24,)}

pytestmark = pytest.mark.version_independent


def experts(tensors: Tensors) -> Tensors:
    """As transformers takes merged experts apart."""
    made = {}
    for half, part in zip("gu", torch.chunk(tensors["a"], 2, dim=1), strict=True):
        for number, each in enumerate(torch.chunk(part.contiguous(), 4, dim=0)):
            made[f"{half}{number}"] = each.squeeze(0)
    return made


def fused(tensors: Tensors) -> Tensors:
    """Two tensors become one."""
    return {"x": torch.cat([tensors["a"], tensors["b"]], dim=-1)}


def transposed(tensors: Tensors) -> Tensors:
    return {"x": torch.transpose(tensors["a"], dim0=1, dim1=2).contiguous(), "c": tensors["c"]}


def interleaved(tensors: Tensors) -> Tensors:
    """As transformers reorders the two halves of a projection."""
    halves = tensors["a"].reshape(4, 3, 2, 5).transpose(1, 2)
    return {"x": halves.reshape(4, 6, 5).contiguous(), "c": tensors["c"].view(2, 12).unsqueeze(1)}


def merged(tensors: Tensors) -> Tensors:
    """Parts of one tensor are put together in another order."""
    first, second, third = torch.split(tensors["b"], 2, dim=1)
    return {"x": torch.stack([third, first, second], dim=1), "c": tensors["c"].clone()}


ALL = [experts, fused, transposed, interleaved, merged]


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, tuple[Expression, torch.Tensor]]:
    """Tensors in a file."""
    path, offset = tmp_path / "tensors", 0
    made: dict[str, tuple[Expression, torch.Tensor]] = {}
    with path.open("wb") as file:
        for name, shape in SHAPES.items():
            tensor = torch.randn(shape)
            file.write(bytes_of(tensor))
            made[name] = Stored(TensorRef(name, "float32", shape, path, offset)), tensor
            offset += tensor.nbytes
    return made


def recorded(function: Callable[[Tensors], Tensors]) -> dict[str, Expression]:
    traced = {name: TracedTensor.of(name, torch.empty(shape)) for name, shape in SHAPES.items()}
    made = {}
    for name, tensor in function(traced).items():
        value = rearrangement_of(tensor)
        assert value is not None
        made[name] = value
    return made


@pytest.mark.parametrize("function", ALL)
def test_there_and_back(
    function: Callable[[Tensors], Tensors], stored: dict[str, tuple[Expression, torch.Tensor]]
) -> None:
    """What torch computes, and the stored tensors again."""
    rearrangements = recorded(function)
    values = {name: value for name, (value, _) in stored.items()}
    made = {name: applied(value, values) for name, value in rearrangements.items()}
    expected = function({name: tensor for name, (_, tensor) in stored.items()})
    back = {name: applied(value, made) for name, value in inverted(rearrangements).items()}
    assert back
    with Evaluator() as evaluator:
        for name, value in made.items():
            assert torch.equal(evaluator.value(value), expected[name])
        for name, value in back.items():
            assert torch.equal(evaluator.value(value), stored[name][1])


def test_taken_apart_and_put_together(
    stored: dict[str, tuple[Expression, torch.Tensor]],
) -> None:
    """Experts are ranges of bytes; together, they are the stored tensor itself."""
    rearrangements = recorded(experts)
    values = {name: value for name, (value, _) in stored.items()}
    made = {name: applied(value, values) for name, value in rearrangements.items()}
    assert all(byte_ranges(value) is not None for value in made.values())
    (back,) = (applied(value, made) for value in inverted(rearrangements).values())
    assert back != stored["a"][0]
    assert put_together(back) == stored["a"][0]
    half = Slice(stored["a"][0], 0, 0, 2)
    assert put_together(half) == half


def test_what_is_computed_is_not_recorded() -> None:
    tensor = TracedTensor.of("a", torch.empty(2, 3))
    other = torch.empty(1, 3, device="meta")
    for value in (tensor + 1, torch.cat([tensor, other]), tensor.sum(), tensor.view(torch.int32)):
        assert rearrangement_of(value) is None


@pytest.mark.parametrize(
    "parts",
    [
        {"x": part_of(template("a", "float32", (4, 6)), 0, 0, 2)},
        {"x": template("a", "float32", (4, 6)), "y": template("a", "float32", (4, 6))},
        {
            "x": part_of(template("a", "float32", (4, 6)), 0, 0, 3),
            "y": part_of(template("a", "float32", (4, 6)), 0, 2, 2),
        },
    ],
    ids=["missing", "twice", "overlapping"],
)
def test_incomplete_parts_are_refused(parts: dict[str, Expression]) -> None:
    with pytest.raises(MappingError, match="overlap, or are not all there"):
        inverted(parts)


def test_other_shapes_are_refused() -> None:
    """A larger tensor would lose what is beyond the template's shape."""
    value = Slice(template("a", "float32", (4, 6)), 0, 0, 4)
    with pytest.raises(MappingError, match=r"has the shape \[5, 6\], but the config makes it"):
        applied(value, {"a": template("b", "float32", (5, 6))})


def test_other_expressions_are_refused() -> None:
    value = Concatenate((Cast(template("a", "float32", (4,)), "bfloat16"),), 0)
    with pytest.raises(MappingError, match="Cast of"):
        applied(value, {"a": template("a", "float32", (4,))})
    with pytest.raises(MappingError, match="Cast of"):
        inverted({"x": value})
