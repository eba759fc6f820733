"""Continuous batching with transformers' ``generate_batch``, where there is no GPU, too."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from transformers.generation.continuous_batching import cache

from support.models import prompt

_PROMPT_LENGTHS = (7, 30, 12)


class _Unpinned(ModuleType):
    """``torch``, whose tensors are in memory of the usual kind."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(torch, name)
        return partial(_without_pinning, found) if name in ("empty", "zeros", "full") else found


def _without_pinning(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    options.pop("pin_memory", None)
    return make(*arguments, **options)


@pytest.fixture
def memory_for_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some versions of transformers ask for memory that there is with a GPU only."""
    handler = cache.PagedAttentionMemoryHandler
    monkeypatch.setattr(handler, "get_available_memory", lambda *_, **__: 1 << 28)
    if transformers.__version__.startswith("5.3."):
        name = "transformers.generation.continuous_batching.input_outputs.torch"
        monkeypatch.setattr(name, _Unpinned("torch"))


def assert_same_batches(hf: Any, fg: Any) -> None:
    """Prompts of different lengths are continued together as the original continues them."""
    rows = zip(prompt(batch=len(_PROMPT_LENGTHS)), _PROMPT_LENGTHS, strict=True)
    prompts = [row[:length].tolist() for row, length in rows]
    expected, actual = (_continuations(model, prompts) for model in (hf, fg))
    assert all(expected)
    assert actual == expected


def _continuations(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    """The greedy continuation of each prompt, empty for those that failed."""
    # Little, but enough: transformers would fill the memory with its cache.
    sizes = {"num_blocks": 16, "max_batch_tokens": 64}
    options: dict[str, Any] = {"progress_bar": False}
    if hasattr(transformers, "ContinuousBatchingConfig"):
        options["continuous_batching_config"] = transformers.ContinuousBatchingConfig(**sizes)
        sizes = {}
    outputs = model.generate_batch(
        prompts,
        generation_config=transformers.GenerationConfig(
            do_sample=False, max_new_tokens=4, eos_token_id=2, pad_token_id=0, **sizes
        ),
        **options,
    )
    # They come in any order, under names that say nothing.
    found = {tuple(output.prompt_ids): output.generated_tokens for output in outputs.values()}
    return [found[tuple(prompt)] for prompt in prompts]
