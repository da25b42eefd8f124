"""What is said of a run beside its own log: tags that come and go after it has ended, and that it is to be kept.

Every record tells all of it, so the last one is the only one that is read; the earlier ones are the history.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from holdall_store.errors import FormatError, IntegrityError
from holdall_store.format import (
    FORMAT_VERSION,
    TagRecord,
    run_segment,
    segment_run_id,
    slot_numbers,
    tags_flow_prefix,
    tags_prefix,
)
from holdall_store.repository._cache import Cache
from holdall_store.repository._cached_log import CachedLog
from holdall_store.repository._clock import Clock
from holdall_store.storage import Storage
from holdall_store.transfer import run_ordered

__all__ = ["TagLogs", "TagReader", "TagState"]

AHEAD_RUNS: Final = 64
"""The records of so many runs are read at once, where each takes a while: as many as a listing reads of the runs."""

EVENTS: Final = frozenset(("set",))

_END: Final = "~"
"""Sorts after the segment of every run."""


class TagState(NamedTuple):
    """What is said of a run at one moment."""

    tags: tuple[str, ...]
    kept: bool = False
    log_slots: int = 0


class TagLogs:
    """Reads and writes what is said of runs."""

    def __init__(self, storage: Storage, cache: Cache | None, clock: Clock, *, offline: bool = False) -> None:
        self._storage = storage
        self._cache = cache
        self._clock = clock
        self._offline = offline

    def newest(self, namespace: str, flow: str, run_id: str) -> TagRecord | None:
        """Return the last record of a run, or ``None`` where nothing was said after it began."""
        log = self._log(namespace, flow, run_id)
        slots = log.kept_slots() if self._offline else log.slots()
        return self.read(namespace, flow, run_id, slots[-1]) if slots else None

    def history(self, namespace: str, flow: str, run_id: str) -> list[TagRecord]:
        """Return every record of a run, oldest first."""
        slots = self._log(namespace, flow, run_id).slots()
        return [self.read(namespace, flow, run_id, slot) for slot in slots]

    def read(self, namespace: str, flow: str, run_id: str, slot: int) -> TagRecord:
        """Return the record in a slot."""
        log = self._log(namespace, flow, run_id)
        record = log.read(slot)
        if (record.namespace, record.flow, record.run) != (namespace, flow, run_id):
            raise IntegrityError(f"{log.prefix} holds tags of {record.namespace}/{record.flow}@{record.run}.")
        if record.event not in EVENTS:
            raise FormatError(
                f"{log.prefix} holds an event {record.event!r} that this version of holdall does not know."
            )
        return record

    def listed(self, namespace: str, flow: str, after: str = "") -> Iterator[tuple[str, int]]:
        """Yield the segment of each run of which something was said, newest run first, and its last slot."""
        prefix = tags_flow_prefix(namespace, flow)
        listing = self._storage.list(prefix, prefix + after if after else "")
        for segment, infos in itertools.groupby(listing, key=lambda info: info.key.split("/")[3]):
            slots = slot_numbers(f"{prefix}{segment}/", [info.key for info in infos])
            try:
                segment_run_id(segment)
            except FormatError:
                continue
            if slots:
                yield segment, slots[-1]

    def reader(self, namespace: str, flow: str) -> TagReader:
        """Return what reads the tags of many runs of a flow together."""
        return TagReader(self, namespace, flow, self._storage.traits.concurrency)

    def change(
        self,
        namespace: str,
        flow: str,
        run_id: str,
        begun_with: tuple[str, ...],
        edit: Callable[[TagState], TagState],
        *,
        who: str = "",
        note: str = "",
    ) -> TagRecord | None:
        """Append what `edit` makes of what is said of a run, and return the record that holds now; ``None`` is none.

        `begun_with` are the tags in the run's own log. Where `edit` changes nothing, nothing is written. If another was
        faster, `edit` is called again with what holds then: of several changes at once none is lost.
        """
        log = self._log(namespace, flow, run_id)
        last = self.newest(namespace, flow, run_id)
        before = _state(last, begun_with)
        if edit(before) == before:
            return last
        made: list[TagRecord] = []

        def take(taken: TagRecord) -> None:
            nonlocal before
            before = _state(taken, begun_with)

        def make(slot: int) -> TagRecord:
            after = edit(before)
            made.append(
                TagRecord(
                    holdall=FORMAT_VERSION,
                    log="tags",
                    event="set",
                    slot=slot,
                    write_id=self._clock.token(16),
                    time=self._clock.now().isoformat(timespec="microseconds"),
                    namespace=namespace,
                    flow=flow,
                    run=run_id,
                    tags=after.tags,
                    kept=after.kept,
                    log_slots=after.log_slots,
                    added=tuple(tag for tag in after.tags if tag not in before.tags),
                    removed=tuple(tag for tag in before.tags if tag not in after.tags),
                    who=who,
                    note=note,
                )
            )
            return made[-1]

        log.append(0 if last is None else last.slot + 1, make, take)
        return made[-1]

    def _log(self, namespace: str, flow: str, run_id: str) -> CachedLog[TagRecord]:
        return CachedLog(self._storage, tags_prefix(namespace, flow, run_id), TagRecord, self._cache)


class TagReader:
    """What is said of the runs of a flow: asked for newest first, it takes one listing, and reads many records at once.

    Nothing is read before it is asked for. May be used from several threads. Remembers no more than `AHEAD_RUNS` runs.
    """

    def __init__(self, logs: TagLogs, namespace: str, flow: str, concurrency: int) -> None:
        self._logs = logs
        self._place = namespace, flow
        self._threads = concurrency
        self._lock = threading.Lock()
        # What is known lies between two segments, these included; the listing goes on from there.
        self._first, self._last = _END, ""
        self._known: dict[str, TagRecord] = {}
        self._listing: Iterator[tuple[str, int]] = iter(())
        self._next: tuple[str, int] | None = None

    def of(self, run_id: str) -> TagRecord | None:
        """Return the last record of a run, or ``None`` where nothing was said after it began."""
        segment = run_segment(run_id)
        with self._lock:
            if not self._first <= segment <= self._last:
                self._read_on(segment)
            return self._known.get(segment)

    def _read_on(self, segment: str) -> None:
        if not self._last or segment < self._first:
            self._listing, self._next = self._logs.listed(*self._place, segment), None
        taken: list[tuple[str, int]] = []
        going_on = itertools.chain([self._next] if self._next else [], self._listing)
        self._next = None
        for item in going_on:
            if item[0] < segment:
                continue
            if len(taken) == AHEAD_RUNS:
                self._next = item
                break
            taken.append(item)

        def read(item: tuple[str, int]) -> Iterator[tuple[tuple[str, TagRecord], int]]:
            yield (item[0], self._logs.read(*self._place, segment_run_id(item[0]), item[1])), 0

        threads = len(taken) if self._threads else 1
        self._known = dict(run_ordered(taken, read, bytes_max=1, threads=threads))
        self._first, self._last = segment, taken[-1][0] if self._next else _END


def _state(record: TagRecord | None, begun_with: tuple[str, ...]) -> TagState:
    return TagState(begun_with) if record is None else TagState(record.tags, record.kept, record.log_slots)
