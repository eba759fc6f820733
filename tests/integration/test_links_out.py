"""Files that links of a source lead to outside of it do not get into the result unasked."""

import logging
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from forgather_convert import ConvertOptions, SourceError, convert, inspect, plan
from support.adapters import write_adapter
from support.command import run_convert
from support.directories import snapshot
from support.hub_cache import add_snapshot
from support.log import logged
from support.models import write_hf_model
from support.tokenizer_files import write_tokenizer
from support.variants import variant

pytestmark = pytest.mark.version_independent

_LLAMA = variant("llama-default")
_WITHOUT_CHECK = ConvertOptions(logit_check=False)
_FOLLOWING = ConvertOptions(logit_check=False, follow_links=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", _LLAMA, dtype="bfloat16", shards=2)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "secret.txt"
    path.parent.mkdir()
    path.write_text("password")
    return path


def _move_out(path: Path) -> Path:
    """Puts a link in the place of a file, to where the file is then."""
    target = path.parents[1] / "elsewhere" / path.name
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    path.symlink_to(target)
    return target


@pytest.mark.parametrize("how", ["absolute", "relative", "through a link"])
def test_a_file_behind_a_link_is_not_copied(
    how: str, source: Path, secret: Path, tmp_path: Path
) -> None:
    link = source / "NOTICE"
    if how == "through a link":
        (source / "folder").symlink_to(secret.parent)
        link.symlink_to("folder/secret.txt")
    else:
        link.symlink_to(secret if how == "absolute" else "../home/secret.txt")
    with logged(logging.WARNING) as messages:
        result = convert(source, tmp_path / "fg", _WITHOUT_CHECK)
    assert not (tmp_path / "fg" / "NOTICE").exists()
    assert f"NOTICE -> {secret}" in result.plan.left_out
    assert any(f"NOTICE -> {secret}" in text and "--follow-links" in text for text in messages)
    assert "password" not in str(snapshot(tmp_path / "fg"))
    # Nor back, where it is put beside the Forgather model.
    (tmp_path / "fg" / "NOTICE").symlink_to(secret)
    convert(tmp_path / "fg", tmp_path / "back", _WITHOUT_CHECK)
    assert not (tmp_path / "back" / "NOTICE").exists()


def test_links_are_followed_where_the_user_says_so(
    source: Path, secret: Path, tmp_path: Path
) -> None:
    (source / "NOTICE").symlink_to(secret)
    result = run_convert("--no-logit-check", "--follow-links", source, tmp_path / "fg")
    assert (tmp_path / "fg" / "NOTICE").read_text() == "password"
    assert "links to files outside" not in result.stderr


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_what_cannot_be_left_out_is_an_error(name: str, source: Path, tmp_path: Path) -> None:
    write_tokenizer(source)
    expected = snapshot(convert(source, tmp_path / "expected", _WITHOUT_CHECK).plan.destination)
    target = _move_out(source / name)
    with pytest.raises(SourceError, match="--follow-links") as error:
        plan(source, tmp_path / "fg")
    assert str(error.value) in inspect(source).problems
    assert f"{source / name} is a link to {target}" in str(error.value)
    convert(source, tmp_path / "fg", _FOLLOWING)
    assert snapshot(tmp_path / "fg") == expected


def test_the_provenance_cannot_be_somewhere_else(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "fg", _WITHOUT_CHECK)
    _move_out(tmp_path / "fg" / "forgather_conversion.json")
    with pytest.raises(SourceError, match="--follow-links"):
        plan(tmp_path / "fg", tmp_path / "back")


def test_an_adapter(source: Path, secret: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(source)
    adapter = write_adapter(tmp_path / "adapter", model, target_modules=["q_proj"])
    (adapter / "NOTICE").symlink_to(secret)
    options = ConvertOptions(base=source)
    planned = plan(adapter, tmp_path / "out", options)
    assert f"NOTICE -> {secret}" in planned.left_out
    _move_out(adapter / "adapter_config.json")
    with pytest.raises(SourceError, match="--follow-links"):
        plan(adapter, tmp_path / "out", options)


def test_weights_may_be_links(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "expected", _WITHOUT_CHECK)
    for path in source.glob("model*"):
        _move_out(path)
    convert(source, tmp_path / "fg", _WITHOUT_CHECK)
    assert snapshot(tmp_path / "fg") == snapshot(tmp_path / "expected")


def test_links_inside_are_files(source: Path, tmp_path: Path) -> None:
    """Also where the source itself is reached by a link."""
    (source / "LICENSE.txt").write_text("free")
    (source / "LICENSE").symlink_to("LICENSE.txt")
    (tmp_path / "link").symlink_to(source)
    convert(tmp_path / "link", tmp_path / "fg", _WITHOUT_CHECK)
    assert (tmp_path / "fg" / "LICENSE").read_text() == "free"
    assert not (tmp_path / "fg" / "LICENSE").is_symlink()


def test_a_snapshot_in_the_cache_of_the_hub(source: Path, secret: Path, tmp_path: Path) -> None:
    """Its blobs may be on another disk; a link to anywhere else leads out of it."""
    write_tokenizer(source)
    (source / "LICENSE").write_text("free")
    model = add_snapshot(tmp_path / "cache", "org/name", "1a", source)
    shutil.move(model / "blobs", tmp_path / "disk")
    (model / "blobs").symlink_to(tmp_path / "disk")
    (model / "snapshots" / "1a" / "NOTICE").symlink_to(secret)
    (tmp_path / "disk" / "pointer").symlink_to(secret)
    (model / "snapshots" / "1a" / "OTHER").symlink_to("../../blobs/pointer")
    planned = plan(model / "snapshots" / "1a", tmp_path / "fg")
    assert {"LICENSE", "tokenizer.json"} <= {*planned.file_names}
    assert {f"NOTICE -> {secret}", f"OTHER -> {secret}"} <= {*planned.left_out}
