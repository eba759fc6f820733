"""A check goes past windows and original lengths where it can, and says where it cannot."""

from typing import Any

import pytest
from transformers import AutoConfig

from forgather_convert.logit_check.positions import (
    AllowedInputs,
    Limit,
    ModelSize,
    PositionPlan,
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


def plan(limits: set[Limit], size: ModelSize, prompt: tuple[int, ...] = _PROMPT) -> PositionPlan:
    return plan_runs(prompt, limits, size, "cpu", AllowedInputs(_TOKENS))


def further(found: PositionPlan) -> list[Run]:
    """What is run for limits, besides the forms that every model gets."""
    return list(found.runs[5:])


def test_every_model_gets_every_form_of_input() -> None:
    found = plan(set(), _LARGE)
    prompt, one, two, odd, batch = found.runs
    assert (prompt.rows, len(prompt.steps)) == ((_PROMPT,), 2)
    assert [run.length for run in (one, two, odd)] == [1, 2, 11]
    assert (len(batch.rows), batch.padding) == (2, 1)
    assert batch.padding < batch.length
    assert {token for run in found.runs for row in run.rows for token in row} <= {*_TOKENS}
    assert (found.covered, found.not_covered) == ((), ())
    assert list(map(str, found.runs)) == [
        "the prompt (3 tokens) and 2 cached steps",
        "1 token",
        "2 tokens",
        "11 tokens",
        "a batch of 2 with left padding",
    ]


@pytest.mark.parametrize("most", range(1, 16))
def test_no_run_has_more_positions_than_the_model(most: int) -> None:
    found = plan_runs(tuple(range(12)), set(), _TINY, "cpu", AllowedInputs(_TOKENS, most))
    assert all(run.length + len(run.steps) <= most for run in found.runs)
    assert found.runs[0].length >= 1


def test_run_that_goes_past_a_window_is_enough() -> None:
    found = plan({WINDOW}, _LARGE, tuple(range(9)))
    assert further(found) == []
    assert found.covered == (WINDOW,)


def test_run_as_long_as_the_window_does_not_go_past_it() -> None:
    found = plan({Limit(11, "window")}, _TINY, tuple(range(8)))
    assert len(further(found)) == 1


def test_further_run_goes_past_all_limits() -> None:
    found = plan({Limit(20, "window"), YARN}, _TINY)
    (run,) = further(found)
    assert run.first_position == 0
    assert run.length > 32
    assert set(run.rows[0]) <= set(_TOKENS)
    assert found.covered == (Limit(20, "window"), YARN)


def test_both_sides_of_every_limit_are_compared_where_few_logits_can_be_kept() -> None:
    """Of a large vocabulary, not all positions of a long run are kept."""
    tokens = range(300_000)
    limits = {Limit(64, "window"), Limit(512, "window")}
    found = plan_runs(_PROMPT, limits, _TINY, "cpu", AllowedInputs(tokens))
    for limit in limits:
        compared = [
            range(run.length - num_logit_positions(run.length, len(tokens)), run.length)
            for run in found.runs
        ]
        assert any(limit.length - 1 in kept and limit.length in kept for kept in compared)


def test_the_nearer_limit_is_reached_where_the_farther_one_is_not() -> None:
    found = plan({Limit(20, "window"), Limit(10**6, "attention chunk")}, _TINY)
    assert further(found)[0].length > 20
    assert found.covered == (Limit(20, "window"),)
    assert found.not_covered == (Limit(10**6, "attention chunk"),)


def test_window_of_a_large_model_is_not_reached() -> None:
    found = plan({FAR_WINDOW}, _LARGE)
    assert further(found) == []
    assert found.not_covered == (FAR_WINDOW,)


def test_accelerators_go_farther() -> None:
    size = ModelSize(parameters=7_000_000_000, layers=32, heads=1, head_dim=128)
    limit = Limit(500, "window")
    assert plan_runs(_PROMPT, {limit}, size, "cpu", AllowedInputs(_TOKENS)).covered == ()
    assert plan_runs(_PROMPT, {limit}, size, "cuda:0", AllowedInputs(_TOKENS)).covered == (limit,)


def test_far_positions_stand_for_a_far_original_length() -> None:
    """The frequencies do not depend on what stands before."""
    found = plan({FAR_YARN}, _TINY)
    assert further(found)[0].first_position == 32768
    assert found.covered == (FAR_YARN,)


@pytest.mark.parametrize("size", [_TINY, _LARGE])
@pytest.mark.parametrize("length", [1, 2, 8, 2048, 4096])
def test_frequencies_that_change_are_seen_on_both_sides(length: int, size: ModelSize) -> None:
    """Whatever the size of the model, and however near another length is."""
    limit = Limit(length, "original length", is_rotary=True, is_switch=True)
    found = plan({limit, Limit(10**8, "window")}, size)
    last = [run.first_position + run.length - 1 for run in further(found)]
    assert last == [length - 1, length]
    assert found.covered == (limit,)
    assert found.not_covered == (Limit(10**8, "window"),)


def test_frequencies_that_do_not_change_are_seen_in_the_prompt() -> None:
    """A model of a terabyte is not read once more for them."""
    assert further(plan({FAR_YARN}, _LARGE)) == []


def test_logits_of_long_runs_are_bounded() -> None:
    assert num_logit_positions(40, 32_000) == 40
    assert num_logit_positions(100_000, 256_000) * 256_000 * 4 < 200_000_000
    assert num_logit_positions(40, 10**9) == 1
