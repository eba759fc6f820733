"""What turns token ids into the first hidden states."""

from typing import Any

import torch
from torch import nn


class InputEncoder(nn.Module):
    """Embeds the tokens. Positions enter later, in the attention."""

    def __init__(self, config: Any, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden_states: torch.Tensor = self.embedding(input_ids)
        return hidden_states
