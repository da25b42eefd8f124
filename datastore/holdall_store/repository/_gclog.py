"""What others must know of collections: which packs are condemned, and where the chunks of deleted packs lie now."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from holdall_store.errors import FormatError, IntegrityError
from holdall_store.format import GC_PREFIX, GcRecord, MovedPack, PackRef
from holdall_store.repository._cache import Cache
from holdall_store.repository._cached_log import CachedLog
from holdall_store.storage import Storage

__all__ = ["CondemnedPacks", "Move", "MovedPacks", "gc_log"]


class Move(NamedTuple):
    """A pack whose live chunks were copied before it was deleted, and the packs that its spans number."""

    pack: MovedPack
    targets: Sequence[PackRef]


def gc_log(storage: Storage, cache: Cache | None = None) -> CachedLog[GcRecord]:
    """Return the collector's log."""
    return CachedLog(storage, GC_PREFIX, GcRecord, cache)


class CondemnedPacks:
    """The packs that the collector's log condemns, as of the last look.

    A pack is condemned by a ``condemn`` record and free again when a ``done`` record spares it. What is condemned and
    not spared is deleted or about to be: no new record may refer to it. Names of packs are never used again, so the
    set is right forever once it was right.
    """

    def __init__(self, storage: Storage) -> None:
        self._log = gc_log(storage)
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


class MovedPacks:
    """The packs that were deleted although records refer to them, as of the last look. Safe to use from several threads.

    Readers look when a pack is not where a record says: until then collections cost them nothing.
    """

    def __init__(self, storage: Storage, cache: Cache | None = None) -> None:
        self._log = gc_log(storage, cache)
        self._seen = -1
        self._moves: dict[str, Move] = {}
        self._lock = threading.Lock()

    def find(self, name: str) -> Move | None:
        """Return where the chunks of a pack lie, if it is known to have moved."""
        return self._moves.get(name)

    def spans(self, pack: PackRef, first: int, count: int) -> Iterator[tuple[PackRef, int, int]]:
        """Yield the spans in which chunks of a pack lie now, in order; `IntegrityError` where some were not kept."""
        move = self._moves.get(pack.name)
        if move is None:
            yield pack, first, count
            return
        reached = first
        for begin, length, number, target in sorted(move.pack.spans):
            start, end = max(first, begin), min(first + count, begin + length)
            if start < end and start == reached and 0 <= number < len(move.targets):
                yield from self.spans(move.targets[number], target + start - begin, end - start)
                reached = end
        if reached != first + count:
            raise IntegrityError(
                f"Chunks {reached} to {first + count} of pack {pack.name} were not kept when a collection took it apart."
            )

    def names(self, name: str) -> list[str]:
        """Return the names of the packs that hold now what the pack `name` held: itself, or others."""
        move = self._moves.get(name)
        if move is None:
            return [name]
        return [found for target in move.targets for found in self.names(target.name)]

    def learn(self, names: Iterable[str]) -> bool:
        """Look at the log again; return whether more of `names` are known to have moved than before."""
        wanted = {name for name in names if name not in self._moves}
        if not wanted:
            return False
        with self._lock:
            for record in self._log.read_all(self._seen):
                self._moves.update({name: Move(pack, record.targets) for name, pack in record.moved.items()})
                self._seen = record.slot
        return any(name in self._moves for name in wanted)

    def all(self) -> list[tuple[str, Move]]:
        """Return every move that was ever made, in their order."""
        with self._lock:
            for record in self._log.read_all(self._seen):
                self._moves.update({name: Move(pack, record.targets) for name, pack in record.moved.items()})
                self._seen = record.slot
        return list(self._moves.items())
