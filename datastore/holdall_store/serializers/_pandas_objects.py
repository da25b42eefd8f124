"""Columns of Python objects as nodes, and back.

A column of plain scalars of one type is stored like an Arrow array, together with which of pandas's missing values
(None, NaN, NA, NaT) stands where. Any other column is a tree of its values.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from holdall_store.serializers._arrow_arrays import decode_array, encode_array
from holdall_store.serializers._buffers import Array, get, mapping, put, typed
from holdall_store.serializers._nodes import malformed, member, nodes, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdall_store.serializers._protocol import Decoder, Encoder

__all__ = ["decode_objects", "encode_objects"]

_MISSING: dict[str, Any] = {"None": None, "NaN": float("nan"), "NA": pd.NA, "NaT": pd.NaT}
_MISSING_TYPES = {type(value): name for name, value in _MISSING.items()}
_MISSING_CODES = {name: code for code, name in enumerate(_MISSING, start=1)}

_KINDS: dict[type, tuple[str, pa.DataType]] = {
    str: ("str", pa.large_string()),
    bytes: ("bytes", pa.large_binary()),
    bool: ("bool", pa.bool_()),
    int: ("int", pa.int64()),
    float: ("float", pa.float64()),
    decimal.Decimal: ("decimal", pa.large_string()),
    uuid.UUID: ("uuid", pa.binary(16)),
    datetime.date: ("date", pa.date32()),
    datetime.time: ("time", pa.time64("us")),
    datetime.datetime: ("datetime", pa.timestamp("us")),
    datetime.timedelta: ("timedelta", pa.duration("us")),
}
_STORED = dict(_KINDS.values())
_TEXT_OF: dict[type, Callable[[Any], Any]] = {decimal.Decimal: str, uuid.UUID: lambda value: value.bytes}


def encode_objects(values: Array, encoder: Encoder, step: str) -> dict[str, Any]:
    """Return the node of an object array; `step` is the way to it, for messages."""
    listed = values.tolist()
    types = set(map(type, listed))
    kinds = [kind for kind in types if kind in _KINDS and (kind is not float or types <= {float, *_MISSING_TYPES})]
    missing_types = types & _MISSING_TYPES.keys()
    if types <= {*kinds, *missing_types} and len(kinds) <= 1 and _is_naive(kinds, listed):
        encoded = _encode_scalars(values, listed, kinds[0] if kinds else None, missing_types, encoder)
        if encoded is not None:
            return encoded
    return {"of": "any", "values": encoder.node(listed, step)}


def decode_objects(node: Any, rows: int, decoder: Decoder) -> Array:
    """Return the object array of a node."""
    kind = text(node, "of")
    if kind == "any":
        values = decoder.node(member(node, "values"))
        if not isinstance(values, list) or len(values) != rows:
            raise malformed(node, f"its 'values' are not a list of {rows}")
        return np.fromiter(values, dtype=object, count=rows)
    if kind == "missing":
        objects, nulls = np.full(rows, None, dtype=object), np.ones(rows, np.bool_)
    elif kind in _STORED:
        array = decode_array(mapping(node, "scalars"), _STORED[kind], rows, decoder)
        objects, nulls = _objects(kind, array), array.is_null().to_numpy(zero_copy_only=False)
    else:
        raise malformed(node, f"it holds {kind!r}, which this version does not know")
    _put_missing(objects, nulls, node, decoder)
    return objects


def _is_naive(kinds: list[type], listed: list[Any]) -> bool:
    """Tell whether times have neither zone nor fold, which Arrow would lose."""
    if not kinds or kinds[0] not in (datetime.datetime, datetime.time):
        return True
    return all(value.tzinfo is None and value.fold == 0 for value in listed if type(value) is kinds[0])


def _encode_scalars(
    values: Array, listed: list[Any], kind: type | None, missing_types: set[type], encoder: Encoder
) -> dict[str, Any] | None:
    codes = _missing_codes(values, missing_types - {kind})
    if kind is None:
        node: dict[str, Any] = {"of": "missing"}
    else:
        name, stored = _KINDS[kind]
        missing = codes > 0
        if float in missing_types and kind is not float and not _all_of(kind, listed, missing):  # a float, not NaN
            return None
        if kind in _TEXT_OF:
            convert = _TEXT_OF[kind]
            converted = [convert(value) if type(value) is kind else None for value in listed]
            values = np.fromiter(converted, dtype=object, count=len(listed))
        try:
            array = pa.array(values, type=stored, mask=missing, from_pandas=False)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # wider than what is stored, or lone surrogates
            return None
        node = {"of": name, "scalars": encode_array(array, encoder)}
    used = [name for name, code in _MISSING_CODES.items() if np.any(codes == code)]
    node["missing"] = used
    if len(used) > 1:
        node["buffers"] = {}
        put(node["buffers"], "missing", codes, encoder)
    return node


def _missing_codes(values: Array, missing_types: set[type]) -> Array:
    """Return which missing value stands in each row, 0 for none."""
    codes = np.zeros(len(values), np.uint8)
    if not missing_types:
        return codes
    for row in np.flatnonzero(pd.isna(values)).tolist():
        name = _MISSING_TYPES.get(type(values[row]))
        if name is not None and type(values[row]) in missing_types:
            codes[row] = _MISSING_CODES[name]
    return codes


def _all_of(kind: type, listed: list[Any], missing: Array) -> bool:
    return all(type(listed[row]) is kind for row in np.flatnonzero(~missing).tolist())


def _objects(kind: str, array: pa.Array) -> Array:
    objects: Array
    if kind in ("date", "datetime", "timedelta"):
        unit = "D" if kind == "date" else "us"
        letter = "m" if kind == "timedelta" else "M"
        counts = array.cast(pa.int32() if kind == "date" else pa.int64()).fill_null(0).to_numpy()
        objects = counts.astype(np.int64).view(f"{letter}8[{unit}]").astype(object)
    elif kind == "time":
        objects = np.fromiter(array.to_pylist(), dtype=object, count=len(array))
    elif kind in ("decimal", "uuid"):
        make: Callable[[Any], Any] = decimal.Decimal if kind == "decimal" else _uuid
        made = [None if value is None else make(value) for value in array.to_pylist()]
        objects = np.fromiter(made, dtype=object, count=len(made))
    elif kind in ("str", "bytes"):
        objects = array.to_numpy(zero_copy_only=False)
    else:
        objects = array.fill_null(False if kind == "bool" else 0).to_numpy(zero_copy_only=False).astype(object)
    return objects


def _uuid(stored: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=stored)


def _put_missing(objects: Array, nulls: Array, node: Any, decoder: Decoder) -> None:
    names = nodes(node, "missing")
    if not all(name in _MISSING for name in names):
        raise malformed(node, f"its 'missing' is not a list of some of {', '.join(_MISSING)}")
    if len(names) == 1:
        objects[nulls] = _MISSING[names[0]]
    elif names:
        codes = typed(get(node, "missing", decoder, len(objects)), np.uint8)
        for name in names:
            objects[codes == _MISSING_CODES[name]] = _MISSING[name]
