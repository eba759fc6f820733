"""What ``--max-length`` changes where RoPE is scaled is what the log says."""

import logging
from pathlib import Path

import pytest
import torch

from forgather_convert import ConvertOptions, plan
from support.converting import convert_unchecked
from support.log import logged
from support.models import load_forgather, load_hf, write_hf_model
from support.variants import variant


def _warnings(source: Path, max_length: int) -> list[str]:
    with logged(logging.WARNING) as messages:
        plan(source, source.with_name("fg"), ConvertOptions(max_length=max_length))
    return [text for text in messages if "RoPE" in text]


def _equal(source: Path, fg: Path, length: int) -> bool:
    """Whether both compute the same logits for a sequence of this length."""
    ids = torch.arange(length)[None] % 150
    with torch.no_grad():
        return torch.equal(load_hf(source, "llama")(ids).logits, load_forgather(fg)(ids).logits)


@pytest.mark.parametrize("name", ["llama-linear", "llama-yarn", "llama-longrope", "llama-llama3"])
def test_scaling_that_does_not_depend_on_the_length(name: str, tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", variant(name), dtype="float32")
    longest = variant(name).config()["max_position_embeddings"]
    (message,) = _warnings(source, 2 * longest)
    assert f"'{name.removeprefix('llama-')}'" in message
    assert f"designed for up to {longest} positions" in message
    assert _warnings(source, longest) == _warnings(source, longest // 2) == []
    fg = convert_unchecked(source, tmp_path / "fg", max_length=2 * longest)
    assert _equal(source, fg, longest)
    assert _equal(source, fg, longest + 9)


@pytest.mark.parametrize("factor", [0.5, 2])
def test_scaling_that_begins_at_the_length(factor: float, tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", variant("llama-dynamic-long"), dtype="float32")
    longest = variant("llama-dynamic-long").config()["max_position_embeddings"]
    other = int(factor * longest)
    (message,) = _warnings(source, other)
    assert f"from {longest} to {other}" in message
    least = min(longest, other)
    assert f"more than {least} tokens" in message
    fg = convert_unchecked(source, tmp_path / "fg", max_length=other)
    assert _equal(source, fg, least)
    assert not _equal(source, fg, least + 1)


def test_without_scaling_there_is_nothing_to_say(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", variant("llama-default"), dtype="float32")
    assert _warnings(source, 4096) == []
