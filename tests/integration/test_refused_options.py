"""Options that cannot be are refused."""

from pathlib import Path
from typing import Any

import pytest

from forgather_convert import (
    ConverterError,
    ConvertOptions,
    OptionError,
)
from support.models import write_hf_model
from support.refusals import (
    LLAMA,
    assert_refused,
)

pytestmark = pytest.mark.version_independent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_hf_model(tmp_path / "hf", LLAMA, dtype="bfloat16")


def test_chat_template_that_does_not_exist(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer_config.json").write_text("{}")
    template = tmp_path / "nowhere.jinja"
    assert_refused(source, OptionError, template, chat_template_path=template)


def test_chat_template_with_a_syntax_error(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer_config.json").write_text("{}")
    template = tmp_path / "bad.jinja"
    template.write_text("{% for message in messages %}\n\n{{ message.content }\n{% endfor %}\n")
    assert_refused(source, OptionError, template, "line 3", chat_template_path=template)


def test_chat_template_without_a_tokenizer(source: Path, tmp_path: Path) -> None:
    template = tmp_path / "good.jinja"
    template.write_text("{{ messages[0].content }}")
    assert_refused(source, OptionError, template, "tokenizer", chat_template_path=template)


def test_converter_path_that_is_no_directory(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    assert_refused(source, ConverterError, path, "not a directory", converter_paths=(path,))


def test_converter_that_cannot_be_imported(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "converters" / "converter.py"
    path.parent.mkdir()
    path.write_text("import a_package_that_is_not_there\n")
    assert_refused(
        source,
        ConverterError,
        path,
        "a_package_that_is_not_there",
        converter_paths=(path.parent,),
    )


def test_device_that_does_not_exist(source: Path) -> None:
    """Found out before the weights are written, not afterwards."""
    assert_refused(source, OptionError, "--device", "abacus", device="abacus")


@pytest.mark.parametrize(
    "options",
    [{"dtype": "int8"}, {"weights_format": "gguf"}, {"max_length": 0}, {"max_shard_size": 0}],
    ids=lambda options: next(iter(options)),
)
def test_option_with_an_impossible_value(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ConvertOptions(**options)
