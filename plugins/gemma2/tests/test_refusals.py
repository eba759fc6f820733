"""A model that attends to the future is refused."""

from pathlib import Path

import pytest

from forgather_convert import UnsupportedModelError, plan
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing.models import read_json, write_json, write_model
from forgather_convert_gemma2 import Gemma2Converter


def test_bidirectional_attention(tmp_path: Path) -> None:
    converter = Gemma2Converter()
    fields = next(iter(converter.tiny_configs.values()))
    source = write_model(tmp_path / "hf", FamilyHooks(converter, "under test"), fields)
    config = read_json(source / "config.json")
    write_json(source / "config.json", {**config, "use_bidirectional_attention": True})
    with pytest.raises(UnsupportedModelError, match="'use_bidirectional_attention' is True"):
        plan(source, tmp_path / "fg", converter=converter)
