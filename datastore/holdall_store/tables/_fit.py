"""What a frame's columns must be like to be written: storable, and those of the table that they come to."""

from __future__ import annotations

import io
from typing import Any

from holdall_store.errors import ColumnNotFoundError, FormatError, UnsupportedTypeError, nearest
from holdall_store.tables._schema import unify
from holdall_store.tables._widen import has_room, wider_type

__all__ = ["check_storable", "fit_schema", "fit_table", "narrowed"]


def check_storable(schema: Any) -> None:
    """Raise `UnsupportedTypeError` for a column whose values Parquet cannot hold, or would not give back as they are."""
    for field in schema:
        reason = _refusal(field)
        if reason:
            raise UnsupportedTypeError(
                f"The column {field.name!r} is {field.type}, which a table cannot hold: {reason}. Cast it, or leave it out."
            )


def _refusal(field: Any) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    try:
        pq.write_table(pa.schema([field]).empty_table(), file)
        found = pq.ParquetFile(io.BytesIO(file.getvalue())).schema_arrow.field(0).type
        if found == field.type:
            return ""
        column = pa.nulls(1, found)  # of no values at all, any cast is none
        if pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(found):
            column = column.cast(field.type.value_type).dictionary_encode()
        column.cast(field.type)
    except (pa.ArrowException, NotImplementedError, ValueError, TypeError, OSError) as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ""


def fit_schema(frame: Any, table: Any, name: str, partition_by: tuple[str, ...], *, merge: bool) -> Any:
    """Return the schema of the table `name` once the frame is in it.

    Without `merge` that is the table's own: a column that lacks or is new, or whose values do not fit, raises. With it,
    it is the one that a reader makes of both.
    """
    if not merge:
        _check_names(frame, table, name)
        for field in frame:
            known = table.field(field.name)
            if not _fits(field.type, known.type, partition=field.name in partition_by):
                raise FormatError(
                    f"The column {field.name!r} is {field.type} in the frame and {known.type} in {name}, which has no room "
                    "for it: cast it, or say merge_schema=True to widen the table's."
                )
        return table
    fields = [
        field.with_type(table.field(field.name).type)
        if field.name in table.names
        and _fits(field.type, table.field(field.name).type, partition=field.name in partition_by)
        else field
        for field in frame
    ]
    import pyarrow as pa

    way_out = "cast the frame's column, give it another name, or overwrite the table"
    return unify([(name, table), ("the frame", pa.schema(fields))], way_out)


def narrowed(schema: Any, wider: Any) -> list[str]:
    """Return the columns of which some values could have no room in `wider`, though types are widened so."""
    return [
        field.name
        for field in schema
        if field.name in wider.names and not has_room(wider.field(field.name).type, field.type)
    ]


def _check_names(frame: Any, table: Any, name: str) -> None:
    extra = [each for each in frame.names if each not in table.names]
    if extra:
        hint = nearest(extra[0], table.names)
        raise ColumnNotFoundError(
            f"{name} has no column {extra[0]!r:.200}, and the frame has.{hint} Say merge_schema=True to add it to the table."
        )
    missing = [each for each in table.names if each not in frame.names]
    if missing:
        raise ColumnNotFoundError(
            f"The frame has no column {missing[0]!r:.200}, and {name} has. Say merge_schema=True to leave it null."
        )


def _fits(kind: Any, room: Any, *, partition: bool) -> bool:
    """Tell whether every value of one type is one of another, as readers widen them."""
    import pyarrow as pa

    if kind == room or (partition and (pa.types.is_string(room) or pa.types.is_large_string(room))):
        return True
    kind, room = _bare(kind), _bare(room)
    try:
        return bool(wider_type(room, kind) == room)
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return False


def _bare(kind: Any) -> Any:
    """Return a type without how it is laid out: 32 or 64 bits for its offsets, a dictionary or plain values."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _bare(kind.value_type)
    if types.is_large_string(kind):
        return pa.string()
    if types.is_large_binary(kind):
        return pa.binary()
    if types.is_struct(kind):
        return pa.struct([kind.field(i).with_type(_bare(kind.field(i).type)) for i in range(kind.num_fields)])
    if types.is_map(kind):
        return pa.map_(_bare(kind.key_type), _bare(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(_bare(kind.value_type))
    return kind


def fit_table(piece: Any, schema: Any, name: str) -> Any:
    """Return some rows of a frame in the schema of a table; columns that it does not have are null."""
    import pyarrow as pa

    columns = []
    for field in schema:
        if field.name not in piece.schema.names:
            columns.append(pa.nulls(piece.num_rows, field.type))
            continue
        column = piece.column(field.name)
        try:
            columns.append(_cast(column, field.type))
        except (pa.ArrowException, ValueError, NotImplementedError) as error:
            raise FormatError(
                f"The column {field.name!r} is {column.type} in the frame and {field.type} in {name}, and does not fit: "
                f"{error}"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: Any, kind: Any) -> Any:
    import pyarrow as pa

    if column.type == kind:
        return column
    if pa.types.is_dictionary(column.type) and column.type != kind:
        column = column.cast(column.type.value_type)
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type).dictionary_encode().cast(kind)
    return column.cast(kind)
