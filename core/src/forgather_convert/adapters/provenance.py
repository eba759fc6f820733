"""``forgather_adapter.json``: what the reverse conversion needs to restore the same bytes."""

from pathlib import Path
from typing import Literal

import pydantic

from forgather_convert.errors import SourceError
from forgather_convert.files.json_file import read_text
from forgather_convert.models.original_weights import Header, JsonText, Schema

ADAPTER_PROVENANCE_FILE = "forgather_adapter.json"


class AdapterProvenance(Schema):
    """The parts of an adapter that cannot be restored from its names alone.

    Attributes:
        format_version: The version of the file's format.
        config: The exact original ``adapter_config.json``.
        header: The original safetensors header; ``None`` for a ``.bin`` file.
    """

    format_version: Literal[1] = 1
    config: JsonText
    header: Header | None


def read_adapter_provenance(directory: Path) -> AdapterProvenance | None:
    """Reads an adapter's provenance; ``None`` if it has none.

    Raises:
        SourceError: The file is damaged, or of another version.
    """
    path = directory / ADAPTER_PROVENANCE_FILE
    if not path.is_file():
        return None
    try:
        return AdapterProvenance.model_validate_json(read_text(path))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part)[:80] for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        raise SourceError(
            f"{path} is damaged: {key!r}: {problem}. Delete it to convert without it."
        ) from error
