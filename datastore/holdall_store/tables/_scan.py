"""Reading: pieces are planned, fetched ahead, decoded beside each other, and given in their order."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from holdall_store.errors import FormatError
from holdall_store.tables._filters import Tally, equalities, look_at_filters
from holdall_store.tables._footer import SMALL_BYTES, Footer, cached_footer, load_footers
from holdall_store.tables._head import HeadPlan
from holdall_store.tables._plan import Span, cut, total
from holdall_store.tables._query import Query
from holdall_store.tables._resolve import TableFile
from holdall_store.tables._source import FetchedSource, Fill, Source
from holdall_store.tables._units import GroupUnit, OpenFile, Unit, WholeUnit, has_any, units_of

if TYPE_CHECKING:
    from holdall_store.tables._meter import Meter

__all__ = ["BYTES_AHEAD", "DECODERS", "Piece", "Scan"]

BYTES_AHEAD: Final = 128 << 20
"""What is fetched and not decoded yet holds at most about this much: 64 connections with a request and a half each."""

LATE_BYTES: Final = 64 << 20
"""So many bytes are looked at before the rest is fetched of those pieces that have rows."""

FILES_AT_ONCE: Final = 256
"""Footers of so many files are read before the first of them is."""

DECODERS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Decoding keeps a core busy: more threads than cores only take memory."""

