"""Serializer of SciPy's sparse arrays and matrices, through the arrays that they are made of.

The formats that are made of Python objects are stored as the one that they convert to without loss: ``dok`` as ``coo``,
``lil`` as ``csr``. What SciPy knows of a matrix (sorted, no duplicates) is kept, so that it need not look again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from holdall_store.serializers._buffers import MAX_ITEMS, Array, get, listed, mapping, numbers_in, put, reading, typed
from holdall_store.serializers._nodes import boolean, integers, malformed, nodes, text
from holdall_store.serializers._protocol import Decoder, Encoder, Node, Serializer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SERIALIZERS"]

_CLASSES: dict[str, Any] = {
    f"{layout}_{kind}": getattr(sparse, f"{layout}_{kind}")
    for layout in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
    for kind in ("array", "matrix")
}
_LONG_DOUBLES = "gG"
_NUMBERS = "biufc"
_MAX_OFFSET = 2**30
"""The farthest diagonal that is read: SciPy adds it to a number of rows, perhaps in 32 bits."""


class _SparseSerializer(Serializer):
    """Sparse arrays and matrices of every format."""

    tag = "scipy.sparse"

    def handles(self, obj: object) -> bool:
        if _CLASSES.get(type(obj).__name__) is not type(obj):
            return False
        dtype: Any = getattr(obj, "dtype", None)
        return dtype.kind in _NUMBERS and dtype.char not in _LONG_DOUBLES

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = {"class": type(obj).__name__, "shape": [int(size) for size in obj.shape]}
        return listed(node | _LAYOUTS[obj.format][0](obj, encoder))

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            name, shape = text(node, "class"), tuple(integers(node, "shape", 0, MAX_ITEMS))
            if name not in _CLASSES:
                raise malformed(node, f"SciPy has no sparse {name!r} that this version knows")
            decoder.prefetch(numbers_in(node))
            obj = _LAYOUTS[name[:3]][1](name, shape, node, decoder)
            if type(obj) is not _CLASSES[name] or tuple(obj.shape) != shape:
                raise malformed(node, f"its parts do not make a {name} of shape {shape}")
            return obj


# --- arrays


def _encode_array(array: Array, encoder: Encoder) -> dict[str, Any]:
    node: dict[str, Any] = {"dtype": array.dtype.str, "shape": list(array.shape), "buffers": {}}
    put(node["buffers"], "values", array, encoder, dense=True)
    return node


def _read_array(part: Any, decoder: Decoder) -> Array:
    dtype = np.dtype(text(part, "dtype"))
    if dtype.kind not in _NUMBERS or dtype.char in _LONG_DOUBLES:
        raise malformed(part, f"the dtype {dtype} is not one of numbers")
    shape = integers(part, "shape", 0, MAX_ITEMS)
    size = dtype.itemsize
    for length in shape:
        size *= length
    array = typed(get(part, "values", decoder, size), dtype).reshape(shape)
    if dtype.kind == "b" and array.size and int(array.view(np.uint8).max()) > 1:
        raise malformed(part, "its booleans are neither 0 nor 1")
    return array


def _read_places(part: Any, decoder: Decoder) -> Array:
    """Return numbers of rows or columns: one after the other, of a type that SciPy's loops take."""
    array = _read_array(part, decoder)
    if array.ndim != 1 or array.dtype not in (np.int32, np.int64):
        raise malformed(part, f"it is an array of {array.ndim} dimensions of {array.dtype} instead of numbers of rows")
    return array


def _check_range(part: Array, low: int, end: int, node: Any) -> None:
    if part.size and not low <= int(part.min()) <= int(part.max()) < end:
        raise malformed(node, f"some of its numbers of rows or columns are outside {low}…{end}")


# --- csr, csc, bsr


def _encode_compressed(matrix: Any, encoder: Encoder) -> dict[str, Any]:
    used = int(matrix.indptr[-1])  # there may be room for more
    return {
        "data": _encode_array(matrix.data[:used], encoder),
        "indices": _encode_array(matrix.indices[:used], encoder),
        "indptr": _encode_array(matrix.indptr, encoder),
        "sorted": bool(matrix.has_sorted_indices),
        "canonical": bool(matrix.has_canonical_format),
    }


