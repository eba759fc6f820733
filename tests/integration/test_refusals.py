"""What cannot be converted is refused: with a message that helps, and without a trace."""

import json
import re
import shutil
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import (
    ConverterError,
    ConvertOptions,
    DestinationError,
    ForgatherConvertError,
    MappingError,
    OptionError,
    SourceError,
    UnsupportedModelError,
    convert,
    plan,
)
from support.command import forgather
from support.directories import snapshot
from support.models import random_state, write_hf_model, write_weights
from support.variants import Variant, variant

LLAMA = variant("llama-default")
SHARDS = 3
#: Every message says what to do: in a sentence that begins with a verb, or as what must be.
ADVICE = re.compile(
    r"\b(?:Add|Check|Choose|Convert|Correct|Create|Delete|Download|Give|Install|Load|Name|Remove|Run"
    r"|Save|Set|Uninstall|Upgrade|Use|Write|pip install|must be|must divide|needs|Known are)\b"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Forgather model that all tests share; they copy it before they damage it."""
    root = tmp_path_factory.mktemp("models")
    convert(write_hf_model(root / "hf", LLAMA, dtype="bfloat16"), root / "fg")
    return root / "fg"


@pytest.fixture
def forgather_source(forgather_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(forgather_model, tmp_path / "fg"))


@contextmanager
def unchanged(root: Path) -> Iterator[None]:
    """Nothing below a directory is added, removed or changed; empty directories count."""
    names, content = sorted(root.rglob("*")), snapshot(root)
    yield
    assert sorted(root.rglob("*")) == names
    assert snapshot(root) == content


def assert_helps(message: str, *words: str | Path) -> None:
    """A message says what is wrong and where, in the given words, and what to do."""
    missing = [str(word) for word in words if str(word) not in message]
    assert not missing, message
    assert ADVICE.search(message), f"It does not say what to do: {message}"


def assert_refused(
    source: Path,
    error: type[ForgatherConvertError],
    *words: str | Path,
    destination: Path | None = None,
    **options: Any,
) -> None:
    """A conversion and a dry run are both refused, and leave everything as it was."""
    root = source.parent
    for attempt in (plan, convert):
        with unchanged(root), pytest.raises(error) as caught:
            attempt(source, destination or root / "out", ConvertOptions(**options))
        assert_helps(str(caught.value), *words)


def assert_command_refuses(
    root: Path, *arguments: str | Path, words: tuple[str | Path, ...]
) -> None:
    """The command reports one error, with exit code 1, and leaves everything as it was."""
    with unchanged(root):
        result = forgather("convert", *arguments)
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1, result.stderr
    assert_helps(result.stderr[result.stderr.index("ERROR: ") :], *words)


def edit_config(directory: Path, remove: tuple[str, ...] = (), **fields: Any) -> None:
    path = directory / "config.json"
    config = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({key: config[key] for key in config if key not in remove}))


def write_state(
    directory: Path, change: Callable[[dict[str, torch.Tensor]], None], **fields: Any
) -> Path:
    """A Llama whose weights are changed before they are written."""
    state = random_state(LLAMA, torch.bfloat16)
    change(state)
    config = {**LLAMA.config(), "dtype": "bfloat16", **fields}
    return write_hf_model(directory, LLAMA, state=state, config=config)


def without(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    """A change that drops a tensor."""

    def drop(state: dict[str, torch.Tensor]) -> None:
        del state[name]

    return drop


# The source directory


def test_source_that_does_not_exist(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", SourceError, tmp_path / "nowhere", "does not exist")


def test_source_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    assert_refused(file, SourceError, file, "is not a directory")


def test_source_without_config(source: Path) -> None:
    (source / "config.json").unlink()
    assert_refused(source, SourceError, source, "config.json")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"{", "JSON"), (b"\xff\xfe\x00", "cannot be read"), (b"", "JSON"), (b"[1]", "object")],
    ids=["cut-short", "binary", "empty", "list"],
)
def test_config_that_is_not_a_json_object(source: Path, content: bytes, word: str) -> None:
    (source / "config.json").write_bytes(content)
    assert_refused(source, SourceError, source / "config.json", word)


def test_unsupported_model_type(source: Path) -> None:
    edit_config(source, model_type="gpt_neox")
    assert_refused(
        source,
        UnsupportedModelError,
        "No converter registered for model type 'gpt_neox'",
        "llama, mistral, qwen3",
        "pip install forgather-convert-gpt-neox",
        "--converter-path",
    )


@pytest.mark.parametrize("model_type", ["", None, 5])
def test_no_model_type(source: Path, model_type: Any) -> None:
    edit_config(source, model_type=model_type)
    assert_refused(
        source,
        UnsupportedModelError,
        "Could not auto-detect model type",
        source / "config.json",
        "--model-type",
        "--reverse",
    )


def test_source_without_weights(source: Path) -> None:
    (source / "model.safetensors").unlink()
    assert_refused(source, SourceError, source, "no weights", "pytorch_model.bin")


# Tensors that do not fit


def test_unmapped_tensors_are_named(tmp_path: Path) -> None:
    def add(state: dict[str, torch.Tensor]) -> None:
        for layer in range(3):
            state[f"model.layers.{layer}.self_attn.sinks"] = torch.zeros(4)

    source = write_state(tmp_path / "hf", add)
    assert_refused(
        source, MappingError, source, "3 tensors", "model.layers.{0..2}.self_attn.sinks", "no place"
    )


def test_tensors_of_a_layer_too_many_are_named(tmp_path: Path) -> None:
    """A config with fewer layers than the weights would drop the last ones."""
    source = write_state(tmp_path / "hf", lambda state: None, num_hidden_layers=2)
    assert_refused(source, MappingError, source, "model.layers.2.mlp.down_proj.weight")


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    source = write_state(tmp_path / "hf", without("model.norm.weight"))
    assert_refused(source, MappingError, source, "missing", "layer_norm.weight", "--debug-params")


def test_wrong_shape_is_told_with_the_right_one(tmp_path: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    source = write_state(tmp_path / "hf", lambda state: state.update({name: torch.zeros(95, 64)}))
    assert_refused(source, MappingError, name, source / "model.safetensors", "[95, 64]", "[96, 64]")


def test_base_model_with_its_own_names(tmp_path: Path) -> None:
    """``LlamaModel.save_pretrained`` writes names without ``model.`` and no head."""
    state = random_state(LLAMA, torch.bfloat16)
    del state["lm_head.weight"]
    base = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16", state=base)
    assert_refused(source, MappingError, source, "base model", "embed_tokens.weight")


def test_untied_model_without_head(tmp_path: Path) -> None:
    source = write_state(tmp_path / "hf", without("lm_head.weight"))
    assert_refused(source, MappingError, source, "missing", "lm_head.weight")


def test_tied_model_with_another_head(tmp_path: Path) -> None:
    """It cannot be guessed which of the two counts: transformers 4 and 5 disagree."""
    source = write_state(tmp_path / "hf", lambda state: None, tie_word_embeddings=True)
    assert_refused(
        source,
        MappingError,
        source,
        "lm_head.weight",
        "model.embed_tokens.weight",
        "tie_word_embeddings",
    )


# Damaged and quantized weights


def test_index_that_names_an_absent_file(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=SHARDS)
    absent = source / "model-00002-of-00003.safetensors"
    absent.unlink()
    index = source / "model.safetensors.index.json"
    assert_refused(source, SourceError, index, absent.name, "does not exist", "download")


@pytest.mark.parametrize("place", ["../{}", "{}/../{}", "/etc/hostname"])
def test_index_that_names_a_file_elsewhere(tmp_path: Path, place: str) -> None:
    """A downloaded index must not make the tool read the user's other files."""
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=SHARDS)
    name = "model-00002-of-00003.safetensors"
    shutil.copy(source / name, tmp_path / name)
    index = source / "model.safetensors.index.json"
    outside = place.format(name, name)
    index.write_text(index.read_text().replace(name, outside))
    assert_refused(source, SourceError, index, outside, "outside")


