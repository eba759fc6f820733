"""What can be used is in the documentation."""

import ast
import inspect
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import forgather_convert
from forgather_convert.cli.main import forgather
from forgather_convert.discovery.forgather_tree import ROOT_VARIABLE
from forgather_convert.discovery.found import Status
from forgather_convert.discovery.installed import ALLOW_VARIABLE, ENTRY_POINT_GROUP
from forgather_convert.dynamic_model.assembly import MAKE_NORM, NORM_EPSILONS
from forgather_convert.dynamic_model.project import LAYER_TYPE_FIELDS, STANDARD_COMPONENTS
from forgather_convert.families.derived_calls import HOOK_ARGUMENTS, HOOK_NAMES
from forgather_convert.families.hookspecs import ConverterHooks
from forgather_convert.reporting import objects
from forgather_convert.tensors import notation as mapping_notation
from forgather_convert.tensors.weight_mapping import STANDARD_WEIGHT_MAPPING, WeightMapping

pytestmark = pytest.mark.version_independent

DOCS = Path(__file__).parents[2] / "docs"
HOOKS = (DOCS / "hooks.md").read_text()
COMMAND_LINE = (DOCS / "command-line.md").read_text()


def commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    """A command and all below it, with their full names."""
    found = [(name, command)]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            found += commands(below, f"{name} {below.name}")
    return found


COMMANDS = commands(forgather, "forgather")
OPTIONS = [
    (name, option)
    for name, command in COMMANDS
    for parameter in command.params
    if isinstance(parameter, click.Option)
    for option in parameter.opts
]


#: Hooks without arguments that return an attribute of the converter share a section.
ATTRIBUTE_HOOKS = set(
    re.findall(r"`(\w+)\(\)`", HOOKS.partition("### Hooks that return")[2].partition("\n## ")[0])
)


def test_hooks_that_return_an_attribute_have_no_arguments() -> None:
    assert {*HOOK_NAMES} >= ATTRIBUTE_HOOKS
    assert not any(HOOK_ARGUMENTS[name] for name in ATTRIBUTE_HOOKS)


@pytest.mark.parametrize("name", HOOK_NAMES)
def test_every_hook_has_an_example_where_it_is_specified(name: str) -> None:
    text = inspect.getdoc(getattr(ConverterHooks, name)) or ""
    assert "Example::" in text
    assert f"def {name}(self" in text
    for argument in HOOK_ARGUMENTS[name]:
        assert f"{argument}: " in text


def test_every_hook_is_documented() -> None:
    assert {*re.findall(r"^### `(\w+)", HOOKS, re.MULTILINE)} | ATTRIBUTE_HOOKS == {*HOOK_NAMES}


@pytest.mark.parametrize("page", ["hooks.md", "compatibility.md"])
def test_the_entry_point_group_is_documented(page: str) -> None:
    assert f"`{ENTRY_POINT_GROUP}`" in (DOCS / page).read_text()
    assert f'[project.entry-points."{ENTRY_POINT_GROUP}"]' in HOOKS


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_every_option_is_documented(command: str, option: str) -> None:
    assert re.search(rf"[ `]{re.escape(option)}[ `]", COMMAND_LINE), f"{command} {option}"


def test_every_command_is_documented() -> None:
    for name, command in COMMANDS:
        assert isinstance(command, click.Group) or name in COMMAND_LINE


@pytest.mark.parametrize("option", re.findall(r"^\| [^|]*?`(--[\w-]+)", COMMAND_LINE, re.MULTILINE))
def test_no_option_is_documented_that_does_not_exist(option: str) -> None:
    assert option in {known for _, known in OPTIONS}


def test_every_field_of_json_is_documented() -> None:
    tree = ast.parse(Path(objects.__file__).read_text())
    keys = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
    assert {"certificate", "own_code", "tokens_per_second"} <= keys
    assert [key for key in keys if f"`{key}`" not in COMMAND_LINE] == []


@pytest.mark.parametrize("variable", [ALLOW_VARIABLE, ROOT_VARIABLE])
def test_every_environment_variable_is_documented(variable: str) -> None:
    assert f"| `{variable}` |" in COMMAND_LINE


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_documented(status: Status) -> None:
    assert f"| `{status.value}` |" in COMMAND_LINE


