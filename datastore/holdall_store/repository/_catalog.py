"""What a store holds: namespaces, flows, runs; newest runs first, and no more read than is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from holdall_store.errors import FormatError, IntegrityError, RunNotFoundError
from holdall_store.format import (
    RUNS_PREFIX,
    RunRecord,
    escape_name,
    flow_prefix,
    namespace_prefix,
    own_slots,
    run_prefix,
    run_segment,
    segment_run_id,
    segment_step,
    segment_task,
    slot_key,
    slot_numbers,
    step_prefix,
    task_prefix,
    unescape_name,
)
from holdall_store.repository._cache import Cache
from holdall_store.repository._cached_log import CachedLog
from holdall_store.repository._views import RunView, merge_records
from holdall_store.storage import Storage
from holdall_store.transfer import run_ordered

__all__ = ["Catalog", "FoundRun", "FoundTask", "was_deleted"]

RUN_TIME_CHARACTERS: Final = 21
"""The part of a run id that is the time; in a key its digits are complemented."""

_TO_SEGMENT: Final = str.maketrans("0123456789T", "9876543210t")


TERMINAL: Final = frozenset(("end", "abandoned"))
"""Events that nothing follows."""

AHEAD_RUNS_MAX: Final = 64
"""Records of so many runs are fetched at once where each takes a while; by default the first alone, because often it will
do."""


BELOW_KEYS_MAX: Final = 500
"""So many keys of tasks are passed over before the listing is begun anew behind them: they mostly came with one page."""


class FoundRun(NamedTuple):
    """A run as a listing shows it."""

    run_id: str
    slots: list[int]
    has_tasks: bool = False


class FoundTask(NamedTuple):
    """An attempt at a task as a listing shows it."""

    step: str
    task: str
    attempt: int
    slots: list[int]


TASK_PARTS: Final = 2
"""The segments between the prefix of a run and the slots of a task: step and task."""


class Catalog:
    """Lists and reads the runs of a store.

    Every answer is what the store says now, but for a run that has ended and lies in `cache`: nothing can be added to
    it. With `offline`, the storage has only what was kept, so earlier records than the last one may be missing.
    """

    def __init__(self, storage: Storage, cache: Cache | None = None, *, offline: bool = False) -> None:
        self._storage = storage
        self._cache = cache
        self._offline = offline

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
        start = _segment_start(prefix)
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
        self,
        namespace: str,
        flow: str,
        on_damage: Callable[[IntegrityError | FormatError], None] | None = None,
        *,
        together: int = 1,
        after: str = "",
        last: str = "~",
    ) -> Iterator[RunView]:
        """Yield the runs of a flow, newest first: the first one costs one listing and one read.

        Who will want so many says so with `together`: they are read at once then, where each takes a while. A run that
        cannot be read raises, unless `on_damage` takes the error: then it is left out; so is one that was deleted. `after`
        and `last` bound the segments of the keys.
        """
        found = self._found(namespace, flow, after=after, last=last)
        # Where records are far away, those of more and more runs travel together: one, two, four, …
        for count in map((1).__lshift__, itertools.count()):
            ahead = min(max(count, together), AHEAD_RUNS_MAX) if self._storage.traits.concurrency else 1
            batch = list(itertools.islice(found, ahead))
            if not batch:
                return
            for view in self._views(namespace, flow, batch):
                if isinstance(view, RunView):
                    if not view.deleted:
                        yield view
                elif on_damage is None:
                    raise view
                else:
                    on_damage(view)

    def find(self, namespace: str, flow: str, beginning: str, limit: int) -> list[FoundRun]:
        """Return up to `limit` runs whose ids begin with `beginning`, newest first; one without a record is none."""
        return list(itertools.islice(self._found(namespace, flow, beginning), limit))

    def found_run(self, namespace: str, flow: str, found: FoundRun) -> RunView:
        """Return what is known of a run that `find` found, also where it was deleted."""
        return self._read(namespace, flow, found.run_id, found.slots, has_tasks=found.has_tasks)

    def run(self, namespace: str, flow: str, run_id: str, *, deleted: bool = False) -> RunView:
        """Return what is known of a run; `RunNotFoundError` where it has no record, or, unless `deleted`, was deleted.

        A run that has ended and was read before costs no request.
        """
        log = self._log(namespace, flow, run_id)
        kept = self._kept(log)
        if kept is not None and (kept.namespace, kept.flow, kept.run) == (namespace, flow, run_id):
            return kept
        slots, has_tasks = own_slots(log.prefix, (info.key for info in self._storage.list(log.prefix)))
        if not slots:
            raise RunNotFoundError(
                f"There is no run {run_id} of {flow} in namespace {namespace} ({self._storage.url})."
            )
        view = self._read(namespace, flow, run_id, slots, has_tasks=has_tasks)
        if view.deleted and not deleted:
            raise was_deleted(view, self._storage.url)
        return view

    def whole_run(
        self, namespace: str, flow: str, run_id: str, step: str = "", task: str = "", attempt: int = 0
    ) -> RunView:
        """Return what is known of a run, or of a task, with all points of its metrics: every record is read."""
        log = self._log(namespace, flow, run_id)
        if step:
            where = task_prefix(namespace, flow, run_id, step, task, attempt)
            log = CachedLog(self._storage, where, RunRecord, self._cache)
        kept = log.kept_slots()
        last = log.kept(kept[-1]) if kept else None
        slots = range(kept[-1] + 1) if last is not None and last.event in TERMINAL else log.slots()
        return merge_records(list(self._records(log, slots)), log.prefix)

    def step_names(self, namespace: str, flow: str, run_id: str) -> Iterator[str]:
        """Yield the names of the steps of a run, in the order of their keys."""
        for segment in self._storage.list_folders(run_prefix(namespace, flow, run_id)):
            try:
                yield segment_step(segment)
            except FormatError:
                continue

    def find_tasks(self, namespace: str, flow: str, run_id: str, step: str = "", task: str = "") -> Iterator[FoundTask]:
        """Yield the attempts at the tasks of a run, of one step of it, or at one task, in the order of their keys."""
        run = run_prefix(namespace, flow, run_id)
        prefix = step_prefix(namespace, flow, run_id, step) if step else run
        one = prefix + escape_name(task) if task else ""
        # A colon comes after the digits of the run's own slots.
        keys: Iterator[str] = (info.key for info in self._storage.list(prefix, one or f"{run}:"))
        if one:
            keys = itertools.takewhile(lambda key: key < f"{one}^~", keys)
        for folder, slots in itertools.groupby(keys, key=lambda key: key.rpartition("/")[0]):
            parts = folder[len(run) :].split("/")
            try:
                name, (of, attempt) = segment_step(parts[0]), segment_task(parts[-1])
            except FormatError:
                continue
            numbers = slot_numbers(f"{folder}/", slots)
            if numbers and len(parts) == TASK_PARTS and (not task or of == task):
                yield FoundTask(name, of, attempt, numbers)

    def found_task(self, namespace: str, flow: str, run_id: str, found: FoundTask) -> RunView:
        """Return what is known of an attempt at a task that `find_tasks` found."""
        where = task_prefix(namespace, flow, run_id, *found[:3])
        log = CachedLog(self._storage, where, RunRecord, self._cache)
        return self._read_log(log, (namespace, flow, run_id, *found[:3]), found.slots)

    def found_tasks(
        self, namespace: str, flow: str, run_id: str, found: Iterable[FoundTask]
    ) -> Iterator[RunView | IntegrityError | FormatError]:
        """Yield what is known of several attempts, or what is wrong with one, fetched together where that takes a while."""

        def read(each: FoundTask) -> Iterator[tuple[RunView | IntegrityError | FormatError, int]]:
            try:
                yield self.found_task(namespace, flow, run_id, each), 0
            except (IntegrityError, FormatError) as error:
                yield error, 0

        wanted = list(found)
        threads = min(self._storage.traits.concurrency, AHEAD_RUNS_MAX, len(wanted))
        return run_ordered(wanted, read, bytes_max=1, threads=threads)

    def _read(self, namespace: str, flow: str, run_id: str, slots: list[int], *, has_tasks: bool = False) -> RunView:
        try:
            view = self._read_log(self._log(namespace, flow, run_id), (namespace, flow, run_id, "", "", 0), slots)
        except (IntegrityError, FormatError) as error:
            raise type(error)(
                f"Run {run_id} of flow {flow!r} in namespace {namespace!r} ({self._storage.url}) cannot be read: {error} "
                f"Other runs are not touched by it: name one, as in '{flow}@<run>', or restore the file."
            ) from None
        view.has_tasks = view.has_tasks or has_tasks
        return view

    def _read_log(
        self, log: CachedLog[RunRecord], place: tuple[str, str, str, str, str, int], slots: list[int]
    ) -> RunView:
        missing = sorted(set(range(slots[-1])) - set(slots))
        if missing and not self._offline:
            raise IntegrityError(f"its record {log.prefix}{missing[0]:08d} is missing, though a later one is there.")
        last = log.read(slots[-1])
        if (last.complete and last.event == "end") or (last.event == "deleted" and not last.names):
            view = merge_records([last], log.prefix, first=slots[-1])
        elif missing:
            log.storage.get(slot_key(log.prefix, missing[0]))  # which says what is missing, and what to do
            raise IntegrityError(f"its record {log.prefix}{missing[0]:08d} came while it was looked for.")
        else:
            view = merge_records([*self._records(log, slots[:-1]), last], log.prefix)
        if view.place != place:
            named = "/".join(map(str, (view.step, view.task, view.attempt) if view.step else ()))
            raise IntegrityError(
                f"{log.prefix} holds the run {view.namespace}/{view.flow}@{view.run}{named and f', {named}'}: it was moved "
                "there."
            )
        return view

    def listed(self, namespace: str, flow: str, after: str = "") -> Iterator[tuple[str, list[int]]]:
        """Yield the segment of each run that has records, newest first, and its slots; those behind `after`."""
        return ((segment, slots) for segment, slots, _ in self._listed(namespace, flow, after))

    def _listed(self, namespace: str, flow: str, after: str = "") -> Iterator[tuple[str, list[int], bool]]:
        """Yield segment and slots of each run that has records, newest first, and whether it has tasks.

        A run's own log is listed before those of its tasks, which may be very many: they are stepped over.
        """
        prefix = flow_prefix(namespace, flow)
        after = prefix + after if after else ""
        while True:
            listing = self._storage.list(prefix, after)
            after = ""
            for segment, infos in itertools.groupby(listing, key=lambda info: info.key.split("/")[3]):
                slots, has_tasks = own_slots(f"{prefix}{segment}/", (info.key for info in infos))
                try:
                    segment_run_id(segment)
                except FormatError:
                    continue
                if slots:
                    yield segment, slots, has_tasks
                if has_tasks and len(list(itertools.islice(infos, BELOW_KEYS_MAX))) == BELOW_KEYS_MAX:
                    after = f"{prefix}{segment}0"  # which comes after all keys below this run, and before the next run
                    break
            if not after:
                return

    def _found(
        self, namespace: str, flow: str, beginning: str = "", *, after: str = "", last: str = "~"
    ) -> Iterator[FoundRun]:
        """Yield the runs that have records, newest first, and the slots of each."""
        start = _segment_start(beginning)
        for segment, slots, has_tasks in self._listed(namespace, flow, start or after):
            if not segment.startswith(start) or segment > last:
                return
            yield FoundRun(segment_run_id(segment), slots, has_tasks)

    def _views(
        self, namespace: str, flow: str, batch: Sequence[FoundRun]
    ) -> Iterator[RunView | IntegrityError | FormatError]:
        """Yield what is known of each run, or what is wrong with it."""

        def read(found: FoundRun) -> Iterator[tuple[RunView | IntegrityError | FormatError, int]]:
            try:
                yield self.found_run(namespace, flow, found), 0
            except (IntegrityError, FormatError) as error:
                yield error, 0

        return run_ordered(batch, read, bytes_max=1, threads=len(batch))

    def _records(self, log: CachedLog[RunRecord], slots: Sequence[int]) -> Iterator[RunRecord]:
        """Yield several records of a log, fetched together where each takes a while."""
        threads = min(self._storage.traits.concurrency, len(slots))
        return run_ordered(slots, lambda number: iter([(log.read(number), 0)]), bytes_max=1, threads=threads)

    def _kept(self, log: CachedLog[RunRecord]) -> RunView | None:
        """Return a run that has ended, if all that it takes is in the cache, and makes sense."""
        slots = log.kept_slots()
        last = log.kept(slots[-1]) if slots else None
        if last is None or last.event not in TERMINAL:
            return None
        alone = last.complete and last.event == "end"
        earlier = [log.kept(number) for number in range(0 if alone else last.slot)]
        records = [*(record for record in earlier if record is not None), last]
        if len(records) <= len(earlier):
            return None
        try:
            return merge_records(records, log.prefix, first=last.slot if alone else 0)
        except (IntegrityError, FormatError):
            return None  # what is wrong with it is told by who reads it from the store

    def _log(self, namespace: str, flow: str, run_id: str) -> CachedLog[RunRecord]:
        run_segment(run_id)
        return CachedLog(self._storage, run_prefix(namespace, flow, run_id), RunRecord, self._cache)

    def _names(self, prefix: str) -> Iterator[str]:
        for segment in self._storage.list_folders(prefix):
            try:
                yield unescape_name(segment)
            except FormatError:
                continue


def was_deleted(view: RunView, url: str) -> RunNotFoundError:
    """Return the error for a run that was deleted."""
    return RunNotFoundError(
        f"Run {view.run} of {view.flow} in namespace {view.namespace} was deleted ({url}). Until a collection has taken it, "
        f"it can be brought back: client.undelete('{view.namespace}/{view.flow}@{view.run}')."
    )


def _segment_start(beginning: str) -> str:
    """Return how the segment of a run begins whose id begins so."""
    return beginning[:RUN_TIME_CHARACTERS].translate(_TO_SEGMENT) + beginning[RUN_TIME_CHARACTERS:]