@pytest.mark.parametrize("content", ["{", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}'])
def test_index_that_is_none(tmp_path: Path, content: str) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=SHARDS)
    index = source / "model.safetensors.index.json"
    index.write_text(content)
    assert_refused(source, SourceError, index)


def test_index_that_promises_a_tensor_its_file_lacks(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, shards=SHARDS)
    index = source / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.norm.weight"] = content["weight_map"]["lm_head.weight"]
    content["weight_map"]["model.extra.weight"] = content["weight_map"]["lm_head.weight"]
    index.write_text(json.dumps(content))
    assert_refused(source, SourceError, index, "is not")


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_safetensors_file_that_is_cut_short(source: Path, size: int) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    assert_refused(source, SourceError, weights)


def test_safetensors_file_with_bytes_behind_its_tensors(source: Path) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert_refused(source, SourceError, weights, "behind")


@pytest.mark.parametrize("size", [0, 100, 100_000, -1])
def test_bin_file_that_is_cut_short(tmp_path: Path, size: int) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, weights_format="pytorch")
    weights = source / "pytorch_model.bin"
    weights.write_bytes(weights.read_bytes()[:size])
    assert_refused(source, SourceError, weights)


def _overlap(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["data_offsets"] = [0, 128]


def _gap(header: dict[str, Any]) -> None:
    del header["model.norm.weight"]


def _negative(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["data_offsets"] = [-128, 0]


def _unknown_dtype(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["dtype"] = "F7"


def _no_shape(header: dict[str, Any]) -> None:
    del header["model.norm.weight"]["shape"]


def _shape_of_text(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["shape"] = ["many"]


def _not_an_object(header: dict[str, Any]) -> None:
    header["model.norm.weight"] = []


@pytest.mark.parametrize(
    "damage",
    [_overlap, _gap, _negative, _unknown_dtype, _no_shape, _shape_of_text, _not_an_object],
    ids=lambda damage: damage.__name__.strip("_"),
)
def test_safetensors_file_with_a_damaged_header(
    source: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    weights = source / "model.safetensors"
    data = weights.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    damage(header)
    raw = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])
    assert_refused(source, SourceError, weights, "header")


@pytest.mark.parametrize("garbage", [b"[]", b"not json", b"\xff\xff"])
def test_safetensors_file_with_garbage_for_a_header(source: Path, garbage: bytes) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", len(garbage)) + garbage)
    assert_refused(source, SourceError, weights, "header")


@pytest.mark.parametrize(
    ("quantization", "method"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq"),
        ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
    ],
)
def test_quantization_that_the_config_tells(
    source: Path, quantization: dict[str, Any], method: str
) -> None:
    edit_config(source, quantization_config=quantization)
    assert_refused(
        source, UnsupportedModelError, source / "config.json", "quantized", method, "unquantized"
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.int32])
def test_quantization_that_the_weights_tell(tmp_path: Path, dtype: torch.dtype) -> None:
    """Even where their names and shapes fit, their scales would be lost."""
    name = "model.layers.0.self_attn.q_proj.weight"
    source = write_state(tmp_path / "hf", lambda state: state.update({name: state[name].to(dtype)}))
    dtype_name = str(dtype).removeprefix("torch.")
    assert_refused(source, UnsupportedModelError, source, name, dtype_name, "unquantized")


# What a family cannot express

_NESTED_ROPE = {
    "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
}
_LAYER_TYPES = ["sliding_attention", "full_attention", "full_attention"]


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("llama", {"sliding_window": 8}),
        ("llama", {"layer_types": _LAYER_TYPES}),
        ("mistral", {"attention_bias": True}),
        ("mistral", {"mlp_bias": True}),
        ("mistral", {"layer_types": _LAYER_TYPES}),
        ("qwen3", {"mlp_bias": True}),
        ("llama", {"partial_rotary_factor": 0.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_field_that_the_family_does_not_have(
    tmp_path: Path, family: str, fields: dict[str, Any]
) -> None:
    """A field that the code ignores would be a model that silently computes something else."""
    plain = Variant(family, "plain", fields)
    source = write_hf_model(tmp_path / "hf", plain, state=random_state(LLAMA, torch.bfloat16))
    (name,) = fields
    assert_refused(source, UnsupportedModelError, source / "config.json", family, name)


@pytest.mark.parametrize(
    ("rope", "words"),
    [
        ({"rope_type": "fancy"}, ["'fancy'", "yarn"]),
        ({"rope_type": "linear"}, ["'linear'", "'factor'"]),
        ({"type": "dynamic"}, ["'dynamic'", "'factor'"]),
        ({"rope_type": "yarn"}, ["'yarn'", "'factor'"]),
        ({"rope_type": "longrope", "short_factor": [1.0] * 8}, ["'longrope'", "'long_factor'"]),
        ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}, ["'high_freq_factor'"]),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, ["partial_rotary_factor"]),
        (_NESTED_ROPE, ["different RoPE parameters"]),
        ("yarn", ["'yarn'", "not an object"]),
    ],
    ids=[
        "unknown",
        "linear",
        "dynamic",
        "yarn",
        "longrope",
        "llama3",
        "partial",
        "nested",
        "text",
    ],
)
@pytest.mark.parametrize("schema", ["4", "5"])
def test_rope_that_cannot_be_expressed(
    source: Path, rope: Any, words: list[str], schema: str
) -> None:
    if schema == "4":
        edit_config(source, remove=("rope_parameters",), rope_scaling=rope)
    else:
        both = {**rope, "rope_theta": 10000.0} if isinstance(rope, dict) else rope
        edit_config(source, remove=("rope_scaling", "rope_theta"), rope_parameters=both)
    assert_refused(source, UnsupportedModelError, source / "config.json", *words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hidden_act": "swish7"}, ["hidden_act", "swish7"]),
        ({"hidden_size": 64.0}, ["hidden_size", "64.0"]),
        ({"hidden_size": None}, ["hidden_size"]),
        ({"num_hidden_layers": "3"}, ["num_hidden_layers", "3"]),
        ({"num_key_value_heads": 3}, ["num_key_value_heads", "3"]),
        ({"pad_token_id": 4711}, ["pad_token_id", "4711", "160"]),
        ({"dtype": "float99"}, ["dtype", "float99"]),
    ],
    ids=lambda value: str(next(iter(value))),
)
def test_value_that_cannot_be(source: Path, fields: dict[str, Any], words: list[str]) -> None:
    edit_config(source, **fields)
    assert_refused(source, ForgatherConvertError, source / "config.json", *words)


