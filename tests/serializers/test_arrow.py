"""Arrow tables, arrays and schemas come back under their exact types, and equal arrays give equal buffers."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serializers._helpers import Buffers, roundtrip, roundtrip_safely

from holdall_store.errors import MissingDependencyError, NotFoundError, UnsupportedTypeError
from holdall_store.serializers import _arrow_arrays, decode, encode

DAY = dt.datetime(2020, 1, 1)


def _extension(kind: Any, storage: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, storage)


ARRAYS: list[pa.Array] = [
    pa.nulls(3),
    pa.array([True, None, False] * 5),
    *(pa.array([1, None, 3], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *(pa.array([1, 2, 3], kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    *(pa.array([1.5, None, -0.0], kind) for kind in (pa.float16(), pa.float32(), pa.float64())),
    *(pa.array(["a" * 30, None, "é", ""], kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *(pa.array([b"a" * 30, None, b"\xff"], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    pa.array([b"ab", None, b"\xff\0"], pa.binary(2)),
    pa.array([decimal.Decimal("1.23"), None]),
    pa.array([decimal.Decimal("1.23"), None], pa.decimal32(5, 2)),
    pa.array([decimal.Decimal("1.23"), None], pa.decimal64(12, 2)),
    pa.array([decimal.Decimal("1.23"), None], pa.decimal256(50, 2)),
    pa.array([DAY.date(), None]),
    pa.array([DAY.date(), None], pa.date64()),
    *(pa.array([DAY, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
    pa.array([DAY, None], pa.timestamp("us", tz="Europe/Berlin")),
    pa.array([dt.timedelta(1), None], pa.duration("s")),
    pa.array([dt.time(1), None], pa.time32("ms")),
    pa.array([dt.time(1), None], pa.time64("ns")),
    pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    pa.array([[1, 2], None, [], [None]]),
    pa.array([["a"], None, []], pa.large_list(pa.string())),
    pa.array([[1, 2], None, [3]], pa.list_view(pa.int64())),
    pa.array([[1, 2], None, [3]], pa.large_list_view(pa.int64())),
    pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2)),
    pa.array([[], None, []], pa.list_(pa.int64(), 0)),
    pa.array([[[1], None], None, [[2, 3], []]], pa.list_(pa.list_(pa.int8()))),
    pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
    pa.array([{}, None], pa.struct([])),
    pa.array([{"a": [{"b": 1.0}]}, None]),
    pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int32())),
    pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32(), keys_sorted=True)),
    pa.array(["a", "b", None, "a"]).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.uint8()), pa.array([10, 20]), ordered=True),
    pc.run_end_encode(pa.array([1, 1, 2, 2, None])),
    pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
    pa.UnionArray.from_dense(
        pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["b"])]
    ),
    _extension(pa.uuid(), pa.array([b"a" * 16, None], pa.binary(16))),
    _extension(pa.json_(pa.string()), pa.array(['{"a":1}', None])),
    _extension(pa.bool8(), pa.array([1, None], pa.int8())),
    _extension(pa.opaque(pa.int32(), "kind", "vendor"), pa.array([1, None], pa.int32())),
    pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12).reshape(3, 2, 2)),
]
NAMES = [f"{number} {array.type}" for number, array in enumerate(ARRAYS)]


def _same(restored: Any, array: Any) -> None:
    assert type(restored) is type(array)
    assert restored.type.equals(array.type, check_metadata=True)
    restored.validate(full=True)
    assert restored.equals(array)


@pytest.mark.parametrize("array", ARRAYS, ids=NAMES)
def test_array_comes_back(array: pa.Array) -> None:
    """An array, its slices and what is left of it without rows come back."""
    for part in (array, array[1:], array[1:2], array[:0]):
        _same(roundtrip_safely(part), part)


@pytest.mark.parametrize("array", ARRAYS, ids=NAMES)
def test_tables_come_back(array: pa.Array) -> None:
    """So do tables, batches and chunked arrays of it."""
    chunked = pa.chunked_array([array[:1], array[1:]])
    _same(roundtrip_safely(chunked), chunked)
    _same(roundtrip_safely(pa.chunked_array([], array.type)), pa.chunked_array([], array.type))
    table = pa.table([array, chunked], names=["a", "a"]).replace_schema_metadata({"k": b"\xff"})
    restored = roundtrip_safely(table)
    assert restored.schema.equals(table.schema, check_metadata=True)
    assert restored.equals(table)
    batch = pa.record_batch([array], names=["a"])
    assert roundtrip_safely(batch).equals(batch, check_metadata=True)


def test_schema_keeps_all_metadata() -> None:
    """Nullability and metadata of fields, nested ones too, are part of a schema."""
    item = pa.field("item", pa.int8(), nullable=False, metadata={b"z": b"\xff"})
    field = pa.field("x", pa.list_(item), nullable=False, metadata={"k": "v"})
    schema = pa.schema([field, field], metadata={"a": "b"})
    restored = roundtrip_safely(schema)
    assert restored.equals(schema, check_metadata=True)
    assert restored.field(0).type.value_field.metadata == {b"z": b"\xff"}


def test_rows_without_columns_come_back() -> None:
    """A table of no columns has rows all the same."""
    batch = pa.record_batch({"a": [1, 2, 3]}).replace_schema_metadata({"k": "v"})
    for empty in (batch.select([]), pa.table(batch).select([])):
        restored = roundtrip_safely(empty)
        assert type(restored) is type(empty)
        assert (restored.num_rows, restored.num_columns) == (3, 0)
        assert restored.schema.metadata == {b"k": b"v"}


class Celsius(pa.ExtensionType):  # type: ignore[misc]
    """A type that a user defines."""

    def __init__(self, scale: int = 1) -> None:
        self.scale = scale
        super().__init__(pa.int32(), "tests.celsius")

    def __arrow_ext_serialize__(self) -> bytes:
        return str(self.scale).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Celsius:
        assert storage_type == pa.int32()
        return cls(int(serialized))


def test_extension_types_of_users() -> None:
    """A registered extension type comes back; one that is not is refused by name, when saved as when loaded."""
    array = _extension(Celsius(7), pa.array([1, None], pa.int32()))
    with pytest.raises(UnsupportedTypeError, match=r"tests\.celsius.*register_extension_type"):
        encode(array)
    pa.register_extension_type(Celsius())
    try:
        _same(roundtrip_safely(array), array)
        assert roundtrip_safely(array).type.scale == 7
        encoded = encode(array)
    finally:
        pa.unregister_extension_type("tests.celsius")
    with pytest.raises(MissingDependencyError, match=r"tests\.celsius"):
        decode(encoded.node, Buffers(encoded), trust=False)


# --- buffers


def _contents(obj: Any) -> list[bytes]:
    return Buffers(encode(obj)).contents


@pytest.mark.parametrize("array", ARRAYS, ids=NAMES)
def test_equal_arrays_give_equal_buffers(array: pa.Array) -> None:
    """Slices, other chunks and copies of a row do not show in what is stored."""
    if pa.types.is_run_end_encoded(array.type):
        whole = pc.run_end_encode(pa.concat_arrays([pc.run_end_decode(array)] * 400))
    else:
        whole = pa.concat_arrays([array] * 400)
    longer = whole if pa.types.is_run_end_encoded(array.type) else pa.concat_arrays([array[:1], whole, array])
    sliced = longer.slice(len(longer) - len(whole) - len(array), len(whole)) if longer is not whole else whole
    assert sliced.equals(whole)
    assert _contents(sliced) == _contents(whole)
    if not (pa.types.is_run_end_encoded(array.type) or pa.types.is_dictionary(array.type)):
        assert _contents(pa.chunked_array([whole[:7], whole[7:]])) == _contents(whole)


def test_what_the_memory_held_is_not_stored() -> None:
    """Runs of nulls are stored alike each time, whatever lay there before."""
    array = pc.run_end_encode(pa.array([1, 1, None, 2, None] * 400))
    seen = set()
    for number in range(20):
        pc.add(pa.array(np.arange(number, number + 1600)), number)  # leaves its bytes where the next array is made
        seen.add(tuple(_contents(array)))

    assert len(seen) == 1


def test_bytes_under_nulls_are_not_stored() -> None:
    """What stands under nulls, in numbers, text, flags and lists, does not show."""
    mask = np.arange(3000) % 3 == 0
    bitmap = pa.py_buffer(np.packbits(~mask, bitorder="little"))
    plain = pa.array(np.where(mask, 0, np.arange(3000)), mask=mask)
    dirty = pa.Array.from_buffers(pa.int64(), 3000, [bitmap, pa.py_buffer(np.arange(3000))])
    assert _contents(plain) == _contents(dirty)
    text = pa.array([f"row {row}" for row in range(3000)])
    offsets, data = text.buffers()[1:]
    dirty = pa.Array.from_buffers(pa.string(), 3000, [bitmap, offsets, data])
    assert _contents(pa.array(dirty.to_pylist())) == _contents(dirty)
    lists = pa.Array.from_buffers(
        pa.list_(pa.string()),
        2999,
        [bitmap, text.buffers()[1]],
        children=[dirty.take(pa.array(np.arange(len(data)) % 3000))],
    )
    assert _contents(pa.array(lists.to_pylist())) == _contents(lists)


def test_no_bitmap_without_nulls() -> None:
    """A validity bitmap that marks nothing is not stored."""
    bitmap = pa.py_buffer(b"\xff" * 250)
    marked = pa.Array.from_buffers(pa.int64(), 2000, [bitmap, pa.py_buffer(np.arange(2000))])
    assert _contents(marked) == _contents(pa.array(np.arange(2000))) == [np.arange(2000).tobytes()]


def test_numbers_are_not_copied() -> None:
    """A plain column is borrowed when it is saved and the buffer itself when it is loaded."""
    array = pa.array(np.arange(1000))
    encoded = encode(array)
    borrowed: Any = encoded.buffers[0].data
    assert np.shares_memory(np.frombuffer(borrowed, "i8"), array.to_numpy())
    stored = memoryview(bytearray(borrowed))
    restored = decode(encoded.node, lambda numbers: [stored for _ in numbers], trust=False)
    assert np.shares_memory(np.frombuffer(stored, "i8"), restored.to_numpy())


def test_text_beyond_32_bit_offsets_stays_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that one array of 32-bit offsets could not hold are kept apart."""
    monkeypatch.setattr(_arrow_arrays, "PIECE_BYTES", 100)
    chunked = pa.chunked_array([["a" * 30, "b"], ["c" * 60], ["d"], ["e" * 80]])
    restored = roundtrip_safely(chunked)
    assert restored.equals(chunked)
    assert 1 < restored.num_chunks <= 4
    numbers = pa.chunked_array([np.arange(50), np.arange(50)])
    assert roundtrip_safely(numbers).num_chunks == 1


