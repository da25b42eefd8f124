"""Arrays, scalars and dtypes come back exactly, as views of the buffers that were fetched."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.serializers._helpers import Buffers, roundtrip, roundtrip_safely
from tests.serializers._shapes import Plain

from holdall_store.errors import FormatError
from holdall_store.serializers import decode, encode

CODES = [
    "?",
    "i1",
    "u1",
    "<i2",
    ">i2",
    "<i4",
    ">u4",
    "<i8",
    ">u8",
    "q",
    "Q",
    "f2",
    ">f2",
    "f4",
    "f8",
    ">f8",
    "g",
    ">g",
    "G",
    "c8",
    ">c16",
    "M8",
    "M8[25s]",
    ">M8[ns]",
    "m8",
    "m8[D]",
    "S3",
    "<U2",
    ">U2",
    "V5",
    "V0",
    "O",
]
SHAPES: list[tuple[int, ...]] = [(), (0,), (0, 3), (5,), (3, 4), (2, 3, 4), (20, 30)]


def sample(code: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return an array of a dtype with values that differ."""
    if code == "V0":
        return np.zeros(shape, code)
    if code.startswith("V"):
        return np.frombuffer(bytes(range(250)) * 60, code)[: np.prod(shape, dtype=int)].copy().reshape(shape)
    return np.arange(np.prod(shape)).astype(code).reshape(shape)


def assert_same(back: Any, array: np.ndarray[Any, Any]) -> None:
    """Check everything that can be seen of an array, but its strides where it was not contiguous."""
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.dtype.byteorder == array.dtype.byteorder
    assert back.dtype.num == array.dtype.num
    assert back.shape == array.shape
    if array.dtype == object:
        assert back.tolist() == array.tolist()
    else:
        assert back.tobytes() == array.tobytes()
    assert back.flags.writeable
    if array.size and array.dtype.itemsize:
        assert back.flags.f_contiguous or back.flags.c_contiguous
        assert back.flags.f_contiguous or not array.flags.f_contiguous


@pytest.mark.parametrize("code", CODES)
def test_array_comes_back(code: str) -> None:
    """Every dtype, in every shape and order, comes back without pickle."""
    for shape in SHAPES:
        array = sample(code, shape)
        assert_same(roundtrip_safely(array), array)
        assert_same(roundtrip_safely(np.asfortranarray(array)), np.asfortranarray(array))
        if shape:
            assert_same(roundtrip_safely(array[::2]), array[::2])
            assert_same(roundtrip_safely(array.T), array.T)
            assert_same(roundtrip_safely(array[::-1]), array[::-1])


@pytest.mark.parametrize("code", [code for code in CODES if code != "O"])
def test_scalar_and_dtype_come_back(code: str) -> None:
    """A scalar is not taken for the Python number that it is a subclass of."""
    scalar = sample(code, (20,))[3]
    back = roundtrip_safely(scalar)
    assert type(back) is type(scalar)
    assert back.tobytes() == scalar.tobytes()
    dtype = np.dtype(code)
    assert roundtrip_safely(dtype) == dtype
    assert roundtrip_safely(dtype).byteorder == dtype.byteorder


@pytest.mark.parametrize(
    "scalar",
    [
        *(
            np.float64("nan"),
            np.float64(-0.0),
            np.float32(0.1),
            np.float16("inf"),
            np.longdouble(1) / 3,
            np.bool_(True),
        ),
        *(
            np.int64(-(2**63)),
            np.uint64(2**64 - 1),
            np.str_("a\x00"),
            np.str_("\ud800"),
            np.bytes_(b"a\x00"),
            np.str_(""),
        ),
        *(np.datetime64("NaT"), np.datetime64("2024-01-01T00:00:00.000000001"), np.timedelta64(5, "h"), np.void(b"ab")),
    ],
    ids=lambda scalar: type(scalar).__name__,
)
def test_odd_scalar_comes_back(scalar: Any) -> None:
    """Scalars that JSON, or an array, would change come back bit for bit."""
    back = roundtrip_safely({"x": scalar})["x"]
    assert type(back) is type(scalar)
    assert back.dtype == scalar.dtype
    assert back.tobytes() == scalar.tobytes()
    assert len(back) == len(scalar) if isinstance(scalar, (str, bytes)) else True


def test_scalar_reads_like_a_number() -> None:
    """A metric in a record can be read by a person."""
    assert encode(np.float64(0.91)).node == {"$": "numpy.scalar", "dtype": "<f8", "value": 0.91}


