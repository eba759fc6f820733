"""Finds symbolic links in a source that point outside it.

Whoever provided the source did not provide the target of such a link, and it might end up in a
published result: ``NOTICE -> ~/.bashrc``. Weights may be anywhere, since only weights are read
from weights files.
"""

from collections.abc import Iterable
from pathlib import Path

from forgather_convert.errors import SourceError
from forgather_convert.files.real_path import real_path
from forgather_convert.source.hub import CACHED, SNAPSHOTS

_BLOBS = "blobs"


def target_outside(path: Path) -> Path | None:
    """The target of a link in a source, if it is outside the source.

    A snapshot in the Hub cache consists of links to ``../../blobs``, which count as inside.

    Returns:
        The target; ``None`` if it is inside the source.
    """
    target, directory = real_path(path), real_path(path.parent)
    places = [directory]
    if directory.parent.name == SNAPSHOTS and directory.parents[1].name.startswith(CACHED):
        places.append(real_path(directory.parents[1] / _BLOBS))
    is_inside = any(root in target.parents for root in places)
    return None if is_inside else target


def refuse_links_out(directory: Path, names: Iterable[str]) -> None:
    """Refuses a source in which a required file is a link to the outside.

    Raises:
        SourceError: A file is such a link; the message names its target.
    """
    for name in sorted(names):
        target = target_outside(directory / name) if (directory / name).exists() else None
        if target is not None:
            raise SourceError(
                f"{directory / name} is a link to {target}, outside {directory}, and its content "
                "would become part of the result. Use --follow-links if that is intended, or "
                "replace the link with the file."
            )
