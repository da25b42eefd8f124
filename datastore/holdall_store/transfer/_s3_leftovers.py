"""The unfinished files of downloads: what they are called, and who removes those that nobody goes on with."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Final

__all__ = ["Leftovers", "can_lock", "is_partial_name", "lock_alone", "partial_path", "target_mark"]

PART_MARK: Final = ".holdall-"
PART_END: Final = ".part"
NAME_CHARACTERS_MAX: Final = 60
"""A file name has at most 255 bytes; this much of it stands in that of the temporary file."""

_MARKED: Final = re.compile(re.escape(PART_MARK) + "([0-9a-f]{8})-[0-9a-f]{16}" + re.escape(PART_END))


def is_partial_name(name: str) -> bool:
    """Tell whether a file is the unfinished one of a download."""
    return name.startswith(".") and PART_MARK in name and name.endswith(PART_END)


def partial_path(path: str, ident: str) -> str:
    """Return where the unfinished file for `path` is; `ident` tells it from others."""
    folder, name = os.path.split(path)
    short = name.encode(errors="surrogateescape")[:NAME_CHARACTERS_MAX].decode(errors="ignore")
    return os.path.join(folder, f".{short}{PART_MARK}{ident}{PART_END}")


def target_mark(path: str) -> str:
    """Return by what the unfinished files for `path` are known, whichever object they are of."""
    return hashlib.sha256(os.path.basename(path).encode(errors="surrogatepass")).hexdigest()[:8]


def lock_alone(descriptor: int, path: str) -> bool:
    """Lock the open file that is at `path`; ``False`` if somebody else has it, or it is not there any more."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:  # locked, not lockable, or finished by somebody else meanwhile
        return False


def can_lock(descriptor: int) -> bool:
    """Tell whether the system has locks for an open file, whoever has this one's."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


class Leftovers:
    """What earlier downloads left: of objects that have been replaced since, or of processes that were killed.

    Each folder is looked at once, when the first file in it is there. An unfinished file that somebody writes is
    locked, and stays.
    """

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, list[str]]] = {}

    def remove(self, path: str) -> None:
        """Remove what was left of downloads to `path`, which is there now."""
        folder = os.path.dirname(path)
        marks = self._folders.get(folder)
        if marks is None:
            marks = self._folders[folder] = _find(folder)
        for left in marks.pop(target_mark(path), ()):
            _remove_if_alone(left)


def _find(folder: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        with os.scandir(folder or ".") as children:
            for child in children:
                match = _MARKED.search(child.name) if is_partial_name(child.name) else None
                if match is not None and match.end() == len(child.name):
                    found.setdefault(match[1], []).append(os.path.join(folder, child.name))
    except OSError:  # one may write there and not look
        return {}
    return found


def _remove_if_alone(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # gone, or somebody else's
        return
    try:
        # Who opens it from now on finds, once the lock is free, that it is not there any more, and begins anew.
        if lock_alone(descriptor, path):
            os.unlink(path)
    except OSError:  # it stays, as it did before
        return
    finally:
        os.close(descriptor)
