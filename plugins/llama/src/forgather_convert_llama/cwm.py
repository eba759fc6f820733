"""CWM: the standard decoder with windows in most layers."""

from forgather_convert import STANDARD, HFConverter


class Cwm(HFConverter):
    """Code World Model."""

    model_type = "cwm"
    hf_model = "CwmForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = STANDARD + ("mlp_bias", "sliding_window", "layer_types")
