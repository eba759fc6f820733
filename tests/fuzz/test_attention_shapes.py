"""Attention gives the bits of transformers, whatever the size of its heads and the length.

Products add up in an order that depends on the shapes of their factors, and on how these lie in
memory. A factor that lies otherwise gives the same bits at most sizes, and others at some, which
depend on the processor. So the factors themselves are compared, too, with their strides.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import settings
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from support.attention_shapes import LENGTH, both_models, cases, families_with_attention
from support.available_families import available

#: transformers warns of what tiny models have.
pytestmark = pytest.mark.filterwarnings("ignore")

_IS_LONG = settings().max_examples > 100
_SIZES = tuple(range(2, 131, 2)) if _IS_LONG else (10,)
#: PyTorch takes 32 queries at a time: the last of 33 is alone.
_LENGTHS = tuple(range(1, LENGTH)) if _IS_LONG else (1, 33)
_DTYPES = (torch.float32, torch.bfloat16) if _IS_LONG else (torch.float32,)
_BATCHES = ((1, 1), (1, 2), (1, 11), (2, 1), (2, 11)) if _IS_LONG else ((1, 1), (2, 11))

Factor = tuple[torch.Tensor, tuple[int, ...]]


def _layout(tensor: torch.Tensor) -> tuple[int, ...]:
    """The strides; that of a dimension of size 1 moves nothing, and is 0."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return tuple(0 if size == 1 else stride for size, stride in sizes)


@contextmanager
def _recorded() -> Iterator[list[list[Factor]]]:
    """Notes what attention gets, and lets every token attend to itself only."""
    calls: list[list[Factor]] = []

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, None]:
        calls.append([(tensor, _layout(tensor)) for tensor in (query, key, value)])
        heads = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        return heads.transpose(1, 2).contiguous(), None

    with mock.patch.dict(ALL_ATTENTION_FUNCTIONS._global_mapping, {"sdpa": attend}):
        yield calls


def _can_be_exchanged(model: Any) -> bool:
    """Whether a built model computes attention as its config says at the moment.

    Old classes of transformers 4 choose when they are built.
    """
    before = model.config._attn_implementation
    model.config._attn_implementation = "sdpa"
    with torch.no_grad(), _recorded() as calls:
        model(torch.zeros((1, 1), dtype=torch.int64))
    model.config._attn_implementation = before
    return bool(calls)


@pytest.mark.parametrize("family", available(families_with_attention()))
@pytest.mark.parametrize("head_dim", _SIZES)
def test_attention_gets_the_same_factors_and_gives_the_same_bits(
    family: str, head_dim: int
) -> None:
    generator = torch.Generator().manual_seed(head_dim)
    for number, fields in enumerate(cases(family, head_dim)):
        for dtype in _DTYPES:
            models = both_models(fields, dtype)
            # Scores that are bounded, or have sinks, are not for sdpa: then there is one kind.
            kinds = {models[0].config._attn_implementation}
            # Otherwise, the installed transformers calls attention of the class's own.
            if _can_be_exchanged(models[0]):
                kinds.add("eager")
                if dtype is torch.float32:
                    for shape in _BATCHES:
                        assert _differing_factor(models, shape) is None, (number, shape)
            for kind, length in itertools.product(sorted(kinds), _LENGTHS):
                ids = torch.randint(models[0].config.vocab_size, (1, length), generator=generator)
                logits = [_logits(model, ids, kind) for model in models]
                assert torch.equal(*logits), (number, dtype, kind, length)


def _differing_factor(models: tuple[Any, Any], shape: tuple[int, int]) -> str | None:
    """The first factor whose values differ or lie otherwise in memory; ``None`` if none does."""
    ids = torch.arange(shape[0] * shape[1]).view(shape) % models[0].config.vocab_size
    both = []
    for model in models:
        with _recorded() as calls:
            _logits(model, ids, "sdpa")
        both.append(calls)
    for one, other in zip(*both, strict=True):
        for name, expected, got in zip(("query", "key", "value"), one, other, strict=True):
            if not torch.equal(got[0], expected[0]) or got[1] != expected[1]:
                return name
    return None


def _logits(model: Any, ids: torch.Tensor, kind: str) -> torch.Tensor:
    model.config._attn_implementation = kind
    with torch.no_grad():
        logits: torch.Tensor = model(ids).logits
    return logits
