"""Resizes a vocabulary matrix and fills its new rows."""

from collections.abc import Mapping
from typing import Any

from forgather_convert.vocabulary.row_init import RowInit


def resized_matrix(
    matrix: Any, size: int, num_tokens: int, rows: Mapping[int, RowInit], dtype: Any
) -> Any:
    """A matrix with more rows, old rows bit for bit as they were unless they are set anew.

    The growth itself is transformers' ``resize_token_embeddings``, on a model that is
    nothing but this matrix. Averages are taken in float32 and rounded once.

    Args:
        matrix: The old matrix, ``[rows, hidden]``.
        size: The new number of rows.
        num_tokens: How many of the old rows belong to tokens; the mean is taken over them.
        rows: What rows become.
        dtype: The torch dtype of the result.
    """
    import torch

    source = matrix.to(dtype)
    resized = source.clone() if size == matrix.shape[0] else _resize(source, size)
    mean = None
    for row, init in rows.items():
        if init.kind == "zero":
            resized[row] = 0
        elif init.kind == "mean":
            if mean is None:
                mean = matrix[:num_tokens].to(torch.float32).mean(dim=0).to(dtype)
            resized[row] = mean
        elif len(init.rows) == 1:
            resized[row] = source[init.rows[0]]
        else:
            chosen = matrix[list(init.rows)].to(torch.float32)
            resized[row] = chosen.mean(dim=0).to(dtype)
    return resized


def _resize(matrix: Any, size: int) -> Any:
    import torch
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

    class VocabularyMatrix(PreTrainedModel):  # type: ignore[misc]
        """A model that holds one matrix."""

        config_class = PretrainedConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.embedding = nn.Embedding(matrix.shape[0], matrix.shape[1], _weight=matrix)

        def get_input_embeddings(self) -> Any:
            return self.embedding

        def set_input_embeddings(self, value: Any) -> None:
            self.embedding = value

    config = PretrainedConfig(vocab_size=matrix.shape[0], tie_word_embeddings=False)
    model = VocabularyMatrix(config)
    # The new rows are random until they are set; nobody else's random numbers change.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        return model.resize_token_embeddings(size, mean_resizing=False).weight.detach()
