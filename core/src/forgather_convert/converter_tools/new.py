"""Creates a new distribution with a converter from templates."""

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.version import Version

from forgather_convert.converter_tools.draft import Draft, draft_converter, import_statement
from forgather_convert.converter_tools.family_survey import survey_family
from forgather_convert.converter_tools.rendering import render
from forgather_convert.discovery.installed import CORE, ENTRY_POINT_GROUP
from forgather_convert.errors import OptionError
from forgather_convert.families.beside import constant_name

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_MODEL_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_WORD = re.compile(r"[A-Za-z0-9]+")
_CLASS_END = "ForCausalLM"
_OTHER_MODULES = ("tiny_configs", "components")

#: The template of every file; ``PACKAGE`` and ``MODULE`` stand for the names of these.
_FILES: Mapping[str, str] = {
    "pyproject.toml": "pyproject.toml.j2",
    "src/PACKAGE/__init__.py": "package.py.j2",
    "src/PACKAGE/MODULE.py": "converter.py.j2",
    "src/PACKAGE/tiny_configs.py": "tiny_configs.py.j2",
    "src/PACKAGE/py.typed": "py.typed.j2",
    "tests/test_conformance.py": "test_conformance.py.j2",
    "README.md": "README.md.j2",
    "LICENSE": "LICENSE.j2",
    "tox.ini": "tox.ini.j2",
    ".github/workflows/ci.yml": "ci.yml.j2",
    ".gitignore": "gitignore.j2",
}


@dataclass(frozen=True)
class _Names:
    """The names that the templates use.

    Attributes:
        distribution: Such as ``forgather-convert-my-model``.
        package: Such as ``forgather_convert_my_model``.
        module: The module of the converter, as ``my_model``.
        model_type: Such as ``my_model``.
        tiny_configs_name: The constant with its tiny configs, as ``MY_MODEL``.
        hf_class: Such as ``MyModelForCausalLM``.
        converter_class: As ``MyModel``.
        entry_point_group: The group of converters.
        core_requirement: The compatible versions of core.
    """

    distribution: str
    package: str
    module: str
    model_type: str
    tiny_configs_name: str
    hf_class: str
    converter_class: str
    entry_point_group: str
    core_requirement: str


def create_distribution(
    directory: Path,
    name: str,
    model_type: str | None = None,
    hf_class: str | None = None,
    known_as: str | None = None,
) -> Path:
    """Creates the directory ``forgather-convert-NAME``.

    Args:
        directory: The parent directory.
        name: The last part of the distribution's name.
        model_type: The model type to convert; by default the name.
        hf_class: The model class in transformers; by default derived from the model type. The
            distribution's tests find out whether it exists.
        known_as: A model type in transformers to draft the converter from.

    Raises:
        OptionError: A name is invalid, the directory exists, or transformers does not know the
            model type.
    """
    draft: Draft | None = None
    if known_as is not None:
        survey = survey_family(known_as)
        model_type, hf_class = model_type or known_as, hf_class or survey.hf_class
        draft = draft_converter(survey)
    names = _names(name, model_type or name.replace("-", "_"), hf_class)
    root = directory / names.distribution
    try:
        root.mkdir()
    except FileExistsError:
        raise OptionError(
            f"{root} exists. Delete it, or choose another name or --directory."
        ) from None

    def write(name: str, template: str, **values: Any) -> None:
        path = root / name.replace("PACKAGE", names.package).replace("MODULE", names.module)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = render(template, **{**vars(names), "draft": draft, **values})
        path.write_text(text, encoding="utf-8")

    for name, template in _FILES.items():
        write(name, template, imports=draft.imports if draft else import_statement(()))
    if draft is not None:
        for module, component in draft.component_files.items():
            file = f"components/{module}.py"
            write(f"src/PACKAGE/{file}", "component.py.j2", **vars(component), file=file)
    return root


def _names(name: str, model_type: str, hf_class: str | None) -> _Names:
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"'{name}' cannot be part of a distribution's name. Use lowercase letters and digits, "
            "with - between words."
        )
    if not _MODEL_TYPE.fullmatch(model_type):
        raise OptionError(
            f"'{model_type}' is not a model type. Give the 'model_type' of the models' config.json."
        )
    stem = "".join(word[0].upper() + word[1:] for word in _WORD.findall(model_type))
    if hf_class is None:
        hf_class = stem + _CLASS_END
    if not hf_class.isidentifier() or keyword.iskeyword(hf_class):
        raise OptionError(
            f"'{hf_class}' is not the name of a class. Give one of transformers with --hf-class."
        )
    module = constant_name(model_type).lower()
    if keyword.iskeyword(module) or module in _OTHER_MODULES:
        module += "_model"
    release = Version(version(CORE))
    return _Names(
        distribution=f"{CORE}-{name.replace('_', '-')}",
        package=f"{CORE}-{name}".replace("-", "_"),
        module=module,
        model_type=model_type,
        tiny_configs_name=constant_name(model_type),
        hf_class=hf_class,
        converter_class=stem,
        entry_point_group=ENTRY_POINT_GROUP,
        core_requirement=(f"{CORE}>={release.major}.{release.minor},<{release.major + 1}"),
    )
