"""From whatever holds rows to Arrow's tables, one after the other."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables._pandas_metadata import column_names
from holdall_store.tables._schema import normal

__all__ = ["PIECE_BYTES", "Rows", "rows_of", "slices"]

PIECE_BYTES: Final = 32 << 20
"""A frame in memory is taken in pieces of about this size: what is made of one is written before the next is looked at."""

_WAYS: Final = (
    "give a frame of pandas or polars, a pyarrow Table or RecordBatchReader, a holdall.Table, anything that has "
    "__arrow_c_stream__, or an iterable of record batches"
)


@dataclass(frozen=True)
class Rows:
    """Rows to be written: their schema, and tables of it. ``whole`` is the only one, where all is in memory."""

    schema: Any
    pieces: Iterator[Any]
    whole: Any = None


def rows_of(frame: Any) -> Rows:
    """Return what a caller gives as rows; what holds none raises `UnsupportedTypeError`."""
    import pyarrow as pa

    kind = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__name__}"
    if kind == "pandas.DataFrame":
        return _whole(_from_pandas(frame))
    if kind == "polars.LazyFrame":
        raise UnsupportedTypeError("A LazyFrame of polars has no rows yet: give frame.collect().")
    if kind == "polars.DataFrame":
        return _whole(_from_polars(frame))
    if kind in ("pandas.Series", "polars.Series"):
        raise UnsupportedTypeError(f"A {kind} is one column, and a table has named ones: give its to_frame().")
    if isinstance(frame, pa.RecordBatch):
        return _whole(pa.Table.from_batches([frame]))
    if isinstance(frame, pa.Table):
        return _whole(frame)
    if isinstance(frame, str | bytes | dict):
        raise UnsupportedTypeError(f"A {type(frame).__name__} holds no rows that can be written: {_WAYS}.")
    if hasattr(frame, "__arrow_c_stream__"):
        return _stream(frame)
    if callable(getattr(frame, "to_batches", None)) and hasattr(frame, "schema"):  # a dataset of pyarrow's
        return _checked(frame.schema, frame.to_batches())
    if isinstance(frame, Iterable):
        return _many(iter(frame))
    raise UnsupportedTypeError(f"A {type(frame).__name__} holds no rows that can be written: {_WAYS}.")


def _from_pandas(frame: Any) -> Any:
    """Return a frame as a table; an index that only counts the rows is none, and one of texts, say, becomes columns."""
    import pandas as pd
    import pyarrow as pa

    counts = isinstance(frame.index, pd.RangeIndex) and frame.index.equals(pd.RangeIndex(len(frame)))
    keep = False if counts and frame.index.name is None else None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The DataFrame has column names of mixed type")  # they are looked at here
            table = pa.Table.from_pandas(frame, preserve_index=keep)
            if any(not isinstance(name, str) for name in frame.columns):
                table = _with_names(table, frame)
    except UnsupportedTypeError:
        raise
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = "; ".join(str(part) for part in error.args if str(part)) or type(error).__name__
        raise UnsupportedTypeError(f"The frame cannot be written as a table: {reason:.500}.") from error
    return table


def _with_names(table: Any, frame: Any) -> Any:
    """Return a table that tells the names of the frame's columns, which are no texts, or raise if Arrow would lose them."""
    import pyarrow as pa

    schema = pa.Table.from_pandas(frame.head(0).reset_index(drop=True), preserve_index=None).schema
    found = column_names(schema)[1]
    if found is None or [(type(each), each) for each in found] != [(type(each), each) for each in frame.columns]:
        name = next(each for each in frame.columns if not isinstance(each, str))
        raise UnsupportedTypeError(
            f"The column {name!r:.200} has a name that is no text and that Parquet would not give back: rename it, as by "
            "frame.columns = frame.columns.map(str)."
        )
    noted = {**(table.schema.pandas_metadata or {}), "column_indexes": schema.pandas_metadata["column_indexes"]}
    return table.replace_schema_metadata({b"pandas": json.dumps(noted).encode()})


def _from_polars(frame: Any) -> Any:
    """Return a frame as a table; Arrow would take objects of Python's for the bytes of their addresses."""
    import pyarrow as pa

    for name, kind in frame.schema.items():
        if _holds_objects(kind):
            raise UnsupportedTypeError(
                f"The column {name!r} is {kind}, of Python's objects, which a table cannot hold: cast it, or leave it out."
            )
    try:
        return frame.to_arrow()
    except (pa.ArrowException, NotImplementedError, ValueError, TypeError) as error:
        for name, kind in frame.schema.items():
            try:
                frame.select(name).head(0).to_arrow()
            except (pa.ArrowException, NotImplementedError, ValueError, TypeError):
                raise UnsupportedTypeError(
                    f"The column {name!r} is {kind}, which a table cannot hold: {error}. Cast it, or leave it out."
                ) from error
        raise UnsupportedTypeError(f"The frame cannot be written as a table: {error}") from error


