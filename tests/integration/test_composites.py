"""Models of images and text: the text model is converted, and the rest is copied unchanged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoProcessor, PreTrainedTokenizerBase

from forgather_convert import (
    ConvertOptions,
    SourceError,
    convert,
    hf_weights,
    load_hf_weights,
    save_as_hf,
)
from forgather_convert.compare.verify import VerifyOptions, verify
from forgather_convert.families.transformers_classes import is_known_type
from forgather_convert.testing.models import read_json, write_json
from forgather_convert.testing.tokenizer import write_tokenizer
from support.command import forgather, run_convert
from support.composites import rename_tensors, write_composite
from support.converting import convert_unchecked, edit_config, read_config
from support.directories import differences

pytestmark = pytest.mark.version_independent

_CARRIED = "forgather_carried.tensors"
_NORM = "causal_lm.layer_stack.layer_norm.weight"


def _trained(directory: Path, target: Path) -> torch.Tensor:
    """Writes a model's weights elsewhere, with another last norm, which is returned."""
    state = load_file(directory / "model.safetensors")
    state[_NORM] = state[_NORM] + 1
    target.mkdir(exist_ok=True)
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    return state[_NORM]


def _last_norm(composite: Path) -> torch.Tensor:
    state = load_file(composite / "model.safetensors")
    (name,) = (name for name in state if name.endswith("model.norm.weight"))
    return state[name]


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    """A Gemma 3 with images."""
    return write_composite(tmp_path / "hf", "gemma3")


@pytest.fixture
def fg(hf: Path, tmp_path: Path) -> Path:
    """The same, converted."""
    return convert_unchecked(hf, tmp_path / "fg")


@pytest.mark.parametrize("place", [".", "checkpoint-7", "checkpoints/checkpoint-7"])
def test_after_training(hf: Path, fg: Path, tmp_path: Path, place: str) -> None:
    """Trained weights, in the directory or in a checkpoint, and everything else as it was."""
    (fg / place).parent.mkdir(exist_ok=True)
    trained = _trained(fg, fg / place)
    run_convert(fg, tmp_path / "back")
    assert torch.equal(_last_norm(tmp_path / "back"), trained)
    assert differences(hf, tmp_path / "back") == ["differs: model.safetensors"]
    before, after = (load_file(path / "model.safetensors") for path in (hf, tmp_path / "back"))
    assert [name for name in before if not torch.equal(before[name], after[name])] == [
        name for name in before if name.endswith("model.norm.weight")
    ]


@pytest.mark.parametrize("names", ["old", "new"])
def test_old_and_new_names(hf: Path, tmp_path: Path, names: str) -> None:
    """Transformers reads both, and the names in the files come back."""

    def new(name: str) -> str:
        name = name.removeprefix("language_model.")
        if name.startswith("lm_head."):
            return name
        return (
            name.replace("model.", "model.language_model.", 1)
            if name.startswith("model.")
            else f"model.{name}"
        )

    if names == "new":
        rename_tensors(hf, new)
    run_convert(hf, tmp_path / "fg")
    for options in ((), ("--max-shard-size", "50kB")):
        run_convert(*options, tmp_path / "fg", tmp_path / f"back{len(options)}")
    assert differences(hf, tmp_path / "back0") == []
    parts = [load_file(path) for path in (tmp_path / "back2").glob("*.safetensors")]
    assert len(parts) > 1
    assert {name for part in parts for name in part} == {*load_file(hf / "model.safetensors")}


