"""Files and folders that are there, whole, after a power cut."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TEMPORARY_PREFIX", "TemporaryFile", "make_folder", "make_folders", "open_folder"]

TEMPORARY_PREFIX = ".tmp-"

FOLDER_MODE = 0o755
"""Nobody else may write into a store unless its owner says so, whatever the umask."""

WRITE_BYTES_MAX = 32 << 20
"""The largest single write, so that write-back of a large part can begin before all of it is copied."""

SYNC_STEP_BYTES = 32 << 20
"""Write-back is started this often: the disk works while the caller does, and the last fsync finds little to do
(256 MiB on an SSD: 20 ms instead of 120 ms)."""

GATHER_BYTES = 1 << 20
"""Small parts are copied together up to this size: one system call for many."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
_NO_SUCH_RENAME = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


def open_folder(root: str | int, segments: Sequence[str]) -> int:
    """Open the folder at `segments` below `root`, a path or an open folder, following no symbolic link below it."""
    folder = os.open(root, _FOLDER_FLAGS) if isinstance(root, str) else os.dup(root)
    for segment in segments:
        folder = _step(folder, segment, make=False)
    return folder


def make_folders(root: str, segments: Sequence[str]) -> int:
    """Open the folder at `segments` below `root` like `open_folder`, making what is missing, each folder durable."""
    folder = _make_root(root)
    for segment in segments:
        folder = _step(folder, segment, make=True)
    return folder


def make_folder(path: str) -> None:
    """Make the folder at `path`, and those that it lies in, each durable; nothing is put into it."""
    os.close(_make_ancestor(path))


def _step(folder: int, name: str, *, make: bool) -> int:
    """Exchange an open folder for the one called `name` in it."""
    try:
        try:
            return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            if not make:
                raise
        # A group that may write to the store may write to the whole of it.
        mode = stat.S_IMODE(os.fstat(folder).st_mode) & 0o777 | 0o700
        made = _make_folder(folder, name, mode)
        child = os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
        if made and mode & 0o022:
            _widen(child, mode)
        return child
    finally:
        os.close(folder)


def _widen(folder: int, mode: int) -> None:
    """Give a new folder the permissions of its parent also where the umask took some of them away."""
    try:
        os.fchmod(folder, mode)
    except BaseException:
        os.close(folder)
        raise


def _make_folder(parent: int, name: str, mode: int) -> bool:
    try:
        os.mkdir(name, mode, dir_fd=parent)
        made = True
    except FileExistsError:
        made = False  # somebody did it this instant, and may not have come to the fsync yet
    os.fsync(parent)
    return made


def _make_root(root: str) -> int:
    try:
        return os.open(root, _FOLDER_FLAGS)
    except FileNotFoundError:
        parent_path, name = os.path.split(root)
        if parent_path == root:
            raise
    parent = _make_ancestor(parent_path)
    try:
        made = _make_folder(parent, name, FOLDER_MODE)
    finally:
        os.close(parent)
    folder = os.open(root, _FOLDER_FLAGS)
    try:
        if made:
            _write_gitignore(folder)
    except BaseException:
        os.close(folder)
        raise
    return folder


def _make_ancestor(path: str) -> int:
    try:
        return os.open(path, _FOLDER_FLAGS)
    except FileNotFoundError:
        parent_path, name = os.path.split(path)
        if parent_path == path:
            raise
    parent = _make_ancestor(parent_path)
    try:
        _make_folder(parent, name, FOLDER_MODE)
    finally:
        os.close(parent)
    return os.open(path, _FOLDER_FLAGS)


