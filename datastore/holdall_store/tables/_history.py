"""Reading a table's log: the state at its newest version, or as of another."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from holdall_store.errors import IntegrityError, TableNotFoundError
from holdall_store.format import slot_key, slot_numbers, unseal
from holdall_store.tables._as_of import AsOf, time_text
from holdall_store.tables._log import LOG_PREFIX, State, TableRecord, state_of
from holdall_store.tables._source import Found, Source

__all__ = ["History"]

CACHE_BYTES: Final = 16 << 20
"""Records that are kept: those that many later ones build on are read with every commit."""

LONGEST_BYTES: Final = 64 << 20
"""Of a record whose size no listing told: no longer one is written."""


class _Cache:
    """The records that were used last, up to a number of bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, Found], TableRecord] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, Found]) -> TableRecord | None:
        with self._lock:
            record = self._kept.get(key)
            if record is not None:
                self._kept.move_to_end(key)
            return record

    def put(self, key: tuple[str, Found], record: TableRecord) -> None:
        with self._lock:
            if key not in self._kept:
                self._bytes += key[1].size
            self._kept[key] = record
            while self._bytes > CACHE_BYTES:
                self._bytes -= self._kept.popitem(last=False)[0][1].size

    def renew(self) -> None:
        """Forget a lock that another thread may have held when the process was forked."""
        self._lock = threading.Lock()


_cache = _Cache()
os.register_at_fork(after_in_child=_cache.renew)


class History:
    """The log of the table at `root`, of which a listing shows the `slots`. It is that of a table if it has any."""

    def __init__(self, source: Source, root: str, listed: Sequence[Found]) -> None:
        self._source = source
        self._root = root
        prefix = root + LOG_PREFIX
        by_key = {found.key: found for found in listed if found.key.startswith(prefix)}
        self.slots: Mapping[int, Found] = {
            number: found for key, found in by_key.items() for number in slot_numbers(prefix, [key])
        }

    @property
    def newest(self) -> int:
        """The number of the last slot, -1 where there is none."""
        return max(self.slots, default=-1)

    @property
    def name(self) -> str:
        """What the table is called in messages."""
        return self._source.url(self._root)

    def state(self, version: int) -> State:
        """Return what the table was at a version."""
        record = self.record(version)
        where = f"{self.name}{LOG_PREFIX}"
        if record.base == version:
            return state_of(record, None, where)
        return state_of(record, state_of(self.record(record.base), None, where), where)

    def record(self, version: int) -> TableRecord:
        """Return the record of a version, verified."""
        found = self.slots.get(version)
        if found is None and 0 <= version < self.newest:
            # A folder that is read while records come may show a later one and not an earlier.
            found = Found(slot_key(self._root + LOG_PREFIX, version))
        if found is None:
            raise TableNotFoundError(f"{self.name} has no version {version}: {self._range()}")
        key = (self._source.identity, found)
        record = _cache.get(key)
        if record is None:
            url = self._source.url(found.key)
            (tail,) = self._source.tails([(found, found.size if found.size > 0 else LONGEST_BYTES)])
            if tail is None:
                raise IntegrityError(f"{url} is gone: the log of a table has all its records, or cannot be read.")
            record = unseal(tail.data, TableRecord, url)
            if found.size > 0:
                _cache.put(key, record)
        return record

    def version_of(self, as_of: AsOf) -> int:
        """Return the version that a caller means."""
        if as_of is None:
            return self.newest
        if isinstance(as_of, int):
            if as_of not in self.slots:
                raise TableNotFoundError(f"{self.name} has no version {as_of}: {self._range()}")
            return as_of
        return self._version_at(as_of)

    def _version_at(self, moment: dt.datetime) -> int:
        """Return the last version that was there at a time: their times ascend."""
        wanted = time_text(moment)
        numbers = sorted(self.slots)
        low, high = 0, len(numbers)
        while low < high:
            middle = (low + high) // 2
            if self.record(numbers[middle]).time <= wanted:
                low = middle + 1
            else:
                high = middle
        if not low:
            first = self.record(numbers[0]).time
            raise TableNotFoundError(f"{self.name} has no version as of {wanted}: its first one is of {first}.")
        return numbers[low - 1]

    def _range(self) -> str:
        return f"it has those from {min(self.slots)} to {self.newest}." if self.slots else "it has none."
