"""Tries lies of converters."""

from pathlib import Path

import pytest

from forgather_convert import ConvertOptions, ForgatherConvertError, convert
from forgather_convert_llama.llama import Llama
from forgather_convert_qwen3.qwen3 import Qwen3
from support.lies import Lie
from support.models import write_hf_model

_HONEST = {"llama": Llama, "qwen3": Qwen3}


def assert_refused(lie: Lie, directory: Path) -> None:
    """Asserts that a conversion by a lying converter is refused, and nothing is written."""
    liar = lie.make(directory / "components")
    source = write_hf_model(directory / "hf", lie.variant)
    if not lie.to_forgather:
        honest, source = source, directory / "fg"
        unchecked = ConvertOptions(logit_check=False)
        convert(honest, source, unchecked, converter=_HONEST[lie.variant.family]())
        if not lie.keeps_original:
            (source / "forgather_conversion.json").unlink()
    with pytest.raises(ForgatherConvertError):
        convert(source, directory / "result", converter=liar)
    assert not (directory / "result").exists()
