"""The rules of servers in the conformance kit tell apart what servers do."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from forgather_convert.dynamic_model.components.layer_norm import LayerNorm
from forgather_convert.dynamic_model.components.rms_norm import (
    RMSNorm,
    WideRMSNorm,
    ZeroCenteredRMSNorm,
)
from forgather_convert.testing.servers import NewNorm, ServedLayer, new_norm, served_layers

pytestmark = pytest.mark.version_independent


class Attention(nn.Module):
    """What servers serve."""

    def __init__(self, layer_idx: Any = 0, scaling: Any = 0.5) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.scaling = scaling
        self.head_dim = 16

    def eager(self, *heads: Any, **kwargs: Any) -> Any:
        return heads

    def forward(self, hidden_states: Any) -> Any:
        attend: Any = self.eager
        if hidden_states is not None:
            attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return attend(self, hidden_states, scaling=self.scaling)


class Unscaled(Attention):
    def forward(self, hidden_states: Any) -> Any:
        attend = ALL_ATTENTION_FUNCTIONS.get_interface("sdpa", self.eager)
        return attend(self, hidden_states)


class InMethod(Attention):
    def attend(self, hidden_states: Any) -> Any:
        return super().forward(hidden_states)

    def forward(self, hidden_states: Any) -> Any:
        return self.attend(hidden_states)


class CalledTwice(Attention):
    def forward(self, hidden_states: Any) -> Any:
        attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
        if hidden_states is None:
            return attend(self, hidden_states)
        return attend(self, hidden_states, scaling=self.scaling)


class Chosen(Attention):
    def forward(self, hidden_states: Any) -> Any:
        attend = self.eager if hidden_states is None else ALL_ATTENTION_FUNCTIONS["sdpa"]
        return attend(self, hidden_states, scaling=self.scaling)


class Computed(Attention):
    def forward(self, hidden_states: Any) -> Any:
        attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return attend(self, hidden_states, scaling=self.head_dim**-0.5)


class Encoder(Attention):
    is_causal = False


def test_an_attention_that_is_called_in_forward_is_served() -> None:
    layers = nn.ModuleList([Attention(), Unscaled(1), Encoder(2, scaling=2)])
    assert served_layers(layers) == {
        0: ServedLayer(0.5, is_causal=True),
        1: ServedLayer(0.25, is_causal=True),
        2: ServedLayer(2.0, is_causal=False),
    }


@pytest.mark.parametrize(
    "module",
    [
        InMethod(),
        CalledTwice(),
        Chosen(),
        Computed(),
        Attention(layer_idx=None),
        Attention(scaling=None),
        Attention(scaling=torch.tensor(0.5)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_any_other_attention_is_not_served(module: nn.Module) -> None:
    assert served_layers(module) == {}


def test_two_attentions_for_one_layer() -> None:
    with pytest.raises(ValueError, match="second module with the attention of layer 0"):
        served_layers(nn.ModuleList([Attention(), Attention()]))


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (RMSNorm(8, eps=0.5), NewNorm((1.0,), 1e-6)),
        (WideRMSNorm(8, eps=0.5), NewNorm((1.0,), 1e-6)),
        (ZeroCenteredRMSNorm(8, eps=0.5), NewNorm((0.0,), 1e-6)),
        (LayerNorm(8, eps=0.5), NewNorm((1.0,), 1e-5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_norm_is_built_from_its_size(norm: nn.Module, expected: NewNorm) -> None:
    assert new_norm(norm) == expected
