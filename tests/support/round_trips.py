"""Conversions to Forgather and back, and what must be equal after them."""

from pathlib import Path
from typing import Any

import torch

from forgather_convert import convert
from support.converting import convert_unchecked
from support.variants import Variant


def variant_name(value: object) -> str | None:
    """The name of a parametrized test for a variant."""
    return value.id if isinstance(value, Variant) else None


def there_and_back(source: Path, **options: Any) -> Path:
    """Converts a model to Forgather, with options, and back without any."""
    fg = convert_unchecked(source, source.with_name("fg"), **options)
    return convert_unchecked(fg, source.with_name("back"))


def checked_there_and_back(source: Path) -> Path:
    """As a user converts, so that what other tools wrote has to load, too."""
    convert(source, source.with_name("fg"))
    convert(source.with_name("fg"), source.with_name("back"))
    return source.with_name("back")


def assert_equal_tensors(
    actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> None:
    """Names, shapes, dtypes and bits are the same; NaN equals itself."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype, name
        assert actual[name].shape == tensor.shape, name
        bits = [part.reshape(-1).view(torch.uint8) for part in (actual[name], tensor)]
        assert torch.equal(*bits), name
