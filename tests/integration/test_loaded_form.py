"""Weights in the form that transformers 5 has in memory (``save_original_format=False``)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgather_convert import (
    ConvertOptions,
    MappingError,
    hf_weights,
    load_hf_weights,
    save_as_hf,
)
from forgather_convert.compare.verify import VerifyOptions, verify
from forgather_convert.models.opening import ModelRequest, open_model
from forgather_convert.planning.early_weights import plan_early_weights
from forgather_convert.planning.request import PlanRequest
from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.tensors.expressions import Stored
from forgather_convert.testing.capabilities import IS_OLDER
from forgather_convert.testing.converted import Family
from forgather_convert.testing.directories import differences
from forgather_convert.testing.models import read_json, read_weights, write_json, write_model
from forgather_convert.testing.running import load_forgather, logits, prompt, unequal
from forgather_convert_mistral.mixtral import Mixtral
from support.composites import rename_tensors

only_on_version_5 = pytest.mark.skipif(IS_OLDER, reason="transformers 4 has one form")
FIELDS = Mixtral().get_tiny_configs()["plain"]
_EXPERTS = "causal_lm.layer_stack.layers.0.feedforward.experts.gate_up_proj"
_IN_MEMORY = "model.layers.0.mlp.experts.gate_up_proj"
_ONE_SAVED = "model.layers.0.block_sparse_moe.experts.0.w1.weight"


def in_memory_form(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A Mixtral's weights as transformers 5 has them in memory, without transformers."""
    made = {name.replace("block_sparse_moe", "mlp"): each for name, each in state.items()}
    for layer in range(FIELDS["num_hidden_layers"]):
        experts = f"model.layers.{layer}.mlp.experts"
        gates, downs, ups = (
            [
                made.pop(f"{experts}.{number}.{name}.weight")
                for number in range(FIELDS["num_local_experts"])
            ]
            for name in ("w1", "w2", "w3")
        )
        pairs = zip(gates, ups, strict=True)
        made[f"{experts}.gate_up_proj"] = torch.stack([torch.cat(pair) for pair in pairs])
        made[f"{experts}.down_proj"] = torch.stack(downs)
    return made


@pytest.fixture
def family() -> Family:
    return Family(Mixtral())


@pytest.fixture
def saved(family: Family, tmp_path: Path) -> Path:
    """A Mixtral in the form of checkpoints."""
    return write_model(tmp_path / "saved", family.hooks, FIELDS, "bfloat16")


@pytest.fixture
def source(saved: Path, tmp_path: Path) -> Path:
    """The same in the form in memory."""
    source = tmp_path / "hf"
    source.mkdir()
    for name in ("config.json", "generation_config.json"):
        (source / name).write_bytes((saved / name).read_bytes())
    state = in_memory_form(load_file(saved / "model.safetensors"))
    save_file(state, source / "model.safetensors", metadata={"format": "pt"})
    return source


@pytest.fixture
def fg(family: Family, source: Path, tmp_path: Path) -> Path:
    """The latter, converted."""
    return family.convert(source, tmp_path / "fg")


def changed(directory: Path, changes: dict[str, torch.Tensor | None]) -> None:
    """Changes some tensors of a directory; ``None`` removes one."""
    path = directory / "model.safetensors"
    state = {**load_file(path), **changes}
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    save_file(kept, path, metadata={"format": "pt"})


@only_on_version_5
def test_it_is_what_transformers_saves(
    family: Family, saved: Path, source: Path, tmp_path: Path
) -> None:
    model = family.load_hf(saved, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "model", save_original_format=False)
    assert unequal(read_weights(tmp_path / "model"), read_weights(source)) == []


@only_on_version_5
def test_weights_are_copied(family: Family, saved: Path, source: Path, fg: Path) -> None:
    """Experts that are stored together are not taken apart."""
    for directory in (source, fg):
        plan = family.plan(directory)
        assert all(isinstance(tensor.expression, Stored) for tensor in plan.tensors)
    assert (
        unequal(read_weights(fg), read_weights(family.convert(saved, fg.with_name("same")))) == []
    )


@only_on_version_5
def test_several_files(family: Family, saved: Path, tmp_path: Path) -> None:
    """With an index, as ``save_pretrained`` divides them."""
    source = tmp_path / "several"
    model = family.load_hf(saved, dtype=torch.bfloat16)
    model.save_pretrained(source, save_original_format=False, max_shard_size="50KB")
    assert len([*source.glob("*.safetensors")]) > 1
    fg = family.convert(source, tmp_path / "fg", logit_check=True)
    back = family.convert(fg, tmp_path / "back", logit_check=True)
    assert differences(source, back) == []


