"""`Table`: a lazy reference to columnar files, and what can be asked of it."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

from holdall_store.errors import InvalidNameError, UnsupportedTypeError, nearest
from holdall_store.tables._arguments import check_condition, check_count, check_names, names_given
from holdall_store.tables._arrow_filter import filter_of
from holdall_store.tables._as_of import check_as_of
from holdall_store.tables._bound import bind
from holdall_store.tables._decode import concatenated
from holdall_store.tables._explain import (
    ColumnStats,
    Explanation,
    FileInfo,
)
from holdall_store.tables._expression import Expression, combine, from_values
from holdall_store.tables._given import given_source
from holdall_store.tables._handoff import HandOff, check_files, hand_off
from holdall_store.tables._names import names_within
from holdall_store.tables._partitions import check_partitioning
from holdall_store.tables._query import Query
from holdall_store.tables._resolve import check_sources
from holdall_store.tables._scan import BYTES_AHEAD, Scan
from holdall_store.tables._schema import project, select_paths, with_dictionaries
from holdall_store.tables._snapshot import LOGS, Snapshot, check_schema
from holdall_store.tables._written import Written

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as pads

    from holdall_store.transfer.s3 import Reporter

__all__ = ["Parts", "Table", "parts_of", "table_of"]

BATCH_BYTES: Final = 64 << 20
"""Large enough to make the work of a batch worthwhile, and small enough for some of them to fit anywhere."""

FILE_BYTES: Final = 128 << 20
"""Of a file that is written: large enough for few requests, and small enough for some workers to share a table."""

ROW_GROUP_BYTES: Final = 64 << 20
"""Of memory, so about 8 to 32 MiB in a file: each column of it is a range worth a request, and cores share a file."""

FORMATS: Final = ("parquet", *LOGS)


class Table:
    """A reference to columnar files, on disk or in a bucket, that reads only what is asked of it.

    `source` is a file, a folder, a glob (``**`` crosses folders), or a list of them: paths, ``s3://…``, or any URL that
    a store can have. `partitioning` is ``"hive"`` for folders like ``day=2026-11-01``, a list of names for folders
    like ``2026-11-01``, ``()`` for none; ``None`` looks whether all files lie in Hive's folders. `storage_options`
    are spelled as for `Client`. A folder with a log of Delta or Iceberg is read by that log, which says what its files,
    columns and deleted rows are; `as_of` means the state at a version (of Delta, and of what `write` wrote), a snapshot (of
    Iceberg) or a time, UTC's if it has no zone. `source` can be a `deltalake.DeltaTable`, a table of `pyiceberg`, or the path of a file of its
    metadata, too; `format` says what there is, where looking would take a listing. Else the schema is the union of the files', each column in the widest of its types;
    it is taken from 64 files spread over the table, or from every one if `schema` is ``"all"``, or is the
    `pyarrow.Schema` given: then other columns are left out, and those a file does not have are null.

    Nothing is read before it is needed, and a table never changes: `where`, `select` and `head` give new ones. What is
    first seen of the files (size, ETag or time of modification) holds for all tables made from this one, and for its
    pickles, which hold no secrets: a file that was replaced since raises `IntegrityError`. Order is that of the names
    of files, or of the list, and within them that of the rows.

    >>> import holdall
    >>> table = holdall.Table("s3://lake/events", partitioning="hive")
    >>> recent = table.where(day="2026-11-01", country=["US", "CA"]).where(holdall.col("x") > 3)
    >>> wanted = recent.select("user", "a.b").head(1000)  # of which wanted.to_pandas() reads what it needs
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Any,
        *,
        partitioning: str | Iterable[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        format: Literal["parquet", "delta", "iceberg"] | None = None,  # noqa: A002 - as pyarrow and polars call it
        schema: pa.Schema | Literal["all"] | None = None,
        as_of: int | str | datetime.date | None = None,
    ) -> None:
        if format is not None and format not in FORMATS:
            raise InvalidNameError(
                f"format={format!r:.80} is not understood: give 'parquet', 'delta', 'iceberg' or nothing."
                f"{nearest(str(format), FORMATS)}"
            )
        given = given_source(source, storage_options, format, check_as_of(as_of))
        addresses = check_sources(given.source)
        if given.as_of is not None and len(addresses) > 1:
            raise InvalidNameError("as_of= is for one table with versions, and not for a list of files.")
        self._snapshot: Any = Snapshot(
            addresses,
            given.options,
            check_partitioning(partitioning),
            check_schema(schema),
            given.format,
            given.as_of,
            given.opened,
        )
        self._condition: Expression | None = None
        self._columns: tuple[str, ...] | None = None
        self._limit: int | None = None
        self._pieces: tuple[Any, ...] | None = None

    shows_progress: bool | None = None
    """Whether long readings show a bar that nobody asked for; by default on a terminal and in a notebook."""

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self._pieces is not None and self._snapshot.is_pinned:  # a part need not know of the files of the others
            pieces = self._snapshot.pieces(self._pieces)
            state.update(_pieces=tuple(pieces), _snapshot=self._snapshot.with_files(file for file, _ in pieces))
        return state

    def __repr__(self) -> str:
        parts = [repr(self._snapshot.name)]
        parts += [f"where={self._condition!r}"] if self._condition is not None else []
        parts += [f"select={list(self._columns)!r}"] if self._columns is not None else []
        parts += [f"head={self._limit}"] if self._limit is not None else []
        return f"Table({', '.join(parts)})"

    def _derived(self, **changes: Any) -> Self:
        made: Self = object.__new__(type(self))
        made.__dict__.update(self.__dict__, **changes)
        return made

    # What it is -------------------------------------------------------------------------------------------------------

    @property
    def schema(self) -> pa.Schema:
        """The columns of the result and their types."""
        return self._query().schema

    @property
    def version(self) -> int | None:
        """The version that is read of a table that `write` wrote; ``None`` for all others."""
        version: int | None = self._snapshot.version
        return version

    def files(self) -> list[FileInfo]:
        """Return the files that rows can come from, as far as the folders' names tell."""
        found: list[FileInfo] = self._snapshot.files(self._query(selected=False), self._snapshot.pieces(self._pieces))
        return found

    def partitions(self) -> list[dict[str, Any]]:
        """Return the values of the partition columns that occur in `files`, each once, in order."""
        found: list[dict[str, Any]] = []
        for info in self.files():
            if info.partition and info.partition not in found[-1:] and info.partition not in found:
                found.append(dict(info.partition))
        return found

    @property
    def num_rows(self) -> int:
        """How many rows there are: from footers alone, except where a condition has to be looked up in columns."""
        return int(self._snapshot.count(self._scan(self._query(nothing=True))))

    def __len__(self) -> int:
        return self.num_rows

    @property
    def stats(self) -> dict[str, ColumnStats]:
        """The least and the largest value and the number of nulls of each column, from footers alone.

        They are those of all row groups that can have rows of the result; ``None`` where a footer does not tell.
        """
        if self._limit is not None:
            raise UnsupportedTypeError("stats are those of whole row groups: ask for them before head().")
        found: dict[str, ColumnStats] = self._snapshot.stats(self._scan(self._query()))
        return found

    def explain(self) -> Explanation:
        """Return what reading would take: files, row groups, requests, bytes. Footers are read for it, and no data."""
        found: Explanation = self._snapshot.explain(repr(self), self._scan(self._query()))
        return found

    # What is made from it ---------------------------------------------------------------------------------------------

    def where(self, *conditions: Expression, **values: Any) -> Self:
        """Return the rows for which all conditions are true: expressions of `col`, and columns' values, or lists of them.

        Files are left out by their folders and row groups by their statistics; what is left is looked at row by row.
        """
        if self._limit is not None:
            raise UnsupportedTypeError("where() after head() would look at some rows only: put head() last.")
        for condition in conditions:
            check_condition(condition)
        return self._derived(_condition=combine(self._condition, *conditions, from_values(values)))

    def select(self, *columns: str) -> Self:
        """Return these columns, in this order; ``"a.b"`` is the struct ``a`` with ``b`` alone.

        Raises `ColumnNotFoundError` when the columns are first needed, or now if they were selected from.
        """
        check_names(columns)
        if self._columns is not None:
            columns = self._narrowed(columns)
        return self._derived(_columns=tuple(dict.fromkeys(columns)))

    def _narrowed(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the names of what `columns` are of the selection: of a struct that was selected in part, that part."""
        assert self._columns is not None
        select_paths(columns, self.schema, f"The selection from {self._snapshot.name}")
        selected = select_paths(self._columns, self._snapshot.schema_of(self._columns), self._snapshot.name)
        return tuple(name for column in columns for name in names_within(column, selected, self.schema))

    def with_storage_options(self, storage_options: Mapping[str, Any]) -> Self:
        """Return the same table, of the same versions of its files, reached with other options, such as credentials.

        That is for a table that comes from a pickle, which holds none.
        """
        return self._derived(_snapshot=self._snapshot.with_options(storage_options))

    def head(self, n: int = 5) -> Self:
        """Return the first `n` rows; only the row groups that have them are read."""
        check_count(n, 0, "head() takes a number of rows")
        return self._derived(_limit=n if self._limit is None else min(n, self._limit))

    def split(self, n: int, by: Literal["bytes", "rows"] = "bytes") -> list[Self]:
        """Return `n` tables that have the rows of this one between them, in order and about equal in size.

        They are cut between row groups, so with less of these than `n` some are empty. Each pickles as a list of its
        files.
        """
        if self._limit is not None:
            raise UnsupportedTypeError("split() after head() would share out a few rows only: split first.")
        if by not in ("bytes", "rows"):
            raise InvalidNameError(f"by={by!r:.80} is not understood: give 'bytes' or 'rows'.")
        check_count(n, 1, "split() takes a number of tables")
        parts = self._snapshot.split(self._scan(self._query()), n, by)
        return [self._derived(_pieces=tuple(pieces)) for pieces in parts]

    # What is read -----------------------------------------------------------------------------------------------------

    def to_arrow(self, *, ordered: bool = True) -> pa.Table:
        """Read everything into a `pyarrow.Table`. With ``ordered=False`` rows come as they are fetched, which may be sooner."""
        with self._watched(self._scan(self._query(), ordered=ordered)) as scan:
            return concatenated(list(scan.tables()), scan.query.schema)

    def to_pandas(
        self,
        *,
        dtype_backend: Literal["pyarrow", "numpy_nullable"] | None = None,
        categories: Iterable[str] | str | None = None,
        index: str | Iterable[str] | Literal[False] | None = None,
        ordered: bool = True,
    ) -> pd.DataFrame:
        """Read everything into a frame, with no needless copy.

        Arrays may be read-only views of Arrow's memory: pandas copies them when they are written to. `categories` are
        columns of texts to be given as categories; `index` names the columns of the index, ``None`` leaves that to what
        pandas wrote into the files, and ``False`` numbers the rows.
        """
        from holdall_store.tables._pandas import to_pandas

        chosen = names_given(categories, "categories")
        query = self._query(dictionaries=chosen)
        whole = self._condition is None and self._limit is None and self._pieces is None
        with self._watched(self._scan(query, ordered=ordered)) as scan:
            return to_pandas(scan, dtype_backend, chosen, index, whole=whole)

    def to_polars(self, *, ordered: bool = True) -> pl.DataFrame:
        """Read everything into a frame of polars, which shares Arrow's memory where it can."""
        from holdall_store.tables._pandas import to_polars

        frame: pl.DataFrame = to_polars(self.to_arrow(ordered=ordered))
        return frame

    def batches(self, bytes: int = BATCH_BYTES, *, ordered: bool = True) -> Iterator[pa.RecordBatch]:  # noqa: A002
        """Yield everything in batches of about so many bytes of memory, while the next ones are fetched.

        Some row groups, and what is fetched ahead of them, are held beside the batch.
        """
        check_count(bytes, 1, "batches() takes a number of bytes")
        scan = self._scan(self._query(), ordered=ordered, bytes_ahead=min(max(bytes, 1 << 20), BYTES_AHEAD))
        for table in scan.tables():
            rows = max(table.num_rows * bytes // max(table.nbytes, 1), 1)
            yield from table.combine_chunks().to_batches(max_chunksize=rows)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(self.schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)

    def dataset(self) -> pads.Dataset:
        """Return the files as a `pyarrow.dataset.Dataset`, for whoever takes one, without selection and `head`.

        Files that are known by their folders to have no rows of the result are left out; other conditions go with a
        scan: ``table.dataset().to_table(filter=table.arrow_filter())``. It reads on its own, and knows no pinning.
        """
        return self._snapshot.dataset(self._scan(self._query()))

    def arrow_filter(self) -> Any:
        """Return the conditions as an expression of pyarrow's, or ``None`` where there are none."""
        return filter_of(self._query())

    # What engines read by themselves -----------------------------------------------------------------------------------

    def to_dask(
        self,
        npartitions: int | None = None,
        *,
        dtype_backend: Literal["pyarrow", "numpy_nullable"] = "pyarrow",
    ) -> Any:
        """Return a `dask.dataframe.DataFrame`, whose partitions are parts of this table, read by the workers.

        By default they are of about 128 MiB in the files. Columns that Dask needs no more are not read.
        """
        from holdall_store.tables._shards import Shard, to_dask

        return to_dask(Shard(self, self._snapshot.options), npartitions, dtype_backend, splits=self._limit is None)

    def to_ray(self, *, override_num_blocks: int | None = None) -> Any:
        """Return a `ray.data.Dataset`, whose tasks read parts of this table."""
        from holdall_store.tables._shards import Shard, to_ray

        return to_ray(Shard(self, self._snapshot.options), override_num_blocks, splits=self._limit is None)

    def to_spark(self, session: Any) -> Any:
        """Return a `pyspark.sql.DataFrame` of `session`, which reads the files by itself.

        All files are compared with what was seen of them now, and no more when Spark reads. What it has no type for is
        refused by name, as are parts made by `split`; which rows `head` means is Spark's choice.
        """
        from holdall_store.tables._spark import to_spark

        return to_spark(self._given("Spark"), session)

    def to_daft(self) -> Any:
        """Return a `daft.DataFrame`, which reads the files by itself.

        All files are compared with what was seen of them now, and no more when Daft reads; which rows `head` means is
        its choice.
        """
        from holdall_store.tables._daft import to_daft

        return to_daft(self._given("Daft"))

    def to_duckdb(self, connection: Any = None) -> Any:
        """Return a `duckdb.DuckDBPyRelation` of `connection`, by default that of ``duckdb.sql``.

        It reads the files by itself, of a bucket through Arrow. They are compared with what was seen of them now, and no
        more when DuckDB reads.
        """
        from holdall_store.tables._duckdb import to_duckdb

        scan = self._scan(self._query())
        return to_duckdb(hand_off(scan, self._snapshot, "DuckDB"), scan, connection)

    def _given(self, engine: str) -> HandOff:
        return hand_off(self._scan(self._query()), self._snapshot, engine)

    def verify(self) -> None:
        """Raise `IntegrityError` if a file is not the one that was seen any more: after an engine has read them, say."""
        if self._snapshot.source is not None:  # what a store holds never changes
            check_files(self._snapshot.source, [file for file, _ in self._snapshot.pieces(self._pieces)])

    # Writing ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def write(
        url: str | os.PathLike[str],
        frame: Any,
        *,
        mode: Literal["append", "overwrite", "overwrite_partitions", "error"] = "append",
        partition_by: Iterable[str] | str | None = None,
        sort_by: Iterable[str | tuple[str, str]] | str = (),
        merge_schema: bool = False,
        keep_replaced: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        compression: str = "zstd",
        file_bytes: int = FILE_BYTES,
        row_group_bytes: int = ROW_GROUP_BYTES,
    ) -> Written:
        """Write the rows of `frame` to the table in the folder `url`, all in one commit, and return what was done.

        `frame` is one of pandas or polars, a `pyarrow.Table`, another `Table`, anything with ``__arrow_c_stream__``, or an
        iterable of record batches; the last three are streamed. `mode` says what becomes of the rows that are there: they
        stay (``"append"``), go (``"overwrite"``), go where the frame has rows of the same partition
        (``"overwrite_partitions"``), or make it an error (``"error"``, an `AlreadyExistsError`). Readers see the old rows
        or the new ones; of several writers none is lost.

        `partition_by` are columns that become folders such as ``day=2026-11-01``; left out, they are those of the table.
        `sort_by` are columns, or pairs such as ``("x", "descending")``: a frame in memory is sorted as a whole, a stream
        file by file. The columns must be those of the table; with `merge_schema`, new ones come to it, those that lack are
        null, and types are widened as for reading. With `keep_replaced`, files that are replaced stay, so that older
        versions can be read with ``as_of``. Files are ended after `file_bytes`, and row groups after `row_group_bytes` of
        memory.

        >>> holdall.Table.write("s3://lake/events", frame, partition_by=["day"], sort_by="user")
        """
        from holdall_store.tables._write import Options, write_table  # for those who write

        flags = {"merge_schema": merge_schema, "keep_replaced": keep_replaced}
        options = Options.check(mode, partition_by, sort_by, compression, file_bytes, row_group_bytes, **flags)
        return write_table(url, frame, options, storage_options)

    @staticmethod
    def vacuum(
        url: str | os.PathLike[str],
        *,
        older_than: datetime.timedelta | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> int:
        """Delete the files of the table at `url` that no version of the last 7 days needs, and return how many they were.

        They are those that were replaced and kept, and what writes left behind that did not come to their end.
        `older_than` is another time than 7 days, which has to be longer than any write takes.
        """
        from holdall_store.tables._vacuum import vacuum
        from holdall_store.tables._write import check_address

        return vacuum(check_address(url), older_than, storage_options)

    # What all of these stand on ---------------------------------------------------------------------------------------

    def _default_reporter(
        self,
        statistics: Callable[[], Mapping[str, Any]],  # noqa: ARG002 - who shows them asks
    ) -> contextlib.AbstractContextManager[Reporter | None]:
        """Return who gets the progress of a long reading: here nobody, elsewhere a bar, which asks for `statistics`."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _watched(self, scan: Any) -> Generator[Any, None, None]:
        """Give a reading that reports how far it has come, if anybody wants to know."""
        counts = {"bytes_in": 0}
        with self._default_reporter(lambda: counts) as report:
            if report is not None and isinstance(scan, Scan):
                from holdall_store.tables._meter import Meter

                scan = replace(scan, meter=Meter(report, counts, len(scan.pieces)))
            yield scan

    def _query(self, *, selected: bool = True, nothing: bool = False, dictionaries: tuple[str, ...] = ()) -> Query:
        snapshot = self._snapshot
        chosen = self._columns if selected else None
        looked = set() if self._condition is None else self._condition.columns()
        if nothing:
            snapshot.check_names(chosen or ())
            whole, wanted = snapshot.schema_of(looked), dict[str, Any]()
        elif chosen is None:
            whole = snapshot.schema_of(None)
            wanted = dict.fromkeys(whole.names)
        else:
            whole = snapshot.schema_of({*chosen, *dictionaries} | looked)
            wanted = select_paths(chosen, whole, snapshot.name)
        names = snapshot.listing.names
        whole = with_dictionaries(whole, dictionaries, snapshot.name)
        condition = None if self._condition is None else bind(self._condition, whole, snapshot.name)
        stored = {name: inner for name, inner in wanted.items() if name not in names}
        return Query(project(whole, wanted), whole, stored, condition, names, dictionaries, snapshot.listing.log)

    def _scan(self, query: Query, **how: Any) -> Any:
        snapshot = self._snapshot
        known = None
        if self._columns is None and snapshot.is_sampled:
            known = frozenset(query.table.names)
        return snapshot.scan(query, snapshot.pieces(self._pieces), self._limit, known=known, **how)


class Parts(NamedTuple):
    """What a table is made of: `snapshot` is a `Snapshot` or what stands in for one, and `pieces` are of its kind."""

    snapshot: Any
    condition: Expression | None = None
    columns: tuple[str, ...] | None = None
    limit: int | None = None
    pieces: tuple[Any, ...] | None = None


def parts_of(table: Table) -> Parts:
    """Return what a table is made of, for whoever saves it."""
    return Parts(*(vars(table)[f"_{name}"] for name in Parts._fields))


def table_of(parts: Parts) -> Table:
    """Return the table that is made of these parts."""
    made: Table = object.__new__(Table)
    vars(made).update({f"_{name}": part for name, part in zip(Parts._fields, parts, strict=True)})
    return made
