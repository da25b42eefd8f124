"""Promotion: a run of one namespace becomes a new run of another, by reference; no byte of an artifact is copied."""

from __future__ import annotations

from holdall_store.errors import ConflictError, InvalidNameError, RunStateError
from holdall_store.format import (
    FORMAT_VERSION,
    ExceptionInfo,
    OriginInfo,
    RunRecord,
    Series,
    make_run_id,
    run_prefix,
)
from holdall_store.repository._artifacts import merge
from holdall_store.repository._clock import Clock
from holdall_store.repository._gclog import CondemnedPacks, MovedPacks
from holdall_store.repository._log import Log
from holdall_store.repository._relocate import relocated
from holdall_store.repository._views import RunView, merge_records
from holdall_store.storage import Storage

__all__ = ["promote"]


def promote(storage: Storage, clock: Clock, view: RunView, namespace: str, *, who: str, note: str) -> RunView:
    """Make the run that `view` shows a new run of `namespace`, and return that.

    It takes the steps of a writer that reuses foreign chunks: open a log, look what is condemned, commit. Where all
    values lie in the record, one create is enough. Raises `ConflictError` where a collection has condemned what the run
    refers to.
    """
    if view.status == "running":
        raise RunStateError(f"Run {view.run} of {view.flow} is still running: promote it when it has ended.")
    if view.namespace == namespace:
        raise InvalidNameError(f"Run {view.run} of {view.flow} lies in {namespace} already; an alias marks it there.")
    promoted = _Promotion(storage, clock, view, namespace, who, note)
    return merge_records([promoted.write()], f"The promoted run {view.run}", first=0)


class _Promotion:
    """One promotion in progress."""

    def __init__(self, storage: Storage, clock: Clock, view: RunView, namespace: str, who: str, note: str) -> None:
        self._clock = clock
        self._view = view
        self._namespace = namespace
        self._origin = OriginInfo(view.namespace, view.flow, view.run, who, note)
        moment = clock.now()
        self._run = make_run_id(moment, clock.token(6))
        self._started = moment.isoformat(timespec="microseconds")
        self._writer = clock.token(16)
        self._log = Log(storage, run_prefix(namespace, view.flow, self._run), RunRecord)
        self._condemned = CondemnedPacks(storage)
        self._moved = MovedPacks(storage)
        self._packs, self._artifacts = merge(view.artifacts)

    def write(self) -> RunRecord:
        """Write the records, and return the last."""
        written: list[RunRecord] = []
        if not self._packs:
            self._log.append(0, lambda slot: _kept(written, self._end(slot)), _learn)
            return written[-1]
        # Open first: from then on a collection cannot delete anything without this log having seen it condemned.
        self._log.append(0, self._head, _learn)

        def make(slot: int) -> RunRecord:
            self._check_packs()
            return _kept(written, self._end(slot))

        try:
            self._log.append(1, make, _learn)
        except ConflictError as error:
            failed = ExceptionInfo("holdall.ConflictError", str(error))
            self._log.append(1, lambda slot: self._failed(slot, failed), _learn)
            raise
        return written[-1]

    def _check_packs(self) -> None:
        condemned = self._condemned.look()
        hit = {ref.name for ref in self._packs} & condemned
        if hit and self._moved.learn(hit):
            artifacts = {name: relocated(each, self._moved) for name, each in self._view.artifacts.items()}
            self._packs, self._artifacts = merge(artifacts)
            hit = {ref.name for ref in self._packs} & condemned
        if hit:
            raise ConflictError(
                f"Run {self._view.run} of {self._view.flow} was not promoted: a collection is deciding about {len(hit)} of "
                "the packs that it refers to, or has deleted them. Try again when the collection is over."
            )

    def _head(self, slot: int) -> RunRecord:
        return RunRecord(
            holdall=FORMAT_VERSION,
            log="run",
            event="open",
            slot=slot,
            write_id=self._clock.token(16),
            time=self._clock.now().isoformat(timespec="microseconds"),
            namespace=self._namespace,
            flow=self._view.flow,
            run=self._run,
            writer=self._writer,
            started=self._started,
            params=self._view.params,
            tags=self._view.tags,
            info=self._view.info,
            origin=self._origin,
        )

    def _failed(self, slot: int, why: ExceptionInfo) -> RunRecord:
        record = self._head(slot)
        record.event, record.status, record.exception = "end", "failed", why
        return record

    def _end(self, slot: int) -> RunRecord:
        """Return the record that tells all of the run; its points only where the view has them all."""
        view, record = self._view, self._head(slot)
        record.event, record.complete = "end", True
        record.status = "failed" if view.status == "failed" else "succeeded"
        record.packs, record.artifacts = self._packs, self._artifacts
        record.summary, record.exception = view.summary, view.exception
        if view.metrics_whole:
            record.metrics = {name: _joined(parts) for name, parts in view.metrics.items()}
        return record


def _joined(parts: list[Series]) -> Series:
    return Series(
        [value for part in parts for value in part.values],
        [step for part in parts for step in part.steps],
        [time for part in parts for time in part.times],
    )


def _kept(written: list[RunRecord], record: RunRecord) -> RunRecord:
    written.append(record)
    return record


def _learn(taken: RunRecord) -> None:
    """Go on after a collector's fence; whatever else lies in the log ends the promotion."""
    if taken.event != "fence":
        raise RunStateError(f"The promoted run {taken.run} was given up by a collector. Promote the run again.")