def _write_gitignore(folder: int) -> None:
    """Keep a store that lies in a working tree out of it."""
    file = os.open(".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
    try:
        os.write(file, b"*\n")
    finally:
        os.close(file)


class TemporaryFile:
    """A file that nobody sees until `publish` has given it its name.

    Every method lets the `OSError` of the system through. `discard` must be called in the end, whatever happened.
    """

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._name = TEMPORARY_PREFIX + os.urandom(8).hex()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # Read-only for everybody from the start: the only writer is this descriptor.
        self._file = os.open(self._name, flags, 0o444, dir_fd=folder)
        self._gathered = bytearray()
        self._sync = _EarlySync(self._file)
        self._there = True
        self.size = 0

    def write(self, part: memoryview) -> None:
        """Append `part`, which may be reused afterwards."""
        self.size += len(part)
        if len(self._gathered) + len(part) <= GATHER_BYTES:
            self._gathered += part
            return
        self._flush()
        if len(part) < GATHER_BYTES // 16:
            self._gathered += part
        else:
            self._write_all(part)

    def seal(self) -> None:
        """Make the content durable and close the file."""
        self._flush()
        self._sync.finish()
        os.fsync(self._file)
        self._close()

    def publish(self, name: str) -> None:
        """Give the sealed file its name and make that durable; raise `FileExistsError` where the name is taken.

        Hard links come first, then a rename that refuses to replace. A filesystem that has neither cannot keep the
        promise that nobody sees half an object, so it is refused.
        """
        try:
            os.link(self._name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
        except FileExistsError:
            # A network filesystem may repeat a request whose answer was lost: two links mean that the name is ours.
            if os.stat(self._name, dir_fd=self._folder, follow_symlinks=False).st_nlink < 2:
                raise
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            _rename_exclusively(self._folder, self._name, name)
            self._there = False
        self._unlink()
        os.fsync(self._folder)

    def discard(self) -> None:
        """Remove what is left of the file; never raises, because an error that brought us here matters more."""
        try:
            self._sync.finish()
        except OSError:
            pass
        try:
            self._close()
        except OSError:
            pass
        self._unlink()

    def _flush(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._write_all(memoryview(gathered))

    def _write_all(self, data: memoryview) -> None:
        while data:
            written = os.write(self._file, data[:WRITE_BYTES_MAX])
            data = data[written:]
            self._sync.wrote(written)

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _unlink(self) -> None:
        if self._there:
            self._there = False
            try:
                os.unlink(self._name, dir_fd=self._folder)
            except OSError:
                pass  # it is never listed or read; a later collection removes it


class _EarlySync:
    """Syncs a file from a second thread while it is still being written.

    The kernel reports a failed write-back once per descriptor, so an error that this thread gets would be missed by
    the last fsync: it is kept, and raised by the next call.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._pending = 0
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def wrote(self, count: int) -> None:
        self._pending += count
        if self._pending < SYNC_STEP_BYTES or (self._thread is not None and self._thread.is_alive()):
            return
        self.finish()
        self._pending = 0
        self._thread = threading.Thread(target=self._run, name="holdall-sync", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # a local name for it would make a cycle, which keeps what its frames hold

    def _run(self) -> None:
        try:
            _fdatasync(self._file)
        except OSError as error:
            self._error = error


def _fdatasync(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)  # macOS has none


def _rename_exclusively(folder: int, old: str, new: str) -> None:
    """Rename without replacing: ``renameat2`` on Linux, ``renameatx_np`` on macOS."""
    import ctypes  # only where there are no hard links

    function, flag = ("renameatx_np", 4) if sys.platform == "darwin" else ("renameat2", 1)
    rename = getattr(ctypes.CDLL(None, use_errno=True), function, None)
    number = errno.ENOSYS
    if rename is not None:
        if rename(folder, os.fsencode(old), folder, os.fsencode(new), flag) == 0:
            return
        number = ctypes.get_errno()
    if number in _NO_SUCH_RENAME:
        raise OSError(
            errno.ENOTSUP,
            "this filesystem has neither hard links nor an exclusive rename, so an object cannot appear there whole; "
            "put the store on another filesystem",
        )
    raise OSError(number, os.strerror(number), new)
