"""OLMo 3: OLMo 2 with windows in most layers, to which RoPE scaling does not apply."""

from forgather_convert import HFConverter
from forgather_convert_olmo.olmo2 import Olmo2


class Olmo3(HFConverter):
    """OLMo 3."""

    model_type = "olmo3"
    hf_model = "Olmo3ForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    needs_transformers = "5.13"
    supports_version_4 = True
    hyperparameters = (*Olmo2.hyperparameters, "sliding_window", "layer_types")
    has_unscaled_windows = True
    layer_weights = Olmo2.layer_weights
    components = Olmo2.components
