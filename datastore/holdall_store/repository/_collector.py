"""The collector's half of the store's protocol: what nothing refers to is deleted, beside any number of writers.

1 list the packs, then read the logs of all runs: a pack that no record refers to and no open log owns is a candidate ·
2 create the next slot of the collector's log ("condemn", candidates); an unfinished condemn is adopted · 3 take the
next slot of every open log ("fence"): whoever goes on there must look at the collector's log first · 4 read what was
added to the logs: what was committed meanwhile is spared · 5 create the next slot ("done", spared): whose is first,
decides · 6 delete what was decided. What is left over by a collector that died is deleted by the next one.

A pack that is mostly dead is condemned, too; its live chunks are copied before 5, and "done" says where they are.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from holdall_store.errors import FormatError, HoldallError, ObjectNotFoundError
from holdall_store.format import (
    FORMAT_VERSION,
    PACKS_PREFIX,
    GcRecord,
    MovedPack,
    PackRef,
    PackTable,
    RunRecord,
    pack_key,
)
from holdall_store.repository._clock import Clock
from holdall_store.repository._gclog import MovedPacks, gc_log
from holdall_store.repository._index import read_table
from holdall_store.repository._log import Log
from holdall_store.repository._marks import END_EVENTS, Marks, ranges_of
from holdall_store.repository._repack import Repacker, live_bytes
from holdall_store.repository._views import parse_time
from holdall_store.storage import Storage
from holdall_store.transfer import run_ordered

__all__ = ["ABANDON_AFTER", "Collection", "CollectionPlan", "Collector", "DeadPack", "SilentLog"]

ABANDON_AFTER: Final = dt.timedelta(days=30)
"""A run of which nothing was heard for so long is given up: it holds back what it owns. A wrong clock costs a retry."""

LEFT_SHARE: Final = 0.05
"""Packs are copied, those with most dead bytes first, until no more than this share of all dead bytes stays."""

ADOPTED_MAX: Final = 100
"""So many collections of others are finished before one's own is left for another time."""

TABLES_AT_ONCE: Final = 32
"""Tables of packs that wait to be looked at: of 64 MiB, each has about 40 KB."""

DEAD_SHARE_MIN: Final = 0.02
"""A pack of which less is dead is left alone: a hundred bytes would be copied for two."""


@dataclass(frozen=True, slots=True)
class DeadPack:
    """A pack with bytes that nothing refers to."""

    name: str
    bytes: int
    """Its size."""
    dead_bytes: int
    """What its deletion gives back; the rest is copied elsewhere first."""


@dataclass(frozen=True, slots=True)
class SilentLog:
    """The log of a run that has not ended, and of which nothing was heard for long."""

    prefix: str
    slot: int
    """Its last slot when the collection was planned."""
    heard: str
    """When its writer made its last record."""


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What a collection would do, as of when it was planned."""

    delete: tuple[DeadPack, ...]
    """Packs that nothing refers to."""
    repack: tuple[DeadPack, ...]
    """Packs whose live chunks are copied before they are deleted."""
    abandon: tuple[SilentLog, ...]
    """Logs of runs that are given up, and count as failed from then on."""
    leftover: tuple[str, ...]
    """Packs that an earlier collection decided to delete and did not."""
    packs: int
    bytes: int
    """All packs there are."""
    left_bytes: int
    """Dead bytes that stay, in packs of which little is dead."""

    @property
    def dead_bytes(self) -> int:
        """What is given back."""
        return sum(pack.dead_bytes for pack in (*self.delete, *self.repack))

    def __bool__(self) -> bool:
        return bool(self.delete or self.repack or self.abandon or self.leftover)


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection did."""

    deleted: tuple[str, ...]
    spared: tuple[str, ...]
    """Packs that were referred to between the plan and the decision, or could not be copied."""
    moved: tuple[str, ...]
    """Packs among the deleted ones whose live chunks lie elsewhere now."""
    abandoned: tuple[str, ...]
    damaged: dict[str, str] = field(default_factory=dict)
    """Packs that could not be read, and why."""

    def with_more(self, other: Collection) -> Collection:
        """Return what both did together."""
        return Collection(
            self.deleted + other.deleted,
            self.spared + other.spared,
            self.moved + other.moved,
            self.abandoned + other.abandoned,
            self.damaged | other.damaged,
        )


