"""Two directories are compared: any of Hugging Face, Forgather and checkpoints."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgather_convert import (
    ConvertOptions,
    HFConverter,
    Verification,
    VerifyOptions,
    convert,
    verify,
)
from forgather_convert.compare.result import TensorStatus
from forgather_convert_qwen3.qwen3 import Qwen3
from support import wrong_converters as wrong
from support.command import forgather
from support.converting import convert_unchecked, edit_config
from support.models import write_hf_model
from support.tokenizer_files import write_tokenizer
from support.unchecked_configs import skip_config_check, skip_reverse_plan
from support.variants import variant

pytestmark = pytest.mark.version_independent

_PREFIX = "causal_lm.layer_stack.layers"
#: For each wrong converter: fields and tensors that differ; the layer, and the component. Those
#: without are found in the same way as in a conversion's check, where all of them are tried.
WRONG: list[tuple[type[HFConverter], set[str], set[str], tuple[int, str] | None]] = [
    (
        wrong.SwapsQueriesAndKeys,
        set(),
        {
            f"{_PREFIX}.{n}.attention.{name}_linear.weight"
            for n in "01"
            for name in ("query", "key")
        },
        (0, "model.layers.0.self_attn.q_proj"),
    ),
    (
        wrong.SwapsNorms,
        set(),
        {f"{_PREFIX}.{n}.norm{which}.weight" for n in "01" for which in "12"},
        None,
    ),
    (
        wrong.TransposesOutputs,
        set(),
        {f"{_PREFIX}.{n}.attention.output_linear.weight" for n in "01"},
        None,
    ),
    (
        wrong.LosesTheta,
        {"rope_parameters.rope_theta"},
        set(),
        (0, "model.layers.0.self_attn"),
    ),
    (wrong.LosesEpsilon, {"rms_norm_eps"}, set(), None),
    (wrong.LosesWindow, {"layer_types"}, set(), (1, "model.layers.1.self_attn")),
    (wrong.IgnoresHeadNorms, set(), set(), (0, "model.layers.0.self_attn")),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def hf(directory: Path) -> Path:
    return write_hf_model(directory / "hf", wrong.REVEALING)


@pytest.fixture(scope="module")
def fg(directory: Path, hf: Path) -> Path:
    return convert_unchecked(hf, directory / "fg")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a model, to be changed."""

    def copy(model: Path) -> Path:
        return Path(shutil.copytree(model, tmp_path / f"{model.name}-copy"))

    return copy


def weights_only(a: Path, b: Path, **options: Any) -> Verification:
    return verify(a, b, VerifyOptions(logit_check=False, **options))


def different(verification: Verification) -> set[str]:
    assert verification.tensors is not None
    return {
        other.name
        for other in verification.tensors.others
        if other.status is TensorStatus.DIFFERENT
    }


@pytest.mark.parametrize(("a", "b"), [("hf", "fg"), ("fg", "hf"), ("fg", "fg")])
def test_a_model_is_equal_to_what_it_was_converted_to(
    hf: Path, fg: Path, directory: Path, a: str, b: str
) -> None:
    verification = verify(directory / a, directory / b)
    assert verification.are_equal
    assert verification.config == ()
    assert verification.tensors is not None
    assert verification.tensors.num_identical == len(load_file(hf / "model.safetensors"))
    assert verification.tensors.others == ()
    assert verification.logits is not None
    assert [str(limit) for limit in verification.logits.covered] == ["the window of 12"]
    assert verification.first_difference is None


