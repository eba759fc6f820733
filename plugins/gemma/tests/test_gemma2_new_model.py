"""A new Gemma 2 begins as transformers begins it: norms whose weights are zero."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Gemma2ForCausalLM

from forgather_convert import convert
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.testing.models import write_model
from forgather_convert_gemma.gemma2 import Gemma2


@pytest.mark.filterwarnings("ignore::DeprecationWarning:(?!forgather)")
@pytest.mark.filterwarnings("ignore::FutureWarning:(?!forgather)")
def test_norms_of_a_new_model(tmp_path: Path) -> None:
    converter = Gemma2()
    fields = converter.get_tiny_configs()["windows-softcaps-tied"]
    write_model(tmp_path / "hf", FamilyHooks(converter, "under test"), fields)
    convert(tmp_path / "hf", tmp_path / "fg", converter=converter)
    config = AutoConfig.from_pretrained(tmp_path / "fg", trust_remote_code=True)
    hf_config = Gemma2ForCausalLM.config_class.from_pretrained(tmp_path / "hf")
    norms = [
        parameter
        for model in (
            AutoModelForCausalLM.from_config(config, trust_remote_code=True),
            Gemma2ForCausalLM(hf_config),
        )
        for name, parameter in model.named_parameters()
        if "norm" in name
    ]
    assert len(norms) == 2 * (4 * fields["num_hidden_layers"] + 1)
    assert not any(map(torch.count_nonzero, norms))