class Collector:
    """Collects one store; any number may work on it at once, and any may go on where another one died."""

    def __init__(self, storage: Storage, clock: Clock, *, abandon_after: dt.timedelta = ABANDON_AFTER) -> None:
        self._storage = storage
        self._clock = clock
        self._abandon_after = abandon_after
        self._log = gc_log(storage)
        self._moves = MovedPacks(storage)
        self._marks = Marks()

    def plan(self) -> CollectionPlan:
        """Return what there is to do. Nothing is written."""
        sizes = self._list_packs()  # before the logs: a pack of a run that begins after this is no candidate
        records = self._log.read_all()
        self._marks.look(self._storage)
        self._marks.follow(self._moves.all())
        decided = _decided(records)
        abandon = self._overdue()
        given_up = {log.prefix for log in abandon}
        held = {state.writer for prefix, state in self._marks.open.items() if prefix not in given_up}
        free = {
            name: size
            for name, size in sizes.items()
            if name not in decided and name.rpartition("-")[0] not in held and _is_pack(name)
        }
        delete = [DeadPack(name, size, size) for name, size in free.items() if not self._is_live(name)]
        mixed = {name: free[name] for name in free if self._is_live(name) and 0 in self._marks.live[name]}
        partly = [DeadPack(name, size, size - kept) for name, size, kept in self._kept(mixed)]
        repack, left = _choose(delete, partly)
        leftover = tuple(sorted(name for name in decided & sizes.keys() if self._is_needless(name)))
        return CollectionPlan(tuple(delete), tuple(repack), abandon, leftover, len(sizes), sum(sizes.values()), left)

    def apply(self, plan: CollectionPlan) -> Collection:
        """Do what `plan` says, but for what was referred to since; finish what another collector left undone first."""
        self._marks.look(self._storage)
        abandoned = tuple(log.prefix for log in plan.abandon if self._take_slot(log.prefix, log.slot, "abandoned"))
        self._delete(name for name in plan.leftover if self._is_needless(name))
        names = sorted(pack.name for pack in (*plan.delete, *plan.repack))
        if plan.abandon:
            self._marks.look(self._storage)  # who was heard of after all keeps what is theirs
            names = [name for name in names if not self._marks.owned(name)]
        done = Collection((), (), (), abandoned)
        for _ in range(ADOPTED_MAX):
            records = self._log.read_all()
            pending = records[-1] if records and records[-1].event == "condemn" else None
            decided = _decided(records)
            names = [name for name in names if name not in decided]
            if pending is None and not names:
                break
            condemned, ours = (pending, False) if pending else self._condemn(len(records), names)
            self._fence()
            done = done.with_more(self._decide(condemned))
            if ours:
                break
        return done

    def _condemn(self, slot: int, names: Iterable[str]) -> tuple[GcRecord, bool]:
        """Say that packs are about to be deleted, or adopt what another one said; tell whether it is ours."""
        record = self._record("condemn", slot, packs=tuple(names))
        while not self._log.create(record.slot, record):
            taken = self._log.read(record.slot)
            if taken.event == "condemn" and not self._log.slots(taken.slot):
                return taken, False
            record.slot = taken.slot + 1
        return record, True

    def _fence(self) -> None:
        """Take a slot of every open log, so that its writer looks at what was condemned before it commits."""
        self._marks.look(self._storage)
        for prefix, state in self._marks.open.items():
            self._take_slot(prefix, state.slot, "fence")

    def _take_slot(self, prefix: str, last: int, event: str) -> bool:
        """Create the slot after `last` of the log of a run, or a later one; return whether that could be.

        A log that has ended takes nothing more, and whoever has written a record since `last` is not given up.
        """

        def make(slot: int) -> RunRecord:
            return self._run_record(prefix, event, slot)

        def on_taken(taken: RunRecord) -> None:
            if taken.event in END_EVENTS or event == "abandoned":
                raise _TakenError

        try:
            Log(self._storage, prefix, RunRecord).append(last + 1, make, on_taken)
        except (_TakenError, ObjectNotFoundError):
            return False  # or somebody removed the run by hand
        return True

    def _run_record(self, prefix: str, event: str, slot: int) -> RunRecord:
        first = Log(self._storage, prefix, RunRecord).read(0)
        return RunRecord(
            holdall=FORMAT_VERSION,
            log=first.log,
            event=event,
            slot=slot,
            write_id=self._clock.token(16),
            time=self._now(),
            namespace=first.namespace,
            flow=first.flow,
            run=first.run,
            step=first.step,
            task=first.task,
            attempt=first.attempt,
        )

    def _decide(self, condemned: GcRecord) -> Collection:
        """Spare what was committed meanwhile, copy what is worth it, say so, and delete the rest."""
        self._marks.look(self._storage)
        self._marks.follow(self._moves.all())
        live = self._sizes(name for name in condemned.packs if self._is_live(name))
        copied: dict[str, tuple[PackTable, bytearray]] = {}
        for name, table in self._tables(live):
            marks = self._marks.live[name]
            if table is not None and _worth_copying(live[name], _kept_bytes(table, marks)):
                copied[name] = table, marks
        repacker = Repacker(self._storage, self._clock.token(16))
        repacker.copy(copied)
        moved, targets = repacker.result()
        done = self._done(condemned, sorted(live.keys() - moved.keys()), moved, targets)
        deleted = sorted(set(condemned.packs) - set(done.spared))
        self._delete(deleted)
        damaged = {name: str(error) for name, error in repacker.damaged.items()}
        return Collection(tuple(deleted), done.spared, tuple(sorted(done.moved)), (), damaged)

    def _done(
        self, condemned: GcRecord, spared: Iterable[str], moved: Mapping[str, MovedPack], targets: tuple[PackRef, ...]
    ) -> GcRecord:
        """Write the decision, or return the one that another collector wrote first."""
        record = self._record("done", condemned.slot + 1, spared=tuple(spared), moved=dict(moved), targets=targets)
        if self._log.create(record.slot, record):
            return record
        other = self._log.read(record.slot)
        if other.event != "done":
            raise FormatError(
                f"The collector's log has {other.event!r} where a decision should be (slot {other.slot})."
            )
        return other

    def _overdue(self) -> tuple[SilentLog, ...]:
        now = self._clock.now()
        return tuple(
            SilentLog(prefix, state.slot, state.heard)
            for prefix, state in self._marks.open.items()
            if state.heard and now - parse_time(state.heard) > self._abandon_after
        )

    def _delete(self, names: Iterable[str]) -> None:
        keys = [pack_key(name) for name in names]
        if keys:
            self._storage.delete(keys)

    def _list_packs(self) -> dict[str, int]:
        return {info.key.removeprefix(PACKS_PREFIX): info.size for info in self._storage.list(PACKS_PREFIX)}

    def _sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of `names` that are there: one that was moved is gone, and is never spared."""
        sizes: dict[str, int] = {}
        for name in names:
            with contextlib.suppress(ObjectNotFoundError):
                sizes[name] = self._storage.head(pack_key(name)).size
        return sizes

    def _is_needless(self, name: str) -> bool:
        """Tell whether a pack that was to be deleted holds nothing that records refer to and that lies nowhere else.

        One that does was restored from a copy of the store, together with the runs that refer to it.
        """
        live = self._marks.live.get(name)
        move = self._moves.find(name)
        if live is None or move is None:
            return live is None or 1 not in live
        return all(
            any(first <= begin and end <= first + count for first, count, _, _ in move.pack.spans)
            for begin, end in ranges_of(live)
        )

    def _is_live(self, name: str) -> bool:
        live = self._marks.live.get(name)
        return live is not None and 1 in live

    def _kept(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
        """Yield packs with their sizes, and what their live chunks take."""
        for name, table in self._tables(sizes):
            yield name, sizes[name], _kept_bytes(table, self._marks.live[name])

    def _tables(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, PackTable | None]]:
        """Yield the tables of packs; ``None`` for one that is damaged or gone: it stays as it is."""

        def read(name: str) -> Iterator[tuple[tuple[str, PackTable | None], int]]:
            try:
                table: PackTable | None = read_table(self._storage, name, sizes[name])[0]
            except HoldallError:
                table = None
            yield (name, table), 1

        threads = min(self._storage.traits.concurrency, len(sizes))
        yield from run_ordered(list(sizes), read, bytes_max=TABLES_AT_ONCE, threads=threads)

    def _record(self, event: str, slot: int, **members: object) -> GcRecord:
        return GcRecord(
            holdall=FORMAT_VERSION,
            log="gc",
            event=event,
            slot=slot,
            write_id=self._clock.token(16),
            time=self._now(),
            **members,  # type: ignore[arg-type]
        )

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="microseconds")


class _TakenError(HoldallError):
    """The slot that was wanted is another's, and no later one will do."""


