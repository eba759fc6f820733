"""What to do where there is no converter for a model type."""

from collections.abc import Mapping, Sequence

from forgather_convert.discovery.found import PluginCandidate, Status
from forgather_convert.files.plain_text import one_line

#: The distribution of this project for each model type. Nothing else is suggested for
#: installation: a name made from a model type would be anybody's who publishes it.
PUBLISHED_DISTRIBUTIONS: Mapping[str, str] = {
    "cohere2": "forgather-convert-cohere2",
    "deepseek_v3": "forgather-convert-deepseek-v3",
    "gemma2": "forgather-convert-gemma2",
    "gemma3_text": "forgather-convert-gemma3-text",
    "glm4": "forgather-convert-glm4",
    "gpt-sw3": "forgather-convert-gpt2",
    "gpt2": "forgather-convert-gpt2",
    "gpt_neox": "forgather-convert-gpt-neox",
    "gpt_oss": "forgather-convert-gpt-oss",
    "granite": "forgather-convert-granite",
    "internlm3": "forgather-convert-llama",
    "iquestcoder": "forgather-convert-llama",
    "llama": "forgather-convert-llama",
    "mistral": "forgather-convert-mistral",
    "mixtral": "forgather-convert-mixtral",
    "olmo2": "forgather-convert-olmo2",
    "phi": "forgather-convert-phi",
    "phi3": "forgather-convert-phi3",
    "qwen2": "forgather-convert-qwen2",
    "qwen3": "forgather-convert-qwen3",
    "qwen3_moe": "forgather-convert-qwen3-moe",
    "seed_oss": "forgather-convert-seed-oss",
    "smollm3": "forgather-convert-smollm3",
    "starcoder2": "forgather-convert-starcoder2",
}
_LONGEST_NAME = 80
#: How much is told of a search.
_MOST_LINES = 12


def no_converter_message(
    model_type: str, installed: Sequence[PluginCandidate], searched: Sequence[str] = ()
) -> str:
    """An error message; the model type may come from a download, and is only quoted.

    Args:
        model_type: What there is no converter for.
        installed: The converters of installed distributions.
        searched: What was found elsewhere, and what was passed over, a line each.
    """
    enabled = sorted(
        {
            str(converter.model_type)
            for converter in installed
            if converter.status is not Status.DISABLED
        }
    )
    shown = one_line(model_type[:_LONGEST_NAME])
    message = (
        f"No converter registered for model type '{shown}'. Installed are: "
        f"{', '.join(enabled) or 'none'}. "
    )
    for converter in installed:
        if converter.model_type == model_type:
            return f"{message}{converter.place} has one, but {converter.problem}"
    if model_type in PUBLISHED_DISTRIBUTIONS:
        return f"{message}Install its plugin: 'pip install {PUBLISHED_DISTRIBUTIONS[model_type]}'."
    message += (
        "Install a plugin for the family if you know one that you trust, or name the directory of "
        "a converter with --converter-path."
    )
    more = len(searched) - _MOST_LINES
    lines = [*searched[:_MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
    return "\n".join([f"{message} Searched:" if lines else message, *map(one_line, lines)])
