"""The attention of MiniMax-M2."""

from .partly_rotated_attention import PartlyRotatedAttention
from .projection_norm_attention import ProjectionNormAttention


class MiniMaxM2Attention(ProjectionNormAttention, PartlyRotatedAttention):
    """Norms over whole projections, then a rotation of the first dimensions of each head."""
