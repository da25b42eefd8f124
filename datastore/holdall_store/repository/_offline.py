"""A remote storage without its network: what the local cache has kept of it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from holdall_store.errors import ObjectNotFoundError, OfflineError
from holdall_store.repository._cache import Cache
from holdall_store.storage import Buffer, LocalStorage, ObjectInfo, Storage, StorageTraits

__all__ = ["OfflineStorage"]

ADVICE = "Do the same once online, that is without offline=True and HOLDALL_OFFLINE: what is read then is there offline, until the cache needs its room."


class OfflineStorage(LocalStorage):
    """The records that were kept of a storage, under their keys. It can be read, and is never asked for packs in vain."""

    def __init__(self, inner: Storage, cache: Cache) -> None:
        if cache.root.exists() and not cache.usable():
            raise OfflineError(
                f"Nothing is read from the cache {cache.root}, because others may write there: chmod 700 {cache.root}"
            )
        super().__init__(cache.records.path)
        self._inner = inner
        self._cache = cache

    def __repr__(self) -> str:
        return f"OfflineStorage({self._inner!r})"

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def traits(self) -> StorageTraits:
        inner = self._inner.traits
        return StorageTraits(pack_bytes=inner.pack_bytes, cache_key=inner.cache_key)

    def private(self, key: str) -> bool:  # noqa: ARG002
        """Return false: whoever wrote a record did so in the storage, which is not asked."""
        return False

    def create(self, key: str, parts: Iterable[Buffer]) -> int:  # noqa: ARG002
        """Refuse."""
        self.refuse_to_write()

    def delete(self, keys: Iterable[str]) -> None:  # noqa: ARG002
        """Refuse."""
        self.refuse_to_write()

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        try:
            return super().get(key, start, length)
        except ObjectNotFoundError:
            raise self._missing(key) from None

    def head(self, key: str) -> ObjectInfo:
        try:
            return super().head(key)
        except ObjectNotFoundError:
            raise self._missing(key) from None

    def map(self, key: str) -> memoryview | None:
        self.head(key)
        return None

    def close(self) -> None:
        self._inner.close()

    def refuse(self, error: Exception) -> OfflineError:
        """Return the error for a name that was not found where only the cache was looked at."""
        return OfflineError(f"{error} Only the cache was looked at. {ADVICE}")

    def _missing(self, key: str) -> OfflineError:
        return OfflineError(f"{key} of {self.url} is not in the cache ({self._cache.root}). {ADVICE}")

    def refuse_to_write(self) -> NoReturn:
        """Raise `OfflineError`, because something was to be saved."""
        raise OfflineError(
            f"Nothing can be saved to {self.url} offline. Unset offline=True and HOLDALL_OFFLINE, or save to a store on this disk."
        )