def _decode_compressed(name: str, shape: tuple[int, ...], node: Any, decoder: Decoder) -> Any:
    data = _read_array(mapping(node, "data"), decoder)
    indices, indptr = (_read_places(mapping(node, key), decoder) for key in ("indices", "indptr"))
    if indptr.size and (int(indptr[0]) != 0 or int(indptr[-1]) != indices.size or np.any(indptr[1:] < indptr[:-1])):
        raise malformed(node, "its row pointers do not go from 0 to the number of values")
    matrix = _CLASSES[name]((data, indices, indptr), shape=shape, copy=False)
    matrix.check_format(full_check=True)  # SciPy's loops trust the indices: they would read past the end
    _check_range(indices, 0, max(shape, default=1), node)
    # Both calls may have given them another type, and what was given back must be what was saved.
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    matrix.has_sorted_indices = boolean(node, "sorted")
    matrix.has_canonical_format = boolean(node, "canonical")
    return matrix


# --- coo, dia


def _encode_coo(matrix: Any, encoder: Encoder) -> dict[str, Any]:
    return {
        "data": _encode_array(matrix.data, encoder),
        "coords": [_encode_array(part, encoder) for part in matrix.coords],
        "canonical": bool(matrix.has_canonical_format),
    }


def _decode_coo(name: str, shape: tuple[int, ...], node: Any, decoder: Decoder) -> Any:
    data = _read_array(mapping(node, "data"), decoder)
    coords = tuple(_read_places(part, decoder) for part in nodes(node, "coords"))
    if data.ndim != 1 or any(part.shape != data.shape for part in coords):
        raise malformed(node, "it has not one place for each value")
    for part, size in zip(coords, shape, strict=True):
        _check_range(part, 0, size, node)
    matrix = _CLASSES[name]((data, coords), shape=shape, copy=False)
    matrix.data, matrix.coords = data, coords
    matrix.has_canonical_format = boolean(node, "canonical")
    return matrix


def _encode_dia(matrix: Any, encoder: Encoder) -> dict[str, Any]:
    return {"data": _encode_array(matrix.data, encoder), "offsets": _encode_array(matrix.offsets, encoder)}


def _decode_dia(name: str, shape: tuple[int, ...], node: Any, decoder: Decoder) -> Any:
    data, offsets = _read_array(mapping(node, "data"), decoder), _read_places(mapping(node, "offsets"), decoder)
    _check_range(offsets, -_MAX_OFFSET, _MAX_OFFSET, node)
    matrix = _CLASSES[name]((data, offsets), shape=shape, copy=False)
    matrix.data, matrix.offsets = data, offsets
    return matrix


# --- dok, lil


def _encode_dok(matrix: Any, encoder: Encoder) -> dict[str, Any]:
    return _encode_coo(matrix.tocoo(), encoder)


def _decode_dok(name: str, shape: tuple[int, ...], node: Any, decoder: Decoder) -> Any:
    return _decode_coo(f"coo{name[3:]}", shape, node, decoder).todok()


def _encode_lil(matrix: Any, encoder: Encoder) -> dict[str, Any]:
    return _encode_compressed(matrix.tocsr(), encoder)


def _decode_lil(name: str, shape: tuple[int, ...], node: Any, decoder: Decoder) -> Any:
    return _decode_compressed(f"csr{name[3:]}", shape, node, decoder).tolil()


_LAYOUTS: dict[str, tuple[Callable[[Any, Encoder], dict[str, Any]], Callable[..., Any]]] = {
    "bsr": (_encode_compressed, _decode_compressed),
    "coo": (_encode_coo, _decode_coo),
    "csc": (_encode_compressed, _decode_compressed),
    "csr": (_encode_compressed, _decode_compressed),
    "dia": (_encode_dia, _decode_dia),
    "dok": (_encode_dok, _decode_dok),
    "lil": (_encode_lil, _decode_lil),
}

SERIALIZERS: tuple[Serializer, ...] = (_SparseSerializer(),)
