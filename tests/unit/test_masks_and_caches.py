"""The masks and caches of layers with attention, with another mixer, or with both."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.cache_utils import DynamicCache
from transformers.masking_utils import LAYER_PATTERN_TO_MASK_FUNCTION_MAPPING

from forgather_convert.dynamic_model.components.attention_masks import (
    create_attention_masks,
    create_recurrent_mask,
    masks_of_layer,
)
from forgather_convert.dynamic_model.components.context import Context
from forgather_convert.dynamic_model.components.layer_stack import LayerStack
from forgather_convert.dynamic_model.components.recurrent_cache import create_cache

_LENGTH = 6


def _masks(kinds: list[str], attention_mask: Any) -> dict[str, Any]:
    config = LlamaConfig(
        sliding_window=4, attention_chunk_size=4, layer_types=kinds, num_hidden_layers=len(kinds)
    )
    config._attn_implementation = "eager"
    return create_attention_masks(
        config,
        kinds,
        torch.zeros(2, _LENGTH, 8),
        attention_mask=attention_mask,
        past_key_values=None,
        position_ids=torch.arange(_LENGTH)[None],
        cache_position=torch.arange(_LENGTH),
    )


def _padding() -> torch.Tensor:
    mask = torch.ones(2, _LENGTH, dtype=torch.long)
    mask[0, :2] = 0
    return mask


@pytest.mark.parametrize(
    "kind", sorted({*LAYER_PATTERN_TO_MASK_FUNCTION_MAPPING, "linear_attention", "conv", "hybrid"})
)
def test_layers_of_every_kind_of_transformers_get_masks(kind: str) -> None:
    """By the names in transformers' own dictionaries of masks."""
    masks = _masks([kind], _padding())
    assert set(masks_of_layer(kind).values()) == set(masks)
    attention = masks.get(masks_of_layer(kind).get("attention_mask", ""))
    assert attention is None or attention.shape == (2, 1, _LENGTH, _LENGTH)


def test_chunks_end_where_they_should() -> None:
    """A position attends to those before it in its chunk of four."""
    mask = _masks(["chunked_attention"], None)["chunked_attention"]
    may_attend = mask[0, 0] == 0
    assert may_attend[3].tolist() == [True, True, True, True, False, False]
    assert may_attend[4].tolist() == [False, False, False, False, True, False]


def test_an_unknown_kind_is_an_error() -> None:
    """Instead of layers without a mask, which would see the future."""
    with pytest.raises(ValueError, match="no masks for layers of the kind 'unheard-of'"):
        masks_of_layer("unheard-of")


def test_a_hybrid_layer_gets_both_masks() -> None:
    """One for its attention and one for its other mixer."""
    given: list[dict[str, Any]] = []

    class Layer(nn.Module):
        def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            given.append(kwargs)
            return hidden_states

    kinds = ["full_attention", "hybrid", "linear_attention"]
    masks = _masks(kinds, _padding())
    config = SimpleNamespace(layer_types=kinds, num_hidden_layers=3)
    stack = LayerStack(config, [Layer() for _ in kinds], nn.Identity())
    stack(torch.zeros(2, _LENGTH, 8), masks, {})
    for kwargs in given:
        del kwargs["position_embeddings"], kwargs["all_attentions"]
    causal, recurrent = masks["full_attention"], masks["linear_attention"]
    assert [{*kwargs} for kwargs in given] == [
        {"attention_mask"},
        {"attention_mask", "recurrent_mask"},
        {"recurrent_mask"},
    ]
    assert given[1]["attention_mask"] is causal
    assert given[1]["recurrent_mask"] is given[2]["recurrent_mask"] is recurrent


@pytest.mark.parametrize("length", [_LENGTH, 3])
def test_states_are_masked_only_where_there_is_padding(length: int) -> None:
    """The mask is that of the tokens in this run; the cache has seen the others."""
    inputs: Any = dict.fromkeys(("inputs_embeds", "input_embeds"), torch.zeros(2, length, 8))
    mask = create_recurrent_mask(_padding(), **inputs)
    assert mask is not None
    assert torch.equal(mask, _padding()[:, -length:])
    assert create_recurrent_mask(torch.ones(2, _LENGTH), **inputs) is None
    assert create_recurrent_mask(torch.ones(2, 1, _LENGTH, _LENGTH), **inputs) is None
    assert create_recurrent_mask(None, **inputs) is None


def test_a_decoded_token_is_no_padding() -> None:
    """Whatever the mask says of earlier tokens."""
    inputs: Any = dict.fromkeys(("inputs_embeds", "input_embeds"), torch.zeros(2, 1, 8))
    assert create_recurrent_mask(_padding(), **inputs) is None


def test_the_cache_is_of_the_class_that_mixers_need() -> None:
    """Its constructor gets the arguments that it names."""

    class Model(nn.Module):
        config = LlamaConfig(num_hidden_layers=3)
        dtype = torch.bfloat16

    class Cache:
        def __init__(self, config: Any, max_batch_size: int, dtype: Any, devices: Any) -> None:
            self.arguments = (config, max_batch_size, dtype, devices)

    model = Model()
    inputs = torch.zeros(2, _LENGTH, dtype=torch.long)
    assert isinstance(create_cache(model, inputs), DynamicCache)
    model.mixer = nn.Identity()
    model.mixer.cache_class = Cache  # type: ignore[assignment]
    cache = create_cache(model, inputs)
    assert cache.arguments == (Model.config, 2, torch.bfloat16, [inputs.device] * 3)


def test_a_context_knows_padding_and_what_the_cache_has_seen() -> None:
    """A complete mask says nothing about padding."""

    def context(mask: Any, cache: Any = None) -> Context:
        return Context(None, None, torch.zeros(1, 1), False, mask, cache)

    assert context(_padding()).padding_mask is not None
    assert context(torch.zeros(2, 1, _LENGTH, _LENGTH)).padding_mask is None
    assert context({"full_attention": None}).padding_mask is None
    assert context(None).num_seen == 0
    assert context(None, SimpleNamespace(get_seq_length=lambda: 7)).num_seen == 7
