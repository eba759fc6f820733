"""The functions of the flash-attention library get from both models what they want."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from forgather_convert.testing.converted import ConvertedModel, Family
from forgather_convert.testing.running import logits, prompt
from forgather_convert_deepseek.deepseek_v3 import DeepseekV3

FLASH = "flash_attention_2"


def test_values_have_the_size_that_transformers_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library itself needs another device."""
    converter = DeepseekV3()
    fields = converter.get_tiny_configs()["plain"]
    converted = ConvertedModel.create(tmp_path, Family(converter), fields, "float32")
    sizes: list[tuple[int, ...]] = []

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **kw: Any
    ) -> tuple[torch.Tensor, None]:
        sizes.append((query.shape[-1], key.shape[-1], value.shape[-1]))
        output = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=kw["scaling"]
        )
        return output.transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, FLASH, attend)

    def run(model: Any) -> torch.Tensor:
        model.config._attn_implementation = FLASH
        return logits(model, prompt(fields))

    assert torch.equal(*converted.on_both(run))
    assert len(sizes) == 4
    assert sizes[:2] == sizes[2:]
