"""Which layers rotate queries and keys, and which dimensions make a pair."""

from types import SimpleNamespace

import torch

from forgather_convert.dynamic_model.components.causal_attention import CausalAttention
from forgather_convert.dynamic_model.components.context import Context
from forgather_convert.dynamic_model.components.interleaved_attention import InterleavedAttention
from forgather_convert.dynamic_model.components.rotary_embedding import (
    InterleavedRotaryEmbedding,
    RotaryEmbedding,
)

CONFIG = SimpleNamespace(
    hidden_size=32,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_hidden_layers=2,
    head_dim=8,
    max_position_embeddings=64,
    attention_bias=False,
    attention_dropout=0.0,
    sliding_window=None,
    rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    no_rope_layers=[0, 1],
    _attn_implementation="eager",
)


def positions(rope_class: type[RotaryEmbedding], first: int, step: int) -> object:
    ids = torch.arange(first, first + 6 * step, step)[None]
    context = Context(None, None, ids, True, None, None)
    return rope_class(CONFIG)(torch.zeros(1, 6, 32), context)["full_attention"]


def test_layers_without_positions_do_not_look_at_them() -> None:
    hidden_states = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
    for layer_idx, has_rope in enumerate(CONFIG.no_rope_layers):
        attention = CausalAttention(CONFIG, layer_idx)
        outputs = [attention(hidden_states, positions(RotaryEmbedding, 0, step)) for step in (1, 3)]
        assert torch.equal(*outputs) is not bool(has_rope)


def test_interleaved_rotation_is_the_other_one_with_its_dimensions_in_another_order() -> None:
    heads = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    halves_to_pairs = torch.arange(8).view(2, 4).T.flatten()
    expected, _ = CausalAttention(CONFIG, 1).rotate(heads, heads, positions(RotaryEmbedding, 5, 1))
    rotated, also_rotated = InterleavedAttention(CONFIG, 1).rotate(
        heads[..., halves_to_pairs],
        heads[..., halves_to_pairs],
        positions(InterleavedRotaryEmbedding, 5, 1),
    )
    assert torch.equal(rotated, expected[..., halves_to_pairs])
    assert torch.equal(also_rotated, rotated)
