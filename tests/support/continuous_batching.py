"""Continuous batching with transformers' ``generate_batch``, where there is no GPU, too."""

from typing import Any

import pytest
import torch
import transformers
from transformers.generation.continuous_batching import cache

from support.models import prompt

_PROMPT_LENGTHS = (7, 30, 12)

#: Version 5.3 pins memory wherever there is no GPU.
needs_pinned_memory = pytest.mark.skipif(
    transformers.__version__.startswith("5.3.") and not torch.cuda.is_available(),
    reason="transformers 5.3 batches with a GPU only",
)


@pytest.fixture
def memory_for_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some versions of transformers do not find out how much memory a CPU has."""
    handler = cache.PagedAttentionMemoryHandler
    monkeypatch.setattr(handler, "get_available_memory", lambda *_, **__: 1 << 28)


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
