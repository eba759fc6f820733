"""What a Forgather model of the family cannot be."""

from pathlib import Path

import pytest

from forgather_convert import OptionError, UnsupportedModelError
from forgather_convert.testing.converted import Family
from forgather_convert.testing.models import read_json, write_json, write_model
from forgather_convert_gpt.gpt2 import GPT2

FIELDS = GPT2().get_tiny_configs()["tied-with-dropout"]


def test_another_length(tmp_path: Path) -> None:
    """There is no vector for a position that was not learned."""
    family = Family(GPT2())
    source = write_model(tmp_path / "hf", family.hooks, FIELDS)
    with pytest.raises(OptionError, match=r"--max-length is 256, .* has 128 positions"):
        family.convert(source, tmp_path / "fg", max_length=256)
    fg = family.convert(source, tmp_path / "fg", max_length=128)
    with pytest.raises(OptionError, match=r"--max-length is 64, .* has 128 positions"):
        family.convert(fg, tmp_path / "back", max_length=64)
    back = family.convert(fg, tmp_path / "back", max_length=128)
    assert read_json(back / "config.json") == read_json(source / "config.json")


def test_cross_attention(tmp_path: Path) -> None:
    family = Family(GPT2())
    source = write_model(tmp_path / "hf", family.hooks, FIELDS)
    config = read_json(source / "config.json")
    write_json(source / "config.json", {**config, "add_cross_attention": True})
    with pytest.raises(UnsupportedModelError, match="add_cross_attention"):
        family.plan(source)


@pytest.mark.parametrize(("name", "value"), [("n_embd", 0), ("activation_function", "unheard-of")])
def test_a_wrong_value_is_named_as_the_file_has_it(
    name: str, value: object, tmp_path: Path
) -> None:
    family = Family(GPT2())
    source = write_model(tmp_path / "hf", family.hooks, FIELDS)
    config = read_json(source / "config.json")
    write_json(source / "config.json", {**config, name: value})
    with pytest.raises(UnsupportedModelError, match=f"'{name}' is {value!r}"):
        family.plan(source)