def test_dictionaries_of_chunks_are_unified() -> None:
    """Chunks with dictionaries of their own become one array with one."""
    chunked = pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()])
    restored = roundtrip_safely(chunked)
    assert restored.type == chunked.type
    assert restored.to_pylist() == ["a", "b", "c", "a"]


# --- columns


def test_columns_load_alone_and_in_order() -> None:
    """Only the buffers of the columns that are asked for are fetched."""
    table = pa.table({"a": np.arange(1000), "b": np.arange(1000.0), "c": [str(row) for row in range(1000)]})
    encoded = encode(table)
    buffers = Buffers(encoded)
    restored = decode(encoded.node, buffers, trust=False, columns=["b", "a"])
    assert restored.equals(table.select(["b", "a"]))
    assert sorted(len(buffers.contents[number]) for number in buffers.fetched) == [8000, 8000]
    assert roundtrip(table, columns=[]).num_rows == 1000
    assert roundtrip(table.to_batches()[0], columns=["c"]).equals(table.select(["c"]).to_batches()[0])


def test_unknown_column_names_the_nearest() -> None:
    """The error lists the columns there are."""
    with pytest.raises(NotFoundError, match=r"no column 'usr'.*Did you mean 'user'"):
        roundtrip(pa.table({"user": [1]}), columns=["usr"])


