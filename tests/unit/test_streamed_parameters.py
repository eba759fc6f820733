"""A streamed model computes what the same model computes when it is loaded in the ordinary way."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from forgather_convert.logit_check import streamed_parameters
from forgather_convert.logit_check.streamed_parameters import LogitSelection, streamed
from support.safetensors_writer import write_safetensors

_WINDOW = 6
_LENGTH = 20
_VOCAB = 96
_BASE: dict[str, Any] = {
    "vocab_size": _VOCAB,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
#: What each is among: the standard decoders; a softcap and norms of another kind; a scaled
#: embedding whose scale is a buffer in the run's dtype; buffers that only the model within the
#: model can initialize; one fused product; experts; a head that is tied, and matrices that are used
#: transposed; positions that are embedded; parameters that a class keeps in float32; inverse
#: frequencies that a run changes.
_MODELS = {
    "llama": _BASE,
    "mistral": {**_BASE, "sliding_window": _WINDOW},
    "qwen2": {**_BASE, "use_sliding_window": True, "sliding_window": _WINDOW},
    "qwen3": _BASE,
    "phi3": _BASE,
    "gemma2": {**_BASE, "sliding_window": _WINDOW},
    "gemma3_text": {**_BASE, "sliding_window": _WINDOW},
    "gemma3n_text": {
        **_BASE,
        "sliding_window": _WINDOW,
        "layer_types": ["sliding_attention", "full_attention"],
        "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 16,
        "vocab_size_per_layer_input": _VOCAB,
        "laurel_rank": 8,
    },
    "gpt_neox": {key: _BASE[key] for key in _BASE if key != "num_key_value_heads"},
    "mixtral": {**_BASE, "num_local_experts": 4},
    "gpt2": {"vocab_size": _VOCAB, "n_embd": 64, "n_layer": 2, "n_head": 4},
    "opt": {**_BASE, "ffn_dim": 96, "word_embed_proj_dim": 64},
    "deepseek_v3": {
        **_BASE,
        "num_key_value_heads": 4,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 16,
        "head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "moe_intermediate_size": 32,
        "first_k_dense_replace": 1,
    },
    "dynamic rope": {
        **_BASE,
        "max_position_embeddings": 8,
        "rope_scaling": _DYNAMIC,
        "rope_parameters": _DYNAMIC,
    },
}
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(params=_MODELS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[type[Any], Path]:
    """A model's class, and a directory with such a model in bfloat16."""
    kind = "llama" if request.param == "dynamic rope" else request.param
    model = random_model(kind, _MODELS[request.param])
    model.save_pretrained(tmp_path)
    return type(model), tmp_path


def random_model(kind: str, fields: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **fields)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(torch.randn(tensor.shape) * 0.1)
    return model


def prompt(length: int = _LENGTH) -> torch.Tensor:
    return torch.randint(3, _VOCAB, (1, length), generator=torch.Generator().manual_seed(1))


def load(model_class: type[Any], directory: Path, dtype: torch.dtype) -> Any:
    return model_class.from_pretrained(directory, dtype=dtype).eval()


def in_own_memory(model: Any) -> Any:
    """The model as if its weights had been read instead of mapped."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
        assert parameter.data_ptr() % 64 == 0
    return model


def logits(model: Any, ids: torch.Tensor | None = None) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(prompt() if ids is None else ids, use_cache=False).logits
    return result


def streamed_logits(
    model: Any, dtype: torch.dtype, selection: LogitSelection | None = None, **kwargs: Any
) -> torch.Tensor:
    with streamed(model, dtype, "cpu", selection):
        return logits(model, **kwargs)


def assert_same(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.dtype == expected.dtype
    assert expected.isfinite().all()
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float32], ids=str)
def test_logits_are_those_of_the_model_in_memory(
    written: tuple[type[Any], Path], stored: torch.dtype
) -> None:
    """Whatever the dtype is that it is stored in, and whatever the one it runs in."""
    model_class, directory = written
    if stored != torch.bfloat16:
        load(model_class, directory, stored).save_pretrained(directory)
    model = load(model_class, directory, stored)
    for dtype in _DTYPES:
        expected = logits(in_own_memory(load(model_class, directory, dtype)))
        assert_same(streamed_logits(model, dtype), expected)


def test_weights_of_several_dtypes_are_rounded_as_on_loading(tmp_path: Path) -> None:
    """Also where the first of them, which says the model's dtype, is in the run's dtype."""
    model_class = transformers.LlamaForCausalLM
    random_model("llama", _BASE).save_pretrained(tmp_path)
    model = load(model_class, tmp_path, torch.bfloat16)
    wide = random_model("llama", _BASE).float()
    model.model.norm = wide.model.norm
    model.model.layers[1] = wide.model.layers[1]
    with torch.no_grad():
        for tensor in (model.model.norm.weight, model.model.layers[1].mlp.up_proj.weight):
            tensor.mul_(1 + 2.0**-12)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for dtype in _DTYPES:
        plain = load(model_class, tmp_path, dtype)
        plain.load_state_dict({name: tensor.to(dtype) for name, tensor in expected.items()})
        assert_same(streamed_logits(model, dtype), logits(in_own_memory(plain)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_dtypes_and_buffers_are_those_of_the_model_in_memory(
    written: tuple[type[Any], Path], dtype: torch.dtype
) -> None:
    """Scales that are computed in the run's dtype, and what a class keeps in float32."""
    model, expected = (load(*written, kind) for kind in (torch.bfloat16, dtype))
    dtypes, buffers = streamed_parameters._as_if_loaded_in(model, dtype)
    for name, parameter in expected.named_parameters():
        assert dtypes[name] == parameter.dtype, name
    for name, buffer in expected.named_buffers():
        assert buffers[name].dtype == buffer.dtype, name
        # What is stored in bfloat16 is the same in float32 and, here, in float16.
        assert torch.equal(buffers[name], buffer), name


