"""The generated config class gives back what ``config.json`` says, through every save and load."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from support.pairs import Pair
from support.variants import variant

float32 = pytest.mark.parametrize("dtype", ["float32"])
shown = pytest.mark.parametrize(
    "variant",
    [
        variant(name)
        for name in (
            "llama-default",
            "llama-tied",
            "llama-longrope",
            "mistral-window",
            "qwen3-layer-types",
        )
    ],
    ids=lambda variant: variant.id,
)

#: Of the file or of transformers; of RoPE, one of three fields is kept.
NOT_COMPARED = {"architectures", "auto_map", "dtype", "rope_scaling", "transformers_version"}
#: What a config can say without a value.
CAN_BE_NULL = ("bos_token_id", "eos_token_id", "pad_token_id", "sliding_window", "layer_types")


def content(directory: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return fields


def compared(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in NOT_COMPARED}


def loaded(directory: Path) -> Any:
    return AutoConfig.from_pretrained(directory, trust_remote_code=True)


def values(config: Any, names: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in names}


def saved(config: Any, code: Path, directory: Path) -> Path:
    """A directory as the config writes it, and the code."""
    config.save_pretrained(directory)
    for file in code.glob("*.py"):
        shutil.copy(file, directory)
    return directory


def with_fields(pair: Pair, directory: Path, fields: dict[str, Any]) -> Path:
    shutil.copytree(pair.fg, directory)
    (directory / "config.json").write_text(json.dumps({**content(directory), **fields}))
    return directory


@shown
@float32
def test_every_field_is_what_the_file_says(pair: Pair, tmp_path: Path) -> None:
    """By the constructor, after loading, and after saving and loading again."""
    written = compared(content(pair.fg))
    config = loaded(pair.fg)
    again = loaded(saved(config, pair.fg, tmp_path / "saved"))
    for read in (type(config)(**content(pair.fg)), config, again):
        assert values(read, written) == written


@shown
@float32
def test_an_absent_field_is_the_default(pair: Pair) -> None:
    """The value that the model was made with."""
    written = content(pair.fg)
    config_class = type(loaded(pair.fg))
    # What the constructor has no argument for.
    without_default = {"rope_theta", "rope_parameters", "original_max_position_embeddings"}
    for name in compared(written).keys() - without_default - {"model_type", "hf_model_type"}:
        shorter = {key: value for key, value in written.items() if key != name}
        assert getattr(config_class(**shorter), name) == written[name], name


@shown
@float32
def test_null_is_null(pair: Pair, tmp_path: Path) -> None:
    """Also where the default is something else, and after saving and loading again."""
    names = [name for name in CAN_BE_NULL if name in content(pair.fg)]
    nothing: dict[str, Any] = dict.fromkeys(names)
    edited = with_fields(pair, tmp_path / "edited", nothing)
    config = loaded(edited)
    assert values(config, names) == nothing
    assert values(loaded(saved(config, edited, tmp_path / "saved")), names) == nothing


@shown
@pytest.mark.parametrize("tied", [True, False])
@float32
def test_a_change_of_tying_is_kept(pair: Pair, tied: bool, tmp_path: Path) -> None:
    """Also where it is what the base class of transformers 4 has as default, which is tied."""
    edited = with_fields(pair, tmp_path / "edited", {"tie_word_embeddings": tied})
    config = loaded(edited)
    assert config.tie_word_embeddings is tied
    assert loaded(saved(config, edited, tmp_path / "saved")).tie_word_embeddings is tied


@pytest.mark.parametrize("eos", [7, [7], [3, 2], [2, 3, 4], None], ids=str)
@pytest.mark.parametrize("variant", [variant("llama-default")], ids=["llama"])
@float32
def test_ends_of_text_are_kept_in_their_form(pair: Pair, eos: Any, tmp_path: Path) -> None:
    edited = with_fields(pair, tmp_path / "edited", {"eos_token_id": eos})
    config = loaded(edited)
    assert config.eos_token_id == eos
    assert loaded(saved(config, edited, tmp_path / "saved")).eos_token_id == eos


@pytest.mark.parametrize("variant", [variant("llama-default")], ids=lambda variant: variant.id)
@float32
def test_the_name_that_the_framework_asks_for(pair: Pair, tmp_path: Path) -> None:
    """It is no field: it cannot differ, is not written, and a field of that name is left alone."""
    length = content(pair.fg)["max_position_embeddings"]
    config = loaded(pair.fg)
    assert config.max_sequence_length == length
    config.max_position_embeddings = 7
    assert config.max_sequence_length == 7
    assert "max_sequence_length" not in content(saved(config, pair.fg, tmp_path / "saved"))
    other = loaded(with_fields(pair, tmp_path / "other", {"max_sequence_length": 3}))
    assert (other.max_sequence_length, other.max_position_embeddings) == (3, length)
    with pytest.raises(AttributeError, match="no_such_field"):
        config.no_such_field  # noqa: B018 - its reading is the test
