"""Runs in lockstep compute what runs alone do, and read what they have in common once."""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from forgather_convert.logit_check import shared_products
from forgather_convert.logit_check.lockstep import Lockstep, LockstepRun, places_of
from forgather_convert.logit_check.streamed_parameters import (
    LogitSelection,
    Product,
    streaming,
)

_FIELDS: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8,
}
_DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
_MODELS = {
    "llama": _FIELDS,
    "gpt2": {"vocab_size": 96, "n_embd": 64, "n_layer": 2, "n_head": 4},
    "mixtral": {**_FIELDS, "num_local_experts": 4},
    "dynamic": {**_FIELDS, "rope_scaling": _DYNAMIC, "rope_parameters": _DYNAMIC},
}
_LENGTHS = (7, 1, 20, 2)


def model_of(name: str) -> Any:
    torch.manual_seed(0)
    kind = "llama" if name == "dynamic" else name
    config = AutoConfig.for_model(kind, **_MODELS[name])
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def ids(length: int) -> torch.Tensor:
    return torch.randint(3, 96, (1, length), generator=torch.Generator().manual_seed(length))


def compute(model: Any, length: int) -> torch.Tensor:
    logits: torch.Tensor = model(ids(length), use_cache=False).logits
    return logits


def _with_length(
    action: Callable[[Any, int], torch.Tensor], length: int
) -> Callable[[Any], list[torch.Tensor]]:
    return lambda model: [action(model, length)]


def run_both(
    one: Any,
    other: Any,
    action: Callable[[Any, int], torch.Tensor] = compute,
    dtype: torch.dtype = torch.float32,
    receive: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
) -> tuple[list[LockstepRun], list[LockstepRun]]:
    """All lengths in both models."""
    with (
        streaming(one, dtype, "cpu", lambda _: None) as ours,
        streaming(other, dtype, "cpu", lambda _: None) as theirs,
    ):
        sources, results = (
            [
                LockstepRun(model, parameters, LogitSelection(), _with_length(action, length))
                for length in _LENGTHS
            ]
            for model, parameters in ((one, ours), (other, theirs))
        )
        Lockstep(sources, results, (places_of(ours), places_of(theirs)), receive).complete()
    return sources, results


def results_of(runs: list[LockstepRun]) -> list[torch.Tensor]:
    assert [run.error for run in runs] == [None] * len(runs)
    found = [result for run in runs for result in run.results]
    assert len(found) == len(_LENGTHS)
    return found


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The products that are computed: of which parameter, and whether for all runs."""
    found: list[tuple[str, bool]] = []
    parts_of = Product._parts

    def note(self: Product, input: torch.Tensor, is_shared: bool) -> Any:
        found.append((self.matrix.name, is_shared))
        return parts_of(self, input, is_shared)

    monkeypatch.setattr(Product, "_parts", note)
    return found


@pytest.mark.parametrize("name", _MODELS)
def test_every_run_is_as_it_is_alone(name: str) -> None:
    """Equal models are equal bit for bit; a run alone has other shapes, and so other last bits."""
    model = model_of(name)
    with torch.no_grad():
        alone = [compute(model_of(name), length) for length in _LENGTHS]
    sources, results = map(results_of, run_both(model, model_of(name)))
    for one, other, expected in zip(sources, results, alone, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_shared_products_of_narrow_types(
    dtype: torch.dtype, is_wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 or not: equal models are equal bit for bit, and different ones differ."""
    asked: set[torch.dtype] = set()

    def choose(dtype: torch.dtype) -> bool:
        asked.add(dtype)
        return is_wide

    monkeypatch.setattr(shared_products, "_is_faster_in_float32", choose)
    sources, results = map(results_of, run_both(model_of("llama"), model_of("llama"), dtype=dtype))
    assert asked == {dtype}
    for one, other in zip(sources, results, strict=True):
        assert one.dtype == dtype
        assert torch.equal(one, other)
    changed = model_of("llama")
    with torch.no_grad():
        changed.model.layers[1].mlp.up_proj.weight[3, 4] += 1
    sources, results = map(results_of, run_both(model_of("llama"), changed, dtype=dtype))
    assert not any(torch.equal(*pair) for pair in zip(sources, results, strict=True))


