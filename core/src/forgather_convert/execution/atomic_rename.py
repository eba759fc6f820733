"""Renames that never replace anything, and atomic exchanges of two directories.

Both use ``renameat2`` of Linux, called through the C library because Python does not offer it.
If the library, the kernel or the file system does not support it, callers are told so, or plain
renames are used.
"""

import ctypes
import errno
import os
from pathlib import Path

from forgather_convert.files.c_library import c_function

#: From ``linux/fs.h``.
_RENAME_NOREPLACE = 1 << 0
_RENAME_EXCHANGE = 1 << 1
#: From ``fcntl.h`` of Linux: relative paths begin at the current directory.
_AT_FDCWD = -100

#: The errors reported where it is not supported. A sandbox that does not know the call reports
#: EPERM; the plain rename that follows shows whether that was the real reason.
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


def exchange(first: Path, second: Path) -> bool:
    """Atomically exchanges what two paths name: neither is ever absent.

    Returns:
        ``False`` if this is not supported; nothing has changed then.

    Raises:
        OSError: One of them does not exist, or may not be moved.
    """
    return _renameat2(first, second, _RENAME_EXCHANGE)


def rename_to_free(source: Path, target: Path) -> None:
    """Renames a file or directory without replacing anything.

    Raises:
        FileExistsError: The target exists.
        OSError: The source does not exist, or may not be moved.
    """
    if _renameat2(source, target, _RENAME_NOREPLACE):
        return
    # All that the plain rename of a directory could still replace is an empty directory that
    # appears at this very moment.
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    number = call_renameat2(os.fsencode(source), os.fsencode(target), flags)
    if number == 0:
        return True
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


def call_renameat2(source: bytes, target: bytes, flags: int) -> int:
    """Calls ``renameat2``; returns 0 or the error number."""
    function = c_function("renameat2")
    if function is None:
        return errno.ENOSYS
    path_argument = (ctypes.c_int, ctypes.c_char_p)
    function.argtypes = (*path_argument, *path_argument, ctypes.c_uint)
    function.restype = ctypes.c_int
    if function(_AT_FDCWD, source, _AT_FDCWD, target, flags) == 0:
        return 0
    return ctypes.get_errno()
