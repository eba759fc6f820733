"""JSON files of a source that no program would write: one clear error, whichever file it is."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgather_convert import ForgatherConvertError, SourceError, UnsupportedModelError, convert
from forgather_convert.files.json_file import MAX_DEPTH, MAX_SIZE, parse_json
from support.converting import edit_config
from support.directories import differences
from support.models import write_hf_model
from support.refusals import LLAMA, assert_refused
from support.tokenizer_files import write_tokenizer

pytestmark = pytest.mark.version_independent

DEEP = "[" * 100_000 + "]" * 100_000
#: What Python reads, and fails to copy or to write.
DEEP_FOR_COPIES = "[" * 400 + "]" * 400
FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")
    write_tokenizer(source)
    return source


def rewrite_header(weights: Path, change: Callable[[str], str]) -> None:
    data = weights.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = change(data[8 : 8 + length].decode()).encode()
    weights.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])


def insert(text: str, field: str) -> str:
    """A JSON object with another field in front."""
    return text.replace("{", "{" + field + ", ", 1)


@pytest.mark.parametrize("nested", [DEEP, DEEP_FOR_COPIES], ids=["for-python", "for-copies"])
@pytest.mark.parametrize("name", FILES)
def test_nested_too_deep(source: Path, name: str, nested: str) -> None:
    path = source / name
    before = path.read_text() if path.exists() else '{"a": 1}'
    path.write_text(insert("{}" if before.strip() == "{}" else before, f'"odd": {nested}'))
    if before.strip() == "{}":
        path.write_text(f'{{"odd": {nested}}}')
    assert_refused(source, SourceError, path, f"more than {MAX_DEPTH} others")


def test_index_that_is_nested_too_deep(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=3)
    index = source / "model.safetensors.index.json"
    index.write_text(insert(index.read_text(), f'"odd": {DEEP}'))
    assert_refused(source, SourceError, index, "more than")


def test_header_that_is_nested_too_deep(source: Path) -> None:
    weights = source / "model.safetensors"
    rewrite_header(weights, lambda text: insert(text, f'"odd": {DEEP}'))
    assert_refused(source, SourceError, weights, "header", "more than")


def test_trainer_state_that_is_nested_too_deep_is_copied(source: Path, tmp_path: Path) -> None:
    """Nothing depends on it."""
    (source / "trainer_state.json").write_text(DEEP)
    convert(source, tmp_path / "fg")
    assert (tmp_path / "fg" / "trainer_state.json").read_text() == DEEP


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    convert(write_hf_model(root / "hf", LLAMA, dtype="bfloat16"), root / "fg")
    return root / "fg"


def test_provenance_that_is_nested_too_deep(forgather_model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(forgather_model, tmp_path / "fg"))
    path = source / "forgather_conversion.json"
    path.write_text(insert(path.read_text(), f'"odd": {DEEP}'))
    assert_refused(source, SourceError, path)


def test_as_deep_as_is_allowed() -> None:
    parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH, "it")
    with pytest.raises(SourceError):
        parse_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "it")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "added_tokens.json"])
def test_larger_than_any_of_its_kind(source: Path, name: str) -> None:
    """The size is looked at before anything is read: the file is all holes."""
    path = source / name
    with path.open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    assert_refused(source, SourceError, path, "32 MiB")


@pytest.mark.parametrize(
    ("name", "largest"), [("chat_template.jinja", 8), ("merges.txt", 256), ("tokenizer.model", 256)]
)
def test_larger_than_any_that_transformers_reads(source: Path, name: str, largest: int) -> None:
    with (source / name).open("wb") as file:
        file.truncate((largest << 20) + 1)
    assert_refused(source, SourceError, source / name, f"{largest} MiB")


def test_tokenizer_file_may_be_larger(source: Path) -> None:
    path = source / "tokenizer.json"
    with path.open("ab") as file:
        file.write(b" " * MAX_SIZE)
    convert(source, source.with_name("fg"))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
@pytest.mark.parametrize(
    "name", ["hidden_size", "rms_norm_eps", "initializer_range", "rope_theta", "sliding_window"]
)
def test_number_that_is_none(source: Path, name: str, text: str) -> None:
    edit_config(source, ("rope_parameters", name))
    path = source / "config.json"
    path.write_text(insert(path.read_text(), f'"{name}": {text}'))
    assert_refused(source, ForgatherConvertError, path, f"In {path}, '{name}' is ")


@pytest.mark.parametrize("key", ["factor", "rope_theta", "short_factor"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "wide"])
def test_number_of_rope_that_is_none(source: Path, key: str, value: Any) -> None:
    rope: dict[str, Any] = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    rope[key] = [1.0, value] if key == "short_factor" else value
    edit_config(source, ("rope_scaling", "rope_theta"), rope_parameters=rope)
    path = source / "config.json"
    assert_refused(source, UnsupportedModelError, path, f"rope_parameters.{key}", "finite")


def test_numbers_that_the_model_does_not_use_are_carried_along(
    source: Path, tmp_path: Path
) -> None:
    path = source / "config.json"
    path.write_text(insert(path.read_text(), '"time_step_limit": [0.0, Infinity], "odd": NaN'))
    convert(source, tmp_path / "fg")
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []


@pytest.mark.parametrize("name", FILES[:-1])
@pytest.mark.parametrize(
    "field", [r'"odd\ud800": 1', r'"odd": {"deeper": ["\udfff"]}'], ids=["key", "value"]
)
def test_half_a_character(source: Path, name: str, field: str) -> None:
    path = source / name
    before = path.read_text()
    path.write_text(f"{{{field}}}" if before == "{}" else insert(before, field))
    assert_refused(source, SourceError, path, "invalid character", "odd")


def test_a_whole_character_of_two_halves(source: Path, tmp_path: Path) -> None:
    path = source / "config.json"
    path.write_text(insert(path.read_text(), r'"odd": "\ud83d\ude00"'))
    convert(source, tmp_path / "fg")
    convert(tmp_path / "fg", tmp_path / "back")
    assert json.loads((tmp_path / "fg" / "config.json").read_text())["odd"] == "\U0001f600"
    assert differences(source, tmp_path / "back") == []


def test_byte_order_mark(source: Path) -> None:
    path = source / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert_refused(source, SourceError, path, "byte order mark")


@pytest.mark.parametrize("size", ["1e999", "NaN", "-1", "true", '"64"', "1.0"])
def test_header_with_a_shape_that_is_none(source: Path, size: str) -> None:
    weights = source / "model.safetensors"
    rewrite_header(weights, lambda text: text.replace('"shape":[64]', f'"shape":[{size}]', 1))
    assert_refused(source, SourceError, weights, "header")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("num_hidden_layers", 1000),
        ("hidden_size", 10**12),
        ("intermediate_size", 10**12),
        ("vocab_size", 2**40),
        ("head_dim", 2**40),
        ("num_attention_heads", 2**40),
        ("num_experts", 10**6),
    ],
)
@pytest.mark.parametrize("is_forgather", [False, True], ids=["hf", "fg"])
def test_model_that_is_far_larger_than_its_weights(
    source: Path, forgather_model: Path, tmp_path: Path, name: str, value: int, is_forgather: bool
) -> None:
    """It would be built until memory or patience ends."""
    if is_forgather:
        source = Path(shutil.copytree(forgather_model, tmp_path / "fg"))
    edit_config(source, **{name: value})
    assert_refused(source, ForgatherConvertError, source / "config.json", f"'{name}' is {value}")


@pytest.mark.parametrize("token_id", [2**31, 10**30, -1, "7", None, 1.5, True, float("inf")])
@pytest.mark.parametrize("place", ["added", "vocab", "flat", "decoder"])
def test_token_id_that_cannot_be(source: Path, place: str, token_id: Any) -> None:
    name = {
        "added": "tokenizer.json",
        "vocab": "tokenizer.json",
        "flat": "added_tokens.json",
        "decoder": "tokenizer_config.json",
    }[place]
    path = source / name
    content = json.loads(path.read_text(encoding="utf-8"))
    if place == "added":
        content["added_tokens"] = [{"id": token_id, "content": "<odd>"}]
    elif place == "vocab":
        content["model"]["vocab"]["odd"] = token_id
    elif place == "flat":
        content["odd"] = token_id
    else:
        key = "-7" if token_id == "7" else str(token_id)
        content["added_tokens_decoder"] = {key: {"content": "<odd>"}}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert_refused(source, SourceError, path, "the id", "must be a whole number")


@pytest.mark.parametrize("added", [{}, ["<odd>"], [{"id": 3}], None], ids=str)
def test_added_tokens_that_are_no_list_of_tokens(source: Path, added: Any) -> None:
    path = source / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "added_tokens": added}), encoding="utf-8")
    assert_refused(source, SourceError, path, "'added_tokens'")
