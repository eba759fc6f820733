"""A newest checkpoint that cannot be read stops the conversion, with the cause and the remedy."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import SourceError, UnsupportedModelError, plan
from support.checkpoints import Checkpoints
from support.converting import convert_unchecked
from support.models import write_hf_model, write_weights
from support.pairs import Pair
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

_LLAMA = variant("llama-default")


@pytest.fixture
def checkpoints(convert_once: Callable[[Variant, str], Pair], tmp_path: Path) -> Checkpoints:
    return Checkpoints(shutil.copytree(convert_once(_LLAMA, "float32").fg, tmp_path / "fg"))


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


def _optimizer_only(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "optimizer.pt")
    (directory / "training_args.bin").touch()


def _truncated(directory: Path) -> None:
    path = directory / "model.safetensors"
    os.truncate(path, path.stat().st_size - 100)


def _truncated_bin(directory: Path) -> None:
    _write_bin(directory)
    path = directory / "pytorch_model.bin"
    os.truncate(path, path.stat().st_size - 100)


def _write_bin(directory: Path) -> None:
    path = directory / "model.safetensors"
    state = {name: tensor.clone() for name, tensor in load_file(path).items()}
    path.unlink()
    write_weights(directory, state, weights_format="pytorch")


def _without_a_shard(directory: Path) -> None:
    state = load_file(directory / "model.safetensors")
    write_weights(directory, state, shards=2)
    for name in ("model.safetensors", "model-00002-of-00002.safetensors"):
        (directory / name).unlink()


def _with_a_damaged_index(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text('{"weight_map": {')


def _adapters_only(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text("{}")


def _adapters_beside_weights(directory: Path) -> None:
    shutil.copyfile(directory / "model.safetensors", directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text("{}")


def _files(*names: str) -> Callable[[Path], None]:
    def replace(directory: Path) -> None:
        _empty(directory)
        for name in names:
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).touch()

    return replace


def _broken_link(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.symlink_to("nowhere")


_CAUSES: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (_empty, "It is empty"),
    "optimizer only": (_optimizer_only, "only a trainer's state"),
    "truncated": (_truncated, "is truncated"),
    "truncated bin": (_truncated_bin, "is truncated"),
    "shard missing": (_without_a_shard, "which does not exist"),
    "index damaged": (_with_a_damaged_index, "cannot be read as JSON"),
    "adapters": (_adapters_only, "only contains adapters (PEFT)"),
    "adapters beside weights": (_adapters_beside_weights, "beside the model's weights"),
    "DeepSpeed": (_files("global_step10/mp_rank_00_model_states.pt", "latest"), "zero_to_fp32.py"),
    "DeepSpeed itself": (
        _files("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"),
        "zero_to_fp32.py",
    ),
    "FSDP": (_files("pytorch_model_fsdp_0/__0_0.distcp"), "but no .metadata"),
    "distributed": (_files(".metadata", "__0_0.distcp", "config.json"), "not the metadata"),
    "other formats": (_files("model.gguf", "consolidated.00.pth", "optimizer.pt"), "'model.gguf'"),
    "other names": (_files("model.fp16.safetensors"), "with other names"),
    "config only": (_files("config.json"), "no pytorch_model.bin"),
    "broken link": (_broken_link, "a link to a directory that does not exist"),
}


@pytest.mark.parametrize("place", ["checkpoint-10", "checkpoints/checkpoint-10"])
@pytest.mark.parametrize("cause", _CAUSES)
def test_older_weights_are_not_taken_instead(
    cause: str, place: str, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    damage, expected = _CAUSES[cause]
    older = checkpoints.add("checkpoint-9", 9.0)
    _files("optimizer.pt")(checkpoints.add("checkpoint-8", 8.0))
    newest = checkpoints.add(place, 10.0)
    damage(newest)
    with pytest.raises(SourceError) as caught:
        plan(checkpoints.fg, tmp_path / "hf")
    message = str(caught.value)
    assert message.startswith("Checkpoint not found: the latest checkpoint ")
    assert str(newest) in message
    assert expected in message
    offered = f"with --checkpoint-path: -c {older}, -c {checkpoints.fg}."
    assert message.endswith(offered)


def test_a_model_whose_only_checkpoint_cannot_be_read(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """Nor are the weights that the training began with."""
    _empty(checkpoints.add("checkpoint-10", 10.0))
    (checkpoints.fg / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="No other checkpoint here can be read"):
        plan(checkpoints.fg, tmp_path / "hf")


@pytest.mark.parametrize("cause", [cause for cause in _CAUSES if cause != "broken link"])
def test_a_requested_checkpoint_that_cannot_be_read(
    cause: str, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    damage, expected = _CAUSES[cause]
    newest = checkpoints.add("checkpoint-10", 10.0)
    requested = checkpoints.add("checkpoint-9", 9.0)
    damage(requested)
    with pytest.raises(SourceError) as caught:
        checkpoints.converted(tmp_path / "hf", checkpoint_path=requested)
    assert expected in str(caught.value)
    assert f"-c {newest}, -c {checkpoints.fg}." in str(caught.value)


def test_names_in_messages_are_shown_as_text(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """A name can hold what a terminal takes for a command."""
    _files("\x1b[2Jmodel.gguf")(checkpoints.add("checkpoint-10", 10.0))
    with pytest.raises(SourceError) as caught:
        plan(checkpoints.fg, tmp_path / "hf")
    assert "\x1b" not in str(caught.value)


def test_offered_paths_can_be_pasted(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.add("checkpoint-9", 9.0)
    _empty(checkpoints.add("checkpoint-10", 10.0))
    fg = checkpoints.fg.rename(tmp_path / "my model")
    with pytest.raises(SourceError) as caught:
        plan(fg, tmp_path / "hf")
    assert f"-c '{fg}/checkpoint-9'" in str(caught.value)


# The model itself


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_adapters_only, "only contains adapters (PEFT)"),
        (_adapters_beside_weights, "beside the model's weights"),
        (_truncated, "is truncated"),
        (_without_a_shard, "which does not exist"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("kind", ["hf", "fg"])
def test_a_model_without_checkpoints(
    kind: str,
    damage: Callable[[Path], None],
    expected: str,
    checkpoints: Checkpoints,
    tmp_path: Path,
) -> None:
    source = checkpoints.fg if kind == "fg" else write_hf_model(tmp_path / "hf", _LLAMA)
    damage(source)
    with pytest.raises(SourceError) as caught:
        plan(source, tmp_path / "result")
    assert expected in str(caught.value)


def test_adapters_in_the_model_of_a_whole_checkpoint(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """The file is copied from there, and the result would load as something else."""
    checkpoints.add("checkpoint-9", 9.0)
    (checkpoints.fg / "adapter_config.json").write_text("{}")
    with pytest.raises(SourceError, match=r"adapter_config\.json"):
        plan(checkpoints.fg, tmp_path / "hf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transformers_weights", "other.safetensors"),
        ("configuration_files", ["config.4.0.0.json"]),
    ],
)
@pytest.mark.parametrize("kind", ["hf", "fg"])
def test_configs_that_send_transformers_to_other_files(
    kind: str, field: str, value: object, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """What a user of the source gets is not what lies under the usual names."""
    source = checkpoints.fg if kind == "fg" else write_hf_model(tmp_path / "hf", _LLAMA)
    path = source / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(UnsupportedModelError, match=field):
        plan(source, tmp_path / "result")


def test_the_single_file_wins_over_an_index(tmp_path: Path) -> None:
    """As in transformers; what is not converted is not copied."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    state = load_file(source / "model.safetensors")
    write_weights(source, state, shards=2)
    fg = convert_unchecked(source, tmp_path / "fg")
    back = convert_unchecked(fg, tmp_path / "back")
    assert [path.name for path in back.glob("*safetensors*")] == ["model.safetensors"]
    result = load_file(back / "model.safetensors")
    assert all(torch.equal(result[name], state[name]) for name in state)
