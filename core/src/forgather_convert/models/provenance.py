"""``forgather_conversion.json``: the provenance of a Forgather model, for the reverse conversion.

It contains what a conversion to Hugging Face needs to restore the same bytes: the text of the
original config and of the weights' headers, and small tensors that the Forgather model does not
use; it names the files with larger ones. A Forgather directory may come from anybody, so nothing
in the file is trusted before it is checked.
"""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from forgather_convert.errors import SourceError
from forgather_convert.models.carried_tensors import CarriedTensors, is_carried_file
from forgather_convert.models.original_weights import (
    JsonText,
    OriginalWeights,
    PlainName,
    Schema,
)
from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.tensors.dtypes import WEIGHT_DTYPES
from forgather_convert.tensors.names import RECOMPUTED

logger = logging.getLogger(__name__)

_FORMAT_VERSION = 1
#: The maximum size of the file, in bytes. A terabyte of weights in 200,000 tensors needs some 50 MB
#: for headers and index.
MAX_BYTES = 128 << 20
_REMEDY = "Delete it to convert without the original layout."


def _code_file(name: str) -> str:
    if not name.endswith(".py"):
        raise ValueError(f"{name[:80]!r} is not a Python file")
    return name


def _tensor_file(name: str) -> str:
    if not is_carried_file(name):
        raise ValueError(f"{name[:80]!r} is not a file with carried tensors")
    return name


def _weight_dtype(name: str) -> str:
    if name not in WEIGHT_DTYPES:
        raise ValueError(f"{name[:80]!r} is not a type of weights")
    return name


class Provenance(Schema):
    """The provenance of a Forgather model.

    Attributes:
        format_version: The version of the file's format.
        tool: Names and versions of the software that converted it.
        options: The options of the conversion that differed from the defaults.
        hf_config: The exact original ``config.json``.
        dtypes: The dtypes of the original weights, except recomputed tensors.
        weights: The original's layout; ``None`` if it cannot be restored.
        generated: The hash (SHA-256) of every file that the code generator wrote.
        carried: The names of the copied files.
        carried_tensors: The names of the files with tensors that the model does not use.
        text_prefix: What a composite's tensors have in their names instead of the text model's
            ``model.``; ``None`` if the model is no composite.
        in_loaded_form: Whether the original's weights are in the form that transformers has in
            memory, which is not that of other checkpoints.
    """

    format_version: Literal[1] = 1
    tool: dict[str, str]
    options: dict[str, bool | str | int | None]
    hf_config: JsonText
    dtypes: list[Annotated[str, pydantic.AfterValidator(_weight_dtype)]]
    weights: OriginalWeights | None
    generated: dict[
        Annotated[PlainName, pydantic.AfterValidator(_code_file)],
        Annotated[str, pydantic.StringConstraints(pattern="^[0-9a-f]{64}$")],
    ]
    carried: list[PlainName]
    carried_tensors: list[Annotated[PlainName, pydantic.AfterValidator(_tensor_file)]] = (
        pydantic.Field(default_factory=list)
    )
    text_prefix: Annotated[str, pydantic.StringConstraints(pattern=r"^(\w+\.)*$")] | None = None
    in_loaded_form: bool = False

    @pydantic.model_validator(mode="after")
    def _files_have_one_origin(self) -> "Provenance":
        both = sorted({*self.generated} & {*self.carried})
        if both:
            raise ValueError(f"{both[0]!r} is both in 'generated' and in 'carried'")
        return self

    def to_json(self) -> bytes:
        """The content of the file, without the layout if it would be too large."""
        # If there are none, earlier versions can also read the file.
        optional = {
            "carried_tensors": self.carried_tensors,
            "text_prefix": self.text_prefix,
            "in_loaded_form": self.in_loaded_form,
        }
        absent = {name for name, value in optional.items() if value in (None, [], False)}
        content = self.model_dump_json(indent=2, exclude=absent).encode("utf-8") + b"\n"
        if self.weights is None or len(content) <= MAX_BYTES:
            return content
        logger.info(
            "The headers of the weights are too large for %s: the reverse conversion will divide "
            "the weights differently",
            PROVENANCE_FILE,
        )
        return self.model_copy(update={"weights": None}).to_json()


def read_provenance(directory: Path) -> Provenance | None:
    """Reads a model's provenance; ``None`` if it has none.

    Raises:
        SourceError: The file is damaged, too large, or of another version.
    """
    path = directory / PROVENANCE_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}. {_REMEDY}") from error
    if len(data) > MAX_BYTES:
        raise SourceError(f"{path} is larger than {MAX_BYTES >> 20} MiB. {_REMEDY}")
    try:
        return Provenance.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise _describe(path, error) from error


def unused_tensors(
    carried: CarriedTensors, provenance: Provenance | None, gives_layout_back: bool
) -> CarriedTensors:
    """The tensors of the original that its model does not use.

    Args:
        carried: What the Forgather model carries along in files.
        provenance: Its provenance; ``None`` if it has none.
        gives_layout_back: Whether the original division is restored. Only then are tables that
            follow from the config restored, too.
    """
    if provenance is None or provenance.weights is None:
        return carried
    kept = {
        name: tensors.expression
        for name, tensors in provenance.weights.unread_by_name.items()
        if tensors.data is not None and (gives_layout_back or not re.search(RECOMPUTED, name))
    }
    return replace(carried, tensors={**kept, **carried.tensors})


def damaged(path: Path, key: str, problem: str) -> SourceError:
    """The error for an invalid value of the provenance, or without a key, for all of it."""
    # Keys come from the file and may contain anything, even terminal control sequences.
    where = f"{key!r}: " if key else ""
    return SourceError(f"{path} is damaged: {where}{problem}. {_REMEDY}")


def _describe(path: Path, error: pydantic.ValidationError) -> SourceError:
    """One message about everything that is wrong, with the first problem."""
    errors = error.errors(include_url=False, include_input=True)
    for entry in errors:
        if entry["loc"] == ("format_version",) and entry["type"] == "literal_error":
            version = repr(entry["input"])[:20]
            return SourceError(
                f"{path} has the format version {version}; this version reads "
                f"{_FORMAT_VERSION}. Upgrade forgather-convert, or delete the file to convert "
                "without the original layout."
            )
    first = errors[0]
    key = ".".join(str(part)[:80] for part in first["loc"] if part != "[key]")
    return damaged(path, key, first["msg"].removeprefix("Value error, ").rstrip("."))
