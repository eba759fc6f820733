"""What transformers keeps in float32 on loading, the dynamic model keeps, too."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from forgather_convert import ConvertOptions
from forgather_convert.dynamic_model.stored_code import differs_from_generated
from forgather_convert.families.converter import HFConverter
from forgather_convert.sides.counterparts import open_source
from forgather_convert.sides.forgather import ForgatherSource
from forgather_convert.sides.saved_state import saved_state
from forgather_convert.source.detection import detect
from forgather_convert.testing.converted import ConvertedModel, Family
from forgather_convert.testing.running import load_forgather, logits, prompt
from forgather_convert_deepseek_v3 import DeepseekV3Converter
from forgather_convert_gpt_oss import GptOssConverter
from support.models import TRANSFORMERS_MAJOR

#: transformers 4 has them in the dtype of the model.
ROUTERS = {"router"} if TRANSFORMERS_MAJOR >= 5 else set()


def made(directory: Path, converter_class: type[HFConverter]) -> ConvertedModel:
    (*_, fields) = converter_class.tiny_configs.values()
    return ConvertedModel.create(directory, Family(converter_class()), fields, "float32")


def dtypes(model: Any) -> dict[str, torch.dtype]:
    """Those of parameters and buffers, by the names that checkpoints have."""
    names = saved_state(model).names
    return {names.get(name, name): tensor.dtype for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("converter_class", "dtype", "expected"),
    [
        (GptOssConverter, torch.float16, {"layer_norm", "norm1", "norm2"}),
        (GptOssConverter, torch.bfloat16, set()),
        (DeepseekV3Converter, torch.float16, ROUTERS),
        (DeepseekV3Converter, torch.bfloat16, ROUTERS),
    ],
)
def test_the_same_parameters_stay_wide(
    converter_class: type[HFConverter], dtype: torch.dtype, expected: set[str], tmp_path: Path
) -> None:
    converted = made(tmp_path, converter_class)
    hf = converted.family.load_hf(converted.hf, dtype=dtype)
    fg = load_forgather(converted.fg, dtype=dtype)
    rename = converted.family.hooks.weight_mapping().renamer()
    theirs = {rename(name): each for name, each in dtypes(hf).items() if rename(name) is not None}
    ours = dtypes(fg)
    assert {name: ours[name] for name in theirs} == theirs
    wide = {name.split(".")[-2] for name in ours if ours[name] is torch.float32}
    assert wide == expected
    ids = prompt(converted.fields)
    assert torch.equal(logits(hf, ids), logits(fg, ids))


def differing(converted: ConvertedModel) -> tuple[str, ...]:
    """The files of the dynamic model that the generator would not write."""
    options = ConvertOptions()
    side = open_source(detect(converted.fg, options), converted.family.hooks, options).side
    assert isinstance(side, ForgatherSource)
    assert side.stored_code is not None
    return differs_from_generated(side.stored_code, side.standard_project)


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
    converted = made(tmp_path, GptOssConverter)
    (path,) = converted.fg.glob("modeling_*.py")
    assert differing(converted) == ()
    line = re.compile(r"(?<=\n    _keep_in_fp32_modules = )\[.*\](?=\n)")
    text, count = line.subn(modules, path.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")
    assert differing(converted) == (() if is_known else (path.name,))
