"""A storage that fails on purpose, at a place that the test chose."""

from __future__ import annotations

import errno
import heapq
import operator
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdall_store.errors import AccessDeniedError, IntegrityError, ObjectNotFoundError, StorageError
from holdall_store.storage import Buffer, ObjectInfo, Storage
from holdall_store.testing._wrappers import WrappedStorage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "CrashAfter",
    "CrashBefore",
    "FailWith",
    "Fault",
    "FaultyStorage",
    "FlipBits",
    "LostAnswer",
    "SimulatedCrash",
    "StaleListing",
    "StorageCall",
    "Torn",
    "Truncate",
    "ZeroTail",
]

_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class SimulatedCrash(BaseException):
    """The process died here: no handler for ordinary exceptions may run on."""


@dataclass(frozen=True, slots=True)
class StorageCall:
    """A call that was made; its place in `FaultyStorage.calls` is its number."""

    verb: str
    key: str


@dataclass(frozen=True, slots=True)
class CrashBefore:
    """Die before call number `call` has any effect."""

    call: int


@dataclass(frozen=True, slots=True)
class CrashAfter:
    """Die when call number `call` has had its effect, before its caller learns of it."""

    call: int


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """Let call number `call` have its effect, then raise `StorageError`: the network lost the answer."""

    call: int


@dataclass(frozen=True, slots=True)
class FailWith:
    """Refuse call number `call` with the error for `number` (of the module errno); it has no effect."""

    call: int
    number: int


@dataclass(frozen=True, slots=True)
class Torn:
    """Let call number `call`, a ``create``, store no more than the first `keep` bytes, then die.

    The contract forbids it: this is for tests of readers, as is all damage below.
    """

    call: int
    keep: int


@dataclass(frozen=True, slots=True)
class FlipBits:
    """Read the byte at `offset` of `key` with the bits of `mask` flipped."""

    key: str
    offset: int
    mask: int = 1


