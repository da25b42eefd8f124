"""Objects in the memory of this process."""

from __future__ import annotations

import bisect
import errno
import os
import threading
from typing import TYPE_CHECKING

from holdall_store.errors import AlreadyExistsError, InvalidNameError, ObjectNotFoundError
from holdall_store.storage._contract import Buffer, ObjectInfo, Storage, StorageTraits
from holdall_store.storage._keys import check_key, check_prefix
from holdall_store.storage._parts import as_bytes, check_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MemoryStorage"]

PACK_BYTES = 64 << 20
"""As on object stores, which this stands in for."""

LIST_BATCH = 1000
"""Keys looked up under one hold of the lock."""


_Keys = list[str]  # named here, because inside the class `list` is a method


class MemoryStorage(Storage):
    """Objects in the memory of this process, for tests and for values that need not outlive it.

    A forked child goes on with a copy of what was there.
    """

    def __init__(self, name: str = "", *, pack_bytes: int = PACK_BYTES) -> None:
        self._name = name
        self._pack_bytes = pack_bytes
        self._objects: dict[str, bytes] = {}
        self._keys: _Keys = []  # sorted; code points sort as their UTF-8 does

    def __repr__(self) -> str:
        return f"<MemoryStorage {self.url}: {len(self._keys)} objects>"

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    @property
    def traits(self) -> StorageTraits:
        return StorageTraits(pack_bytes=self._pack_bytes, mappable=False, private=True)

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        segments = check_key(key)
        collected = bytearray()
        for part in parts:
            collected += as_bytes(part)
        data = bytes(collected)
        with _lock():
            if key in self._objects:
                raise AlreadyExistsError(errno.EEXIST, f"There already is an object {key!r} in {self.url}.")
            self._check_no_folder(key, segments)
            self._objects[key] = data
            bisect.insort(self._keys, key)
        return len(data)

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        data = self._object(key)
        length = check_range(key, len(data), start, length)
        return memoryview(bytearray(memoryview(data)[start : start + length]))

    def map(self, key: str) -> memoryview | None:
        self._object(key)
        return None

    def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self._object(key)))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        return self._list(prefix, after)

    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        check_prefix(prefix)
        return self._list_folders(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            check_key(key)
            with _lock():
                if self._objects.pop(key, None) is not None:
                    del self._keys[bisect.bisect_left(self._keys, key)]

    def close(self) -> None:
        """Do nothing: what is in memory goes with the last reference to it."""

    def _object(self, key: str) -> bytes:
        check_key(key)
        try:
            return self._objects[key]
        except KeyError:
            raise ObjectNotFoundError(f"There is no object {key!r} in {self.url}.") from None

    def _check_no_folder(self, key: str, segments: _Keys) -> None:
        """Refuse what a filesystem would refuse, so that tests find it."""
        below = bisect.bisect_left(self._keys, key + "/")
        if below < len(self._keys) and self._keys[below].startswith(key + "/"):
            raise InvalidNameError(f"Cannot create {key!r} in {self.url}: it is the folder of other objects.")
        for count in range(1, len(segments)):
            if (folder := "/".join(segments[:count])) in self._objects:
                raise InvalidNameError(f"Cannot create {key!r} in {self.url}: {folder!r} is an object, not a folder.")

    def _list(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        last = after
        while True:
            with _lock():
                # From the place of the last key each time: the list may have changed meanwhile.
                begin = bisect.bisect_right(self._keys, last)
                begin = max(begin, bisect.bisect_left(self._keys, prefix))
                keys = self._keys[begin : begin + LIST_BATCH]
                found = [ObjectInfo(key, len(self._objects[key])) for key in keys if key.startswith(prefix)]
            yield from found
            if len(found) < LIST_BATCH:
                return
            last = found[-1].key

    def _list_folders(self, prefix: str, after: str) -> Iterator[str]:
        # The successor of "/" is "0": "a0" is the first key after everything in the folder "a/".
        place = max(prefix, prefix + after + "0") if after else prefix
        while True:
            with _lock():
                index = bisect.bisect_left(self._keys, place)
                key = self._keys[index] if index < len(self._keys) else ""
            if not key.startswith(prefix) or not key:
                return
            segment, slash, _ = key[len(prefix) :].partition("/")
            if slash:
                yield segment
                place = prefix + segment + "0"
            else:
                place = key + "\0"  # an object: the next key


_LOCK = threading.Lock()
"""One for all: it is held for an instant, and one is easily renewed after a fork."""


def _lock() -> threading.Lock:
    return _LOCK


def _renew_lock() -> None:
    global _LOCK
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
