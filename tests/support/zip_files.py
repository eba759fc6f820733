"""Packs PyTorch files again, as other tools would."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path


def repack(
    path: Path,
    change: Mapping[str, bytes | None] | None = None,
    compression: int = zipfile.ZIP_STORED,
    order: Callable[[list[str]], list[str]] = lambda names: names,
    rename: Callable[[str], str] = lambda name: name,
    extra: bytes = b"",
    comment: bytes = b"",
    zip64: bool = False,
    folders: bool = False,
) -> None:
    """Unpacks a zip file and packs it again in its place.

    Args:
        path: The file.
        change: Other contents for entries, by the end of their name; ``None`` leaves them out.
        compression: How to store the entries.
        order: Puts the names of the entries into another order.
        rename: The new name of an entry.
        extra: An extra field for every entry.
        comment: A comment for the archive and for every entry.
        zip64: Whether the entries' headers are those of entries over 4 GB.
        folders: Whether folders get entries of their own.
    """
    with zipfile.ZipFile(path) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    for ending, content in (change or {}).items():
        (name,) = (name for name in contents if name.endswith(ending))
        if content is None:
            del contents[name]
        else:
            contents[name] = content
    with zipfile.ZipFile(path, "w", compression) as new:
        new.comment = comment
        if folders:
            new.writestr(next(iter(contents)).split("/")[0] + "/", b"")
        for name in order(list(contents)):
            info = zipfile.ZipInfo(rename(name))
            info.compress_type = compression
            info.extra, info.comment = extra, comment
            with new.open(info, "w", force_zip64=zip64) as entry:
                entry.write(contents[name])
