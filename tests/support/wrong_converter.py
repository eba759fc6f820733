"""A converter whose mistake only the logits show."""

from pathlib import Path

_WRONG_CONVERTER = '''
from forgather.ml.model_conversion import register_converter
from forgather_convert_llama.llama import Llama


@register_converter("llama")
class WrongConverter(Llama):
    """Takes queries for keys."""

    def get_weight_mapping(self, direction):
        mapping = dict(super().get_weight_mapping("to_forgather"))
        names = [f"model.layers.{{layer}}.self_attn.{name}_proj.weight" for name in "qk"]
        query, key = (mapping[name] for name in names)
        mapping.update(zip(names, (key, query)))
        return mapping
'''


def write_wrong_converter(directory: Path) -> Path:
    """Writes a converter for Llama models whose queries and keys have the same shape."""
    directory.mkdir()
    (directory / "converter.py").write_text(_WRONG_CONVERTER)
    return directory
