"""Ministral: a Mistral with windows in some of its layers."""

from .mistral import Mistral


class Ministral(Mistral):
    """The dense Ministral models of 2024."""

    model_type = "ministral"
    hf_model = "MinistralForCausalLM"
    hyperparameters = Mistral.hyperparameters + ("layer_types",)
