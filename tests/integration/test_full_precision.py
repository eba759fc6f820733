"""What transformers keeps in float32 on loading, the dynamic model keeps, too."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forgather_convert import ConvertOptions, convert
from forgather_convert.dynamic_model.stored_code import differs_from_generated
from forgather_convert.families.converter import HFConverter
from forgather_convert.models.forgather import ForgatherSource
from forgather_convert.models.opening import ModelRequest, open_model
from forgather_convert.models.saved_state import saved_state
from forgather_convert.testing.converted import ConvertedModel, Family
from forgather_convert.testing.running import load_forgather, logits, prompt
from forgather_convert_deepseek.deepseek_v3 import DeepseekV3
from forgather_convert_gpt.gpt_oss import GptOss
from support.models import TRANSFORMERS_MAJOR

#: transformers 4 has them in the dtype of the model.
ROUTERS = {"router"} if TRANSFORMERS_MAJOR >= 5 else set()

#: What stays in float32 on disk, by the last part of its name.
_KEPT: dict[tuple[type[HFConverter], str], set[str]] = {
    (DeepseekV3, "bfloat16"): ROUTERS and {"gate", "e_score_correction_bias"},
    (DeepseekV3, "float16"): ROUTERS and {"gate", "e_score_correction_bias"},
    (GptOss, "bfloat16"): set(),
    (GptOss, "float16"): {"input_layernorm", "post_attention_layernorm", "norm"},
}


def made(directory: Path, converter_class: type[HFConverter]) -> ConvertedModel:
    (*_, fields) = converter_class().get_tiny_configs().values()
    return ConvertedModel.create(directory, Family(converter_class()), fields, "float32")


def dtypes(model: Any) -> dict[str, torch.dtype]:
    """Those of parameters and buffers, by the names that checkpoints have."""
    names = saved_state(model).names
    return {names.get(name, name): tensor.dtype for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("converter_class", "dtype", "expected"),
    [
        (GptOss, torch.float16, {"layer_norm", "norm1", "norm2"}),
        (GptOss, torch.bfloat16, set()),
        (DeepseekV3, torch.float16, ROUTERS),
        (DeepseekV3, torch.bfloat16, ROUTERS),
    ],
)
def test_the_same_parameters_stay_wide(
    converter_class: type[HFConverter], dtype: torch.dtype, expected: set[str], tmp_path: Path
) -> None:
    converted = made(tmp_path, converter_class)
    hf = converted.family.load_hf(converted.hf, dtype=dtype)
    fg = load_forgather(converted.fg, dtype=dtype)
    rename = converted.family.hooks.weight_mapping().renamer()
    renamed = ((rename(name), each) for name, each in dtypes(hf).items())
    theirs = {name: each for name, each in renamed if name is not None}
    ours = dtypes(fg)
    assert {name: ours[name] for name in theirs} == theirs
    wide = {name.split(".")[-2] for name in ours if ours[name] is torch.float32}
    assert wide == expected
    ids = prompt(converted.fields)
    assert torch.equal(logits(hf, ids), logits(fg, ids))


def stored_dtypes(directory: Path) -> dict[str, torch.dtype]:
    """The dtypes of a directory's tensors, by their names without layers."""
    return {
        re.sub(r".*\.", "", name.removesuffix(".weight")): tensor.dtype
        for name, tensor in load_file(directory / "model.safetensors").items()
    }


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("converter_class", [DeepseekV3, GptOss])
def test_a_cast_keeps_what_transformers_keeps(
    converter_class: type[HFConverter], dtype: str, tmp_path: Path
) -> None:
    """In both directions, as the check proves: it loads the source in that dtype."""
    converted = made(tmp_path, converter_class)
    family = converted.family.hooks.converter
    options = ConvertOptions(dtype=dtype)
    convert(converted.hf, tmp_path / "cast", options, converter=family)
    convert(converted.fg, tmp_path / "back", options, converter=family)
    expected = _KEPT[converter_class, dtype]
    for name, each in stored_dtypes(tmp_path / "back").items():
        assert each is (torch.float32 if name in expected else getattr(torch, dtype)), name
    before, after = (
        load_file(directory / "model.safetensors")
        for directory in (converted.hf, tmp_path / "back")
    )
    assert all(
        torch.equal(after[name], tensor)
        for name, tensor in before.items()
        if after[name].dtype is torch.float32
    )
    wide = {
        name for name, each in stored_dtypes(tmp_path / "cast").items() if each is torch.float32
    }
    assert len(wide) == len(expected)


def differing(converted: ConvertedModel) -> tuple[str, ...]:
    """The files of the dynamic model that the generator would not write."""
    request = ModelRequest(converted.fg, ConvertOptions(), converted.family.hooks.converter)
    model = open_model(request).read().model
    assert isinstance(model, ForgatherSource)
    assert model.stored_code is not None
    return differs_from_generated(model.stored_code, model.standard_project)


@pytest.mark.version_independent
@pytest.mark.parametrize(
    ("modules", "is_known"),
    [
        # As another version of transformers has it.
        ('["norm2"]', True),
        ('["norm1", "no.such.module"]', True),
        ("[]", False),
        ('["(a+)+b"]', False),
        ('"norm1"', False),
        ("[1]", False),
        ("print()", False),
    ],
)
def test_the_class_says_so_and_stays_known(modules: str, is_known: bool, tmp_path: Path) -> None:
    """Names of modules only, which differ by the version of transformers, and no expression."""
    converted = made(tmp_path, GptOss)
    (path,) = converted.fg.glob("modeling_*.py")
    assert differing(converted) == ()
    line = re.compile(r"(?<=\n    _keep_in_fp32_modules = )\[.*\](?=\n)")
    text, count = line.subn(modules, path.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")
    assert differing(converted) == (() if is_known else (path.name,))
