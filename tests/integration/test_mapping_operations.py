"""Every operation of a mapping, executed on real files, in both directions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgather_convert import ConverterError, MappingError
from forgather_convert.execution.executor import execute
from forgather_convert.planning.layout import packed_layout
from forgather_convert.planning.plan import ConversionPlan, TensorPlan
from forgather_convert.source.detection import Direction
from forgather_convert.tensors.byte_ranges import byte_ranges
from forgather_convert.tensors.expressions import cast, stored
from forgather_convert.tensors.matching import TensorMatch, match_tensors
from forgather_convert.tensors.notation import (
    Step,
    concatenate,
    deinterleave,
    permute_heads,
    split,
    stack,
    transpose,
    unstack,
)
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.weight_mapping import WeightMapping
from forgather_convert.weights.checkpoint import find_weights, open_checkpoint

pytestmark = pytest.mark.version_independent

CONFIG = {"num_attention_heads": 4}
State = dict[str, torch.Tensor]


def numbers(*shape: int) -> torch.Tensor:
    """Different elements everywhere, so that no mix-up goes unseen."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape) + 1


def match(directory: Path, mapping: WeightMapping, shapes: dict[str, Any]) -> TensorMatch:
    files = find_weights(directory)
    assert files is not None
    parameters = ModelParameters(shapes, {}, ())
    tensors = {name: stored(ref) for name, ref in open_checkpoint(files).tensors.items()}
    return match_tensors(tensors, mapping, parameters, CONFIG, str(directory))


def apply(
    state: State, mapping: WeightMapping, shapes: dict[str, Any], root: Path, **options: Any
) -> State:
    """Writes a state, maps it with the real planner and executor, and reads the result."""
    source, target = root / "source", root / "target"
    source.mkdir(parents=True)
    target.mkdir()
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, source / "model.safetensors"
    )
    dtype = options.get("dtype", "float32")
    tensors = [
        TensorPlan(name, cast(value, dtype))
        for name, value in match(source, mapping, shapes).expressions.items()
    ]
    weights_format = options.get("weights_format", "safetensors")
    layout = packed_layout(tensors, weights_format, None)
    plan = ConversionPlan(
        source,
        target,
        Direction.TO_FORGATHER,
        "any",
        dtype,
        layout.shards,
        (),
        (),
        (),
        source,
        "any",
    )
    execute(plan, target, lambda count: None)
    if weights_format == "pytorch":
        loaded: State = torch.load(target / "pytorch_model.bin", weights_only=True)
        return loaded
    return load_file(target / "model.safetensors")


