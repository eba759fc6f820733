"""Arcee: the standard decoder with a feed-forward without a gate."""

from forgather_convert import STANDARD, HFConverter


class Arcee(HFConverter):
    """The Arcee Foundation Models, such as AFM-4.5B."""

    model_type = "arcee"
    hf_model = "ArceeForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + ("attention_bias", "mlp_bias")
    components = {"feedforward": "feedforward:Feedforward"}
