"""The converter of Llama as a file, for tests without plugins."""

from forgather_convert import register_converter
from forgather_convert_llama.llama import Llama


@register_converter("llama")
class FileConverter(Llama):
    """The same, registered by a file."""

    model_type = "llama"
