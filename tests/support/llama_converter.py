"""The converter of Llama as a file, for tests without plugins."""

from forgather_convert import register_converter
from forgather_convert_llama import LlamaConverter


@register_converter("llama")
class FileConverter(LlamaConverter):
    """The same, registered by a file."""

    model_type = "llama"
