"""Objects as files on any filesystem that fsspec knows."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

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
from holdall_store.storage._fsspec_connections import Connections
from holdall_store.storage._fsspec_errors import Failure, explain, is_missing, read_failure
from holdall_store.storage._fsspec_ways import PROBE_NAME
from holdall_store.storage._keys import check_key, check_prefix
from holdall_store.storage._parts import as_bytes, check_range

__all__ = ["FsspecStorage"]

PACK_BYTES: Final = 64 << 20
"""As on object stores: small enough to be held in memory and sent again."""

TRIES: Final = 4
"""How often a request is made that fails for a reason that passes; some libraries try again themselves, for longer."""

DELAY_FIRST: Final = 0.1
DELAY_FACTOR: Final = 4

_T = TypeVar("_T")
_Entries = list[tuple[str, int | None]]  # named here, because inside the class `list` is a method
_Frames = list[tuple[str, Iterator[tuple[str, int | None]]]]


class FsspecStorage(Storage):
    """Objects below a folder of a filesystem, or below a prefix of a bucket.

    How an object is created only if there is none depends on the filesystem: a condition of the server's (S3, Google,
    Azure), a lock (memory), or a file beside that gets its name by a rename which replaces nothing (SFTP and others).
    The first creation in a process looks whether that is honoured. Where it is not, or where there is no such way,
    `create` raises `AccessDeniedError`, unless `single_writer` promises that nobody else writes at the same time.

    An object is as durable as the filesystem makes a file that was closed. What fails for a reason that passes is
    tried again; `AlreadyExistsError` may then mean one's own earlier try, whose answer was lost. `StorageError` with
    ``errno.ETIMEDOUT`` says that it could not be found out whether an object was created.

    A pickle holds where the filesystem is, and no secrets.
    """

    def __init__(self, connections: Connections, root: str, url: str, *, single_writer: bool = False) -> None:
        self._connections = connections
        self._way = connections.way
        self._root = root.rstrip("/")
        self._url = url
        self._single_writer = single_writer
        self._probed = single_writer

    def __repr__(self) -> str:
        return f"FsspecStorage({self._url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._connections, self._root, self._url, self._single_writer)

    @property
    def url(self) -> str:
        return self._url

    @property
    def traits(self) -> StorageTraits:
        place = self._connections.place
        return StorageTraits(
            pack_bytes=PACK_BYTES,
            private=self._way.private,
            concurrency=self._way.concurrency,
            cache_key=f"{place}{self._root}" if place else "",
        )

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        path = self._path(key)
        body = bytearray()
        for part in parts:
            body += as_bytes(part)
        if not self._probed:
            self.check_create_if_absent(key)
        self._put(key, path, bytes(body))
        return len(body)

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        path = self._path(key)
        wanted = length
        if start != 0 or wanted is not None:
            if wanted is None or wanted <= 0 or start < 0 or start + wanted >= 1 << 63:
                wanted = check_range(key, self.head(key).size, start, wanted)
            if wanted == 0:
                return memoryview(b"")
        try:
            data = self._run("read", key, lambda fs: self._way.read(fs, path, start, wanted))
        except StorageError:
            if wanted is not None:  # filesystems differ in what they say of a range that is not there
                check_range(key, self.head(key).size, start, wanted)
            raise
        if wanted is None and not self._way.whole:
            wanted = self.head(key).size
        if wanted is not None and len(data) != wanted:
            check_range(key, self.head(key).size, start, wanted)
            raise IntegrityError(f"{self._url} gave {len(data)} bytes of {key!r} where {wanted} were asked for.")
        return memoryview(data)

    def map(self, key: str) -> memoryview | None:
        check_key(key)
        return None

    def head(self, key: str) -> ObjectInfo:
        path = self._path(key)
        return ObjectInfo(key, self._run("look at", key, lambda fs: self._way.size(fs, path)))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        return self._list(prefix, after)

    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        check_prefix(prefix)
        return self._list_folders(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self._path(key)
            try:
                self._run("delete", key, partial(self._remove, path))
            except ObjectNotFoundError:
                continue
            except StorageError:
                if self._kind_of(key) == "file":
                    raise

    def close(self) -> None:
        self._connections.close()

    def check_create_if_absent(self, key: str = PROBE_NAME) -> None:
        """Raise `AccessDeniedError` where a file can be created only by replacing the one that may be there.

        `key` is what is to be created afterwards, for the message of an error.
        """
        if self._way.refusal:
            raise self._unsuitable(self._way.refusal)
        if self._way.probed and not self._run("create", key, lambda fs: self._way.refuses(fs, self._root)):
            raise self._unsuitable("it replaces what is there, so two writers would overwrite each other")
        self._probed = True

    def _unsuitable(self, reason: str) -> AccessDeniedError:
        return AccessDeniedError(
            errno.EPERM,
            f"Nothing can be written to {self._url}, because this filesystem does not create files only if they are "
            f"absent: {reason}. If nobody but this process will ever write at the same time, say so: "
            "storage_options={'single_writer': True}.",
        )

    def _path(self, key: str) -> str:
        check_key(key)
        for marker in self._way.markers:
            if marker in key:
                raise InvalidNameError(f"{key!r:.80} cannot be a key here: {marker!r} means something else to s3fs.")
        return f"{self._root}/{key}"

    def _remove(self, path: str, fs: Any) -> None:
        self._way.remove(fs, path)

    def _run(self, action: str, key: str, request: Callable[[Any], _T]) -> _T:
        """Return what `request` returns, trying again what fails for a reason that passes."""
        delay = DELAY_FIRST
        for left in reversed(range(TRIES)):
            try:
                with self._connections.lease() as fs:
                    return request(fs)
            except HoldallError:
                raise
            except Exception as error:  # noqa: BLE001 - filesystems raise what their libraries raise
                failure = read_failure(error, self._connections.secrets)
            if failure.meaning != "again" or not left:
                raise explain(failure, action, key, self._url)
            time.sleep(random.uniform(delay / 4, delay))
            delay *= DELAY_FACTOR
        raise AssertionError("a loop that returns or raises ended")

    def _put(self, key: str, path: str, body: bytes) -> None:
        if self._single_writer and self._kind_of(key) == "file":
            raise self._exists(key)
        delay = DELAY_FIRST
        for left in reversed(range(TRIES)):
            try:
                with self._connections.lease() as fs:
                    self._way.write(fs, path, body, exclusive=not self._single_writer)
                    return
            except HoldallError:
                raise
            except Exception as error:  # noqa: BLE001 - filesystems raise what their libraries raise
                failure = read_failure(error, self._connections.secrets)
            self._look_after(failure, key)
            # "There is one" with nothing there was a conflict, in which nothing was written.
            if failure.meaning not in ("again", "exists") or not left:
                raise explain(failure, "create", key, self._url)
            time.sleep(random.uniform(delay / 4, delay))
            delay *= DELAY_FACTOR

    def _look_after(self, failure: Failure, key: str) -> None:
        """Raise the right error where something is there after a creation failed: libraries seldom say it clearly."""
        try:
            kind = self._kind_of(key)
        except StorageError:
            raise explain(failure, "create", key, self._url) from None
        if kind == "file":
            raise self._exists(key)
        if kind == "folder":
            raise InvalidNameError(f"Cannot create {key!r} in {self._url}: it is the folder of other objects.")

    def _exists(self, key: str) -> AlreadyExistsError:
        return AlreadyExistsError(errno.EEXIST, f"There already is an object {key!r} in {self._url}.")

    def _kind_of(self, key: str) -> str:
        """Return whether a key is a ``"file"``, a ``"folder"`` or nothing."""
        path = self._path(key)

        def look(fs: Any) -> str:
            try:
                self._way.size(fs, path)
            except IsADirectoryError:
                return "folder"
            except Exception as error:
                if is_missing(error):
                    return ""
                raise
            return "file"

        return self._run("look at", key, look)

    def _entries(self, prefix: str) -> _Entries:
        """Return what is in a folder, in the order of keys."""

        def read(fs: Any) -> _Entries:
            try:
                return self._way.entries(fs, f"{self._root}/{prefix}".rstrip("/"))
            except Exception as error:
                if is_missing(error):
                    return []
                raise

        return sorted(self._run("list", prefix, read), key=lambda entry: entry[0])

    def _list(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        frames: _Frames = [(prefix, iter(self._entries(prefix)))]
        while frames:
            base, entries = frames[-1]
            name, size = next(entries, ("", None))
            key = base + name
            if not name:
                frames.pop()
            elif name.endswith("/"):
                if key > after or after.startswith(key):
                    frames.append((key, iter(self._entries(key))))
            elif key > after:
                if size is None:  # some filesystems list names alone
                    size = self.head(key).size
                yield ObjectInfo(key, size)

    def _list_folders(self, prefix: str, after: str) -> Iterator[str]:
        for name, _ in self._entries(prefix):
            if name.endswith("/") and (not after or name > after + "/"):
                yield name[:-1]


def _rebuild(connections: Connections, root: str, url: str, single_writer: bool) -> FsspecStorage:
    return FsspecStorage(connections, root, url, single_writer=single_writer)
