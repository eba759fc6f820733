"""What the user of ``forgather convert`` types and sees."""

import json
import logging
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from forgather_convert import ConvertOptions, convert, plan
from forgather_convert.source.plain_text import printable
from support.command import forgather
from support.directories import differences, snapshot
from support.models import load_forgather, load_hf, prompt, random_state, write_hf_model
from support.variants import Variant, variant

LLAMA = variant("llama-default")
TEXT = "The river runs under the old bridge, and the old bridge stands over the river. "
EMBEDDING = "causal_lm.input_encoder.embedding.word_embedding.weight"

_CONVERTER = """
from forgather.ml.model_conversion import HFConverter, register_converter
from forgather_convert import STANDARD_WEIGHT_MAPPING


@register_converter("my_model")
class MyModelConverter(HFConverter):
    model_type = "my_model"

    def get_hf_model_class(self):
        from transformers import LlamaForCausalLM
        return LlamaForCausalLM

    def get_weight_mapping(self, direction):
        if direction == "to_forgather":
            return STANDARD_WEIGHT_MAPPING
        return {ours: theirs for theirs, ours in STANDARD_WEIGHT_MAPPING.items()}

    def create_project_config(self, src_config, max_length=None):
        return super().create_project_config(src_config, max_length)

    def create_hf_config(self, src_config, max_length=None):
        return super().create_hf_config(src_config, max_length)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


@pytest.fixture(scope="module")
def forgather_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Forgather model to convert from; its source is beside it. Not to be changed."""
    root = tmp_path_factory.mktemp("models")
    convert(write_hf_model(root / "hf", LLAMA, dtype="bfloat16"), root / "fg")
    return root / "fg"


@pytest.fixture(scope="module")
def model_with_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face model with a small tokenizer of its own. Not to be changed."""
    directory = tmp_path_factory.mktemp("models") / "hf"
    write_hf_model(directory, Variant("llama", "words", {"vocab_size": 320}), dtype="float32")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [TEXT] * 5, vocab_size=300, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False
    )
    PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(directory)
    return directory


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``forgather convert``, which must succeed."""
    result = forgather("convert", *arguments, **environment)
    assert result.returncode == 0, result.stderr
    return result


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def edit_config(directory: Path, remove: tuple[str, ...] = (), **fields: Any) -> None:
    config = {**read_json(directory / "config.json"), **fields}
    kept = {key: config[key] for key in config if key not in remove}
    (directory / "config.json").write_text(json.dumps(kept))


def stored_dtypes(directory: Path) -> set[str]:
    """The types that a directory's weights are stored in, by safetensors' names."""
    found = set()
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return found


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(prompt()).logits


# What is printed


def test_console_lines_to_forgather(source: Path, tmp_path: Path) -> None:
    """The lines of the specification, in its order, on stderr; stdout is for data."""
    result = run(source, tmp_path / "fg")
    assert result.stderr.splitlines() == [
        "Auto-detected HuggingFace model (type: llama)",
        "Auto-detected dtype from source model: bfloat16",
        "Converting HuggingFace model to Forgather format",
        "Logits are identical over 32 positions",
        f"Conversion complete: {tmp_path / 'fg'}",
    ]
    assert result.stdout == ""


