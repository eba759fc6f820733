"""Writes every list of families anew, from the entry points of the plugins.

Run it after a change of a plugin's entry points: ``python scripts/families.py``. The tests fail
where a list is out of date.
"""

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
GROUP = "forgather.converters"


@dataclass(frozen=True)
class Family:
    """A model type that a plugin converts.

    Attributes:
        model_type: The entry point's name.
        main_type: The model type of its converter; another one if it is an alias of that.
        description: What its converter's docstring says.
    """

    model_type: str
    main_type: str
    description: str


@dataclass(frozen=True)
class Line:
    """A plugin, with the families of one line of models.

    Attributes:
        name: The name of its directory.
        distribution: The name of its distribution.
        requirement: The distribution, in the versions that go with the core of this repository.
        families: What it converts.
    """

    name: str
    distribution: str
    requirement: str
    families: tuple[Family, ...]

    @property
    def extra(self) -> str:
        return self.distribution.removeprefix("forgather-convert-")


def read_lines(root: Path = ROOT) -> list[Line]:
    """The plugins, by their names."""
    lines = []
    for path in sorted((root / "plugins").glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        major, minor, *_ = (int(part) for part in project["version"].split("."))
        families = [
            _family(path.parent / "src", name, target)
            for name, target in project["entry-points"][GROUP].items()
        ]
        lines.append(
            Line(
                path.parent.name,
                project["name"],
                f"{project['name']}>={major}.{minor},<{major + 1}",
                tuple(families),
            )
        )
    return lines


def _family(sources: Path, name: str, target: str) -> Family:
    """Reads the class of an entry point, without running it."""
    module, _, class_name = target.partition(":")
    tree = ast.parse((sources / module.replace(".", "/")).with_suffix(".py").read_bytes())
    (found,) = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name
    ]
    model_types = [
        statement.value.value
        for statement in found.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Constant)
        and [ast.unparse(item) for item in statement.targets] == ["model_type"]
    ]
    (main_type,) = model_types
    documentation = ast.get_docstring(found) or ""
    return Family(name, str(main_type), documentation.split("\n\n")[0].replace("\n", " "))


def lists(root: Path = ROOT) -> dict[Path, str]:
    """The files that have lists of families, and what they should contain."""
    lines = read_lines(root)
    families = sorted(
        ((family, line) for line in lines for family in line.families),
        key=lambda pair: pair[0].model_type,
    )
    paths = "".join(f'    "plugins/{line.name}/src",\n' for line in lines)
    extras = "".join(f'{line.extra} = ["{line.requirement}"]\n' for line in lines)
    together = "".join(f'    "{line.requirement}",\n' for line in lines)
    published = "".join(
        f'    "{family.model_type}": "{line.distribution}",\n' for family, line in families
    )
    rows = "".join(f"{_row(line)}\n" for line in lines)
    table = f"\n| plugin | `model_type` and models |\n|---|---|\n{rows}\n"
    summary = "".join(f"{_summary(line)}\n" for line in lines)
    overview = f"\n| plugin | `model_type` |\n|---|---|\n{summary}\n"
    installed = "".join(f"-e plugins/{line.name}\n" for line in lines)
    return {
        path: _with_list(path, text)
        for path, text in {
            root / "pyproject.toml": paths,
            root / "distributions.txt": installed,
            root / "core/pyproject.toml": f"{extras}all = [\n{together}]\n",
            root / "core/src/forgather_convert/discovery/published.py": published,
            root / "docs/families.md": table,
            root / "README.md": overview,
        }.items()
    }


def _row(line: Line) -> str:
    models = "<br>".join(
        f"`{family.model_type}`: {_description(family)}" for family in line.families
    )
    return f"| [{line.extra}](../plugins/{line.name}/README.md) | {models} |"


def _description(family: Family) -> str:
    if family.model_type != family.main_type:
        return f"The same architecture as `{family.main_type}`."
    return family.description


def _summary(line: Line) -> str:
    model_types = ", ".join(f"`{family.model_type}`" for family in line.families)
    return f"| [{line.extra}](plugins/{line.name}/README.md) | {model_types} |"


_LIST = re.compile(
    r"(?P<begin>generated by scripts/families\.py[^\n]*\n).*?"
    r"(?P<end>^[^\n]*end of the generated list)",
    re.DOTALL | re.MULTILINE,
)


def _with_list(path: Path, content: str) -> str:
    """A file's text with another list between its two marks."""
    text, count = _LIST.subn(
        lambda match: f"{match['begin']}{content}{match['end']}",
        path.read_text(encoding="utf-8"),
    )
    if count != 1:
        raise ValueError(f"{path} has no list that is marked as generated by scripts/families.py")
    return text


def main() -> None:
    """Writes the lists that are out of date."""
    for path, text in lists().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} has changed")


if __name__ == "__main__":
    main()
