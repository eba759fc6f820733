"""The models that tests beside the conformance kit are run for.

The kit proves every config of a family by itself. These are few, and each has several things
that others lack. Sizes are tiny, but nothing is degenerate: weights are random (norms too), windows
and original context lengths are shorter than :data:`PROMPT_LENGTH`.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

PROMPT_LENGTH = 40
VOCAB_SIZE = 160

BASE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-06,
    "use_cache": True,
    "attention_dropout": 0.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Variant:
    """A model to convert.

    Attributes:
        family: The Hugging Face ``model_type``.
        name: What is special about it.
        fields: Config fields that differ from :data:`BASE`.
        rope: RoPE parameters without theta; ``None`` for the default type.
        theta: The base of the rotary embedding.
        without: Fields that its ``config.json`` does not have.
    """

    family: str
    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    rope: dict[str, Any] | None = None
    theta: float = 10000.0
    without: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.family}-{self.name}"

    def config(self, schema: str = "both") -> dict[str, Any]:
        """Its ``config.json``, with RoPE in transformers' schema ``"4"``, ``"5"`` or both."""
        architecture = {
            "llama": "LlamaForCausalLM",
            "mistral": "MistralForCausalLM",
            "qwen3": "Qwen3ForCausalLM",
        }[self.family]
        config = {
            "architectures": [architecture],
            "model_type": self.family,
            **BASE,
            **self.fields,
        }
        if schema in ("4", "both"):
            config["rope_theta"] = self.theta
            config["rope_scaling"] = self.rope
        if schema in ("5", "both"):
            rope = self.rope or {"rope_type": "default"}
            config["rope_parameters"] = {**rope, "rope_theta": self.theta}
        if self.rope and self.rope["rope_type"] == "longrope":
            config["original_max_position_embeddings"] = self.rope[
                "original_max_position_embeddings"
            ]
        for name in self.without:
            config.pop(name, None)
        # Config classes write into the dictionaries that they are given.
        return copy.deepcopy(config)


_LONG = {"max_position_embeddings": 32}
_YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 16.0,
    "beta_slow": 2.0,
    "mscale": 1.0,
    "mscale_all_dim": 0.8,
    "truncate": False,
}
_LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0 + 0.1 * i for i in range(8)],
    "long_factor": [2.0 + 0.5 * i for i in range(8)],
    "original_max_position_embeddings": 32,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

LLAMA = [
    Variant("llama", "default"),
    Variant("llama", "linear", {"hidden_act": "gelu"}, rope={"rope_type": "linear", "factor": 2.0}),
    # The prompt is longer than the maximum: the frequencies change while it runs.
    Variant("llama", "dynamic-long", _LONG, rope={"rope_type": "dynamic", "factor": 2.0}),
    Variant("llama", "yarn", {"num_key_value_heads": 1}, rope=_YARN),
    Variant("llama", "longrope", rope=_LONGROPE),
    Variant("llama", "llama3", rope=_LLAMA3, theta=500000.0),
    Variant("llama", "biases", {"attention_bias": True, "mlp_bias": True, "pad_token_id": None}),
    Variant("llama", "head-dim", {"head_dim": 32}),
    Variant("llama", "mha", {"num_key_value_heads": 4}),
    Variant("llama", "tied", {"tie_word_embeddings": True}),
]
MISTRAL = [
    Variant("mistral", "window", {"sliding_window": 8}),
    Variant("mistral", "no-window", {"sliding_window": None}),
    Variant("mistral", "head-dim", {"sliding_window": 8, "head_dim": 32}),
    Variant("mistral", "tied", {"sliding_window": 8, "tie_word_embeddings": True}),
]
QWEN3 = [
    Variant("qwen3", "untied", {"head_dim": 16}),
    Variant("qwen3", "tied", {"head_dim": 16, "tie_word_embeddings": True}),
    Variant(
        "qwen3",
        "head-dim-128",
        {"head_dim": 128, "num_attention_heads": 2, "num_key_value_heads": 1},
    ),
    Variant("qwen3", "attention-bias", {"head_dim": 32, "attention_bias": True}),
    Variant("qwen3", "yarn", {"head_dim": 16}, rope=_YARN, theta=1000000.0),
    Variant(
        "qwen3",
        "window-by-layer",
        {"head_dim": 16, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    Variant(
        "qwen3",
        "layer-types",
        {
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": 8,
            "max_window_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
]
_ALL = LLAMA + MISTRAL + QWEN3
#: For what every branch of the code may break.
VARIANTS = [
    variant
    for variant in _ALL
    if variant.id
    in (
        "llama-default",
        "llama-dynamic-long",
        "llama-yarn",
        "llama-longrope",
        "llama-biases",
        "llama-tied",
        "mistral-window",
        "mistral-tied",
        "qwen3-head-dim-128",
        "qwen3-attention-bias",
        "qwen3-layer-types",
    )
]
#: One of each family, for what does not depend on the variant.
PLAIN = [LLAMA[0], MISTRAL[0], QWEN3[0]]


def variant(name: str) -> Variant:
    """The variant with an id, as ``"llama-tied"``."""
    return next(candidate for candidate in _ALL if candidate.id == name)
