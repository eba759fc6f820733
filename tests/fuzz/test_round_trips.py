"""Models of any small architecture come back as they were, byte by byte."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.converting import convert_unchecked
from support.directories import differences
from support.fuzzing import times
from support.models import random_state, write_hf_model
from support.variants import Variant

pytestmark = pytest.mark.version_independent

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@st.composite
def variants(draw: st.DrawFn) -> Variant:
    heads = draw(st.sampled_from([1, 2, 3, 4, 6]))
    groups = draw(
        st.sampled_from([groups for groups in range(1, heads + 1) if heads % groups == 0])
    )
    head_dim = 2 * draw(st.integers(1, 8))
    fields: dict[str, Any] = {
        "vocab_size": draw(st.integers(4, 40)),
        "hidden_size": heads * head_dim,
        "intermediate_size": draw(st.integers(1, 30)),
        "num_hidden_layers": draw(st.integers(1, 4)),
        "num_attention_heads": heads,
        "num_key_value_heads": heads // groups,
        "tie_word_embeddings": draw(st.booleans()),
    }
    family = draw(st.sampled_from(["llama", "mistral", "qwen3"]))
    if family == "llama":
        fields |= {"attention_bias": draw(st.booleans()), "mlp_bias": draw(st.booleans())}
    else:
        fields["head_dim"] = draw(st.sampled_from([head_dim, 4, 32]))
    return Variant(family, "any", fields)


EXTRA_FILES = st.dictionaries(
    st.sampled_from(["README.md", "LICENSE", "notes.txt", "vocab.txt", "preprocessor.yaml"]),
    st.binary(max_size=20),
    max_size=3,
)


@times(2)
@given(variant=variants(), data=st.data())
def test_every_byte_comes_back(
    variant: Variant, data: st.DataObject, tmp_path_factory: Any
) -> None:
    root: Path = tmp_path_factory.mktemp("any")
    state = random_state(variant, torch.float32)
    mixed = {name: tensor.to(data.draw(st.sampled_from(DTYPES))) for name, tensor in state.items()}
    bits = mixed[data.draw(st.sampled_from(sorted(mixed)))]
    bits.view(-1)[data.draw(st.integers(0, bits.numel() - 1))] = data.draw(
        st.sampled_from([math.nan, -math.inf, -0.0, 1e-45])
    )
    source = write_hf_model(
        root / "hf",
        variant,
        schema=data.draw(st.sampled_from(["4", "5", "both"])),
        shards=data.draw(st.integers(1, 4)),
        state=mixed,
    )
    for name, content in data.draw(EXTRA_FILES).items():
        (source / name).write_bytes(content)
    fg = convert_unchecked(source, root / "fg")
    assert differences(source, convert_unchecked(fg, root / "back")) == []
