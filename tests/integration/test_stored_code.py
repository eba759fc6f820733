"""The code in a Forgather directory: what it says counts, and it runs only if it is known."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import ConvertOptions, ValidationError, convert
from forgather_convert.dynamic_model.stored_code import (
    differs_from_generated,
    load_stored_code,
    read_stored_code,
)
from forgather_convert.models.forgather import ForgatherSource
from forgather_convert.models.opening import ModelRequest, open_model
from forgather_convert.source.config_file import read_config
from support.directories import differences
from support.models import load_forgather, load_hf, prompt, write_hf_model
from support.pairs import Pair, every_family, every_variant
from support.variants import Variant, variant

pytestmark = pytest.mark.version_independent

PROVENANCE = "forgather_conversion.json"
float32 = pytest.mark.parametrize("dtype", ["float32"])


def source_model(directory: Path) -> ForgatherSource:
    model = open_model(ModelRequest(directory, ConvertOptions())).read().model
    assert isinstance(model, ForgatherSource)
    return model


def differing(directory: Path) -> tuple[str, ...]:
    model = source_model(directory)
    assert model.stored_code is not None
    return differs_from_generated(model.stored_code, model.standard_project)


@every_variant
@float32
def test_generated_code_is_known(pair: Pair) -> None:
    assert differing(pair.fg) == ()


@every_family
@float32
def test_generated_code_is_known_after_training(pair: Pair, tmp_path: Path) -> None:
    """Transformers copies the code, and writes a config of its own."""
    load_forgather(pair.fg).save_pretrained(tmp_path / "saved")
    assert differing(tmp_path / "saved") == ()


@every_family
@float32
def test_every_edit_is_found(pair: Pair, tmp_path: Path) -> None:
    """In each file, of one byte; what the directory records of itself does not matter."""
    edited = tmp_path / "fg"
    shutil.copytree(pair.fg, edited)
    (edited / PROVENANCE).unlink()
    files = sorted(edited.glob("*.py"))
    assert len(files) > 5
    for file in files:
        text = file.read_text()
        file.write_text(text + "\n")
        assert differing(edited) == (file.name,)
        file.write_text(text)
    assert differing(edited) == ()


@float32
@pytest.mark.parametrize("variant", [variant("llama-default")], ids=["llama"])
def test_a_second_file_of_the_same_name_is_found(pair: Pair, tmp_path: Path) -> None:
    """One without the hash in its name must not pass for the one with it."""
    edited = tmp_path / "fg"
    shutil.copytree(pair.fg, edited)
    (norm,) = edited.glob("rms_norm_*.py")
    (edited / "rms_norm.py").write_text("import os\n" + norm.read_text())
    (model,) = edited.glob("modeling_*.py")
    model.write_text(model.read_text().replace(f".{norm.stem} ", ".rms_norm ", 1))
    assert differing(edited) != ()


ABSENT = {
    "llama-default": ["rms_norm_eps", "hidden_act", "head_dim", "rope_theta", "attention_bias"],
    "mistral-window": ["rms_norm_eps", "hidden_act", "sliding_window"],
    "qwen3-layer-types": ["rms_norm_eps", "hidden_act", "layer_types", "sliding_window"],
}


@pytest.mark.parametrize(
    ("variant", "field"),
    [
        pytest.param(variant(name), field, id=f"{name}-{field}")
        for name, fields in ABSENT.items()
        for field in fields
    ],
)
@float32
def test_an_absent_field_is_what_the_own_code_takes_for_it(
    pair: Pair, field: str, tmp_path: Path
) -> None:
    """Loaded as a user does, with the code in the directory; and converted, the same logits."""
    shorter = tmp_path / "fg"
    shutil.copytree(pair.fg, shorter)
    (shorter / PROVENANCE).unlink()
    for path in shorter.glob("modeling_*.py"):
        text = path.read_text().replace("rms_norm_eps: float = 1e-06", "rms_norm_eps: float = 0.25")
        path.write_text(text.replace('hidden_act: str = "silu"', 'hidden_act: str = "gelu"'))
    names = [field]
    if field == "rope_theta":
        names += ["rope_scaling", "rope_parameters"]
    content = json.loads((shorter / "config.json").read_text())
    for name in names:
        del content[name]
    (shorter / "config.json").write_text(json.dumps(content))
    result = convert(shorter, tmp_path / "back")
    assert result.logits is not None
    assert result.logits.are_equal
    expected = load_forgather(shorter)(prompt()).logits
    assert torch.equal(load_hf(tmp_path / "back", pair.variant.family)(prompt()).logits, expected)


# Edited code


def with_edited_norm(directory: Path) -> None:
    (norm,) = directory.glob("rms_norm_*.py")
    text = norm.read_text()
    assert "self.weight * normalized" in text
    norm.write_text(text.replace("self.weight * normalized", "2 * self.weight * normalized"))


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A Forgather model whose norm was changed by hand, on the disk and in the provenance."""
    convert(write_hf_model(tmp_path / "hf", Variant("llama", "plain")), tmp_path / "fg")
    with_edited_norm(tmp_path / "fg")
    return tmp_path / "fg"