# --- any array

_TYPES = st.recursive(
    st.sampled_from(
        [pa.int32(), pa.float64(), pa.string(), pa.bool_(), pa.large_binary(), pa.string_view(), pa.null()]
    ),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(lambda kind: pa.list_(kind, 2)),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda kinds: pa.struct([(str(place), kind) for place, kind in enumerate(kinds)])
        ),
    ),
    max_leaves=4,
)


def _cells(kind: pa.DataType) -> st.SearchStrategy[Any]:
    types = pa.types
    if types.is_null(kind):
        return st.none()
    if types.is_fixed_size_list(kind):
        cell: st.SearchStrategy[Any] = st.lists(_cells(kind.value_type), min_size=2, max_size=2)
    elif types.is_list(kind) or types.is_large_list(kind):
        cell = st.lists(_cells(kind.value_type), max_size=3)
    elif types.is_struct(kind):
        cell = st.fixed_dictionaries({field.name: _cells(field.type) for field in kind.fields})
    elif types.is_boolean(kind):
        cell = st.booleans()
    elif types.is_integer(kind):
        cell = st.integers(-(2**31), 2**31 - 1)
    elif types.is_floating(kind):
        cell = st.floats(allow_nan=False)
    elif types.is_large_binary(kind):
        cell = st.binary(max_size=20)
    else:
        cell = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    return st.none() | cell


@given(st.data(), _TYPES)
@settings(max_examples=80)
def test_any_array_comes_back(data: st.DataObject, kind: pa.DataType) -> None:
    """Whatever the nesting, the nulls and the slice."""
    cells = data.draw(st.lists(_cells(kind), max_size=12))
    start, length = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 12))
    array = pa.array(cells, kind).slice(min(start, len(cells)), length)
    _same(roundtrip_safely(array), array)
    assert encode(array).node == encode(pa.array(array.to_pylist(), kind)).node
