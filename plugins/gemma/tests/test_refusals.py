"""A model that attends to the future is refused."""

from pathlib import Path

import pytest

from forgather_convert import HFConverter, UnsupportedModelError, plan
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing.models import read_json, write_json, write_model
from forgather_convert_gemma.gemma2 import Gemma2
from forgather_convert_gemma.gemma3_text import Gemma3Text


@pytest.mark.parametrize("converter_class", [Gemma2, Gemma3Text])
def test_bidirectional_attention(converter_class: type[HFConverter], tmp_path: Path) -> None:
    converter = converter_class()
    fields = next(iter(converter.get_tiny_configs().values()))
    source = write_model(tmp_path / "hf", FamilyHooks(converter, "under test"), fields)
    config = read_json(source / "config.json")
    write_json(source / "config.json", {**config, "use_bidirectional_attention": True})
    with pytest.raises(UnsupportedModelError, match="'use_bidirectional_attention' is True"):
        plan(source, tmp_path / "fg", converter=converter)
