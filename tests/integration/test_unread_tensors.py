"""Checkpoints as they are found: without a prefix, and with more than the class reads."""

import json
import logging
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

from forgather_convert import (
    ConvertOptions,
    HFConverter,
    MappingError,
    SourceError,
    ValidationError,
    convert,
    plan,
)
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.original_weights import MAX_STORED_BYTES
from forgather_convert.planning import layout
from forgather_convert.tensors.expressions import Stored
from forgather_convert.testing import TINY_DECODER
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import read_weights, write_model, write_weights
from support.early_planning import planned_early
from support.log import logged
from support.models import load_forgather

pytestmark = pytest.mark.version_independent

TIED = {**TINY_DECODER, "tie_word_embeddings": True}
MASK = "model.layers.{}.self_attn.bias"
PREDICTOR = "model.layers.9.eh_proj.weight"
SCALE = "model.layers.9.scale"
CARRIED = "forgather_carried.tensors"


class OldConfig(LlamaConfig):  # type: ignore[misc]
    model_type = "oldllama"


class OldForCausalLM(LlamaForCausalLM):  # type: ignore[misc]
    """A class that passes over causal masks, and over layers for multi-token prediction."""

    config_class = OldConfig
    _keys_to_ignore_on_load_unexpected = [r"self_attn\.bias$", r"model\.layers\.9\."]


class OldConverter(HFConverter):
    model_type = "oldllama"

    def get_hf_model_class(self) -> Any:
        return OldForCausalLM


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    AutoConfig.register("oldllama", OldConfig, exist_ok=True)


def source_with(directory: Path, fields: Mapping[str, Any], change: Any, shards: int = 1) -> Path:
    """A model whose tensors are changed after it was saved."""
    write_model(directory, FamilyHooks(OldConverter(), "test"), fields, "bfloat16")
    state = read_weights(directory)
    (directory / "model.safetensors").unlink()
    write_weights(directory, change(state), shards)
    return directory


def there_and_back(source: Path) -> Path:
    """Both with the logit check."""
    for one, other in (("hf", "fg"), ("fg", "back")):
        convert(source.with_name(one), source.with_name(other), converter=OldConverter())
    return source.with_name("back")


