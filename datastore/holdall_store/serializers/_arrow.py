"""Serializers of pyarrow's tables, record batches, arrays and schemas.

The chunks of tables and chunked arrays come back combined: how rows are cut into chunks is not part of the value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from holdall_store.serializers._arrow_arrays import decode_array, decode_chunked, encode_array, encode_chunked
from holdall_store.serializers._arrow_types import Unnamed, describe_schema, describe_type, read_schema, read_type
from holdall_store.serializers._buffers import MAX_ITEMS, listed, mapping, numbers_in, reading
from holdall_store.serializers._nodes import integer, malformed, member, nodes
from holdall_store.serializers._protocol import Decoder, Encoder, Node, Serializer
from holdall_store.serializers._tabular import TableShape, TabularSerializer, positions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["SERIALIZERS", "decode_fields", "encode_fields"]


def encode_fields(
    columns: Iterable[pa.ChunkedArray], names: Sequence[str], encoder: Encoder, table: object
) -> list[Any]:
    """Return the nodes of a table's columns."""
    encoded = []
    for name, column in zip(names, columns, strict=True):
        try:
            encoded.append(encode_chunked(column, encoder))
        except Unnamed as error:
            raise encoder.unsupported(table, f"column {name!r}: {error}") from error
    return encoded


def decode_fields(
    node: dict[str, Node], positions: Sequence[int], rows: int, decoder: Decoder
) -> list[pa.ChunkedArray]:
    """Return the columns at some positions, each of `rows` rows."""
    stored = nodes(node, "columns")
    wanted = [stored[position] for position in positions]
    decoder.prefetch(numbers_in(wanted))
    return [decode_chunked(column, rows, decoder) for column in wanted]


class _TableSerializer(TabularSerializer):
    """Tables: one column after the other, under the schema."""

    tag = "pyarrow.Table"

    def handles(self, obj: object) -> bool:
        return type(obj) is pa.Table

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        schema = _describe(describe_schema, obj.schema, obj, encoder)
        columns = encode_fields(_columns_of(obj), obj.schema.names, encoder, obj)
        return listed({"rows": obj.num_rows, "schema": schema, "columns": columns})

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            return self._decode_positions(node, decoder, None)

    def decode_columns(self, node: dict[str, Node], decoder: Decoder, columns: Sequence[Any]) -> Any:
        with reading(node):
            return self._decode_positions(node, decoder, columns)

    def shape(self, node: dict[str, Node], decoder: Decoder) -> TableShape:  # noqa: ARG002 - all is in the node
        with reading(node):
            schema, rows = read_schema(mapping(node, "schema")), integer(node, "rows", 0, MAX_ITEMS)
            buffers = [numbers_in(column) for column in nodes(node, "columns")]
            if len(buffers) != len(schema):
                raise malformed(node, "its columns are not those of its schema")
            return TableShape("pyarrow", schema.names, rows, buffers, schema)

    def _decode_positions(self, node: dict[str, Node], decoder: Decoder, columns: Sequence[Any] | None) -> Any:
        schema, rows = read_schema(mapping(node, "schema")), integer(node, "rows", 0, MAX_ITEMS)
        if len(nodes(node, "columns")) != len(schema):
            raise malformed(node, "its columns are not those of its schema")
        positions = range(len(schema)) if columns is None else positions_of(columns, schema.names)
        part = pa.schema([schema.field(position) for position in positions], metadata=schema.metadata)
        if not len(part):  # a table of no columns has rows all the same, but no constructor takes their number
            rows_alone = pa.schema([("", pa.null())], metadata=part.metadata)
            return self._build([pa.chunked_array([pa.nulls(rows)])], rows_alone, node).select([])
        return self._build(decode_fields(node, positions, rows, decoder), part, node)

    def _build(self, arrays: list[pa.ChunkedArray], schema: pa.Schema, _node: Node) -> Any:
        return pa.Table.from_arrays(arrays, schema=schema)


class _RecordBatchSerializer(_TableSerializer):
    """Record batches: tables whose columns are in one piece."""

    tag = "pyarrow.RecordBatch"

    def handles(self, obj: object) -> bool:
        return type(obj) is pa.RecordBatch

    def _build(self, arrays: list[pa.ChunkedArray], schema: pa.Schema, node: Node) -> Any:
        if any(array.num_chunks != 1 for array in arrays):  # one of no rows is in one piece as well
            raise malformed(node, "a column of a record batch is not in one piece")
        return pa.RecordBatch.from_arrays([array.chunk(0) for array in arrays], schema=schema)


class _ArraySerializer(Serializer):
    """Arrays of every type."""

    tag = "pyarrow.Array"

    def handles(self, obj: Any) -> bool:
        return isinstance(obj, pa.Array) and (
            type(obj).__module__ == "pyarrow.lib" or isinstance(obj.type, pa.BaseExtensionType)
        )

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        kind = _describe(describe_type, obj.type, obj, encoder)
        return listed({"rows": len(obj), "type": kind, "values": encode_array(obj, encoder)})

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            decoder.prefetch(numbers_in(node))
            kind = read_type(member(node, "type"))
            return decode_array(mapping(node, "values"), kind, integer(node, "rows", 0, MAX_ITEMS), decoder)


class _ChunkedArraySerializer(Serializer):
    """Chunked arrays."""

    tag = "pyarrow.ChunkedArray"

    def handles(self, obj: object) -> bool:
        return type(obj) is pa.ChunkedArray

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        _describe(describe_type, obj.type, obj, encoder)
        return listed({"rows": len(obj), "values": encode_chunked(obj, encoder)})

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            decoder.prefetch(numbers_in(node))
            return decode_chunked(mapping(node, "values"), integer(node, "rows", 0, MAX_ITEMS), decoder)


class _SchemaSerializer(Serializer):
    """Schemas with their metadata."""

    tag = "pyarrow.Schema"

    def handles(self, obj: object) -> bool:
        return type(obj) is pa.Schema

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        return {"schema": _describe(describe_schema, obj, obj, encoder)}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:  # noqa: ARG002 - a schema has no buffers
        with reading(node):
            return read_schema(mapping(node, "schema"))


def _columns_of(table: Any) -> list[pa.ChunkedArray]:
    return [
        column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column], type=column.type)
        for column in table.columns
    ]


def _describe(describe: Callable[[Any], Any], described: Any, obj: object, encoder: Encoder) -> Any:
    try:
        return describe(described)
    except Unnamed as error:
        raise encoder.unsupported(obj, str(error)) from error


SERIALIZERS: tuple[Serializer, ...] = (
    _TableSerializer(),
    _RecordBatchSerializer(),
    _ArraySerializer(),
    _ChunkedArraySerializer(),
    _SchemaSerializer(),
)
