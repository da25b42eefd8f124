"""Columns of every dtype come back exactly: dtype, values, and which kind of missing value stands where."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal
from tests.serializers._helpers import roundtrip, roundtrip_safely, stored_bytes

from holdall_store.serializers import encode

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
UNITS = ("s", "ms", "us", "ns")
TEXT = ("str", "string[python]", "string[pyarrow]", pd.StringDtype("python", na_value=np.nan))
ZONES = ("UTC", BERLIN, zoneinfo.ZoneInfo("UTC"), dt.timezone(dt.timedelta(hours=3)), dt.timezone(dt.timedelta(0), "X"))


def _series(values: Any, dtype: Any = None) -> pd.Series:
    return pd.Series(values, dtype=dtype)


def _in_zone(unit: str, zone: Any) -> pd.Series:
    naive = pd.to_datetime(["2020-10-25 00:30", None, "2020-10-25 01:30"]).as_unit(unit)
    return pd.Series(naive.tz_localize("UTC").tz_convert(zone))


def _arrow(values: list[Any], kind: pa.DataType) -> pd.Series:
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, kind)])))


COLUMNS: dict[str, pd.Series] = {
    **{name: _series(np.array([0, 1, np.iinfo(name).max], name)) for name in INTEGERS},
    **{name: _series(np.array([-0.0, np.nan, np.inf], name)) for name in ("float16", "float32", "float64")},
    **{name: _series(np.array([-0.0, np.nan, 1j], name)) for name in ("complex64", "complex128")},
    "bool": _series([True, False]),
    "big-endian": _series(np.array([1, 2], ">i8")),
    "longdouble": _series(np.array([1, 2], np.longdouble) / 3),
    "clongdouble": _series(np.array([1, 2j], np.clongdouble)),
    **{f"datetime[{unit}]": _series(np.array([0, 1, "NaT"], f"M8[{unit}]")) for unit in UNITS},
    **{f"timedelta[{unit}]": _series(np.array([0, 1, "NaT"], f"m8[{unit}]")) for unit in UNITS},
    **{f"datetime[{unit}, {zone!r}]": _in_zone(unit, zone) for unit in UNITS for zone in ZONES},
    "period": _series(pd.PeriodIndex(["2020Q1", None], freq="Q-OCT")),
    "interval": _series(pd.interval_range(0, 3, closed="left")),
    "interval with a null": _series(pd.array([pd.Interval(0.5, 1), None], dtype="interval")),
    "interval of times": _series(pd.interval_range(pd.Timestamp("2020", tz="UTC"), periods=3)),
    "interval of int8": _series(pd.arrays.IntervalArray.from_arrays(np.array([1], "i1"), np.array([3], "i1"))),
    "category": _series(pd.Categorical(["a", None, "b", "a"], categories=["b", "unused", "a"], ordered=True)),
    "category of int": _series(pd.Categorical([3, 1, None])),
    "category of datetime": _series(pd.Categorical(pd.date_range("2020", periods=3))),
    "category of interval": _series(pd.cut([1, 2, 3], 2)),
    "category of objects": _series(pd.Categorical(pd.Series(["x", 1], dtype=object))),
    "category of a range": _series(pd.Categorical.from_codes([0, -1], dtype=pd.CategoricalDtype(pd.RangeIndex(3)))),
    "category of many": _series(pd.Categorical(np.arange(300))),
    **{f"text {dtype!r}": _series(["a", None, "é", ""], dtype) for dtype in TEXT},
    "text with a lone surrogate": _series(["\ud800", None], "string[python]"),
    **{name: _series([1, None, 0], name) for name in ("Int8", "Int64", "UInt8", "UInt64", "Float32", "boolean")},
    "Float64 with NaN": _series(pd.arrays.FloatingArray(np.array([np.nan, 1]), np.array([False, True]))),
    "Int16 without nulls": _series([1, 2], "Int16"),
    "arrow list": _arrow([[1], None], pa.list_(pa.int64())),
    "arrow struct": _arrow([{"a": 1}, None], pa.struct({"a": pa.int8()})),
    "arrow dictionary": _arrow(["a", None], pa.dictionary(pa.int8(), pa.string())),
    "arrow decimal": _arrow([decimal.Decimal("1.1"), None], pa.decimal128(5, 2)),
    "arrow duration": _arrow([dt.timedelta(1), None], pa.duration("s")),
    "arrow timestamp": _arrow([dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None], pa.timestamp("us", tz="Europe/Berlin")),
    "arrow string": _arrow(["a", None], pa.string()),
    "arrow null": _arrow([None], pa.null()),
    "sparse": _series(pd.arrays.SparseArray([0, 0, 1.0, np.nan])),
    "sparse with a fill": _series(pd.arrays.SparseArray([0, 0, 1], fill_value=0)),
    "sparse in blocks": _series(pd.arrays.SparseArray([0, 0, 1], kind="block", fill_value=0)),
    "sparse bool": _series(pd.arrays.SparseArray([True, False], fill_value=False)),
}

OBJECTS: dict[str, list[Any]] = {
    "text and one kind of missing": ["a", None, "", "é"],
    "text and every kind of missing": ["a", None, np.nan, pd.NA, pd.NaT],
    "only missing": [None, pd.NA, np.nan],
    "only None": [None, None],
    "only NaN": [np.nan, np.nan],
    "text and floats": ["a", 1.5, np.nan],
    "a lone surrogate": ["\ud800", None],
    "integers": [1, None, -5],
    "integers too wide": [2**70, 1],
    "floats": [1.5, None, np.nan, -0.0],
    "booleans": [True, None],
    "booleans and integers": [True, 1],
    "bytes": [b"a", None, b"\xff\0"],
    "decimals": [decimal.Decimal("1.10"), decimal.Decimal("NaN"), decimal.Decimal("-0"), None],
    "dates": [dt.date(1, 1, 1), None, dt.date.max],
    "times": [dt.time(1, 2, 3, 4), None],
    "times with a zone": [dt.time(1, tzinfo=dt.UTC)],
    "datetimes": [dt.datetime(2020, 1, 1, 1, 2, 3, 4), None, pd.NaT],
    "datetimes with a zone": [dt.datetime(2020, 1, 1, tzinfo=dt.UTC)],
    "datetimes with a fold": [dt.datetime(2020, 1, 1, fold=1)],
    "timedeltas": [dt.timedelta(-1, 5, 7), None],
    "the longest timedelta": [dt.timedelta.max],
    "uuids": [uuid.UUID(int=5), None],
    "lists of one length": [[1, 2], [3, 4]],
    "lists of several lengths": [[1], [2, 3], []],
    "dicts": [{"a": 1}, {"b": [2]}],
    "sets and tuples": [{1}, (1, 2)],
    "timestamps": [pd.Timestamp("2020", tz="UTC"), pd.Timestamp("2021").as_unit("s"), pd.Timedelta(3)],
    "periods and intervals": [pd.Period("2020", "M"), pd.Interval(0, 1.5, closed="both")],
    "numpy scalars": [np.float32(1), np.float64("nan"), np.str_("a")],
    "nothing": [],
}


def _check(series: pd.Series) -> None:
    restored = roundtrip_safely(series)
    assert_series_equal(restored, series, check_exact=True, check_freq=True, check_flags=True)
    assert type(restored.array) is type(series.array)
    assert restored.array.dtype == series.array.dtype


@pytest.mark.parametrize("name", COLUMNS)
def test_dtype_comes_back(name: str) -> None:
    """A series, its reverse, and what is left of it without rows come back under their dtype."""
    series = COLUMNS[name]
    for part in (series, series.iloc[::-1], series.iloc[:0]):
        _check(part)


@pytest.mark.parametrize("name", COLUMNS)
def test_column_of_a_frame_comes_back(name: str) -> None:
    """A column comes back beside another of its name, and as an array."""
    series = COLUMNS[name]
    frame = pd.concat([series, series], axis=1)
    frame.columns = pd.Index(["a", "a"])
    assert_frame_equal(roundtrip_safely(frame), frame, check_exact=True, check_flags=True)
    array = roundtrip_safely(series.array)
    assert type(array) is type(series.array)
    assert str(array.dtype) == str(series.array.dtype)


@pytest.mark.parametrize("name", [name for name in COLUMNS if "longdouble" not in name and name != "big-endian"])
def test_index_of_every_dtype_comes_back(name: str) -> None:
    """What can be an index comes back as the same kind of index."""
    series = COLUMNS[name]
    try:
        index = pd.Index(series, name=("a", 1))
    except (NotImplementedError, TypeError):  # pandas has no such index
        assert series.dtype == np.float16
        return
    assert_index_equal(roundtrip_safely(index), index, exact=True, check_exact=True)


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_come_back(name: str) -> None:
    """Objects keep their types, and None, NaN, NA and NaT their places."""
    series = pd.Series(OBJECTS[name], dtype=object)
    restored = roundtrip_safely(series)
    assert restored.dtype == object
    assert [(type(value), repr(value)) for value in restored] == [(type(value), repr(value)) for value in series]


def test_arrays_in_a_column_come_back() -> None:
    """Arrays of one length stay arrays in cells."""
    series = pd.Series([np.arange(3), np.arange(3.0)], dtype=object)
    restored = roundtrip_safely(series)
    assert [value.dtype for value in restored] == [value.dtype for value in series]
    assert all(np.array_equal(left, right) for left, right in zip(restored, series, strict=True))


def test_zones_are_the_same_kind_of_zone() -> None:
    """The class of a time zone, its key and its name are kept, not only its offset."""
    for zone in ZONES:
        series = _in_zone("us", zone)
        assert repr(roundtrip_safely(series).dtype.tz) == repr(series.dtype.tz)


def test_dateutil_zones_come_back() -> None:
    """Zones of dateutil are kept by their key."""
    tz = pytest.importorskip("dateutil.tz")
    for zone in (tz.gettz("Europe/Berlin"), tz.UTC):
        series = _in_zone("ns", zone)
        restored = roundtrip_safely(series)
        assert_series_equal(restored, series)
        assert type(restored.dtype.tz) is type(series.dtype.tz)


def test_pytz_zones_come_back() -> None:
    """Zones of pytz are kept by their key or offset."""
    pytz = pytest.importorskip("pytz", reason="pytz is not installed")
    for zone in (pytz.timezone("Europe/Berlin"), pytz.FixedOffset(90)):
        series = _in_zone("ns", zone)
        assert roundtrip_safely(series).dtype.tz is series.dtype.tz


class Opaque:
    """An object that no tree can hold."""


def test_what_no_tree_holds_is_pickled() -> None:
    """A column of arbitrary objects makes the frame a pickle's, and comes back."""
    frame = pd.DataFrame({"a": [1, 2], "o": pd.Series([Opaque(), None], dtype=object)})
    assert encode(frame).runs_code
    restored = roundtrip(frame)
    assert type(restored.loc[0, "o"]) is Opaque
    assert restored.loc[1, "o"] is None


def test_padding_of_long_doubles_is_not_stored() -> None:
    """Equal long doubles give equal bytes, whatever stands in the bytes between them."""
    values = np.arange(100, dtype=np.longdouble)
    other = values.copy()
    width = values.itemsize
    if np.finfo(np.longdouble).nmant == 63:
        other.view(np.uint8).reshape(-1, width)[:, 10:] = 0xAB
    left, right = (encode(pd.Series(array)) for array in (values, other))
    assert [stored_bytes(source.data) for source in left.buffers] == [
        stored_bytes(source.data) for source in right.buffers
    ]


def test_values_under_nulls_are_not_stored() -> None:
    """Equal nullable columns give equal bytes, whatever stands under their nulls."""
    mask = np.arange(1000) % 3 == 0
    left = pd.Series(pd.arrays.IntegerArray(np.arange(1000), mask))
    right = pd.Series(pd.arrays.IntegerArray(np.where(mask, 7, np.arange(1000)), mask))
    buffers = [[stored_bytes(source.data) for source in encode(series).buffers] for series in (left, right)]
    assert buffers[0] == buffers[1]
    assert len(buffers[0]) == 1
