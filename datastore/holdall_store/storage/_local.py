"""Objects as files below a folder of a local or mounted filesystem."""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import resource
import stat
import sys
import weakref
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from holdall_store.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    HoldallError,
    IntegrityError,
    InvalidNameError,
    ObjectNotFoundError,
    StorageError,
)
from holdall_store.storage._contract import Buffer, ObjectInfo, Storage, StorageTraits
from holdall_store.storage._durable import TemporaryFile, make_folders, open_folder
from holdall_store.storage._keys import check_key, check_prefix, is_segment
from holdall_store.storage._parts import as_bytes, check_range

__all__ = ["LocalStorage"]

PACK_BYTES = 1 << 30
"""A disk has no reason to split: a large array stays in one piece, which can be mapped."""

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not make us wait
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_UNUSABLE_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ})
_NO_MAP = frozenset({errno.ENODEV, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE})
_HINTS = {
    errno.ENOSPC: "free some space or keep the store on another disk",
    errno.EDQUOT: "free some space or keep the store on another disk",
    errno.EROFS: "the filesystem is mounted read-only",
    errno.EIO: "the disk or its connection is failing",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

MAPS_SHARE = 0.5
"""Before Python 3.13 every map keeps a descriptor open. No more than this part of the allowed ones: the rest is read."""

_MAPS: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


_Segments = list[str]  # named here, because inside the class `list` is a method
_Frames = list[tuple[int, str, Iterator[str]]]


class LocalStorage(Storage):
    """Objects as read-only files below a folder, which is made when the first of them is created.

    Below that folder no symbolic link is followed: what lies behind one is not listed, not read and not written.
    Hidden files are nobody's objects. ``traits`` looks at the folder each time: it is ``private`` where the caller
    owns it and neither its group nor others may write to it; as long as there is no folder, it is not.
    """

    def __init__(self, path: str | os.PathLike[str], *, pack_bytes: int = PACK_BYTES) -> None:
        self._root = os.path.abspath(os.fspath(path))
        self._pack_bytes = pack_bytes

    def __repr__(self) -> str:
        return f"LocalStorage({self._root!r})"

    @property
    def path(self) -> Path:
        """The folder in which the objects lie."""
        return Path(self._root)

    @property
    def url(self) -> str:
        return Path(self._root).as_uri()

    @property
    def traits(self) -> StorageTraits:
        try:
            found = os.stat(self._root)
        except OSError:
            private = False
        else:
            private = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return StorageTraits(pack_bytes=self._pack_bytes, mappable=True, private=private)

    def private(self, key: str) -> bool:
        path = self._root
        for name in ("", *check_key(key)):
            path = os.path.join(path, name) if name else path
            try:
                found = os.stat(path, follow_symlinks=path == self._root)
            except OSError:
                return False
            if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
        return True

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        *folders, name = check_key(key)
        with self._errors("create", key):
            folder = self._folder_for(folders, name, key)
        try:
            with self._errors("create", key):
                file = TemporaryFile(folder)
            try:
                for part in parts:  # outside of the translation: its exceptions are the caller's
                    try:
                        file.write(as_bytes(part))
                    except OSError as error:
                        raise self._translated(error, "create", key) from error
                with self._errors("create", key):
                    file.seal()
                    file.publish(name)
            finally:
                file.discard()
        finally:
            os.close(folder)
        return file.size

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        with self._errors("read", key):
            file = self._open(key)
            try:
                length = check_range(key, os.fstat(file).st_size, start, length)
                # A bytearray is the fastest that can be written to: an anonymous map costs more page faults.
                data = memoryview(bytearray(length))
                done = 0
                while done < length:
                    count = os.preadv(file, [data[done:]], start + done)
                    if count == 0:
                        raise IntegrityError(f"{key!r} in {self._root} became shorter while it was read.")
                    done += count
                return data
            finally:
                os.close(file)

    def map(self, key: str) -> memoryview | None:
        with self._errors("map", key):
            file = self._open(key)
            try:
                size = os.fstat(file).st_size
                if size == 0:
                    return memoryview(bytearray())
                return _map(file, size)
            finally:
                os.close(file)

    def head(self, key: str) -> ObjectInfo:
        *folders, name = check_key(key)
        with self._errors("look at", key):
            folder = open_folder(self._root, folders)
            try:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            finally:
                os.close(folder)
        if not stat.S_ISREG(found.st_mode):
            raise self._not_found(key)
        return ObjectInfo(key, found.st_size)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        segments = check_prefix(prefix)
        return self._list(prefix, segments, after)

    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        segments = check_prefix(prefix)
        return self._list_folders(prefix, segments, after)

    def delete(self, keys: Iterable[str]) -> None:
        split = ((check_key(key), key) for key in keys)
        for folders, group in itertools.groupby(split, lambda item: item[0][:-1]):
            self._delete_in(folders, group)

    def close(self) -> None:
        """Do nothing: no descriptor outlives a call."""

    def _folder_for(self, folders: _Segments, name: str, key: str) -> int:
        """Open the folder in which `name` is to be created, and look early whether it is taken."""
        try:
            folder = make_folders(self._root, folders)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise InvalidNameError(
                    f"Cannot create {key!r} in {self._root}: an object or a symbolic link lies where a folder has to be."
                ) from error
            raise
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return folder
        except OSError:
            os.close(folder)
            raise
        os.close(folder)
        if stat.S_ISDIR(found.st_mode):
            raise InvalidNameError(f"Cannot create {key!r} in {self._root}: it is the folder of other objects.")
        raise self._exists(key)

    def _open(self, key: str) -> int:
        """Open an object, which is a regular file, for reading."""
        *folders, name = check_key(key)
        folder = open_folder(self._root, folders)
        try:
            file = os.open(name, _READ_FLAGS, dir_fd=folder)
        finally:
            os.close(folder)
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
        raise self._not_found(key)

    def _list(self, prefix: str, segments: _Segments, after: str) -> Iterator[ObjectInfo]:
        # One frame for each folder on the way: its descriptor, its prefix, what is still to come.
        frames: _Frames = []
        try:
            self._enter(frames, segments, prefix, after)
            while frames:
                folder, base, names = frames[-1]
                name = next(names, None)
                if name is None:
                    frames.pop()
                    os.close(folder)
                elif name.endswith("/"):
                    self._enter(frames, [name[:-1]], base + name, after, folder)
                else:
                    size = self._size_if_there(folder, name, base)
                    if size is not None:
                        yield ObjectInfo(base + name, size)
        finally:
            for folder, _, _ in frames:
                os.close(folder)

    def _size_if_there(self, folder: int, name: str, base: str) -> int | None:
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None  # deleted since the folder was read
        except OSError as error:
            raise self._translated(error, "list", base + name) from error

    def _enter(
        self,
        frames: _Frames,
        segments: _Segments,
        base: str,
        after: str,
        parent: int | None = None,
    ) -> None:
        with self._errors("list", base), _none_is_fine():
            folder = open_folder(self._root if parent is None else parent, segments)
            try:
                frames.append((folder, base, iter(_sorted_names(folder, base, after))))
            except BaseException:
                os.close(folder)
                raise

    def _list_folders(self, prefix: str, segments: _Segments, after: str) -> Iterator[str]:
        names: _Segments = []
        with self._errors("list", prefix), _none_is_fine():
            folder = open_folder(self._root, segments)
            try:
                with os.scandir(folder) as entries:
                    names = [e.name + "/" for e in entries if is_segment(e.name) and e.is_dir(follow_symlinks=False)]
            finally:
                os.close(folder)
        names.sort()
        for name in names:
            if not after or name > after + "/":
                yield name[:-1]

    def _delete_in(self, folders: _Segments, keys: Iterable[tuple[_Segments, str]]) -> None:
        folder, last = -1, ""
        try:
            for segments, last in keys:
                with self._errors("delete", last), _none_is_fine():
                    if folder < 0:
                        folder = open_folder(self._root, folders)
                    os.unlink(segments[-1], dir_fd=folder)
            if folder >= 0:
                with self._errors("delete", last):
                    os.fsync(folder)
        finally:
            if folder >= 0:
                os.close(folder)

    @contextlib.contextmanager
    def _errors(self, verb: str, key: str) -> Generator[None]:
        """Translate the errors of the system that happen while `key` is being handled."""
        try:
            yield
        except HoldallError:
            raise  # some are OSErrors, too
        except OSError as error:
            raise self._translated(error, verb, key) from error

    def _translated(self, error: OSError, verb: str, key: str) -> HoldallError:
        number = error.errno or 0
        if verb != "create" and number in _NOT_THERE:
            return self._not_found(key)
        if isinstance(error, FileExistsError):
            return self._exists(key)
        hint = _HINTS.get(number)
        reason = error.strerror or str(error)
        message = f"Cannot {verb} {key!r} in {self._root}: {reason}{f' ({hint})' if hint else ''}."
        if number in _UNUSABLE_NAME:
            return InvalidNameError(message)
        if number in _DENIED:
            return AccessDeniedError(number, message)
        return StorageError(number, message)

    def _not_found(self, key: str) -> ObjectNotFoundError:
        return ObjectNotFoundError(f"There is no object {key!r} in {self._root}.")

    def _exists(self, key: str) -> AlreadyExistsError:
        return AlreadyExistsError(errno.EEXIST, f"There already is an object {key!r} in {self._root}.")


@contextlib.contextmanager
def _none_is_fine() -> Generator[None]:
    """Pass over what is not there, or is no folder where one was looked for, or no object."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_THERE | {errno.EISDIR}:
            raise


def _sorted_names(folder: int, base: str, after: str) -> list[str]:
    """Return the names in an open folder that lead to keys after `after`, folders with a slash, in the order of keys."""
    with os.scandir(folder) as entries:
        files, folders = [], []  # told apart by what the folder itself says: no look at each entry
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                files.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
    names = list(filter(is_segment, files))
    names += [name + "/" for name in folders if is_segment(name)]
    if after:
        names = [n for n in names if base + n > after or (n.endswith("/") and after.startswith(base + n))]
    names.sort()
    return names


def _map(file: int, size: int) -> memoryview | None:
    """Map an open file privately; ``None`` where the system will not, or where too many files are open for that."""
    try:
        if sys.version_info >= (3, 13):
            prot = mmap.PROT_READ | mmap.PROT_WRITE
            return memoryview(mmap.mmap(file, size, flags=mmap.MAP_PRIVATE, prot=prot, trackfd=False))
        if len(_MAPS) >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] * MAPS_SHARE:
            return None
        mapped = mmap.mmap(file, size, access=mmap.ACCESS_COPY)
    except OSError as error:
        if error.errno in _NO_MAP:
            return None
        raise
    except ValueError as error:  # what mmap says of a file that is shorter than it was an instant ago
        raise IntegrityError(f"An object became shorter while it was mapped: {error}.") from error
    _MAPS.add(mapped)
    return memoryview(mapped)
