"""Locates the entries of a zip file by its directory."""

import errno
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

#: The fixed part of the header before an entry, which ends with the lengths of name and extra
#: field. The extra field in the directory may have another length.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
#: The fixed part of a directory entry, with the lengths of what follows in its middle.
_DIRECTORY_HEADER = struct.Struct("<28xHHH12x")
#: The records that end the directory, for files over 4 GB and for all files.
_DIRECTORY_ENDS = (b"PK\x06\x06", b"PK\x05\x06")
_SIGNATURE = b"PK\x03\x04"
#: Flags of an entry: encrypted, patched, strongly encrypted.
_NOT_PLAIN = 0x1 | 0x20 | 0x40
_UTF_8 = 0x800
#: The MS-DOS attribute that makes an entry a folder, whatever its name; torch reads no bytes of
#: folders.
_FOLDER = 0x10


@dataclass(frozen=True)
class ZipEntry:
    """A file in a zip file.

    Attributes:
        name: Its name, with folders.
        start: Where its bytes begin in the zip file.
        size: Its unpacked size in bytes.
        is_stored: Whether its bytes are stored verbatim, neither compressed nor encrypted.
    """

    name: str
    start: int
    size: int
    is_stored: bool

    @property
    def end(self) -> int:
        """Where its bytes end, if it is stored."""
        return self.start + self.size


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """Opens a zip file; unlike Python, distinguishes unreadable files from other files.

    Raises:
        zipfile.BadZipFile: It is not a zip file, or is truncated.
        OSError: It cannot be read.
    """
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        cause = error.__context__
        # A damaged file may make it seek to before the beginning.
        if isinstance(cause, OSError) and cause.errno != errno.EINVAL:
            raise cause from None
        raise


def read_zip_entries(file: BinaryIO) -> Mapping[str, ZipEntry]:
    """Lists the entries of a zip file by their names, without reading them.

    Raises:
        zipfile.BadZipFile: The file is not a zip file, is truncated, or is inconsistent: entries
            overlap, or two have the same name.
        OSError: It cannot be read.
    """
    entries: dict[str, ZipEntry] = {}
    with open_zip(file) as archive:
        _check_directory(file, archive)
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        end_of_previous = 0
        for info in infos:
            start = _data_start(file, info)
            end = start + info.compress_size
            if info.header_offset < end_of_previous or end > archive.start_dir:
                raise zipfile.BadZipFile(f"the entry {info.filename!r} overlaps with another")
            if info.filename in entries:
                raise zipfile.BadZipFile(f"there are two entries {info.filename!r}")
            if info.external_attr & _FOLDER and not info.is_dir():
                raise zipfile.BadZipFile(f"the entry {info.filename!r} is marked as a folder")
            end_of_previous = end
            is_stored = (
                info.compress_type == zipfile.ZIP_STORED
                and not info.flag_bits & _NOT_PLAIN
                and info.compress_size == info.file_size
            )
            entries[info.filename] = ZipEntry(info.filename, start, info.file_size, is_stored)
    return entries


def directory_positions(file: BinaryIO, archive: zipfile.ZipFile) -> Iterator[int]:
    """The position of each entry of ``infolist()`` in the directory, and the directory's end."""
    position = archive.start_dir
    yield position
    for _ in archive.infolist():
        file.seek(position, os.SEEK_SET)
        lengths = _DIRECTORY_HEADER.unpack(file.read(_DIRECTORY_HEADER.size))
        position += _DIRECTORY_HEADER.size + sum(lengths)
        yield position


def _check_directory(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Refuses a directory whose last entry extends beyond it, which Python would truncate."""
    *_, end = directory_positions(file, archive)
    file.seek(end, os.SEEK_SET)
    if file.read(len(_SIGNATURE)) not in _DIRECTORY_ENDS:
        raise zipfile.BadZipFile("its directory does not end where its entries do")


def _data_start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    file.seek(info.header_offset, os.SEEK_SET)
    raw = file.read(_LOCAL_HEADER.size)
    if len(raw) < _LOCAL_HEADER.size:
        raise zipfile.BadZipFile(f"the entry {info.filename!r} would begin after the end")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(raw)
    if signature != _SIGNATURE:
        raise zipfile.BadZipFile(f"the entry {info.filename!r} is not where it should be")
    if name_length != len(info.orig_filename.encode(_encoding(info))):
        raise zipfile.BadZipFile(f"the entry {info.filename!r} has two names")
    return info.header_offset + _LOCAL_HEADER.size + int(name_length) + int(extra_length)


def _encoding(info: zipfile.ZipInfo) -> str:
    """The encoding of an entry's name in the file."""
    return "utf-8" if info.flag_bits & _UTF_8 else "cp437"
