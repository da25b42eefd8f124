"""Files of this machine: which of them may be replaced, what they pass on, and which name was meant."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from typing import Final

from holdall_store.errors import StorageError, nearest

__all__ = ["check_plain", "keep_mode", "nearest_path", "plain_target"]

NAMES_MAX: Final = 5000
"""Among so many names of a folder the nearest is looked for: that takes a fraction of a second."""

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def plain_target(path: str) -> str:
    """Return the file that is written where `path` is asked for: if it is a link, what it leads to.

    Raises `StorageError` if something is there that is no plain file: a file that takes its name would end it.
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISLNK(status.st_mode):
            check_plain(path, status)
            return path
        status = os.stat(path)
    except FileNotFoundError:
        return os.path.realpath(path) if os.path.islink(path) else path
    except StorageError:
        raise
    except OSError as error:  # links in a circle, a folder that may not be entered
        raise StorageError(error.errno, f"Cannot write {path!r}: {error.strerror}.") from error
    check_plain(path, status)
    end = os.path.realpath(path)
    try:
        same = os.path.samestat(os.stat(end), status)
    except OSError:
        same = False
    if not same:  # /dev/stdout, whose file has lost its name meanwhile
        raise StorageError(errno.EINVAL, f"Cannot write {path!r}: what it leads to has no name.")
    return end


def check_plain(path: str, status: os.stat_result) -> None:
    """Raise `StorageError` unless `status`, of what is at `path`, is that of a plain file."""
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise StorageError(errno.EISDIR, f"Cannot write {path!r}: it is a folder.")
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "of a kind of its own")
        raise StorageError(
            errno.EINVAL,
            f"Cannot write {path!r}: it is {what}, no plain file, and would be replaced by one. On the command line, "
            "write to - for standard output.",
        )


def keep_mode(descriptor: int, path: str) -> None:
    """Give a file that is about to replace `path` the permissions of the one that is there.

    A link that is there is replaced as it is; anything else but a plain file is refused.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        return
    check_plain(path, status)
    mode = stat.S_IMODE(status.st_mode) & 0o777  # no other bytes than those that were looked at run as somebody else
    if mode != stat.S_IMODE(os.fstat(descriptor).st_mode):
        try:
            os.fchmod(descriptor, mode)
        except PermissionError:  # a file system without permissions
            return


def nearest_path(path: str, *, folders: bool = False) -> str:
    """Return `` Did you mean 'x'?`` for what is beside `path`, or an empty string; with `folders`, for a folder."""
    above, name = os.path.split(path.rstrip("/"))
    try:
        with os.scandir(above or ".") as found:
            names = [each.name for each in itertools.islice(found, NAMES_MAX) if not folders or each.is_dir()]
    except OSError:
        return ""
    return nearest(name, names)
