"""``generate_batch`` gives the same tokens for a converted model as for the original."""

import pytest

from support.continuous_batching import assert_same_batches, memory_for_batches
from support.pairs import Pair, every_attention
from support.variants import variant

__all__ = ["memory_for_batches"]


@pytest.mark.parametrize(
    "variant",
    [variant("llama-tied"), variant("mistral-window"), variant("qwen3-layer-types")],
    ids=lambda variant: variant.id,
)
@pytest.mark.parametrize("dtype", ["float32"])
@every_attention
@pytest.mark.usefixtures("memory_for_batches")
def test_continuous_batching(pair: Pair, attention: str) -> None:
    assert_same_batches(*pair.load(attention))
