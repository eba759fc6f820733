"""Arcee: a Llama whose feed-forward block has no gate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from forgather.ml.model_conversion import HFConverter, register_converter
from forgather_convert import STANDARD_HYPERPARAMETERS


@register_converter("arcee")
class ArceeConverter(HFConverter):
    """Converts AFM models; brings the one component that core does not have."""

    model_type = "arcee"
    hyperparameters = (*STANDARD_HYPERPARAMETERS, "attention_bias", "mlp_bias")
    components: ClassVar[Mapping[str, str]] = {"feedforward": "plain_feedforward:PlainFeedforward"}
    component_paths = (Path(__file__).parent / "components",)

    def get_hf_model_class(self) -> Any:
        from transformers import ArceeForCausalLM

        return ArceeForCausalLM
