"""A check goes past windows and original lengths where it can, and says where it cannot."""

from typing import Any

import pytest
from transformers import AutoConfig

from forgather_convert.validation.positions import (
    Limit,
    ModelSize,
    Run,
    limits_of,
    num_logit_positions,
    plan_runs,
)

_TINY = ModelSize(parameters=100_000, layers=2, heads=4, head_dim=16)
_LARGE = ModelSize(parameters=7_000_000_000, layers=32, heads=32, head_dim=128)
_TOKENS = range(100)
_PROMPT = (5, 6, 7)


def limits(kind: str, **fields: Any) -> set[tuple[str, int]]:
    return {(limit.name, limit.length) for limit in limits_of(AutoConfig.for_model(kind, **fields))}


def rope(kind: str, **fields: Any) -> dict[str, Any]:
    """A rotary embedding in the form of both versions of transformers."""
    parameters = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, **fields}
    return {"rope_scaling": parameters, "rope_parameters": parameters}


# Limits of a model, from its config


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("llama", {}, set()),
        ("mistral", {"sliding_window": 8}, {("window", 8)}),
        ("mistral", {"sliding_window": None}, set()),
        ("mistral", {}, {("window", 4096)}),
        ("qwen2", {"sliding_window": 8, "use_sliding_window": False}, set()),
        (
            "qwen3",
            {
                "sliding_window": 8,
                "use_sliding_window": True,
                "num_hidden_layers": 2,
                "max_window_layers": 1,
            },
            {("window", 8)},
        ),
        (
            "qwen3",
            {
                "sliding_window": 8,
                "use_sliding_window": True,
                "num_hidden_layers": 1,
                "layer_types": ["full_attention"],
            },
            set(),
        ),
    ],
)
def test_windows(kind: str, fields: dict[str, Any], expected: set[tuple[str, int]]) -> None:
    assert limits(kind, **fields) == expected


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (rope("linear"), set()),
        (rope("yarn", original_max_position_embeddings=32), {32}),
        (rope("yarn"), {128}),
        (rope("dynamic"), {128}),
        (
            rope(
                "llama3",
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
            {64},
        ),
    ],
)
def test_original_lengths(scaling: dict[str, Any], expected: set[int]) -> None:
    found = limits("llama", max_position_embeddings=128, **scaling)
    assert found == {("original length", length) for length in expected}


def test_original_length_beside_the_rope_parameters() -> None:
    """As Phi-3 has it."""
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    fields = {
        "hidden_size": 64,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "original_max_position_embeddings": 32,
        "sliding_window": None,
        "rope_scaling": {"type": "longrope", **factors},
    }
    assert limits("phi3", **fields) == {("original length", 32)}


def test_rope_of_each_type_of_layer() -> None:
    config = AutoConfig.for_model("llama")
    yarn = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}
    config.rope_parameters = {"full_attention": yarn, "sliding_attention": {"rope_type": "default"}}
    assert {limit.length for limit in limits_of(config)} == {16}


# The runs

WINDOW = Limit(8, "window")
FAR_WINDOW = Limit(4096, "window")
YARN = Limit(32, "original length", is_rotary=True)
FAR_YARN = Limit(32768, "original length", is_rotary=True)
FAR_LONGROPE = Limit(4096, "original length", is_rotary=True, is_switch=True)


def plan(limits: set[Limit], size: ModelSize, prompt: tuple[int, ...] = _PROMPT) -> Any:
    return plan_runs(prompt, limits, size, "cpu", _TOKENS)


def test_prompt_is_enough_without_limits() -> None:
    found = plan(set(), _LARGE)
    assert (found.runs, found.covered, found.not_covered) == ((Run(_PROMPT),), (), ())


def test_prompt_that_goes_past_a_window_is_enough() -> None:
    prompt = tuple(range(9))
    found = plan({WINDOW}, _LARGE, prompt)
    assert found.runs == (Run(prompt),)
    assert found.covered == (WINDOW,)


def test_prompt_as_long_as_the_window_does_not_go_past_it() -> None:
    found = plan({WINDOW}, _TINY, tuple(range(8)))
    assert len(found.runs) == 2


def test_second_run_goes_past_all_limits() -> None:
    found = plan({WINDOW, YARN}, _TINY)
    _, second = found.runs
    assert second.first_position == 0
    assert len(second.ids) > 32
    assert set(second.ids) <= set(_TOKENS)
    assert found.covered == (WINDOW, YARN)


def test_the_nearer_limit_is_reached_where_the_farther_one_is_not() -> None:
    found = plan({WINDOW, Limit(10**6, "attention chunk")}, _TINY)
    assert len(found.runs[1].ids) > 8
    assert found.covered == (WINDOW,)
    assert found.not_covered == (Limit(10**6, "attention chunk"),)


def test_window_of_a_large_model_is_not_reached() -> None:
    found = plan({FAR_WINDOW}, _LARGE)
    assert found.runs == (Run(_PROMPT),)
    assert found.not_covered == (FAR_WINDOW,)


def test_accelerators_go_farther() -> None:
    size = ModelSize(parameters=7_000_000_000, layers=32, heads=1, head_dim=128)
    limit = Limit(500, "window")
    assert plan_runs(_PROMPT, {limit}, size, "cpu", _TOKENS).covered == ()
    assert plan_runs(_PROMPT, {limit}, size, "cuda:0", _TOKENS).covered == (limit,)


def test_far_positions_stand_for_a_far_original_length() -> None:
    """The frequencies do not depend on what stands before."""
    found = plan({FAR_YARN}, _TINY)
    assert found.runs[1].first_position == 32768
    assert found.covered == (FAR_YARN,)


def test_frequencies_that_change_are_seen_whatever_the_size() -> None:
    found = plan({FAR_LONGROPE, FAR_WINDOW}, _LARGE)
    assert found.runs[1].first_position == 4096
    assert found.covered == (FAR_LONGROPE,)
    assert found.not_covered == (FAR_WINDOW,)


def test_frequencies_that_do_not_change_are_seen_in_the_prompt() -> None:
    """A model of a terabyte is not read twice for them."""
    assert plan({FAR_YARN}, _LARGE).runs == (Run(_PROMPT),)


def test_logits_of_long_runs_are_bounded() -> None:
    assert num_logit_positions(40, 32_000) == 40
    assert num_logit_positions(100_000, 256_000) * 256_000 * 4 < 200_000_000
    assert num_logit_positions(40, 10**9) == 1
