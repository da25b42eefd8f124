"""From bytes that are there to rows: Arrow decodes, and the result is given in the schema of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from holdall_store.errors import FormatError
from holdall_store.tables._bound import Condition, evaluate, kernels, plain
from holdall_store.tables._footer import Footer
from holdall_store.tables._names import take_path
from holdall_store.tables._partitions import Values
from holdall_store.tables._query import Query, typed_scalar
from holdall_store.tables._schema import normal
from holdall_store.tables._texts import written_out

__all__ = ["Decoded", "assemble", "concatenated", "mask_of", "read_columns"]

Decoded = dict[str, Any]
"""Columns by name, as they are in the file."""

THREADED_BYTES: Final = 16 << 20
"""From here on the columns of one piece are decoded in parallel, too; below, pieces beside each other are enough."""


def read_columns(
    footer: Footer,
    source: Any,
    groups: Sequence[int],
    leaves: Sequence[int],
    *,
    threads: bool,
    dictionaries: Sequence[str],
) -> Decoded:
    """Decode columns of Parquet of some row groups; what cannot be decoded raises `FormatError` with the file's name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not leaves:
        return {}
    try:
        file = pq.ParquetFile(
            source,
            metadata=footer.metadata,
            pre_buffer=False,
            read_dictionary=footer.stored_names(dictionaries) or None,
            coerce_int96_timestamp_unit=footer.int96_unit,
        )
        # By number: names with dots mean several columns.
        table = file.reader.read_row_groups(list(groups), column_indices=list(leaves), use_threads=threads)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise FormatError(
            f"{footer.url}: row groups {_numbers(groups)} cannot be decoded: {str(error).strip() or type(error).__name__}"
        ) from error
    rows = sum(footer.rows(index) for index in groups)
    if table.num_rows != rows:
        raise FormatError(f"{footer.url}: row groups {_numbers(groups)} have {table.num_rows} rows instead of {rows}.")
    return footer.columns(dict(zip(table.schema.names, table.columns, strict=True)))


def _numbers(groups: Sequence[int]) -> str:
    return str(groups[0]) if len(groups) == 1 else f"{groups[0]} to {groups[-1]}"


def mask_of(condition: Condition, query: Query, footer: Footer, values: Values, columns: Decoded, rows: int) -> Any:
    """Return which rows a condition is true for: an array with nulls for what is neither true nor false."""
    import pyarrow as pa

    pc = kernels()

    partitions = dict(zip(query.partitions, values, strict=True))

    def column(path: tuple[str, ...]) -> Any:
        kind = plain(take_path(query.table.field(path[0]).type, path[1:]))
        if path[0] in partitions:
            return _repeated(partitions[path[0]], kind, rows)
        found = columns.get(path[0])
        if found is None and len(path) == 1:
            return _repeated(footer.fills.get(path[0]), kind, rows)
        for name in path[1:]:
            if found is None or found.type.get_field_index(name) < 0:
                found = None
                break
            found = pc.struct_field(found, name)
        return pa.nulls(rows, kind) if found is None else _cast(found, kind, footer, ".".join(path))

    return evaluate(condition, column)


def assemble(query: Query, footer: Footer, values: Values, columns: Decoded, rows: int, mask: Any = None) -> Any:
    """Return decoded columns, and the rows of them that `mask` is true for, as a table of the query's schema.

    With a mask, `rows` is still the number of rows before.
    """
    import pyarrow as pa

    partitions = dict(zip(query.partitions, values, strict=True))
    kept = rows
    if mask is not None:
        kept = _count(mask)
        if kept == rows:
            mask = None
    found: list[Any] = []
    for field in query.schema:
        if field.name in partitions:
            found.append(_repeated(partitions[field.name], field.type, kept))
            continue
        column = columns.pop(field.name, None)
        if column is None:
            found.append(_repeated(footer.fills.get(field.name), field.type, kept))
            continue
        if mask is not None:
            column = _filtered(column, mask)
        found.append(_cast(column, field.type, footer, field.name))
        del column
    if not found:
        return _rows_alone(kept)
    return pa.Table.from_arrays(found, schema=query.schema)


def _count(mask: Any) -> int:
    pc = kernels()

    return int(pc.sum(mask).as_py() or 0)


def _filtered(column: Any, mask: Any) -> Any:
    import pyarrow as pa

    kind = column.type
    if normal(kind) != kind:
        column = column.cast(normal(kind))  # for views there are no kernels
    if isinstance(mask, pa.ChunkedArray):
        mask = mask.combine_chunks() if mask.num_chunks != 1 else mask.chunk(0)
    return column.filter(mask)


def _rows_alone(rows: int) -> Any:
    """Return a table without columns that knows how many rows it has."""
    import pyarrow as pa

    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.Table.from_batches([batch])


def _repeated(value: Any, kind: Any, rows: int) -> Any:
    import pyarrow as pa

    if value is None:
        return pa.nulls(rows, kind)
    if pa.types.is_dictionary(kind):
        indices = pa.repeat(pa.scalar(0, kind.index_type), rows)
        return pa.DictionaryArray.from_arrays(indices, pa.repeat(typed_scalar(value, kind.value_type), 1))
    return pa.repeat(typed_scalar(value, kind), rows)


def _cast(column: Any, kind: Any, footer: Footer, name: str) -> Any:
    """Return a column in the type that the table has for it."""
    import pyarrow as pa

    if column.type == kind:
        return column
    try:
        if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(column.type):
            column = column.cast(kind.value_type).dictionary_encode()
        elif pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(kind):
            column = written_out(column)
        return column if column.type == kind else column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, pa.ArrowIndexError) as error:
        raise FormatError(
            f"{footer.url}: the column {name!r} is {column.type} there and {kind} in the table, and does not fit: {error}"
        ) from error


def concatenated(tables: Sequence[Any], schema: Any) -> Any:
    """Return tables of one schema as one."""
    import pyarrow as pa

    if not tables:
        return schema.empty_table()
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables)