def test_a_config_without_a_text_config(tmp_path: Path) -> None:
    """As Qwen2.5-VL was published: all fields side by side, and the text model's own names."""
    hf = write_composite(tmp_path / "hf", "qwen2_5_vl")
    config = read_config(hf)
    text = config.pop("text_config")
    for name in ("model_type", "architectures", "rope_parameters", "dtype"):
        text.pop(name, None)
    mrope = {"type": "mrope", "mrope_section": [2, 3, 3]}
    write_json(hf / "config.json", {**text, **config, "rope_theta": 1e6, "rope_scaling": mrope})
    rename_tensors(
        hf,
        lambda name: name.replace("model.language_model.", "model.").replace(
            "model.visual", "visual"
        ),
    )
    assert "model.norm.weight" in load_file(hf / "model.safetensors")
    run_convert(hf, tmp_path / "fg")
    run_convert(tmp_path / "fg", tmp_path / "back")
    assert differences(hf, tmp_path / "back") == []
    run_convert("--max-length", "96", tmp_path / "fg", tmp_path / "longer")
    longer = read_config(tmp_path / "longer")
    assert longer["max_position_embeddings"] == 96
    assert longer.keys() - {"rope_parameters"} == read_config(hf).keys()


def test_no_loader_finds_what_is_carried(fg: Path) -> None:
    """With the names of a processor's files, a loader would expect a model of images."""
    names = {path.name for path in fg.iterdir()}
    assert {_CARRIED, "forgather_carried.preprocessor_config.json"} <= names
    assert not {"preprocessor_config.json", "processor_config.json"} & names
    assert not any("vision" in name for name in load_file(fg / "model.safetensors"))


def test_in_memory(hf: Path, fg: Path, tmp_path: Path) -> None:
    """The text model in memory is saved with all that its directory carries along."""
    model = AutoModelForCausalLM.from_pretrained(fg, trust_remote_code=True, dtype="auto")
    save_as_hf(model, tmp_path / "back")
    assert differences(hf, tmp_path / "back") == []
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    save_as_hf(model, tmp_path / "trained")
    assert torch.equal(
        _last_norm(tmp_path / "trained"), model.causal_lm.layer_stack.layer_norm.weight
    )
    own = {value.data_ptr() for value in model.parameters()}
    assert {value.data_ptr() for _, value in hf_weights(model)} == own
    load_hf_weights(model, hf)
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_weights_saved_elsewhere(hf: Path, fg: Path, tmp_path: Path) -> None:
    """They lack the other parts; the original, or the Forgather model, has these."""
    saved = tmp_path / "saved"
    model = AutoModelForCausalLM.from_pretrained(fg, trust_remote_code=True, dtype="auto")
    model.save_pretrained(saved)
    trained = _trained(saved, saved)
    result = forgather("convert", saved, tmp_path / "back")
    assert result.returncode == 1
    assert "--base ORIGINAL" in result.stderr
    for base in (hf, fg):
        back = tmp_path / f"back-{base.name}"
        run_convert("--base", base, saved, back)
        assert torch.equal(_last_norm(back), trained)
        assert differences(hf, back) == ["differs: model.safetensors"]


def test_a_base_of_another_type(fg: Path, tmp_path: Path) -> None:
    other = write_composite(tmp_path / "llava", "llava")
    result = forgather("convert", "--base", other, fg, tmp_path / "back")
    assert result.returncode == 1
    assert "is a model of the type 'llava', not 'gemma3'" in result.stderr


