"""Rows become files: which rows share a row group, which row groups a file, and when a file is full."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables._bound import kernels
from holdall_store.tables._folders import share_out

__all__ = ["HELD_BYTES", "Layout", "MadeFile", "make_empty", "make_files", "sort_rows"]

ROW_GROUP_ROWS: Final = 1 << 20
"""Narrow rows: what statistics leave out is left out in pieces of no more than so many."""

SORTED_BYTES: Final = 256 << 20
"""Of a stream that is to be sorted, so much is held and sorted together, and becomes a file."""

HELD_BYTES: Final = 256 << 20
"""What waits for its file to be full; of many partitions at once the largest file is ended then."""


@dataclass(frozen=True)
class Layout:
    """How files are to be: ``sort_by`` are columns and whether they descend, and ``is_sorted`` says that the rows come so."""

    compression: str
    file_bytes: int
    row_group_bytes: int
    partition_by: tuple[str, ...] = ()
    sort_by: tuple[tuple[str, bool], ...] = ()
    is_sorted: bool = False

    @property
    def sorts(self) -> bool:
        """Whether the rows of a file are sorted here."""
        return bool(self.sort_by) and not self.is_sorted


@dataclass(frozen=True)
class MadeFile:
    """A file that is to be stored in a folder of the table."""

    folder: str
    data: Any
    rows: int


class _Open:
    """A file that is being made: rows that wait for their row group, and what is encoded."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._waiting: list[Any] = []
        self.waiting_bytes = 0
        self.waiting_rows = 0
        self._sink: Any = None
        self._writer: Any = None
        self._rows = 0

    @property
    def encoded_bytes(self) -> int:
        """How much of the file is made."""
        return 0 if self._sink is None else int(self._sink.tell())

    @property
    def held_bytes(self) -> int:
        """How much memory it takes."""
        return self.waiting_bytes + self.encoded_bytes

    def add(self, rows: Any) -> None:
        """Let rows wait."""
        self._waiting.append(rows)
        self.waiting_bytes += rows.nbytes
        self.waiting_rows += rows.num_rows

    def take(self) -> Any:
        """Return the rows that wait as one table, and let none wait."""
        import pyarrow as pa

        rows = pa.concat_tables(self._waiting)
        self._waiting, self.waiting_bytes, self.waiting_rows = [], 0, 0
        return rows

    def write(self, rows: Any, layout: Layout) -> None:
        """Encode rows as one row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            if self._writer is None:
                self._sink = pa.BufferOutputStream()
                # Texts that are the same go through a dictionary; a page index lets others skip pages.
                self._writer = pq.ParquetWriter(
                    self._sink,
                    rows.schema,
                    compression=layout.compression,
                    write_page_index=True,
                    sorting_columns=_sorting(rows.schema, layout),
                )
            self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        except (pa.ArrowException, NotImplementedError, ValueError) as error:
            raise UnsupportedTypeError(f"The rows cannot be written as Parquet: {error}") from error
        self._rows += rows.num_rows

    def end(self) -> MadeFile:
        """Return what was encoded as a file."""
        self._writer.close()
        made = MadeFile(self.folder, self._sink.getvalue(), self._rows)
        self._sink = self._writer = None
        self._rows = 0
        return made


def make_files(pieces: Iterable[Any], layout: Layout) -> Iterator[MadeFile]:
    """Yield the files that hold `pieces`, tables of one schema, in the order of their first rows within each folder.

    Held are at most `HELD_BYTES`, two pieces, and the file that is yielded.
    """
    files: dict[str, _Open] = {}
    held = 0
    for piece in pieces:
        for folder, rows in share_out(piece, layout.partition_by):
            if not rows.num_rows:
                continue
            file = files.setdefault(folder, _Open(folder))
            held -= file.held_bytes
            file.add(rows)
            yield from _advance(file, layout)
            held += file.held_bytes
        while held > HELD_BYTES:
            largest = max(files.values(), key=lambda each: each.held_bytes)
            del files[largest.folder]
            held -= largest.held_bytes
            yield from _finish(largest, layout)
    for file in files.values():
        yield from _finish(file, layout)


def _advance(file: _Open, layout: Layout) -> Iterator[MadeFile]:
    """Encode what is enough for a row group, and yield the file where it is full."""
    if layout.sorts:
        if file.waiting_bytes >= SORTED_BYTES:
            yield from _finish(file, layout)
    elif file.waiting_bytes >= layout.row_group_bytes or file.waiting_rows >= ROW_GROUP_ROWS:
        yield from _encode(file, layout)


def _encode(file: _Open, layout: Layout) -> Iterator[MadeFile]:
    rows = file.take()
    if layout.sorts:
        rows = sort_rows(rows, layout.sort_by)
    count = max(round(rows.nbytes / layout.row_group_bytes), math.ceil(rows.num_rows / ROW_GROUP_ROWS), 1)
    size = max(math.ceil(rows.num_rows / count), 1)  # all about the same: no small rest
    for begin in range(0, rows.num_rows, size):
        file.write(rows.slice(begin, size), layout)
        if file.encoded_bytes >= layout.file_bytes:
            yield file.end()


def _finish(file: _Open, layout: Layout) -> Iterator[MadeFile]:
    if file.waiting_rows:
        yield from _encode(file, layout)
    if file.encoded_bytes:
        yield file.end()


def make_empty(schema: Any, layout: Layout) -> MadeFile:
    """Return a file that has no rows, and tells the columns."""
    file = _Open("")
    file.write(schema.empty_table(), layout)
    return file.end()


def sort_rows(rows: Any, sort_by: Sequence[tuple[str, bool]]) -> Any:
    """Return rows sorted by columns, nulls last; rows that are equal in these stay as they come."""
    import pyarrow as pa

    plain = rows
    for name, _ in sort_by:
        at = rows.schema.get_field_index(name)
        kind = rows.schema.field(at).type
        if pa.types.is_dictionary(kind):  # by its values, not by their numbers
            plain = plain.set_column(at, name, plain.column(at).cast(kind.value_type))
    keys = [(name, "descending" if down else "ascending") for name, down in sort_by]
    try:
        return rows.take(kernels().sort_indices(plain.select([name for name, _ in sort_by]), sort_keys=keys))
    except (pa.ArrowException, NotImplementedError, TypeError) as error:
        raise UnsupportedTypeError(
            f"The rows cannot be sorted by {', '.join(name for name, _ in sort_by)}: {error}"
        ) from error


def _sorting(schema: Any, layout: Layout) -> Any:
    """Return what the footer says of the order, which is known by the numbers of plain columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if any(pa.types.is_nested(each.type) for each in schema):
        return None
    found = []
    for name, down in layout.sort_by:
        if name in schema.names:
            found.append(pq.SortingColumn(schema.get_field_index(name), descending=down, nulls_first=False))
    return found or None
