"""Conditions find exactly the rows that they describe: no digit is lost, no NaN, and no null is more than a null."""

from __future__ import annotations

import datetime as dt
import decimal
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables import Expression, Table, col
from holdall_store.tables._bound import bind, evaluate

NAN: Final = float("nan")
OPERATORS: Final[list[Callable[[Any, Any], Any]]] = [
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]


def found(path: Path, values: Any, condition: Expression) -> list[Any]:
    """Return the values of the column `x` for which a condition is true."""
    pq.write_table(pa.table({"x": values}), path / "x.parquet")
    column: list[Any] = Table(path / "x.parquet").where(condition).to_arrow().column("x").cast(pa.int64()).to_pylist()
    return column


@pytest.mark.parametrize(
    ("unit", "values", "condition", "expected"),
    [
        ("ns", [0, 1, 2], col("x") == pd.Timestamp(1), [1]),
        ("ns", [0, 1, 2], col("x") < pd.Timestamp(1), [0]),
        ("ns", [0, 1, 2], col("x").isin([pd.Timestamp(1), pd.Timestamp(2)]), [1, 2]),
        ("ns", [0, 1, 2], col("x").between(pd.Timestamp(1), pd.Timestamp(2)), [1, 2]),
        ("us", [0, 1, 2], col("x") < pd.Timestamp(500), [0]),
        ("us", [0, 1, 2], col("x") >= pd.Timestamp(1500), [2]),
        ("us", [0, 1, 2], col("x") == pd.Timestamp(1500), []),
        ("us", [0, 1, None], col("x") != pd.Timestamp(1500), [0, 1]),
        ("us", [0, 1, None], ~(col("x") == pd.Timestamp(1500)), [0, 1]),
        ("us", [0, 1, 2], col("x").isin([pd.Timestamp(1000), pd.Timestamp(1500)]), [1]),
        ("us", [0, 2**62], col("x") > pd.Timestamp(1), [2**62]),
    ],
)
def test_nanoseconds_count(tmp_path: Path, unit: str, values: Any, condition: Expression, expected: list[int]) -> None:
    """A time of pandas is compared with all its digits, in columns of every unit."""
    assert found(tmp_path, pa.array(values, pa.timestamp(unit)), condition) == expected


def test_durations_with_nanoseconds(tmp_path: Path) -> None:
    """A duration of pandas is compared with all its digits, and one of NumPy, and a time with a zone."""
    times = pa.array([1000, 1500, 2000], pa.duration("ns"))
    assert found(tmp_path, times, col("x") == pd.Timedelta(1500, "ns")) == [1500]
    assert found(tmp_path, times, col("x") > np.timedelta64(1500, "ns")) == [2000]
    zoned = pa.array([0, 1, 2], pa.timestamp("ns", tz="Europe/Paris"))
    assert found(tmp_path, zoned, col("x") == pd.Timestamp(1, tz="Asia/Tokyo")) == [1]


def test_what_a_table_gives_is_found_again(tmp_path: Path) -> None:
    """A value from `to_pandas`, and one from `stats`, are found."""
    pq.write_table(pa.table({"x": pa.array([5, 1_000_000_007], pa.timestamp("ns"))}), tmp_path / "t.parquet")
    table = Table(tmp_path / "t.parquet")
    for value in [*table.to_pandas()["x"], table.stats["x"].max]:
        assert table.where(col("x") == value).num_rows == 1


NUMBERS: Final = st.one_of(
    st.integers(-(2**65), 2**65),
    st.sampled_from([2**53 + 1, 2**63, 2**63 - 1, 2**64 - 1, -(2**63), 2**70]),
    st.floats(allow_nan=False),
    st.decimals(-10, 10, places=1),
)
COLUMNS: Final = {
    "int8": [-128, -1, 0, 3, 127, None],
    "int64": [-(2**63), -1, 0, 3, 2**53 + 1, 2**63 - 1, None],
    "uint64": [0, 5, 2**53 + 1, 2**63, 2**64 - 1, None],
}


@given(kind=st.sampled_from(sorted(COLUMNS)), value=NUMBERS, number=st.integers(0, 5), negated=st.booleans())
def test_integers_are_compared_as_python_does(kind: str, value: Any, number: int, negated: bool) -> None:
    """An integer is compared with every number exactly, however large or broken that is."""
    compare, values = OPERATORS[number], COLUMNS[kind]
    schema = pa.schema([("x", kind)])
    condition = compare(col("x"), value)
    mask = evaluate(bind(~condition if negated else condition, schema, "t"), lambda _: pa.array(values, kind))
    assert mask.to_pylist() == [None if each is None else bool(compare(each, value)) != negated for each in values]
    inside = evaluate(bind(col("x").isin([value, 3]), schema, "t"), lambda _: pa.array(values, kind))
    assert inside.to_pylist() == [None if each is None else each in (value, 3) for each in values]


@given(value=st.integers(-(2**65), 2**65) | st.sampled_from([10**400, -(10**400)]), number=st.integers(0, 5))
def test_floats_are_compared_with_integers_as_python_does(value: int, number: int) -> None:
    """A floating number is compared with an integer that it has no room for as Python does."""
    values = [0.0, 2.0**53, -(2.0**64), float("inf"), float("-inf"), 1e300, None, float(2**60)]
    compare = OPERATORS[number]
    mask = evaluate(bind(compare(col("x"), value), pa.schema([("x", pa.float64())]), "t"), lambda _: pa.array(values))
    assert mask.to_pylist() == [None if each is None else bool(compare(each, value)) for each in values]