PAGES = sorted([*DOCS.parent.glob("*.md"), *DOCS.glob("*.md"), *DOCS.parent.glob("plugins/*/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)]*)\)", page.read_text()):
        if "://" not in target:
            linked = page.parent / target if target else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked.read_text()), f"{target}#{anchor}"


def anchors(text: str) -> set[str]:
    """What can follow a # in a link to a page: its headings, as GitHub writes them."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted(DOCS.glob("[a-z]*.md")), ids=lambda page: page.name)
def test_every_page_is_in_the_table_of_contents(page: Path) -> None:
    assert f"({page.name})" in (DOCS / "README.md").read_text()


def test_what_is_known_of_tools_says_from_where() -> None:
    """A test of every day, an environment, or a date."""
    root = DOCS.parent
    environments = re.findall(r"^\[testenv:([^\]]+)\]", (root / "tox.ini").read_text(), re.M)
    rows = re.findall(r"^\|.*\| ([^|]+) \|$", (DOCS / "where-it-works.md").read_text(), re.M)
    known = [row for row in rows if row != "known from"]
    assert len(known) > 20
    for row in known:
        if match := re.fullmatch(r"daily: `([^`]+)`", row):
            assert (root / match[1]).is_file(), row
        elif match := re.fullmatch(r"environment: `tox run -e ([^`]+)`", row):
            assert match[1] in environments, row
        else:
            assert re.match(r"once: 20\d\d-\d\d-\d\d\b", row), row


def shown_commands() -> list[str]:
    """The commands of this tool in all pages' blocks for a shell, and in the README's table."""
    readme = (DOCS.parent / "README.md").read_text()
    found = re.findall(r"`(forgather [^`]+)`", readme)
    for page in PAGES:
        for block in re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text(), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                found += re.findall(r"^(?:\S+=\S+ )*(forgather (?:convert|inspect|verify).*)", line)
    return found


def test_commands_are_shown_as_they_are_parsed() -> None:
    shown = shown_commands()
    assert len(shown) > 40
    for line in shown:
        _, name, *arguments = shlex.split(line.replace("...", ""), comments=True)
        command = forgather.commands[name]
        context = click.Context(command)
        # Whatever is left is the directories, and any other option is an error.
        command.make_parser(context).parse_args(arguments)


def test_the_speed_in_the_readme_is_the_measured_one() -> None:
    speed = (DOCS.parent / "README.md").read_text().partition("**Speed.**")[2].partition("##")[0]
    numbers = re.findall(r"\| ([\d.]+)(?= \|)", speed)
    assert len(numbers) == 8
    rows = [line.split("|") for line in (DOCS / "performance.md").read_text().splitlines()]
    measured = {cell.strip() for row in rows for cell in row[2:]}
    assert {*numbers} <= measured


def test_messages_are_quoted_as_they_are() -> None:
    """In the page on what to do about them, but for those of other programs."""
    page = (DOCS / "troubleshooting.md").read_text().partition("## Loading the result")[0]
    quoted = re.findall(r'"([^"]+)"\*\*', " ".join(page.split()))
    assert len(quoted) > 25
    known = "\n".join(texts(Path(forgather_convert.__file__).parent))
    unknown = [
        text for text in quoted if not all(part.strip(" .") in known for part in text.split("..."))
    ]
    assert unknown == []


def texts(directory: Path) -> Iterator[str]:
    """All texts in the code below a directory, with dots for what is put into them."""
    for path in directory.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "..." for part in node.values
                ]
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_examples_import_what_there_is() -> None:
    for page in DOCS.glob("*.md"):
        for names in re.findall(r"^from forgather_convert import (.+)$", page.read_text(), re.M):
            for name in names.split(","):
                assert hasattr(forgather_convert, name.strip())


def test_the_tour_names_files_that_exist() -> None:
    core = Path(forgather_convert.__file__).parent
    tour = (DOCS / "how-a-conversion-flows.md").read_text()
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", tour))
    assert len(named) > 15
    assert [path for path in named if not (core / path).exists()] == []


@pytest.mark.parametrize("name", [*mapping_notation.OPERATIONS])
def test_every_operation_of_mappings_is_documented(name: str) -> None:
    assert f"| `{name}(" in HOOKS
    assert hasattr(forgather_convert, name)


def test_modules_are_documented_as_the_standard_mapping_has_them() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", (DOCS / "adapters.md").read_text(), re.M)
    rename = WeightMapping.from_dict(STANDARD_WEIGHT_MAPPING, "standard").renamer()
    modules = {
        hf.removesuffix(".weight"): str(rename(hf.replace("{layer}", "0"))).removesuffix(".weight")
        for hf in STANDARD_WEIGHT_MAPPING
        if hf.endswith(".weight")
    }
    for original, forgather_name in rows:
        ends = {fg for hf, fg in modules.items() if f".{original}" in f".{hf}"}
        assert ends
        assert all(forgather_name in fg for fg in ends), original
    documented = {original for original, _ in rows}
    assert {
        hf for hf in modules if not any(f".{hf}".endswith(f".{d}") for d in documented)
    } == set()


def test_generated_parts_are_up_to_date() -> None:
    pages = runpy.run_path(str(DOCS.parent / "scripts" / "reference.py"))["pages"]()
    assert len(pages) == 4
    outdated = [page.name for page, text in pages.items() if page.read_text("utf-8") != text]
    assert outdated == [], "Run: python scripts/reference.py"


def test_every_role_is_documented() -> None:
    """Each with what builds it and what it gets."""
    page = (DOCS / "components.md").read_text()
    for role, component in STANDARD_COMPONENTS.items():
        assert re.search(rf"^\| `{role}` \| `{component}` \| .*`\(", page, re.M), role
    for name in (*LAYER_TYPE_FIELDS.values(), *NORM_EPSILONS, MAKE_NORM):
        assert f"`{name}" in page


def test_every_attribute_of_converters_is_documented() -> None:
    own = {name for name in vars(forgather_convert.HFConverter) if not name.startswith("_")}
    for name in own - {*HOOK_NAMES, "directed"}:
        assert re.search(rf"`{name}[`(]", HOOKS), name
