"""Models of any small architecture come back as they were, byte by byte."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st

from forgather_convert.discovery.choice import resolve_converter
from forgather_convert.testing.models import config_content
from forgather_convert.weights.file_names import is_weights_name
from support.converting import convert_unchecked
from support.directories import differences
from support.fuzzing import times
from support.models import write_weights

pytestmark = [
    pytest.mark.version_independent,
    # transformers warns about what is drawn.
    pytest.mark.filterwarnings("ignore"),
]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A small architecture of one of several families."""
    heads = draw(st.sampled_from([1, 2, 3, 4, 6]))
    groups = draw(
        st.sampled_from([groups for groups in range(1, heads + 1) if heads % groups == 0])
    )
    head_dim = 2 * draw(st.integers(1, 8))
    layers = draw(st.integers(1, 4))
    common = {
        "vocab_size": draw(st.integers(4, 40)),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": 1,
        "eos_token_id": draw(st.sampled_from([2, [2, 3], None])),
    }
    family = draw(st.sampled_from(["llama", "mistral", "qwen3", "gemma2", "gpt2", "qwen2"]))
    if family == "gpt2":
        sizes = {"n_embd": heads * head_dim, "n_layer": layers, "n_head": heads, "n_positions": 16}
        inner = draw(st.one_of(st.none(), st.integers(1, 30)))
        return {"model_type": family, **common, **sizes, "n_inner": inner}
    fields: dict[str, Any] = {
        "model_type": family,
        **common,
        "hidden_size": heads * head_dim,
        "intermediate_size": draw(st.integers(1, 30)),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": draw(st.integers(1, 99)),
    }
    fields["num_key_value_heads"] = heads // groups
    if family == "llama":
        fields |= {"attention_bias": draw(st.booleans()), "mlp_bias": draw(st.booleans())}
    elif family != "qwen2":
        fields["head_dim"] = draw(st.sampled_from([head_dim, 4, 32]))
    if family == "gemma2":
        fields["sliding_window"] = draw(st.integers(1, 9))
    return fields


def state_of(config: dict[str, Any], data: st.DataObject) -> dict[str, torch.Tensor]:
    """Weights as transformers stores them, in any dtypes, with bits that no number stands for."""
    state = {}
    for name, shape in stored_shapes(config).items():
        values = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape) / 7
        state[name] = values.to(data.draw(st.sampled_from(DTYPES)))
    bits = state[data.draw(st.sampled_from(sorted(state)))].view(-1)
    bits[data.draw(st.integers(0, len(bits) - 1))] = data.draw(
        st.sampled_from([math.nan, -math.inf, -0.0, 1e-45])
    )
    return state


def stored_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(**config)
        )
    tied = set(model._tied_weights_keys or ()) if config["tie_word_embeddings"] else set()
    return {n: tuple(t.shape) for n, t in model.state_dict().items() if n not in tied}


EXTRA_FILES = st.dictionaries(
    st.one_of(
        st.sampled_from(["README.md", "LICENSE", "notes.txt", "vocab.txt", ".hidden", "a b", "\n"]),
        st.text(
            st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1
        ).map(lambda name: name[:50]),
    ),
    st.binary(max_size=20),
    max_size=3,
)


@times(2)
@given(config=configs(), data=st.data())
def test_every_byte_comes_back(
    config: dict[str, Any], data: st.DataObject, tmp_path_factory: Any
) -> None:
    root: Path = tmp_path_factory.mktemp("any")
    source = root / "hf"
    source.mkdir()
    schema = data.draw(st.sampled_from(["4", "5", "both"]))
    content = config_content(resolve_converter(config["model_type"]), config, schema)
    content["dtype"] = data.draw(st.sampled_from(["float32", "bfloat16", "float16"]))
    indent = data.draw(st.sampled_from([None, 1, 2]))
    (source / "config.json").write_text(json.dumps(content, indent=indent))
    write_weights(source, state_of(config, data), data.draw(st.integers(1, 4)))
    for name, extra in data.draw(EXTRA_FILES).items():
        assume(name not in (".", "..") and not is_weights_name(name))
        (source / name).write_bytes(extra)
    sizes = st.one_of(st.none(), st.integers(1, 20_000))
    fg = convert_unchecked(source, root / "fg", max_shard_size=data.draw(sizes))
    assert differences(source, convert_unchecked(fg, root / "back")) == []