def test_large_integers_in_files(tmp_path: Path) -> None:
    """Files with integers that Arrow's usual types have no room for are looked through."""
    pq.write_table(pa.table({"u": pa.array([1, 2**63], pa.uint64()), "i": [1, 2**53 + 1]}), tmp_path / "t.parquet")
    table = Table(tmp_path / "t.parquet")
    assert table.where(col("u") > 5).num_rows == 1
    assert table.where(col("i") > 1.5).num_rows == 1
    assert table.where(col("i") == float(2**53)).num_rows == 0
    assert table.where(col("i") < 2**70).num_rows == 2
    assert table.where(col("i") < decimal.Decimal("1.5")).num_rows == 1


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (~col("x").isin([1]), [2]),
        (~col("x").isin([1, None]), [2]),
        (~col("x").isin([]), [1, 2]),
        (~~col("x").isin([1]), [1]),
        (~(~col("x").isin([1]) & (col("x") > 0)), [1]),
        (col("x").isin([1, None]), [1, None]),
    ],
)
def test_a_null_is_not_outside_of_a_list(tmp_path: Path, condition: Expression, expected: list[Any]) -> None:
    """A negated list drops nulls, as every negation does."""
    values = pa.array([1, 2, None])
    assert found(tmp_path, values, condition) == expected
    table = Table(tmp_path / "x.parquet").where(condition)
    assert table.dataset().to_table(filter=table.arrow_filter()).column("x").to_pylist() == expected
    assert sorted(map(str, table.to_duckdb().to_arrow_table().column("x").to_pylist())) == sorted(map(str, expected))


def test_one_value_is_a_list_of_one(tmp_path: Path) -> None:
    """A keyword with one value finds what one with a list of it does: rounded numbers, and NaN."""
    pq.write_table(pa.table({"f": pa.array([0.1, NAN, 3.0, None], pa.float32())}), tmp_path / "t.parquet")
    table = Table(tmp_path / "t.parquet")
    for value, rows in ((0.1, 1), (NAN, 1), (3, 1), (1e300, 0), (None, 1), (2**24 + 1, 0)):
        assert table.where(f=value).num_rows == table.where(f=[value]).num_rows == rows, value
    assert table.where(col("f") <= 1e300).num_rows == 2


FILES: Final = [
    {"f": [0.0, NAN], "g": [0.0, 0.0], "k": [1, 1]},
    {"f": [0.0, NAN, None], "g": [0.0, NAN, 0.0], "k": [2, 2, 2]},
    {"f": [1.0, NAN, 2.0], "g": [1.0, 0.0, NAN], "k": [3, 3, 3]},
]
f, g = col("f"), col("g")
NAN_CONDITIONS: Final = {
    "not equal": f != 0.0,
    "negated equal": ~(f == 0.0),
    "negated not equal": ~(f != 0.0),
    "negated at most": ~(f <= 0.0),
    "negated at least": ~(f >= 0.0),
    "greater": f > -1,
    "at least": f >= 0.0,
    "negated less": ~(f < 5),
    "negated between": ~f.between(-1, 1),
    "negated either": ~((f == 0.0) | (f == 1.0)),
    "negated list": ~f.isin([0.0]),
    "list of nan": f.isin([NAN]),
    "negated list of nan": ~f.isin([NAN, 1.0]),
    "negated list of null": ~f.isin([None, 0.0]),
    "columns": f != g,
    "negated columns": ~(f <= g),
    "compared with nan": f != NAN,
    "negated compared with nan": ~(f > NAN),
    "with another": (f != 0.0) & (col("k") > 1),
}


@pytest.fixture(scope="module")
def with_nan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of files whose least and largest number are the same, but for NaN."""
    folder = tmp_path_factory.mktemp("nan")
    for number, columns in enumerate(FILES):
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    return folder


def by_python(case: str) -> list[str]:
    """Return the rows for which a condition is true, which is evaluated on all rows at once."""
    whole = pa.concat_tables([pa.table(columns) for columns in FILES])
    mask = evaluate(bind(NAN_CONDITIONS[case], whole.schema, "t"), lambda path: whole.column(path[0]))
    return rows(whole.filter(mask))


def rows(table: pa.Table) -> list[str]:
    """Return rows as texts, for NaN differs from itself."""
    return sorted(map(str, table.to_pylist()))


@pytest.mark.parametrize("case", sorted(NAN_CONDITIONS))
@pytest.mark.parametrize("engine", ["arrow", "dataset", "duckdb", "daft"])
def test_every_engine_finds_nan(with_nan: Path, case: str, engine: str) -> None:
    """Statistics know nothing of NaN, and no engine loses rows by them."""
    table = Table(with_nan).where(NAN_CONDITIONS[case])
    if engine == "daft":
        pytest.importorskip("daft")
    taken = {
        "arrow": lambda: table.to_arrow(),
        "dataset": lambda: table.dataset().to_table(filter=table.arrow_filter()),
        "duckdb": lambda: table.to_duckdb().to_arrow_table(),
        "daft": lambda: table.to_daft().to_arrow(),
    }[engine]()
    assert rows(taken) == by_python(case)


def test_times_of_other_kinds_are_still_refused(tmp_path: Path) -> None:
    """A time with a zone is not compared with a column that has none, nor a duration with a time."""
    pq.write_table(pa.table({"x": pa.array([0], pa.timestamp("us"))}), tmp_path / "t.parquet")
    table = Table(tmp_path / "t.parquet")
    for value in (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), pd.Timestamp(1, tz="UTC"), dt.timedelta(1)):
        with pytest.raises(UnsupportedTypeError, match="'x'"):
            table.where(col("x") == value).to_arrow()
