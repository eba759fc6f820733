"""HF -> FG -> HF gives back the same bytes: whole directories, and the files beside the weights."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, convert
from support.converting import convert_unchecked
from support.directories import differences
from support.log import logged
from support.models import write_hf_model
from support.round_trips import (
    checked_there_and_back,
    there_and_back,
    variant_name,
)
from support.tokenizer_files import write_tokenizer
from support.variants import PLAIN, VARIANTS, Variant, variant

_LLAMA = variant("llama-default")
_TIED = variant("llama-tied")


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
def test_round_trip_is_byte_identical(variant: Variant, tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16")
    assert differences(source, there_and_back(source)) == []


@pytest.mark.parametrize("variant", [*PLAIN, _TIED], ids=variant_name)
def test_sharded_round_trip_is_byte_identical(variant: Variant, tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", variant, dtype="bfloat16", shards=3)
    assert differences(source, there_and_back(source)) == []


def test_unknown_files_come_back(tmp_path: Path) -> None:
    """Whatever lies in the directory is the user's; the tool does not judge it."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    (source / "README.md").write_bytes("# Modèle\r\n".encode())
    (source / "LICENSE").write_text("All rights, all wrongs.\n")
    (source / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (source / "picture.png").write_bytes(bytes(range(256)) * 3)
    (source / "modeling_custom.py").write_text("raise RuntimeError('not to be run')\n")
    (source / "handler.py").write_text("")
    (source / "no-suffix").write_bytes(b"")
    (source / "name with späces.txt").write_text("x")
    assert differences(source, there_and_back(source)) == []


def test_executable_files_stay_executable(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    script = source / "serve.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    back = there_and_back(source)
    assert os.access(tmp_path / "fg" / "serve.sh", os.X_OK)
    assert stat.S_IMODE((back / "serve.sh").stat().st_mode) == 0o755


@pytest.mark.parametrize("shards", [1, 2])
def test_links_of_the_hub_cache_become_files(shards: int, tmp_path: Path) -> None:
    """In the cache every file is a link into ``blobs``, by names that end in nothing."""
    plain = write_hf_model(tmp_path / "plain", _LLAMA, shards=shards)
    write_tokenizer(plain)
    blobs = tmp_path / "models--org--name" / "blobs"
    source = tmp_path / "models--org--name" / "snapshots" / "0a1b2c"
    source.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(plain.iterdir())):
        shutil.copy(path, blobs / f"{number:064x}")
        (source / path.name).symlink_to(Path("..", "..", "blobs", f"{number:064x}"))
    fg = convert_unchecked(source, tmp_path / "fg")
    back = convert_unchecked(fg, tmp_path / "back")
    assert differences(plain, back) == []
    assert not any(path.is_symlink() for directory in (fg, back) for path in directory.iterdir())


@pytest.mark.parametrize("pad_token", ["<unk>", None])
def test_tokenizer_files_come_back(pad_token: str | None, tmp_path: Path) -> None:
    """They are in the Forgather model too, to the byte: it is trained with them."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    write_tokenizer(source, pad_token)
    convert(source, tmp_path / "fg", ConvertOptions(skip_default_tokens=pad_token is None))
    convert(tmp_path / "fg", tmp_path / "back")
    assert differences(source, tmp_path / "back") == []
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "fg" / name).read_bytes() == (source / name).read_bytes()


def test_generation_config_comes_back(tmp_path: Path) -> None:
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    (source / "generation_config.json").write_bytes(
        b'{"eos_token_id":[2,  3],\t"temperature": 0.60, "do_sample": true,\r\n "custom": null}'
    )
    assert differences(source, checked_there_and_back(source)) == []


def test_other_formats_and_folders_are_named_and_left_out(tmp_path: Path) -> None:
    """They are not lost silently."""
    source = write_hf_model(tmp_path / "hf", _LLAMA)
    shutil.copytree(source, tmp_path / "expected")
    left_out = [
        "consolidated.00.pth",
        "consolidated.safetensors",
        "ggml-model-q4_0.gguf",
        "model.onnx",
        "pytorch_model.bin",
        "tf_model.h5",
    ]
    for name in left_out:
        (source / name).write_bytes(b"weights")
    (source / "original").mkdir()
    (source / "original" / "params.json").write_text("{}")
    with logged() as messages:
        back = there_and_back(source)
    assert differences(tmp_path / "expected", back) == []
    (message,) = [text for text in messages if text.startswith("Not copied")]
    assert all(name in message for name in [*left_out, "original"])
