"""Converters that lie, each about one thing: none of what they make may be delivered.

They are made systematically: every field of the config is lost and changed, with and without the
original config to come back, consistently on both ways or on one; every pair of tensors of the
same shape is swapped; every component is wrong for one form of its input.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import Qwen3Config

from forgather_convert import HFConverter, transpose
from forgather_convert_llama.llama import Llama
from forgather_convert_qwen3.qwen3 import Qwen3
from support.variants import Variant
from support.wrong_converters import REVEALING

#: No field has the value that a class has by default.
QWEN3 = replace(
    REVEALING,
    fields={
        **REVEALING.fields,
        "hidden_act": "gelu",
        "attention_bias": True,
        "attention_dropout": 0.25,
        "bos_token_id": 4,
        "eos_token_id": [5, 6],
        "initializer_range": 0.05,
        "max_position_embeddings": 96,
        "max_window_layers": 1,
        "pad_token_id": 7,
        "use_cache": False,
    },
)
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
LLAMA_YARN = Variant("llama", "far-yarn", {"max_position_embeddings": 8192}, rope=_YARN)
_LONGROPE = {
    "rope_type": "longrope",
    "factor": 4.0,
    "short_factor": [1.0 + 0.1 * i for i in range(8)],
    "long_factor": [2.0 + 0.5 * i for i in range(8)],
    "original_max_position_embeddings": 2048,
}
LLAMA_LONGROPE = Variant("llama", "far-longrope", {"max_position_embeddings": 8192}, rope=_LONGROPE)

#: What each field is changed to.
_CHANGES: Mapping[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.5,
    "bos_token_id": 9,
    "eos_token_id": 5,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.5,
    "intermediate_size": 64,
    "layer_types": ["sliding_attention", "full_attention"],
    "max_position_embeddings": 97,
    "max_window_layers": 2,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-5,
    "sliding_window": 13,
    "tie_word_embeddings": True,
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 150,
}
#: What a config of no model says, and transformers obeys or repeats.
_INJECTIONS: Mapping[str, Any] = {
    "auto_map": {"AutoModelForCausalLM": "elsewhere.Model"},
    "chunk_size_feed_forward": 3,
    "is_encoder_decoder": True,
    "output_attentions": True,
    "output_hidden_states": True,
    "problem_type": "regression",
    "quantization_config": {"quant_method": "fp8"},
    "return_dict": False,
    "transformers_weights": "elsewhere.safetensors",
    "of_no_meaning": 1,
}
_LAYER = "model.layers.{layer}."
_SWAPS = {
    "queries and keys": ("self_attn.q_proj.weight", "self_attn.k_proj.weight"),
    "keys and values": ("self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "values and outputs": ("self_attn.v_proj.weight", "self_attn.o_proj.weight"),
    "gates and ups": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "the norms of a layer": ("input_layernorm.weight", "post_attention_layernorm.weight"),
    "the norms of heads": ("self_attn.q_norm.weight", "self_attn.k_norm.weight"),
    "biases": ("self_attn.q_proj.bias", "self_attn.v_proj.bias"),
}
#: When a component is wrong, by a name: an expression of ``x``, ``[batch, length, size]``.
_INPUTS = {
    "a single token": "x.shape[1] == 1",
    "two tokens": "x.shape[1] == 2",
    "an odd number of tokens": "x.shape[1] == 11",
    "any odd number of tokens but one": "x.shape[1] % 2 == 1 and x.shape[1] > 1",
    "a batch": "x.shape[0] > 1",
    "one row of several tokens": "x.shape[0] == 1 and x.shape[1] > 2",
    "a prompt past the window": "x.shape[1] > 12",
}
#: The same, of the further arguments of an attention.
_ATTENTION_INPUTS = {
    **_INPUTS,
    "a cache": "kwargs.get('past_key_values') is not None",
    "a filled cache": "kwargs.get('past_key_values') is not None and x.shape[1] == 1",
    "no cache": "kwargs.get('past_key_values') is None",
    "padding": "x.shape[0] > 1 and kwargs.get('attention_mask') is not None",
}
_WRONG = '''
"""Wrong for {name}."""

from typing import Any

import torch

from .{module} import {base}


class Wrong({base}):
    """Wrong for {name}."""

    def forward(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        output = super().forward(x, **kwargs)
        return output * 1.001 if {condition} else output
'''
#: The components that are made wrong: what each derives from, and its input.
_COMPONENTS = {
    "attention": ("qk_norm_attention:QKNormAttention", _ATTENTION_INPUTS),
    "feedforward": ("gated_feedforward:GatedFeedforward", _INPUTS),
    "norm": ("rms_norm:RMSNorm", {"a single token": "x.ndim == 3 and x.shape[1] == 1"}),
}


@dataclass(frozen=True)
class Lie:
    """A converter that lies.

    Attributes:
        name: About what.
        variant: The model in which it shows.
        make: Makes it, given a directory of its own.
        to_forgather: Whether it lies on the way to Forgather, or back.
        keeps_original: Whether the original config is there to come back.
    """

    name: str
    variant: Variant
    make: Callable[[Path], HFConverter]
    to_forgather: bool
    keeps_original: bool = False

    @property
    def id(self) -> str:
        direction = "to" if self.to_forgather else "from"
        return f"{direction}-{self.name}{'-restored' if self.keeps_original else ''}"


def _subclass(base: type[HFConverter], **members: Any) -> Callable[[Path], HFConverter]:
    return lambda directory: type("Liar", (base,), members)()


def _project_with(change: Callable[[dict[str, Any]], None], **more: Any) -> dict[str, Any]:
    """A hook that changes the config of the Forgather model."""

    def create_project_config(self: Any, src_config: Any, max_length: int | None = None) -> Any:
        project = super(type(self), self).create_project_config(src_config, max_length)
        config = dict(project["config"])
        change(config)
        return {**project, "config": config}

    return {"create_project_config": create_project_config, **more}


def _hf_config_with(change: Callable[[Any], None]) -> dict[str, Any]:
    """A hook that changes the config of the Hugging Face model."""

    def create_hf_config(self: Any, src_config: Any, max_length: int | None = None) -> Any:
        config = super(type(self), self).create_hf_config(src_config, max_length)
        change(config)
        return config

    return {"create_hf_config": create_hf_config}


def _set(name: str, value: Any) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        if isinstance(config, dict):
            config[name] = value
        else:
            setattr(config, name, value)

    return change


def _config_lies() -> Iterator[Lie]:
    original, default = QWEN3.config(), Qwen3Config().to_dict()
    for name, value in _CHANGES.items():
        back = _hf_config_with(_set(name, original[name]))
        lose, change = _set(name, default[name]), _set(name, value)
        there = {
            f"loses {name}": _project_with(lose),
            f"loses {name} and invents it again": _project_with(lose, **back),
            f"changes {name}": _project_with(change),
            f"changes {name} and back": _project_with(change, **back),
        }
        is_default = original[name] == default[name]
        for what, members in there.items():
            if not (is_default and what.startswith("loses")):
                yield Lie(what, QWEN3, _subclass(Qwen3, **members), True)
        for what, action in (("loses", lose), ("changes", change)):
            if is_default and what == "loses":
                continue
            members = _hf_config_with(action)
            yield Lie(f"{what} {name}", QWEN3, _subclass(Qwen3, **members), False)
    for name, value in _INJECTIONS.items():
        if name not in ("auto_map", "of_no_meaning"):
            members = _project_with(_set(name, value))
            yield Lie(f"injects {name}", QWEN3, _subclass(Qwen3, **members), True)
        members = _hf_config_with(_set(name, value))
        yield Lie(f"injects {name}", QWEN3, _subclass(Qwen3, **members), False)


def _rope_lies() -> Iterator[Lie]:
    changes: dict[str, tuple[Variant, str, Any]] = {
        "the base": (LLAMA_YARN, "rope_theta", 10001.0),
        "yarn's factor": (LLAMA_YARN, "factor", 8.0),
        "yarn's original length": (LLAMA_YARN, "original_max_position_embeddings", 2056),
        "yarn's type": (LLAMA_YARN, "rope_type", "linear"),
        "yarn's beta": (LLAMA_YARN, "beta_fast", 16.0),
        "longrope's original length": (LLAMA_LONGROPE, "original_max_position_embeddings", 2056),
        "longrope's factor": (LLAMA_LONGROPE, "factor", 2.0),
        "longrope's long factors": (LLAMA_LONGROPE, "long_factor", [2.0] * 8),
        "longrope's short factors": (LLAMA_LONGROPE, "short_factor", [1.5] * 8),
        "longrope's attention factor": (LLAMA_LONGROPE, "attention_factor", 1.25),
    }
    for what, (variant, key, value) in changes.items():

        def changed(src_config: Any, key: str = key, value: Any = value) -> Any:
            fields = src_config.to_dict()
            parameters = {**(fields.get("rope_parameters") or {}), key: value}
            scaling = {name: item for name, item in parameters.items() if name != "rope_theta"}
            changes = {"rope_parameters": parameters, "rope_scaling": scaling}
            if key in ("rope_theta", "original_max_position_embeddings") and key in fields:
                changes[key] = value
            return src_config.updated(changes)

        def to_project(
            self: Any, src_config: Any, max_length: int | None = None, changed: Any = changed
        ) -> Any:
            return Llama.create_project_config(self, changed(src_config), max_length)

        def to_hf(
            self: Any, src_config: Any, max_length: int | None = None, changed: Any = changed
        ) -> Any:
            return Llama.create_hf_config(self, changed(src_config), max_length)

        for hook, direction in (("create_project_config", True), ("create_hf_config", False)):
            function = to_project if direction else to_hf
            make = _subclass(Llama, **{hook: function})
            yield Lie(f"changes {what}", variant, make, direction)


def _mapping_lies() -> Iterator[Lie]:
    mapping: dict[Any, Any] = dict(Qwen3.weight_mapping)

    def lie(name: str, changed: Mapping[Any, Any]) -> Iterator[Lie]:
        def get_weight_mapping(self: Any, direction: str) -> Any:
            return dict(changed)

        make = _subclass(Qwen3, get_weight_mapping=get_weight_mapping)
        for direction in (True, False):
            for keeps in (False, True) if not direction else (False,):
                yield Lie(name, QWEN3, make, direction, keeps)

    for what, (one, other) in _SWAPS.items():
        one, other = _LAYER + one, _LAYER + other
        if one in mapping and other in mapping:
            yield from lie(f"swaps {what}", {**mapping, one: mapping[other], other: mapping[one]})
    for part in ("q_proj", "o_proj"):
        name = f"{_LAYER}self_attn.{part}.weight"
        yield from lie(f"transposes {part}", {**mapping, name: transpose(str(mapping[name]))})
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"
    yield from lie(
        "swaps embedding and head",
        {**mapping, embedding: mapping[head], head: mapping[embedding]},
    )
    shifted: dict[Any, Any] = {}
    for hf, fg in mapping.items():
        if "{layer}" not in str(hf):
            shifted[hf] = fg
            continue
        for layer in range(2):
            shifted[hf.format(layer=layer)] = str(fg).format(layer=1 - layer)
    yield from lie("swaps layers", shifted)


def _component_lies() -> Iterator[Lie]:
    for role, (component, inputs) in _COMPONENTS.items():
        module, base = component.split(":")
        for name, condition in inputs.items():

            def make(
                directory: Path,
                role: str = role,
                module: str = module,
                base: str = base,
                name: str = name,
                condition: str = condition,
            ) -> HFConverter:
                directory.mkdir(parents=True, exist_ok=True)
                text = _WRONG.format(name=name, module=module, base=base, condition=condition)
                (directory / "wrong_component.py").write_text(text)
                components = {**Qwen3.components, role: "wrong_component:Wrong"}
                members = {"components": components, "component_paths": (directory,)}
                liar: HFConverter = type("Liar", (Qwen3,), members)()
                return liar

            yield Lie(f"{role} wrong for {name}", QWEN3, make, True)


LIES: tuple[Lie, ...] = (
    *_config_lies(),
    *_rope_lies(),
    *_mapping_lies(),
    *_component_lies(),
)
