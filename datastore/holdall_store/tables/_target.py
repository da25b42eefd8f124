"""Places that tables are written to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from holdall_store.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    InvalidNameError,
    NotFoundError,
    ObjectNotFoundError,
    StorageError,
)
from holdall_store.storage import LocalStorage, Storage, make_folder, open_storage
from holdall_store.tables._resolve import Address, open_source
from holdall_store.tables._source import Found, Source

__all__ = ["Target", "open_target"]

CREATE_TRIES: Final = 3
"""How often a file is created whose creation failed in a way that may pass, or that was not answered."""

UPLOAD_BYTES: Final = 64 << 20
"""Parts of one file that are under way at once."""

_LOST: Final = frozenset(
    (None, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.EPIPE, errno.ENETRESET, errno.EHOSTUNREACH)
)

STORAGES: Final = 64
"""Tables that a process writes to again and again keep a connection, and what is known of their server."""

_storages: dict[Any, Any] = {}


class Target:
    """The folder of one table: paths are below it. Methods may be called from any thread.

    Everything is created once, and nothing is overwritten.
    """

    def __init__(self, source: Source, root: str, storage: Storage, prefix: str) -> None:
        self.source = source
        self.root = root
        self._storage = storage
        self._prefix = prefix

    @property
    def concurrency(self) -> int:
        """How many uploads at once pay."""
        return self._storage.traits.concurrency

    def prepare(self) -> None:
        """Make ready what is to be there before the first file; refuse a place where nothing can be written safely."""

    def put(self, path: str, data: memoryview) -> None:
        """Create a file whose name nobody ever used; when this returns, it is durable."""
        for trial in range(1, CREATE_TRIES + 1):
            try:
                self._storage.create(self._prefix + path, (data,))
                return
            except AlreadyExistsError:
                # The name is ours alone: an earlier try, whose answer was lost.
                if self._storage.head(self._prefix + path).size == len(data):
                    return
                raise
            except StorageError as error:
                if error.errno not in _LOST or trial == CREATE_TRIES:
                    raise

    def create(self, path: str, data: bytes, is_ours: Any) -> bool:
        """Create a file that others may create, too; return whether it is ours, which ``is_ours(bytes)`` tells.

        A lost answer looks like "already there", or like a failed request: the file is read back.
        """
        key = self._prefix + path
        for trial in range(1, CREATE_TRIES + 1):
            try:
                self._storage.create(key, (data,))
            except (AlreadyExistsError, StorageError) as error:
                if isinstance(error, StorageError) and error.errno not in _LOST:
                    raise
                try:
                    return bool(is_ours(self._storage.get(key)))
                except ObjectNotFoundError:
                    if trial == CREATE_TRIES:
                        raise error from None
            else:
                return True
        raise AssertionError("a loop that always returns or raises ended")

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; one that is not there is no error."""
        self._storage.delete([self._prefix + path for path in paths])

    def list(self) -> Iterator[Found]:
        """Yield all files below the table's folder."""
        return self.source.list(self.root)


class _LocalTarget(Target):
    """A folder on a local disk, which is made with the first file."""

    def prepare(self) -> None:
        path = self.root.rstrip("/") or "/"
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                raise InvalidNameError(f"{path} is a file, and a table is a folder: choose another name.")
            return
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            raise InvalidNameError(f"{path} lies below a file: a table is a folder in folders.") from None
        try:
            make_folder(path)
        except OSError as error:
            kind = AccessDeniedError if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else StorageError
            raise kind(error.errno, f"Cannot make the folder {path}: {error.strerror}.") from error


class _S3Target(Target):
    """A prefix of a bucket: files go through the executor of bulk transfers, large ones in parts side by side."""

    def __init__(self, source: Any, root: str) -> None:
        from holdall_store.storage.buckets import ObjectStorage

        config = replace(source.config, prefix=root)
        storage = _storages.pop(config, None) or ObjectStorage(config)
        _storages[config] = storage
        while len(_storages) > STORAGES:
            _storages.pop(next(iter(_storages)), None)
        super().__init__(source, root, storage, "")
        self._bucket = config.bucket

    def prepare(self) -> None:
        self._storage.check_create_if_absent()  # type: ignore[attr-defined]

    def put(self, path: str, data: memoryview) -> None:
        from holdall_store.transfer._s3_names import Place
        from holdall_store.transfer._s3_put import PutItem, Uploader
        from holdall_store.transfer._s3_sources import MemorySource

        place = Place(self._bucket, self.root + path, path)
        executor = self.source.executor()  # type: ignore[attr-defined]
        # The name is ours alone, so that a second try after a lost answer only puts the same bytes there again.
        uploader = Uploader(executor, overwrite=True, resume=False, bytes_max=UPLOAD_BYTES)
        for _ in uploader.run([PutItem(0, place, MemorySource(data))]):
            pass


def open_target(address: Address, storage_options: Mapping[str, Any] | None) -> Target:
    """Return the place of the table at `address`."""
    source = open_source(address.place, storage_options)
    root = address.key if address.key.endswith("/") or not address.key else address.key + "/"
    if not address.place:
        return _LocalTarget(source, root, LocalStorage(root), "")
    if hasattr(source, "executor"):
        return _S3Target(source, root)
    return Target(source, root, open_storage(address.place, storage_options or None), root)


def exists_as_file(target: Target, key: str) -> bool:
    """Tell whether there is a single file where the folder of a table is to be."""
    try:
        (tail,) = target.source.tails([(Found(key), 1)])
    except NotFoundError:
        return False
    return tail is not None
