"""What routers have in common."""

from typing import Any, ClassVar

import torch
from torch import nn


class Router(nn.Module):
    """Chooses ``num_experts_per_tok`` experts for each token, by a matrix with a row per expert.

    Attributes:
        gives_logits: Whether the output begins with the logits that the auxiliary loss needs.
        weight_dtype: The dtype of the matrix; ``None`` for that of the model.
    """

    gives_logits: ClassVar[bool] = False
    weight_dtype: ClassVar[torch.dtype | None] = None

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        size = (config.num_experts, config.hidden_size)
        self.weight = nn.Parameter(torch.empty(size, dtype=self.weight_dtype))
        nn.init.normal_(self.weight, std=config.initializer_range)
