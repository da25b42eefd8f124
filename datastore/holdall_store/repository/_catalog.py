"""What a store holds: namespaces, flows, runs; newest runs first, and no more read than is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final

from holdall_store.errors import FormatError, IntegrityError, RunNotFoundError
from holdall_store.format import (
    RUNS_PREFIX,
    RunRecord,
    flow_prefix,
    namespace_prefix,
    run_prefix,
    run_segment,
    segment_run_id,
    slot_numbers,
    unescape_name,
)
from holdall_store.repository._log import Log
from holdall_store.repository._views import RunView, merge_records
from holdall_store.storage import Storage

__all__ = ["Catalog"]

RUN_TIME_CHARACTERS: Final = 21
"""The part of a run id that is the time; in a key its digits are complemented."""

_TO_SEGMENT: Final = str.maketrans("0123456789T", "9876543210t")


class Catalog:
    """Lists and reads the runs of a store. It keeps nothing: every answer is what the store says now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces, sorted."""
        return sorted(self._names(RUNS_PREFIX))

    def flows(self, namespace: str) -> list[str]:
        """Return the names of the flows in `namespace`, sorted."""
        return sorted(self._names(namespace_prefix(namespace)))

    def run_ids(self, namespace: str, flow: str, prefix: str = "") -> Iterator[str]:
        """Yield the ids of the runs of a flow that begin with `prefix`, newest first.

        A run that died before its first record may be among them where the storage has folders.
        """
        start = prefix[:RUN_TIME_CHARACTERS].translate(_TO_SEGMENT) + prefix[RUN_TIME_CHARACTERS:]
        for segment in self._storage.list_folders(flow_prefix(namespace, flow), start[:-1]):
            if not segment.startswith(start):
                if segment > start:
                    return
                continue
            try:
                yield segment_run_id(segment)
            except FormatError:
                continue

    def newest(
        self, namespace: str, flow: str, on_damage: Callable[[IntegrityError | FormatError], None] | None = None
    ) -> Iterator[RunView]:
        """Yield the runs of a flow, newest first: the first one costs one listing and one read.

        A run that cannot be read raises, unless `on_damage` takes the error: then it is left out.
        """
        listing = self._storage.list(flow_prefix(namespace, flow))
        for segment, infos in itertools.groupby(listing, key=lambda info: info.key.split("/")[3]):
            try:
                run_id = segment_run_id(segment)
            except FormatError:
                continue
            slots = slot_numbers(run_prefix(namespace, flow, run_id), (info.key for info in infos))
            if not slots:
                continue
            try:
                view = self._read(namespace, flow, run_id, slots)
            except (IntegrityError, FormatError) as error:
                if on_damage is None:
                    raise
                on_damage(error)
            else:
                yield view

    def run(self, namespace: str, flow: str, run_id: str) -> RunView:
        """Return what is known of a run; `RunNotFoundError` where it has no record."""
        log = self._log(namespace, flow, run_id)
        slots = slot_numbers(log.prefix, (info.key for info in self._storage.list(log.prefix)))
        if not slots:
            raise RunNotFoundError(
                f"There is no run {run_id} of {flow} in namespace {namespace} ({self._storage.url})."
            )
        return self._read(namespace, flow, run_id, slots)

    def whole_run(self, namespace: str, flow: str, run_id: str) -> RunView:
        """Return what is known of a run with all points of its metrics: every record is read."""
        log = self._log(namespace, flow, run_id)
        return merge_records(log.read_all(), log.prefix)

    def _read(self, namespace: str, flow: str, run_id: str, slots: list[int]) -> RunView:
        try:
            return self._read_log(namespace, flow, run_id, slots)
        except (IntegrityError, FormatError) as error:
            raise type(error)(
                f"Run {run_id} of flow {flow!r} in namespace {namespace!r} ({self._storage.url}) cannot be read: {error} "
                f"Other runs are not touched by it: name one, as in '{flow}@<run>', or restore the file."
            ) from None

    def _read_log(self, namespace: str, flow: str, run_id: str, slots: list[int]) -> RunView:
        log = self._log(namespace, flow, run_id)
        missing = sorted(set(range(slots[-1])) - set(slots))
        if missing:
            raise IntegrityError(f"its record {log.prefix}{missing[0]:08d} is missing, though a later one is there.")
        last = log.read(slots[-1])
        if last.complete and last.event == "end":
            view = merge_records([last], log.prefix, first=slots[-1])
        else:
            view = merge_records([*(log.read(number) for number in slots[:-1]), last], log.prefix)
        if (view.namespace, view.flow, view.run) != (namespace, flow, run_id):
            raise IntegrityError(
                f"{log.prefix} holds the run {view.namespace}/{view.flow}@{view.run}: it was moved there."
            )
        return view

    def _log(self, namespace: str, flow: str, run_id: str) -> Log[RunRecord]:
        run_segment(run_id)
        return Log(self._storage, run_prefix(namespace, flow, run_id), RunRecord)

    def _names(self, prefix: str) -> Iterator[str]:
        for segment in self._storage.list_folders(prefix):
            try:
                yield unescape_name(segment)
            except FormatError:
                continue