Piece = tuple[TableFile, tuple[int, ...] | None]
"""A file, or some of its row groups."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One reading of a table.

    ``limit`` ends it after so many rows. ``known`` are columns that a file may have: one with others raises. With
    ``alone``, each file is decoded in one piece, so that every column of it lies in one piece of memory.
    """

    source: Source
    query: Query
    pieces: Sequence[Piece]
    limit: int | None = None
    ordered: bool = True
    known: frozenset[str] | None = None
    alone: bool = False
    bytes_ahead: int = BYTES_AHEAD
    meter: Meter | None = None

    def tables(self) -> Iterator[Any]:
        """Yield tables of the query's schema, with at least a row each."""
        left = self.limit
        if left == 0:
            return
        with contextlib.closing(self._tables()) as tables:
            for table in tables:
                if not table.num_rows:
                    continue
                if left is not None:
                    if table.num_rows >= left:
                        yield table.slice(0, left)
                        return
                    left -= table.num_rows
                yield table
                del table  # or it would stay until the next one is there

    def units(self, *, whole: bool = True, filters: bool = True, tally: Tally | None = None) -> Iterator[Unit]:
        """Yield the pieces to be read, in order; small files that nothing is known of are not looked into if `whole`.

        Bloom filters are fetched for it where that pays, if `filters`, and never for the first rows.
        """
        limit, query = self.limit, self.query
        left = limit
        size = FILES_AT_ONCE if limit is None else 1
        pieces = iter(self.pieces)
        while batch := list(itertools.islice(pieces, size)):
            size = min(size * 4, FILES_AT_ONCE)
            opened: Iterable[tuple[OpenFile, tuple[int, ...] | None]]
            opened = self._opened(batch, whole=whole and limit is None)
            if filters and limit is None and any(equalities(query.condition)):
                opened = list(opened)
                look_at_filters(self.source, query, opened, tally)
            for unit in self._units_of(opened):
                if left is not None and isinstance(unit, GroupUnit) and HeadPlan.suits(unit, left):
                    unit.head = HeadPlan(unit, left)
                yield unit
                if left is not None and isinstance(unit, GroupUnit) and unit.condition is None:
                    left -= unit.rows_at_most
                    if left <= 0:
                        return

    def _units_of(self, opened: Iterable[tuple[OpenFile, tuple[int, ...] | None]]) -> Iterator[Unit]:
        for file, groups in opened:
            if file.footer is None:
                yield WholeUnit(self.query, file, self._check)
            else:
                yield from units_of(self.query, file, groups, alone=self.alone, split=self.limit is not None)

    def _opened(self, batch: Sequence[Piece], *, whole: bool) -> Iterator[tuple[OpenFile, tuple[int, ...] | None]]:
        """Yield the files that can have rows, with their footers, except small ones that are fetched as a whole."""
        source, query = self.source, self.query
        chosen = [(file, groups) for file, groups in batch if query.condition_for(file) is not False]
        waits = [
            not (whole and isinstance(source, FetchedSource) and 0 < file.found.size <= SMALL_BYTES)
            or groups is not None
            or cached_footer(source, file.found) is not None
            for file, groups in chosen
        ]
        footers = load_footers(source, [file.found for (file, _), wait in zip(chosen, waits, strict=True) if wait])
        for (file, groups), wait in zip(chosen, waits, strict=True):
            if not wait:
                yield OpenFile(source, file, None), groups
                continue
            footer = next(footers)
            assert footer is not None
            self._check(footer)
            yield OpenFile(source, file.seen(footer), query.footer(footer, file)), groups

    def _check(self, footer: Footer) -> None:
        """Raise for a file with columns that the table is not known to have: they would be left out without a word."""
        if self.known is not None:
            for name in footer.schema.names:
                if name not in self.known:
                    raise FormatError(
                        f"{footer.url} has a column {name!r} that none of the files has whose footers gave the table its "
                        "schema: say schema='all' to look at every file, or select the columns that you want."
                    )

    def _tables(self) -> Generator[Any, None, None]:
        for kind, run in itertools.groupby(
            self._measured_units(), key=lambda unit: (unit.is_late, unit.head is not None)
        ):
            late = kind[0]
            if kind[1]:
                for unit in run:
                    table = unit.head.read(self.source)
                    yield from self._read([unit]) if table is None else [table]
                continue
            for window in self._windows(run, late=late):
                yield from (
                    self._read_late(list(window))
                    if late and isinstance(self.source, FetchedSource)
                    else self._read(window)
                )

    def _measured_units(self) -> Iterable[Unit]:
        """Return the pieces to be read, and tell how much they weigh where that is known without waiting."""
        if self.meter is None or self.limit is not None or len(self.pieces) > FILES_AT_ONCE:
            return self.units()
        units = list(self.units())
        self.meter.expect(sum(total([*unit.first, *unit.rest]) for unit in units))
        return units

    def _windows(self, run: Iterator[Unit], *, late: bool) -> Iterator[Iterable[Unit]]:
        """Yield the pieces of `run` in those groups in which they are begun together."""
        if self.limit is not None and self.query.condition is not None:
            size = 1
            while window := list(itertools.islice(run, size)):
                yield window
                size *= 2
        elif late and isinstance(self.source, FetchedSource):
            held, weight = [], 0
            for unit in run:
                held.append(unit)
                weight += sum(span.length for span in unit.first)
                if weight >= LATE_BYTES:
                    yield held
                    held, weight = [], 0
            if held:
                yield held
        else:
            yield run

    def _read(self, units: Iterable[Unit]) -> Iterator[Any]:
        return self._decode(self._fetch(units, lambda unit: unit.first), lambda unit: unit.decode())

    def _read_late(self, units: list[Unit]) -> Iterator[Any]:
        """Look at the columns of the condition first, and fetch the rest only where there are rows."""
        looked = []

        def look(unit: Any) -> Any:
            return unit, *unit.look()

        for unit, mask, columns in self._decode(self._fetch(units, lambda unit: unit.first), look):
            if has_any(mask):
                looked.append((unit, mask, columns))
            else:
                unit.release()
        found = {id(unit): (mask, columns) for unit, mask, columns in looked}
        fetched = self._fetch((unit for unit, _, _ in looked), lambda unit: unit.rest)
        yield from self._decode(fetched, lambda unit: unit.finish(*found.pop(id(unit))))

    def _fetch(self, units: Iterable[Unit], spans: Callable[[Unit], list[Span]]) -> Iterator[Unit]:
        """Yield pieces when their bytes are there."""
        if not isinstance(self.source, FetchedSource):
            for here in units:
                self._count(here, total([*here.first, *here.rest]))
                yield here
            return
        fills = (self._fill(unit, spans(unit)) for unit in units)
        for fill in self.source.fetch(fills, bytes_max=self.bytes_ahead, ordered=self.ordered):
            unit: Unit = fill.tag
            if fill.spans:
                unit.file.sparse.add(spans(unit))
            self._count(unit, total(spans(unit)))
            yield unit

    def _count(self, unit: Unit, count: int) -> None:
        if self.meter is not None:
            self.meter.add(unit.file.file.found.key, count)

    def _fill(self, unit: Unit, spans: list[Span]) -> Fill:
        found = unit.file.file.found
        if unit.file.is_here or not spans:
            return Fill(found, (), memoryview(b""), unit)
        return Fill(found, cut(spans), unit.file.sparse.view, unit)

    def _decode(self, units: Iterable[Unit], work: Callable[[Any], Any]) -> Iterator[Any]:
        """Yield ``work(unit)`` of all pieces, some at once."""
        pending: deque[Future[Any]] = deque()
        pool = ThreadPoolExecutor(DECODERS, "holdall-decode")
        try:
            for unit in units:
                pending.append(pool.submit(work, unit))
                if len(pending) > DECODERS:
                    yield self._next(pending).result()
            while pending:
                yield self._next(pending).result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _next(self, pending: deque[Future[Any]]) -> Future[Any]:
        if not self.ordered:
            for future in pending:
                if future.done():
                    pending.remove(future)
                    return future
        return pending.popleft()