@pytest.mark.parametrize("option", [("--base", "hf"), ("--text-only",)])
def test_options_for_the_other_direction(
    hf: Path, tmp_path: Path, option: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = forgather("convert", *option, hf, tmp_path / "fg")
    assert result.returncode == 1
    assert f"{option[0]} is for Forgather models of composites" in result.stderr


def test_inspect_tells_text_and_carried_apart(hf: Path, fg: Path) -> None:
    for directory in (hf, fg):
        shown = forgather("inspect", directory).stdout
        (carried,) = (line for line in shown.splitlines() if line.startswith("Carried"))
        assert "besides the text model" in carried
        assert "vision_tower" in carried
        assert "no problems found" in shown


def test_verify_compares_both(hf: Path, fg: Path) -> None:
    assert verify(hf, fg).are_equal
    state = load_file(fg / _CARRIED)
    name = next(iter(state))
    state[name] = state[name] + 1
    (fg / _CARRIED).unlink()
    save_file(state, fg / _CARRIED, metadata={"format": "pt"})
    found = verify(hf, fg, VerifyOptions(logit_check=False)).tensors
    assert found is not None
    assert [other.name for other in found.others] == [name]


def test_a_changed_length_is_in_the_text_config(hf: Path, tmp_path: Path) -> None:
    convert(hf, tmp_path / "fg", ConvertOptions(max_length=96))
    convert(tmp_path / "fg", tmp_path / "back")
    before, after = read_config(hf), read_config(tmp_path / "back")
    assert after["text_config"]["max_position_embeddings"] == 96
    assert after.keys() == before.keys()
    assert after["vision_config"] == before["vision_config"]


def test_a_cast(hf: Path, tmp_path: Path) -> None:
    """The text model's weights are cast; what is copied is not."""
    convert(hf, tmp_path / "fg", ConvertOptions(dtype="float32"))
    convert(tmp_path / "fg", tmp_path / "back")
    state = load_file(tmp_path / "back" / "model.safetensors")
    dtypes = {name.startswith("language_model."): state[name].dtype for name in state}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}


@pytest.mark.skipif(not is_known_type("ministral3"), reason="This transformers has no Ministral 3")
def test_another_text_model(tmp_path: Path) -> None:
    """The config tells which of its text models a composite has, in both directions."""
    hf = write_composite(tmp_path / "hf", "mistral3", "ministral3")
    run_convert(hf, tmp_path / "fg")
    assert list((tmp_path / "fg").glob("stepped_attention_*.py"))
    run_convert(tmp_path / "fg", tmp_path / "back")
    assert differences(hf, tmp_path / "back") == []
    run_convert("--text-only", tmp_path / "fg", tmp_path / "text")
    assert read_config(tmp_path / "text")["model_type"] == "ministral3"
    usual = write_composite(tmp_path / "usual", "mistral3")
    run_convert(usual, tmp_path / "usual-fg")
    assert not list((tmp_path / "usual-fg").glob("stepped_attention_*.py"))


def _without_embedding(directory: Path) -> None:
    rename_tensors(directory, lambda name: name.replace("embed_tokens", "embed"))


def _with_another_embedding(directory: Path) -> None:
    path = directory / "model.safetensors"
    state = {**load_file(path), "tower.embed_tokens.weight": torch.zeros(2, 2)}
    save_file(state, path, metadata={"format": "pt"})


def _with_capped_logits(directory: Path) -> None:
    text = {**read_config(directory)["text_config"], "final_logit_softcapping": 3.0}
    edit_config(directory, text_config=text)


def _with_another_text_model(directory: Path) -> None:
    edit_config(
        directory, text_config={**read_config(directory)["text_config"], "model_type": "gemma"}
    )


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_with_capped_logits, "'final_logit_softcapping' is 3.0"),
        (_without_embedding, "has none"),
        (_with_another_embedding, "has several"),
        (_with_another_text_model, "has the type 'gemma'"),
    ],
)
def test_refused(hf: Path, tmp_path: Path, damage: Callable[[Path], None], problem: str) -> None:
    damage(hf)
    result = forgather("convert", hf, tmp_path / "fg")
    assert result.returncode == 1
    assert problem in result.stderr


@pytest.fixture
def with_tokenizer(tmp_path: Path) -> Path:
    """A Gemma 3 with images, with a tokenizer that belongs to a processor."""
    directory = tmp_path / "hf"
    directory.mkdir()
    write_composite(directory, "gemma3", vocab_size=write_tokenizer(directory), pad_token_id=3)
    path = directory / "tokenizer_config.json"
    write_json(path, {**read_json(path), "processor_class": "Gemma3Processor"})
    return directory


def test_the_processor_is_not_loaded(with_tokenizer: Path, tmp_path: Path) -> None:
    """Libraries that ask for a processor get the tokenizer; the original's file comes back."""
    run_convert(with_tokenizer, tmp_path / "fg")
    loaded = AutoProcessor.from_pretrained(tmp_path / "fg", trust_remote_code=True)
    assert isinstance(loaded, PreTrainedTokenizerBase)
    run_convert(tmp_path / "fg", tmp_path / "back")
    assert differences(with_tokenizer, tmp_path / "back") == []


