"""Converters that are wrong in one thing each, for a model in which everything shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgather_convert import RopeParameters, transpose
from forgather_convert_qwen3.qwen3 import Qwen3
from support.variants import Variant

#: All matrices of its attention are square, the window is shorter than a check, and no field has
#: the value that a class has by default.
REVEALING = Variant(
    "qwen3",
    "revealing",
    {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_key_value_heads": 4,
        "head_dim": 8,
        "rms_norm_eps": 1e-03,
        "use_sliding_window": True,
        "sliding_window": 12,
        "layer_types": ["full_attention", "sliding_attention"],
    },
    theta=500000.0,
)

_LAYER = "model.layers.{layer}."
_ATTENTION = f"{_LAYER}self_attn."
_MAPPING: Mapping[Any, Any] = Qwen3.weight_mapping


class SwapsQueriesAndKeys(Qwen3):
    """Takes queries for keys."""

    def get_weight_mapping(self, direction: str) -> Any:
        return _swapped(f"{_ATTENTION}q_proj.weight", f"{_ATTENTION}k_proj.weight")


class SwapsNorms(Qwen3):
    """Takes the norm of the attention for that of the feed-forward."""

    def get_weight_mapping(self, direction: str) -> Any:
        return _swapped(
            f"{_LAYER}input_layernorm.weight", f"{_LAYER}post_attention_layernorm.weight"
        )


class SwapsLayers(Qwen3):
    """Is one layer off."""

    def get_weight_mapping(self, direction: str) -> Any:
        mapping: dict[Any, Any] = {}
        for hf, fg in _MAPPING.items():
            if "{layer}" not in hf:
                mapping[hf] = fg
                continue
            for layer in range(2):
                mapping[hf.format(layer=layer)] = str(fg).format(layer=(layer + 1) % 2)
        return mapping


class TransposesOutputs(Qwen3):
    """Transposes a square matrix."""

    def get_weight_mapping(self, direction: str) -> Any:
        name = f"{_ATTENTION}o_proj.weight"
        return {**_MAPPING, name: transpose(_forgather_name(name))}


class LosesTheta(Qwen3):
    """Writes the default base of the rotary embedding."""

    def create_project_config(self, src_config: Any, max_length: int | None = None) -> Any:
        rope = RopeParameters("default", 10000.0, {})
        return _with(super().create_project_config(src_config, max_length), rope.to_fields())


class LosesEpsilon(Qwen3):
    """Writes the usual epsilon of norms."""

    def create_project_config(self, src_config: Any, max_length: int | None = None) -> Any:
        project = super().create_project_config(src_config, max_length)
        return _with(project, {"rms_norm_eps": 1e-06})


class LosesWindow(Qwen3):
    """Lets all layers attend to everything."""

    def create_project_config(self, src_config: Any, max_length: int | None = None) -> Any:
        types = ["full_attention"] * 2
        project = super().create_project_config(src_config, max_length)
        return _with(project, {"layer_types": types})


class TiesHead(Qwen3):
    """Takes the embedding for the head, or the other way round."""

    def create_project_config(self, src_config: Any, max_length: int | None = None) -> Any:
        project = super().create_project_config(src_config, max_length)
        return _with(project, {"tie_word_embeddings": not src_config.tie_word_embeddings})


class ForgetsHeadNorms(Qwen3):
    """Has no norms of queries and keys."""

    components = {}


class IgnoresHeadNorms(Qwen3):
    """Has the norms of queries and keys, and does not apply them."""

    components = {"attention": "unnormalized:Unnormalized"}
    component_paths = (Path(__file__).parent / "components",)


def _swapped(one: str, other: str) -> dict[Any, Any]:
    return {**_MAPPING, one: _MAPPING[other], other: _MAPPING[one]}


def _forgather_name(name: str) -> str:
    return str(_MAPPING[name])


def _with(project: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**project, "config": {**project["config"], **fields}}
