"""HF -> FG -> HF gives back the same bytes."""

from pathlib import Path

import pytest

from forgather_convert import convert
from support.directories import differences
from support.models import write_hf_model
from support.variants import VARIANTS, Variant


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
@pytest.mark.parametrize("shards", [1, 3])
def test_round_trip_is_byte_identical(variant: Variant, shards: int, tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", shards=shards)
    convert(source, tmp_path / "fg")
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []
