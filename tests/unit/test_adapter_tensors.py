"""What is done to the rows of a weight is done to the adapter of it, exactly or not at all."""

from typing import Any

import pytest
import torch

from forgather_convert import MappingError, UnsupportedModelError
from forgather_convert.adapters.config import convert_config
from forgather_convert.adapters.parameter_links import ParameterLinks
from forgather_convert.adapters.tensors import Counterpart, convert_tensors
from forgather_convert.source.detection import Direction
from forgather_convert.tensors.evaluation import Evaluator
from forgather_convert.tensors.expressions import Constant, Expression
from forgather_convert.tensors.notation import (
    concatenate,
    deinterleave,
    permute_heads,
    split,
    stack,
    transpose,
)
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.weight_mapping import WeightMapping

pytestmark = pytest.mark.version_independent

CONFIG = {"num_attention_heads": 2}
RANK, INPUTS = 3, 5
State = dict[str, torch.Tensor]

#: Mappings to Forgather; the shapes of its weights; and whether the other weights are transposed.
CASES: dict[str, tuple[dict[Any, Any], dict[str, tuple[int, int]], bool]] = {
    "renamed": ({"h.{i}.q.weight": "l.{i}.query.weight"}, {"l.0.query.weight": (8, INPUTS)}, False),
    "split": (
        {"h.{i}.qkv.weight": split("l.{i}.q.weight", "l.{i}.k.weight", "l.{i}.v.weight")},
        {"l.0.q.weight": (8, INPUTS), "l.0.k.weight": (4, INPUTS), "l.0.v.weight": (4, INPUTS)},
        False,
    ),
    "concatenate": (
        {("h.gate.weight", "h.up.weight"): concatenate("l.gate_up.weight")},
        {"l.gate_up.weight": (12, INPUTS)},
        False,
    ),
    "deinterleave": (
        {"h.qkv.weight": deinterleave("l.qkv.weight", parts=3, groups="num_attention_heads")},
        {"l.qkv.weight": (24, INPUTS)},
        False,
    ),
    "permute heads": (
        {"h.q.weight": permute_heads("l.q.weight")},
        {"l.q.weight": (8, INPUTS)},
        False,
    ),
    # GPT-2: a square weight does not show which of its dimensions is which.
    "transpose": ({"h.c.weight": transpose("l.c.weight")}, {"l.c.weight": (5, INPUTS)}, True),
    "transpose, then split": (
        {"h.c.weight": [transpose(), split("l.a.weight", "l.b.weight")]},
        {"l.a.weight": (4, INPUTS), "l.b.weight": (2, INPUTS)},
        True,
    ),
}


def random(*shape: int, seed: int) -> torch.Tensor:
    """Small whole numbers: their sums of products are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, shape, generator=generator).float()


def counterpart(
    mapping: dict[Any, Any], shapes: dict[str, Any], direction: Direction = Direction.TO_FORGATHER
) -> Counterpart:
    """A model with those weights; the mapping leads to Forgather."""
    weights = WeightMapping.from_dict(mapping, "test")
    if direction is Direction.FROM_FORGATHER:
        weights = weights.inverted()
    parameters = ModelParameters(shapes, {}, ())
    links = ParameterLinks.of(weights, parameters)
    return Counterpart(direction, links, parameters, CONFIG, "base")


def evaluated(value: Expression) -> torch.Tensor:
    with Evaluator() as evaluator:
        pieces = [piece.reshape(-1).clone() for piece in evaluator.pieces(value)]
    return torch.cat(pieces).reshape(value.shape)


def converted(state: State, target: Counterpart) -> State:
    values = {
        name: Constant("float32", tuple(value.shape), value.numpy().tobytes())
        for name, value in state.items()
    }
    return {name: evaluated(value) for name, value in convert_tensors(values, target).items()}


def adapter(module: str, outputs: int, seed: int = 0) -> State:
    name = f"base_model.model.{module}"
    return {
        f"{name}.lora_A.weight": random(RANK, INPUTS, seed=1),
        f"{name}.lora_B.weight": random(outputs, RANK, seed=seed + 2),
        f"{name}.lora_B.bias": random(outputs, seed=seed + 3),
        f"{name}.lora_magnitude_vector": random(outputs, seed=seed + 4),
    }


def product(state: State, weight: str) -> torch.Tensor:
    module = f"base_model.model.{weight.removesuffix('.weight')}"
    return state[f"{module}.lora_B.weight"] @ state[f"{module}.lora_A.weight"]


def sources(case: str) -> dict[str, int]:
    """The other model's modules, and how many outputs each has."""
    mapping, shapes, _ = CASES[case]
    links = ParameterLinks.of(
        WeightMapping.from_dict(mapping, "test"), ModelParameters(shapes, {}, ())
    ).links
    return {
        name.removesuffix(".weight"): sum(shapes[to][0] for to in link.destinations)
        // len(link.sources)
        for link in links
        for name in link.sources
    }


