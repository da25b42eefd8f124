"""Sparse arrays and matrices come back in their format, with their index types and explicit zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.serializers._helpers import roundtrip_safely

from holdall_store.serializers import encode

sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")

FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
DTYPES = ("f8", "f4", "i2", "u8", "?", "c8")


def _parts(matrix: Any) -> dict[str, Any]:
    names = ("data", "indices", "indptr", "offsets")
    return {name: getattr(matrix, name) for name in names if matrix.format != "lil" and hasattr(matrix, name)}


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("layout", FORMATS)
def test_every_format_comes_back(layout: str, kind: str) -> None:
    """Class, dtype, shape, values and the arrays behind them are the same."""
    make = getattr(sparse, f"{layout}_{kind}")
    for dtype in DTYPES:
        for dense in (np.arange(24).reshape(6, 4) % 3, np.zeros((2, 3)), np.zeros((3, 1))):
            matrix = make(dense.astype(dtype))
            restored = roundtrip_safely(matrix)
            assert type(restored) is type(matrix)
            assert (restored.dtype, restored.shape, restored.nnz) == (matrix.dtype, matrix.shape, matrix.nnz)
            assert np.array_equal(restored.toarray(), matrix.toarray())
            for name, part in _parts(matrix).items():
                assert getattr(restored, name).dtype == part.dtype
                assert np.array_equal(getattr(restored, name), part)


def test_index_types_zeros_and_order_are_kept() -> None:
    """Wide indices stay wide, zeros stay explicit, and unsorted or repeated columns stay so."""
    parts = (np.array([1.0, 0.0, 2.0]), np.array([1, 0, 0], np.int64), np.array([0, 2, 3], np.int64))
    matrix = sparse.csr_array(parts, shape=(2, 2))
    restored = roundtrip_safely(matrix)
    assert restored.indices.dtype == restored.indptr.dtype == np.int64
    assert restored.indices.tolist() == [1, 0, 0]
    assert restored.data.tolist() == [1.0, 0.0, 2.0]
    assert not restored.has_sorted_indices
    matrix.sum_duplicates()
    assert roundtrip_safely(matrix).has_canonical_format


def test_coordinates_of_every_dimension_come_back() -> None:
    """Arrays of one and of three dimensions have coordinates too."""
    for dense in (np.array([1, 0, 2]), np.arange(8).reshape(2, 2, 2)):
        restored = roundtrip_safely(sparse.coo_array(dense))
        assert np.array_equal(restored.toarray(), dense)
    repeated = sparse.coo_array((np.array([1, 2]), (np.array([0, 0]), np.array([1, 1]))), shape=(2, 2))
    restored = roundtrip_safely(repeated)
    assert restored.nnz == 2
    assert not restored.has_canonical_format
    repeated.sum_duplicates()
    assert roundtrip_safely(repeated).has_canonical_format


def test_room_to_grow_is_not_stored() -> None:
    """What a matrix has allocated beyond its values is left out."""
    matrix = sparse.csr_array(np.eye(3))
    roomy = sparse.csr_array(np.eye(3))
    roomy.data, roomy.indices = np.append(roomy.data, [7, 7]), np.append(roomy.indices, [0, 0]).astype(np.int32)
    assert encode(roomy).node == encode(matrix).node


def test_long_doubles_are_left_to_others() -> None:
    """Values whose bytes mean something else on another processor are pickled."""
    assert encode(sparse.csr_array(np.eye(2, dtype=np.longdouble))).runs_code
