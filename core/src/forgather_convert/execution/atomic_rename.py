"""Renames that never replace anything, and exchanges of two directories in one step.

Both are what ``renameat2`` of Linux does. Python has no function for it, so that it is called
in the C library. Where the library, the kernel or the file system lacks it, callers are told,
or plain renames are used.
"""

import ctypes
import errno
import os
from pathlib import Path

#: From ``linux/fs.h``.
_RENAME_NOREPLACE = 1 << 0
_RENAME_EXCHANGE = 1 << 1
#: From ``fcntl.h`` of Linux: relative paths begin at the current directory.
_AT_FDCWD = -100

#: What is reported where it cannot be done. A sandbox that does not know the call says EPERM;
#: the plain rename that follows finds out whether that was the truth.
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


def exchange(first: Path, second: Path) -> bool:
    """Exchanges what two paths name, in one step: neither is ever absent.

    Returns:
        ``False`` if that cannot be done here; nothing has changed then.

    Raises:
        OSError: One of them is not there, or may not be moved.
    """
    return _renameat2(first, second, _RENAME_EXCHANGE)


def rename_to_free(source: Path, target: Path) -> None:
    """Renames, and replaces nothing.

    Raises:
        FileExistsError: The target exists.
        OSError: The source is not there, or may not be moved.
    """
    if _renameat2(source, target, _RENAME_NOREPLACE):
        return
    # What a plain rename of a directory could still replace, if it appears right now, is an
    # empty directory.
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
    """Calls ``renameat2``; gives 0 or the error's number."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return errno.ENOSYS
    place = (ctypes.c_int, ctypes.c_char_p)
    function.argtypes = (*place, *place, ctypes.c_uint)
    function.restype = ctypes.c_int
    if function(_AT_FDCWD, source, _AT_FDCWD, target, flags) == 0:
        return 0
    return ctypes.get_errno()
