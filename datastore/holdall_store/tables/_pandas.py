"""From Arrow to frames: one piece of memory per column, and none of them twice."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from holdall_store.errors import (
    ColumnNotFoundError,
    InvalidNameError,
    MissingDependencyError,
    UnsupportedTypeError,
    nearest,
)
from holdall_store.tables._decode import concatenated
from holdall_store.tables._objects import shared_objects
from holdall_store.tables._pandas_metadata import column_names, for_frame
from holdall_store.tables._scan import Scan
from holdall_store.tables._source import MappedSource

__all__ = ["to_pandas", "to_polars"]

Index = str | Iterable[str] | Literal[False] | None


def to_pandas(
    scan: Scan, dtype_backend: str | None, categories: Sequence[str], index: Index, *, whole: bool = False
) -> Any:
    """Read a scan, which is that of a `whole` table or of some of its rows, into a frame of pandas."""
    if importlib.util.find_spec("pandas") is None:  # before anything is read
        raise MissingDependencyError("to_pandas() needs pandas: pip install pandas.")
    names = _index_names(index, scan.query.schema)
    mapper = _mapper(dtype_backend)
    # Where all is here and one file is all there is, Arrow decodes every column into one piece at once.
    alone = isinstance(scan.source, MappedSource) and len(scan.pieces) == 1 and scan.limit is None
    table = _joined(replace(scan, alone=alone).tables(), scan.query.schema)
    if categories:
        table = table.unify_dictionaries()
    texts, given = column_names(table.schema)
    objects: dict[str, Any] = {}
    if mapper is None:
        table, objects = shared_objects(table, _typed(table.schema))
    table = table.replace_schema_metadata(for_frame(table.schema, index=index is None, whole=whole).metadata)
    frame = _frame(table, mapper)
    for name in list(objects):
        frame.isetitem(frame.columns.get_loc(name), objects.pop(name)[frame[name].to_numpy()])
    if names:
        frame = frame.set_index(names)
    if given is not None and set(texts).issuperset(frame.columns):
        frame.columns = given.take([texts.index(name) for name in frame.columns])
    return frame


def _frame(table: Any, mapper: Any) -> Any:
    """Return a table as a frame; nothing of the table is there any more then, be it after an error."""
    import pyarrow as pa

    # With a block for each, pyarrow does not find the types of columns of JSON.
    split = not any(isinstance(field.type, pa.BaseExtensionType) for field in table.schema)
    fine = [field.name for field in table.schema if _is_fine_time(field.type)]
    try:
        return table.to_pandas(split_blocks=split, self_destruct=True, types_mapper=mapper)
    except pa.ArrowInvalid as error:
        if not fine:
            raise
        raise UnsupportedTypeError(
            f"The times of day of pandas have microseconds, and {', '.join(map(repr, fine))} has nanoseconds: select() the "
            f"others, give dtype_backend='pyarrow', or take to_arrow(). ({error})"
        ) from error


def _is_fine_time(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_time64(kind) and kind.unit == "ns")


def _joined(tables: Iterator[Any], schema: Any) -> Any:
    """Return one table with a piece of memory per column; the pieces of a column go when it is joined.

    Without that, frames of views would keep all pieces beside the joined columns: twice the memory.
    """
    import pyarrow as pa

    table = concatenated(list(tables), schema)
    names, columns = table.schema, list(table.columns)
    del table
    for at, column in enumerate(columns):
        columns[at] = None
        columns[at] = _in_one(column)
        del column
    return pa.Table.from_arrays(columns, schema=names)


def _in_one(column: Any) -> Any:
    import pyarrow as pa

    if column.num_chunks <= 1:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return pa.chunked_array([pa.concat_arrays(column.chunks)])


def _index_names(index: Index, schema: Any) -> list[str]:
    if index is None or index is False:
        return []
    if not isinstance(index, str | Iterable):
        raise InvalidNameError(f"index= is the name of a column, a list of them, or False, not {index!r:.80}.")
    names = [index] if isinstance(index, str) else list(index)
    for name in names:
        if name not in schema.names:
            raise ColumnNotFoundError(
                f"The index {name!r:.200} is not among the columns that are read.{nearest(str(name), schema.names)}"
            )
    return names


def _typed(schema: Any) -> list[str]:
    """Return the columns that pandas had as something else than objects, and those of its index."""
    noted = schema.pandas_metadata or {}
    typed = [each.get("field_name") for each in noted.get("columns", []) if each.get("numpy_type") != "object"]
    return [each for each in (*typed, *noted.get("index_columns", [])) if isinstance(each, str)]


def _mapper(dtype_backend: str | None) -> Any:
    """Return which type of pandas each of Arrow's becomes."""
    if dtype_backend is None:
        return None
    import pandas as pd

    if dtype_backend == "pyarrow":
        return pd.ArrowDtype
    if dtype_backend != "numpy_nullable":
        raise InvalidNameError(
            f"dtype_backend={dtype_backend!r:.80} is not understood: give 'pyarrow', 'numpy_nullable' or nothing."
            f"{nearest(str(dtype_backend), ('pyarrow', 'numpy_nullable'))}"
        )
    import pyarrow as pa

    kinds = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.float32(): pd.Float32Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
        pa.large_string(): pd.StringDtype(),
    }
    return kinds.get


def to_polars(table: Any) -> Any:
    """Return an Arrow table as a frame of polars."""
    try:
        import polars as pl
    except ImportError as error:
        raise MissingDependencyError("to_polars() needs polars: pip install 'holdall[polars]'.") from error
    for field in table.schema:
        _check_polars(field.type, field.name)
    return pl.from_arrow(table)


def _check_polars(kind: Any, name: str) -> None:
    import pyarrow as pa

    zone = kind.tz if pa.types.is_timestamp(kind) else None
    if pa.types.is_decimal256(kind) or (zone and zone[0] in "+-"):
        raise UnsupportedTypeError(
            f"polars has no type for the column {name!r}, which is {kind}: select() the others, or take to_arrow()."
        )
    for at in range(kind.num_fields):
        _check_polars(kind.field(at).type, name)
