"""The examples of the page on the Python API run, and it names all that is public."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import forgather_convert
from forgather_convert import inspect
from support.directories import differences
from support.models import load_forgather, write_hf_model
from support.tokenizers import write_byte_level_bpe
from support.variants import BASE, Variant

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "python-api.md").read_text()


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "vocab_size": 400}
    hf = write_hf_model(tmp_path / "hf_llama", Variant("llama", "small", {**BASE, **fields}))
    assert write_byte_level_bpe(hf, pad_token="</s>") <= 400
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        # What libraries say of small machines and smaller data is not the matter here.
        warnings.simplefilter("ignore")
        for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
            exec(compile(block, "docs/python-api.md", "exec"), names)
    assert sorted(path.name for path in Path("run").iterdir()) == ["checkpoint-2", "hf-2"]
    assert inspect(Path("hf_saved_bf16")).dtype == "bfloat16"
    assert differences(Path("hf_saved"), hf) == []
    filled, expected = names["model"].state_dict(), load_forgather(Path("fg_llama")).state_dict()
    assert all(torch.equal(filled[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", forgather_convert.__all__)
def test_all_that_is_public_is_documented(name: str) -> None:
    assert any(re.search(rf"\b{name}\b", page.read_text()) for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("name", forgather_convert.__all__)
def test_all_that_is_public_is_there(name: str) -> None:
    """The stub, from which the list comes, names modules that have it."""
    assert hasattr(forgather_convert, name)