def test_heads_that_cannot_be_grouped(tmp_path: Path) -> None:
    """With weights to match: only running the model would tell otherwise."""
    odd = Variant("llama", "odd", {"num_attention_heads": 4, "num_key_value_heads": 3})
    fitting = Variant("llama", "fitting", {"num_attention_heads": 4, "num_key_value_heads": 4})
    state = random_state(fitting, torch.bfloat16)
    for name in state:
        if "k_proj" in name or "v_proj" in name:
            state[name] = state[name][:48].clone()
    source = write_hf_model(tmp_path / "hf", odd, state=state)
    words = (source / "config.json", "num_key_value_heads", "3")
    assert_refused(source, ForgatherConvertError, *words)


# Checkpoints


def test_checkpoint_that_does_not_exist(forgather_source: Path) -> None:
    absent = Path("checkpoint-7")
    assert_refused(
        forgather_source,
        SourceError,
        "Checkpoint not found",
        absent,
        checkpoint_path=absent,
    )


def test_checkpoint_without_weights(forgather_source: Path) -> None:
    empty = forgather_source / "checkpoint-7"
    empty.mkdir()
    assert_refused(
        forgather_source,
        SourceError,
        "Checkpoint not found",
        empty,
        "model.safetensors",
        checkpoint_path=empty,
    )