@only_on_version_5
@pytest.mark.parametrize(
    "options", [{"dtype": "float32"}, {"max_shard_size": 50_000}, {"weights_format": "pytorch"}]
)
def test_other_files(
    family: Family, source: Path, fg: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    """The form does not depend on how the weights are written."""
    back = family.convert(fg, tmp_path / "back", **options)
    state: dict[str, torch.Tensor] = {}
    for path in [*back.glob("*.safetensors"), *back.glob("*.bin")]:
        state |= load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    expected = read_weights(source)
    if "dtype" in options:
        expected = {name: tensor.float() for name, tensor in expected.items()}
    assert unequal(state, expected) == []


@only_on_version_5
def test_after_training(family: Family, source: Path, fg: Path, tmp_path: Path) -> None:
    """Trained experts are in the same form, too."""
    experts = load_file(fg / "model.safetensors")[_EXPERTS]
    changed(fg, {_EXPERTS: experts * 2})
    back = family.convert(fg, tmp_path / "back", logit_check=True)
    assert differences(source, back) == ["differs: model.safetensors"]
    assert torch.equal(load_file(back / "model.safetensors")[_IN_MEMORY], experts * 2)
    hf, trained = (
        logits(model, prompt(FIELDS))
        for model in (
            family.load_hf(back, dtype=torch.bfloat16),
            load_forgather(fg, dtype=torch.bfloat16),
        )
    )
    assert torch.equal(hf, trained)


@only_on_version_5
def test_a_base_model(family: Family, tmp_path: Path) -> None:
    """Its tensors lack the prefix, and its head is the embedding."""
    fields = {**FIELDS, "tie_word_embeddings": True}
    saved = write_model(tmp_path / "saved", family.hooks, fields, "bfloat16")
    source = tmp_path / "hf"
    family.load_hf(saved, dtype=torch.bfloat16).save_pretrained(source, save_original_format=False)
    rename_tensors(source, lambda name: name.removeprefix("model."))
    fg = family.convert(source, tmp_path / "fg", logit_check=True)
    assert differences(source, family.convert(fg, tmp_path / "back")) == []


@only_on_version_5
def test_linked(family: Family, source: Path, tmp_path: Path) -> None:
    """The weights need not be written at all."""
    fg = family.convert(source, tmp_path / "linked", logit_check=True, link="hard")
    assert differences(source, family.convert(fg, tmp_path / "back")) == []


@only_on_version_5
def test_in_memory(family: Family, saved: Path, source: Path, fg: Path, tmp_path: Path) -> None:
    """Directories are in the original's form; programs get the names of checkpoints."""
    model = load_forgather(fg, dtype=torch.bfloat16)
    save_as_hf(model, tmp_path / "back")
    assert differences(source, tmp_path / "back") == []
    assert unequal(dict(hf_weights(model)), read_weights(saved)) == []
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_hf_weights(model, source)
    assert unequal(model.state_dict(), expected) == []


@only_on_version_5
@pytest.mark.parametrize("other", ["saved", "fg"])
def test_verified(source: Path, saved: Path, fg: Path, other: str) -> None:
    """Both forms are one model."""
    result = verify(source, {"saved": saved, "fg": fg}[other], VerifyOptions())
    assert result.are_equal
    assert result.tensors is not None
    assert result.tensors.num_identical > 0


@only_on_version_5
def test_two_forms_in_one_directory_are_refused(
    family: Family, saved: Path, source: Path, tmp_path: Path
) -> None:
    changed(source, {_ONE_SAVED: load_file(saved / "model.safetensors")[_ONE_SAVED]})
    with pytest.raises(MappingError, match="has others in the form of checkpoints") as error:
        family.convert(source, tmp_path / "fg")
    assert _ONE_SAVED in str(error.value)
    assert "Save the model again" in str(error.value)


@only_on_version_5
def test_missing_tensors_are_refused(family: Family, source: Path, tmp_path: Path) -> None:
    changed(source, {_IN_MEMORY: None})
    with pytest.raises(MappingError, match="missing"):
        family.convert(source, tmp_path / "fg")


@only_on_version_5
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_another_shape_is_refused(family: Family, source: Path, dim: int, tmp_path: Path) -> None:
    """More experts than in the config would else be left out."""
    experts = load_file(source / "model.safetensors")[_IN_MEMORY]
    changed(source, {_IN_MEMORY: torch.cat([experts, experts], dim)})
    with pytest.raises(MappingError, match="has the shape"):
        family.convert(source, tmp_path / "fg")


@only_on_version_5
def test_quantized_weights_are_refused(family: Family, source: Path, tmp_path: Path) -> None:
    config = read_json(source / "config.json")
    quantization = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    write_json(source / "config.json", {**config, "quantization_config": quantization})
    with pytest.raises(MappingError, match="quantized") as error:
        family.convert(source, tmp_path / "fg", dequantize=True)
    assert "save_original_format=False" in str(error.value)


@pytest.mark.skipif(not IS_OLDER, reason="transformers 5 knows the form")
def test_version_4_refuses_what_it_cannot_read(
    family: Family, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(MappingError, match="with transformers 5") as error:
        family.convert(source, tmp_path / "fg")
    assert "model.layers.{0..1}.mlp.experts.gate_up_proj\n" in str(error.value)
    assert "embed_tokens" not in str(error.value)


@pytest.mark.skipif(not IS_OLDER, reason="transformers 5 knows the form")
def test_version_4_gives_the_form_of_checkpoints_back(
    family: Family, saved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It could not load any other."""
    fg = family.convert(saved, tmp_path / "fg")
    path = fg / PROVENANCE_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "in_loaded_form": True}), encoding="utf-8")
    back = family.convert(fg, tmp_path / "back", logit_check=True)
    assert unequal(read_weights(back), read_weights(saved)) == []
    assert "another version of transformers" in caplog.text


def test_nothing_is_written_before_the_form_is_known(source: Path, tmp_path: Path) -> None:
    """Names alone do not tell experts in another form from tensors that are merely copied."""
    request = open_model(ModelRequest(source, ConvertOptions()))
    assert plan_early_weights(PlanRequest(request, tmp_path / "fg", None)) is None
