"""Which files besides config and weights a conversion does not copy."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forgather_convert.files.file_errors import with_filename
from forgather_convert.models.carried_tensors import (
    CARRIED_FILE_PREFIX,
    PROCESSOR_FILES,
    is_carried_file,
)
from forgather_convert.models.provenance import Provenance
from forgather_convert.source.files import sha256
from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.weights.linked_files import LINKS_FILE

logger = logging.getLogger(__name__)

#: Files without tensors that trainers save beside a model.
_TRAINING_FILES = ("trainer_state.json",)


_REPLACED = (PROVENANCE_FILE, LINKS_FILE)


@dataclass(frozen=True)
class SideFileRules:
    """The files besides config and weights that are not copied, by name.

    Attributes:
        generated: Files that the conversion makes; the source must not have these names.
        replaced: Files of the source that the destination has in another form.
        unused: Files of the source that the destination does not need.
        renamed: The names in the destination of files that have another name there.
        elsewhere: Files from another directory, by their names in the destination, unless the
            source has them, too.
    """

    generated: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    unused: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, Path] = field(default_factory=dict)


def processor_files() -> Mapping[str, str]:
    """The names in a Forgather model of a composite's files for images, by their own.

    With their own names, they would make loaders expect a model of images.
    """
    return {name: f"{CARRIED_FILE_PREFIX}{name}" for name in PROCESSOR_FILES}


def forgather_files(
    directory: Path, provenance: Provenance | None, is_composite: bool = False
) -> SideFileRules:
    """Distinguishes a Forgather model's own files from those that its user added.

    Only Python files can be the model's code, whatever the provenance says. Edited code is left
    out, with a warning. Without a provenance, all Python files are considered the code.

    Args:
        directory: The model's directory.
        provenance: Its provenance; ``None`` if it has none.
        is_composite: Whether a composite is restored, with its files for images.
    """
    # Not glob, which treats an unreadable directory as empty.
    names = {path.name for path in directory.iterdir() if path.is_file()}
    code = {name for name in names if name.endswith(".py")}
    tensors = {name for name in names if is_carried_file(name)}
    renamed: Mapping[str, str] = {}
    unneeded = {name for name in names if name.startswith(CARRIED_FILE_PREFIX)} - tensors
    if is_composite:
        renamed = {own: name for name, own in processor_files().items()}
        unneeded = set()
    if provenance is None:
        return SideFileRules(
            replaced=frozenset({*_REPLACED, *tensors}),
            unused=frozenset({*unneeded, *code, *_TRAINING_FILES}),
            renamed=renamed,
        )
    generated = {
        name: _hash(directory / name) == digest
        for name, digest in provenance.generated.items()
        if name in code
    }
    edited = sorted(name for name, is_unchanged in generated.items() if not is_unchanged)
    if edited:
        logger.warning(
            "The model code was edited (%s); the Hugging Face model does not include the changes",
            ", ".join(edited),
        )
    unchanged = {name for name, is_unchanged in generated.items() if is_unchanged}
    training = {*_TRAINING_FILES} - {*provenance.carried}
    return SideFileRules(
        replaced=frozenset({*_REPLACED, *unchanged, *tensors}),
        unused=frozenset({*unneeded, *edited, *training}),
        renamed=renamed,
    )


def _hash(path: Path) -> str:
    with with_filename(path):
        return sha256(path.read_bytes())
