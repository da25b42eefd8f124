"""Logs whose records are read once: a slot is never written again, so what was read of it stays true."""

from __future__ import annotations

from typing import TypeVar

from holdall_store.config import logger
from holdall_store.errors import FormatError, HoldallError, IntegrityError
from holdall_store.format import LogHead, own_slots, slot_key, unseal
from holdall_store.repository._cache import Cache
from holdall_store.repository._log import Log
from holdall_store.storage import Storage

__all__ = ["CachedLog"]

_Record = TypeVar("_Record", bound=LogHead)


class CachedLog(Log[_Record]):
    """A log that is read through a cache, which may be ``None``.

    Which slots there are is asked of the storage each time.
    """

    def __init__(self, storage: Storage, prefix: str, kind: type[_Record], cache: Cache | None) -> None:
        super().__init__(storage, prefix, kind)
        self._record_kind = kind
        self._cache = cache

    def read(self, number: int) -> _Record:
        """Return the record in a slot, verified; a copy in the cache that is damaged is fetched again."""
        key = slot_key(self.prefix, number)
        kept = self._kept(key, number)
        if kept is not None:
            return kept
        raw = self.storage.get(key)
        record = self._parsed(key, number, raw)
        if self._cache is not None:
            self._cache.keep_record(key, raw)
        return record

    def kept_slots(self) -> list[int]:
        """Return the numbers of the slots that are in the cache."""
        if self._cache is None or not self._cache.usable():
            return []
        try:
            return own_slots(self.prefix, (info.key for info in self._cache.records.list(self.prefix)))[0]
        except HoldallError as error:
            logger().debug("Not read from the cache: %s", error)
            return []

    def kept(self, number: int) -> _Record | None:
        """Return the record in a slot if it is in the cache, and whole."""
        return self._kept(slot_key(self.prefix, number), number)

    def _kept(self, key: str, number: int) -> _Record | None:
        raw = None if self._cache is None else self._cache.record(key)
        if raw is None or self._cache is None:
            return None
        try:
            return self._parsed(key, number, raw)
        except (IntegrityError, FormatError) as error:
            logger().debug("Not used from the cache: %s", error)
            self._cache.drop_record(key)
            return None

    def _parsed(self, key: str, number: int, raw: bytes | memoryview) -> _Record:
        record = unseal(raw, self._record_kind, key)
        if record.slot != number:
            raise IntegrityError(f"{key} holds the record of slot {record.slot}.")
        return record