def without_prefix(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("shards", [1, 2])
def test_a_checkpoint_of_the_base_model_comes_back_as_it_was(shards: int, tmp_path: Path) -> None:
    source = source_with(tmp_path / "hf", TIED, without_prefix, shards)
    assert "norm.weight" in read_weights(source)
    assert differences(source, there_and_back(source)) == []


def test_the_same_tensor_by_two_names_is_one_too_many(tmp_path: Path) -> None:
    def twice(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**state, "norm.weight": state["model.norm.weight"] + 1}

    source = source_with(tmp_path / "hf", TIED, twice)
    with pytest.raises(MappingError, match=r"that are not part of it \(1\):\n  norm\.weight"):
        convert(source, tmp_path / "fg", converter=OldConverter())


@pytest.mark.parametrize("shards", [1, 2])
def test_causal_masks_come_back(shards: int, tmp_path: Path) -> None:
    """Some megabytes, of which a kilobyte is kept."""
    mask = torch.ones(1, 1, 1024, 1024, dtype=torch.bool).tril()

    def with_masks(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**state, **{MASK.format(layer): mask.clone() for layer in range(3)}}

    source = source_with(tmp_path / "hf", TINY_DECODER, with_masks, shards)
    with logged(logging.WARNING) as messages:
        assert differences(source, there_and_back(source)) == []
    assert messages == []


def with_predictor(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that are too large for the provenance, and a mask that is not."""
    generator = torch.Generator().manual_seed(1)
    predictor = torch.randn(64, 1024, generator=generator).bfloat16()
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bool).tril()
    return {
        **state,
        PREDICTOR: predictor,
        SCALE: torch.randn(64, 128, generator=generator),
        MASK.format(0): mask,
    }


@pytest.fixture
def predicting(tmp_path: Path) -> Path:
    return source_with(tmp_path / "hf", TINY_DECODER, with_predictor)


def to_forgather(source: Path, **options: Any) -> Path:
    destination = source.with_name("fg")
    convert(source, destination, ConvertOptions(**options), converter=OldConverter())
    return destination


def to_hugging_face(source: Path, name: str = "back", **options: Any) -> Path:
    destination = source.with_name(name)
    convert(source, destination, ConvertOptions(**options), converter=OldConverter())
    return destination


@pytest.mark.parametrize("shards", [1, 2])
def test_layers_that_the_class_does_not_read_come_back(shards: int, tmp_path: Path) -> None:
    """They are in a file that no loader takes for the model's weights."""
    source = source_with(tmp_path / "hf", TINY_DECODER, with_predictor, shards)
    with logged(logging.INFO) as messages:
        assert differences(source, there_and_back(source)) == []
    assert any(
        PREDICTOR in text and "copied for the reverse conversion" in text for text in messages
    )
    fg = tmp_path / "fg"
    assert (load_file(fg / CARRIED)[PREDICTOR] == read_weights(source)[PREDICTOR]).all()
    assert not any(PREDICTOR in load_file(path) for path in fg.glob("*.safetensors"))
    provenance = json.loads((fg / "forgather_conversion.json").read_text())
    assert provenance["carried_tensors"] == [CARRIED]
    assert PREDICTOR not in load_forgather(fg).state_dict()


def test_they_come_back_whatever_the_files_are(predicting: Path, tmp_path: Path) -> None:
    """A source in another format, another division, a cast: they stay as they are."""
    state = read_weights(predicting)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for path in predicting.glob("*.json"):
        (pickled / path.name).write_bytes(path.read_bytes())
    torch.save(state, pickled / "pytorch_model.bin")
    fg = to_forgather(pickled, dtype="float32")
    for name, options in (
        ("divided", {"max_shard_size": 40_000}),
        ("bin", {"weights_format": "pytorch"}),
        ("plain", {}),
    ):
        back = to_hugging_face(fg, name, **options)
        returned = read_weights(back) or torch.load(back / "pytorch_model.bin")
        assert returned.keys() == state.keys()
        assert torch.equal(returned[PREDICTOR], state[PREDICTOR])
        assert returned[PREDICTOR].dtype is torch.bfloat16
        if name == "divided":
            index = json.loads((back / "model.safetensors.index.json").read_text())
            assert index["weight_map"].keys() == state.keys()


def test_large_ones_are_divided(predicting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "DEFAULT_MAX_SHARD_SIZE", 4_000)
    fg = to_forgather(predicting)
    names = [f"forgather_carried-0000{number}-of-00002.tensors" for number in (1, 2)]
    assert sorted(path.name for path in fg.glob("*.tensors")) == names
    monkeypatch.undo()
    assert differences(predicting, to_hugging_face(fg)) == []


def test_they_are_copied_and_not_read_into_memory(predicting: Path, tmp_path: Path) -> None:
    """In both directions the plan is a range of a file."""
    forward = plan(predicting, tmp_path / "fg", converter=OldConverter())
    (shard,) = (shard for shard in forward.shards if shard.file_name == CARRIED)
    assert all(isinstance(tensor.expression, Stored) for tensor in shard.tensors)
    fg = to_forgather(predicting)
    reverse = plan(fg, tmp_path / "back", converter=OldConverter())
    (tensor,) = (tensor for tensor in reverse.tensors if tensor.name == PREDICTOR)
    assert isinstance(tensor.expression, Stored)
    assert fg / CARRIED in reverse.source_states


def test_a_training_has_them_beside_the_model(predicting: Path) -> None:
    """A checkpoint has none of them: they are the model's that it belongs to."""
    fg = to_forgather(predicting)
    checkpoint = fg / "checkpoint-7"
    checkpoint.mkdir()
    for name in ("config.json", "model.safetensors"):
        (checkpoint / name).write_bytes((fg / name).read_bytes())
    back = to_hugging_face(checkpoint)
    assert differences(predicting, back) == []


def test_without_the_file_the_conversion_stops(predicting: Path) -> None:
    fg = to_forgather(predicting)
    (fg / CARRIED).unlink()
    with pytest.raises(SourceError, match=r"lacks forgather_carried\.tensors") as error:
        to_hugging_face(fg)
    assert "--drop-unused" in str(error.value)
    assert PREDICTOR not in read_weights(to_hugging_face(fg, drop_unused=True))


def test_dropping_them_is_a_decision(predicting: Path, tmp_path: Path) -> None:
    with logged(logging.WARNING) as messages:
        fg = to_forgather(predicting, drop_unused=True)
    assert any("--drop-unused" in text and PREDICTOR in text for text in messages)
    assert not list(fg.glob("*.tensors"))
    back = to_hugging_face(fg)
    assert read_weights(back).keys() == read_weights(predicting).keys() - {
        PREDICTOR,
        SCALE,
        MASK.format(0),
    }
    again = to_forgather(predicting.rename(tmp_path / "other"), overwrite=True)
    assert PREDICTOR not in read_weights(to_hugging_face(again, "dropped", drop_unused=True))


def test_a_file_that_is_none_of_the_models_is_refused(predicting: Path) -> None:
    """It comes from anybody, as all of a source does."""
    fg = to_forgather(predicting)
    carried = load_file(fg / CARRIED)
    save_file({**carried, "model.norm.weight": torch.zeros(64)}, fg / CARRIED)
    with pytest.raises(SourceError, match=r"the model's own: model\.norm\.weight"):
        to_hugging_face(fg)
    save_file(carried, fg / CARRIED)
    save_file(carried, fg / "forgather_carried-00002-of-00002.tensors")
    with pytest.raises(SourceError, match="another such file also has"):
        to_hugging_face(fg)
    (fg / CARRIED).write_bytes(b"\0" * 16)
    with pytest.raises(SourceError):
        to_hugging_face(fg)


def test_more_than_there_was_is_not_lost_without_a_word(predicting: Path) -> None:
    """The model does not load without a complaint then, which the check sees."""
    fg = to_forgather(predicting)
    save_file({**load_file(fg / CARRIED), "extra": torch.ones(2)}, fg / CARRIED)
    back = to_hugging_face(fg, "unchecked", logit_check=False)
    assert torch.equal(read_weights(back)["extra"], torch.ones(2))
    with pytest.raises(ValidationError, match=r"extra \(unexpected\)"):
        to_hugging_face(fg)


def test_without_a_provenance_they_come_back_too(predicting: Path) -> None:
    fg = to_forgather(predicting)
    (fg / "forgather_conversion.json").unlink()
    assert PREDICTOR in read_weights(to_hugging_face(fg))


def test_a_source_with_such_a_file(predicting: Path) -> None:
    (predicting / CARRIED).write_text("mine")
    with pytest.raises(SourceError, match="name of a file that the conversion writes"):
        to_forgather(predicting)


def test_what_no_class_passes_over_is_an_error(tmp_path: Path) -> None:
    def with_more(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**state, "model.layers.8.eh_proj.weight": torch.ones(64)}

    source = source_with(tmp_path / "hf", TINY_DECODER, with_more)
    with pytest.raises(MappingError, match="eh_proj"):
        convert(source, tmp_path / "fg", converter=OldConverter())


# transformers 4 refuses a checkpoint of the base model that has a head.
@pytest.mark.parametrize(
    ("fields", "change"), [(TIED, without_prefix), (TINY_DECODER, with_predictor)]
)
def test_they_are_planned_before_the_class_is_known(
    fields: Mapping[str, Any], change: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By names and headers alone, and the class confirms it."""
    source = source_with(tmp_path / "hf", fields, change, shards=2)
    for one, other in (("hf", "fg"), ("fg", "back")):
        places = tmp_path / one, tmp_path / other
        early, planned = planned_early(
            monkeypatch, *places, ConvertOptions(), converter=OldConverter()
        )
        assert early is not None
        assert early.shards == planned.shards
    assert differences(source, tmp_path / "back") == []


def test_a_layer_that_looks_like_the_models_is_carried_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the class knows that it does not read it: what was written early goes away."""
    norm = "model.layers.9.input_layernorm.weight"

    def with_layer(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(2)
        return {**state, norm: torch.randn(100_000, generator=generator)}

    source = source_with(tmp_path / "hf", TINY_DECODER, with_layer, shards=2)
    early, planned = planned_early(
        monkeypatch, source, tmp_path / "fg", ConvertOptions(), converter=OldConverter()
    )
    assert early is not None
    assert early.shards != planned.shards
    assert {path.name for path in (tmp_path / "fg").iterdir()} == {*planned.file_names}
    assert load_file(tmp_path / "fg" / CARRIED).keys() == {norm}
    to_hugging_face(tmp_path / "fg")
    assert differences(source, tmp_path / "back") == []


def test_no_layer_is_compressed_to_see_whether_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes minutes for one of common size; what is kept is small."""
    source = source_with(tmp_path / "hf", TINY_DECODER, with_predictor)
    sizes: list[int] = []
    compress = lzma.compress

    def note(data: bytes, container: int, *, preset: int) -> bytes:
        packed = compress(data, container, preset=preset)
        sizes.append(len(data) if len(packed) > MAX_STORED_BYTES else 0)
        return packed

    monkeypatch.setattr(lzma, "compress", note)
    to_forgather(source, logit_check=False)
    assert 0 < max(sizes) <= 4 * MAX_STORED_BYTES
