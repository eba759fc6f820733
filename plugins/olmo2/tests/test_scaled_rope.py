"""A scaled RoPE as transformers 4 wants it for this family: two keys, one of them 'type'."""

from pathlib import Path

from forgather_convert import convert
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import read_json, write_json, write_model
from forgather_convert_olmo2 import Olmo2Converter


def test_there_and_back(tmp_path: Path) -> None:
    converter = Olmo2Converter()
    fields = converter.tiny_configs["plain"]
    source = write_model(tmp_path / "hf", FamilyHooks(converter, "under test"), fields)
    config = {**read_json(source / "config.json"), "rope_theta": 10000.0, "rope_parameters": None}
    scaling = {"type": "linear", "factor": 2.0}
    write_json(source / "config.json", {**config, "rope_scaling": scaling})
    convert(source, tmp_path / "fg", converter=converter)
    convert(tmp_path / "fg", tmp_path / "back", converter=converter)
    assert read_json(tmp_path / "fg" / "config.json")["rope_parameters"]["factor"] == 2.0
    assert not differences(source, tmp_path / "back")
