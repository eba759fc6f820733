"""``generate_batch`` gives the same tokens for a converted model as for the original."""

import pytest

from support.continuous_batching import assert_same_batches, memory_for_batches
from support.pairs import Pair
from support.variants import variant

__all__ = ["memory_for_batches"]


@pytest.mark.parametrize(
    ("variant", "attention"),
    [
        (variant("llama-tied"), "eager"),
        (variant("mistral-window"), "sdpa"),
        (variant("qwen3-layer-types"), "sdpa"),
    ],
    ids=["llama", "mistral", "qwen3"],
)
@pytest.mark.parametrize("dtype", ["float32"])
@pytest.mark.usefixtures("memory_for_batches")
def test_continuous_batching(pair: Pair, attention: str) -> None:
    assert_same_batches(*pair.load(attention))
