"""Decimals become Python objects in pandas: those that repeat are made once, and the frame is the same."""

from __future__ import annotations

import decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tables._lake import write

from holdall_store.tables import Table, _objects

PRICES = st.one_of(st.none(), st.decimals(0, 1, places=2))


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that all examples of a test may write to."""
    return tmp_path_factory.mktemp("objects")


@given(st.lists(PRICES, min_size=1, max_size=8), st.integers(1, 40), st.integers(5, 400))
def test_the_frame_is_the_same(folder: Path, values: list[decimal.Decimal | None], times: int, rows: int) -> None:
    """Whether values repeat or not, with nulls and without, in one row group or more: Arrow gives the same frame."""
    prices = pa.array(values * times, pa.decimal128(9, 2))
    table = pa.table({"a": prices, "n": range(len(prices)), "b": prices.cast(pa.decimal256(40, 3))})
    path = write(folder / "a.parquet", table, row_group_size=rows)

    got = Table(path).to_pandas()

    pd.testing.assert_frame_equal(got, table.to_pandas())
    assert [type(each) for each in got["a"]] == [type(each) for each in table.column("a").to_pylist()]


def test_equal_decimals_are_one_object(folder: Path) -> None:
    """Of decimals that repeat, each is there once; columns that are decimals alone keep their rows."""
    prices = pa.array([decimal.Decimal("0.10"), None, decimal.Decimal("0.20")] * 100, pa.decimal128(9, 2))
    path = write(folder / "a.parquet", pa.table({"a": prices}))

    got = Table(path).to_pandas()

    assert len(got) == 300
    assert len({id(each) for each in got["a"]}) == 3
    assert got["a"].dtype == object


def test_decimals_that_are_the_index_stay_the_index(folder: Path) -> None:
    """An index of decimals, stored by pandas or asked for, is made of the decimals, not of their numbers."""
    frame = pd.DataFrame({"a": [decimal.Decimal("0.10"), decimal.Decimal("0.20")] * 50, "b": range(100)})
    plain = write(folder / "plain.parquet", pa.Table.from_pandas(frame, preserve_index=False))
    stored = write(folder / "stored.parquet", pa.Table.from_pandas(frame.set_index("a")))

    pd.testing.assert_frame_equal(Table(stored).to_pandas(), frame.set_index("a"))
    pd.testing.assert_frame_equal(Table(plain).to_pandas(index="a"), frame.set_index("a"))


def test_decimals_that_seldom_repeat_are_left_to_arrow() -> None:
    """Looking values up that come once or twice would take longer than making them."""
    few = pa.table({"a": pa.array([decimal.Decimal(at % 10) for at in range(100)])})
    many = pa.table({"a": pa.array([decimal.Decimal(at // 2) for at in range(100)])})

    assert list(_objects.shared_objects(few, [])[1]) == ["a"]
    assert _objects.shared_objects(many, [])[1] == {}
    assert _objects.shared_objects(few, ["a"])[1] == {}
    assert _objects.shared_objects(few.slice(0, 0), [])[1] == {}
