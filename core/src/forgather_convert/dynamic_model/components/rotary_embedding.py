"""Rotary position embedding, in the variants in use.

Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.

A variant is a function of the config that returns the inverse frequencies, a
float32 tensor of ``[rotary_dim / 2]``, and the factor by which the cosines and
sines are multiplied. Published checkpoints were trained with this order of the
operations; another order changes the last bits of the logits.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .attention_masks import attention_types
from .context import Context
from .layer_config import layer_config

Frequencies = tuple[torch.Tensor, float]


@dataclass(frozen=True)
class Rope:
    """One rotary embedding.

    Attributes:
        parameters: An entry of a config's ``rope_parameters``.
        head_dim: The number of dimensions of a head.
        longest: The config's ``max_position_embeddings``.
    """

    parameters: Mapping[str, Any]
    head_dim: int
    longest: int

    @property
    def rope_type(self) -> str:
        return str(self.parameters["rope_type"])

    @property
    def dim(self) -> int:
        """The number of dimensions of a head that are rotated."""
        return int(self.head_dim * self.parameters.get("partial_rotary_factor", 1.0))

    @property
    def original_length(self) -> int:
        """The context length before it was extended."""
        return int(self.parameters.get("original_max_position_embeddings") or self.longest)

    def exponents(self) -> torch.Tensor:
        """``[dim / 2]``, from 0 to almost 1."""
        return torch.arange(0, self.dim, 2, dtype=torch.int64).to(torch.float32) / self.dim


def default_frequencies(rope: Rope, seq_len: Any = None) -> Frequencies:
    """``theta ** (-2i / dim)``."""
    return 1.0 / (rope.parameters["rope_theta"] ** rope.exponents()), 1.0


def proportional_frequencies(rope: Rope, seq_len: Any = None) -> Frequencies:
    """The frequencies of a whole head, of which the lower ones are zero: they do not rotate.

    Gemma Team, "Gemma 4", 2026.
    """
    parameters, size = rope.parameters, rope.head_dim
    num_pairs = int(parameters.get("partial_rotary_factor", 1.0) * size // 2)
    exponents = torch.arange(0, 2 * num_pairs, 2, dtype=torch.int64).to(torch.float32) / size
    still = torch.zeros(size // 2 - num_pairs, dtype=torch.float32)
    inv_freq = torch.cat((1.0 / (parameters["rope_theta"] ** exponents), still))
    return inv_freq / parameters.get("factor", 1.0), 1.0


def linear_frequencies(rope: Rope, seq_len: Any = None) -> Frequencies:
    """Positions divided by a factor (Chen et al., "Position Interpolation", 2023)."""
    inv_freq, scale = default_frequencies(rope)
    return inv_freq / rope.parameters["factor"], scale


def dynamic_frequencies(rope: Rope, seq_len: Any = None) -> Frequencies:
    """NTK-aware scaling: the base grows with sequences beyond the maximum length."""
    parameters, dim, longest = rope.parameters, rope.dim, rope.longest
    if seq_len is None:
        seq_len = longest
    else:
        seq_len = torch.maximum(seq_len, torch.tensor(longest, dtype=seq_len.dtype))
    growth = (parameters["factor"] * seq_len / longest) - (parameters["factor"] - 1)
    theta = parameters["rope_theta"] * growth ** (dim / (dim - 2))
    return 1.0 / (theta ** rope.exponents()), 1.0


def yarn_frequencies(rope: Rope, seq_len: Any = None) -> Frequencies:
    """Interpolates low frequencies, keeps high ones (Peng et al., "YaRN", 2023)."""
    parameters, dim = rope.parameters, rope.dim
    theta, original = parameters["rope_theta"], rope.original_length
    factor = parameters.get("factor") or rope.longest / original

    def magnitude(scale: float, weight: float = 1) -> float:
        return 1.0 if scale <= 1 else 0.1 * weight * math.log(scale) + 1.0

    scale = parameters.get("attention_factor")
    if scale is None:
        mscale, mscale_all = parameters.get("mscale"), parameters.get("mscale_all_dim")
        if mscale and mscale_all:
            scale = float(magnitude(factor, mscale) / magnitude(factor, mscale_all))
        else:
            scale = magnitude(factor)

    def dimension_of(rotations: float) -> float:
        turns = math.log(original / (rotations * 2 * math.pi))
        return (dim * turns) / (2 * math.log(theta))

    low = dimension_of(parameters.get("beta_fast") or 32)
    high = dimension_of(parameters.get("beta_slow") or 1)
    if parameters.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001  # the ramp below divides by their distance

    positions = theta ** (torch.arange(0, dim, 2).to(torch.float32) / dim)
    extrapolated, interpolated = 1.0 / positions, 1.0 / (factor * positions)
    ramp = torch.clamp((torch.arange(dim // 2, dtype=torch.float32) - low) / (high - low), 0, 1)
    keep = 1 - ramp
    return interpolated * (1 - keep) + extrapolated * keep, scale


def longrope_frequencies(rope: Rope, seq_len: Any = None) -> Frequencies:
    """A learned factor for every frequency (Ding et al., "LongRoPE", 2024)."""
    parameters, original = rope.parameters, rope.original_length
    scale = parameters.get("attention_factor")
    if scale is None:
        factor = parameters.get("factor") or rope.longest / original
        scale = 1.0 if factor <= 1.0 else math.sqrt(1 + math.log(factor) / math.log(original))
    is_long = seq_len is not None and seq_len > original
    learnt = parameters["long_factor" if is_long else "short_factor"]
    factors = torch.tensor(learnt, dtype=torch.float32)
    return 1.0 / (factors * parameters["rope_theta"] ** rope.exponents()), scale


def llama3_frequencies(rope: Rope, seq_len: Any = None) -> Frequencies:
    """Scales long wavelengths only, with a smooth transition (Llama 3.1, 2024)."""
    parameters, original = rope.parameters, rope.original_length
    factor = parameters["factor"]
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    inv_freq, scale = default_frequencies(rope)

    wavelength = 2 * math.pi / inv_freq
    scaled = torch.where(wavelength > original / low, inv_freq / factor, inv_freq)
    smooth = (original / wavelength - low) / (high - low)
    blended = (1 - smooth) * scaled / factor + smooth * scaled
    is_medium = ~(wavelength < original / high) * ~(wavelength > original / low)
    return torch.where(is_medium, blended, scaled), scale


ROPE_TYPES: dict[str, Callable[..., Frequencies]] = {
    "default": default_frequencies,
    "proportional": proportional_frequencies,
    "linear": linear_frequencies,
    "dynamic": dynamic_frequencies,
    "yarn": yarn_frequencies,
    "longrope": longrope_frequencies,
    "llama3": llama3_frequencies,
}


class RotaryFrequencies:
    """The frequencies of one rotary embedding for sequences of any length.

    They are not a buffer, so that they are not saved, cast with the model or lost on the meta
    device.
    """

    def __init__(self, rope: Rope) -> None:
        self.rope = rope
        self.rope_type = rope.rope_type
        self._tables = {"short": self._derived()}
        if self.rope_type == "longrope":
            self._tables["long"] = self._derived(rope.original_length + 1)
        self._elsewhere: dict[tuple[str, torch.device], torch.Tensor] = {}
        # The longest sequence seen by "dynamic": its frequencies stay in use until
        # a sequence fits the original context again.
        self._longest: int | torch.Tensor = rope.longest

    def select(self, position_ids: torch.Tensor, device: torch.device) -> Frequencies:
        """The frequencies for a batch of positions."""
        key = "short"
        if self.rope_type == "dynamic":
            key = self._dynamic(position_ids.max() + 1)
        elif self.rope_type == "longrope" and position_ids.max() + 1 > self.rope.original_length:
            key = "long"
        inv_freq, scale = self._tables[key]
        if inv_freq.device != device:
            inv_freq = self._on(device, key)
        return inv_freq, scale

    def _derived(self, seq_len: Any = None) -> Frequencies:
        # Models are built on the meta device.
        with torch.device("cpu"):
            return ROPE_TYPES[self.rope_type](self.rope, seq_len)

    def _on(self, device: torch.device, key: str) -> torch.Tensor:
        moved = self._elsewhere.get((key, device))
        if moved is None:
            moved = self._tables[key][0].to(device)
            # Traced tensors must not be kept.
            if not torch.compiler.is_compiling():
                self._elsewhere[key, device] = moved
        return moved

    def _dynamic(self, seq_len: torch.Tensor) -> str:
        original = self.rope.longest
        if seq_len > self._longest:
            self._longest = seq_len
            self._tables["long"] = self._derived(seq_len.cpu())
            self._elsewhere.clear()
        if seq_len < original:
            self._longest = original
        return "short" if self._longest == original else "long"


class RotaryEmbedding(nn.Module):
    """Cosines and sines for a batch of positions: all RoPE types, partial, or by kind of layer.

    A config has one entry ``rope_parameters`` for all kinds, or one for each.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        types = attention_types(config)
        self.kinds: dict[str, int] = {}
        self.embeddings: list[RotaryFrequencies] = []
        made: list[Rope] = []
        for kind in sorted(set(types)):
            parameters = config.rope_parameters.get(kind, config.rope_parameters)
            head_dim = layer_config(config, types.index(kind)).head_dim
            rope = Rope(parameters, head_dim, config.max_position_embeddings)
            if rope not in made:
                made.append(rope)
                self.embeddings.append(RotaryFrequencies(rope))
            self.kinds[kind] = made.index(rope)

    def join(self, angles: torch.Tensor) -> torch.Tensor:
        """Expands the angles of the pairs to all rotated dimensions."""
        return torch.cat((angles, angles), dim=-1)

    def forward(
        self, hidden_states: torch.Tensor, context: Context
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Returns cos and sin, ``[batch, 1, sequence, rotary_dim]``, in the input's dtype."""
        position_ids = context.position_ids
        positions = position_ids[:, None, :, None].float()
        tables = []
        for embedding in self.embeddings:
            inv_freq, scale = embedding.select(position_ids, hidden_states.device)
            angles = self.join(positions * inv_freq)
            cos, sin = angles.cos() * scale, angles.sin() * scale
            tables.append((cos.to(hidden_states.dtype), sin.to(hidden_states.dtype)))
        return {kind: tables[index] for kind, index in self.kinds.items()}


class InterleavedRotaryEmbedding(RotaryEmbedding):
    """A rotary embedding whose pairs are adjacent dimensions."""

    def join(self, angles: torch.Tensor) -> torch.Tensor:
        return angles.repeat_interleave(2, dim=-1)


class WideRotaryEmbedding(RotaryEmbedding):
    """A rotary embedding with cosines and sines in float32, whatever the hidden states are."""

    def forward(
        self, hidden_states: torch.Tensor, context: Context
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        return super().forward(hidden_states.new_empty(0, dtype=torch.float32), context)


class WideInterleavedRotaryEmbedding(InterleavedRotaryEmbedding, WideRotaryEmbedding):
    """A wide rotary embedding whose pairs are adjacent dimensions."""


def rotate_half(heads: torch.Tensor) -> torch.Tensor:
    """Turns ``(a, b)`` into ``(-b, a)``, with ``a`` and ``b`` the halves of the last dimension."""
    middle = heads.shape[-1] // 2
    return torch.cat((-heads[..., middle:], heads[..., :middle]), dim=-1)


def rotate_pairs(heads: torch.Tensor) -> torch.Tensor:
    """Turns ``(a, b, c, d...)`` into ``(-b, a, -d, c...)``, in the last dimension."""
    first, second = heads[..., 0::2], heads[..., 1::2]
    return torch.stack((-second, first), dim=-1).flatten(-2)


def apply_rotary(
    heads: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    turn: Callable[[torch.Tensor], torch.Tensor] = rotate_half,
) -> torch.Tensor:
    """Rotates ``[batch, heads, sequence, head_dim]`` by the angles of its positions.

    ``turn`` is the rotation by a right angle: :func:`rotate_pairs` for interleaved angles. The
    result has the memory layout of ``heads``. If there are angles for the first dimensions only,
    it is that of :func:`apply_partial_rotary`. A head of one dimension gets two, for it has two
    angles.
    """
    cos, sin = position_embeddings
    if cos.shape[-1] < heads.shape[-1]:
        return apply_partial_rotary(heads, position_embeddings, turn)
    return (heads * cos) + (turn(heads) * sin)


def apply_partial_rotary(
    heads: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    turn: Callable[[torch.Tensor], torch.Tensor] = rotate_half,
) -> torch.Tensor:
    """Rotates the first dimensions of each head, those with angles, and appends the others.

    The result is contiguous, even if no dimension is left over. This matters: the order in which a
    product is summed depends on the memory layout of its factors.
    """
    size = position_embeddings[0].shape[-1]
    rotated = apply_rotary(heads[..., :size], position_embeddings, turn)
    return torch.cat((rotated, heads[..., size:]), dim=-1)
