"""A frame that somebody keeps as columns, asked like a table of files: only the columns that are needed are loaded."""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdall_store.errors import ColumnNotFoundError, InvalidNameError, nearest
from holdall_store.tables._bound import evaluate, kernels, plain
from holdall_store.tables._explain import ColumnStats, Explanation, FileInfo
from holdall_store.tables._names import take_path
from holdall_store.tables._query import Query
from holdall_store.tables._resolve import Listing
from holdall_store.tables._table import Parts, Table, table_of

__all__ = ["Frame", "FrameScan", "FrameSnapshot", "frame_table"]

Rows = tuple[int, int]
"""The first row of a part of a frame, and the one after its last."""


class Frame(ABC):
    """Columns that are kept somewhere. It is immutable, pickles as a reference, and any thread may call it."""

    name: str
    columns: Sequence[str]
    """The names of the columns, each once; `load` may know more, such as those of an index."""
    rows: int
    schema: Any
    """The types, if they are known before anything is loaded, or ``None``."""

    @abstractmethod
    def load(self, names: Sequence[str]) -> Any:
        """Return a `pyarrow.Table` with these columns, and with those that come along with any (an index)."""

    @abstractmethod
    def bytes_of(self, names: Iterable[str]) -> int:
        """Return how many bytes these columns have where they are kept, before compression."""


def frame_table(frame: Frame) -> Table:
    """Return a frame as a table."""
    return table_of(Parts(FrameSnapshot(frame)))