def _decided(records: Iterable[GcRecord]) -> frozenset[str]:
    """Return the packs that were condemned and not spared, by collections that came to a decision."""
    decided: set[str] = set()
    pending: set[str] = set()
    for record in records:
        if record.event == "condemn":
            pending |= set(record.packs)
        elif record.event == "done":
            decided |= pending - set(record.spared)
            pending = set()
        else:
            raise FormatError(f"The collector's log holds an event {record.event!r} that this version does not know.")
    return frozenset(decided)


def _kept_bytes(table: PackTable | None, live: bytearray) -> int:
    """Return what the live chunks of a pack take; more than any pack has where its table is unknown."""
    if table is None or len(table) != len(live):
        return 1 << 62
    return live_bytes(table, live)


def _worth_copying(size: int, kept: int) -> bool:
    return size - kept >= DEAD_SHARE_MIN * size


def _choose(delete: Iterable[DeadPack], partly: Iterable[DeadPack]) -> tuple[list[DeadPack], int]:
    """Return the packs to copy, and how many dead bytes stay in the others."""
    candidates = sorted(
        (pack for pack in partly if pack.dead_bytes > 0), key=lambda pack: pack.dead_bytes / pack.bytes, reverse=True
    )
    left = sum(pack.dead_bytes for pack in candidates)
    bearable = LEFT_SHARE * (left + sum(pack.dead_bytes for pack in delete))
    chosen: list[DeadPack] = []
    for pack in candidates:
        if left <= bearable or not _worth_copying(pack.bytes, pack.bytes - pack.dead_bytes):
            break
        chosen.append(pack)
        left -= pack.dead_bytes
    return chosen, left


def _is_pack(name: str) -> bool:
    """Tell whether a key below the packs is one of ours: what else lies there is not ours to delete."""
    try:
        pack_key(name)
    except FormatError:
        return False
    return True
