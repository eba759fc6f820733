"""Attention that normalizes query and key heads, and rotates their first dimensions."""

from .partly_rotated_attention import PartlyRotatedAttention
from .qk_norm_attention import QKNormAttention


class PartlyRotatedNormAttention(QKNormAttention, PartlyRotatedAttention):
    """A norm over each query and key head, then the rotation of their first dimensions."""
