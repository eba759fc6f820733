"""Apertus: norms of queries and keys, and an activation with parameters."""

from forgather_convert import STANDARD, HFConverter


class Apertus(HFConverter):
    """Apertus."""

    model_type = "apertus"
    hf_model = "ApertusForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    # Before, the activation cannot be made without memory for its values.
    needs_transformers = "5.4"
    hyperparameters = (*STANDARD, "attention_bias")
    layer_weights = {
        "attention_layernorm": "norm1",
        "feedforward_layernorm": "norm2",
    }
    layer_tensors = {
        "mlp.act_fn.alpha_p": "feedforward.activation.alpha_p",
        "mlp.act_fn.alpha_n": "feedforward.activation.alpha_n",
        "mlp.act_fn.beta": "feedforward.activation.beta",
        "mlp.act_fn.eps": "feedforward.activation.eps",
    }
    components = {
        "attention": "qk_norm_attention:TransposedQKNormAttention",
        "feedforward": "xielu_feedforward:XieluFeedforward",
    }
