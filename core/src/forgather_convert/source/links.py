"""Symbolic links of a source that lead out of it.

What such a link leads to is not what somebody who gives the source has given, and might end up
in a result that is published: ``NOTICE -> ~/.bashrc``. Weights may be anywhere; whatever is a
model's weights, and nothing else, is read as them.
"""

from collections.abc import Iterable
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.real_path import real_path
from forgather_convert.source.hub import CACHED, SNAPSHOTS

_BLOBS = "blobs"


def target_outside(path: Path) -> Path | None:
    """Where a file of a source really is, if that is outside of it.

    A snapshot in the Hub's cache consists of links to ``../../blobs``: that is its own.

    Args:
        path: An entry of the source's directory.

    Returns:
        The file; ``None`` if it is in the source.
    """
    target, directory = real_path(path), real_path(path.parent)
    places = [directory]
    if directory.parent.name == SNAPSHOTS and directory.parents[1].name.startswith(CACHED):
        places.append(real_path(directory.parents[1] / _BLOBS))
    is_inside = any(place in target.parents for place in places)
    return None if is_inside else target


def refuse_links_out(directory: Path, names: Iterable[str]) -> None:
    """Refuses a source with a file somewhere else that cannot be left out.

    Args:
        directory: The source.
        names: The files that it cannot be converted without.

    Raises:
        SourceError: It says where the file is.
    """
    for name in sorted(names):
        target = target_outside(directory / name) if (directory / name).exists() else None
        if target is not None:
            raise SourceError(
                f"{directory / name} is a link to {target}, outside of {directory}, whose content "
                "would become part of the result. Use --follow-links if that is intended, or put "
                "the file in the link's place."
            )
