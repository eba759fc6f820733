"""Models in memory are saved, streamed and filled as directories are converted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from forgather_convert import (
    ConvertOptions,
    MappingError,
    OptionError,
    UnsupportedModelError,
    ValidationError,
    convert,
    hf_weights,
    load_hf_weights,
    save_as_hf,
)
from forgather_convert.in_memory.live_model import live_model
from forgather_convert.in_memory.saving import LiveCheckpoint, save_live
from forgather_convert.reporting.certificate import describe_certificate
from support.converting import convert_unchecked
from support.directories import differences
from support.models import load_forgather, load_hf, write_hf_model
from support.pairs import Pair
from support.tokenizer_files import write_tokenizer
from support.variants import VOCAB_SIZE, Variant, variant

Pairs = Callable[[Variant, str], Pair]

_TIED = variant("llama-tied")
_PLAIN = variant("qwen3-untied")
_UNCHECKED = ConvertOptions(logit_check=False)


def _trained(directory: Path, **kwargs: Any) -> Any:
    """A loaded model whose parameters have changed."""
    model = load_forgather(directory, **kwargs)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return model


@pytest.mark.parametrize("chosen", [_TIED, _PLAIN], ids=lambda each: each.id)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_saved_model_is_what_a_checkpoint_of_it_becomes(
    convert_once: Pairs, tmp_path: Path, chosen: Variant, dtype: str
) -> None:
    pair = convert_once(chosen, dtype)
    model = _trained(pair.fg)
    save_as_hf(model, tmp_path / "saved")
    model.save_pretrained(tmp_path / "checkpoint")
    options = ConvertOptions(logit_check=False, checkpoint_path=tmp_path / "checkpoint")
    convert(pair.fg, tmp_path / "converted", options)
    assert differences(tmp_path / "saved", tmp_path / "converted") == []


def test_an_unchanged_model_becomes_the_original_byte_for_byte(tmp_path: Path) -> None:
    hf = write_hf_model(tmp_path / "hf", _TIED, "bfloat16", shards=3)
    write_tokenizer(hf)
    (hf / "README.md").write_text("a model\n")
    fg = convert_unchecked(hf, tmp_path / "fg")
    save_as_hf(load_forgather(fg, dtype="auto"), tmp_path / "back")
    assert differences(hf, tmp_path / "back") == []


def test_a_model_without_its_directory_is_saved_as_its_own_files_are_converted(
    tmp_path: Path,
) -> None:
    hf = write_hf_model(tmp_path / "hf", _PLAIN, "float32")
    fg = convert_unchecked(hf, tmp_path / "fg")
    model = load_forgather(fg)
    shutil.rmtree(fg)
    write_tokenizer(hf)
    tokenizer = transformers.AutoTokenizer.from_pretrained(hf)
    save_as_hf(model, tmp_path / "saved", tokenizer)
    model.save_pretrained(fg)
    tokenizer.save_pretrained(fg)
    convert_unchecked(fg, tmp_path / "converted")
    assert differences(tmp_path / "saved", tmp_path / "converted") == []
    assert (tmp_path / "saved" / "tokenizer.json").is_file()


def test_a_given_tokenizer_replaces_that_of_the_directory(tmp_path: Path) -> None:
    hf = write_hf_model(tmp_path / "hf", _TIED)
    write_tokenizer(hf)
    fg = convert_unchecked(hf, tmp_path / "fg")
    tokenizer = transformers.AutoTokenizer.from_pretrained(hf)
    tokenizer.chat_template = "{{ messages[-1].content }}"
    save_as_hf(load_forgather(fg), tmp_path / "saved", tokenizer)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for path in (tmp_path / "tokenizer").iterdir():
        assert (tmp_path / "saved" / path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path / "saved" / "tokenizer.model").exists()
    assert (tmp_path / "saved" / "generation_config.json").is_file()


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"weights_format": "pytorch"}], ids=str)
def test_options_of_convert_apply(
    convert_once: Pairs, tmp_path: Path, options: dict[str, Any]
) -> None:
    pair = convert_once(_TIED, "float32")
    model = _trained(pair.fg)
    save_as_hf(model, tmp_path / "saved", options=ConvertOptions(**options))
    model.save_pretrained(tmp_path / "checkpoint")
    given = ConvertOptions(logit_check=False, checkpoint_path=tmp_path / "checkpoint", **options)
    convert(pair.fg, tmp_path / "converted", given)
    assert differences(tmp_path / "saved", tmp_path / "converted") == []


def test_large_models_are_divided_into_the_files_of_save_pretrained(
    convert_once: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _trained(convert_once(_PLAIN, "float32").fg)
    original = type(model).save_pretrained

    def save_pretrained(self: Any, directory: Any, max_shard_size: Any = "20KB", **kw: Any) -> None:
        original(self, directory, max_shard_size=max_shard_size, **kw)

    monkeypatch.setattr(type(model), "save_pretrained", save_pretrained)
    save_live(LiveCheckpoint(live_model(model), None), tmp_path / "saved", _UNCHECKED)
    model.save_pretrained(tmp_path / "fg")
    convert_unchecked(tmp_path / "fg", tmp_path / "converted")
    assert len([*(tmp_path / "fg").glob("*.safetensors")]) > 2
    assert differences(tmp_path / "saved", tmp_path / "converted") == []


@pytest.mark.parametrize("chosen", [_TIED, _PLAIN], ids=lambda each: each.id)
def test_streamed_weights_are_those_of_the_hugging_face_model(
    convert_once: Pairs, tmp_path: Path, chosen: Variant
) -> None:
    pair = convert_once(chosen, "float32")
    model = _trained(pair.fg)
    streamed = dict(hf_weights(model))
    save_as_hf(model, tmp_path / "saved")
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    assert streamed.keys() == stored.keys()
    assert all(torch.equal(streamed[name], stored[name]) for name in stored)
    expected = [name for name in load_hf(pair.hf, chosen.family).state_dict() if name in stored]
    assert [*streamed] == expected


def test_renamed_weights_are_streamed_without_a_copy(convert_once: Pairs) -> None:
    model = load_forgather(convert_once(_PLAIN, "float32").fg)
    weights = dict(hf_weights(model))
    own = {tensor.data_ptr() for tensor in model.parameters()}
    assert {tensor.data_ptr() for tensor in weights.values()} == own


@pytest.mark.parametrize("chosen", [_TIED, _PLAIN], ids=lambda each: each.id)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_filled_model_is_the_converted_one(
    convert_once: Pairs, chosen: Variant, dtype: torch.dtype
) -> None:
    pair = convert_once(chosen, "float32")
    model = _trained(pair.fg, dtype=dtype)
    load_hf_weights(model, pair.hf)
    expected = load_forgather(pair.fg, dtype=dtype).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_a_model_with_an_added_token_is_filled_with_its_row(tmp_path: Path) -> None:
    hf = write_hf_model(tmp_path / "hf", _PLAIN)
    write_tokenizer(hf, pad_token=None)
    fg = convert_unchecked(hf, tmp_path / "fg")
    model = _trained(fg)
    assert model.config.vocab_size == VOCAB_SIZE + 1
    load_hf_weights(model, hf)
    expected = load_forgather(fg).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "fields", [{"rope_theta": 77.0}, {"num_attention_heads": 2}, {"intermediate_size": 80}], ids=str
)
def test_another_model_is_not_loaded(
    convert_once: Pairs, tmp_path: Path, fields: dict[str, Any]
) -> None:
    other = Variant("llama", "other", {**_TIED.fields, **fields})
    if "rope_theta" in fields:
        other = Variant("llama", "other", _TIED.fields, theta=fields["rope_theta"])
    hf = write_hf_model(tmp_path / "hf", other)
    model = _trained(convert_once(_TIED, "float32").fg)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValidationError, match="their configs differ"):
        load_hf_weights(model, hf)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_size_is_not_loaded(convert_once: Pairs) -> None:
    pair = convert_once(_PLAIN, "float32")
    model = load_forgather(pair.fg)
    model.lm_head = torch.nn.Linear(model.config.hidden_size, 7, bias=False)
    with pytest.raises(MappingError, match=r"'lm_head.weight' is \[7, "):
        load_hf_weights(model, pair.hf)


def test_models_that_are_no_forgather_models_are_refused(
    convert_once: Pairs, tmp_path: Path
) -> None:
    pair = convert_once(_TIED, "float32")
    hf = load_hf(pair.hf, "llama")
    for refused in (lambda: hf_weights(hf), lambda: save_as_hf(hf, tmp_path / "out")):
        with pytest.raises(UnsupportedModelError, match="not a Forgather model"):
            refused()
    with pytest.raises(UnsupportedModelError, match="not a model of transformers"):
        hf_weights(torch.nn.Linear(2, 2))
    with pytest.raises(UnsupportedModelError, match="is a Forgather model"):
        load_hf_weights(load_forgather(pair.fg), pair.fg)
    assert not (tmp_path / "out").exists()


def test_models_without_values_are_refused(convert_once: Pairs) -> None:
    model = load_forgather(convert_once(_TIED, "float32").fg)
    with torch.device("meta"):
        empty = type(model)(model.config)
    with pytest.raises(UnsupportedModelError, match=r"has \d+ tensors without values"):
        hf_weights(empty)
    with pytest.raises(UnsupportedModelError, match=r"has \d+ tensors without values"):
        load_hf_weights(empty, convert_once(_TIED, "float32").hf)


def test_a_head_that_should_be_tied_is_refused(convert_once: Pairs) -> None:
    model = load_forgather(convert_once(_TIED, "float32").fg)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with pytest.raises(UnsupportedModelError, match=r"Call tie_weights\(\)"):
        hf_weights(model)


def test_options_of_directories_are_refused(convert_once: Pairs, tmp_path: Path) -> None:
    model = load_forgather(convert_once(_TIED, "float32").fg)
    for options in ({"generation_test": True}, {"checkpoint_path": tmp_path}):
        with pytest.raises(OptionError, match="do not apply to a model in memory"):
            save_as_hf(model, tmp_path / "out", options=ConvertOptions(**options))


def test_wrappers_of_torch_are_seen_through(convert_once: Pairs) -> None:
    model = load_forgather(convert_once(_TIED, "float32").fg)
    assert live_model(torch.compile(model)).module is model


@pytest.mark.parametrize("chosen", [_TIED, _PLAIN], ids=lambda each: each.id)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_are_compared_on_request(
    convert_once: Pairs, tmp_path: Path, chosen: Variant, dtype: str
) -> None:
    model = _trained(convert_once(chosen, dtype).fg).train()
    result = save_as_hf(model, tmp_path / "saved", logit_check=True)
    assert result is not None
    assert describe_certificate(result).startswith("Verified on ")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_result_that_computes_something_else_does_not_appear(
    convert_once: Pairs, tmp_path: Path
) -> None:
    """A model whose code was changed in memory has the same weights."""
    model = _trained(convert_once(_PLAIN, "float32").fg)
    original = type(model).forward

    class Changed(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = original(self, *args, **kwargs)
            output.logits = output.logits * 1.01
            return output

    model.__class__ = Changed
    Changed.__module__, Changed.__name__ = type(model).__mro__[1].__module__, "DynamicCausalLM"
    with pytest.raises(ValidationError, match="differ"):
        save_as_hf(model, tmp_path / "saved", logit_check=True)
    assert not (tmp_path / "saved").exists()
    save_as_hf(model, tmp_path / "saved")
