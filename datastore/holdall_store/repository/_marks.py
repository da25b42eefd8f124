"""Which chunks of which packs committed records refer to: what a collection must not touch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from holdall_store.errors import FormatError, IntegrityError, ObjectNotFoundError
from holdall_store.format import (
    RUNS_PREFIX,
    ArtifactRecord,
    BufferRef,
    LogHead,
    PackRef,
    segment_run_id,
    slot_numbers,
    unescape_name,
)
from holdall_store.repository._gclog import Move
from holdall_store.repository._log import Log
from holdall_store.storage import Storage
from holdall_store.transfer import run_ordered

__all__ = ["LogState", "MarkedRecord", "Marks", "ranges_of"]

LOGS_AT_ONCE: Final = 256
"""Logs whose records are read together, where each read takes a while."""

RUN_SEGMENTS: Final = 4
"""``runs/<namespace>/<flow>/<run>``: all logs of one run lie together in a listing."""

ENTRIES_MAX: Final = 1 << 28
"""A record that gives a pack more chunks than a quarter of a billion was made to take memory."""

OPEN_EVENTS: Final = frozenset(("open", "commit", "fence"))
SHOWN_EVENTS: Final = frozenset(("deleted", "restored"))
END_EVENTS: Final = frozenset(("end", "abandoned"))


class MarkedRecord(LogHead, kw_only=True, omit_defaults=True):
    """What a collection reads of a record of a run."""

    writer: str = ""
    packs: tuple[PackRef, ...] = ()
    artifacts: dict[str, ArtifactRecord] = msgspec.field(default_factory=dict)
    names: tuple[str, ...] = ()
    complete: bool = False


class LogState(NamedTuple):
    """How a log that somebody may go on with stands."""

    slot: int
    """Its last slot."""
    writer: str
    """The log owns the packs of this writer."""
    heard: str
    """When its writer made its last record."""


@dataclass(slots=True)
class Marks:
    """What is referred to, as of the last look; to look again reads only what was added."""

    live: dict[str, bytearray] = field(default_factory=dict)
    """For each pack one byte a chunk: 1 where a record refers to it."""
    open: dict[str, LogState] = field(default_factory=dict)
    """The logs that have not ended, by their prefixes."""
    seen: dict[str, int] = field(default_factory=dict)
    """The last slot that was looked at of each log."""
    hidden: set[str] = field(default_factory=set)
    """The logs of runs that are deleted."""

    def look(self, storage: Storage) -> None:
        """Read what was added to the logs of all runs.

        What was referred to once stays marked, though the record may have been superseded since, or the run deleted.
        Raises `IntegrityError` or `FormatError` where a record is missing or cannot be understood: nothing may be
        concluded from what is not known whole.
        """
        threads = storage.traits.concurrency
        runs = self._changed(storage)
        while batch := list(itertools.islice(runs, LOGS_AT_ONCE)):

            def read(logs: dict[str, int]) -> Iterator[tuple[dict[str, list[MarkedRecord]], int]]:
                yield self._read_run(storage, logs), 0

            found = run_ordered(batch, read, bytes_max=1, threads=min(threads, len(batch)))
            for logs, records in zip(batch, found, strict=True):
                for prefix, read_now in records.items():
                    self._take(prefix, logs[prefix], read_now)

    def _changed(self, storage: Storage) -> Iterator[dict[str, int]]:
        """Yield for each run the logs that have other slots than before, its own first, with the last slot of each."""
        listing = storage.list(RUNS_PREFIX)
        for _, infos in itertools.groupby(listing, key=lambda info: info.key.split("/")[:RUN_SEGMENTS]):
            logs: dict[str, list[str]] = {}
            for info in infos:
                logs.setdefault(info.key.rpartition("/")[0] + "/", []).append(info.key)
            changed: dict[str, int] = {}
            for prefix in sorted(logs, key=len):
                slots = slot_numbers(prefix, logs[prefix])
                if slots and slots != list(range(slots[-1] + 1)):
                    raise _incomplete(prefix, min(set(range(slots[-1])) - set(slots)))
                if slots and slots[-1] != self.seen.get(prefix, -1):
                    changed[prefix] = slots[-1]
            if changed:
                yield changed

    def _read_run(self, storage: Storage, logs: dict[str, int]) -> dict[str, list[MarkedRecord]]:
        """Return what was added to the logs of a run; where the run is deleted, its tasks' do not count."""
        found: dict[str, list[MarkedRecord]] = {}
        hidden = False
        for prefix, last in logs.items():
            own = prefix.count("/") == RUN_SEGMENTS
            hidden = hidden or _own_log(prefix) in self.hidden
            if not own and hidden:
                continue
            try:
                found[prefix] = _read(storage, prefix, last)
            except ObjectNotFoundError:
                if next(iter(storage.list(prefix)), None) is not None:
                    raise
                continue  # somebody removed the run by hand, all of it, since it was listed
            hidden = hidden or (own and _is_hidden(found[prefix]))
        return found

    def _take(self, prefix: str, last: int, records: Sequence[MarkedRecord]) -> None:
        """Take note of all that the log at `prefix` says now."""
        unknown = {record.event for record in records} - OPEN_EVENTS - END_EVENTS - SHOWN_EVENTS
        if unknown:
            raise FormatError(f"{prefix} holds an event {min(unknown)!r} that this version does not know.")
        self.seen[prefix] = last
        self.open.pop(prefix, None)
        self.hidden.discard(prefix)
        if _is_hidden(records):
            self.hidden.add(prefix)
            return
        ended = any(record.event in END_EVENTS for record in records)
        # What was superseded or deleted from a run that goes on may come again with its last record.
        artifacts = _merged(records) if ended else [(each, r.packs) for r in records for each in r.artifacts.values()]
        for artifact, packs in artifacts:
            for ref in artifact.buffers:
                self.mark(ref, packs)
        if not ended:
            own = [record for record in records if record.event in ("open", "commit")]
            writer = next((record.writer for record in reversed(own) if record.writer), "")
            self.open[prefix] = LogState(last, writer, own[-1].time if own else "")

    def mark(self, ref: BufferRef, packs: Sequence[PackRef]) -> None:
        """Mark the chunks of a buffer."""
        for number, first, count in ref.spans:
            if not 0 <= number < len(packs):
                raise IntegrityError(f"A record refers to its pack {number}, but lists {len(packs)}.")
            self.mark_span(packs[number], first, count)

    def mark_span(self, pack: PackRef, first: int, count: int) -> None:
        """Mark `count` chunks of a pack from number `first` on."""
        if not 0 <= first <= first + count <= pack.entries <= ENTRIES_MAX:
            raise IntegrityError(
                f"A record refers to chunks {first} to {first + count} of {pack.entries} of {pack.name}."
            )
        live = self.live.get(pack.name)
        if live is None:
            live = self.live[pack.name] = bytearray(pack.entries)
        if len(live) != pack.entries:
            raise IntegrityError(f"Records do not agree how many chunks the pack {pack.name} has.")
        live[first : first + count] = b"\1" * count

    def follow(self, moves: Iterable[tuple[str, Move]]) -> None:
        """Mark what the marked chunks of packs that were moved, in the order of `moves`, mean now."""
        for name, (moved, targets) in moves:
            live = self.live.get(name)
            if live is None or 1 not in live:
                continue
            self.mark(moved.table, targets)
            for first, count, number, target in moved.spans:
                for begin, end in ranges_of(live, first, first + count):
                    self.mark_span(targets[number], target + begin - first, end - begin)

    def owned(self, pack: str) -> bool:
        """Tell whether an open log owns a pack."""
        writer = pack.rpartition("-")[0]
        return any(state.writer == writer for state in self.open.values())