def test_a_changed_tokenizer_of_a_processor(with_tokenizer: Path, tmp_path: Path) -> None:
    """It names the processor again."""
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text("special_tokens: ['<|new|>']\n")
    run_convert("--add-tokens", tokens, with_tokenizer, tmp_path / "fg")
    assert "processor_class" not in read_json(tmp_path / "fg" / "tokenizer_config.json")
    run_convert(tmp_path / "fg", tmp_path / "back")
    back = read_json(tmp_path / "back" / "tokenizer_config.json")
    assert back["processor_class"] == "Gemma3Processor"
    before, after = (
        read_config(directory)["text_config"]["vocab_size"]
        for directory in (with_tokenizer, tmp_path / "back")
    )
    assert after == before + 1


def test_a_base_also_has_the_tokenizer(with_tokenizer: Path, tmp_path: Path) -> None:
    """Where the trained weights were saved without one."""
    fg = convert_unchecked(with_tokenizer, tmp_path / "fg")
    saved = tmp_path / "saved"
    model = AutoModelForCausalLM.from_pretrained(fg, trust_remote_code=True, dtype="auto")
    model.save_pretrained(saved)
    for base in (with_tokenizer, fg):
        back = tmp_path / f"back-{base.name}"
        run_convert("--base", base, saved, back)
        assert differences(with_tokenizer, back) == []


def test_a_head_that_only_the_weights_tell(tmp_path: Path) -> None:
    """A config that does not say whether it is tied means something else in each version."""
    hf = write_composite(tmp_path / "hf", "mistral3")
    text = read_config(hf)["text_config"]
    text.pop("tie_word_embeddings", None)
    edit_config(hf, remove=("tie_word_embeddings",), text_config=text)
    run_convert(hf, tmp_path / "fg")
    assert read_config(tmp_path / "fg")["tie_word_embeddings"] is False
    run_convert(tmp_path / "fg", tmp_path / "back")
    assert differences(hf, tmp_path / "back") == []


def test_an_adapter(hf: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    write_json(adapter / "adapter_config.json", {"peft_type": "LORA"})
    tensors = {"base_model.model.x.lora_A.weight": torch.ones(1)}
    save_file(tensors, adapter / "adapter_model.safetensors")
    result = forgather("convert", "--base", hf, adapter, tmp_path / "fg")
    assert result.returncode == 1
    assert "is a composite ('gemma3'), for which adapters cannot be converted" in result.stderr


def test_without_the_rest(hf: Path, fg: Path, tmp_path: Path) -> None:
    """What was dropped does not come back."""
    result = forgather("convert", "--drop-unused", fg, tmp_path / "back")
    assert result.returncode == 1
    assert "use --text-only" in result.stderr
    dropped = convert_unchecked(hf, tmp_path / "dropped", drop_unused=True)
    result = forgather("convert", dropped, tmp_path / "back")
    assert result.returncode == 1
    assert "--base ORIGINAL" in result.stderr
    run_convert("--base", hf, dropped, tmp_path / "back")
    assert differences(hf, tmp_path / "back") == []


def test_what_was_carried_is_missing(fg: Path, tmp_path: Path) -> None:
    (fg / _CARRIED).unlink()
    with pytest.raises(SourceError, match="--base ORIGINAL"):
        convert(fg, tmp_path / "back")


def test_a_copy_of_the_directory(hf: Path, fg: Path, tmp_path: Path) -> None:
    """Files that the user added come along; those of the processor get their names back."""
    (fg / "notes.txt").write_text("mine")
    shutil.copytree(fg, tmp_path / "copy")
    run_convert(tmp_path / "copy", tmp_path / "back")
    found = differences(hf, tmp_path / "back")
    assert found == [f"only in {tmp_path / 'back'}: notes.txt"]
