"""A few rows of a large row group: only the first pages of its columns are fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdall_store.errors import FormatError
from holdall_store.tables._decode import assemble
from holdall_store.tables._pages import reach_of_rows
from holdall_store.tables._plan import Span, coalesce, covers, total
from holdall_store.tables._source import FetchedSource, Fill
from holdall_store.tables._units import GroupUnit

__all__ = ["HeadPlan"]

PAGE_ROWS: Final = 20_000
"""Writers end a page after so many rows, or after a megabyte, if not before."""

PAGE_BYTES: Final = 1 << 20

INDEX_BITS: Final = 17
"""A page of numbers of a dictionary has at most so many bits for each: dictionaries end at a megabyte, of eight bytes each
131 072. Where later pages are written out, their mean says too much of the first one."""

MARGIN: Final = 16
"""Pages differ in size: a sixteenth more than their mean is fetched, and 512 bytes for the header."""

RANGES_MAX: Final = 3
"""So few requests: with the footer's, four."""

SAVED_BYTES_MIN: Final = 512 << 10
"""If less would be saved, the row group is fetched as it is."""

ROUNDS: Final = 2


class HeadPlan:
    """How to read the first `rows` rows of the one row group of `unit`. Not for columns with lists, whose rows span pages."""

    def __init__(self, unit: GroupUnit, rows: int) -> None:
        self.unit = unit
        self.rows = rows
        self._chunks: Mapping[int, Span] = unit.chunks
        self.spans = self._guessed()

    @staticmethod
    def suits(unit: GroupUnit, rows: int) -> bool:
        """Tell whether a row group is large, its columns are plain, and only the first of its rows are wanted."""
        if unit.is_masked or len(unit.groups) != 1 or rows * 2 > unit.rows or unit.file.is_here:
            return False
        schema = unit.footer.metadata.schema
        if unit.footer.padded or any(schema.column(leaf).max_repetition_level for leaf in unit.chunks):
            return False
        return total(unit.first) - total(HeadPlan(unit, rows).spans) >= SAVED_BYTES_MIN

    def _guessed(self) -> list[Span]:
        group = self.unit.footer.metadata.row_group(self.unit.groups[0])
        spans = []
        for leaf, span in self._chunks.items():
            chunk = group.column(leaf)
            data = max(chunk.data_page_offset - span.begin, 0)
            plain = max(chunk.total_uncompressed_size, 1)
            share = min(max(PAGE_ROWS, self.rows) / self.unit.rows, 1.0)
            if share * plain > PAGE_BYTES:
                share = min(max(PAGE_BYTES / plain, self.rows / self.unit.rows), 1.0)
            page = int((span.length - data) * share * (1 + 1 / MARGIN))
            if data:
                page = min(page, max(PAGE_ROWS, self.rows) * INDEX_BITS // 8)
            page += 512
            spans.append(Span(span.begin, min(span.begin + data + page, span.end)))
        return _few(spans)

    def read(self, source: FetchedSource) -> Any:
        """Return the rows as a table, or ``None`` where pages are other than was thought: then all has to be fetched."""
        sparse = self.unit.file.sparse
        held: list[Span] = []
        wanted = self.spans
        for _ in range(ROUNDS):
            for _ in source.fetch([Fill(self.unit.file.file.found, wanted, sparse.view)], bytes_max=total(wanted)):
                sparse.add(wanted)
            held += wanted
            try:
                needed = self._needed(held)
            except ValueError:
                return None
            if covers(held, needed):
                return self._decode(needed)
            wanted = _few([span for span in needed if not covers(held, [span])])
        return None

    def _needed(self, held: list[Span]) -> list[Span]:
        """Return which bytes have the rows, as far as the headers tell that are there."""
        found = []
        for span in self._chunks.values():
            end = max(
                (min(have.end, span.end) for have in held if have.begin <= span.begin < have.end), default=span.begin
            )
            reach = reach_of_rows(self.unit.file.sparse.view[span.begin : end], self.rows)
            if reach is not None and span.begin + reach > span.end:
                raise ValueError("a page reaches beyond its chunk")
            found.append(span if reach is None else Span(span.begin, span.begin + reach))
        return found

    def _decode(self, needed: list[Span]) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        unit = self.unit
        unit.file.sparse.require(needed)
        own = unit.dictionaries
        try:
            file = pq.ParquetFile(
                unit.file.sparse.reader(),
                metadata=unit.footer.metadata,
                pre_buffer=False,
                read_dictionary=unit.footer.stored_names(own) or None,
                coerce_int96_timestamp_unit=unit.footer.int96_unit,
            )
            batches = file.reader.iter_batches(
                self.rows, row_groups=list(unit.groups), column_indices=sorted(self._chunks), use_threads=False
            )
            table = pa.Table.from_batches([next(iter(batches))])
        except (pa.ArrowException, OSError, ValueError, StopIteration):
            return None  # with all of its bytes it may be decoded, or raise what is wrong
        if table.num_rows != self.rows:
            raise FormatError(
                f"{unit.file.url}: a row group gives {table.num_rows} rows where {self.rows} were asked for."
            )
        columns = unit.footer.columns(dict(zip(table.schema.names, table.columns, strict=True)))
        return assemble(unit.query, unit.footer, unit.file.file.values, columns, self.rows)


def _few(spans: list[Span]) -> list[Span]:
    """Return at most `RANGES_MAX` spans that cover `spans`: the largest holes stay."""
    merged = coalesce(spans, 0, 0)
    holes = sorted(range(1, len(merged)), key=lambda at: merged[at].begin - merged[at - 1].end)
    filled = set(holes[: max(len(merged) - RANGES_MAX, 0)])
    found: list[Span] = []
    for at, span in enumerate(merged):
        if at in filled:
            found[-1] = Span(found[-1].begin, span.end)
        else:
            found.append(span)
    return found
