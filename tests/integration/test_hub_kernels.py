"""A config cannot make transformers fetch or import code from the Hub while a model is built."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers

from forgather_convert import ConvertOptions, UnsupportedModelError, convert, plan
from forgather_convert.source.config_file import SourceConfig
from support.converting import convert_unchecked, edit_config, read_config
from support.models import TRANSFORMERS_MAJOR, write_hf_model
from support.variants import variant

LLAMA = variant("llama-mha")
KERNEL = "someone/attention"

#: Stands in for the package that fetches code from the Hub: it notes what it is asked for.
_STAND_IN = """
import os
from unittest.mock import MagicMock

def get_kernel(name, *arguments, **keywords):
    with open(os.environ["KERNELS_ASKED_FOR"], "a") as file:
        file.write(name + "\\n")
    raise RuntimeError("nothing is fetched in a test")

def unchanged(*arguments, **keywords):
    return lambda cls: cls

use_kernel_forward_from_hub = use_kernelized_func = unchanged

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return MagicMock()
"""
#: Runs commands in a process in which the stand-in is installed; then, after a line in the same
#: file, loads a directory as a user does.
_COMMANDS_THEN_LOAD = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import json, os
from support.command import forgather
for command in json.loads(sys.argv[1]):
    result = forgather(*command)
    print(result.stderr)
    if result.returncode:
        sys.exit(result.stderr)
with open(os.environ["KERNELS_ASKED_FOR"], "a") as file:
    file.write("loading\\n")
from transformers import AutoModelForCausalLM
try:
    AutoModelForCausalLM.from_pretrained(sys.argv[2], trust_remote_code=True)
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


class Hub:
    """Where a process notes which kernels transformers asks for."""

    def __init__(self, directory: Path) -> None:
        self.packages, self.notes = directory / "packages", directory / "asked_for.txt"
        (self.packages / "kernels").mkdir(parents=True)
        (self.packages / "kernels" / "__init__.py").write_text(_STAND_IN)
        # A version that the installed transformers takes.
        version = getattr(transformers.utils.import_utils, "KERNELS_MIN_VERSION", "0.9.0")
        metadata = self.packages / f"kernels-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: kernels\nVersion: {version}\n"
        )

    @property
    def asked_for(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def run(self, *commands: list[str | Path], then_load: Path) -> str:
        """Runs commands, one after the other, all of which must succeed; then loads a directory."""
        paths = [str(self.packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        texts = json.dumps([[*map(str, command)] for command in commands])
        tests = str(Path(__file__).parents[1])
        result = subprocess.run(
            [sys.executable, "-c", _COMMANDS_THEN_LOAD, tests, texts, str(then_load)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "KERNELS_ASKED_FOR": str(self.notes),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "hub")


def test_no_command_asks_for_a_kernel(tmp_path: Path, source: Path, hub: Hub) -> None:
    asking = shutil.copytree(source, tmp_path / "asking")
    edit_config(asking, _attn_implementation=KERNEL)
    edit_config(
        source,
        _attn_implementation=KERNEL,
        attn_implementation={"": KERNEL},
        experts_implementation=KERNEL,
        audio_config={"_attn_implementation": KERNEL},
    )
    original = (source / "config.json").read_bytes()
    fg, back = tmp_path / "fg", tmp_path / "back"
    # What a user loads does not have the fields. Somebody else may put them there.
    edited = convert_unchecked(source, tmp_path / "edited")
    assert KERNEL not in (edited / "config.json").read_text()
    edit_config(edited, _attn_implementation=KERNEL, attn_implementation=KERNEL)
    shown = hub.run(
        ["convert", "--dry-run", source, tmp_path / "none"],
        ["inspect", source],
        ["convert", source, fg],
        ["convert", fg, back],
        ["verify", source, fg],
        ["convert", edited, tmp_path / "again"],
        ["inspect", edited],
        ["verify", edited, source],
        then_load=asking,
    )
    # That it is asked for on loading shows that the commands would have been seen to ask.
    assert hub.asked_for == ["loading", KERNEL]
    assert "Ignored in" in shown
    assert "audio_config._attn_implementation" in shown
    assert KERNEL not in (fg / "config.json").read_text()
    # What comes back is what was there.
    assert (back / "config.json").read_bytes() == original


def test_flex_attention_starts_no_compiler(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    started = []
    monkeypatch.setattr(torch, "compile", lambda *args, **keywords: started.append(args))
    edit_config(source, _attn_implementation="flex_attention")
    convert(source, tmp_path / "fg", ConvertOptions())
    assert started == []


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"_attn_implementation": "a/b"}, ["_attn_implementation"]),
        ({"_attn_implementation_internal": "a/b"}, ["_attn_implementation_internal"]),
        ({"experts_implementation": "a/b"}, ["experts_implementation"]),
        ({"fusion_config": {"x": True}}, ["fusion_config"]),
        ({"vision_config": {"_commit_hash": "1"}}, ["vision_config._commit_hash"]),
        (
            {"per_layer_config": {"0": {"attn_implementation": "a/b"}}},
            ["per_layer_config.0.attn_implementation"],
        ),
        ({"parts": [{"attn_implementation": "a/b"}]}, ["parts[0].attn_implementation"]),
        ({"label2id": {"_": 0}, "use_cache": True}, []),
    ],
)
def test_fields_are_left_out_wherever_they_are(fields: dict[str, Any], ignored: list[str]) -> None:
    config = SourceConfig({"hidden_size": 8, **fields})
    assert list(config.ignored) == ignored
    assert config["hidden_size"] == 8
    if not ignored:
        assert config.to_dict() == {"hidden_size": 8, **fields}


@pytest.mark.parametrize(
    "field", ["attribute_map", "sub_configs", "extra_files", "extra_config_files"]
)
def test_a_config_that_renames_fields_or_files_is_refused(
    tmp_path: Path, source: Path, field: str
) -> None:
    edit_config(source, **{field: {"hidden_size": "_attn_implementation_internal"}})
    with pytest.raises(UnsupportedModelError, match=f"has the field '{field}'"):
        plan(source, tmp_path / "fg")


def test_every_attribute_of_a_config_class_is_known() -> None:
    """A new attribute of transformers' base class is looked at before it is let through."""
    from forgather_convert.source.loading_fields import REDIRECTIONS

    known = {
        *REDIRECTIONS,
        # What describes a model, or is only the class's default.
        *("architectures", "chunk_size_feed_forward", "default_rope_type", "default_theta"),
        *("dtype", "id2label", "ignore_keys_at_rope_validation", "is_composition", "torch_dtype"),
        *("is_encoder_decoder", "keys_to_ignore_at_inference", "label2id", "model_type"),
        *("output_hidden_states", "problem_type", "return_dict", "transformers_version"),
        *("base_config_key", "has_no_defaults_at_init"),
    }
    base = transformers.PretrainedConfig
    attributes = {
        name
        for cls in base.__mro__[:-1]
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and not callable(value)
        and not isinstance(value, property | classmethod | staticmethod)
    }
    unknown = {name for name in attributes - known if not SourceConfig({name: 1}).ignored}
    assert not unknown, f"new in transformers {TRANSFORMERS_MAJOR}: {sorted(unknown)}"


def test_what_transformers_saves_has_none_of_the_fields(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(attn_implementation="eager")
    config.save_pretrained(tmp_path)
    assert SourceConfig(read_config(tmp_path)).ignored == ()