def test_forgather_model_without_weights(forgather_source: Path) -> None:
    (forgather_source / "model.safetensors").unlink()
    (forgather_source / "checkpoint-7").mkdir()
    assert_refused(
        forgather_source,
        SourceError,
        "Checkpoint not found",
        forgather_source,
        "--checkpoint-path",
    )


def test_checkpoint_of_a_hugging_face_model(source: Path) -> None:
    checkpoint = source / "checkpoint-1"
    checkpoint.mkdir()
    write_weights(checkpoint, random_state(LLAMA, torch.bfloat16))
    assert_refused(source, OptionError, "--checkpoint-path", source, checkpoint_path=checkpoint)


def test_forgather_tensor_that_is_missing(forgather_source: Path) -> None:
    """The names in the message are of both sides, in this direction too."""
    edit_config(forgather_source, num_hidden_layers=4)
    assert_refused(
        forgather_source, MappingError, forgather_source, "model.layers.3.mlp.up_proj.weight"
    )


def test_damaged_provenance(forgather_source: Path) -> None:
    path = forgather_source / "forgather_conversion.json"
    path.write_text(json.dumps({"format_version": 1}))
    assert_refused(forgather_source, SourceError, path, "damaged")
    path.write_text(json.dumps({"format_version": 999}))
    assert_refused(forgather_source, SourceError, path, "999")