def test_a_shared_product_in_float32_is_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_products, "_is_faster_in_float32", lambda dtype: True)
    generator = torch.Generator().manual_seed(0)
    input, matrix, bias = (
        torch.randn(size, generator=generator).bfloat16() for size in ((5, 64), (96, 64), (96,))
    )
    expected = torch.nn.functional.linear(input.float(), matrix.float(), bias.float()).bfloat16()
    assert torch.equal(shared_products.shared_linear(input, matrix, bias), expected)


def test_products_of_float32_are_as_they_are() -> None:
    assert not shared_products._is_faster_in_float32(torch.float32)


def test_equal_products_are_computed_once(products: list[tuple[str, bool]]) -> None:
    run_both(model_of("llama"), model_of("llama"))
    assert products
    assert all(is_shared for _, is_shared in products)
    names = [name for name, _ in products]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj", "lm_head"])
def test_a_different_weight_is_seen_and_used(name: str, products: list[tuple[str, bool]]) -> None:
    """The last bit of one number, from where on each run computes by itself."""
    one, other = model_of("llama"), model_of("llama")
    weight = other.get_parameter(f"{name}.weight").data.view(-1)
    weight[5] = torch.nextafter(weight[5], torch.tensor(float("inf")))
    run_both(one, other)
    alone = [found for found, is_shared in products if not is_shared]
    assert f"{name}.weight" in alone
    assert "model.layers.0.self_attn.q_proj.weight" not in alone


def test_results_do_not_stay_in_memory() -> None:
    """Those of one input are gone when those of the next are handed over."""
    lengths: dict[int, int] = {}
    earlier: list[weakref.ref[torch.Tensor]] = []

    def receive(number: int, source: torch.Tensor, result: torch.Tensor) -> None:
        assert torch.equal(source, result)
        assert all(one() is None for one in earlier)
        lengths[number] = source.shape[1]
        earlier.extend((weakref.ref(source), weakref.ref(result)))

    runs = run_both(model_of("llama"), model_of("llama"), receive=receive)
    assert lengths == dict(enumerate(_LENGTHS))
    assert not any(run.results for side in runs for run in side)


def test_a_different_input_is_seen() -> None:
    """A model that is wrong for one run only is not given what the other's run computes."""
    one, other = model_of("llama"), model_of("llama")

    def wrong(model: Any, length: int) -> torch.Tensor:
        is_wrong = model is other and length == 20
        logits: torch.Tensor = model(ids(length) + int(is_wrong), use_cache=False).logits
        return logits

    sources, results = map(results_of, run_both(one, other, wrong))
    equal = [torch.equal(*pair) for pair in zip(sources, results, strict=True)]
    assert equal == [True, True, False, True]


@pytest.mark.parametrize("fails_in", [0, 1])
def test_an_error_ends_all_runs(fails_in: int) -> None:
    models = model_of("llama"), model_of("llama")
    before = threading.active_count()

    def fail(model: Any, length: int) -> torch.Tensor:
        logits = compute(model, length)
        if model is models[fails_in] and length == 1:
            raise RuntimeError("not this one")
        return logits

    found = run_both(*models, fail)
    errors = [[str(run.error) for run in runs if run.error] for runs in found]
    assert errors[fails_in] == ["not this one"]
    assert errors[1 - fails_in] == []
    assert threading.active_count() == before


def test_runs_do_not_see_what_others_leave_in_a_module() -> None:
    """A rotary embedding of this kind keeps the frequencies of the longest sequence."""
    model = model_of("dynamic")
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    run_both(model, model_of("dynamic"))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
