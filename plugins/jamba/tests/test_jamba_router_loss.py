"""The auxiliary loss of Jamba's experts."""

from pathlib import Path

import pytest
import torch

from forgather_convert.testing.capabilities import why_absent
from forgather_convert.testing.converted import ConvertedModel, Family
from forgather_convert.testing.running import load_forgather, padding_mask, prompt
from forgather_convert_jamba.jamba import Jamba


def test_it_is_part_of_the_loss(tmp_path: Path) -> None:
    family = Family(Jamba())
    absent = why_absent(family.hooks)
    if absent:
        pytest.skip(absent)
    fields = {
        **Jamba().get_tiny_configs()["experts"],
        "output_router_logits": True,
        "router_aux_loss_coef": 0.5,
    }
    converted = ConvertedModel.create(tmp_path, family, fields, "float32")
    ids = prompt(fields)
    hf, fg = (
        model.train()(ids, attention_mask=padding_mask(ids), labels=ids)
        for model in (family.load_hf(converted.hf), load_forgather(converted.fg))
    )
    assert torch.equal(hf.loss, fg.loss)
    assert torch.equal(hf.aux_loss, fg.aux_loss)
    assert len(fg.router_logits) == 1
    assert all(map(torch.equal, hf.router_logits, fg.router_logits))
