"""What a directory holds is told from names, JSON and headers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forgather_convert import ConvertOptions, Inspection, SourceError, inspect
from forgather_convert.inspection.tensor_groups import group_tensors
from forgather_convert.source.readable_weights import CheckpointKind
from forgather_convert.tensors.tensor_ref import TensorRef
from support.command import forgather
from support.converting import convert_unchecked, edit_config
from support.models import write_hf_model
from support.sparse_model import write_sparse_llama
from support.tokenizer_files import write_tokenizer
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

WINDOWED = Variant(
    "qwen3",
    "windowed",
    {
        "head_dim": 16,
        "use_sliding_window": True,
        "sliding_window": 12,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    },
    theta=500000.0,
)


@pytest.fixture(scope="module")
def hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = write_hf_model(tmp_path_factory.mktemp("hf") / "hf", WINDOWED, shards=2)
    write_tokenizer(directory)
    return directory


@pytest.fixture(scope="module")
def fg(tmp_path_factory: pytest.TempPathFactory, hf: Path) -> Path:
    return convert_unchecked(hf, tmp_path_factory.mktemp("fg") / "fg", max_length=512)


def parameters(inspection: Inspection) -> dict[str, int]:
    return {component.name: component.parameters for component in inspection.components}


def test_hugging_face_model(hf: Path) -> None:
    found = inspect(hf)
    assert found.problems == ()
    assert found.remarks == ()
    assert found.is_forgather is False
    assert (found.model_type, found.architectures) == ("qwen3", ("Qwen3ForCausalLM",))
    assert (found.dtype, found.stored_dtypes) == ("float32", {"float32": found.num_bytes})
    assert found.dimensions["num_hidden_layers"] == 3
    assert found.rope is not None
    assert (found.rope.rope_type, found.rope.theta) == ("default", 500000.0)
    assert found.window is not None
    assert (found.window.length, found.window.layers) == (12, 1)
    assert found.is_tied is False
    vocabulary = found.vocabulary
    assert (vocabulary.config, vocabulary.rows) == (160, 160)
    assert (vocabulary.tokens, vocabulary.highest_id) == (160, 159)
    assert found.converter is not None
    assert found.converter.name == "Qwen3"
    sizes = {file.name: file.num_bytes for file in found.files}
    assert sizes == {path.name: path.stat().st_size for path in hf.iterdir()}
    assert {file.name for file in found.files if file.is_weights} == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    }


def test_parameters_are_the_same_on_both_sides(hf: Path, fg: Path) -> None:
    hidden, head, layers = 64, 16, 3
    expected = {
        "embedding": 160 * hidden,
        "attention": layers * (2 * hidden * hidden + 2 * hidden * 2 * head),
        "feed-forward": layers * 3 * hidden * 96,
        "norms": hidden + layers * 2 * (hidden + head),
        "head": 160 * hidden,
    }
    for directory in (hf, fg):
        found = inspect(directory)
        assert parameters(found) == expected
        assert found.parameters == sum(expected.values())
        assert found.num_bytes == 4 * found.parameters


def test_names_tell_the_components_without_a_converter(hf: Path) -> None:
    found = inspect(hf, ConvertOptions(use_plugins=False))
    assert found.converter is None
    assert [problem for problem in found.problems if "qwen3" in problem] != []
    assert parameters(found) == parameters(inspect(hf))


def test_forgather_model(fg: Path) -> None:
    found = inspect(fg)
    assert found.problems == ()
    assert found.is_forgather is True
    assert found.model_type == "qwen3"
    assert found.window is not None
    assert found.origin is not None
    assert found.origin.tool["converter"] == found.converter.origin if found.converter else False
    assert found.origin.options == {"max_length": 512}
    assert found.origin.keeps_layout
    assert found.origin.edited == ()


def test_edited_code_and_a_damaged_provenance_are_named(fg: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(fg, tmp_path / "fg"))
    code = next(directory.glob("modeling_*.py"))
    code.write_text(code.read_text() + "\n# Edited.\n")
    found = inspect(directory)
    assert found.origin is not None
    assert found.origin.edited == (code.name,)
    (directory / "forgather_conversion.json").write_text("{}")
    assert any(
        "forgather_conversion.json is damaged" in text for text in inspect(directory).problems
    )


def test_checkpoints_are_listed_with_what_each_holds(fg: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(fg, tmp_path / "fg"))
    names = {
        "checkpoint-5": ["model.safetensors", "optimizer.pt"],
        "checkpoint-10": ["adapter_model.safetensors", "adapter_config.json"],
        "checkpoint-20": ["global_step20", "zero_to_fp32.py"],
        "checkpoint-30": ["__0_0.distcp", ".metadata"],
        "checkpoint-40": [],
        "checkpoint-50": ["optimizer.pt", "scheduler.pt"],
    }
    for name, files in names.items():
        (directory / name).mkdir()
        for file in files:
            (directory / name / file).write_bytes(b"x" * 10)
    found = inspect(directory)
    contents = {checkpoint.step: checkpoint.contents for checkpoint in found.checkpoints}
    assert contents == {
        50: (CheckpointKind.TRAINING_STATE,),
        40: (),
        30: (CheckpointKind.DISTRIBUTED,),
        20: (CheckpointKind.DEEPSPEED,),
        10: (CheckpointKind.ADAPTERS,),
        5: (CheckpointKind.WEIGHTS, CheckpointKind.TRAINING_STATE),
    }
    assert not any(checkpoint.is_converted for checkpoint in found.checkpoints)
    assert "Checkpoint not found" in found.problems[0]
    # What the model itself has is told all the same.
    assert found.model_type == "qwen3"
    assert "feed-forward" in parameters(found)


def test_the_checkpoint_that_is_converted_is_marked(fg: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(fg, tmp_path / "fg"))
    for number in (3, 7):
        shutil.copytree(fg, directory / f"checkpoint-{number}")
    found = inspect(directory)
    assert [(item.step, item.is_converted) for item in found.checkpoints] == [(7, True), (3, False)]
    assert found.weights == directory / "checkpoint-7"
    chosen = inspect(directory, ConvertOptions(checkpoint_path=Path("checkpoint-3")))
    assert chosen.weights == directory / "checkpoint-3"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"num_key_value_heads": 3}, "must divide"),
        ({"rope_scaling": {"rope_type": "unheard"}}, "'unheard'"),
        ({"dtype": "int4"}, "int4"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized weights (gptq)"),
        ({"num_hidden_layers": 10**9}, "'num_hidden_layers' is 1000000000"),
        ({"model_type": "unheard"}, "'unheard'"),
    ],
)
def test_what_would_stop_the_conversion_does_not_stop_the_inspection(
    tmp_path: Path, fields: dict[str, object], problem: str
) -> None:
    directory = write_sparse_llama(tmp_path / "hf", num_layers=2)
    edit_config(directory, **fields)
    found = inspect(directory)
    assert any(problem in text for text in found.problems), found.problems
    assert found.parameters > 0
    assert found.is_forgather is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("architectures", -1),
        ("num_attention_heads", "\x1b[2J"),
        ("rope_parameters", {"full_attention": {"rope_type": []}}),
        ("rope_theta", [1]),
        ("max_position_embeddings", float("nan")),
        ("vocab_size", 10**30),
        ("layer_types", {"a": 1}),
        ("auto_map", 7),
    ],
)
def test_values_of_any_type_are_no_bug(
    hf: Path, fg: Path, tmp_path: Path, name: str, value: object
) -> None:
    for model in (hf, fg):
        directory = Path(shutil.copytree(model, tmp_path / model.name))
        edit_config(directory, **{name: value})
        result = forgather("inspect", directory)
        assert result.returncode == 0
        assert result.stderr == ""
        assert "\x1b" not in result.stdout


def test_quantized_model_is_described(tmp_path: Path) -> None:
    directory = write_sparse_llama(tmp_path / "hf", num_layers=2, is_quantized=True)
    found = inspect(directory)
    assert found.quantization == "fp8"
    assert any("--dequantize" in text for text in found.problems)
    assert set(found.stored_dtypes) == {"bfloat16", "float8_e4m3fn", "float32"}
    found = inspect(directory, ConvertOptions(dequantize=True))
    assert found.quantization == "fp8"
    assert found.problems == ()


def test_tensors_without_a_place_are_remarked(tmp_path: Path) -> None:
    directory = write_sparse_llama(tmp_path / "hf", num_layers=1)
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"input_layernorm", b"other_layernorm"))
    (remark,) = inspect(directory).remarks
    assert "model.layers.0.other_layernorm.weight" in remark


def test_damaged_weights_leave_the_config(tmp_path: Path) -> None:
    directory = write_sparse_llama(tmp_path / "hf", num_layers=1)
    (directory / "model.safetensors").write_bytes(b"\xff" * 100)
    found = inspect(directory)
    assert len(found.problems) == 1
    assert "model.safetensors" in found.problems[0]
    assert found.tensors == ()
    assert found.dimensions["hidden_size"] == 1024


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    directory = write_sparse_llama(tmp_path / "hf", num_layers=1)
    os.mkfifo(directory / "tokenizer.json")
    assert any("a named pipe" in text for text in inspect(directory).problems)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "has no config.json"),
        ({"config.json": "{"}, "cannot be read as JSON"),
        ({"notes.txt": "Nothing."}, "has no config.json"),
    ],
    ids=["empty", "damaged", "other"],
)
def test_what_is_no_model_is_one_error(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    with pytest.raises(SourceError, match=problem):
        inspect(directory)
    result = forgather("inspect", directory)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("ERROR") == 1


@pytest.mark.parametrize("text", ["{", '{"model": {"vocab": {"a": }}}', '{"added_tokens": [{]}'])
def test_damaged_tokenizer_is_a_problem(tmp_path: Path, text: str) -> None:
    directory = write_sparse_llama(tmp_path / "hf", num_layers=1)
    (directory / "tokenizer.json").write_text(text)
    found = inspect(directory)
    assert found.vocabulary.tokens is None
    assert (found.problems != ()) == (text != "{")


def test_carried_tensors_are_named(fg: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(fg, tmp_path / "fg"))
    for number, name in enumerate(("model.layers.3.eh_proj.weight", "mtp.scale"), 1):
        save_file(
            {name: torch.ones(number, 4)},
            directory / f"forgather_carried-0000{number}-of-00002.tensors",
        )
    result = forgather("inspect", directory)
    assert (
        "2 tensors that the model itself does not use (48 B): model.layers.3.eh_proj.weight, "
        "mtp.scale" in result.stdout
    )
    first, second = json.loads(forgather("inspect", "--json", directory).stdout)["carried"]
    assert first["name"] == "model.layers.3.eh_proj.weight"
    assert second == {
        "name": "mtp.scale",
        "dtype": "float32",
        "shape": [2, 4],
        "file": "forgather_carried-00002-of-00002.tensors",
        "bytes": 32,
    }
    assert json.loads(forgather("inspect", "--json", fg).stdout)["carried"] == []


def test_missing_carried_tensors_are_a_problem(fg: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(fg, tmp_path / "fg"))
    provenance = json.loads((directory / "forgather_conversion.json").read_text())
    provenance["carried_tensors"] = ["forgather_carried.tensors"]
    (directory / "forgather_conversion.json").write_text(json.dumps(provenance))
    (problem,) = inspect(directory).problems
    assert "lacks forgather_carried.tensors" in problem
    assert "--drop-unused" in problem


def test_files_that_are_links_to_elsewhere_are_named(tmp_path: Path) -> None:
    directory = write_sparse_llama(tmp_path / "hf", num_layers=1)
    (tmp_path / "secret").write_text("password")
    (directory / "NOTICE").symlink_to("../secret")
    (directory / "README.md").write_text("Of its own.")
    (directory / "model.safetensors").rename(tmp_path / "weights")
    (directory / "model.safetensors").symlink_to(tmp_path / "weights")
    found = inspect(directory)
    assert found.links_out == {"NOTICE": tmp_path / "secret"}
    assert found.problems == ()
    result = forgather("inspect", directory)
    assert f"NOTICE: a link to {tmp_path / 'secret'} (copied with --follow-links)" in result.stdout
    content = json.loads(forgather("inspect", "--json", directory).stdout)
    assert content["links_out"] == {"NOTICE": str(tmp_path / "secret")}


# Tensors


def ref(name: str, *shape: int, dtype: str = "bfloat16") -> TensorRef:
    return TensorRef(name, dtype, shape, Path("model.safetensors"), 0)


def names(*refs: TensorRef) -> list[tuple[str, int]]:
    return [(group.name, group.count) for group in group_tensors(refs)]


def test_layers_are_one_line() -> None:
    layers = [ref(f"model.layers.{n}.q.weight", 4, 4) for n in (0, 1, 2, 5)]
    assert names(ref("embed.weight", 8, 4), *layers) == [
        ("embed.weight", 1),
        ("model.layers.{0..2,5}.q.weight", 4),
    ]


def test_layers_of_another_shape_or_dtype_are_another_line() -> None:
    assert names(
        ref("layers.0.q", 4), ref("layers.1.q", 5), ref("layers.2.q", 4, dtype="float32")
    ) == [("layers.0.q", 1), ("layers.1.q", 1), ("layers.2.q", 1)]


def test_experts_of_layers_are_one_line_where_all_have_the_same() -> None:
    experts = [
        ref(f"layers.{n}.experts.{e}.w", 4) for n in range(3) for e in range(4 + 2 * (n > 1))
    ]
    assert names(*experts) == [
        ("layers.{0..1}.experts.{0..3}.w", 8),
        ("layers.2.experts.{0..5}.w", 6),
    ]


def test_what_is_no_number_of_a_layer_stays() -> None:
    found = [ref("layers.01.w"), ref("{}.1.w"), ref("layers.1234567890123.w")]
    assert names(*found) == [("layers.01.w", 1), ("{}.1.w", 1), ("layers.1234567890123.w", 1)]


# The command


def test_command(hf: Path) -> None:
    result = forgather("inspect", hf, "--tensors")
    assert result.returncode == 0, result.stderr
    assert "Hugging Face, qwen3, Qwen3ForCausalLM" in result.stdout
    assert "12, in 1 of 3 layers" in result.stdout
    assert "no problems found" in result.stdout
    assert "\nmodel.layers.{0..2}.self_attn.q_proj.weight f32 [64, 64]\n" in result.stdout


def test_json(fg: Path) -> None:
    content = json.loads(forgather("inspect", fg, "--tensors", "--json").stdout)
    assert content["format"] == "Forgather"
    assert content["problems"] == []
    assert content["window"] == {"length": 12, "layers": 1}
    assert content["components"]["head"] == {"parameters": 160 * 64, "bytes": 4 * 160 * 64}
    assert sum(group["count"] for group in content["tensors"]) == content["num_tensors"]


def test_names_and_values_cannot_command_the_terminal(tmp_path: Path) -> None:
    directory = write_sparse_llama(tmp_path / "hf", num_layers=1)
    edit_config(directory, architectures=["\x1b[2J", "a\nConversion  fine"], rope_scaling="\x1b]0;")
    (directory / "\x1b[31m.txt").write_text("")
    result = forgather("inspect", directory, "--tensors")
    assert "\x1b" not in result.stdout + result.stderr
    assert "\\x1b[2J" in result.stdout
    assert "\nConversion  fine" not in result.stdout


def test_neither_torch_nor_transformers_is_imported(hf: Path, fg: Path) -> None:
    """Nor anything else that takes long; in a process of its own, for both kinds of models."""
    program = (
        "import sys\n"
        "from forgather_convert import inspect\n"
        "print([inspect(path).problems for path in sys.argv[1:]])\n"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, hf, fg], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[(), ()]\n[]\n"


def test_tied_head_is_not_stored(tmp_path: Path) -> None:
    directory = write_hf_model(tmp_path / "hf", variant("llama-tied"))
    found = inspect(directory)
    assert found.is_tied is True
    assert "head" not in parameters(found)
    assert "tied to the embedding, not stored" in forgather("inspect", directory).stdout
