"""Serializers of polars's frames and series, column by column, through Arrow, under polars's own dtypes.

What polars knows of a column beside its values (that it is sorted, how it is cut into chunks) is not kept.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from holdall_store.serializers._arrow_arrays import decode_array, decode_chunked, encode_array, encode_chunked
from holdall_store.serializers._buffers import MAX_ITEMS, listed, mapping, numbers_in, reading
from holdall_store.serializers._nodes import integer, malformed, member, nodes, text
from holdall_store.serializers._polars_types import describe_dtype, read_dtype, stored_as
from holdall_store.serializers._protocol import Decoder, Encoder, Node, Serializer
from holdall_store.serializers._tabular import TableShape, TabularSerializer, positions_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["SERIALIZERS"]


class _DataFrameSerializer(TabularSerializer):
    """Data frames."""

    tag = "polars.DataFrame"

    def handles(self, obj: object) -> bool:
        return type(obj) is pl.DataFrame

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        columns = [_encode_series(series, encoder, f"[{series.name!r}]") for series in obj.iter_columns()]
        return listed({"rows": obj.height, "columns": columns})

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        return self._decode_positions(node, decoder, None)

    def decode_columns(self, node: dict[str, Node], decoder: Decoder, columns: Sequence[Any]) -> Any:
        return self._decode_positions(node, decoder, columns)

    def shape(self, node: dict[str, Node], decoder: Decoder) -> TableShape:  # noqa: ARG002 - all is in the node
        with _reading(node):
            stored = nodes(node, "columns")
            names = [text(column, "name") for column in stored]
            return TableShape(
                "polars", names, integer(node, "rows", 0, MAX_ITEMS), [numbers_in(each) for each in stored]
            )

    def _decode_positions(self, node: dict[str, Node], decoder: Decoder, columns: Sequence[Any] | None) -> Any:
        with _reading(node):
            stored, rows = nodes(node, "columns"), integer(node, "rows", 0, MAX_ITEMS)
            if columns is not None:
                names = [text(column, "name") for column in stored]
                stored = [stored[position] for position in positions_of(list(dict.fromkeys(columns)), names)]
            decoder.prefetch(numbers_in(stored))
            if not stored:  # a frame of no columns may have rows all the same
                return pl.DataFrame({"rows": pl.Series(pa.nulls(rows))}).drop("rows")
            return pl.DataFrame([_decode_series(column, rows, decoder) for column in stored])


class _SeriesSerializer(Serializer):
    """Series."""

    tag = "polars.Series"

    def handles(self, obj: object) -> bool:
        return type(obj) is pl.Series

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        return listed({"rows": len(obj), **_encode_series(obj, encoder, "")})

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with _reading(node):
            decoder.prefetch(numbers_in(node))
            return _decode_series(node, integer(node, "rows", 0, MAX_ITEMS), decoder)


class _LazyFrameSerializer(Serializer):
    """Lazy frames, which are refused: a plan names files that may be gone when it is loaded."""

    tag = "polars.LazyFrame"

    def handles(self, obj: object) -> bool:
        return type(obj) is pl.LazyFrame

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        raise encoder.unsupported(obj, "a LazyFrame is a plan, not data: save frame.collect() instead")

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:  # noqa: ARG002 - there is no such node
        raise malformed(node, "no version of holdall saves lazy frames")


@contextmanager
def _reading(node: Node) -> Generator[None]:
    with reading(node):
        try:
            yield
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise malformed(node, f"polars cannot build it: {error}") from error


def _encode_series(series: Any, encoder: Encoder, step: str) -> dict[str, Any]:
    dtype = series.dtype
    described = describe_dtype(dtype)
    if described is None:
        hint = "map it to values of another dtype, or save series.to_list()"
        raise encoder.unsupported(
            series, f"{step} values of the dtype {dtype} cannot be stored exactly: {hint}".strip()
        )
    node: dict[str, Any] = {"name": series.name, "dtype": described}
    array = _to_arrow(series.cast(stored_as(dtype)) if stored_as(dtype) != dtype else series)
    if not isinstance(dtype, (pl.Enum, pl.Categorical)):
        return node | {"values": encode_chunked(pa.chunked_array([array]), encoder)}
    coded = array.dictionary_encode()  # in the order of their first row, whatever else shares the categories
    used = {"rows": len(coded.dictionary), **encode_array(coded.dictionary, encoder)}
    return node | {"codes": encode_array(coded.indices, encoder), "used": used}


def _to_arrow(series: Any) -> pa.Array:
    array = series.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _decode_series(node: Any, rows: int, decoder: Decoder) -> Any:
    dtype, name = read_dtype(member(node, "dtype")), text(node, "name")
    if "codes" in node:
        codes = decode_array(mapping(node, "codes"), pa.int32(), rows, decoder)
        part = mapping(node, "used")
        used = decode_array(part, pa.large_string(), integer(part, "rows", 0, MAX_ITEMS), decoder)
        series = pl.Series(name, used).cast(dtype).gather(pl.Series(codes))
    else:
        series = pl.Series(name, decode_chunked(mapping(node, "values"), rows, decoder))
        if series.dtype == stored_as(dtype) != dtype:
            series = series.cast(dtype)
    if series.dtype != dtype or len(series) != rows:
        raise malformed(node, f"it is a series of {len(series)} × {series.dtype} instead of {rows} × {dtype}")
    return series


SERIALIZERS: tuple[Serializer, ...] = (_DataFrameSerializer(), _SeriesSerializer(), _LazyFrameSerializer())
