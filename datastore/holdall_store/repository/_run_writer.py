"""Writing one run, or one task of it: the writer's half of the store's protocol.

1 create a slot of the log ("open") · 2 read the collector's log · 3 reuse any chunk of any pack that is not condemned,
store the rest · 4 read the collector's log again, and replace what is condemned now · 5 create the next slot
("commit"). A slot that is taken is learnt first, and then 4 comes again. Small values need none of this: they live in
the record itself, and a run that holds nothing else is one record.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from holdall_store.errors import ConflictError, ObjectNotFoundError, RunStateError
from holdall_store.format import FORMAT_VERSION, STORE_KEY, ExceptionInfo, RunRecord
from holdall_store.repository._artifacts import Prepared, StoredArtifact, merge, prepare
from holdall_store.repository._clock import Clock
from holdall_store.repository._gclog import CondemnedPacks
from holdall_store.repository._log import Log
from holdall_store.repository._opening import Opening
from holdall_store.repository._run_head import Point, RunHead, Scalar, Status, series_of
from holdall_store.storage import Storage

if TYPE_CHECKING:
    # What finds and cuts chunks is imported when a value is too large for a record.
    from holdall_store.repository._index import ChunkIndex
    from holdall_store.repository._pack_writer import PackWriter
    from holdall_store.serializers import Encoded

__all__ = ["Point", "RunHead", "RunWriter"]

COMPLETE_BYTES_MAX: Final = 1 << 20
"""The last record tells the whole run again, for readers with one request, as long as it stays this small."""

PENDING_BYTES_MAX: Final = 1 << 20
"""Small values wait for each other no longer than until they have this size."""

BACKGROUND_BYTES_MIN: Final = 2 << 20
"""From this size on, chunks are found and written while the log is being opened: a thread costs less than the wait."""

REPLACE_TRIES: Final = 5
"""Each try needs a collector that condemned, in the meantime, a pack which was free at the last look."""


class RunWriter:
    """Writes the log of one run, or of one attempt at a task, and the packs that it owns.

    Which attempt it is, is seen when the first record is written: the first number that nobody has.

    May be used from several threads, which then take turns, but only in the process that made it. `info` is called
    when a first or last record is made, for what is worth knowing about the process.
    """

    def __init__(
        self,
        storage: Storage,
        index: Callable[[], ChunkIndex],
        head: RunHead,
        *,
        clock: Clock,
        ratio_max: float,
        info: Callable[[], Mapping[str, Any]],
        create: Callable[[], object],
    ) -> None:
        self.head = head
        self._storage = storage
        self._clock = clock
        self._ratio_max = ratio_max
        self._info = info
        self._create_store = create
        self._make_index = index
        self._writer = clock.token(16)
        self._attempt = 0
        self._log = Log(storage, head.prefix(0), RunRecord)
        self._condemned = CondemnedPacks(storage)
        self._packs: PackWriter | None = None
        self._opening: Opening | None = None
        self._next_slot = 0
        self._recorded = False
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._ended = False
        # What no record holds yet.
        self._pending: dict[str, StoredArtifact] = {}
        self._sources: dict[str, Prepared] = {}
        self._points: list[Point] = []
        self._carried: dict[str, Scalar] = {}
        self._pending_bytes = 0
        # What the last record of a run says of its tasks.
        self._steps: tuple[str, ...] = ()
        self._lifted: dict[str, StoredArtifact] = {}
        self._lifts_all = False
        # What all records hold together, the last value of each.
        self._artifacts: dict[str, StoredArtifact] = {}
        self._summary: dict[str, Scalar] = {}

    @property
    def process(self) -> int:
        """Id of the process that the run belongs to."""
        return self._pid

    @property
    def ended(self) -> bool:
        """Whether the last record has been written."""
        return self._ended

    @property
    def recorded(self) -> bool:
        """Whether any record has been written."""
        return self._recorded

    @property
    def attempt(self) -> int:
        """The number of the attempt at a task, which is 0 until a record has been written."""
        return self._attempt

    def save(self, objects: Mapping[str, Encoded], *, commit: bool = False) -> dict[str, StoredArtifact]:
        """Store `objects`, and return what their records say.

        When this returns, all of them are durable if any is too large to live in a record, or if `commit` is true.
        Otherwise they become durable with the next `flush`. If it raises, none of them is saved.
        """
        self._check_process()
        with self._lock:
            self._check_usable()
            before = {name: (self._pending.get(name), self._sources.get(name)) for name in objects}
            bytes_before = self._pending_bytes
            try:
                prepared = _prepare_all(objects)
                large = {name: item for name, item in prepared.items() if not item.inline}
                if large:
                    self._store(large)
                now = self._now()
                for name, item in prepared.items():
                    if item.inline:
                        self._pending[name] = item.record(now, (), {})
                        self._pending_bytes += item.bytes
                saved = {name: self._pending.pop(name) for name in objects}
                self._pending.update(saved)  # in the order in which they were given
                if large or commit or self._pending_bytes > PENDING_BYTES_MAX:
                    self._append("commit", self.head.commit_status)
                    saved = {name: self._artifacts[name] for name in objects}
            except BaseException:
                for name, (stored, source) in before.items():
                    _put_back(self._pending, name, stored)
                    _put_back(self._sources, name, source)
                self._pending_bytes = bytes_before
                raise
            return saved

    def log(self, points: Sequence[Point], *, commit: bool = False) -> None:
        """Add points to the run's metrics; they become durable with the next `flush`, or now if `commit` is true."""
        self._check_process()
        with self._lock:
            self._check_usable()
            self._points.extend(points)
            self._pending_bytes += 24 * len(points)
            if commit or self._pending_bytes > PENDING_BYTES_MAX:
                self._append("commit", self.head.commit_status)

    def refer(self, artifacts: Mapping[str, StoredArtifact], summary: Mapping[str, Scalar] | None = None) -> None:
        """Hold, by reference, what another run saved and the last values of its metrics, durable with the next `flush`.

        Raises `ConflictError`, here or there, where a collector has condemned it meanwhile.
        """
        self._check_process()
        with self._lock:
            self._check_usable()
            if not self._recorded and any(stored.packs for stored in artifacts.values()):
                self._append("open", "running", pending=False)  # before it is looked what is condemned
            self._pending.update(artifacts)
            self._carried.update(summary or {})

    def flush(self, *, announce: bool = True) -> None:
        """Make durable what is pending; make the run known if nothing of it is, unless `announce` is false."""
        if self.ended:
            return
        self._check_process()
        with self._lock:
            if self._ended:
                return
            if self._pending or self._points:
                self._append("commit", self.head.commit_status)
            elif announce and not self._recorded:
                self._append("open", "running")

    def end(
        self,
        status: Status,
        exception: ExceptionInfo | None = None,
        *,
        steps: Sequence[str] = (),
        lifted: Mapping[str, StoredArtifact] | None = None,
        summary: Mapping[str, Scalar] | None = None,
    ) -> None:
        """Write the last record. Ending twice is allowed and does nothing.

        `steps` are those of the run, in order; `lifted` and `summary` are what it shows of its tasks' artifacts and metrics.
        """
        if self.ended:
            return
        self._check_process()
        with self._lock:
            if self._ended:
                return
            self._steps = tuple(steps)
            self._lifted = dict(lifted or {})
            self._carried = {**(summary or {}), **self._carried, **self._summary}
            self._lifts_all = bool(steps) and self._may_lift(self._lifted)
            try:
                self._append("end", status, exception)
            except _AlreadyEnded:
                return
            self._ended = True

    def view_pending(self) -> dict[str, StoredArtifact]:
        """Return all artifacts of the run as this writer knows them."""
        self._check_process()
        with self._lock:
            return {**self._artifacts, **self._pending}

    def view_summary(self) -> dict[str, Scalar]:
        """Return the last value of every metric as this writer knows it."""
        with self._lock:
            return {**self._carried, **self._summary, **{point.name: point.value for point in self._points}}

    def _check_process(self) -> None:
        # Before the lock is taken: a thread of the parent may have held it when this process was forked.
        if os.getpid() != self._pid:
            raise RunStateError(
                f"{self._called} belongs to process {self._pid}; this is its child {os.getpid()}. Begin a task in the "
                "child, or a run of its own: run.step(...).task(...), holdall.run(...)."
            )

    def _check_usable(self) -> None:
        if self._ended:
            raise RunStateError(f"{self._called} has ended: nothing can be added to it.")

    def _check_store(self) -> None:
        """Refuse to go on where the store was removed under the run: what was committed is gone with it.

        People remove folders; nobody empties a bucket under a running script, and looking would cost a round trip.
        """
        if not self._storage.traits.mappable:
            return
        try:
            self._storage.head(STORE_KEY)
        except ObjectNotFoundError:
            raise RunStateError(
                f"The store {self._storage.url} was removed while {self.head.called} was recorded, and what it had saved "
                "with it. Begin a new run: holdall.run(...)."
            ) from None

    def _store(self, items: Mapping[str, Prepared]) -> None:
        """Put the buffers of `items` into packs, and note their records as pending."""
        packs = self._begin(sum(item.bytes for item in items.values()))
        sources = [source for item in items.values() for source in item.sources]
        try:
            written = packs.write(sources)
        finally:
            # Whatever happened, the log is nobody else's any more.
            if self._opening is not None and not self._opening.join():
                self._packs = None
            self._opening = None
        position = 0
        for name, item in items.items():
            places = written.places[position : position + len(item.sources)]
            position += len(item.sources)
            self._pending[name] = item.record(self._now(), places, written.refs)
            self._sources[name] = item

    def _begin(self, size: int) -> PackWriter:
        """Take the first steps of the protocol, in their order: open the log, then look what is condemned.

        Where `size` bytes are worth it, they are taken in the background. The writer of packs waits for their end
        before it refers to another's pack, and before a pack of its own becomes visible.
        """
        if self._recorded:
            self._check_store()
        if self._packs is None:
            self._create_store()
            opening = Opening(self._open_log, in_background=self._in_background(size))
            try:
                from holdall_store.repository._pack_writer import PackWriter

                index = self._make_index()
                if self.head.step:
                    index.refresh_once(self._storage)
                else:
                    index.refresh(self._storage)
                self._packs = PackWriter(self._storage, self._writer, index, self._ratio_max, opening.wait)
            except BaseException:
                opening.join()
                raise
            self._opening = opening
        return self._packs

    def _in_background(self, size: int) -> bool:
        return size >= BACKGROUND_BYTES_MIN or self._storage.traits.concurrency > 0

    def _open_log(self) -> frozenset[str]:
        if not self._recorded:
            self._append("open", "running", pending=False)
        return self._condemned.look()

    def _append(
        self, event: str, status: Status, exception: ExceptionInfo | None = None, *, pending: bool = True
    ) -> None:
        """Create the next slot with all that is pending, and take it over as recorded."""
        if not self._recorded:
            self._create_store()
        else:
            self._check_store()

        def make(slot: int) -> RunRecord:
            if pending:
                self._replace_condemned()
            return self._record(event, status, slot, exception, pending=pending)

        while True:
            try:
                number = self._log.append(self._next_slot, make, self._learn)
                break
            except _AttemptTaken:
                self._attempt += 1
                self._log = Log(self._storage, self.head.prefix(self._attempt), RunRecord)
                self._next_slot = 0
        self._next_slot, self._recorded = number + 1, True
        if pending:
            self._artifacts.update(self._pending)
            self._summary.update({point.name: point.value for point in self._points})
            self._pending.clear()
            self._sources.clear()
            self._points.clear()
            self._pending_bytes = 0

    def _learn(self, taken: RunRecord) -> None:
        """Take notice of a record that is where ours was to be: a collector's, or an earlier one of our own."""
        if self.head.step and not self._recorded and taken.writer != self._writer:
            raise _AttemptTaken  # somebody else began this task before, or does now
        self._next_slot = taken.slot + 1
        if taken.writer == self._writer and taken.event in ("open", "commit", "end"):
            self._take_over(taken)
            return
        if taken.event == "abandoned":
            self._ended = True
            raise RunStateError(
                f"{self._called} was given up by a collector, because nothing was heard of it for long. What it committed "
                "is kept; begin a new run for the rest."
            )
        if taken.event == "deleted":
            self._ended = True
            raise RunStateError(
                f"Run {self.head.run} of {self.head.flow} was deleted while it was recorded: nothing can be added to it."
            )
        if taken.event != "fence":
            raise ConflictError(f"Somebody else writes to {self.head.called}: its id is not unique.")

    def _take_over(self, ours: RunRecord) -> None:
        """Count a record as written whose create failed, although the record is there (the disk failed after that)."""
        self._recorded = True
        self._artifacts.update({name: StoredArtifact(record, ours.packs) for name, record in ours.artifacts.items()})
        self._summary.update(ours.summary)
        # A record holds all points that waited when it was made; those that came later stand behind them.
        del self._points[: sum(len(series.values) for series in ours.metrics.values())]
        if ours.event == "end":
            self._ended = True
            raise _AlreadyEnded(f"{self._called} has ended: nothing can be added to it.")

    def _replace_condemned(self) -> None:
        """Store again what is pending and lies in packs that were condemned since the last look."""
        for _ in range(REPLACE_TRIES):
            foreign = {
                ref.name
                for stored in self._pending.values()
                for ref in stored.packs
                if not ref.name.startswith(f"{self._writer}-")
            }
            # An open log protects its own packs: who uses no others need not look.
            if not foreign:
                return
            condemned = self._condemned.look()
            if not foreign & condemned:
                return
            hit = [name for name, stored in self._pending.items() if any(ref.name in condemned for ref in stored.packs)]
            gone = [name for name in hit if name not in self._sources]
            if gone or self._packs is None:
                raise ConflictError(
                    f"{', '.join(gone)}: what {self.head.called} was to hold by reference was deleted meanwhile. Save it "
                    "anew."
                )
            self._packs.exclude(condemned)
            self._store({name: self._sources[name] for name in hit})
        raise ConflictError(
            f"Packs that {self.head.called} was about to refer to were condemned {REPLACE_TRIES} times in a row. Try again."
        )

    def _record(
        self, event: str, status: Status, slot: int, exception: ExceptionInfo | None, *, pending: bool
    ) -> RunRecord:
        first = not self._recorded
        metrics = series_of(self._points) if pending else {}
        summary = {**self._carried, **{name: series.values[-1] for name, series in metrics.items()}}
        packs, artifacts = merge(self._pending if pending else {})
        record = RunRecord(
            holdall=FORMAT_VERSION,
            log="task" if self.head.step else "run",
            event=event,
            slot=slot,
            write_id=self._clock.token(16),
            time=self._now(),
            namespace=self.head.namespace,
            flow=self.head.flow,
            run=self.head.run,
            status=status,
            writer=self._writer,
            started=self.head.started,
            packs=packs,
            artifacts=artifacts,
            metrics=metrics,
            summary=summary,
            exception=exception,
            step=self.head.step,
            task=self.head.task,
            attempt=self._attempt,
        )
        if first or event == "end":
            record.params, record.tags, record.info = self.head.params, self.head.tags, dict(self._info())
            record.parents, record.origin = self.head.parents, self.head.origin
        if event == "end":
            record.steps = self._steps
            return self._completed(record)
        record.complete = first
        return record

    def _completed(self, record: RunRecord) -> RunRecord:
        """Return `record` with all artifacts of the run and its tasks, where that stays small enough to be read at once."""
        own = {**self._artifacts, **self._pending}
        lifted = self._lifted if self._lifts_all else {}
        # With what its tasks saved, or else without it, or else only what no earlier record holds.
        choices = [({**lifted, **own}, True)] if lifted else []
        if self._recorded:
            choices.append((own, self._lifts_all and not lifted))
        for choice, lifts_all in choices:
            packs, artifacts = merge(choice)
            summary = {**self._summary, **record.summary}
            whole = msgspec.structs.replace(
                record, packs=packs, artifacts=artifacts, summary=summary, complete=True, lifted=lifts_all
            )
            if len(msgspec.json.encode(whole)) <= COMPLETE_BYTES_MAX:
                return whole
        return msgspec.structs.replace(record, complete=not self._recorded, lifted=self._lifts_all and not lifted)

    def _may_lift(self, lifted: Mapping[str, StoredArtifact]) -> bool:
        """Tell whether no pack of what tasks saved is condemned: it may have been moved, or be about to go with the run."""
        packs = {ref.name for stored in lifted.values() for ref in stored.packs}
        return not packs or not packs & self._condemned.look()

    @property
    def _called(self) -> str:
        return self.head.called[0].upper() + self.head.called[1:]

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="microseconds")


class _AttemptTaken(Exception):
    """The log of this attempt at a task is somebody else's."""


class _AlreadyEnded(RunStateError):
    """The record that was to end the run is there already."""


def _prepare_all(objects: Mapping[str, Encoded]) -> dict[str, Prepared]:
    """Prepare the objects of one save: of many small values, no more stay in the record than readers should parse."""
    prepared: dict[str, Prepared] = {}
    inline_bytes = 0
    for name, encoded in objects.items():
        item = prepared[name] = prepare(encoded)
        inline_bytes += item.bytes if item.inline else 0
        if inline_bytes > PENDING_BYTES_MAX:
            item.spill()
    return prepared


_Value = TypeVar("_Value")


def _put_back(mapping: dict[str, _Value], name: str, value: _Value | None) -> None:
    if value is None:
        mapping.pop(name, None)
    else:
        mapping[name] = value
