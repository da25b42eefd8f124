"""Whatever an attacker writes into a node or its buffers is an error, or an object that can be used: never a crash."""

from __future__ import annotations

import base64
import copy
import decimal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from tests.serializers._helpers import Buffers

from holdall_store.errors import FormatError, HoldallError
from holdall_store.serializers import decode, encode

TEXT = ["a", None, "é" * 3, "", "b" * 20]
OBJECTS: dict[str, Any] = {
    "frame": pd.DataFrame(
        {
            "i": np.arange(5),
            "b": [True, False] * 2 + [True],
            "s": pd.Series(TEXT, dtype="str"),
            "o": pd.Series(TEXT, dtype=object),
            "c": pd.Categorical(TEXT),
            "n": pd.array([1, None, 3, 4, 5], dtype="Int64"),
            "t": pd.date_range("2020", periods=5, tz="Europe/Berlin"),
            "p": pd.period_range("2020", periods=5, freq="M"),
            "v": pd.interval_range(0, 5),
            "z": pd.arrays.SparseArray([0, 0, 1, 0, 2], fill_value=0),
        },
        index=pd.MultiIndex.from_arrays([TEXT, range(5)], names=["x", "y"]),
    ),
    "objects": pd.Series([decimal.Decimal(1), None, decimal.Decimal("2.5")], dtype=object),
    "dates": pd.Series(range(3), index=pd.date_range("2020", periods=3, freq="B")),
    "text": pa.array(TEXT),
    "views": pa.array(TEXT, pa.string_view()),
    "lists": pa.array([["a", None], None, [], ["ccc"]]),
    "list views": pa.array([["a", None], None, [], ["ccc"]], pa.list_view(pa.string())),
    "fixed lists": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
    "maps": pa.array([[("a", 1)], None, [("b", 2), ("c", None)]], pa.map_(pa.string(), pa.int32())),
    "structs": pa.array([{"a": 1, "b": "x"}, None]),
    "dictionary": pa.array(TEXT).dictionary_encode(),
    "union": pa.UnionArray.from_dense(
        pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["b"])]
    ),
    "runs": pc.run_end_encode(pa.array([1, 1, 2, None])),
    "tensors": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12).reshape(3, 2, 2)),
    "table": pa.table({"a": [1, None], "b": ["x", "y"], "c": [True, None]}),
    "polars": pl.DataFrame({"a": [1, 2], "s": ["x", None], "l": [[1], None]}).with_columns(
        c=pl.Series(["p", "q"], dtype=pl.Categorical), e=pl.Series(["p", "q"], dtype=pl.Enum(["p", "q"]))
    ),
    "csr": sparse.csr_array(np.eye(4)),
    "bsr": sparse.bsr_array(np.eye(4), blocksize=(2, 2)),
    "coo": sparse.coo_array(np.eye(4)),
    "dia": sparse.dia_array(np.eye(4)),
    "lil": sparse.lil_array(np.eye(4)),
}
HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    3,
    7,
    2**31,
    2**63,
    1.5,
    "",
    "int64",
    "object",
    "AAAA",
    "//8=",
    [],
    {},
    [-1],
    [0, 0],
]


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a tree: what holds it, and its key there."""
    keys = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, part in keys:
        if key != "$":
            yield node, key
            yield from _places(part)


def _use(obj: Any) -> None:
    """Look at every value."""
    if isinstance(obj, (pa.Table, pa.Array)):
        obj.validate(full=True)
        obj.to_pylist()
        pc.is_null(obj) if isinstance(obj, pa.Array) and not pa.types.is_union(obj.type) else obj.nbytes
    elif isinstance(obj, (pd.DataFrame, pd.Series)):
        repr(obj.reset_index(allow_duplicates=True))
        obj.memory_usage(deep=True)
    elif isinstance(obj, pl.DataFrame):
        obj.rows()
    elif hasattr(obj, "tocsr") and max(obj.shape) < 1000:
        (obj.tocsr() @ np.ones(obj.shape[1])).sum()
        obj.toarray()


def _attack(node: Any, stored: list[bytes]) -> None:
    try:
        obj = decode(node, lambda numbers: [memoryview(bytearray(stored[number])) for number in numbers], trust=False)
    except HoldallError:
        return
    try:
        _use(obj)
    except (ArithmeticError, LookupError, TypeError, ValueError, pl.exceptions.PolarsError):
        return  # what is stored may be nonsense, as long as it is only that


@pytest.mark.parametrize("name", OBJECTS)
def test_every_member_may_be_missing(name: str) -> None:
    """A node without one of its members is an error, or that member has a default."""
    encoded = encode(OBJECTS[name])
    stored = Buffers(encoded).contents
    refused = 0
    for number in range(len(list(_places(encoded.node)))):
        node = copy.deepcopy(encoded.node)
        holder, key = list(_places(node))[number]
        del holder[key]
        try:
            decode(node, lambda numbers: [memoryview(bytearray(stored[index])) for index in numbers], trust=False)
        except HoldallError:
            refused += 1
    assert refused


@pytest.mark.parametrize("name", OBJECTS)
@given(data=st.data())
@settings(max_examples=25)
def test_no_member_crashes(name: str, data: st.DataObject) -> None:
    """Any member may hold anything."""
    encoded = encode(OBJECTS[name])
    node = copy.deepcopy(encoded.node)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(list(_places(node))))
        current = holder[key]
        value = data.draw(st.sampled_from([*HOSTILE, current + 1] if type(current) is int else HOSTILE))
        holder[key] = copy.deepcopy(value)  # or the next change could tie a knot that no JSON can hold
    _attack(node, Buffers(encoded).contents)


def _inline(node: Any) -> Iterator[tuple[dict[str, Any], str]]:
    for holder, key in _places(node):
        if isinstance(holder, dict) and isinstance(holder.get("buffers"), dict) and key == "buffers":
            for name, stored in holder["buffers"].items():
                if isinstance(stored, str):
                    yield holder["buffers"], name


@pytest.mark.parametrize("name", OBJECTS)
@given(data=st.data())
@settings(max_examples=25)
def test_no_buffer_crashes(name: str, data: st.DataObject) -> None:
    """Any buffer may hold any bytes, of any number."""
    encoded = encode(OBJECTS[name])
    node = copy.deepcopy(encoded.node)
    stored = Buffers(encoded).contents
    inline = list(_inline(node))
    number = data.draw(st.integers(0, len(inline) + len(stored) - 1))
    content = bytearray(_content(inline, stored, number))
    if data.draw(st.booleans()) and content:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.sampled_from([0, 1, 0x7F, 0x80, 0xC3, 0xFF])
        )
    else:
        content = bytearray(data.draw(st.binary(min_size=0, max_size=2 * len(content))))
    if number < len(inline):
        buffers, key = inline[number]
        buffers[key] = base64.b64encode(content).decode()
    else:
        stored[number - len(inline)] = bytes(content)
    _attack(node, stored)


def _content(inline: list[tuple[dict[str, Any], str]], stored: list[bytes], number: int) -> bytes:
    if number >= len(inline):
        return stored[number - len(inline)]
    buffers, key = inline[number]
    return base64.b64decode(buffers[key])


@pytest.mark.parametrize("name", OBJECTS)
def test_short_buffers_are_refused(name: str) -> None:
    """A buffer that lacks its last byte is an error, whichever it is."""
    encoded = encode(OBJECTS[name])
    for number in range(len(list(_inline(encoded.node)))):
        node = copy.deepcopy(encoded.node)
        buffers, key = list(_inline(node))[number]
        content = base64.b64decode(buffers[key])
        buffers[key] = base64.b64encode(content[:-1]).decode()
        if content and key != "stream":
            with pytest.raises(FormatError):
                decode(node, Buffers(encoded), trust=False)


def test_lengths_that_wrap_round_are_refused() -> None:
    """Lengths whose sum passes 64 bits do not pass for a small sum."""
    node = encode(pa.array(["ab", "", ""], pa.large_string())).node
    lengths = np.array([2**63, 2**63 - 1, 3], np.uint64)
    node["values"]["length_bytes"] = 8
    node["values"]["buffers"]["lengths"] = base64.b64encode(lengths.tobytes()).decode()
    with pytest.raises(FormatError, match="lengths"):
        decode(node, lambda _: [], trust=False)


def test_text_that_is_not_utf8_is_refused() -> None:
    """Kernels of Arrow trust text to be UTF-8, so it is looked at."""
    for value in (pa.array(["é", "x"]), pd.Series(["é", "x"], dtype="str")):
        encoded = encode(value)
        buffers, key = next(place for place in _inline(encoded.node) if place[1] == "data")
        assert buffers[key] == "w6l4"
        buffers[key] = "w3jD"
        with pytest.raises(FormatError, match="UTF"):
            decode(encoded.node, lambda _: [], trust=False)
