"""Storages around another storage."""

from __future__ import annotations

import errno
import math
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from holdall_store.errors import AccessDeniedError
from holdall_store.storage import Buffer, ObjectInfo, Storage, StorageTraits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["CountingStorage", "LatencyStorage", "ReadOnlyStorage", "WrappedStorage"]

_T = TypeVar("_T")

PAGE_KEYS = 1000
"""What an object store lists with one request."""


class WrappedStorage(Storage):
    """Forwards everything to another storage; subclasses change what they are about."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def traits(self) -> StorageTraits:
        return self.inner.traits

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        return self.inner.create(key, parts)

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        return self.inner.get(key, start, length)

    def map(self, key: str) -> memoryview | None:
        return self.inner.map(key)

    def head(self, key: str) -> ObjectInfo:
        return self.inner.head(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        return self.inner.list(prefix, after)

    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        return self.inner.list_folders(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        self.inner.delete(keys)

    def private(self, key: str) -> bool:
        return self.inner.private(key)

    def prepare(self) -> None:
        self.inner.prepare()

    def close(self) -> None:
        self.inner.close()


class CountingStorage(WrappedStorage):
    """Counts what is asked of a storage.

    ``calls[verb]`` counts calls that were made, whether or not they succeeded, ``bytes[verb]`` the bytes that went in
    (``create``) or came out (``get``, ``map``), ``keys[verb]`` the keys that were listed or deleted.
    """

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Begin to count from nothing."""
        with self._lock:
            self.calls.clear()
            self.bytes.clear()
            self.keys.clear()

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        self._count(self.calls, "create")
        size = self.inner.create(key, parts)
        self._count(self.bytes, "create", size)
        return size

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        self._count(self.calls, "get")
        data = self.inner.get(key, start, length)
        self._count(self.bytes, "get", len(data))
        return data

    def map(self, key: str) -> memoryview | None:
        self._count(self.calls, "map")
        data = self.inner.map(key)
        self._count(self.bytes, "map", len(data) if data is not None else 0)
        return data

    def head(self, key: str) -> ObjectInfo:
        self._count(self.calls, "head")
        return self.inner.head(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        self._count(self.calls, "list")
        return self._counted("list", self.inner.list(prefix, after))

    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        self._count(self.calls, "list_folders")
        return self._counted("list_folders", self.inner.list_folders(prefix, after))

    def delete(self, keys: Iterable[str]) -> None:
        self._count(self.calls, "delete")
        self.inner.delete(self._counted("delete", keys))

    def _counted(self, verb: str, items: Iterable[_T]) -> Iterator[_T]:
        for item in items:
            self._count(self.keys, verb)
            yield item

    def _count(self, counter: Counter[str], verb: str, count: int = 1) -> None:
        with self._lock:
            counter[verb] += count


class LatencyStorage(WrappedStorage):
    """Makes each request take `seconds`, and its bytes the time that `bytes_per_s` gives them.

    A listing is one request for each 1000 keys. `sleep` is called with the seconds that a request takes.
    """

    def __init__(
        self,
        inner: Storage,
        seconds: float,
        bytes_per_s: float = math.inf,
        *,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(inner)
        self._seconds = seconds
        self._bytes_per_s = bytes_per_s
        self._sleep = sleep

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        size = 0
        try:
            size = self.inner.create(key, parts)
        finally:  # a refusal travels as far as a success
            self._wait(size)
        return size

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        size = 0
        try:
            data = self.inner.get(key, start, length)
            size = len(data)
        finally:
            self._wait(size)
        return data

    def map(self, key: str) -> memoryview | None:
        data = self.inner.map(key)
        self._wait(len(data) if data is not None else 0)
        return data

    def head(self, key: str) -> ObjectInfo:
        self._wait()
        return self.inner.head(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        return self._paged(self.inner.list(prefix, after))

    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        return self._paged(self.inner.list_folders(prefix, after))

    def delete(self, keys: Iterable[str]) -> None:
        self._wait()
        self.inner.delete(keys)

    def _paged(self, items: Iterator[_T]) -> Iterator[_T]:
        self._wait()
        for count, item in enumerate(items):
            if count and count % PAGE_KEYS == 0:
                self._wait()
            yield item

    def _wait(self, size: int = 0) -> None:
        self._sleep(self._seconds + size / self._bytes_per_s)


class ReadOnlyStorage(WrappedStorage):
    """Refuses to create and to delete, as a bucket does for which one has no other permission than to read."""

    def create(self, key: str, parts: Iterable[Buffer]) -> int:  # noqa: ARG002
        raise self._refusal("create", key)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            raise self._refusal("delete", key)

    def _refusal(self, verb: str, key: str) -> AccessDeniedError:
        return AccessDeniedError(errno.EACCES, f"Cannot {verb} {key!r} in {self.url}: it may only be read.")
