"""Computes the checksums of a zip file whose entries were filled in place.

The format: APPNOTE.TXT of PKWARE, sections 4.3.7 (headers), 4.3.9 (descriptors) and 4.3.12
(the directory).
"""

import os
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from forgather_convert.files.file_errors import with_filename
from forgather_convert.weights.zip_archive import (
    ZipEntry,
    directory_positions,
    open_zip,
    read_zip_entries,
)

_CHECKSUM = struct.Struct("<I")
_IN_HEADER = 14
_IN_DIRECTORY = 16
#: A flag: the checksum follows the bytes, after a signature, instead of being in the header.
_HAS_DESCRIPTOR = 0x8
_IN_DESCRIPTOR = 4
_CHUNK = 1 << 20


def write_checksums(path: Path, between: Callable[[], None]) -> None:
    """Computes the CRC-32 of every entry of a zip file, and stores it in the file.

    Args:
        path: The file; its entries are not compressed.
        between: Called repeatedly meanwhile, by several threads; may raise to stop.

    Raises:
        OSError: The file cannot be read or written.
    """
    with with_filename(path), path.open("r+b") as file:
        entries = read_zip_entries(file)
        with open_zip(file) as archive:
            infos = archive.infolist()
            *records, _ = directory_positions(file, archive)
        # zlib releases the GIL while it computes.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            checksums = pool.map(
                lambda info: _checksum(file, entries[info.filename], between), infos
            )
            for info, record, checksum in zip(infos, records, checksums, strict=True):
                offset = (
                    entries[info.filename].end + _IN_DESCRIPTOR
                    if info.flag_bits & _HAS_DESCRIPTOR
                    else info.header_offset + _IN_HEADER
                )
                for position in (offset, record + _IN_DIRECTORY):
                    os.pwrite(file.fileno(), _CHECKSUM.pack(checksum), position)


def _checksum(file: BinaryIO, entry: ZipEntry, between: Callable[[], None]) -> int:
    buffer = memoryview(bytearray(min(_CHUNK, entry.size)))
    checksum, position = 0, entry.start
    while count := os.preadv(file.fileno(), [buffer[: entry.end - position]], position):
        checksum = zlib.crc32(buffer[:count], checksum)
        position += count
        between()
    return checksum
