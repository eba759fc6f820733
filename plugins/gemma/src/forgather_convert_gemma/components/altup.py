"""Several streams of hidden states, of which a layer computes only one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class AltUp(nn.Module):
    """Predicts all streams, and corrects the predictions by what a layer makes of the active one.

    The streams are ``[streams, batch, sequence, hidden]``. In training, the coefficients are
    limited to the config's ``altup_coef_clip``.

    Baykal et al., "Alternating Updates for Efficient Transformers", 2023.
    """

    def __init__(self, config: Any, make_norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        hidden, self.num_streams = config.hidden_size, config.altup_num_inputs
        self.active, self.limit = config.altup_active_idx, config.altup_coef_clip
        self.router_norm = make_norm()
        self.router_scale = 1.0 / hidden
        self.router = nn.Linear(hidden, self.num_streams, bias=False)
        self.prediction = nn.Linear(self.num_streams, self.num_streams**2, bias=False)
        self.correction = nn.Linear(self.num_streams, self.num_streams, bias=False)
        self.output_scale = nn.Parameter(torch.zeros(hidden))

    def initialize(self) -> None:
        """Sets the scale to zero, like transformers."""
        nn.init.zeros_(self.output_scale)

    def route(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The weights of the streams' coefficients, ``[batch, sequence, streams]``."""
        normalized = self.router_norm(hidden_states)
        scale = torch.tensor(self.router_scale, dtype=normalized.dtype, device=normalized.device)
        routed: torch.Tensor = self.router(normalized * scale)
        return torch.tanh(routed.float()).to(hidden_states.dtype)

    def predict(self, streams: torch.Tensor) -> torch.Tensor:
        """Adds a linear combination of all streams to each stream."""
        weights = self.route(streams[self.active])
        if self.training:
            # transformers limits the parameter itself, too.
            self.prediction.weight.data.clamp_(-self.limit, self.limit)
        shape = (*weights.shape[:-1], self.num_streams, self.num_streams)
        coefficients = self.prediction(weights).reshape(shape).transpose(2, 3)
        predictions = torch.matmul(streams.permute(1, 2, 3, 0), coefficients).permute(3, 0, 1, 2)
        # In place as in transformers: it determines the memory layout of gradients.
        predictions += streams
        return predictions.contiguous()

    def correct(self, predictions: torch.Tensor, computed: torch.Tensor) -> torch.Tensor:
        """Adds the error of the active prediction to each prediction, times a coefficient."""
        weights = self.route(computed)
        error = (computed - predictions[self.active]).repeat(self.num_streams, 1, 1, 1)
        if self.training:
            limited = self.correction.weight.clamp(-self.limit, self.limit)
            coefficients = functional.linear(weights, limited) + 1.0
        else:
            coefficients = self.correction(weights) + 1.0
        return (error * coefficients.permute(2, 0, 1).unsqueeze(-1) + predictions).contiguous()

    def forward(self, corrected: torch.Tensor) -> torch.Tensor:
        """Scales the corrected active stream.

        It is in ``forward``, since tools that move weights between devices replace that.
        """
        return corrected * self.output_scale
