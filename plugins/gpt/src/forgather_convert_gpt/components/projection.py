"""The linear layer of GPT-2."""

import math
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D


class Projection(Conv1D):
    """A linear layer with an ``[in, out]`` matrix.

    New weights of projections into the residual stream are smaller in deeper models
    (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019).
    """

    def __init__(self, config: Any, size: int, output_size: int, leads_back: bool = False) -> None:
        super().__init__(output_size, size)
        blocks = 2 * config.num_hidden_layers if leads_back else 1
        self.deviation = config.initializer_range / math.sqrt(blocks)

    def initialize(self) -> None:
        """Initializes the weights."""
        nn.init.normal_(self.weight, std=self.deviation)
        nn.init.zeros_(self.bias)
