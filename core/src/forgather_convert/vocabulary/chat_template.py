"""Stores a chat template in the same way as the source stores its own."""

import json
from collections.abc import Iterable
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser

from forgather_convert.errors import OptionError
from forgather_convert.files.json_file import read_json_object
from forgather_convert.source.files import WriteFile, encode_json
from forgather_convert.source.tokenizer_directory import (
    MAX_TEMPLATE_SIZE,
    TEMPLATE_FILE,
    TOKENIZER_CONFIG_FILE,
    has_tokenizer,
)

_KEY = "chat_template"


class _GenerationTag(jinja2.ext.Extension):
    """Accepts ``{% generation %}``, with which transformers marks the assistant's tokens."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node | list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def read_template(path: Path) -> str:
    """Reads a template and checks its syntax.

    Raises:
        OptionError: It cannot be read, or is not Jinja; with the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEMPLATE_SIZE + 1)
        if len(data) > MAX_TEMPLATE_SIZE:
            raise OptionError(
                f"The chat template {path} is larger than {MAX_TEMPLATE_SIZE >> 20} MiB. Give a "
                "file with a Jinja template."
            )
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"The chat template {path} cannot be read: {error}. Give a file with a Jinja template."
        ) from error
    # The extensions that transformers renders chat templates with.
    environment = jinja2.Environment(
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - a prompt, not HTML
    )
    try:
        environment.parse(text)
    except jinja2.TemplateSyntaxError as error:
        raise OptionError(
            f"The chat template {path} is not valid Jinja: line {error.lineno}: {error.message}. "
            "Fix the template."
        ) from error
    except RecursionError as error:
        raise OptionError(
            f"The chat template {path} is nested too deeply. Simplify the template."
        ) from error
    return text


def template_write(directory: Path, template: Path, writes: Iterable[WriteFile] = ()) -> WriteFile:
    """The file that stores a template for the tokenizer in a directory.

    If the source has its template in ``tokenizer_config.json``, so has the result; otherwise it
    gets ``chat_template.jinja``.

    Raises:
        OptionError: The template is not valid, or the source has no tokenizer.
    """
    text = read_template(template)
    config_path = directory / TOKENIZER_CONFIG_FILE
    if not has_tokenizer(directory):
        raise OptionError(
            f"The chat template {template} needs a tokenizer, but {directory} has none. "
            "Add the tokenizer's files, or leave out --chat-template-path."
        )
    changed = {
        write.name: json.loads(write.content)
        for write in writes
        if write.name == TOKENIZER_CONFIG_FILE
    }
    stored = read_json_object(config_path) if config_path.is_file() else {}
    config = changed.get(TOKENIZER_CONFIG_FILE) or stored
    if _KEY in config and not (directory / TEMPLATE_FILE).is_file():
        return WriteFile(TOKENIZER_CONFIG_FILE, encode_json({**config, _KEY: text}))
    return WriteFile(TEMPLATE_FILE, text.encode("utf-8"))
