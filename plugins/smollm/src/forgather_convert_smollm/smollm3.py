"""SmolLM3: the standard decoder, with layers that have no positions, and windows in those."""

from forgather_convert import (
    STANDARD,
    WINDOWS,
    HFConverter,
    SourceConfig,
    UnsupportedModelError,
    without,
)


class SmolLM3(HFConverter):
    """SmolLM3."""

    model_type = "smollm3"
    hf_model = "SmolLM3ForCausalLM"
    tokenizer_class = "PreTrainedTokenizerFast"
    hyperparameters = (
        STANDARD
        + without(WINDOWS, "max_window_layers")
        + ("attention_bias", "mlp_bias", "no_rope_layers", "no_rope_layer_interval")
    )

    def validate_source_config(self, src_config: SourceConfig, direction: str) -> None:
        rope_layers = src_config.get("no_rope_layers")
        if rope_layers is not None and len(rope_layers) < src_config.num_hidden_layers:
            raise UnsupportedModelError(
                f"In {src_config.origin}, 'no_rope_layers' has {len(rope_layers)} entries; it must "
                f"have one for each of the {src_config.num_hidden_layers} layers."
            )
