"""A stand-in for the Forgather framework, and a converter as its tree has them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from support.distributions import write
from support.workspace import ROOT

#: Its project; a wheel can be built of it.
PROJECT = ROOT / "tests" / "framework"
PACKAGES = PROJECT / "src"
PACKAGE = "forgather"

#: Written for the framework's base class, as its ``examples/models/*/src/converter.py``.
CONVERTER = """
from pathlib import Path
from types import ModuleType

from forgather import MetaConfig
from forgather.ml.model_conversion import HFConverter, register_converter

from . import config_mappings

Path(__file__).with_name("ran").touch()


@register_converter("{model_type}")
class Converter(HFConverter):
    def __init__(self):
        super().__init__(model_type="{model_type}")

    def get_hf_config_class(self):
        from transformers import LlamaConfig

        return LlamaConfig

    def get_hf_model_class(self):
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM

    def get_parameter_mappings(self, direction):
        return []

    def get_config_field_mapping(self, direction):
        return config_mappings.FIELDS

    def get_project_info(self):
        return {{"project_dir": str(Path(__file__).parents[1]), "config_name": ""}}
"""


def write_metadata(site: Path) -> Path:
    """Writes into a directory of packages what an installer writes of the framework."""
    metadata = site / "forgather-2024.0.dist-info"
    write(metadata / "METADATA", "Metadata-Version: 2.1\nName: forgather\nVersion: 2024.0\n")
    write(metadata / "entry_points.txt", "[console_scripts]\nforgather = forgather.cli:main\n")
    write(metadata / "RECORD", "")
    return site


def write_tree(directory: Path, model_type: str) -> Path:
    """Writes a working tree with a converter of the framework's; gives the converter's file."""
    sources = directory / "examples" / "models" / model_type / "src"
    write(sources / "config_mappings.py", "FIELDS = {}")
    return write(sources / "converter.py", CONVERTER.format(model_type=model_type))


@contextmanager
def importable_framework(*paths: Path) -> Iterator[None]:
    """Lets this process import the framework, and forget it again.

    Args:
        paths: Where Python looks for it; the stand-in's packages, if none are given.
    """
    before = _without_framework()
    path = list(sys.path)
    sys.path[:0] = map(str, paths or [PACKAGES])
    try:
        yield
    finally:
        sys.path[:] = path
        _without_framework()
        sys.modules.update(before)


def _without_framework() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] == PACKAGE]
    return {name: sys.modules.pop(name) for name in names}