def test_edited_code_does_not_run_and_is_said_not_to_be_checked(
    edited: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "it-ran"
    (norm,) = edited.glob("rms_norm_*.py")
    norm.write_text(f"open({str(marker)!r}, 'w').close()\n{norm.read_text()}")
    forge_hashes(edited)
    with caplog.at_level("WARNING", "forgather_convert"):
        convert(edited, tmp_path / "back")
    assert not marker.exists()
    assert "was edited" in caplog.text
    assert norm.name in caplog.text
    assert "neither run nor checked" in caplog.text
    assert "--trust-remote-code" in caplog.text
    assert differences(tmp_path / "hf", tmp_path / "back") == []


def forge_hashes(directory: Path) -> None:
    """Records the files' real hashes, as somebody would who wants the code to run."""
    import hashlib

    content = json.loads((directory / PROVENANCE).read_text())
    for name in content["generated"]:
        content["generated"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (directory / PROVENANCE).write_text(json.dumps(content))


def test_trusted_code_is_what_the_result_is_compared_with(edited: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="dissimilar"):
        convert(edited, tmp_path / "back", ConvertOptions(trust_remote_code=True))
    assert not (tmp_path / "back").exists()


def test_trusted_code_that_computes_the_same_passes(edited: Path, tmp_path: Path) -> None:
    (norm,) = edited.glob("rms_norm_*.py")
    norm.write_text(norm.read_text().replace("2 * self.weight", "1 * self.weight"))
    result = convert(edited, tmp_path / "back", ConvertOptions(trust_remote_code=True))
    assert result.logits is not None
    assert result.logits.are_equal


_RETURNS_LOGITS = """

_forward = DynamicCausalLM.forward


def _return_logits(self, *arguments, return_dict=None, **kwargs):
    output = _forward(self, *arguments, **kwargs)
    return output if return_dict else output.logits


DynamicCausalLM.forward = _return_logits
"""


def test_trusted_code_that_returns_logits_alone(edited: Path, tmp_path: Path) -> None:
    """So do the framework's own models."""
    (norm,) = edited.glob("rms_norm_*.py")
    norm.write_text(norm.read_text().replace("2 * self.weight", "1 * self.weight"))
    (model,) = (
        path for path in edited.glob("*.py") if "class DynamicCausalLM(" in path.read_text()
    )
    model.write_text(model.read_text() + _RETURNS_LOGITS)
    result = convert(edited, tmp_path / "back", ConvertOptions(trust_remote_code=True))
    assert result.logits is not None
    assert result.logits.are_equal


# Hostile directories


@pytest.mark.parametrize(
    "auto_map",
    [
        {"AutoConfig": "../x.C", "AutoModelForCausalLM": "../x.M"},
        {"AutoConfig": "/etc/passwd.C", "AutoModelForCausalLM": "a.M"},
        {"AutoConfig": "someone/else--a.C", "AutoModelForCausalLM": "someone/else--a.M"},
        {"AutoConfig": ["a.C"], "AutoModelForCausalLM": 3},
        {"AutoConfig": "absent.C", "AutoModelForCausalLM": "absent.M"},
        {"AutoConfig": "a.C"},
        "a.C",
    ],
)
def test_an_odd_auto_map_names_no_code(auto_map: Any, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("raise SystemExit\n")
    assert read_stored_code(tmp_path, {"auto_map": auto_map}) is None


def test_code_that_is_not_python_has_no_defaults(tmp_path: Path) -> None:
    for text in ("def (", "(" * 100_000, "\0"):
        (tmp_path / "a.py").write_text(text)
        stored = read_stored_code(
            tmp_path, {"auto_map": {"AutoConfig": "a.C", "AutoModelForCausalLM": "a.M"}}
        )
        assert stored is not None
        assert stored.config_defaults == {}


def test_defaults_are_literals_and_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "raise SystemExit\n"
        "class C:\n"
        "    def __init__(self, a=1, b=[1, {'x': None}], c=open('x'), d=(1,), *, e='f', **k):\n"
        "        pass\n"
    )
    stored = read_stored_code(
        tmp_path, {"auto_map": {"AutoConfig": "a.C", "AutoModelForCausalLM": "a.M"}}
    )
    assert stored is not None
    assert stored.config_defaults == {"a": 1, "b": [1, {"x": None}], "e": "f"}


@every_family
@float32
def test_stored_code_loads_as_a_package_of_its_own(pair: Pair) -> None:
    stored = read_stored_code(pair.fg, read_config(pair.fg))
    assert stored is not None
    classes = load_stored_code(stored)
    assert classes.config_class(**read_config(pair.fg)).vocab_size == 160
    assert not list(pair.fg.glob("__pycache__"))
