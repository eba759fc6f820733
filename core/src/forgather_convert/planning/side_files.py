"""Plans the files besides config and weights: which are copied, and which are left out."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.file_state import FileState
from forgather_convert.files.real_path import real_path
from forgather_convert.models.side_file_rules import SideFileRules
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.directory_check import FILES_THAT_ARE_READ, TOKENIZER_FILES
from forgather_convert.source.files import CopyFile, WriteFile
from forgather_convert.source.links import refuse_links_out, target_outside
from forgather_convert.vocabulary.chat_template import template_write
from forgather_convert.weights.file_names import is_weights_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SideFiles:
    """Files to write, files to copy, and names that are left out."""

    writes: tuple[WriteFile, ...]
    copies: tuple[CopyFile, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class SideFileSource:
    """Where the files are.

    Attributes:
        source: The directory that the user converts.
        directory: The directory of config and tokenizer.
        weights_files: The weights files that are converted, including the index.
        follows_links: Whether to copy files that links point to outside the directory.
    """

    source: Path
    directory: Path
    weights_files: Collection[Path]
    follows_links: bool


@dataclass(frozen=True)
class SideFileChanges:
    """What is not copied as it is.

    Attributes:
        writes: Files of the directory with changed content.
        chat_template: A template to store instead of the source's.
        tokenizer: A directory with tokenizer files to copy instead of the directory's own.
    """

    writes: tuple[WriteFile, ...] = ()
    chat_template: Path | None = None
    tokenizer: Path | None = None


def plan_side_files(
    place: SideFileSource,
    rules: SideFileRules,
    changes: SideFileChanges = SideFileChanges(),
) -> SideFiles:
    """Plans the files of a directory that are neither config nor weights.

    Every name in it is copied, or belongs to something that the destination has in another form,
    or is listed as left out. So is every name in the source, if that is another directory.

    Args:
        place: Where the files are.
        rules: Which files are not copied.
        changes: What is not copied as it is.

    Raises:
        SourceError: A file cannot be read, or has the name of one that the conversion makes.
    """
    directory, weights_files = place.directory, place.weights_files
    writes, tokenizer = changes.writes, changes.tokenizer
    if not place.follows_links:
        refuse_links_out(directory, {*FILES_THAT_ARE_READ, *rules.replaced})
    copies, left_out, outside = [], [], []
    for path in sorted(directory.iterdir()):
        if path.name == CONFIG_FILE or path.name in rules.replaced or path in weights_files:
            continue
        if path.name in rules.generated:
            raise SourceError(
                f"{path} has the name of a file that the conversion writes. Rename it or move it "
                "out of the directory, so that neither is lost."
            )
        if not path.exists():
            raise SourceError(
                f"{path} is a link to a file that does not exist. Download it again, or remove it."
            )
        if path.is_dir() or path.name in rules.unused or is_weights_name(path.name):
            left_out += _unused_names(path, directory, weights_files)
        elif not path.is_file():
            left_out.append(path.name)
        elif not place.follows_links and (target := target_outside(path)) is not None:
            outside.append(f"{path.name} -> {target}")
        else:
            name = rules.renamed.get(path.name, path.name)
            copies.append(CopyFile(name, path, FileState.of(path)))
    if tokenizer is not None:
        copies = [copy for copy in copies if copy.name not in TOKENIZER_FILES]
        copies += [
            CopyFile(path.name, path, FileState.of(path))
            for path in sorted(tokenizer.iterdir())
            if path.is_file()
        ]
    known = {copy.name for copy in copies}
    copies += [
        CopyFile(name, path, FileState.of(path))
        for name, path in rules.elsewhere.items()
        if name not in known
    ]
    if real_path(place.source) != real_path(directory):
        left_out += _names_of_its_own(place.source, directory, weights_files)
    if changes.chat_template is not None:
        write = template_write(directory, changes.chat_template, writes)
        writes = (*(other for other in writes if other.name != write.name), write)
    written = {write.name for write in writes}
    copies = [copy for copy in copies if copy.name not in written]
    if left_out:
        logger.info("Not copied: %s", ", ".join(left_out))
    if outside:
        logger.warning(
            "Not copied, because they are links to files outside %s: %s. Use --follow-links to "
            "copy these files",
            directory,
            ", ".join(outside),
        )
    return SideFiles(writes, tuple(copies), (*left_out, *outside))


def _names_of_its_own(source: Path, directory: Path, weights_files: Collection[Path]) -> list[str]:
    """The names in a source that are not also in the directory with its config."""
    used = {real_path(path) for path in (directory, *real_path(directory).parents, *weights_files)}
    return [
        path.name
        for path in sorted(source.iterdir())
        if real_path(path) not in used and not (directory / path.name).exists()
    ]


def _unused_names(path: Path, directory: Path, weights_files: Collection[Path]) -> list[str]:
    """A file or directory that is left out; for one with the weights, the files besides them."""
    used = {real_path(weights) for weights in weights_files}

    def names(path: Path, around: frozenset[Path]) -> list[str]:
        real = real_path(path)
        # A link may lead to a directory that contains it.
        if real in around or not any(real in weights.parents for weights in used):
            return [path.relative_to(directory).as_posix()]
        return [
            name
            for inner in sorted(path.iterdir())
            if real_path(inner) not in used and not (directory / inner.name).is_file()
            for name in names(inner, around | {real})
        ]

    around = real_path(directory)
    return names(path, frozenset({around, *around.parents}))
