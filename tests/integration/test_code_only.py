"""``--code-only`` writes a Forgather model's code, which is filled from the original."""

from pathlib import Path

import pytest
import torch
import transformers

from forgather_convert import ConvertOptions, OptionError, convert, inspect, load_hf_weights
from support.command import forgather, run_convert
from support.converting import convert_unchecked
from support.directories import differences, snapshot
from support.models import load_forgather, write_hf_model
from support.tokenizer_files import write_tokenizer
from support.variants import variant

_TIED = variant("llama-tied")


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    directory = write_hf_model(tmp_path / "hf", _TIED, "bfloat16", shards=2)
    write_tokenizer(directory)
    return directory


def _built(fg: Path) -> transformers.PreTrainedModel:
    config = transformers.AutoConfig.from_pretrained(fg, trust_remote_code=True)
    return transformers.AutoModelForCausalLM.from_config(
        config, trust_remote_code=True, dtype=torch.bfloat16
    )


def test_everything_but_the_weights_is_written(hf: Path, tmp_path: Path) -> None:
    result = run_convert("--code-only", hf, tmp_path / "code")
    assert "logits bit-identical to the source's. No weights were written" in result.stderr
    complete = snapshot(convert_unchecked(hf, tmp_path / "fg"))
    code = snapshot(tmp_path / "code")
    assert {name for name in complete if name not in code} == {
        name for name in complete if ".safetensors" in name
    }
    different = {name for name in code if code[name] != complete[name]}
    assert different == {"forgather_conversion.json"}


def test_it_is_filled_trained_and_converted_back(hf: Path, tmp_path: Path) -> None:
    fg = tmp_path / "fg"
    convert(hf, fg, ConvertOptions(code_only=True))
    model = _built(fg)
    load_hf_weights(model, hf)
    expected = load_forgather(convert_unchecked(hf, tmp_path / "complete")).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    # from_config does not read it.
    model.generation_config = transformers.GenerationConfig.from_pretrained(fg)
    model.save_pretrained(fg)
    # transformers writes it in a form of its own.
    expected_differences = ["differs: generation_config.json"]
    assert differences(hf, convert_unchecked(fg, tmp_path / "back")) == expected_differences


def test_what_it_lacks_is_said(hf: Path, tmp_path: Path) -> None:
    fg = tmp_path / "fg"
    convert(hf, fg, ConvertOptions(code_only=True, logit_check=False))
    (problem,) = inspect(fg).problems
    assert "a converted Forgather model without its weights" in problem
    assert "--code-only" in problem
    assert "load_hf_weights" in forgather("convert", fg, tmp_path / "back").stderr
    assert inspect(fg).model_type == "llama"


def test_a_forgather_source_is_refused(hf: Path, tmp_path: Path) -> None:
    fg = convert_unchecked(hf, tmp_path / "fg")
    with pytest.raises(OptionError, match="--code-only writes the code of a Forgather model"):
        convert(fg, tmp_path / "back", ConvertOptions(code_only=True))
