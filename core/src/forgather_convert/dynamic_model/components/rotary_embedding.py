"""Rotary position embedding, in the variants in use.

Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.

A variant is a function of the config that gives the inverse frequencies, a
float32 tensor of ``[rotary_dim / 2]``, and the factor by which the cosines and
sines are multiplied. The order of the operations is what published checkpoints
were trained with: change it and the last bits of the logits change.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Frequencies = tuple[torch.Tensor, float]


def rotary_dim(config: Any) -> int:
    """The number of dimensions of a head that are rotated."""
    return int(config.head_dim * config.rope_parameters.get("partial_rotary_factor", 1.0))


def _exponents(config: Any) -> torch.Tensor:
    dim = rotary_dim(config)
    return torch.arange(0, dim, 2, dtype=torch.int64).to(torch.float32) / dim


def _original_max_positions(config: Any) -> int:
    """The context length before it was extended."""
    original = config.rope_parameters.get("original_max_position_embeddings")
    return int(original or config.max_position_embeddings)


def default_frequencies(config: Any, seq_len: Any = None) -> Frequencies:
    """``theta ** (-2i / dim)``."""
    theta = config.rope_parameters["rope_theta"]
    return 1.0 / (theta ** _exponents(config)), 1.0


def linear_frequencies(config: Any, seq_len: Any = None) -> Frequencies:
    """Positions divided by a factor (Chen et al., "Position Interpolation", 2023)."""
    inv_freq, scale = default_frequencies(config)
    return inv_freq / config.rope_parameters["factor"], scale


def dynamic_frequencies(config: Any, seq_len: Any = None) -> Frequencies:
    """NTK-aware scaling: the base grows with the sequence, past the maximum length."""
    rope, dim = config.rope_parameters, rotary_dim(config)
    longest = config.max_position_embeddings
    if seq_len is None:
        seq_len = longest
    else:
        seq_len = torch.maximum(seq_len, torch.tensor(longest, dtype=seq_len.dtype))
    growth = (rope["factor"] * seq_len / longest) - (rope["factor"] - 1)
    theta = rope["rope_theta"] * growth ** (dim / (dim - 2))
    return 1.0 / (theta ** _exponents(config)), 1.0


def yarn_frequencies(config: Any, seq_len: Any = None) -> Frequencies:
    """Interpolates low frequencies, keeps high ones (Peng et al., "YaRN", 2023)."""
    rope, dim = config.rope_parameters, rotary_dim(config)
    theta, original = rope["rope_theta"], _original_max_positions(config)
    factor = rope.get("factor") or config.max_position_embeddings / original

    def magnitude(scale: float, weight: float = 1) -> float:
        return 1.0 if scale <= 1 else 0.1 * weight * math.log(scale) + 1.0

    scale = rope.get("attention_factor")
    if scale is None:
        mscale, mscale_all = rope.get("mscale"), rope.get("mscale_all_dim")
        if mscale and mscale_all:
            scale = float(magnitude(factor, mscale) / magnitude(factor, mscale_all))
        else:
            scale = magnitude(factor)

    def dimension_of(rotations: float) -> float:
        turns = math.log(original / (rotations * 2 * math.pi))
        return (dim * turns) / (2 * math.log(theta))

    low = dimension_of(rope.get("beta_fast") or 32)
    high = dimension_of(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001  # the ramp below divides by their distance

    positions = theta ** (torch.arange(0, dim, 2).to(torch.float32) / dim)
    extrapolated, interpolated = 1.0 / positions, 1.0 / (factor * positions)
    ramp = torch.clamp((torch.arange(dim // 2, dtype=torch.float32) - low) / (high - low), 0, 1)
    keep = 1 - ramp
    return interpolated * (1 - keep) + extrapolated * keep, scale


def longrope_frequencies(config: Any, seq_len: Any = None) -> Frequencies:
    """A learnt factor for every frequency (Ding et al., "LongRoPE", 2024)."""
    rope, original = config.rope_parameters, _original_max_positions(config)
    scale = rope.get("attention_factor")
    if scale is None:
        factor = rope.get("factor") or config.max_position_embeddings / original
        scale = 1.0 if factor <= 1.0 else math.sqrt(1 + math.log(factor) / math.log(original))
    is_long = seq_len is not None and seq_len > original
    factors = torch.tensor(rope["long_factor" if is_long else "short_factor"], dtype=torch.float32)
    return 1.0 / (factors * rope["rope_theta"] ** _exponents(config)), scale


def llama3_frequencies(config: Any, seq_len: Any = None) -> Frequencies:
    """Scales long wavelengths only, with a smooth transition (Llama 3.1, 2024)."""
    rope = config.rope_parameters
    factor, original = rope["factor"], _original_max_positions(config)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    inv_freq, scale = default_frequencies(config)

    wavelength = 2 * math.pi / inv_freq
    scaled = torch.where(wavelength > original / low, inv_freq / factor, inv_freq)
    smooth = (original / wavelength - low) / (high - low)
    blended = (1 - smooth) * scaled / factor + smooth * scaled
    is_medium = ~(wavelength < original / high) * ~(wavelength > original / low)
    return torch.where(is_medium, blended, scaled), scale


ROPE_TYPES: dict[str, Callable[..., Frequencies]] = {
    "default": default_frequencies,
    "linear": linear_frequencies,
    "dynamic": dynamic_frequencies,
    "yarn": yarn_frequencies,
    "longrope": longrope_frequencies,
    "llama3": llama3_frequencies,
}


class RotaryEmbedding(nn.Module):
    """The cosines and sines for a batch of positions.

    The frequencies are derived from the config when they are needed and are not
    a buffer: nothing is saved, cast with the model or lost on the meta device.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.rope_type = config.rope_parameters["rope_type"]
        self.frequencies = ROPE_TYPES[self.rope_type]
        self._cache: dict[tuple[str, torch.device], Frequencies] = {}
        # The longest sequence seen by "dynamic": its frequencies stay in use until
        # a sequence fits the original context again.
        self._longest: int | torch.Tensor = config.max_position_embeddings

    def _cached(self, key: str, device: torch.device, seq_len: Any = None) -> Frequencies:
        if (key, device) not in self._cache:
            with torch.device("cpu"):
                inv_freq, scale = self.frequencies(self.config, seq_len)
            self._cache[key, device] = inv_freq.to(device), scale
        return self._cache[key, device]

    def _dynamic(self, seq_len: torch.Tensor, device: torch.device) -> Frequencies:
        original = self.config.max_position_embeddings
        if seq_len > self._longest:
            self._longest = seq_len
            self._cache.pop(("long", device), None)
        if seq_len < original:
            self._longest = original
        if self._longest == original:
            return self._cached("short", device)
        return self._cached("long", device, torch.as_tensor(self._longest).cpu())

    def _select(self, position_ids: torch.Tensor, device: torch.device) -> Frequencies:
        if self.rope_type == "dynamic":
            return self._dynamic(position_ids.max() + 1, device)
        if self.rope_type == "longrope":
            original = _original_max_positions(self.config)
            if position_ids.max() + 1 > original:
                return self._cached("long", device, original + 1)
        return self._cached("short", device)

    @torch.no_grad()
    def forward(
        self, hidden_states: torch.Tensor, position_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gives cos and sin, ``[batch, sequence, rotary_dim]``, in the hidden states' dtype."""
        inv_freq, scale = self._select(position_ids, hidden_states.device)
        angles = position_ids[..., None].float() * inv_freq
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * scale, angles.sin() * scale
        return cos.to(hidden_states.dtype), sin.to(hidden_states.dtype)


def rotate_half(heads: torch.Tensor) -> torch.Tensor:
    """Turns ``(a, b)`` into ``(-b, a)``, with ``a`` and ``b`` the halves of the last dimension."""
    middle = heads.shape[-1] // 2
    return torch.cat((-heads[..., middle:], heads[..., :middle]), dim=-1)


def apply_rotary(
    heads: torch.Tensor, position_embeddings: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Rotates ``[batch, heads, sequence, head_dim]`` by the angles of its positions.

    Where there are angles for the first dimensions only, the others stay as they are.
    """
    cos, sin = (table.unsqueeze(1) for table in position_embeddings)
    rotated = heads[..., : cos.shape[-1]]
    rotated = (rotated * cos) + (rotate_half(rotated) * sin)
    if cos.shape[-1] == heads.shape[-1]:
        return rotated
    return torch.cat((rotated, heads[..., cos.shape[-1] :]), dim=-1)
