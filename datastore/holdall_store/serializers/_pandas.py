"""Serializers of pandas's frames, series, indexes and arrays, column by column.

A frame is stored by the place of its columns, so that any labels will do; its values come back as views of the buffers
that were read. Subclasses are not taken: what they add would be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from holdall_store.errors import InvalidNameError
from holdall_store.serializers._buffers import MAX_ITEMS, listed, mapping, numbers_in, reading
from holdall_store.serializers._nodes import boolean, integer, malformed, nodes
from holdall_store.serializers._pandas_index import (
    ARRAY_TYPES,
    INDEX_TYPES,
    decode_index,
    decode_values,
    encode_index,
    encode_values,
)
from holdall_store.serializers._pandas_scalars import SCALARS
from holdall_store.serializers._protocol import Decoder, Encoder, Node, Serializer
from holdall_store.serializers._tabular import TableShape, TabularSerializer, decode_shared, unknown_column

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SERIALIZERS"]

_SEPARATE_COLUMNS = 100
"""Frames of more columns are put together by dtype, which copies them: pandas warns of so many separate ones."""


class _DataFrameSerializer(TabularSerializer):
    """Data frames."""

    tag = "pandas.DataFrame"

    def handles(self, obj: object) -> bool:
        return type(obj) is pd.DataFrame

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = {"rows": len(obj), "columns": encode_index(obj.columns, encoder, ".columns")}
        node["index"] = encode_index(obj.index, encoder, ".index")
        node["values"] = [encode_values(series.array, encoder, f"[{label!r}]") for label, series in obj.items()]
        return listed(node | _encode_extras(obj, encoder))

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            decoder.prefetch(numbers_in(node))
            columns = self._read_columns(node, decoder)
            return self._build(node, range(len(columns)), columns, decoder)

    def decode_columns(self, node: dict[str, Node], decoder: Decoder, columns: Sequence[Any]) -> Any:
        with reading(node):
            decoder.prefetch(numbers_in(node.get("columns")))
            labels = self._read_columns(node, decoder)
            positions = [place for label in columns for place in _places(label, labels)]
            wanted = [nodes(node, "values")[place] for place in positions]
            decoder.prefetch(numbers_in([wanted, node.get("index")]))
            decode_shared(nodes(node, "values"), [wanted, node.get("index"), node.get("attrs")], decoder)
            return self._build(node, positions, labels.take(positions), decoder)

    def shape(self, node: dict[str, Node], decoder: Decoder) -> TableShape:
        with reading(node):
            labels = self._read_columns(node, decoder).tolist()
            buffers = [numbers_in(each) for each in nodes(node, "values")]
            return TableShape("pandas", labels, integer(node, "rows", 0, MAX_ITEMS), buffers)

    def _read_columns(self, node: dict[str, Node], decoder: Decoder) -> Any:
        columns = decode_index(mapping(node, "columns"), decoder)
        if len(columns) != len(nodes(node, "values")):
            raise malformed(node, f"it has {len(nodes(node, 'values'))} columns and {len(columns)} labels for them")
        return columns

    def _build(self, node: dict[str, Node], positions: Sequence[int], columns: Any, decoder: Decoder) -> Any:
        rows, index = _read_rows(node, decoder)
        stored = nodes(node, "values")
        parts: dict[int, Any] = {}
        for place, position in enumerate(positions):
            parts[place] = _column(decode_values(stored[position], rows, decoder), index)
        frame = pd.DataFrame(parts, index=index, copy=len(parts) > _SEPARATE_COLUMNS)
        frame.columns = columns
        return _decode_extras(frame, node, decoder)


class _SeriesSerializer(Serializer):
    """Series."""

    tag = "pandas.Series"

    def handles(self, obj: object) -> bool:
        return type(obj) is pd.Series

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = {"rows": len(obj), "name": encoder.node(obj.name, ".name")}
        node["index"] = encode_index(obj.index, encoder, ".index")
        node["values"] = encode_values(obj.array, encoder, "")
        return listed(node | _encode_extras(obj, encoder))

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            decoder.prefetch(numbers_in(node))
            rows, index = _read_rows(node, decoder)
            values = decode_values(mapping(node, "values"), rows, decoder)
            name = decoder.node(node.get("name"))
            series = pd.Series(values, index=index, name=name, dtype=values.dtype, copy=False)
            return _decode_extras(series, node, decoder)


class _IndexSerializer(Serializer):
    """Indexes of every kind."""

    tag = "pandas.Index"

    def handles(self, obj: object) -> bool:
        return type(obj) in INDEX_TYPES

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        return listed(encode_index(obj, encoder, ""))

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            decoder.prefetch(numbers_in(node))
            return decode_index(node, decoder)


class _ArraySerializer(Serializer):
    """The arrays behind columns: what ``pandas.array`` and ``Series.array`` give."""

    tag = "pandas.array"

    def handles(self, obj: object) -> bool:
        return type(obj) in ARRAY_TYPES

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        return listed({"rows": len(obj), "values": encode_values(obj, encoder, "")})

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            decoder.prefetch(numbers_in(node))
            rows = integer(node, "rows", 0, MAX_ITEMS)
            values = decode_values(mapping(node, "values"), rows, decoder)
            return pd.Series(values, dtype=values.dtype, copy=False).array


def _column(values: Any, index: Any) -> Any:
    """Return values such that a frame takes them as they are: it would guess at objects."""
    return pd.Series(values, index=index, dtype=object, copy=False) if values.dtype == object else values


def _encode_extras(obj: Any, encoder: Encoder) -> dict[str, Node]:
    extras: dict[str, Node] = {}
    if obj.attrs:
        extras["attrs"] = encoder.node(dict(obj.attrs), ".attrs")
    if not obj.flags.allows_duplicate_labels:
        extras["allows_duplicate_labels"] = False
    return extras


def _decode_extras(obj: Any, node: dict[str, Node], decoder: Decoder) -> Any:
    if "attrs" in node:
        attrs = decoder.node(node["attrs"])
        if not isinstance(attrs, dict):
            raise malformed(node, "its 'attrs' are not a dict")
        obj.attrs = attrs
    if not boolean(node, "allows_duplicate_labels", True):
        obj.flags.allows_duplicate_labels = False
    return obj


def _read_rows(node: dict[str, Node], decoder: Decoder) -> tuple[int, Any]:
    rows, index = integer(node, "rows", 0, MAX_ITEMS), decode_index(mapping(node, "index"), decoder)
    if len(index) != rows:
        raise malformed(node, f"it has {rows} rows and {len(index)} labels for them")
    return rows, index


def _places(label: Any, labels: Any) -> list[int]:
    try:
        found = labels.get_loc(label)
    except KeyError:
        raise unknown_column(label, labels.tolist()) from None
    except (TypeError, pd.errors.InvalidIndexError):
        raise InvalidNameError(f"a column is asked for by its label, which {label!r} cannot be") from None
    return np.arange(len(labels))[found].reshape(-1).tolist()  # type: ignore[no-any-return]


SERIALIZERS: tuple[Serializer, ...] = (
    _DataFrameSerializer(),
    _SeriesSerializer(),
    _IndexSerializer(),
    _ArraySerializer(),
    *SCALARS,
)