# The destination


@pytest.mark.parametrize("kind", ["model", "empty", "file", "dangling"])
def test_destination_that_exists(source: Path, tmp_path: Path, kind: str) -> None:
    destination = tmp_path / "out"
    if kind == "model":
        shutil.copytree(source, destination)
    elif kind == "empty":
        destination.mkdir()
    elif kind == "file":
        destination.write_text("mine")
    else:
        destination.symlink_to(tmp_path / "gone")
    assert_refused(source, DestinationError, destination, "exists", "--overwrite")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("through_link", [False, True])
@pytest.mark.parametrize(
    ("place", "word"),
    [("hf", "is the source itself"), ("hf/sub/out", "inside the source"), ("", "inside the dest")],
    ids=["same", "inside-source", "around-source"],
)
def test_destination_that_touches_the_source(
    source: Path, place: str, word: str, through_link: bool, overwrite: bool
) -> None:
    """The source is all that a user has; it must survive any mix-up of the arguments."""
    root = source.parent
    destination = root / place
    if through_link:
        (root / "link").symlink_to(root, target_is_directory=True)
        destination = root / "link" / place
    assert_refused(
        source, DestinationError, destination, word, destination=destination, overwrite=overwrite
    )


def test_source_that_is_a_link_to_the_destination(source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(source, target_is_directory=True)
    assert_refused(
        link, DestinationError, "is the source itself", destination=source, overwrite=True
    )


def test_destination_below_a_file(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    destination = tmp_path / "file" / "out"
    with unchanged(tmp_path), pytest.raises(DestinationError) as caught:
        convert(source, destination)
    assert_helps(str(caught.value), tmp_path / "file")


def test_destination_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    try:
        (locked / "probe").touch()
    except PermissionError:
        pass
    else:
        pytest.skip("this user may write everywhere")
    with unchanged(tmp_path), pytest.raises(DestinationError) as caught:
        convert(source, locked / "out")
    assert_helps(str(caught.value), locked, "cannot be written")


@pytest.mark.parametrize("place", ["/proc/out", "/proc/sub/out"])
def test_destination_where_nothing_can_be_created(source: Path, place: str) -> None:
    """Not even by the administrator, who may write to any directory on a disk."""
    if not Path("/proc").is_dir():
        pytest.skip("there is no /proc here")
    with unchanged(source), pytest.raises(DestinationError) as caught:
        convert(source, Path(place))
    assert_helps(str(caught.value), "/proc")


# Options


def test_chat_template_that_does_not_exist(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer_config.json").write_text("{}")
    template = tmp_path / "nowhere.jinja"
    assert_refused(source, OptionError, template, chat_template_path=template)


def test_chat_template_with_a_syntax_error(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer_config.json").write_text("{}")
    template = tmp_path / "bad.jinja"
    template.write_text("{% for message in messages %}\n\n{{ message.content }\n{% endfor %}\n")
    assert_refused(source, OptionError, template, "line 3", chat_template_path=template)


def test_chat_template_without_a_tokenizer(source: Path, tmp_path: Path) -> None:
    template = tmp_path / "good.jinja"
    template.write_text("{{ messages[0].content }}")
    assert_refused(source, OptionError, template, "tokenizer", chat_template_path=template)


def test_converter_path_that_is_no_directory(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    assert_refused(source, ConverterError, path, "not a directory", converter_paths=(path,))


def test_converter_that_cannot_be_imported(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "converters" / "converter.py"
    path.parent.mkdir()
    path.write_text("import a_package_that_is_not_there\n")
    assert_refused(
        source,
        ConverterError,
        path,
        "a_package_that_is_not_there",
        converter_paths=(path.parent,),
    )


def test_device_that_does_not_exist(source: Path) -> None:
    """Found out before the weights are written, not afterwards."""
    assert_refused(source, OptionError, "--device", "abacus", device="abacus")


@pytest.mark.parametrize(
    "options",
    [{"dtype": "int8"}, {"weights_format": "gguf"}, {"max_length": 0}, {"max_shard_size": 0}],
    ids=lambda options: next(iter(options)),
)
def test_option_with_an_impossible_value(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ConvertOptions(**options)


# The command line


def test_command_without_source(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert_command_refuses(tmp_path, nowhere, tmp_path / "out", words=(nowhere, "does not exist"))


def test_command_for_an_unsupported_model(source: Path, tmp_path: Path) -> None:
    edit_config(source, model_type="gpt2")
    words = ("No converter registered for model type 'gpt2'", "qwen3", "pip install")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=words)


def test_command_for_tensors_that_do_not_fit(tmp_path: Path) -> None:
    source = write_state(tmp_path / "hf", without("lm_head.weight"))
    words = (source, "missing", "lm_head.weight")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=words)


def test_command_for_truncated_weights(source: Path, tmp_path: Path) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    words = (weights, "truncated", "Download it again")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=words)


def test_command_for_a_destination_that_exists(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = (tmp_path / "out", "exists", "--overwrite")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=words)


def test_command_for_a_destination_that_cannot_be_created(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    words = (tmp_path / "file",)
    assert_command_refuses(tmp_path, source, tmp_path / "file" / "out", words=words)


def test_command_for_a_missing_checkpoint(forgather_source: Path, tmp_path: Path) -> None:
    words = ("Checkpoint not found", "checkpoint-9")
    assert_command_refuses(
        tmp_path, forgather_source, tmp_path / "out", "-c", "checkpoint-9", words=words
    )


def test_command_with_a_value_that_cannot_be(source: Path, tmp_path: Path) -> None:
    edit_config(source, hidden_act="swish7")
    assert_command_refuses(tmp_path, source, tmp_path / "out", words=("config.json", "swish7"))


def test_command_in_a_dry_run(source: Path, tmp_path: Path) -> None:
    """A dry run tells what the conversion would tell."""
    edit_config(source, quantization_config={"quant_method": "gptq"})
    words = (source, "gptq", "unquantized")
    assert_command_refuses(tmp_path, source, tmp_path / "out", "--dry-run", words=words)


def test_traceback_only_for_debugging(tmp_path: Path) -> None:
    arguments = ("convert", tmp_path / "nowhere", tmp_path / "out")
    result = forgather(*arguments, "--log-level", "DEBUG")
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "does not exist" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["a", "b", "--dtype", "int8"], "--dtype"),
        (["a", "b", "--max-length", "0"], "--max-length"),
        (["a", "b", "--max-length", "long"], "--max-length"),
        (["a", "b", "--max-shard-size", "big"], "5GB"),
        (["a"], "DESTINATION_PATH"),
        ([], "SOURCE_PATH"),
        (["a", "b", "--no-such-option"], "--no-such-option"),
        (["a", "b", "--format", "gguf"], "--format"),
        (["a", "b", "--log-level", "LOUD"], "--log-level"),
    ],
    ids=lambda value: "-".join(value[2:]) or "arguments" if isinstance(value, list) else "",
)
def test_wrong_usage(arguments: list[str], word: str) -> None:
    result = forgather("convert", *arguments)
    assert result.returncode == 2
    assert word in result.stderr
    assert "Usage:" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
