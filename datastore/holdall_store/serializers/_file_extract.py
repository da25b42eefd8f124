"""Files and folders of artifacts, back on a disk: whole under their final name, or not there."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from itertools import pairwise
from typing import TYPE_CHECKING

from holdall_store.errors import AlreadyExistsError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from holdall_store.serializers._file_nodes import Entry

__all__ = ["READ_BYTES", "extract_directory", "extract_file"]

READ_BYTES = 8 << 20
"""At most this much is asked for at once: as much as a bundle of small files has, and little enough to hold."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR})


def extract_file(
    entry: Entry, read: Callable[[int, int, int], memoryview], destination: str | os.PathLike[str]
) -> None:
    """Write a file to the path `destination`, where nothing may be yet.

    ``read(buffer, offset, length)`` gives the bytes. Missing folders are made. The mode is restored as far as the
    umask allows. Errors of the system are Python's own.
    """
    target = os.path.abspath(destination)
    if os.path.lexists(target):
        raise _taken(target)
    temporary = _temporary(target)
    try:
        _write_files([entry], lambda _: temporary, read)
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise _taken(target) from None
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS or os.path.lexists(target):
                raise
            os.rename(temporary, target)  # all that such a filesystem has
            return
        os.unlink(temporary)
    except BaseException:
        _remove(temporary)
        raise


def extract_directory(
    entries: Iterable[Entry], read: Callable[[int, int, int], memoryview], destination: str | os.PathLike[str]
) -> None:
    """Write what `parse_directory` gave to the folder `destination`, which may be there only if it is empty.

    ``read(buffer, offset, length)`` gives the bytes; bundles are read in large pieces. Missing folders above are
    made. Modes are restored as far as the umask allows. Nothing is seen under the final name until all is there.
    """
    entries = list(entries)
    target = os.path.abspath(destination)
    if os.path.lexists(target) and (os.path.islink(target) or not os.path.isdir(target) or os.listdir(target)):
        raise _taken(target)
    temporary = _temporary(target)
    os.mkdir(temporary, 0o700)  # nobody else can put a link in our way
    try:
        umask = _umask(temporary)
        folders = [entry for entry in entries if entry.kind == "directory"]
        for entry in sorted(folders, key=_path):
            if entry.path:
                os.mkdir(os.path.join(temporary, entry.path), 0o700)
        files = (entry for entry in entries if entry.kind == "file")
        _write_files(files, lambda path: f"{temporary}/{path}", read)
        for entry in entries:  # only now, when nothing more is written through any path
            if entry.kind == "symlink" and entry.target is not None:
                os.symlink(entry.target, os.path.join(temporary, entry.path))
        for entry in sorted(folders, key=_path, reverse=True):
            os.chmod(os.path.join(temporary, entry.path), entry.mode & ~umask)
        try:
            os.rename(temporary, target)
        except OSError as error:
            raise (_taken(target) if error.errno in _TAKEN else error) from None
    except BaseException:
        _remove(temporary)
        raise


def _write_files(
    files: Iterable[Entry], place: Callable[[str], str], read: Callable[[int, int, int], memoryview]
) -> None:
    empty: list[Entry] = []
    full: list[Entry] = []
    for entry in files:
        (full if entry.buffer is not None else empty).append(entry)
    for entry in empty:
        os.close(os.open(place(entry.path), _CREATE, entry.mode))
    full.sort(key=lambda entry: (entry.buffer or 0, entry.offset))
    for run in _runs(full):
        _write_run(run, place, read)


def _runs(files: list[Entry]) -> Iterator[list[Entry]]:
    """Part files, sorted by their place, where one does not begin at the end of the one before."""
    start = 0
    for index, (before, entry) in enumerate(pairwise(files), 1):
        if entry.buffer != before.buffer or entry.offset != before.offset + before.size:
            yield files[start:index]
            start = index
    if files:
        yield files[start:]


def _write_run(run: list[Entry], place: Callable[[str], str], read: Callable[[int, int, int], memoryview]) -> None:
    """Write files whose bytes lie one after the other in one buffer, read in pieces whatever their sizes."""
    buffer = run[0].buffer or 0
    position, end = run[0].offset, run[-1].offset + run[-1].size
    piece = memoryview(b"")
    for entry in run:
        file = os.open(place(entry.path), _CREATE, entry.mode)
        try:
            left = entry.size
            while left:
                if not piece:
                    length = min(READ_BYTES, end - position)
                    piece = read(buffer, position, length)
                    if len(piece) != length:
                        raise IntegrityError(f"{entry.path!r}: {len(piece)} bytes came where {length} were asked for.")
                    position += length
                written = os.write(file, piece[:left])
                piece = piece[written:]
                left -= written
        finally:
            os.close(file)


def _path(entry: Entry) -> str:
    return entry.path


def _temporary(target: str) -> str:
    """Return a free path beside `target`, in a folder that is there."""
    parent = os.path.dirname(target)
    os.makedirs(parent, exist_ok=True)
    return os.path.join(parent, f".holdall-{secrets.token_hex(8)}")


def _umask(folder: str) -> int:
    """Return the umask; to ask the system for it would change it for all threads."""
    probe = os.path.join(folder, "probe")
    os.mkdir(probe, 0o777)
    mask = 0o777 & ~stat.S_IMODE(os.stat(probe).st_mode)
    os.rmdir(probe)
    return mask


def _taken(target: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        errno.EEXIST, f"There already is something at {target!r}: choose another place, or remove it."
    )


def _remove(path: str) -> None:
    """Remove what we made, as far as that is possible: the error that brought us here matters more."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            for folder, _, _ in os.walk(path):
                os.chmod(folder, 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    except OSError:
        pass
