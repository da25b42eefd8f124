"""A storage that counts its requests and is far away, as far as its traits tell."""

from __future__ import annotations

from pathlib import Path

from holdall_store.config import Settings
from holdall_store.repository import Repository
from holdall_store.storage import MemoryStorage, Storage, StorageTraits
from holdall_store.testing import CountingStorage


class Remote(CountingStorage):
    """What lies in `inner`, as if a network were in between: no maps, several requests at once, kept in the cache."""

    def __init__(self, inner: Storage | None = None, place: str = "far", pack_bytes: int = 1 << 20) -> None:
        super().__init__(inner or MemoryStorage())
        self._traits = StorageTraits(pack_bytes=pack_bytes, concurrency=4, cache_key=place)

    @property
    def traits(self) -> StorageTraits:
        return self._traits

    def map(self, key: str) -> memoryview | None:
        self.head(key)
        return None

    def private(self, key: str) -> bool:
        return False

    @property
    def requests(self) -> int:
        """How often anything was asked since `reset`."""
        return sum(self.calls.values())


def reader(storage: Storage, home: Path, *, cache_bytes: int | None = None, offline: bool = False) -> Repository:
    """Return the store in `storage` as a new process sees it, with its cache in `home`."""
    return Repository(storage, Settings(home=home, cache_bytes=cache_bytes, offline=offline))


def cached(home: Path, folder: str = "data") -> list[Path]:
    """Return the files of the cache in `home`, of data or of records."""
    return sorted(path for path in (home / "cache" / "remote" / folder).rglob("*") if path.is_file())


def incoming(home: Path) -> list[Path]:
    """Return the files that are being written, or were when their process died."""
    return sorted((home / "cache" / "remote" / ".incoming").glob("*"))