W = numbers(12, 5)
PARTS = ("gate", "up")
CASES: dict[str, tuple[dict[Any, Any], State, State]] = {
    "split": (
        {"h.{i}.qkv": split("l.{i}.q", "l.{i}.k", "l.{i}.v")},
        {"h.0.qkv": W, "h.1.qkv": W + 100},
        {
            **{"l.0.q": W[:6], "l.0.k": W[6:9], "l.0.v": W[9:]},
            **{"l.1.q": W[:6] + 100, "l.1.k": W[6:9] + 100, "l.1.v": W[9:] + 100},
        },
    ),
    "split in columns": (
        {"h": split("a", "b", dim=1)},
        {"h": W},
        {"a": W[:, :2], "b": W[:, 2:]},
    ),
    "split a bias": (
        {"h": split("a", "b")},
        {"h": numbers(7)},
        {"a": numbers(7)[:3], "b": numbers(7)[3:]},
    ),
    "concatenate": (
        {("h.{i}.gate", "h.{i}.up"): concatenate("l.{i}.gate_up")},
        {"h.0.gate": W, "h.0.up": W + 50, "h.1.gate": W + 1, "h.1.up": W + 2},
        {"l.0.gate_up": torch.cat([W, W + 50]), "l.1.gate_up": torch.cat([W + 1, W + 2])},
    ),
    "concatenate in columns": (
        {("a", "b"): concatenate("c", dim=1)},
        {"a": W, "b": W[:, :2] + 50},
        {"c": torch.cat([W, W[:, :2] + 50], dim=1)},
    ),
    "stack": (
        {"h.{i}.experts.{e}.up": stack("l.{i}.experts", over="e")},
        {f"h.{i}.experts.{e}.up": W + 10 * e + 1000 * i for i in range(2) for e in range(11)},
        {
            f"l.{i}.experts": torch.stack([W + 10 * e + 1000 * i for e in range(11)])
            for i in range(2)
        },
    ),
    "unstack": (
        {"h.{i}.experts": unstack("l.{i}.experts.{e}.up", over="e")},
        {"h.0.experts": numbers(3, 4, 2)},
        {f"l.0.experts.{e}.up": numbers(3, 4, 2)[e] for e in range(3)},
    ),
    "transpose": ({"h": transpose("l")}, {"h": W}, {"l": W.T}),
    "permute heads": (
        {"h": permute_heads("l")},
        {"h": numbers(16, 3)},
        {"l": numbers(16, 3).view(4, 2, 2, 3).transpose(1, 2).reshape(16, 3)},
    ),
    "permute the heads of a bias": (
        {"h": permute_heads("l")},
        {"h": numbers(24)},
        {"l": numbers(24).view(4, 2, 3).transpose(1, 2).reshape(24)},
    ),
    # GPT-2: a fused projection in another order of dimensions.
    "transpose, then split": (
        {"h.{i}.c_attn": [transpose(), split("l.{i}.q", "l.{i}.k", "l.{i}.v")]},
        {"h.0.c_attn": numbers(5, 12)},
        {
            "l.0.q": numbers(5, 12).T[:6],
            "l.0.k": numbers(5, 12).T[6:9],
            "l.0.v": numbers(5, 12).T[9:],
        },
    ),
    "concatenate, then transpose": (
        {("a", "b"): [concatenate(), transpose("c")]},
        {"a": W, "b": W + 60},
        {"c": torch.cat([W, W + 60]).T},
    ),
    "transpose, then concatenate": (
        {("a", "b"): [transpose(), concatenate("c")]},
        {"a": W, "b": numbers(12, 3) + 60},
        {"c": torch.cat([W.T, numbers(12, 3).T + 60])},
    ),
    # GPT-NeoX: queries, keys and values of a head are neighbours.
    "deinterleave, then split": (
        {"h.qkv": [deinterleave(parts=3), split("l.q", "l.k", "l.v")]},
        {"h.qkv": numbers(24, 5)},
        {
            name: numbers(24, 5).view(4, 3, 2, 5)[:, part].reshape(8, 5)
            for part, name in enumerate(("l.q", "l.k", "l.v"))
        },
    ),
    # Mixtures of experts: separate in files, stacked in the model.
    "concatenate, then stack": (
        {("h.{e}.gate", "h.{e}.up"): [concatenate(), stack("l.gate_up", over="e")]},
        {f"h.{e}.{part}": W + 100 * e + 7 * n for e in range(11) for n, part in enumerate(PARTS)},
        {"l.gate_up": torch.stack([torch.cat([W + 100 * e, W + 100 * e + 7]) for e in range(11)])},
    ),
    "transpose, then stack": (
        {"h.{e}.down": [transpose(), stack("l.down", over="e")]},
        {f"h.{e}.down": W + 100 * e for e in range(3)},
        {"l.down": torch.stack([(W + 100 * e).T for e in range(3)])},
    ),
    "unstack, then split": (
        {"h.gate_up": [unstack(over="e"), split("l.{e}.gate", "l.{e}.up")]},
        {"h.gate_up": numbers(3, 8, 5)},
        {
            f"l.{e}.{part}": numbers(3, 8, 5)[e][4 * n : 4 * n + 4]
            for e in range(3)
            for n, part in enumerate(PARTS)
        },
    ),
    "rename": ({"h.{i}": "l.{i}"}, {"h.0": W, "h.12": W + 1}, {"l.0": W, "l.12": W + 1}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "options", [{}, {"dtype": "bfloat16"}, {"weights_format": "pytorch"}], ids=str
)
def test_operations_and_their_inverses(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    rules, before, after = CASES[name]
    mapping = WeightMapping.from_dict(rules, "test")
    shapes = {name: tuple(tensor.shape) for name, tensor in after.items()}
    result = apply(before, mapping, shapes, tmp_path / "there", **options)
    assert set(result) == set(after)
    dtype = getattr(torch, options.get("dtype", "float32"))
    for key, tensor in after.items():
        assert torch.equal(result[key], tensor.to(dtype)), key

    shapes = {name: tuple(tensor.shape) for name, tensor in before.items()}
    back = apply(after, mapping.inverted(), shapes, tmp_path / "back")
    assert set(back) == set(before)
    for key, tensor in before.items():
        assert torch.equal(back[key], tensor), key


@pytest.mark.parametrize(
    "name",
    [
        "split",
        "concatenate",
        "stack",
        "unstack",
        "rename",
        "concatenate, then stack",
        "unstack, then split",
    ],
)
def test_the_first_dimension_is_cut_and_joined_by_ranges_of_bytes(
    name: str, tmp_path: Path
) -> None:
    rules, before, after = CASES[name]
    save_file(before, tmp_path / "model.safetensors")
    shapes = {key: tuple(tensor.shape) for key, tensor in after.items()}
    found = match(tmp_path, WeightMapping.from_dict(rules, "test"), shapes)
    assert all(byte_ranges(value) for value in found.expressions.values())


@pytest.mark.parametrize("name", CASES)
def test_a_mapping_is_what_its_dictionary_says(name: str) -> None:
    mapping = WeightMapping.from_dict(CASES[name][0], "test")
    assert WeightMapping.from_dict(mapping.to_dict(), "test") == mapping
    assert mapping.inverted().inverted() == mapping


@pytest.mark.parametrize(
    ("before", "shapes", "words"),
    [
        ({"h.0.qkv": W}, {"l.0.q": (6, 5), "l.0.k": (3, 5), "l.0.v": (4, 5)}, "6 + 3 + 4"),
        ({"h.0.gate": W}, {"l.0.gate_up": (24, 5)}, "h.0.up"),
        ({"h.0.e.0": W, "h.0.e.2": W}, {"l.0.e": (3, 12, 5)}, "h.0.e.1"),
        # A part of another width: joined, it would be a corrupt file.
        ({"h.0.gate": W, "h.0.up": W[:, :4]}, {"l.0.gate_up": (24, 5)}, "[12, 4]"),
        ({"h.0.e.0": W, "h.0.e.1": W[:6]}, {"l.0.e": (2, 12, 5)}, "[1, 6, 5]"),
        ({"h.0.gate": W, "h.0.up": W.bfloat16()}, {"l.0.gate_up": (24, 5)}, "bfloat16 and float32"),
        # Of other ranks and sizes than the operations need.
        ({"h.0.t": numbers(7)}, {"l.0.t": (7,)}, "cannot be exchanged"),
        ({"h.0.p": numbers(10, 3)}, {"l.0.p": (10, 3)}, "divided by 8"),
        ({"h.0.p": torch.ones(())}, {"l.0.p": ()}, "divided by 8"),
        ({"h.0.w": W}, {"l.0.w": (12, 5)}, "'no_such_field'"),
        ({"h.0.u": torch.ones(())}, {"l.0.u.0": ()}, "cannot be a series"),
        ({"h.0.t": W}, {"l.0.t": (12, 5)}, "[5, 12]"),
    ],
)
def test_what_does_not_fit_is_named(
    before: State, shapes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    rules: dict[str | tuple[str, ...], Step] = {
        "h.{i}.qkv": split("l.{i}.q", "l.{i}.k", "l.{i}.v"),
        ("h.{i}.gate", "h.{i}.up"): concatenate("l.{i}.gate_up"),
        "h.{i}.e.{n}": stack("l.{i}.e", over="n"),
        "h.{i}.t": transpose("l.{i}.t"),
        "h.{i}.p": permute_heads("l.{i}.p"),
        "h.{i}.w": permute_heads("l.{i}.w", "no_such_field"),
        "h.{i}.u": unstack("l.{i}.u.{n}", over="n"),
    }
    save_file(
        {name: tensor.clone() for name, tensor in before.items()}, tmp_path / "model.safetensors"
    )
    with pytest.raises(MappingError) as error:
        match(tmp_path, WeightMapping.from_dict(rules, "test"), shapes)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "rules",
    [
        {"a.{i}": "b"},
        {"a": "c", "b": "c"},
        {"a.{i}": "c.{i}", "b.{j}": "c.{j}"},
        {"a.{i}.{e}": stack("b.{i}.{e}", over="e")},
        {"a.{i}": unstack("b.{i}", over="e")},
        {("a.{i}", "b.{j}"): concatenate("c.{i}")},
        {"a": 3},
        {"a": []},
        {"a": ""},
        {"a": transpose()},
        {"a": [transpose("b"), transpose("c")]},
        {"a": [split("b", "c"), transpose("d")]},
        {"a": concatenate("b", dim=0), "c": "b"},
        {("a", "b"): transpose("c")},
        {("a", "b"): stack("c", over="e")},
        {"a.{e}": [stack(over="e"), stack("b", over="e")]},
        {"a": stack("b", over="e")},
        {("a", 3): concatenate("b")},
        {},
    ],
    ids=str,
)
def test_what_is_no_bijection_is_refused(rules: dict[Any, Any]) -> None:
    with pytest.raises(ConverterError, match="the test converter"):
        WeightMapping.from_dict(rules, "the test converter")