STRUCTURES = [
    np.dtype([("a", "<i4"), ("b", ">f8", (2, 3)), ("c", [("x", "S3"), ("y", "M8[s]")])], align=True),
    np.dtype([("a", "i1"), ("b", "f8")]),
    np.dtype(
        {"names": ["a", "b"], "formats": ["i4", ("f4", (2,))], "offsets": [8, 0], "titles": ["A", None], "itemsize": 32}
    ),
    np.dtype({"names": ["low", "all"], "formats": ["u1", "u4"], "offsets": [0, 0]}),
    np.dtype((np.record, [("é", "g"), ("b", "U3")])),
    np.dtype([]),
]


@pytest.mark.parametrize("dtype", STRUCTURES, ids=range(len(STRUCTURES)))
def test_structured_array_comes_back(dtype: np.dtype[Any]) -> None:
    """Fields keep their names, titles, offsets and alignment."""
    array = np.frombuffer(bytes(range(64)) * 60, "u1")[: dtype.itemsize * 6].copy()
    array = array.view(dtype).reshape(2, 3) if dtype.itemsize else np.zeros((2, 3), dtype)
    back = roundtrip_safely(array)
    assert_same(back, array)
    assert back.dtype.fields == dtype.fields
    assert back.dtype.isalignedstruct == dtype.isalignedstruct
    assert back.dtype.type is dtype.type
    scalar = roundtrip_safely(array[0, 1])
    assert type(scalar) is dtype.type
    assert scalar.tobytes() == array[0, 1].tobytes()


@pytest.mark.parametrize("missing", [..., None, float("nan"), "N/A"], ids=repr)
def test_variable_width_strings_come_back(missing: Any) -> None:
    """Strings of any length, and what stands for a missing one."""
    options = {} if missing is ... else {"na_object": missing}
    array = np.array([["é\x00", ""], ["x" * 3000, "b"]], dtype=np.dtypes.StringDType(**options))
    if missing is not ...:
        array[1, 1] = missing
    back = roundtrip_safely(np.asfortranarray(array))
    assert repr(back.dtype) == repr(array.dtype)
    assert repr(back.tolist()) == repr(array.tolist())
    assert back.flags.f_contiguous
    assert roundtrip_safely(array[:0]).shape == (0, 2)


def test_odd_missing_object_is_pickled() -> None:
    """A missing value that a node cannot say goes through pickle."""
    array = np.array(["a"], dtype=np.dtypes.StringDType(na_object=Plain))
    assert encode(array).runs_code
    strict = np.array(["a"], dtype=np.dtypes.StringDType(coerce=False))
    assert roundtrip_safely(strict).dtype.coerce is False


def test_object_array_is_a_tree() -> None:
    """Elements of an array of objects go through the tree, and keep their identity."""
    inner = [1]
    array = np.empty((2, 2), dtype=object, order="F")
    array[0, 0], array[0, 1], array[1, 0], array[1, 1] = inner, inner, np.arange(3), (1, "x")
    back = roundtrip_safely(array)
    assert back[0, 0] is back[0, 1]
    assert back[1, 1] == (1, "x")
    assert back.flags.f_contiguous
    assert np.array_equal(back[1, 0], np.arange(3))


@pytest.mark.parametrize("mask", [np.ma.nomask, [True, False, False], False], ids=["none", "some", "all false"])
@pytest.mark.parametrize("hard", [True, False])
def test_masked_array_comes_back(mask: Any, hard: bool) -> None:
    """What is masked, what is under the mask, the fill value, and the hardness of the mask."""
    array = np.ma.MaskedArray([1.5, 2.5, np.nan], mask=mask, fill_value=-1, hard_mask=hard)
    back = roundtrip_safely(array)
    assert type(back) is np.ma.MaskedArray
    assert back.data.tobytes() == array.data.tobytes()
    assert (back.mask is np.ma.nomask) == (array.mask is np.ma.nomask)
    assert np.array_equal(back.mask, array.mask)
    assert (back.fill_value, back.hardmask) == (array.fill_value, hard)
    structured = np.ma.MaskedArray([(1, 2.0)], mask=[(True, False)], dtype=[("a", "i4"), ("b", "f8")])
    assert np.array_equal(roundtrip_safely(structured).mask, structured.mask)