def _holds_objects(kind: Any) -> bool:
    """Tell whether a type of polars is of Python's objects, or has them within."""
    parts = [field.dtype for field in getattr(kind, "fields", ())] or [getattr(kind, "inner", None)]
    return str(kind) == "Object" or any(_holds_objects(part) for part in parts if part is not None)


def _has_list_views(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return True
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return any(_has_list_views(kind.field(at).type) for at in range(kind.num_fields))
    return pa.types.is_nested(kind) and hasattr(kind, "value_type") and _has_list_views(kind.value_type)


def _whole(table: Any) -> Rows:
    schema = normal_frame(table.schema)
    table = _in_schema(table, schema)
    return Rows(schema, slices(table), table)


def normal_frame(schema: Any) -> Any:
    """Return the schema in which a frame is written: plain texts and lists, dictionaries with indices of 32 bits.

    What was narrower would have no room for the categories of two frames together.
    """
    import pyarrow as pa

    names = schema.names
    if not names:
        raise UnsupportedTypeError("There are no columns: a table has at least one.")
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise UnsupportedTypeError(f"Two columns are called {twice!r}: rename one of them.")
    ended = next((name for name in names if "\0" in name), None)
    if ended is not None:  # where tables pass from one library to another, it would end there
        raise UnsupportedTypeError(f"The name of the column {ended!r} holds a null character: rename it.")
    fields = []
    for field in schema:
        if _has_list_views(field.type):  # what Arrow casts it to is no list that it can write
            raise UnsupportedTypeError(
                f"The column {field.name!r} is {field.type}, and lists are written as lists: make it one, as by "
                "pa.array(column.to_pylist())."
            )
        kind = normal(field.type)
        if pa.types.is_dictionary(kind):
            kind = pa.dictionary(pa.int32(), kind.value_type, kind.ordered)
        fields.append(field.with_type(kind).with_nullable(True).remove_metadata())
    kept = (schema.metadata or {}).get(b"pandas")
    return pa.schema(fields, {b"pandas": kept} if kept else None)


def _in_schema(table: Any, schema: Any) -> Any:
    """Return a table in the schema that is the normal one of its own."""
    import pyarrow as pa

    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def slices(table: Any) -> Iterator[Any]:
    """Yield the rows of a table in pieces that are not too large."""
    rows = table.num_rows
    size = max(rows * PIECE_BYTES // max(table.nbytes, 1), 1)
    for begin in range(0, rows, size):
        yield table.slice(begin, size)


def _stream(frame: Any) -> Rows:
    import pyarrow as pa

    try:
        reader = pa.RecordBatchReader.from_stream(frame)
    except (pa.ArrowException, NotImplementedError, ValueError) as error:
        raise UnsupportedTypeError(f"A {type(frame).__name__} is no stream of rows: {error}. {_WAYS}.") from error
    return _checked(reader.schema, reader)


def _many(frames: Iterator[Any]) -> Rows:
    """Return an iterable of batches, of which the first one tells the schema."""
    first = next(frames, None)
    if first is None:
        raise UnsupportedTypeError("There is no batch, and so nobody knows the columns: give at least an empty one.")
    head = rows_of_batch(first)

    def pieces() -> Iterator[Any]:
        yield head
        for number, frame in enumerate(frames, 1):
            yield _fitting(rows_of_batch(frame), head.schema, number)

    return _checked(head.schema, pieces())


def rows_of_batch(frame: Any) -> Any:
    """Return one batch of an iterable as a table."""
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if isinstance(frame, Iterable) and not hasattr(frame, "__arrow_c_stream__"):
        raise UnsupportedTypeError(f"An iterable of {type(frame).__name__} holds no rows that can be written: {_WAYS}.")
    rows = rows_of(frame)
    return pa.concat_tables([rows.schema.empty_table(), *rows.pieces])


def _fitting(table: Any, schema: Any, number: int) -> Any:
    import pyarrow as pa

    if table.schema.names != schema.names:
        raise UnsupportedTypeError(
            f"Batch {number} has the columns {', '.join(table.schema.names)}, and the first one {', '.join(schema.names)}."
        )
    try:
        return table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise UnsupportedTypeError(f"Batch {number} has other types than the first one: {error}") from error


def _checked(schema: Any, batches: Iterable[Any]) -> Rows:
    import pyarrow as pa

    normed = normal_frame(schema)

    def pieces() -> Iterator[Any]:
        for batch in batches:
            table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
            yield from slices(_in_schema(table, normed))

    return Rows(normed, pieces())
