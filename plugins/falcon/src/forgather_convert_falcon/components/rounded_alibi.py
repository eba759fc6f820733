"""The linear biases of Falcon."""

import torch

from .alibi import Alibi


class RoundedAlibi(Alibi):
    """Biases of keys in bfloat16, whatever the dtype of the model."""

    def factors(self) -> torch.Tensor:
        return super().factors().bfloat16()