@pytest.mark.parametrize(("family", "name"), [("llama", "Llama"), ("qwen3", "Qwen3")])
def test_console_lines_to_hugging_face(family: str, name: str, tmp_path: Path) -> None:
    plain = Variant(family, "plain")
    convert(write_hf_model(tmp_path / "hf", plain, dtype="float32"), tmp_path / "fg")
    result = run(tmp_path / "fg", tmp_path / "back")
    assert result.stderr.splitlines() == [
        f"Auto-detected Forgather model (original type: {family})",
        "Auto-detected dtype from source model: float32",
        f"Using the weights of {tmp_path / 'fg'} itself; it has no checkpoint-N",
        f"Converting Forgather model to HuggingFace {name}",
        "Logits are identical over 32 positions",
        f"Conversion complete: {tmp_path / 'back'}",
    ]
    assert result.stdout == ""


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"]])
def test_help_imports_no_large_library(arguments: list[str]) -> None:
    """Help must come at once; each of these libraries takes seconds."""
    code = (
        "import atexit, sys\n"
        "large = ('torch', 'transformers', 'safetensors')\n"
        "atexit.register(lambda: print([name for name in large if name in sys.modules]))\n"
        "from forgather_convert.cli.main import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "Usage:" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_help_names_every_option_of_the_specification() -> None:
    text = forgather("convert", "--help").stdout
    for option in (
        "--reverse",
        "--model-type {llama,mistral,qwen3}",
        "--dtype",
        "--max-length",
        "-c, --checkpoint-path",
        "--add-tokens",
        "--skip-default-tokens",
        "--device",
        "-g, --generation-test",
        "--prompt",
        "--debug-params",
        "-t, --chat-template-path",
        "--converter-path",
        "--dry-run",
        "--log-level",
        "--format",
        "--max-shard-size",
        "--overwrite",
        "--no-logit-check",
        "--json",
    ):
        assert option in text


def on_terminal(*arguments: str | Path, **environment: str) -> str:
    """What ``forgather`` prints to stderr if that is a terminal."""
    terminal, connection = pty.openpty()
    unset = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    with subprocess.Popen(
        [sys.executable, "-m", "forgather_convert.cli.main", *map(str, arguments)],
        env={**kept, "TERM": "xterm-256color", "COLUMNS": "200", **environment},
        stdout=subprocess.DEVNULL,
        stderr=connection,
    ):
        os.close(connection)
        printed = b""
        try:
            while chunk := os.read(terminal, 4096):
                printed += chunk
        except OSError:  # the other end is closed
            pass
    os.close(terminal)
    return printed.decode()


def test_terminal_has_colours_unless_they_are_not_wanted(tmp_path: Path) -> None:
    """See no-color.org: any value that is not empty counts."""
    colour = re.compile("\x1b\\[[0-9;]*3[0-7]m")
    arguments = ("convert", tmp_path / "nowhere", tmp_path / "out")
    plain = on_terminal(*arguments, NO_COLOR="1")
    assert "does not exist" in plain
    assert not colour.search(plain)
    assert colour.search(on_terminal(*arguments))


def test_terminal_shows_progress_and_a_pipe_does_not(source: Path, tmp_path: Path) -> None:
    options = ("--no-logit-check", source)
    assert "Writing weights" in on_terminal("convert", *options, tmp_path / "terminal")
    result = run(*options, tmp_path / "pipe")
    for text in (result.stdout, result.stderr):
        assert "\x1b" not in text
        assert "\r" not in text
        assert "Writing weights" not in text


def test_debug_params_prints_the_names_of_both_sides(source: Path, tmp_path: Path) -> None:
    """In both directions; every parameter has its line."""
    there = run("--debug-params", "--no-logit-check", source, tmp_path / "fg").stderr
    back = run("--debug-params", "--no-logit-check", tmp_path / "fg", tmp_path / "back").stderr
    for name in random_state(LLAMA, torch.bfloat16):
        assert name in there
        assert name in back
    for layer in range(3):
        hf = f"model.layers.{layer}.self_attn.q_proj.weight"
        fg = f"causal_lm.layer_stack.layers.{layer}.attention.query_linear.weight"
        assert re.search(rf"{re.escape(hf)} .*-> {re.escape(fg)}", there)
        assert re.search(rf"{re.escape(fg)} .*-> {re.escape(hf)}", back)


def test_log_levels(source: Path, tmp_path: Path) -> None:
    quiet = run("--log-level", "error", "--no-logit-check", source, tmp_path / "quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    loud = run("--log-level", "DEBUG", "--dry-run", source, tmp_path / "loud")
    assert "Auto-detected" in loud.stderr
    assert "Converter for 'llama'" in loud.stderr


def test_json_on_stdout_and_logs_on_stderr(source: Path, tmp_path: Path) -> None:
    result = run("--json", source, tmp_path / "fg")
    content = json.loads(result.stdout)
    assert content["direction"] == "to_forgather"
    assert content["model_type"] == "llama"
    assert content["dtype"] == "bfloat16"
    assert content["logits"] == {"equal": True, "max_difference": 0.0, "positions": 32}
    assert content["files"] == sorted(path.name for path in (tmp_path / "fg").iterdir())
    assert "Conversion complete" in result.stderr


def test_dry_run_lists_everything_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    (source / "notes.txt").write_text("mine")
    (source / "other.gguf").write_text("")
    before = snapshot(tmp_path)
    text = run("--dry-run", source, tmp_path / "fg").stdout
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "fg").exists()
    convert(source, tmp_path / "fg")
    for path in (tmp_path / "fg").iterdir():
        assert path.name in text
    with safe_open(tmp_path / "fg" / "model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            assert name in text
    assert "leave out other.gguf" in text
    assert "Nothing was written" in text


def test_all_options_together(forgather_model: Path, tmp_path: Path) -> None:
    """Every option reaches the conversion; the plan shows what they do."""
    checkpoint = tmp_path / "elsewhere"
    shutil.copytree(forgather_model, checkpoint)
    result = run(
        *("--reverse", "--model-type", "llama", "--dtype", "float16", "--max-length", "64"),
        *("-c", checkpoint, "--format", "pytorch", "--max-shard-size", "50kB"),
        *("--device", "cpu", "--no-logit-check", "--overwrite", "--log-level", "ERROR"),
        *("--dry-run", "--json", forgather_model, tmp_path / "back"),
    )
    content = json.loads(result.stdout)
    assert content["dtype"] == "float16"
    names = [shard["file"] for shard in content["shards"]]
    count = len(names)
    assert count > 1
    assert names == [
        f"pytorch_model-{number:05d}-of-{count:05d}.bin" for number in range(1, count + 1)
    ]
    tensors = [tensor for shard in content["shards"] for tensor in shard["tensors"]]
    assert {tensor["dtype"] for tensor in tensors} == {"float16"}
    assert all(shard["bytes"] <= 50_000 for shard in content["shards"])
    assert "pytorch_model.bin.index.json" in content["write"]
    assert result.stderr == ""


# Direction and family


def strip_metadata(forgather_model: Path, directory: Path) -> Path:
    """A Forgather model that does not say so."""
    shutil.copytree(forgather_model, directory)
    (directory / "forgather_conversion.json").unlink()
    edit_config(directory, remove=("hf_model_type", "model_type", "auto_map"))
    return directory


def test_reverse_without_metadata_takes_llama(forgather_model: Path, tmp_path: Path) -> None:
    stripped = strip_metadata(forgather_model, tmp_path / "fg")
    result = run("--reverse", stripped, tmp_path / "back")
    assert "WARNING: Could not auto-detect model type" in result.stderr
    assert "'llama'" in result.stderr
    assert read_json(tmp_path / "back" / "config.json")["model_type"] == "llama"
    original = load_hf(forgather_model.parent / "hf", "llama")
    assert torch.equal(logits(load_hf(tmp_path / "back", "llama")), logits(original))


def test_model_type_where_the_config_does_not_say(
    forgather_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stripped = strip_metadata(forgather_model, tmp_path / "fg")
    options = ConvertOptions(reverse=True, model_type="mistral")
    with caplog.at_level(logging.WARNING):
        convert(stripped, tmp_path / "back", options)
    config = read_json(tmp_path / "back" / "config.json")
    assert config["model_type"] == "mistral"
    assert config["architectures"] == ["MistralForCausalLM"]
    assert caplog.messages == []


def test_model_type_that_contradicts_the_config(forgather_model: Path, tmp_path: Path) -> None:
    """The user is right, but is told."""
    result = run("--model-type", "mistral", forgather_model, tmp_path / "back")
    assert "WARNING: " in result.stderr
    assert "'llama'" in result.stderr
    assert "'mistral'" in result.stderr
    assert "Converting Forgather model to HuggingFace Mistral" in result.stderr
    config = read_json(tmp_path / "back" / "config.json")
    assert config["model_type"] == "mistral"
    assert config["architectures"] == ["MistralForCausalLM"]


def test_reverse_of_a_forgather_model_changes_nothing(
    forgather_model: Path, tmp_path: Path
) -> None:
    convert(forgather_model, tmp_path / "back", ConvertOptions(reverse=True))
    assert differences(forgather_model.parent / "hf", tmp_path / "back") == []


# dtype


@pytest.mark.parametrize(
    ("option", "fields", "expected"),
    [
        ("float16", {"dtype": "float32", "torch_dtype": "bfloat16"}, "float16"),
        (None, {"dtype": "float32", "torch_dtype": "bfloat16"}, "float32"),
        (None, {"torch_dtype": "float16"}, "float16"),
        (None, {"torch_dtype": "torch.float16"}, "float16"),
        (None, {"dtype": None, "torch_dtype": "float16"}, "float16"),
        (None, {"dtype": "auto"}, "bfloat16"),
        (None, {}, "bfloat16"),
    ],
)
@pytest.mark.parametrize("direction", ["to_forgather", "from_forgather"])
def test_dtype_priority(
    option: str | None, fields: dict[str, Any], expected: str, direction: str, tmp_path: Path
) -> None:
    """Option, ``dtype``, ``torch_dtype``, bfloat16; the config of the output says which."""
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    if direction == "from_forgather":
        convert(source, tmp_path / "fg")
        source = tmp_path / "fg"
    edit_config(source, remove=("dtype",))
    edit_config(source, **fields)
    convert(source, tmp_path / "out", ConvertOptions(dtype=option))
    config = read_json(tmp_path / "out" / "config.json")
    assert config.get("dtype") == expected
    assert config.get("torch_dtype") in (None, expected)


def test_dtype_of_the_weights(tmp_path: Path) -> None:
    """The values are rounded as torch rounds them."""
    state = random_state(LLAMA, torch.float32)
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32", state=state)
    result = run("--dtype", "float16", source, tmp_path / "fg")
    assert "Logits are identical" in result.stderr
    assert stored_dtypes(tmp_path / "fg") == {"F16"}
    with safe_open(tmp_path / "fg" / "model.safetensors", framework="pt") as file:
        expected = state["model.embed_tokens.weight"].half()
        assert torch.equal(file.get_tensor(EMBEDDING), expected)


def test_default_dtype_is_applied_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    edit_config(source, remove=("dtype",))
    with caplog.at_level(logging.WARNING):
        convert(source, tmp_path / "fg")
    assert stored_dtypes(tmp_path / "fg") == {"BF16"}
    assert any("--dtype" in message for message in caplog.messages)


# Length

LENGTH_VARIANTS = ["llama-default", "llama-linear", "llama-yarn", "llama-longrope", "llama-llama3"]


@pytest.mark.parametrize("name", [*LENGTH_VARIANTS, "mistral-window", "qwen3-window-by-layer"])
def test_max_length_changes_the_length_only(name: str, tmp_path: Path) -> None:
    """What RoPE derives from the length stays as it was: the weights were trained with it."""
    source = write_hf_model(tmp_path / "hf", variant(name), dtype="float32")
    convert(source, tmp_path / "fg")
    options = ConvertOptions(max_length=512)
    convert(source, tmp_path / "long-fg", options)
    convert(tmp_path / "fg", tmp_path / "long-hf", options)

    for plain, changed in ((tmp_path / "fg", tmp_path / "long-fg"), (source, tmp_path / "long-hf")):
        expected, config = read_json(plain / "config.json"), read_json(changed / "config.json")
        expected["max_position_embeddings"] = 512
        # The names of the code's files tell its content, in which the length is a default.
        expected.pop("auto_map", None)
        config.pop("auto_map", None)
        for field in ("rope_scaling", "rope_parameters"):
            if expected[field] is not None:
                # What followed from the old length is written down now; the rest is the same.
                expected[field] = {**config[field], **expected[field]}
        assert config == expected
    before = logits(load_hf(source, variant(name).family))
    assert torch.equal(logits(load_forgather(tmp_path / "long-fg")), before)
    assert torch.equal(logits(load_hf(tmp_path / "long-hf", variant(name).family)), before)


def test_length_comes_back(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")
    convert(source, tmp_path / "fg", ConvertOptions(max_length=512))
    convert(tmp_path / "fg", tmp_path / "back", ConvertOptions(max_length=128))
    assert differences(source, tmp_path / "back") == []


# Tokenizer


def test_generation_test_prints_what_the_model_says(
    model_with_tokenizer: Path, tmp_path: Path
) -> None:
    words = "The old bridge"
    result = run("-g", "--prompt", words, model_with_tokenizer, tmp_path / "fg")
    tokenizer = AutoTokenizer.from_pretrained(model_with_tokenizer)
    model = load_forgather(tmp_path / "fg")
    inputs = tokenizer(words, return_tensors="pt")
    output = model.generate(
        inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=40,
        do_sample=False,
    )
    expected = tokenizer.decode(output[0], skip_special_tokens=True)
    assert result.stdout == f"Generation test: {printable(expected)}\n"


def test_generation_test_without_tokenizer(source: Path, tmp_path: Path) -> None:
    result = run("-g", "--json", source, tmp_path / "fg")
    ids = json.loads(result.stdout)["generation"]["token_ids"]
    assert ids
    assert all(0 <= number < 160 for number in ids)


def test_logit_check_runs_on_the_prompt(model_with_tokenizer: Path, tmp_path: Path) -> None:
    options = ConvertOptions(prompt="river")
    result = convert(model_with_tokenizer, tmp_path / "fg", options)
    tokenizer = AutoTokenizer.from_pretrained(model_with_tokenizer)
    assert result.logits is not None
    assert result.logits.num_tokens == len(tokenizer("river")["input_ids"])


def test_tokenizer_is_taken_along(model_with_tokenizer: Path, tmp_path: Path) -> None:
    """To the byte, in both directions."""
    options = ConvertOptions(skip_default_tokens=True)
    convert(model_with_tokenizer, tmp_path / "fg", options)
    convert(tmp_path / "fg", tmp_path / "back", options)
    content = (model_with_tokenizer / "tokenizer.json").read_bytes()
    assert (tmp_path / "fg" / "tokenizer.json").read_bytes() == content
    assert differences(model_with_tokenizer, tmp_path / "back") == []


@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.jinja", "none"])
def test_chat_template_is_stored_as_the_source_stored_its_own(
    model_with_tokenizer: Path, tmp_path: Path, place: str
) -> None:
    source = tmp_path / "hf"
    shutil.copytree(model_with_tokenizer, source)
    if place == "tokenizer_config.json":
        config = read_json(source / place)
        (source / place).write_text(json.dumps({**config, "chat_template": "old"}))
    elif place == "chat_template.jinja":
        (source / place).write_text("old")
    template = tmp_path / "new.jinja"
    template.write_text("{% for message in messages %}<{{ message.content }}>{% endfor %}")
    convert(source, tmp_path / "fg", ConvertOptions(chat_template_path=template))

    in_config = "chat_template" in read_json(tmp_path / "fg" / "tokenizer_config.json")
    assert in_config == (place == "tokenizer_config.json")
    assert (tmp_path / "fg" / "chat_template.jinja").exists() != in_config
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "fg")
    messages = [{"role": "user", "content": "river"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<river>"


def test_chat_template_option(model_with_tokenizer: Path, tmp_path: Path) -> None:
    template = tmp_path / "new.jinja"
    template.write_text("{{ messages[0].content }}\n")
    run("-t", template, "--no-logit-check", model_with_tokenizer, tmp_path / "fg")
    stored = tmp_path / "fg" / "chat_template.jinja"
    assert stored.read_bytes() == template.read_bytes()


# Converters


def test_converter_of_the_specification(source: Path, tmp_path: Path) -> None:
    """Several directories can be given; the class needs no decoration of its methods."""
    edit_config(source, model_type="my_model")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my_model_converter.py").write_text(_CONVERTER)
    paths = ("--converter-path", tmp_path / "empty", "--converter-path", tmp_path / "mine")
    there = run(*paths, source, tmp_path / "fg")
    assert "Auto-detected HuggingFace model (type: my_model)" in there.stderr
    config = read_json(tmp_path / "fg" / "config.json")
    assert config["hf_model_type"] == "my_model"
    assert config["model_type"] == "forgather-dynamic-causal-my_model"
    run(*paths, tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []


# Files


def test_pytorch_format(tmp_path: Path) -> None:
    """It loads, and what comes back from it are the same weights."""
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    convert(source, tmp_path / "fg", ConvertOptions(weights_format="pytorch"))
    assert (tmp_path / "fg" / "pytorch_model.bin").is_file()
    assert not list((tmp_path / "fg").glob("*.safetensors*"))
    original = load_hf(source, "llama")
    assert torch.equal(logits(load_forgather(tmp_path / "fg")), logits(original))
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []


@pytest.mark.parametrize("weights_format", ["safetensors", "pytorch"])
def test_max_shard_size(tmp_path: Path, weights_format: str) -> None:
    source = write_hf_model(tmp_path / "hf", LLAMA, dtype="float32")
    options = ConvertOptions(max_shard_size=100_000, weights_format=weights_format)
    planned = plan(source, tmp_path / "fg", options)
    convert(source, tmp_path / "fg", options)
    assert len(planned.shards) > 1
    for shard in planned.shards:
        assert (tmp_path / "fg" / shard.file_name).is_file()
        assert sum(tensor.num_bytes for tensor in shard.tensors) <= 100_000
    original = load_hf(source, "llama")
    assert torch.equal(logits(load_forgather(tmp_path / "fg")), logits(original))


def test_overwrite(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "fg")
    run("--overwrite", "--no-logit-check", source, tmp_path / "fg")
    config = read_json(tmp_path / "fg" / "config.json")
    assert config["model_type"] == "forgather-dynamic-causal-llama"


def test_relative_paths(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source)
    convert(Path(), Path("../fg"))
    assert (tmp_path / "fg" / "config.json").is_file()