class FrameSnapshot:
    """What a `Table` of a frame stands on, as `Snapshot` is for files."""

    is_pinned = False
    """A frame never changes: there is nothing to be pinned to."""

    is_sampled = False
    options: Mapping[str, Any] = {}
    source = None

    version = None

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.name = frame.name
        self.listing = Listing(())
        self._lock = threading.Lock()
        self._fields: dict[str, Any] = {}
        self._metadata: Any = None
        self._extra: tuple[str, ...] | None = None
        self._loaded: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_loaded": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def schema_of(self, names: Iterable[str] | None) -> Any:
        """Return the schema of the columns that names lead to, or of all; they are loaded if it is not known before."""
        import pyarrow as pa

        if self.frame.schema is not None:
            return self.frame.schema
        wanted = list(self.frame.columns) if names is None else [self._column(name) for name in names]
        if not wanted and names is not None:
            return pa.schema([])
        with self._lock:
            if self._extra is None or any(name not in self._fields for name in wanted):
                self._learn([name for name in dict.fromkeys(wanted) if name in self.frame.columns])
            assert self._extra is not None
            order = [*self.frame.columns, *self._extra]
            chosen = {*wanted, *(self._extra if names is None else ())}
            return pa.schema([self._fields[name] for name in order if name in chosen], self._metadata)

    def check_names(self, names: Sequence[str]) -> None:
        """Raise `ColumnNotFoundError` for a name that leads to no column; fields of structs are looked at later."""
        for name in names:
            self._column(name)

    def _learn(self, names: list[str]) -> Any:
        from holdall_store.tables._schema import normal_schema

        self._loaded = loaded = self.frame.load(names)
        schema = normal_schema(loaded.schema, self.name)
        self._fields.update({field.name: field for field in schema})
        self._extra = tuple(name for name in schema.names if name not in self.frame.columns)
        self._metadata = schema.metadata

    def _column(self, name: str) -> str:
        """Return the column that a name leads to, whose dots may lead into structs."""
        known = [*self.frame.columns, *(self._extra or ())]
        for candidate in (name, *(name[:at] for at, char in enumerate(name) if char == ".")):
            if candidate in known:
                return candidate
        if self._extra is None:  # an index has columns, too, and they are known when anything is loaded
            with self._lock:
                self._learn([])
            return self._column(name)
        raise ColumnNotFoundError(f"{self.name} has no column {name!r:.200}.{nearest(name, known)}")

    def load(self, names: Sequence[str]) -> Any:
        """Return columns, those that were just loaded to learn their types without loading them again."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
        if loaded is not None and set(names) <= set(loaded.schema.names):
            return loaded
        return self.frame.load([name for name in names if name in self.frame.columns])

    def pieces(self, chosen: Any) -> Sequence[Rows]:
        """Return the rows that a table has."""
        return ((0, self.frame.rows),) if chosen is None else chosen

    def scan(self, query: Query, pieces: Sequence[Rows], limit: int | None, **how: Any) -> FrameScan:
        """Return a reading of the frame."""
        return FrameScan(self, query, tuple(pieces), limit, alone=bool(how.get("alone")))

    def with_options(self, storage_options: Mapping[str, Any]) -> FrameSnapshot:
        """Return the same: a frame is reached as the store is in which it lies."""
        if storage_options:
            raise InvalidNameError(
                f"{self.name} is in a store, whose client has the options: a table of it takes none."
            )
        return self

    def files(self, query: Query, pieces: Sequence[Rows]) -> list[FileInfo]:
        """Return the frame itself, once for each of its parts that has rows."""
        whole = self.frame.bytes_of(query.needed)
        return [
            FileInfo(self.name, whole * (end - begin) // max(self.frame.rows, 1), {})
            for begin, end in pieces
            if begin < end
        ]

    def count(self, scan: FrameScan) -> int:
        """Return how many rows there are."""
        if scan.query.condition is None:
            rows = sum(end - begin for begin, end in scan.pieces)
            return rows if scan.limit is None else min(rows, scan.limit)
        return sum(table.num_rows for table in scan.tables())

    def explain(self, name: str, scan: FrameScan) -> Explanation:
        """Return what a reading would take."""
        rows = sum(end - begin for begin, end in scan.pieces)
        return Explanation(
            table=name,
            files=0,
            files_read=0,
            row_groups=1,
            row_groups_read=1,
            requests=0,
            bytes=self.frame.bytes_of(scan.needed),
            late_bytes=0,
            bytes_of_files=self.frame.bytes_of(self.frame.columns),
            rows_at_most=rows if scan.limit is None else min(rows, scan.limit),
            columns=tuple(scan.query.schema.names),
        )

    def stats(self, scan: FrameScan) -> dict[str, ColumnStats]:
        """Return the bounds of columns, which are looked up in the values: nobody has written them down."""
        import pyarrow as pa

        pc = kernels()
        table = pa.concat_tables(scan.tables()) if self.count(scan) else scan.query.schema.empty_table()
        found = {}
        for name, column in zip(table.schema.names, table.columns, strict=True):
            try:
                bounds = pc.min_max(column).as_py()
            except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
                bounds = {"min": None, "max": None}
            found[name] = ColumnStats(bounds["min"], bounds["max"], column.null_count)
        return found

    def split(self, scan: FrameScan, n: int, by: str) -> list[list[Rows]]:  # noqa: ARG002 - rows weigh the same
        """Return the rows that each of `n` parts has."""
        begin, end = scan.pieces[0] if scan.pieces else (0, 0)
        edges = [begin + (end - begin) * at // n for at in range(n + 1)]
        return [[(first, last)] for first, last in itertools.pairwise(edges)]

    def dataset(self, scan: FrameScan) -> Any:
        """Return the columns as a dataset in memory."""
        import pyarrow.dataset as pads

        return pads.dataset(self.load(scan.needed).select(scan.query.table.names))


@dataclass(frozen=True, slots=True)
class FrameScan:
    """One reading of a frame."""

    snapshot: FrameSnapshot
    query: Query
    pieces: tuple[Rows, ...]
    limit: int | None = None
    alone: bool = False

    @property
    def source(self) -> None:
        """No place with files."""

    @property
    def needed(self) -> list[str]:
        """The columns that are loaded."""
        return self.query.needed

    def tables(self) -> Iterator[Any]:
        """Yield tables of the query's schema, with at least a row each."""
        loaded = self.snapshot.load(self.needed)
        left = self.limit
        for begin, end in self.pieces:
            part = loaded.slice(begin, end - begin)
            if self.query.condition is not None:
                part = part.filter(self._mask(part))
            if left is not None:
                part = part.slice(0, left)
                left -= part.num_rows
            if part.num_rows:
                yield self._projected(part)

    def _mask(self, part: Any) -> Any:
        pc = kernels()
        table = self.query.table

        def column(path: tuple[str, ...]) -> Any:
            found = part.column(path[0])
            for name in path[1:]:
                found = pc.struct_field(found, name)
            return found.cast(plain(take_path(table.field(path[0]).type, path[1:])))

        assert self.query.condition is not None
        return evaluate(self.query.condition, column)

    def _projected(self, part: Any) -> Any:
        import pyarrow as pa

        schema = self.query.schema
        if not len(schema):
            batch = pa.RecordBatch.from_struct_array(pa.array([{}] * part.num_rows, pa.struct([])))
            return pa.Table.from_batches([batch])
        columns = [part.column(field.name).cast(field.type) for field in schema]
        return pa.Table.from_arrays(columns, schema=schema)