def test_what_a_run_changes_is_put_back(written: tuple[type[Any], Path]) -> None:
    model = load(*written, torch.bfloat16)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    before = {name: (tensor, tensor.clone()) for name, tensor in tensors.items()}
    streamed_logits(model, torch.float32)
    with pytest.raises(IndexError):
        streamed_logits(model, torch.float32, ids=torch.tensor([[3, _VOCAB]]))
    assert model.config.dtype == torch.bfloat16
    assert torch.get_default_dtype() == torch.float32
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert after.keys() == before.keys()
    for name, (tensor, value) in before.items():
        assert after[name] is tensor
        assert torch.equal(tensor, value)


def test_alignment_of_the_file_does_not_show(tmp_path: Path) -> None:
    """A product of one row in float32 is the one whose last bits tell where the memory lies."""
    model = random_model("llama", _BASE).float()
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    state = {name: tensor.clone() for name, tensor in load_file(weights).items()}
    ids = prompt(length=1)
    expected = logits(in_own_memory(model), ids)
    remainders = set()
    for spaces in (0, 8):
        write_safetensors(weights, state, more_spaces=spaces)
        mapped = load(type(model), tmp_path, torch.float32)
        remainders |= {parameter.data_ptr() % 16 for parameter in mapped.parameters()}
        assert_same(streamed_logits(mapped, torch.float32, ids=ids), expected)
    assert remainders == {0, 8}


# Models of unusual shape. Their values are small integers: sums of products are exact, whatever
# the shape and the order.


class _Doubling(torch.nn.Module):
    """Has a parameter of its own and a child whose parameter it uses itself."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((4,), 2.0))
        self.inner = torch.nn.Linear(4, 4, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return (hidden * self.scale) @ self.inner.weight.T


class _OddModel(transformers.PreTrainedModel):  # type: ignore[misc]
    """One layer twice, a parameter beside the modules, and a head with a bias."""

    config_class = transformers.PretrainedConfig
    base_model_prefix = "none"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embedding = torch.nn.Embedding(10, 4)
        layer = _Doubling()
        self.layers = torch.nn.ModuleList([layer, layer])
        self.shift = torch.nn.Parameter(torch.ones(4))
        self.head = torch.nn.Linear(4, 10)
        self.post_init()

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def forward(self, ids: Any = None, hidden: Any = None) -> torch.Tensor:
        if hidden is None:
            hidden = self.embedding(ids)
        for layer in self.layers:
            hidden = layer(hidden)
        logits: torch.Tensor = self.head(hidden + self.shift.to(self.dtype).to(self.device))
        return logits


@pytest.fixture
def odd() -> _OddModel:
    model = _OddModel(transformers.PretrainedConfig(dtype="bfloat16"))
    model.to(torch.bfloat16).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape, generator=generator))
    return model


_IDS = torch.tensor([[1, 5, 9, 0, 7]])


@torch.no_grad()
def test_parameters_may_be_used_by_any_module_and_any_number_of_times(odd: _OddModel) -> None:
    with streamed(odd, torch.float32, "cpu"):
        found = odd(_IDS)
    assert_same(found, odd.float()(_IDS))


@torch.no_grad()
def test_everything_is_moved_to_the_device(odd: _OddModel) -> None:
    """``meta`` stands for an accelerator: it does not mix with the CPU either."""
    with streamed(odd, torch.float32, "meta"):
        found = odd(hidden=torch.empty(1, 5, 4, device="meta"))
        assert (odd.device.type, odd.dtype) == ("meta", torch.float32)
    assert (found.device.type, found.dtype) == ("meta", torch.float32)
    assert (odd.device.type, odd.dtype) == ("cpu", torch.bfloat16)


@pytest.mark.parametrize("chunk", [2**20, 3 * 4 * 4, 1])
@torch.no_grad()
def test_head_computes_the_selected_logits(
    odd: _OddModel, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks of all rows, of three and of one."""
    monkeypatch.setattr(streamed_parameters, "_CHUNK", chunk)
    tokens = (8, 0, 1, 2, 5, 9, 3)
    with streamed(odd, torch.float32, "cpu"):
        everything = odd(_IDS)
    with streamed(odd, torch.float32, "cpu", LogitSelection(tokens, positions=2)):
        selected = odd(_IDS)
    assert_same(everything, odd.float()(_IDS))
    assert_same(selected, everything[:, -2:, list(tokens)])


def test_selection_is_made_before_the_softcap(tmp_path: Path) -> None:
    """What the model does with its logits is done with the selected ones, too."""
    fields = {**_BASE, "final_logit_softcapping": 0.5}
    random_model("gemma2", fields).save_pretrained(tmp_path)
    model = load(transformers.Gemma2ForCausalLM, tmp_path, torch.bfloat16)
    found = streamed_logits(model, torch.float32, LogitSelection((3, 90), positions=2))
    assert found.shape == (1, 2, 2)
    assert found.abs().max() <= 0.5
