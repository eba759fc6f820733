"""Converters that are written for the framework's own base class are passed over, and named."""

import logging
from pathlib import Path

import pytest

from forgather_convert import ConverterError, UnsupportedModelError
from forgather_convert.discovery.choice import find_converters, load_converter, resolve_converter
from forgather_convert.discovery.converter_files import find_in_path
from forgather_convert.discovery.declarations import read_declarations
from forgather_convert.discovery.found import Status
from support.command import forgather
from support.distributions import SPECIFICATION, install, scanned, write
from support.framework import write_tree
from support.log import logged

pytestmark = [
    pytest.mark.version_independent,
    pytest.mark.usefixtures("own_tree"),
]
_BODY = "    def get_parameter_mappings(self, direction): ..."
_DECORATED = "@register_converter('a')\nclass A(HFConverter):\n"


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        (_DECORATED + _BODY, "A defines get_parameter_mappings"),
        (_DECORATED + "    async def get_project_info(self): ...", "A defines get_project_info"),
        (
            _DECORATED + "    def __init__(self):\n        super().__init__(model_type='a')",
            "A passes arguments to its base class",
        ),
        (_DECORATED.replace("HFC", "x.ModelC") + "    pass", "A derives from ModelConverter"),
        (
            f"from forgather.ml.model_conversion.standard_mappings import X\n{_DECORATED}    pass",
            "it imports forgather.ml.model_conversion.standard_mappings",
        ),
        (
            f"from m import register_converter as r\n@r('a')\nclass A:\n{_BODY}",
            "A defines get_parameter_mappings",
        ),
        (_DECORATED + "    pass", ""),
        (_DECORATED + "    def __init__(self):\n        super().__init__()", ""),
        (_DECORATED + _BODY + "\n    def get_weight_mapping(self, direction): ...", ""),
        ("class A(HFConverter):\n" + _BODY, ""),
        (f"import forgather.cli\nfrom forgather import MetaConfig\n{_DECORATED}    pass", ""),
        (SPECIFICATION, ""),
    ],
)
def test_what_shows_it(text: str, sign: str, tmp_path: Path) -> None:
    declared = read_declarations(write(tmp_path / "converter.py", text))
    assert declared.sign_of_the_framework == sign


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One of the framework's, in the working tree."""
    return write_tree(tmp_path / "tree", "theirs")


def passed_over(messages: list[str], file: Path) -> bool:
    (message,) = [text for text in messages if text.startswith("Skipping")]
    assert not file.with_name("ran").exists()
    return str(file) in message and "get_parameter_mappings" in message


def test_in_the_working_tree(file: Path, tmp_path: Path) -> None:
    ours = write(tmp_path / "tree/examples/models/ours/src/converter.py", scanned("ours"))
    with (
        logged(logging.WARNING) as messages,
        pytest.raises(UnsupportedModelError, match="No converter registered"),
    ):
        resolve_converter("theirs")
    assert passed_over(messages, file)
    with logged(logging.WARNING) as messages:
        assert resolve_converter("ours").origin == str(ours)
    assert not [text for text in messages if "Skipping" in text]


def test_another_one_is_used_instead(file: Path, site: Path, tmp_path: Path) -> None:
    """An installed one, although the path of the framework's is given before it."""
    install(site, "vendor-a", "theirs")
    with logged(logging.WARNING) as messages:
        assert resolve_converter("theirs", [tmp_path / "tree"]).origin == "vendor-a 1.0"
    assert passed_over(messages, file)
    found = [found for found in find_converters([file]) if found.model_type == "theirs"]
    assert [one.status for one in found] == [
        Status.OF_THE_FRAMEWORK,
        Status.OK,
        Status.OF_THE_FRAMEWORK,
    ]


def test_one_that_does_not_say_what_it_registers(tmp_path: Path) -> None:
    file = write_tree(tmp_path, "theirs")
    file.write_text(file.read_text().replace('r("theirs")', 'r("the" + "irs")'))
    with logged(logging.WARNING) as messages, pytest.raises(UnsupportedModelError):
        resolve_converter("theirs", [file])
    assert passed_over(messages, file)
    (found,) = find_in_path(file)
    assert found.model_type is None
    with pytest.raises(ConverterError, match="get_parameter_mappings"):
        load_converter(found)


def test_it_is_listed_and_not_checked(file: Path) -> None:
    listed = forgather("converters", "list", "--check", "--no-plugins")
    assert listed.returncode == 0
    (row,) = [line for line in listed.stdout.splitlines() if line.startswith("theirs  ")]
    assert row.split()[1:] == [str(file), "working", "tree", Status.OF_THE_FRAMEWORK.value]
    assert f"theirs ({file}): It is written for" in listed.stdout
    checked = forgather("converters", "check", "--no-plugins")
    assert "Skipping" in checked.stderr
    assert str(file) in checked.stderr
    named = forgather("converters", "check", file)
    assert named.returncode == 1
    assert "Traceback" not in named.stdout + named.stderr
    assert "defines get_parameter_mappings" in named.stdout
    assert not file.with_name("ran").exists()