@pytest.mark.parametrize("case", CASES)
def test_what_is_added_to_the_weights_is_mapped_as_they_are(case: str) -> None:
    mapping, shapes, is_transposed = CASES[case]
    target = counterpart(mapping, shapes)
    state: State = {}
    for number, (module, outputs) in enumerate(sources(case).items()):
        state |= adapter(module, outputs, seed=10 * number)
    result = converted(state, target)

    # The same mapping, done to what the adapter adds to each weight.
    added = {
        f"base_model.model.{module}.weight": product(state, module).T.contiguous()
        if is_transposed
        else product(state, module)
        for module in sources(case)
    }
    expected = converted(added, target)
    assert len(expected) == len(shapes)
    for name in shapes:
        assert torch.equal(product(result, name), expected[f"base_model.model.{name}"])

    source_shapes = {
        name.removeprefix("base_model.model."): tuple(value.shape) for name, value in added.items()
    }
    back = converted(result, counterpart(mapping, source_shapes, Direction.FROM_FORGATHER))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


FUSED = {("h.a.weight", "h.b.weight"): concatenate("l.ab.weight")}
FUSED_SHAPES = {"l.ab.weight": (8, INPUTS)}
BOTH = {**adapter("h.a", 4), **adapter("h.b", 4, seed=10)}
A, B = ("base_model.model.h.a.lora_A.weight", "base_model.model.h.b.lora_A.weight")
REFUSED: dict[str, tuple[dict[Any, Any], dict[str, Any], State, str]] = {
    "different lora_A": (
        FUSED,
        FUSED_SHAPES,
        {**BOTH, A: BOTH[A] + 1},
        "has a different 'lora_A' for each",
    ),
    "one of two": (FUSED, FUSED_SHAPES, adapter("h.a", 4), "for some of them only.*h.b.weight"),
    "inputs in another order": (
        {"h.a.weight": split("l.a.weight", "l.b.weight", dim=1)},
        {"l.a.weight": (4, 2), "l.b.weight": (4, 3)},
        adapter("h.a", 4),
        "Only operations on the outputs",
    ),
    "experts": (
        {"h.{e}.weight": stack("l.weight", over="e")},
        {"l.weight": (2, 4, INPUTS)},
        adapter("h.0", 4),
        "one of the experts",
    ),
    "an embedding in another order": (
        {"h.weight": permute_heads("l.weight")},
        {"l.weight": (8, INPUTS)},
        {
            "base_model.model.h.lora_embedding_A": random(RANK, 8, seed=1),
            "base_model.model.h.lora_embedding_B": random(INPUTS, RANK, seed=1),
        },
        "can only be renamed",
    ),
}
RENAMED = {"h.a.weight": "l.a.weight"}
WRONG: dict[str, tuple[State, str]] = {
    "a module that the base has not": (
        adapter("h.x", 4),
        r"4 of the.* do not belong to base:\n  .*h\.x",
    ),
    "a name that PEFT does not give": ({"h.a.lora_A.weight": BOTH[A]}, "do not belong to base"),
    "half an adapter": ({A: BOTH[A]}, "has 'h.a.lora_A.weight', but not 'h.a.lora_B.weight'"),
    "another base": (adapter("h.a", 6), r"has the shape \[6, 3\].* fit 'l.a.weight', \[4, 5\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_not_be_exact_is_refused(case: str) -> None:
    mapping, shapes, state, message = REFUSED[case]
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        converted(state, counterpart(mapping, shapes))
    assert "Merge" in str(caught.value)


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused(case: str) -> None:
    state, message = WRONG[case]
    with pytest.raises(MappingError, match=message):
        converted(state, counterpart(RENAMED, {"l.a.weight": (4, INPUTS)}))


TRANSPOSED = {"h.a.weight": transpose("l.a.weight")}
LORA = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": ["a", "b"]}


def test_the_config_says_whether_weights_are_transposed() -> None:
    links = counterpart(TRANSPOSED, {"l.a.weight": (4, INPUTS)}).links
    converted_config = convert_config({**LORA, "fan_in_fan_out": True}, [A], links, "config")
    assert converted_config["fan_in_fan_out"] is False
    back = convert_config(converted_config, [A.replace("h.", "l.")], links.inverted(), "config")
    assert back["fan_in_fan_out"] is True


def test_factors_of_modules_that_become_one_must_agree() -> None:
    links = counterpart(FUSED, FUSED_SHAPES).links
    assert convert_config(LORA, [A, B], links, "config")["target_modules"] == ["ab"]
    same = convert_config({**LORA, "alpha_pattern": {"h.[ab]": 4}}, [A, B], links, "config")
    assert same["alpha_pattern"] == {"ab": 4}
    with pytest.raises(UnsupportedModelError, match="'alpha_pattern' in config is not the same"):
        convert_config({**LORA, "alpha_pattern": {"h.a": 4}}, [A, B], links, "config")


def test_inits_that_look_at_the_weights_need_the_same_weights() -> None:
    fused, renamed = counterpart(FUSED, FUSED_SHAPES), counterpart(RENAMED, {"l.a.weight": (4, 4)})
    config = {**LORA, "init_lora_weights": "pissa"}
    assert convert_config(config, [A], renamed.links, "config")["init_lora_weights"] == "pissa"
    with pytest.raises(UnsupportedModelError, match="sets 'init_lora_weights' to 'pissa'"):
        convert_config(config, [A, B], fused.links, "config")