@dataclass(frozen=True, slots=True)
class Truncate:
    """Show no more than the first `size` bytes of `key`."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class ZeroTail:
    """Read zeros from byte `start` of `key` on, as after a power cut on a careless filesystem."""

    key: str
    start: int


@dataclass(frozen=True, slots=True)
class StaleListing:
    """Let listings tell what was there before the last `calls` calls."""

    calls: int


Fault = CrashBefore | CrashAfter | LostAnswer | FailWith | Torn | FlipBits | Truncate | ZeroTail | StaleListing


_Calls = list[StorageCall]  # named here, because inside the class `list` is a method
_History = list[tuple[int, str, ObjectInfo]]


class FaultyStorage(WrappedStorage):
    """Fails as `plan` says, the same way every time.

    Run once with an empty plan and count `calls`; then run once for each of them with a fault there. Every verb is a
    call, numbered from 0 in the order in which they are made; a listing ends when it is exhausted. After a
    `SimulatedCrash` every further verb raises it again, `close` excepted: the process is dead. ``FaultyStorage(inner)``
    around what is left is the process that comes after it.
    """

    def __init__(self, inner: Storage, plan: Iterable[Fault] = ()) -> None:
        super().__init__(inner)
        self.plan = tuple(plan)
        self.calls: _Calls = []
        self._dead = False
        self._lock = threading.Lock()
        # What was created and deleted, and in which call: for stale listings.
        self._history: _History = []

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        number = self._begin("create", key)
        for fault in self.plan:
            if isinstance(fault, Torn) and fault.call == number:
                data = b"".join(bytes(part) for part in parts)[: fault.keep]
                self._record(number, "create", key, self.inner.create(key, [data]))
                raise self._crash(number)
        size = self.inner.create(key, parts)
        self._record(number, "create", key, size)
        self._end(number, key)
        return size

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        number = self._begin("get", key)
        damages = self._damages(key)
        if damages:
            data = _damaged(memoryview(bytearray(self.inner.get(key))), damages)
            wanted = len(data) - start if length is None else length
            if start < 0 or wanted < 0 or start + wanted > len(data):
                raise IntegrityError(f"{key!r} has {len(data)} bytes; {wanted} from byte {start} were asked for.")
            data = data[start : start + wanted]
        else:
            data = self.inner.get(key, start, length)
        self._end(number, key)
        return data

    def map(self, key: str) -> memoryview | None:
        number = self._begin("map", key)
        data = self.inner.map(key)
        if data is not None:
            data = _damaged(data, self._damages(key))
        self._end(number, key)
        return data

    def head(self, key: str) -> ObjectInfo:
        number = self._begin("head", key)
        info = self._shown(self.inner.head(key))
        self._end(number, key)
        return info

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        number = self._begin("list", prefix)
        inner = self.inner.list(prefix, after)
        return self._list(number, prefix, after, inner)

    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        number = self._begin("list_folders", prefix)
        inner = self.inner.list_folders(prefix, after)
        return self._list_folders(number, prefix, after, inner)

    def delete(self, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        number = self._begin("delete", " ".join(keys[:1]))
        sizes = {key: info.size for key in keys if (info := self._found(key)) is not None}
        self.inner.delete(keys)
        for key, size in sizes.items():
            self._record(number, "delete", key, size)
        self._end(number, " ".join(keys[:1]))

    def _begin(self, verb: str, key: str) -> int:
        with self._lock:
            if self._dead:
                raise SimulatedCrash(f"{verb} {key!r} after the process had died")
            number = len(self.calls)
            self.calls.append(StorageCall(verb, key))
        for fault in self.plan:
            if isinstance(fault, CrashBefore) and fault.call == number:
                raise self._crash(number)
            if isinstance(fault, FailWith) and fault.call == number:
                error = AccessDeniedError if fault.number in _DENIED else StorageError
                reason = os.strerror(fault.number)
                raise error(fault.number, f"Cannot {verb} {key!r} in {self.url}: {reason} (injected).")
        return number

    def _end(self, number: int, key: str) -> None:
        for fault in self.plan:
            if isinstance(fault, CrashAfter) and fault.call == number:
                raise self._crash(number)
            if isinstance(fault, LostAnswer) and fault.call == number:
                reason = f"the answer to {self.calls[number].verb} {key!r} was lost (injected)"
                raise StorageError(errno.ECONNRESET, f"{self.url}: {reason}.")

    def _crash(self, number: int) -> SimulatedCrash:
        self._dead = True
        return SimulatedCrash(f"call {number}: {self.calls[number]}")

    def _damages(self, key: str) -> tuple[FlipBits | Truncate | ZeroTail, ...]:
        return tuple(f for f in self.plan if isinstance(f, FlipBits | Truncate | ZeroTail) and f.key == key)

    def _shown(self, info: ObjectInfo) -> ObjectInfo:
        sizes = [fault.size for fault in self._damages(info.key) if isinstance(fault, Truncate)]
        return ObjectInfo(info.key, min([info.size, *sizes]))

    def _found(self, key: str) -> ObjectInfo | None:
        try:
            return self.inner.head(key)
        except ObjectNotFoundError:
            return None

    def _record(self, number: int, verb: str, key: str, size: int) -> None:
        with self._lock:
            self._history.append((number, verb, ObjectInfo(key, size)))

    def _list(self, number: int, prefix: str, after: str, inner: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
        created, deleted = self._lately(number)
        back = [info for key, info in deleted.items() if key.startswith(prefix) and key > after]
        last = None
        for info in heapq.merge(inner, sorted(back, key=_key), key=_key):
            if info.key not in created and info.key != last:
                last = info.key
                yield self._shown(info)
        self._end(number, prefix)

    def _list_folders(self, number: int, prefix: str, after: str, inner: Iterator[str]) -> Iterator[str]:
        created, deleted = self._lately(number)
        if created or deleted:
            keys = (info.key[len(prefix) :] for info in self._list(-1, prefix, "", self.inner.list(prefix)))
            folders = {key.partition("/")[0] + "/" for key in keys if "/" in key}
            inner = (folder[:-1] for folder in sorted(folders) if not after or folder > after + "/")
        yield from inner
        self._end(number, prefix)

    def _lately(self, number: int) -> tuple[dict[str, ObjectInfo], dict[str, ObjectInfo]]:
        """Return what a stale listing does not show yet, and what it still shows."""
        created: dict[str, ObjectInfo] = {}
        deleted: dict[str, ObjectInfo] = {}
        lags = [fault.calls for fault in self.plan if isinstance(fault, StaleListing)]
        if not lags:
            return created, deleted
        shown_to = (len(self.calls) if number < 0 else number) - max(lags)
        for call, verb, info in tuple(self._history):
            if call >= shown_to and verb == "create" and info.key not in deleted:
                created[info.key] = info
            elif call >= shown_to and verb == "delete" and info.key not in created:
                deleted[info.key] = info
        return created, deleted


_key = operator.attrgetter("key")


def _damaged(data: memoryview, damages: Iterable[Fault]) -> memoryview:
    """Return `data`, which is the caller's own, as it looks after `damages`."""
    for fault in damages:
        if isinstance(fault, FlipBits) and fault.offset < len(data):
            data[fault.offset] ^= fault.mask
        elif isinstance(fault, Truncate):
            data = data[: fault.size]
        elif isinstance(fault, ZeroTail):
            tail = data[fault.start :]
            tail[:] = bytes(len(tail))
    return data
