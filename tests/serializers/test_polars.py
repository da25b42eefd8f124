"""Polars frames and series come back under their exact dtypes."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pytest
from tests.serializers._helpers import Buffers, roundtrip, roundtrip_safely

from holdall_store.errors import NotFoundError, UnsupportedTypeError
from holdall_store.serializers import decode, encode

pl = pytest.importorskip("polars", reason="polars is not installed")

DAY = dt.datetime(2020, 1, 1)
NUMBERS = [
    kind
    for name in ("Int8", "Int16", "Int32", "Int64", "Int128", "UInt8", "UInt16", "UInt32", "UInt64", "UInt128")
    if (kind := getattr(pl, name, None)) is not None
]
SERIES: list[Any] = [
    *(pl.Series([1, None, 0], dtype=kind) for kind in NUMBERS),
    *(pl.Series([-0.0, float("nan"), None], dtype=kind) for kind in (pl.Float32, pl.Float64)),
    pl.Series([True, None]),
    pl.Series(["a", None, "é", ""]),
    pl.Series([b"a", None]),
    pl.Series([None, None]),
    pl.Series(["a", None, "b", "a"], dtype=pl.Categorical),
    pl.Series(["b", None], dtype=pl.Enum(["a", "b"])),
    pl.Series([], dtype=pl.Enum([])),
    pl.Series([DAY.date(), None]),
    pl.Series([dt.time(1), None]),
    *(pl.Series([dt.timedelta(1), None], dtype=pl.Duration(unit)) for unit in ("ms", "us", "ns")),
    *(pl.Series([DAY, None], dtype=pl.Datetime(unit)) for unit in ("ms", "us", "ns")),
    pl.Series([DAY.replace(tzinfo=dt.UTC)], dtype=pl.Datetime("us", "Europe/Berlin")),
    pl.Series([decimal.Decimal("1.1"), None], dtype=pl.Decimal(10, 2)),
    pl.Series([[1], None, [], [None]]),
    pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
    pl.Series([[[1, 2], [3, 4]], None], dtype=pl.Array(pl.Int8, (2, 2))),
    pl.Series([{"a": 1, "b": "x"}, None]),
    pl.Series([{}, None], dtype=pl.Struct([])),
    pl.Series([["a"], None], dtype=pl.List(pl.Categorical)),
    pl.Series([["a"], None], dtype=pl.List(pl.Enum(["a"]))),
    pl.Series([{"a": [{"b": "x"}]}], dtype=pl.Struct({"a": pl.List(pl.Struct({"b": pl.Categorical}))})),
]


def _same(restored: Any, series: Any) -> None:
    assert restored.dtype == series.dtype
    assert restored.name == series.name
    assert restored.equals(series, check_dtypes=True, null_equal=True)


@pytest.mark.parametrize("series", SERIES, ids=lambda series: str(series.dtype))
def test_series_comes_back(series: Any) -> None:
    """A series, its slices, several chunks of it and a frame of it come back without pickle."""
    for part in (series.alias("name"), series[1:], series[:0], pl.concat([series, series], rechunk=False)):
        _same(roundtrip_safely(part), part)
        frame = pl.DataFrame({"a": part, "b": part})
        restored = roundtrip_safely(frame)
        assert restored.schema == frame.schema
        assert restored.equals(frame)


def test_categories_with_a_name_come_back() -> None:
    """A categorical keeps which categories it counts in."""
    if not hasattr(pl, "Categories"):
        pytest.skip("this polars has no named categories")
    series = pl.Series(["a"], dtype=pl.Categorical(pl.Categories("fruit", "shop", pl.UInt8)))
    _same(roundtrip_safely(series), series)


def test_signs_of_zeros_come_back() -> None:
    """-0.0 stays negative."""
    assert str(roundtrip_safely(pl.Series([-0.0]))[0]) == "-0.0"


def test_frames_without_rows_or_columns_come_back() -> None:
    """Both kinds of emptiness are kept."""
    frame = pl.DataFrame({"a": [1, 2]})
    for part in (frame[:0], frame.drop("a"), pl.DataFrame()):
        restored = roundtrip_safely(part)
        assert restored.shape == part.shape
        assert restored.schema == part.schema


def test_what_has_no_exact_form_is_refused_by_name() -> None:
    """Plans, and columns of Python objects, say what to do instead."""
    with pytest.raises(UnsupportedTypeError, match=r"value\['plan'\].*LazyFrame is a plan.*collect\(\)"):
        encode({"plan": pl.LazyFrame({"a": [1]})})
    with pytest.raises(UnsupportedTypeError, match=r"'o'.*Object.*to_list"):
        encode(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))


def test_categories_of_others_are_not_stored() -> None:
    """A categorical stores what it uses, whatever else counts in the same categories."""
    values = [f"kind {row % 7}" for row in range(5000)]
    before = Buffers(encode(pl.Series(values, dtype=pl.Categorical))).contents
    others = pl.Series(["zz", *reversed(values)], dtype=pl.Categorical)
    after = Buffers(encode(pl.Series(values, dtype=pl.Categorical))).contents
    assert before == after
    assert len(others) == 5001


def test_columns_load_alone_and_in_order() -> None:
    """Only the buffers of the columns that are asked for are fetched."""
    frame = pl.DataFrame({"a": range(1000), "b": [float(row) for row in range(1000)], "c": ["x"] * 1000})
    encoded = encode(frame)
    buffers = Buffers(encoded)
    restored = decode(encoded.node, buffers, trust=False, columns=["b", "a"])
    assert restored.equals(frame.select("b", "a"))
    assert sorted(len(buffers.contents[number]) for number in buffers.fetched) == [8000, 8000]


def test_unknown_column_names_the_nearest() -> None:
    """The error lists the columns there are."""
    with pytest.raises(NotFoundError, match=r"no column 'usr'.*Did you mean 'user'"):
        roundtrip(pl.DataFrame({"user": [1]}), columns=["usr"])
