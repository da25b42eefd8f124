"""The values of one column as canonical buffers, and back: every dtype of pandas but categories.

Categories are an index, so they are in `_pandas_index`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from holdall_store.serializers._arrow_arrays import (
    Unnamed,
    decode_array,
    decode_chunked,
    encode_array,
    encode_chunked,
    unpacked,
)
from holdall_store.serializers._buffers import MAX_ITEMS, Array, get, mapping, packed, put, typed
from holdall_store.serializers._nodes import boolean, integer, malformed, member, text
from holdall_store.serializers._pandas_objects import decode_objects, encode_objects
from holdall_store.serializers._pandas_times import decode_zone, encode_zone

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdall_store.serializers._protocol import Decoder, Encoder

__all__ = ["EXTENSION_ARRAYS", "decode_column", "encode_column", "encode_numpy", "read_numpy"]

_NUMPY_KINDS = "biufcmM"
_PADDED_DIGITS = 63
"""Bits of the fraction of an x86 ``longdouble``: ten bytes of each sixteen are the number, the others garbage."""

_MASKED: dict[str, tuple[str, Callable[[Array, Array], Any]]] = {
    **{
        f"{sign}Int{bits}": (f"{sign.lower()}int{bits}", pd.arrays.IntegerArray)
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    "Float32": ("float32", pd.arrays.FloatingArray),
    "Float64": ("float64", pd.arrays.FloatingArray),
    "boolean": ("bool", pd.arrays.BooleanArray),
}


def encode_column(values: Any, encoder: Encoder, step: str) -> dict[str, Any]:
    """Return the node of an extension array or a numpy array; `step` is the way to it, for messages."""
    if type(values) in (np.ndarray, pd.arrays.NumpyExtensionArray):
        array = np.asarray(values)
        if array.dtype == object:
            return {"kind": "object", **encode_objects(array, encoder, step)}
        return {"kind": "numpy", **encode_numpy(array, encoder)}
    for kind, array_type in _ARRAY_TYPES.items():
        if type(values) in array_type:
            return {"kind": kind, **_LAYOUTS[kind][0](values, encoder, step)}
    return {"kind": "other", "values": encoder.node(values, step)}


def decode_column(node: Any, rows: int, decoder: Decoder) -> Any:
    """Return the extension array, or the numpy array of a dtype that needs no other, that a node describes."""
    kind = text(node, "kind")
    if kind == "numpy":
        values: Any = read_numpy(node, rows, decoder)
    elif kind == "object":
        values = decode_objects(node, rows, decoder)
    elif kind == "other":
        values = decoder.node(member(node, "values"))
    elif kind in _LAYOUTS:
        values = _LAYOUTS[kind][1](node, rows, decoder)
    else:
        raise malformed(node, f"its kind {kind!r} is not known here")
    if not isinstance(values, (np.ndarray, pd.api.extensions.ExtensionArray)) or len(values) != rows:
        raise malformed(node, f"it is not a column of {rows} rows")
    return values


# --- numpy


def encode_numpy(array: Array, encoder: Encoder) -> dict[str, Any]:
    """Return the dtype and bytes of a one-dimensional array."""
    node: dict[str, Any] = {"dtype": array.dtype.name if array.dtype.isnative else array.dtype.str, "buffers": {}}
    if array.dtype.char in "gG":
        node["fraction_bits"] = int(np.finfo(np.longdouble).nmant)
        array = _without_padding(array)
    put(node["buffers"], "values", array, encoder)
    return node


def read_numpy(node: Any, rows: int, decoder: Decoder) -> Array:
    """Return the array of a node: its buffer, not a copy."""
    dtype = np.dtype(text(node, "dtype"))
    if dtype.kind not in _NUMPY_KINDS:
        raise malformed(node, f"its dtype {dtype} is not of numbers or times")
    if dtype.char in "gG" and integer(node, "fraction_bits") != np.finfo(np.longdouble).nmant:
        raise malformed(node, "its long doubles are those of another processor")
    array = typed(get(node, "values", decoder, rows * dtype.itemsize), dtype)
    if dtype.kind == "b" and rows and int(array.view(np.uint8).max()) > 1:
        raise malformed(node, "its booleans are neither 0 nor 1")
    return array


def _without_padding(array: Array) -> Array:
    if np.finfo(np.longdouble).nmant != _PADDED_DIGITS:
        return array
    width = np.dtype(np.longdouble).itemsize
    array = array.copy()
    array.view(np.uint8).reshape(-1, width)[:, 10:] = 0
    return array


# --- times


def _encode_times(values: Any, encoder: Encoder, _step: str) -> dict[str, Any]:
    dtype = values.dtype
    zone = getattr(dtype, "tz", None)
    node: dict[str, Any] = {"unit": values.unit, "buffers": {}}
    if zone is not None:
        node["tz"] = encode_zone(zone, encoder)
    put(node["buffers"], "values", values.asi8, encoder)
    return node


def _decode_datetimes(node: Any, rows: int, decoder: Decoder) -> Any:
    values, unit = _read_int64(node, rows, decoder), _unit(node)
    if "tz" not in node:
        return values.view(f"M8[{unit}]")
    return pd.array(values, dtype=pd.DatetimeTZDtype(unit, decode_zone(mapping(node, "tz"), decoder)), copy=False)


def _decode_timedeltas(node: Any, rows: int, decoder: Decoder) -> Any:
    return _read_int64(node, rows, decoder).view(f"m8[{_unit(node)}]")


def _encode_periods(values: Any, encoder: Encoder, _step: str) -> dict[str, Any]:
    node: dict[str, Any] = {"freq": values.freqstr, "buffers": {}}
    put(node["buffers"], "values", values.asi8, encoder)
    return node


def _decode_periods(node: Any, rows: int, decoder: Decoder) -> Any:
    return pd.arrays.PeriodArray(_read_int64(node, rows, decoder), dtype=pd.PeriodDtype(text(node, "freq")))


def _read_int64(node: Any, rows: int, decoder: Decoder) -> Array:
    return typed(get(node, "values", decoder, rows * 8), np.int64)


def _unit(node: Any) -> Any:
    unit = text(node, "unit")
    if unit not in ("s", "ms", "us", "ns"):
        raise malformed(node, f"its unit {unit!r} is none of s, ms, us and ns")
    return unit


# --- masked, text, Arrow


def _encode_masked(values: Any, encoder: Encoder, _step: str) -> dict[str, Any]:
    name = values.dtype.name
    missing = values.isna()
    node: dict[str, Any] = {"dtype": name, "buffers": {}}
    put(node["buffers"], "values", values.to_numpy(dtype=_MASKED[name][0], na_value=0), encoder)
    if missing.any():
        put(node["buffers"], "valid", packed(~missing), encoder)
    return node


def _decode_masked(node: Any, rows: int, decoder: Decoder) -> Any:
    name = text(node, "dtype")
    if name not in _MASKED:
        raise malformed(node, f"pandas has no nullable dtype {name!r}")
    numpy_name, make = _MASKED[name]
    values = read_numpy({**node, "dtype": numpy_name}, rows, decoder)
    if "valid" not in mapping(node, "buffers"):
        return make(values, np.zeros(rows, np.bool_))
    return make(values, ~unpacked(get(node, "valid", decoder, (rows + 7) // 8), 0, rows))


def _encode_text(values: Any, encoder: Encoder, step: str) -> dict[str, Any]:
    dtype = values.dtype
    node: dict[str, Any] = {"storage": dtype.storage, "missing": "NA" if dtype.na_value is pd.NA else "NaN"}
    try:
        array = values.__arrow_array__(type=pa.large_string())
    except UnicodeEncodeError:  # lone surrogates
        objects = values.to_numpy(dtype=object, na_value=None)
        return node | {"objects": encode_objects(objects, encoder, step)}
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.cast(pa.large_string()).chunks)
    return node | encode_array(array, encoder)


def _decode_text(node: Any, rows: int, decoder: Decoder) -> Any:
    storage, missing = text(node, "storage"), text(node, "missing")
    if storage not in ("python", "pyarrow") or missing not in ("NA", "NaN"):
        raise malformed(node, f"pandas has no text dtype ({storage!r}, {missing!r})")
    dtype = pd.StringDtype(storage, na_value=pd.NA if missing == "NA" else np.nan)
    if "objects" in node:
        return pd.array(decode_objects(node["objects"], rows, decoder), dtype=dtype)
    array = decode_array(node, pa.large_string(), rows, decoder)
    if storage == "pyarrow":
        return pd.arrays.ArrowStringArray(pa.chunked_array([array]), dtype=dtype)
    return pd.array(array.to_numpy(zero_copy_only=False), dtype=dtype)


def _encode_arrow(values: Any, encoder: Encoder, step: str) -> dict[str, Any]:
    array = values.__arrow_array__()
    if isinstance(array, pa.Array):
        array = pa.chunked_array([array])
    try:
        return {"arrow": encode_chunked(array, encoder)}
    except Unnamed as error:
        raise encoder.unsupported(values, f"{step}: {error}") from error


def _decode_arrow(node: Any, rows: int, decoder: Decoder) -> Any:
    return pd.arrays.ArrowExtensionArray(decode_chunked(mapping(node, "arrow"), rows, decoder))


# --- arrays made of arrays


def _encode_intervals(values: Any, encoder: Encoder, step: str) -> dict[str, Any]:
    parts = {side: encode_column(getattr(values, side).array, encoder, f"{step}.{side}") for side in ("left", "right")}
    return {"closed": values.closed, **parts}


def _decode_intervals(node: Any, rows: int, decoder: Decoder) -> Any:
    left, right = (decode_column(mapping(node, side), rows, decoder) for side in ("left", "right"))
    closed: Any = text(node, "closed")
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=closed)


def _encode_sparse(values: Any, encoder: Encoder, step: str) -> dict[str, Any]:
    dtype = values.dtype
    return {
        "storage": values.kind,
        "fill_is_numpy": isinstance(dtype.fill_value, np.generic),
        "fill": encode_column(_one(dtype.fill_value, dtype.subtype), encoder, f"{step}.fill_value"),
        "places": encode_numpy(values.sp_index.to_int_index().indices, encoder),
        "count": int(values.sp_index.npoints),
        "values": encode_column(np.asarray(values.sp_values), encoder, step),
    }


def _decode_sparse(node: Any, rows: int, decoder: Decoder) -> Any:
    count = integer(node, "count", 0, MAX_ITEMS)
    fill = decode_column(mapping(node, "fill"), 1, decoder)[0]
    if isinstance(fill, np.generic) and not boolean(node, "fill_is_numpy"):
        fill = fill.item()
    places = read_numpy(mapping(node, "places"), count, decoder)
    values = decode_column(mapping(node, "values"), count, decoder)
    kind: Any = text(node, "storage")
    if places.dtype != np.int32 or kind not in ("integer", "block"):
        raise malformed(node, f"no sparse array has places of {places.dtype} or an index of the kind {kind!r}")
    if hasattr(pd.arrays.SparseArray, "from_indices"):
        return pd.arrays.SparseArray.from_indices(values, places, rows, fill_value=fill, kind=kind)
    from pandas._libs.sparse import IntIndex  # before pandas 3.1 no public name does it without a pass over all rows

    index = IntIndex(rows, places, check_integrity=True)
    index = index.to_block_index() if kind == "block" else index
    return pd.arrays.SparseArray(values, sparse_index=index, fill_value=fill, dtype=pd.SparseDtype(values.dtype, fill))


def _one(value: Any, dtype: Any) -> Array:
    """Return an array of one value, of the dtype where that says the same."""
    array = np.empty(1, object)
    array[0] = value
    typed_array = array.astype(dtype)
    same = typed_array[0] == value or (pd.isna(typed_array[0]) and pd.isna(value))
    return typed_array if same else array


_ARRAY_TYPES: dict[str, tuple[type, ...]] = {
    "datetime": (pd.arrays.DatetimeArray,),
    "timedelta": (pd.arrays.TimedeltaArray,),
    "period": (pd.arrays.PeriodArray,),
    "masked": (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray),
    "text": (pd.arrays.StringArray, pd.arrays.ArrowStringArray),
    "arrow": (pd.arrays.ArrowExtensionArray,),
    "interval": (pd.arrays.IntervalArray,),
    "sparse": (pd.arrays.SparseArray,),
}
EXTENSION_ARRAYS = (pd.arrays.NumpyExtensionArray, *(kind for kinds in _ARRAY_TYPES.values() for kind in kinds))

_LAYOUTS: dict[str, tuple[Callable[[Any, Encoder, str], dict[str, Any]], Callable[[Any, int, Decoder], Any]]] = {
    "datetime": (_encode_times, _decode_datetimes),
    "timedelta": (_encode_times, _decode_timedeltas),
    "period": (_encode_periods, _decode_periods),
    "masked": (_encode_masked, _decode_masked),
    "text": (_encode_text, _decode_text),
    "arrow": (_encode_arrow, _decode_arrow),
    "interval": (_encode_intervals, _decode_intervals),
    "sparse": (_encode_sparse, _decode_sparse),
}
