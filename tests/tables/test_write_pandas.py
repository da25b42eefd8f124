"""Frames of pandas: what comes back as it was, what comes back plain, and what is refused."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables import Table

TENS = pd.DataFrame({"x": range(10)})


@pytest.mark.parametrize(
    "frame",
    [TENS[4:6], TENS.iloc[::3], TENS.iloc[::-1], TENS.set_index(pd.RangeIndex(10, name="i")), TENS[:0], TENS],
    ids=["slice", "steps", "backwards", "named", "empty", "plain"],
)
def test_an_index_of_numbers_comes_back(tmp_path: Path, frame: pd.DataFrame) -> None:
    """A range is the index again, and no column of the table."""
    Table.write(tmp_path, frame)
    assert Table(tmp_path).schema.names == ["x"]
    found = Table(tmp_path).to_pandas()
    pd.testing.assert_frame_equal(found, frame)
    assert isinstance(found.index, pd.RangeIndex)
    assert Table(tmp_path).to_pandas(index=False).index.equals(pd.RangeIndex(len(frame)))


def test_a_range_is_never_the_index_of_other_rows(tmp_path: Path) -> None:
    """Of some rows, of several commits, and of rows that were sorted or shared out, nobody knows which a range numbers."""
    Table.write(tmp_path / "a", TENS[4:6])
    Table.write(tmp_path / "a", TENS[6:8])
    table = Table(tmp_path / "a")
    assert table.to_pandas().index.tolist() == [0, 1, 2, 3]
    assert table.where(x=[5, 6]).to_pandas().index.tolist() == [0, 1]
    assert [part.to_pandas().index.tolist() for part in table.split(2)] == [[0, 1], [0, 1]]

    Table.write(tmp_path / "b", TENS[4:6], sort_by=[("x", "descending")])
    assert Table(tmp_path / "b").to_pandas().index.tolist() == [0, 1]
    Table.write(tmp_path / "c", TENS[4:6].assign(p=["b", "a"]), partition_by="p")
    assert Table(tmp_path / "c").to_pandas().index.tolist() == [0, 1]


def test_types_of_pandas_come_back(tmp_path: Path) -> None:
    """Columns are of the types that they had, so that numbers beside a null are what they were."""
    frame = pd.DataFrame(
        {
            "integer": pd.array([2**53 + 1, None], "Int64"),
            "truth": pd.array([True, None], "boolean"),
            "text": pd.array(["a", None], "string"),
            "arrow": pd.array([1, None], "int8[pyarrow]"),
            "category": pd.Categorical(["b", "a"], ["b", "a", "c"], ordered=True),
            "time": pd.to_datetime(["2026-11-01", None], utc=True),
            "plain": [1.5, np.nan],
            "object": np.array(["x", None], object),
        }
    )
    Table.write(tmp_path / "a", frame)
    found = Table(tmp_path / "a").to_pandas()
    frame.to_parquet(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(found, pd.read_parquet(tmp_path / "b.parquet"))
    assert found["integer"].tolist() == [2**53 + 1, pd.NA]
    assert Table(tmp_path / "a").select("arrow", "integer").to_pandas().dtypes.astype(str).tolist() == [
        "int8[pyarrow]",
        "Int64",
    ]
    assert Table(tmp_path / "a").to_pandas(index="integer")["arrow"].dtype == "int8[pyarrow]"

    Table.write(tmp_path / "a", frame)
    assert Table(tmp_path / "a").to_pandas()["integer"].tolist() == [2**53 + 1, pd.NA] * 2


def test_a_type_of_pandas_goes_where_the_column_is_another(tmp_path: Path) -> None:
    """A column that was widened since is what its values need."""
    Table.write(tmp_path, pd.DataFrame({"x": pd.array([1], "Int64")}))
    Table.write(tmp_path, pd.DataFrame({"x": [0.5], "y": [1]}), merge_schema=True)
    assert Table(tmp_path).to_pandas()["x"].tolist() == [1.0, 0.5]


def test_types_that_pandas_does_not_know_by_name(tmp_path: Path) -> None:
    """Decimals of Arrow's, whose name pandas does not take back, come back as Python's, and are Arrow's on request."""
    values = [decimal.Decimal("1.5")] * 100
    frame = pd.DataFrame({"a": values})
    frame["b"] = pd.Series(values, dtype=pd.ArrowDtype(pa.decimal128(5, 1)))
    Table.write(tmp_path, frame)
    assert Table(tmp_path).to_pandas()["a"].tolist() == values
    assert Table(tmp_path).to_pandas()["b"].tolist() == values
    assert Table(tmp_path).to_pandas(dtype_backend="pyarrow")["b"].dtype == frame["b"].dtype


@pytest.mark.parametrize(
    "columns",
    [[1, 2], [2.5, 3.5], pd.RangeIndex(2), pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", "l"])],
    ids=["integers", "floats", "range", "levels"],
)
@pytest.mark.parametrize("index", [pd.RangeIndex(1), pd.Index(["p"], name="key")], ids=["plain", "texts"])
def test_names_that_are_no_texts_come_back(tmp_path: Path, columns: Any, index: pd.Index) -> None:
    """Numbers and levels are the names again, also of those columns that are selected."""
    frame = pd.DataFrame([[decimal.Decimal(1), 2]], columns=columns, index=index)
    Table.write(tmp_path, frame)
    pd.testing.assert_frame_equal(Table(tmp_path).to_pandas(), frame, check_column_type=False, check_dtype=False)
    one = Table(tmp_path).select(Table(tmp_path).schema.names[1]).to_pandas()
    assert one.columns.tolist() == frame.columns[1:].tolist()


@pytest.mark.parametrize("columns", [[1, "a"], [dt.date(2020, 1, 1), "a"], [dt.date(2020, 1, 1), dt.date(2020, 1, 2)]])
def test_names_that_would_become_texts(tmp_path: Path, columns: Any) -> None:
    """Names that Parquet does not give back are refused, and the error tells the way out."""
    with pytest.raises(UnsupportedTypeError, match=r"The column .* frame\.columns\.map\(str\)"):
        Table.write(tmp_path / "t", pd.DataFrame([[1, 2]], columns=columns))
    assert not (tmp_path / "t").exists()
