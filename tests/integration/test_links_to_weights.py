"""``--link`` makes a Forgather model of the weights files of its original, without a copy."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from forgather_convert import (
    ConvertOptions,
    DestinationError,
    ForgatherConvertError,
    OptionError,
    SourceError,
    UnsupportedModelError,
    convert,
    inspect,
    save_as_hf,
    verify,
)
from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.testing.models import write_model
from support.command import run_convert
from support.converting import convert_unchecked, logits_of
from support.directories import differences, snapshot
from support.models import load_forgather, load_hf, write_hf_model
from support.tokenizer_files import write_tokenizer
from support.variants import Variant, variant

_TIED = variant("llama-tied")
_PLAIN = variant("qwen3-untied")
_ENTRY = '{"format_version": 1, "files": {"linked-a": {"size": 1, "modified": 1, %s}}}'
every_kind = pytest.mark.parametrize("kind", ["hard", "symbolic"])


def _original(directory: Path, chosen: Variant = _PLAIN, **options: Any) -> Path:
    write_hf_model(directory, chosen, **{"dtype": "bfloat16", "shards": 2, **options})
    write_tokenizer(directory)
    return directory


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    return _original(tmp_path / "hf")


def _linked(hf: Path, kind: str = "hard") -> Path:
    return convert_unchecked(hf, hf.with_name("fg"), link=kind)


@every_kind
@pytest.mark.parametrize("chosen", [_TIED, _PLAIN], ids=lambda each: each.id)
@pytest.mark.parametrize("shards", [1, 2])
def test_a_linked_model_is_the_converted_one(
    tmp_path: Path, kind: str, chosen: Variant, shards: int
) -> None:
    hf = _original(tmp_path / "hf", chosen, shards=shards)
    fg = tmp_path / "fg"
    result = run_convert("--link" if kind == "hard" else "--link=symbolic", hf, fg)
    assert "logits bit-identical to the source's. The weights are links" in result.stderr
    links = sorted(fg.glob("*.safetensors"))
    assert [link.name for link in links] == [
        f"linked-{path.name}" for path in sorted(hf.glob("*.safetensors"))
    ]
    assert all(link.is_symlink() == (kind == "symbolic") for link in links)
    assert all(link.samefile(hf / link.name.removeprefix("linked-")) for link in links)
    loaded, copied = (
        load_forgather(directory) for directory in (fg, convert_unchecked(hf, tmp_path / "copied"))
    )
    assert loaded.dtype == copied.dtype
    assert loaded.generation_config.to_dict() == copied.generation_config.to_dict()
    expected = copied.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert verify(hf, fg).are_equal
    assert differences(hf, convert_unchecked(fg, tmp_path / "back")) == []


def test_classes_and_options_of_loading(hf: Path) -> None:
    fg = _linked(hf)
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        fg, trust_remote_code=True, dtype=torch.float32, output_loading_info=True
    )
    assert model.dtype == torch.float32
    assert not report["missing_keys"]
    direct = type(model).from_pretrained(fg, dtype=torch.float32)
    assert torch.equal(logits_of(direct.eval()), logits_of(model.eval()))
    base = transformers.AutoModel.from_pretrained(fg, trust_remote_code=True)
    assert base.layer_stack.layers[0].norm1.weight.shape == (base.config.hidden_size,)


@every_kind
def test_training_does_not_touch_the_original(hf: Path, tmp_path: Path, kind: str) -> None:
    fg, before = _linked(hf, kind), snapshot(hf)
    model = load_forgather(fg)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    save_as_hf(model, tmp_path / "trained")
    model.save_pretrained(fg / "checkpoint-1")
    assert differences(convert_unchecked(fg, tmp_path / "hf-1"), tmp_path / "trained") == []
    # The directory's own weights take precedence then.
    other = tmp_path / "other"
    convert(hf, other, ConvertOptions(logit_check=False, link=kind))
    model.save_pretrained(other)
    back = convert_unchecked(other, tmp_path / "hf-2")
    # transformers writes configs in a form of its own.
    assert [
        name for name in differences(back, tmp_path / "trained") if "config.json" not in name
    ] == []
    expected = model.state_dict()
    for directory in (fg / "checkpoint-1", other):
        state = load_forgather(directory).state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert snapshot(hf) == before


def test_the_original_may_go_if_its_files_stay(hf: Path, tmp_path: Path) -> None:
    expected = logits_of(load_hf(hf, "qwen3"))
    fg = _linked(hf)
    hf.rename(tmp_path / "moved")
    assert torch.equal(logits_of(load_forgather(fg)), expected)
    for path in (tmp_path / "moved").iterdir():
        path.unlink()
    assert torch.equal(logits_of(load_forgather(fg)), expected)
    assert inspect(fg).problems == ()


def test_inspect_says_that_it_is_linked(hf: Path) -> None:
    fg = _linked(hf)
    inspection = inspect(fg)
    assert inspection.problems == ()
    (remark,) = inspection.remarks
    assert remark.startswith(f"The weights are links to 2 weights files of {hf}.")
    assert inspection.parameters == inspect(hf).parameters


@every_kind
def test_a_changed_original_is_noticed(hf: Path, tmp_path: Path, kind: str) -> None:
    fg = _linked(hf, kind)
    path = hf / "model-00001-of-00002.safetensors"
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x40")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))
    _assert_refused(fg, tmp_path, "has changed since the conversion")


def test_a_removed_original_is_noticed(hf: Path, tmp_path: Path) -> None:
    fg = _linked(hf, "symbolic")
    hf.rename(tmp_path / "moved")
    _assert_refused(fg, tmp_path, "was removed, or moved")


def _assert_refused(fg: Path, tmp_path: Path, what: str) -> None:
    with pytest.raises(OSError, match=what):
        load_forgather(fg)
    with pytest.raises(SourceError, match=what):
        convert(fg, tmp_path / "back")
    assert any(what in problem for problem in inspect(fg).problems)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": "float32"}, OptionError, "Leave out"),
        ({"weights_format": "pytorch"}, OptionError, "Leave out"),
        ({"max_shard_size": 1000}, OptionError, "Leave out"),
        ({"code_only": True}, OptionError, "Leave out"),
        ({"link": "soft"}, OptionError, "'soft' is not a kind of link"),
        ({"pad_vocab_to_multiple_of": 64}, UnsupportedModelError, "vocabulary gets more rows"),
    ],
    ids=str,
)
def test_what_changes_weights_is_refused(
    hf: Path, tmp_path: Path, options: Any, error: type[ForgatherConvertError], message: str
) -> None:
    with pytest.raises(error, match=message):
        convert(hf, tmp_path / "fg", ConvertOptions(**{"link": "hard", **options}))
    assert not (tmp_path / "fg").exists()


def test_models_that_are_not_only_renamed_are_refused(tmp_path: Path) -> None:
    hooks = resolve_converter("mixtral")
    hf = tmp_path / "hf"
    hf.mkdir()
    write_model(hf, hooks, next(iter(hooks.get_tiny_configs().values())))
    with pytest.raises(
        UnsupportedModelError, match=r"tensors would not only be renamed, such as '.*concatenate"
    ):
        convert(hf, tmp_path / "fg", ConvertOptions(link="hard"))


def test_other_formats_are_refused(tmp_path: Path) -> None:
    hf = _original(tmp_path / "hf", weights_format="pytorch", shards=1)
    with pytest.raises(UnsupportedModelError, match="in the format pytorch"):
        convert(hf, tmp_path / "fg", ConvertOptions(link="hard"))


def test_unused_tensors_are_refused(tmp_path: Path) -> None:
    hf = _original(tmp_path / "hf", _TIED, shards=1)
    state = load_file(hf / "model.safetensors")
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.rand(100_000)
    save_file(state, hf / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModelError, match="--drop-unused"):
        convert(hf, tmp_path / "fg", ConvertOptions(link="hard", logit_check=False))
    convert(hf, tmp_path / "fg", ConvertOptions(link="hard", drop_unused=True))


def test_a_forgather_source_is_refused(hf: Path, tmp_path: Path) -> None:
    fg = convert_unchecked(hf, tmp_path / "fg")
    with pytest.raises(OptionError, match="--link makes a Forgather model"):
        convert(fg, tmp_path / "back", ConvertOptions(link="hard"))


def test_another_file_system_is_refused(
    hf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(DestinationError, match="--link=symbolic links across file systems"):
        convert(hf, tmp_path / "fg", ConvertOptions(link="hard"))
    assert not (tmp_path / "fg").exists()
    convert(hf, tmp_path / "fg", ConvertOptions(link="symbolic"))


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"format_version": 2, "files": {}}',
        '{"format_version": 1, "files": {"../model.safetensors": {}}}',
        _ENTRY % '"source": 3, "names": {}',
        _ENTRY % '"source": "a", "names": {"a": 3}',
    ],
)
def test_a_damaged_list_is_refused(hf: Path, content: str) -> None:
    fg = _linked(hf)
    (fg / "forgather_links.index.json").write_text(content)
    assert any("is damaged" in problem for problem in inspect(fg).problems)


def test_a_plan_names_the_links(hf: Path, tmp_path: Path) -> None:
    output = run_convert("--link", "--dry-run", hf, tmp_path / "fg").stdout
    assert f"link linked-model-00001-of-00002.safetensors to {hf}" in output
    assert not (tmp_path / "fg").exists()