def test_subclasses_keep_their_class(tmp_path: Path) -> None:
    """Record arrays and matrices stay what they are, a map of a file becomes an array, others are pickled."""
    record = np.rec.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")])
    back = roundtrip_safely(record)
    assert_same(back, record)
    assert back.a.tolist() == [1, 3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix = np.matrix([[1, 2], [3, 4]])
        assert_same(roundtrip_safely(matrix), matrix)
    mapped = np.memmap(tmp_path / "map", dtype="i4", mode="w+", shape=(500,))
    mapped[:] = range(500)
    back = roundtrip_safely(mapped)
    assert type(back) is np.ndarray
    assert np.array_equal(back, mapped)
    with_metadata = np.zeros(2, np.dtype("f8", metadata={"a": 1}))
    assert encode(with_metadata).runs_code
    generator = np.random.default_rng(1)
    assert roundtrip(generator).random() == np.random.default_rng(1).random()


def test_array_is_neither_copied_in_nor_out() -> None:
    """A contiguous array is borrowed while it is saved, and the loaded one is the fetched memory itself."""
    for array in (np.arange(5000.0), np.asfortranarray(np.ones((50, 60), "c16"))):
        encoded = encode(array)
        view = encoded.buffers[0].data
        assert isinstance(view, memoryview)
        assert np.shares_memory(np.frombuffer(view, "u1"), array)
        assert (encoded.buffers[0].item_bytes, encoded.buffers[0].dense) == (array.itemsize, True)
        given = memoryview(bytearray(view))
        back = decode(encoded.node, lambda numbers, given=given: [given], trust=False)  # type: ignore[misc]
        assert np.shares_memory(np.frombuffer(given, "u1"), back)


def test_misaligned_buffer_is_copied() -> None:
    """An array is aligned even if the memory that a store gives is not."""
    encoded = encode(np.arange(1000.0))
    given = memoryview(bytearray(8001))[1:]
    back = decode(encoded.node, lambda numbers: [given], trust=False)
    assert back.flags.aligned
    assert back.flags.writeable


def array_node(**changes: Any) -> dict[str, Any]:
    """Return the node of an array of 300 float64 numbers, with changes."""
    return {"$": "numpy.ndarray", "dtype": "<f8", "shape": [300], "buffer": 0, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        *({"dtype": "|O"}, {"dtype": "O"}, {"dtype": "<f4"}, {"dtype": "float64"}, {"dtype": "(300,)f8"}, {"dtype": 8}),
        *({"dtype": "i4,i4"}, {"dtype": {"fields": [["a", "|O", 0]], "itemsize": 8}}, {"dtype": "<M8[99999999999s]"}),
        *(
            {"dtype": {"fields": [["a", "<f8", 4]], "itemsize": 8}},
            {"dtype": {"fields": [["a", "<f8", -8]], "itemsize": 8}},
        ),
        *(
            {"dtype": {"base": "<f8", "shape": [2**62, 2**62]}},
            {"dtype": {"float": "<f16", "mantissa": 1}},
            {"order": "K"},
        ),
        *({"shape": [301]}, {"shape": [-1]}, {"shape": [2**62, 2**62]}, {"shape": [300] + [1] * 64}, {"shape": 300}),
        *({"shape": [True] * 300}, {"shape": [0, 2**63 - 1]}, {"class": "matrix"}, {"class": "memmap"}, {"buffer": -1}),
        *({"objects": [1]}, {"objects": {"a": 1}}, {"strings": {"lengths": 1, "text": 2}}, {"buffer": None}),
        {"strings": {"lengths": {"dtype": "<i8", "shape": [300], "buffer": 0}, "text": {"base64": ""}, "missing": []}},
    ],
)
def test_hostile_array_is_refused(changes: dict[str, Any]) -> None:
    """A dtype or shape that does not make the buffer is a `FormatError`, and never objects out of raw memory."""
    content = np.ones(300).tobytes()
    with pytest.raises(FormatError):
        decode(array_node(**changes), lambda numbers: [memoryview(bytearray(content))], trust=False)


def test_nested_dtype_is_bounded() -> None:
    """Records in records in records end in an error of ours."""
    dtype: Any = "<f8"
    for _ in range(200):
        dtype = {"base": dtype, "shape": [1]}
    with pytest.raises(FormatError, match="nested too deeply"):
        decode(array_node(dtype=dtype), Buffers(encode(np.ones(300))), trust=False)


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        st.one_of(
            hnp.scalar_dtypes(),
            hnp.array_dtypes(hnp.scalar_dtypes(), max_size=3),
            hnp.nested_dtypes(hnp.scalar_dtypes(), max_leaves=4),
        ),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_any_array_comes_back(array: np.ndarray[Any, Any]) -> None:
    """Arrays of whatever dtype Hypothesis thinks of come back bit for bit."""
    back = roundtrip_safely(array)
    assert type(back) is np.ndarray
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
