"""The bias of Phi's head has an element for every token, and grows with the vocabulary."""

from pathlib import Path

import torch

from forgather_convert.testing.converted import Family
from forgather_convert.testing.models import read_weights, write_model
from forgather_convert.testing.tokenizer import write_tokenizer
from forgather_convert_phi.phi import Phi

_TOKENS = """
special_tokens:
  - <|mean|>
  - {token: <|zero|>, init: zero}
  - {token: <|copy|>, init: {copy: "</s>"}}
"""


def test_new_elements_are_what_their_init_promises(tmp_path: Path) -> None:
    """The mean, unless a token says otherwise, as in transformers' resize_token_embeddings."""
    family, source = Family(Phi()), tmp_path / "hf"
    source.mkdir()
    size = write_tokenizer(source)
    fields = {**Phi().get_tiny_configs()["plain"], "vocab_size": size, "pad_token_id": 3}
    write_model(source, family.hooks, fields)
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(_TOKENS, encoding="utf-8")
    fg = family.convert(source, tmp_path / "fg", token_file=tokens)
    old = read_weights(source)["lm_head.bias"]
    for directory in (fg, family.convert(fg, tmp_path / "back")):
        new = read_weights(directory)["lm_head.bias"]
        assert torch.equal(new[:size], old)
        assert new[size:].tolist() == [old.mean().item(), 0.0, old[2].item()]
