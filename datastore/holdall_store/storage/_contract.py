"""The storage contract: the few verbs on which everything else stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Buffer", "ObjectInfo", "Storage", "StorageTraits"]

Buffer = bytes | bytearray | memoryview
"""What the storage takes and gives: a C-contiguous buffer of unsigned bytes."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A stored object: its key and its size in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class StorageTraits:
    """Facts that callers may plan with; they are not settings.

    ``pack_bytes`` is the size at which a writer should close a pack and begin the next one. ``mappable`` says that
    `Storage.map` can give objects back as memory maps. ``private`` says that only the caller's own user can write here,
    so that what lies here is as trustworthy as the caller's own files. ``concurrency`` is how many requests at once pay,
    where each takes a while to be answered; 0 means that none is worth waiting for, as on a disk. ``cache_key`` tells
    this storage from all others, also in other processes: what is read here is kept in the local cache under it. Where
    it is empty, nothing is kept.
    """

    pack_bytes: int
    mappable: bool = False
    private: bool = False
    concurrency: int = 0
    cache_key: str = ""


class Storage(ABC):
    """Where objects live: a flat map from keys to bytes in which nothing is ever overwritten.

    Keys are non-empty segments of printable characters joined by ``/``; no segment begins with a dot (so none is
    ``..``, and ``.gitignore`` may lie beside the objects), and a key is at most 900 bytes of UTF-8: any other raises
    `InvalidNameError` (`check_key` tells). No key is a folder of another. Every method may be called from any thread,
    and from a child process after a fork. Nothing is cached: a method that returns tells what the storage holds now.
    Errors are those of `holdall_store.errors` and nothing else: `ObjectNotFoundError`, `AlreadyExistsError`,
    `AccessDeniedError`, and `StorageError` for all that the storage itself does wrong, each naming the key.
    Implementations keep no reference to a buffer that they were given once the call has returned.

    A new implementation or wrapper passes `holdall_store.testing.StorageContract`.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """Where this is, for people: no secret is in it."""

    @property
    @abstractmethod
    def traits(self) -> StorageTraits:
        """Facts to plan with."""

    @abstractmethod
    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        """Create `key` from the concatenation of `parts`, all of it or nothing, and return its size.

        `parts` is consumed lazily, once, in order, in the calling thread; each part may be reused by the caller when
        the next one is asked for. When this returns, the object is durable and visible to every reader; until then it
        is visible to none. If `parts` raises, nothing is created and the exception passes through. Of several creators
        of one key exactly one succeeds, the others get `AlreadyExistsError`. Where the answer can be lost after the
        object was created (a network), `AlreadyExistsError` may also mean one's own earlier try: the caller looks.
        """

    @abstractmethod
    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        """Return the bytes of `key`, or exactly `length` of them from `start`.

        A range that reaches beyond the end raises `IntegrityError`: callers ask only for what they know was written.
        The result is private to the caller.
        """

    @abstractmethod
    def map(self, key: str) -> memoryview | None:
        """Return `key` as a private, writable, copy-on-write memory map, or ``None`` where that cannot be.

        What the caller writes into it is seen by nobody else and never reaches the storage. An empty object gives an
        empty view. The map lives as long as the view or anything made from it.
        """

    @abstractmethod
    def head(self, key: str) -> ObjectInfo:
        """Return the size of `key`, or raise `ObjectNotFoundError`."""

    @abstractmethod
    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix` and sorts after `after`, in the byte order of the keys.

        The order is that of the whole key (so ``a-b`` comes before ``a/b``). The listing is lazy: to take the first
        few costs little. An object that is there throughout is listed; one that comes or goes meanwhile may be.
        `prefix` is ``""`` or ends with ``/``. A prefix under which nothing lies yields nothing: that is no error.
        """

    @abstractmethod
    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        """Yield the next segment, once each and sorted, of the keys with `prefix` that have a ``/`` after it.

        The order is that in which `list` comes to them: as if each ended with ``/``. `prefix` is ``""`` or ends with
        ``/``; `after` is a segment. Empty folders, where the storage has folders at all, may be yielded or not.
        """

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete `keys`; one that is not there is no error. When this returns they are gone durably."""

    def private(self, key: str) -> bool:  # noqa: ARG002
        """Tell whether only the caller's own user can have written `key`: it, and every folder that it lies in.

        Where a storage has no owners of objects, ``traits.private`` says all that can be said.
        """
        return self.traits.private

    def prepare(self) -> None:
        """Do early what the first request would have to wait for, such as finding credentials; ask nothing of the storage.

        Whatever fails here fails again with the first request.
        """
        return

    @abstractmethod
    def close(self) -> None:
        """Release what is held open. Closing twice is allowed; using the storage afterwards is not."""
