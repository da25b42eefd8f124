"""Finding runs among many: which there are is asked of the store, what they say is remembered where they have ended.

One search lists the runs and what is said of them beside their logs, both newest first, and reads the records that are
not remembered, many at once. So it takes one request for every thousand runs, and one for each that was never read
before; of that, only as much as is asked for. It holds the rows of `CHUNK_RUNS` runs at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from holdall_store.errors import FormatError, IntegrityError, RunNotFoundError
from holdall_store.format import flow_prefix, is_run_segment, segment_run_id
from holdall_store.repository._catalog import Catalog, FoundRun
from holdall_store.repository._run_rows import RunRow, make_row, with_tags
from holdall_store.repository._tags import TagLogs
from holdall_store.repository._views import RunView
from holdall_store.storage import Storage
from holdall_store.transfer import run_ordered

if TYPE_CHECKING:
    from holdall_store.repository._run_index import RunIndex  # which imports a database, for those who search

__all__ = ["Match", "RunSearch"]

CHUNK_RUNS: Final = 2000
"""Runs whose rows are in memory at a time: about two megabytes."""

CHUNK_RUNS_FIRST: Final = 64
"""The first runs are looked at alone: with a limit, these may be all that are wanted."""

READS_AT_ONCE: Final = 64
"""Records that are read at once, where each takes a while."""

LISTINGS_AT_ONCE: Final = 32
"""Parts of a listing that are made at once, where it is known how to part it."""

_END: Final = "~"
"""Sorts after the segment of every run."""

OnDamage = Callable[[IntegrityError | FormatError], None]


class Match(NamedTuple):
    """A run that was found; its view is here where its records were just read."""

    row: RunRow
    view: RunView | None


class _Seen(NamedTuple):
    """A run as a listing shows it; where slots would have cost more, they are ``None``."""

    segment: str
    slots: list[int] | None


class RunSearch:
    """Searches the runs of flows of one store."""

    def __init__(self, storage: Storage, catalog: Catalog, tags: TagLogs, index: RunIndex) -> None:
        self._storage = storage
        self._catalog = catalog
        self._tags = tags
        self._index = index

    def matches(
        self, namespace: str, flow: str, after: str, last: str, on_damage: OnDamage, *, first: int = CHUNK_RUNS_FIRST
    ) -> Iterator[Match]:
        """Yield the runs whose segments lie behind `after` and up to `last`, newest first; deleted ones are left out.

        What cannot be read goes to `on_damage`. `first` is how many runs are looked at before more than they are.
        """
        seen = self._seen(namespace, flow, after, last or _END)
        said = self._tags.listed(namespace, flow, after)
        behind: tuple[str, int] | None = None
        count = first
        while chunk := list(itertools.islice(seen, count)):
            count = CHUNK_RUNS
            tagged: dict[str, int] = {}
            for segment, slot in itertools.chain([behind] if behind else [], said):
                behind = None
                if segment > chunk[-1].segment:
                    behind = segment, slot
                    break
                tagged[segment] = slot
            yield from self._chunk(namespace, flow, chunk, tagged, on_damage)

    def view(self, namespace: str, flow: str, row: RunRow) -> RunView:
        """Return the whole of a run that has ended and was found; no listing is needed."""
        return self._catalog.found_run(namespace, flow, FoundRun(row.run, list(range(row.slots))))

    def _chunk(
        self, namespace: str, flow: str, chunk: list[_Seen], tagged: dict[str, int], on_damage: OnDamage
    ) -> Iterator[Match]:
        known = self._index.rows(namespace, flow, chunk[0].segment, chunk[-1].segment)
        stale = [each for each in chunk if _is_stale(each, known.get(each.segment))]
        views: dict[str, RunView] = {}
        for seen, read in zip(stale, self._read(namespace, flow, stale), strict=True):
            known.pop(seen.segment, None)
            if isinstance(read, RunView):
                views[seen.segment], known[seen.segment] = read, make_row(read)
            elif read is not None:
                on_damage(read)
        retold = [
            each.segment
            for each in chunk
            if each.segment in known and tagged.get(each.segment, -1) != known[each.segment].tag_slot
        ]
        for segment, row in self._retell(namespace, flow, retold, known, tagged, on_damage):
            known[segment] = row
        # A run of which it is said that its log has grown is looked at again, until it has.
        grown = [
            each
            for each in chunk
            if each.segment in known and known[each.segment].log_slots > known[each.segment].slots
        ]
        for seen, read in zip(
            grown, self._read(namespace, flow, [_Seen(each.segment, None) for each in grown]), strict=True
        ):
            before = known[seen.segment]
            if isinstance(read, RunView):
                row = make_row(read)
                row.tags, row.tag_slot, row.log_slots = before.tags, before.tag_slot, before.log_slots
                views[seen.segment], known[seen.segment] = read, row
        fresh = {*views, *retold}
        self._index.add(namespace, flow, ((segment, known[segment]) for segment in fresh if segment in known))
        for seen in chunk:
            found = known.get(seen.segment)
            if found is not None and not found.deleted:
                yield Match(found, views.get(seen.segment))

    def _read(
        self, namespace: str, flow: str, wanted: list[_Seen]
    ) -> Iterator[RunView | IntegrityError | FormatError | None]:
        """Yield what is known of each run, what is wrong with it, or ``None`` where it has no record yet."""

        def read(seen: _Seen) -> Iterator[tuple[RunView | IntegrityError | FormatError | None, int]]:
            run_id = segment_run_id(seen.segment)
            try:
                if seen.slots is None:
                    yield self._catalog.run(namespace, flow, run_id, deleted=True), 0
                else:
                    yield self._catalog.found_run(namespace, flow, FoundRun(run_id, seen.slots)), 0
            except RunNotFoundError:
                yield None, 0  # it died before its first record
            except (IntegrityError, FormatError) as error:
                yield error, 0

        return run_ordered(wanted, read, bytes_max=1, threads=self._threads(len(wanted)))

    def _retell(
        self,
        namespace: str,
        flow: str,
        segments: list[str],
        known: dict[str, RunRow],
        tagged: dict[str, int],
        on_damage: OnDamage,
    ) -> Iterator[tuple[str, RunRow]]:
        """Yield rows with the tags of now, of those runs of which something else is remembered."""

        def read(segment: str) -> Iterator[tuple[RunRow | IntegrityError | FormatError, int]]:
            row, slot = known[segment], tagged.get(segment)
            try:
                record = None if slot is None else self._tags.read(namespace, flow, row.run, slot)
            except (IntegrityError, FormatError) as error:
                yield error, 0
            else:
                yield with_tags(row, record), 0

        results = run_ordered(segments, read, bytes_max=1, threads=self._threads(len(segments)))
        for segment, result in zip(segments, results, strict=True):
            if isinstance(result, RunRow):
                yield segment, result
            else:
                on_damage(result)

    def _seen(self, namespace: str, flow: str, after: str, last: str) -> Iterator[_Seen]:
        """Yield the runs that there are, newest first."""
        if self._storage.traits.concurrency == 0:
            # On a disk every folder that is looked into takes a while, and their names are all that is needed.
            names = self._storage.list_folders(flow_prefix(namespace, flow), after)
            for segment in names:
                if segment > last:
                    return
                if is_run_segment(segment):
                    yield _Seen(segment, None)
            return
        cuts = self._index.boundaries(namespace, flow, after, last)
        if not cuts:
            yield from self._between(namespace, flow, (after, last))
            return
        parts = list(zip([after, *(cut + _END for cut in cuts)], [*cuts, last], strict=True))

        def listing(part: tuple[str, str]) -> Iterator[tuple[_Seen, int]]:
            for seen in self._between(namespace, flow, part):
                yield seen, 1

        yield from run_ordered(parts, listing, bytes_max=1 << 20, threads=min(LISTINGS_AT_ONCE, len(parts)))

    def _between(self, namespace: str, flow: str, part: tuple[str, str]) -> Iterator[_Seen]:
        for segment, slots in self._catalog.listed(namespace, flow, part[0]):
            if segment > part[1]:
                return
            yield _Seen(segment, slots)

    def _threads(self, count: int) -> int:
        return min(READS_AT_ONCE, count) if self._storage.traits.concurrency else 1


def _is_stale(seen: _Seen, row: RunRow | None) -> bool:
    return row is None or (seen.slots is not None and seen.slots[-1] + 1 != row.slots)