@pytest.mark.parametrize(("converter", "fields", "tensors", "place"), WRONG)
def test_what_a_wrong_converter_made_is_caught_and_located(
    hf: Path,
    tmp_path: Path,
    converter: type[HFConverter],
    fields: set[str],
    tensors: set[str],
    place: tuple[int, str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skip_config_check(monkeypatch)
    skip_reverse_plan(monkeypatch)
    convert(hf, tmp_path / "fg", ConvertOptions(logit_check=False), converter=converter())
    options = VerifyOptions(trust_remote_code=True, logit_check=place is not None)
    verification = verify(hf, tmp_path / "fg", options)
    assert not verification.are_equal
    assert {field.name for field in verification.config} == fields
    assert different(verification) == tensors
    if place is not None:
        first = verification.first_difference
        assert first is not None
        assert (first.layer, first.source) == place
        assert first.input_is_equal


def test_layers_that_are_one_off_differ_in_everything(hf: Path, tmp_path: Path) -> None:
    options = ConvertOptions(logit_check=False)
    convert(hf, tmp_path / "fg", options, converter=wrong.SwapsLayers())
    verification = verify(hf, tmp_path / "fg")
    assert verification.tensors is not None
    assert verification.tensors.num_identical == 3
    first = verification.first_difference
    assert first is not None
    assert (first.layer, first.source) == (0, "model.layers.0.input_layernorm")


def test_head_that_is_not_tied_any_more_is_located(tmp_path: Path) -> None:
    hf = write_hf_model(tmp_path / "hf", variant("llama-tied"))
    fg = convert_unchecked(hf, tmp_path / "fg")
    state = load_file(fg / "model.safetensors")
    embedding = state["causal_lm.input_encoder.embedding.word_embedding.weight"]
    state["lm_head.weight"] = embedding + 0.25
    save_file(state, fg / "model.safetensors", metadata={"format": "pt"})
    edit_config(fg, tie_word_embeddings=False)
    verification = verify(hf, fg)
    assert {field.name for field in verification.config} == {"tie_word_embeddings"}
    assert verification.tensors is not None
    (other,) = verification.tensors.others
    assert (other.name, other.status) == ("lm_head.weight", TensorStatus.EXTRA)
    first = verification.first_difference
    assert first is not None
    assert (first.layer, first.source, first.last_equal) == (None, "lm_head", "model.norm")


def test_norms_of_queries_and_keys_that_are_missing_are_named(
    hf: Path, fg: Path, copied: Callable[[Path], Path]
) -> None:
    other = copied(fg)
    state = load_file(other / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if "q_norm" not in name}
    save_file(kept, other / "model.safetensors", metadata={"format": "pt"})
    verification = verify(hf, other)
    assert verification.tensors is not None
    found = {(entry.name, entry.status) for entry in verification.tensors.others}
    assert found == {(f"{_PREFIX}.{n}.attention.q_norm.weight", TensorStatus.MISSING) for n in "01"}
    assert not verification.are_equal


@pytest.mark.parametrize("turned", [False, True])
def test_a_cast_is_told_from_a_difference(hf: Path, tmp_path: Path, turned: bool) -> None:
    fg = convert_unchecked(hf, tmp_path / "fg", dtype="bfloat16")
    verification = verify(*((fg, hf) if turned else (hf, fg)))
    assert verification.tensors is not None
    statuses = {other.status for other in verification.tensors.others}
    assert statuses == {TensorStatus.EQUAL_AFTER_CAST}
    assert verification.tensors.num_identical == 0
    assert verification.logits is not None
    assert verification.logits.are_equal
    assert verification.are_equal


def test_one_bit_is_seen(hf: Path, fg: Path, copied: Callable[[Path], Path]) -> None:
    other = copied(fg)
    state = load_file(other / "model.safetensors")
    name = f"{_PREFIX}.1.feedforward.up_proj.weight"
    state[name].view(torch.int32)[3, 5] ^= 1
    save_file(state, other / "model.safetensors", metadata={"format": "pt"})
    verification = weights_only(hf, other)
    assert different(verification) == {name}
    assert not verification.are_equal
    assert verification.tensors is not None
    assert 0 < (verification.tensors.others[0].largest or 0) < 1e-6


def test_tensors_of_another_shape_are_not_compared(
    hf: Path, copied: Callable[[Path], Path]
) -> None:
    other = copied(hf)
    state = load_file(other / "model.safetensors")
    state["model.norm.weight"] = state["model.norm.weight"][:5].clone()
    save_file(state, other / "model.safetensors", metadata={"format": "pt"})
    verification = weights_only(hf, other)
    assert verification.tensors is not None
    (entry,) = verification.tensors.others
    assert entry.status is TensorStatus.OTHER_SHAPE
    assert entry.a == ("float32", (32,))
    assert entry.b == ("float32", (5,))


def test_checkpoints_are_models(hf: Path, fg: Path, copied: Callable[[Path], Path]) -> None:
    model = copied(fg)
    for number, factor in ((5, 1), (7, 2)):
        checkpoint = model / f"checkpoint-{number}"
        checkpoint.mkdir()
        state = load_file(fg / "model.safetensors")
        norm = "causal_lm.layer_stack.layer_norm.weight"
        state[norm] = state[norm] * factor
        save_file(state, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert weights_only(hf, model / "checkpoint-5").are_equal
    assert different(weights_only(model / "checkpoint-5", model / "checkpoint-7")) == {norm}
    # The latest one is the model.
    assert weights_only(model, model / "checkpoint-7").are_equal


def test_other_spelling_of_a_config_is_no_difference(
    hf: Path, copied: Callable[[Path], Path]
) -> None:
    other = copied(hf)
    edit_config(other, ("rope_parameters", "dtype"), torch_dtype="float32", unknown=3)
    edit_config(other, rope_theta=500000, rope_scaling=None)
    assert weights_only(hf, other).are_equal


@pytest.mark.parametrize(
    ("pad_token", "problem"), [(None, "only "), ("<s>", None)], ids=["missing", "equal"]
)
def test_tokenizers_are_compared(
    hf: Path, copied: Callable[[Path], Path], tmp_path: Path, pad_token: str | None, problem: str
) -> None:
    one = copied(hf)
    write_tokenizer(one)
    other = Path(shutil.copytree(one, tmp_path / "other"))
    if pad_token is None:
        for path in other.glob("token*"):
            path.unlink()
    tokenizer = weights_only(one, other).tokenizer
    assert tokenizer is not None
    assert (tokenizer.problem or "").startswith(problem or "")
    assert (tokenizer.problem is None) == (problem is None)


def test_other_ids_are_a_difference(
    hf: Path, copied: Callable[[Path], Path], tmp_path: Path
) -> None:
    one = copied(hf)
    write_tokenizer(one)
    other = Path(shutil.copytree(one, tmp_path / "other"))
    path = other / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(content))
    verification = weights_only(one, other)
    assert not verification.are_equal
    assert verification.tokenizer is not None
    assert "in A and id" in (verification.tokenizer.problem or "")


def test_models_of_different_families_are_different(hf: Path, tmp_path: Path) -> None:
    other = write_hf_model(tmp_path / "other", variant("llama-tied"))
    verification = verify(hf, other)
    assert not verification.are_equal
    assert [field.name for field in verification.config] == ["model_type"]
    assert verification.tensors is None


# The command


def test_command_says_what_is_equal(hf: Path, fg: Path) -> None:
    result = forgather("verify", hf, fg)
    assert result.returncode == 0, result.stderr
    assert "25 of 25 tensors identical" in result.stdout
    assert "Logits" in result.stdout
    assert result.stdout.endswith("A and B are equal.\n")
    assert result.stderr == ""


def test_command_exits_with_1_for_a_difference_and_locates_it(
    hf: Path, fg: Path, copied: Callable[[Path], Path]
) -> None:
    other = copied(fg)
    edit_config(other, ("rope_parameters", "rope_scaling"), rope_theta=10000.0)
    result = forgather("verify", hf, other)
    assert result.returncode == 1
    assert "rope_parameters.rope_theta: 500000.0 in A, 10000.0 in B" in result.stdout
    assert "The first difference is in layer 0, in model.layers.0.self_attn (" in result.stdout
    assert result.stdout.endswith("A and B are different.\n")
    content = json.loads(forgather("verify", "--json", hf, other).stdout)
    assert content["equal"] is False
    assert content["first_difference"]["layer"] == 0
    assert content["config"] == [{"field": "rope_parameters.rope_theta", "a": 5e5, "b": 1e4}]


def test_code_that_does_not_run_is_named_once(
    hf: Path, fg: Path, copied: Callable[[Path], Path]
) -> None:
    """However often the model is loaded: here, to find where it differs, too."""
    other = copied(fg)
    edit_config(other, rms_norm_eps=0.5)
    code = next(other.glob("modeling_*.py"))
    code.write_text(code.read_text() + "\n# Edited.\n")
    result = forgather("verify", hf, other)
    assert result.stderr.count(f"The model code in {other} was edited") == 1
    assert "in layer 0, in model.layers.0.input_layernorm" in result.stdout


def test_command_reports_what_is_no_model(hf: Path, tmp_path: Path) -> None:
    result = forgather("verify", hf, tmp_path / "nothing")
    assert result.returncode == 1
    assert "does not exist" in result.stderr
    assert result.stdout == ""


def test_values_cannot_command_the_terminal(hf: Path, copied: Callable[[Path], Path]) -> None:
    other = copied(hf)
    edit_config(other, hidden_act="silu", layer_types=["full_attention", "\x1b[2Jfull"])
    result = forgather("verify", hf, other, "--no-logit-check")
    assert "\x1b" not in result.stdout + result.stderr


def test_given_converter_is_used(hf: Path, fg: Path) -> None:
    assert verify(hf, fg, converter=Qwen3()).a.converter == "given"


def test_initialization_is_no_difference(fg: Path, tmp_path: Path) -> None:
    """The framework's models do not say by which numbers they were made."""
    other = shutil.copytree(fg, tmp_path / "other")
    edit_config(other, initializer_range=0.5)
    verification = verify(fg, other, VerifyOptions(logit_check=False))
    assert verification.config == ()
    (field,) = verification.initialization
    assert (field.name, field.a, field.b) == ("initializer_range", 0.02, 0.5)
    assert verification.are_equal
    result = forgather("verify", "--no-logit-check", fg, other)
    assert result.returncode == 0
    assert "initializer_range: 0.02 in A, 0.5 in B (affects new weights only" in result.stdout
