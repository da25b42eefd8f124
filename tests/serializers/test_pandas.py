"""Frames, series and indexes come back exactly, column by column, and equal columns give equal buffers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal
from tests.serializers._helpers import Buffers, roundtrip, roundtrip_safely, stored_bytes, through_json

from holdall_store.errors import InvalidNameError, NotFoundError
from holdall_store.serializers import decode, encode

ROWS = 3


def _with_index(index: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": range(len(index))}, index=index)


def _with_columns(columns: Any) -> pd.DataFrame:
    return pd.DataFrame(np.arange(2 * len(columns)).reshape(2, -1), columns=columns)


FRAMES: dict[str, pd.DataFrame] = {
    "plain": pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    "nothing at all": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="int8"), "b": pd.Series([], dtype="str")}),
    "no columns": pd.DataFrame(index=[1, 2, 3]),
    "no columns, dates": pd.DataFrame(index=pd.date_range("2020", periods=3)),
    "two-dimensional block": pd.DataFrame(np.arange(12).reshape(3, 4)),
    "strided block": pd.DataFrame(np.arange(12, dtype=">f4").reshape(3, 4)[::-1, ::2]),
    "wide": pd.DataFrame(np.arange(600).reshape(2, 300)),
    "duplicate columns": _with_columns(["a", "a", "b"]),
    "mixed labels": _with_columns(pd.Index(["a", 1, None, 2.5], dtype=object)),
    "a lone surrogate": _with_columns(pd.Index(["a", "\ud800"], dtype=object)),
    "object labels": _with_columns(pd.Index(["a", "b"], dtype=object)),
    "string[python] labels": _with_columns(pd.Index(["a", "b"], dtype="string[python]")),
    "columns of dates": _with_columns(pd.date_range("2020", periods=2, freq="MS")),
    "columns of several levels": _with_columns(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"])),
    "named axes": pd.DataFrame({"a": [1]}, index=pd.Index([5], name=("row", 1))).rename_axis(columns="cols"),
    "business days": _with_index(pd.date_range("2020", periods=5, freq="B")),
    "days across a change of clocks": _with_index(pd.date_range("2020-10-24", periods=3, freq="D", tz="Europe/Berlin")),
    "a date offset": _with_index(pd.date_range("2020", periods=3, freq=pd.DateOffset(months=2, days=1))),
    "timedeltas": _with_index(pd.timedelta_range(0, periods=3, freq="90s")),
    "periods": _with_index(pd.period_range("2020", periods=3, freq="W-TUE", name="p")),
    "intervals": _with_index(pd.interval_range(0, 3)),
    "categories": _with_index(pd.CategoricalIndex(["a", "b"], ordered=True, name="n")),
    "range": _with_index(pd.RangeIndex(10, 16, 2, name="q")),
    "descending range": _with_index(pd.RangeIndex(5, -5, -3)),
    "int8": _with_index(pd.Index([5, 6, 7], dtype="int8")),
    "floats": _with_index(pd.Index([0.5, np.nan])),
    "complex": _with_index(pd.Index([1j, 2])),
    "booleans": _with_index(pd.Index([True, False])),
    "objects": _with_index(pd.Index(["a", 1], dtype=object)),
    "text": _with_index(pd.Index(["x", None], dtype="string[pyarrow]")),
    "nullable": _with_index(pd.Index([1, None], dtype="Int8")),
    "levels not all used": _with_index(pd.MultiIndex.from_product([["a", "b"], pd.date_range("2020", periods=2)])[1:3]),
    "levels with missing values": _with_index(pd.MultiIndex.from_tuples([("a", np.nan), (None, 2)], names=["x", None])),
    "sorted levels": _with_index(pd.MultiIndex.from_tuples([(1, 2), (1, 3), (2, 1)], sortorder=1)),
    "no duplicates allowed": pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
}


def _same(restored: pd.DataFrame, frame: pd.DataFrame) -> None:
    assert_frame_equal(restored, frame, check_exact=True, check_freq=True, check_flags=True, check_column_type=True)
    assert_index_equal(restored.columns, frame.columns, exact=True)
    assert_index_equal(restored.index, frame.index, exact=True)
    assert getattr(restored.columns, "freq", None) == getattr(frame.columns, "freq", None)
    assert getattr(restored.index, "sortorder", None) == getattr(frame.index, "sortorder", None)


@pytest.mark.parametrize("name", FRAMES)
def test_frame_comes_back(name: str) -> None:
    """Frames of every shape, labels and index come back without pickle."""
    _same(roundtrip_safely(FRAMES[name]), FRAMES[name])


@pytest.mark.parametrize("name", [name for name, frame in FRAMES.items() if frame.shape[1]])
def test_series_comes_back(name: str) -> None:
    """So do their columns, with their names."""
    series = FRAMES[name].iloc[:, 0]
    restored = roundtrip_safely(series)
    assert_series_equal(restored, series, check_exact=True, check_freq=True, check_flags=True)
    assert repr(restored.name) == repr(series.name)


@pytest.mark.parametrize("name", FRAMES)
def test_index_comes_back(name: str) -> None:
    """So does every index by itself."""
    index = FRAMES[name].index
    assert_index_equal(roundtrip_safely(index), index, exact=True)


def test_custom_calendar_comes_back_by_pickle() -> None:
    """A frequency that pandas cannot spell is pickled, not lost."""
    frame = _with_index(
        pd.date_range("2020-10-24", periods=3, freq=pd.offsets.CustomBusinessDay(holidays=["2020-10-26"]))
    )
    assert encode(frame).runs_code
    _same(roundtrip(frame), frame)


def test_attrs_come_back() -> None:
    """Attributes of a frame are any tree."""
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"source": ("a", 1), "array": np.arange(3), 5: {1, 2}}
    restored = roundtrip_safely(frame).attrs
    assert np.array_equal(restored.pop("array"), frame.attrs["array"])
    assert restored == {"source": ("a", 1), 5: {1, 2}}


class Frame(pd.DataFrame):  # type: ignore[misc]
    """A subclass, which may hold more than its columns."""

    @property
    def _constructor(self) -> type[Frame]:
        return Frame


def test_subclass_is_left_to_the_pickle() -> None:
    """A subclass comes back as itself, so it is pickled."""
    frame = Frame({"a": [1, 2]})
    assert encode(frame).runs_code
    assert type(roundtrip(frame)) is Frame


def test_restored_frame_can_be_changed() -> None:
    """What comes back is an ordinary frame, which can be written to and grow without a warning."""
    for name in ("plain", "wide", "two-dimensional block"):
        frame = roundtrip_safely(FRAMES[name])
        frame.iloc[0, 0] = -1
        frame["new"] = 1
        assert frame.iloc[0, 0] == -1
        assert frame["new"].tolist() == [1] * len(frame)


def test_numbers_are_views_of_the_buffers() -> None:
    """Columns of numbers, times and categories are not copied on the way in or out."""
    frame = pd.DataFrame({"f": np.arange(1e4), "t": pd.date_range("2020", periods=10_000), "i": np.arange(10_000)})
    encoded = encode(frame)
    borrowed: Any = encoded.buffers[0].data
    assert np.shares_memory(np.frombuffer(borrowed, "f8"), frame["f"].to_numpy())
    stored = [memoryview(bytearray(stored_bytes(source.data))) for source in encoded.buffers]
    restored = decode(through_json(encoded.node), lambda numbers: [stored[number] for number in numbers], trust=False)
    _same(restored, frame)
    assert all(np.shares_memory(np.asarray(stored[n]), restored.iloc[:, n].to_numpy()) for n in range(3))


# --- buffers


def _contents(obj: Any) -> list[bytes]:
    return Buffers(encode(obj)).contents


def _big(rows: int = 2000) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "i": np.arange(rows),
            "f": np.arange(rows) / 3,
            "s": pd.Series([f"row {row}" for row in range(rows)], dtype="str"),
            "c": pd.Categorical([f"kind {row % 5}" for row in range(rows)]),
            "n": pd.array([row if row % 3 else None for row in range(rows)], dtype="Int64"),
            "t": pd.date_range("2020", periods=rows, freq="s", tz="UTC"),
        }
    )


def test_equal_frames_give_equal_buffers() -> None:
    """How a frame lies in memory does not show in what is stored."""
    frame = _big()
    whole = pd.concat([frame.iloc[:500], frame.iloc[500:]])
    sliced = pd.concat([frame, frame]).iloc[2000:]
    sliced.index = frame.index
    strided = pd.DataFrame({name: pd.concat([frame[name]] * 2).sort_index(kind="stable").iloc[::2] for name in frame})
    strided.index = frame.index
    for other in (frame.copy(), whole, sliced, strided):
        _same(other, frame)
        assert _contents(other) == _contents(frame)


def test_edits_leave_other_columns_alone() -> None:
    """Dropping, adding, renaming and reordering columns stores nothing anew but the new column."""
    frame = _big()
    stored = set(_contents(frame))
    assert set(_contents(frame.drop(columns=["f", "s"]))) < stored
    assert set(_contents(frame[["t", "n", "c", "s"]].rename(columns={"s": "other"}))) < stored
    assert len(set(_contents(frame.assign(new=frame["f"] * 2))) - stored) == 1


def test_appended_rows_extend_the_buffers() -> None:
    """A longer frame begins with the bytes of the shorter: text too, for it is stored by lengths."""
    for old, new in zip(_contents(_big(2000)), _contents(_big(2016)), strict=True):
        shared = len(old) if len(old) % 250 else len(old) - 1
        assert new[:shared] == old[:shared]


def test_items_are_not_cut() -> None:
    """Each buffer says how wide its items are, and none claims to be a dense array."""
    encoded = encode(_big())
    assert [source.item_bytes for source in encoded.buffers] == [8, 8, 1, 1, 1, 8, 8]
    assert not any(source.dense for source in encoded.buffers)


# --- columns


def test_columns_load_alone_and_in_order() -> None:
    """Only the buffers of the columns that are asked for are fetched."""
    frame = _big()
    encoded = encode(frame)
    buffers = Buffers(encoded)
    restored = decode(encoded.node, buffers, trust=False, columns=["c", "i"])
    _same(restored, frame[["c", "i"]])
    assert sum(len(buffers.contents[number]) for number in buffers.fetched) == 2000 * 9
    assert len(buffers.fetched) == 2


def test_columns_are_fetched_at_once() -> None:
    """All buffers are asked for in one go, for each go may be a round trip."""
    encoded = encode({"first": _big(), "second": [_big()["s"], _big().index]})
    asked: list[list[int]] = []
    buffers = Buffers(encoded)

    def fetch(numbers: Any) -> list[memoryview]:
        asked.append(list(numbers))
        return buffers(numbers)

    decode(encoded.node, fetch, trust=False)
    assert len(asked) == 1
    assert sorted(asked[0]) == list(range(len(buffers.contents)))


def test_columns_follow_pandas_where_labels_repeat() -> None:
    """A label gives what indexing with it in a list gives: every column of that label, or under it."""
    repeated, nested = FRAMES["duplicate columns"], FRAMES["columns of several levels"]
    _same(roundtrip(repeated, columns=["a"]), repeated[["a"]])
    assert_frame_equal(roundtrip(nested, columns=["b"]), nested[["b"]])
    _same(roundtrip(repeated, columns=[]), repeated[[]])


def test_columns_find_what_they_share_with_others() -> None:
    """A column that shares an object with one that is not loaded gets its own."""
    shared = [1, 2]
    frame = pd.DataFrame({name: pd.Series([shared, [name]], dtype=object) for name in ("a", "b")})
    assert roundtrip(frame, columns=["b"])["b"].tolist() == [[1, 2], ["b"]]


def test_unknown_column_names_the_nearest() -> None:
    """The error lists the columns there are."""
    with pytest.raises(NotFoundError, match=r"no column 'amout'.*Did you mean 'amount'\?.*'amount', 'user'"):
        roundtrip(pd.DataFrame({"amount": [1], "user": [2]}), columns=["amout"])
    with pytest.raises(InvalidNameError, match="cannot be"):
        roundtrip(FRAMES["plain"], columns=[["a"]])  # type: ignore[list-item]


# --- any frame

_CELLS: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(),
    "bool": st.booleans(),
    "str": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    "string[pyarrow]": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "boolean": st.none() | st.booleans(),
    "object": st.one_of(
        st.none(), st.text(), st.integers(), st.binary(), st.just(pd.NA), st.just(pd.NaT), st.just(np.nan)
    ),
    "datetime64[us]": st.datetimes(),
    "category": st.none() | st.sampled_from("abc"),
}


@st.composite
def _frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 12))
    dtypes = draw(st.lists(st.sampled_from(sorted(_CELLS)), max_size=5))
    columns: OrderedDict[int, pd.Series] = OrderedDict()
    for place, dtype in enumerate(dtypes):
        cells = draw(st.lists(_CELLS[dtype], min_size=rows, max_size=rows))
        columns[place] = pd.Series(cells, dtype=dtype)
    frame = pd.DataFrame(columns, index=pd.RangeIndex(rows))
    frame.columns = pd.Index(
        draw(st.lists(st.text(max_size=3), min_size=len(dtypes), max_size=len(dtypes))), dtype=object
    )
    start, step = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, -1]))
    return frame.iloc[start::step]


@given(_frames())
@settings(max_examples=60)
def test_any_frame_comes_back(frame: pd.DataFrame) -> None:
    """Whatever the dtypes, labels, slices and missing values: what comes back is the same."""
    restored = roundtrip_safely(frame)
    _same(restored, frame)
    for place in range(frame.shape[1]):
        if frame.dtypes.iloc[place].kind == "O":
            left, right = restored.iloc[:, place].tolist(), frame.iloc[:, place].tolist()
            assert [(type(value), repr(value)) for value in left] == [(type(value), repr(value)) for value in right]
    assert _contents(frame.copy()) == _contents(frame)
