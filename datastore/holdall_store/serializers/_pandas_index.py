"""Every kind of index, and categorical columns (whose categories are an index), as nodes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from holdall_store.serializers._buffers import MAX_ITEMS, Array, mapping
from holdall_store.serializers._nodes import boolean, integer, malformed, member, nodes, text
from holdall_store.serializers._pandas_columns import (
    EXTENSION_ARRAYS,
    decode_column,
    encode_column,
    encode_numpy,
    read_numpy,
)
from holdall_store.serializers._pandas_times import decode_freq, encode_freq

if TYPE_CHECKING:
    from holdall_store.serializers._protocol import Decoder, Encoder, Node

__all__ = ["ARRAY_TYPES", "INDEX_TYPES", "decode_index", "decode_values", "encode_index", "encode_values"]

INDEX_TYPES = (
    pd.Index,
    pd.RangeIndex,
    pd.MultiIndex,
    pd.DatetimeIndex,
    pd.TimedeltaIndex,
    pd.PeriodIndex,
    pd.IntervalIndex,
    pd.CategoricalIndex,
)
ARRAY_TYPES = (pd.Categorical, *EXTENSION_ARRAYS)
_CODES = ("int8", "int16", "int32", "int64")


def encode_values(values: Any, encoder: Encoder, step: str) -> dict[str, Any]:
    """Return the node of a column's or an index's values."""
    if type(values) is not pd.Categorical:
        return encode_column(values, encoder, step)
    return {
        "kind": "category",
        "codes": encode_numpy(np.asarray(values.codes), encoder),
        "categories": encode_index(values.categories, encoder, f"{step}.categories"),
        "ordered": bool(values.ordered),
    }


def decode_values(node: Any, rows: int, decoder: Decoder) -> Any:
    """Return the values of a column or an index: a numpy array or an extension array."""
    if text(node, "kind") != "category":
        return decode_column(node, rows, decoder)
    codes = _read_codes(mapping(node, "codes"), rows, decoder)
    dtype = pd.CategoricalDtype(decode_index(mapping(node, "categories"), decoder), boolean(node, "ordered"))
    return pd.Categorical.from_codes(codes, dtype=dtype)


def encode_index(index: Any, encoder: Encoder, step: str) -> dict[str, Any]:
    """Return the node of an index; `step` is the way to it, for messages."""
    node: dict[str, Any] = {"rows": len(index)}
    if type(index) is pd.MultiIndex:
        return node | _encode_multi(index, encoder, step)
    if index.name is not None:
        node["name"] = encoder.node(index.name, f"{step}.name")
    if type(index) is pd.RangeIndex:
        return node | {"kind": "range", "start": index.start, "stop": index.stop, "step": index.step}
    if type(index) not in INDEX_TYPES:
        return {"rows": len(index), "kind": "other", "index": encoder.node(index, step)}
    labels = _labels(index)
    if labels is not None:
        return node | labels
    node |= {"kind": "values", "values": encode_values(index.array, encoder, step)}
    freq = getattr(index, "freq", None)
    if freq is not None and type(index) is not pd.PeriodIndex:
        node["freq"] = encode_freq(freq, encoder)
    return node


def decode_index(node: Any, decoder: Decoder) -> Any:
    """Return the index of a node."""
    rows, kind = integer(node, "rows", 0, MAX_ITEMS), text(node, "kind")
    name = decoder.node(node["name"]) if "name" in node else None
    if kind == "range":
        start, stop, step = (integer(node, key, -(2**63)) for key in ("start", "stop", "step"))
        index: Any = pd.RangeIndex(start, stop, step, name=name)
    elif kind == "labels":
        index = _decode_labels(node, name)
    elif kind == "multi":
        index = _decode_multi(node, rows, decoder)
    elif kind == "values":
        index = _index_of(decode_values(mapping(node, "values"), rows, decoder), name, node, decoder)
    elif kind == "other":
        index = decoder.node(member(node, "index"))
    else:
        raise malformed(node, f"no index is of the kind {kind!r}")
    if not isinstance(index, pd.Index) or len(index) != rows:
        raise malformed(node, f"it is not an index of {rows} rows")
    return index


def _index_of(values: Any, name: Any, node: Any, decoder: Decoder) -> Any:
    freq: Any = decode_freq(node["freq"], decoder) if "freq" in node else None
    kind = values.dtype.kind
    if kind in "mM" and not isinstance(values.dtype, pd.ArrowDtype):
        make = pd.TimedeltaIndex if kind == "m" else pd.DatetimeIndex
        return make(values, freq=freq, name=name, copy=False)
    return pd.Index(values, dtype=values.dtype, name=name, copy=False)


def _encode_multi(index: pd.MultiIndex, encoder: Encoder, step: str) -> dict[str, Any]:
    levels = [encode_index(level, encoder, f"{step}.levels[{i}]") for i, level in enumerate(index.levels)]
    codes = [encode_numpy(np.asarray(level), encoder) for level in index.codes]
    return {"kind": "multi", "levels": levels, "codes": codes, "sortorder": index.sortorder}


def _decode_multi(node: Any, rows: int, decoder: Decoder) -> pd.MultiIndex:
    levels = [decode_index(level, decoder) for level in nodes(node, "levels")]
    codes = [_read_codes(part, rows, decoder) for part in nodes(node, "codes")]
    for level, part in zip(levels, codes, strict=True):
        if rows and not -1 <= int(part.min()) <= int(part.max()) < len(level):
            raise malformed(node, "its codes are outside its levels")
    sortorder = None if member(node, "sortorder") is None else integer(node, "sortorder", 0, len(levels))
    names = [level.name for level in levels]
    return pd.MultiIndex(levels, codes, sortorder=sortorder, names=names, verify_integrity=True)


def _read_codes(node: Any, rows: int, decoder: Decoder) -> Array:
    if text(node, "dtype") not in _CODES:
        raise malformed(node, "its codes are not signed integers")
    return read_numpy(node, rows, decoder)


# --- labels that a person can read


_LABELS = 10_000
"""The most labels that stand in the node itself: a wide table's. More are rows, and go into buffers."""


def _labels(index: Any) -> dict[str, Node] | None:
    """Return the labels as JSON where all are plain text, so that they are there before any buffer is fetched."""
    if type(index) is not pd.Index or len(index) > _LABELS:
        return None
    dtype = index.dtype
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        described: Node = "object"
    elif isinstance(dtype, pd.StringDtype):
        described = {"storage": dtype.storage, "missing": "NA" if dtype.na_value is pd.NA else "NaN"}
    else:
        return None
    labels = index.tolist()
    if not labels or not all(type(label) is str and label.isprintable() for label in labels):
        return None
    return {"kind": "labels", "labels": labels, "dtype": described}


def _decode_labels(node: Any, name: Any) -> Any:
    labels, described = nodes(node, "labels"), member(node, "dtype")
    if not all(isinstance(label, str) for label in labels):
        raise malformed(node, "its labels are not all text")
    if described == "object":
        return pd.Index(np.fromiter(labels, dtype=object, count=len(labels)), dtype=object, name=name, copy=False)
    storage, missing = text(described, "storage"), text(described, "missing")
    return pd.Index(labels, dtype=pd.StringDtype(storage, na_value=pd.NA if missing == "NA" else np.nan), name=name)