def ranges_of(live: bytearray, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each stretch of live chunks between two numbers."""
    stop = len(live) if stop is None else min(stop, len(live))
    begin = live.find(1, start, stop)
    while begin >= 0:
        end = live.find(0, begin, stop)
        end = stop if end < 0 else end
        yield begin, end
        begin = live.find(1, end, stop)


def _read(storage: Storage, prefix: str, last: int) -> list[MarkedRecord]:
    """Return the records of a log: of one whose last record tells all, that one alone."""
    log = Log(storage, prefix, MarkedRecord)
    end = log.read(last)
    if (end.event == "end" and end.complete) or _is_hidden([end]):
        return [end]
    return [*(log.read(number) for number in range(last)), end]


def _incomplete(prefix: str, slot: int) -> IntegrityError:
    """Return the error for a log that lacks a record: what it referred to is not known, so nothing may be deleted."""
    _, namespace, flow, run = prefix.split("/")[:RUN_SEGMENTS]
    try:
        name = f"run {segment_run_id(run)} of flow {unescape_name(flow)!r} in namespace {unescape_name(namespace)!r}"
    except FormatError:
        name = "a run"
    return IntegrityError(
        f"The log {prefix} of {name} lacks record {slot}, so it is not known what the run refers to, and nothing is "
        "collected. Restore the record from a copy of the store, or remove what is left of the run: all that lies under "
        f"{_own_log(prefix)}"
    )


def _own_log(prefix: str) -> str:
    """Return the prefix of the log of the run to which the log at `prefix` belongs."""
    return "/".join(prefix.split("/")[:RUN_SEGMENTS]) + "/"


def _is_hidden(records: Sequence[MarkedRecord]) -> bool:
    """Tell whether a run is deleted, by the last of its records that says so or the opposite."""
    said = [record.event for record in records if record.event in SHOWN_EVENTS and not record.names]
    return said[-1:] == ["deleted"]


def _merged(records: Sequence[MarkedRecord]) -> list[tuple[ArtifactRecord, tuple[PackRef, ...]]]:
    """Return the artifacts that a run which has ended holds, and the packs that their spans number."""
    held: dict[str, tuple[ArtifactRecord, tuple[PackRef, ...]]] = {}
    aside: dict[str, tuple[ArtifactRecord, tuple[PackRef, ...]]] = {}
    for record in records:
        if record.complete:
            held.clear()
        held.update({name: (artifact, record.packs) for name, artifact in record.artifacts.items()})
        source, target = (held, aside) if record.event == "deleted" else (aside, held)
        target.update({name: source.pop(name) for name in record.names if name in source})
    return list(held.values())
