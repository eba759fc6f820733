"""Distributions that look installed: metadata and a module in a directory of their own."""

import os
from pathlib import Path
from textwrap import dedent

CONVERTER = '''
from forgather_convert import HFConverter


class Converter(HFConverter):
    """The Llama architecture under another name."""

    model_type = "{model_type}"

    def get_hf_model_class(self):
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM
'''

#: The specification's example, to the letter.
SPECIFICATION = """
from forgather.ml.model_conversion import HFConverter, register_converter

@register_converter("my_model")
class MyModelConverter(HFConverter):
    model_type = "my_model"

    def get_hf_model_class(self):
        from transformers import MyModelForCausalLM
        return MyModelForCausalLM

    def get_weight_mapping(self, direction):
        # Return weight mapping dictionary
        pass

    def create_project_config(self, src_config, max_length=None):
        # Return config dict for Forgather Project()
        pass

    def create_hf_config(self, src_config, max_length=None):
        # Return HuggingFace config object
        pass
"""


def install(
    site: Path,
    name: str,
    model_type: str,
    code: str | None = CONVERTER,
    requires: str = "forgather-convert",
    version: str = "1.0",
    target: str = "Converter",
) -> None:
    """Writes what an installer would.

    Args:
        site: A directory that a process has in its PYTHONPATH.
        name: The distribution's name; its module is called the same.
        model_type: What its entry point is called.
        code: The module; ``None`` for none. ``{model_type}`` is filled in.
        requires: What it requires.
        version: Its version.
        target: The name in the module that the entry point gives.
    """
    module = name.replace("-", "_")
    metadata = site / f"{module}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: {requires}\n"
    )
    (metadata / "entry_points.txt").write_text(
        f"[forgather.converters]\n{model_type} = {module}:{target}\n"
    )
    (metadata / "RECORD").write_text("")
    if code is not None:
        mark = f"open({str(site / f'{name}.imported')!r}, 'w').close()\n"
        (site / f"{module}.py").write_text(mark + code.replace("{model_type}", model_type))


def imported(site: Path) -> set[str]:
    """The distributions whose modules were imported by some process."""
    return {path.stem for path in site.glob("*.imported")}


def environment(site: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that has these distributions installed, too."""
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, **variables}


def scanned(model_type: str, body: str = "pass") -> str:
    """The text of a file that registers a converter."""
    return dedent(f"""
        from forgather_convert import HFConverter, register_converter

        @register_converter("{model_type}")
        class Converter(HFConverter):
            {body}
        """)


def write(path: Path, text: str) -> Path:
    """Writes a file, and the directories that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
