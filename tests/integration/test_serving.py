"""What decoders, compilers and servers ask of a model beyond its logits."""

import logging
import re
import sys
from operator import attrgetter
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, StaticCache
from transformers.integrations.executorch import (
    TorchExportableModuleWithStaticCache,
    convert_and_export_with_cache,
)

from forgather_convert.dynamic_model.components.cache_arguments import CACHE
from support.models import TRANSFORMERS_MAJOR, prompt
from support.pairs import Pair, every_family
from support.variants import variant

float32 = pytest.mark.parametrize("dtype", ["float32"])
LENGTH = 24


def one_of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("variant", [variant(name) for name in names], ids=names)


def function_calls(model: Any) -> int:
    """How many functions are called, in Python and below, to decode one token."""
    ids = prompt(batch=1, length=4)
    output = model(ids, use_cache=True)
    cache = {CACHE: output[CACHE]}
    model(ids[:, :1], use_cache=True, **cache)
    events: list[str] = []
    sys.setprofile(lambda _frame, event, _argument: events.append(event))
    try:
        model(ids[:, :1], use_cache=True, **cache)
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in events)


@one_of("llama-default", "mistral-window", "qwen3-layer-types")
@float32
@torch.no_grad()
def test_decoding_takes_no_more_calls(pair: Pair) -> None:
    """What a step costs beside its products, without a clock."""
    hf, fg = map(function_calls, pair.load())
    assert fg <= hf


@one_of("llama-tied")
@float32
@torch.no_grad()
def test_early_exit(pair: Pair) -> None:
    """The first layers propose tokens, and only what they propose passes all layers."""
    results = []
    hf, fg = pair.load()
    for model, layers in ((hf, hf.model.layers), (fg, fg.causal_lm.layer_stack.layers)):
        runs: list[int] = []
        layers[-1].register_forward_hook(lambda *_, runs=runs: runs.append(1))
        generated = model.generate(
            prompt(batch=1, length=6), max_new_tokens=12, do_sample=False, assistant_early_exit=1
        )
        results.append((generated.tolist(), len(runs)))
    assert results[0] == results[1]


class Missing(torch.nn.Module):
    """What stands in for a module of another pipeline stage: it gives back what it gets."""

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        return arguments[0] if arguments else next(iter(keywords.values()))


def keep_stage(model: Any, stage: int, boundary: int) -> None:
    """Leaves one of two stages of a base model, as its plan says, by vLLM's rules."""
    *before, layers, after = model.pp_plan
    for index in range(boundary) if stage else range(boundary, model.config.num_hidden_layers):
        attrgetter(layers)(model)[index] = Missing()
    for name in before if stage else [after]:
        parent, _, child = name.rpartition(".")
        setattr(attrgetter(parent)(model), child, Missing())


@one_of("llama-tied", "qwen3-layer-types")
@float32
@torch.no_grad()
def test_pipeline_stages(pair: Pair) -> None:
    ids = prompt(length=LENGTH)
    positions = torch.arange(LENGTH)[None]
    expected = pair.load()[0].model(ids).last_hidden_state
    stages = [pair.load()[1].causal_lm for _ in range(2)]
    hidden_states: Any = None
    for number, stage in enumerate(stages):
        keep_stage(stage, number, boundary=2)
        inputs = {"inputs_embeds": hidden_states} if number else {"input_ids": ids}
        (hidden_states,) = stage(
            **inputs, position_ids=positions, use_cache=False, return_dict=False
        )
    assert isinstance(stages[1].get_input_embeddings(), Missing)
    assert torch.equal(hidden_states, expected)


@every_family
@float32
def test_tensor_parallel_plan_is_that_of_the_family(pair: Pair) -> None:
    hf, fg = pair.load()
    styles = {"colwise_rep": "colwise_gather_output"} if TRANSFORMERS_MAJOR > 4 else {}

    def plan(model: Any) -> dict[str, str]:
        # Version 4 has the base model's plan a second time, without the prefix.
        return {
            name: styles.get(style, style)
            for name, style in model.tp_plan.items()
            if not name.startswith(("layers.", "layer_stack."))
        }

    expected = plan(hf)
    names = pair.forgather_names(f"{name.replace('*', '0')}.weight" for name in expected)
    translated = [re.sub(r"\.0\.", ".*.", str(name)).removesuffix(".weight") for name in names]
    assert plan(fg) == dict(zip(translated, expected.values(), strict=True))


@pytest.fixture
def quiet_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its trace is thousands of messages, which take longer to keep than to make."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)


@one_of("mistral-window")
@float32
@pytest.mark.usefixtures("quiet_compiler")
@torch.no_grad()
def test_static_cache_in_a_compiled_model(pair: Pair) -> None:
    """In one graph, from the first token on: nothing in it is left to Python."""
    ids = prompt(batch=1, length=6)
    hf, fg = pair.load("eager")
    logits = []
    for model, run in ((hf, hf), (fg, torch.compile(fg, backend="eager", fullgraph=True))):
        cache = {CACHE: StaticCache(config=model.config, max_cache_len=LENGTH)}
        steps = [run(part, **cache).logits for part in (ids[:, :5], ids[:, 5:])]
        logits.append(torch.cat(steps, dim=1))
    assert torch.equal(*logits)


@one_of("llama-default")
@float32
@pytest.mark.usefixtures("quiet_compiler")
# What transformers' own class does while it records outputs.
@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects")
@torch.no_grad()
def test_export_with_a_static_cache(pair: Pair) -> None:
    """As ExecuTorch's users do; the model itself is as before."""
    hf, fg = pair.load()
    ids = prompt(batch=1, length=4)
    before = fg(ids).logits
    generated = []
    for model in (hf, fg):
        model.generation_config = GenerationConfig(
            use_cache=True,
            cache_implementation="static",
            max_length=LENGTH,
            cache_config={"batch_size": 1, "max_cache_len": LENGTH},
        )
        program = convert_and_export_with_cache(
            model, example_input_ids=ids[:, :1], example_cache_position=torch.tensor([0])
        )
        generated.append(TorchExportableModuleWithStaticCache.generate(program, ids, 4))
    assert torch.equal(*generated)
    assert torch.equal(fg(ids).logits, before)
