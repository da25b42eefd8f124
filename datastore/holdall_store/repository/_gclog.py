"""What a writer must know of collections: which packs are condemned."""

from __future__ import annotations

from holdall_store.errors import FormatError
from holdall_store.format import GC_PREFIX, GcRecord
from holdall_store.repository._log import Log
from holdall_store.storage import Storage

__all__ = ["CondemnedPacks"]


class CondemnedPacks:
    """The packs that the collector's log condemns, as of the last look.

    A pack is condemned by a ``condemn`` record and free again when a ``done`` record spares it. What is condemned and
    not spared is deleted or about to be: no new record may refer to it. Names of packs are never used again, so the
    set is right forever once it was right.
    """

    def __init__(self, storage: Storage) -> None:
        self._log = Log(storage, GC_PREFIX, GcRecord)
        self._seen = -1
        self._names: set[str] = set()

    def look(self) -> frozenset[str]:
        """Read what was added to the log since the last look, and return the names of all condemned packs."""
        for record in self._log.read_all(self._seen):
            if record.event == "condemn":
                self._names.update(record.packs)
            elif record.event == "done":
                self._names.difference_update(record.spared)
            else:
                raise FormatError(
                    f"The collector's log holds an event {record.event!r} that this version does not know."
                )
            self._seen = record.slot
        return frozenset(self._names)
